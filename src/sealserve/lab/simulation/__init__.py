"""A fleet of enclaves, reckoned: what it takes (`capacity`), and how it starts and fails over.

Everything here is SIMULATED time: no clock, no file, no socket, and chance by a seed alone, so that
the same parameters and the same seed give the same outcome. What is simulated follows the rules of
the real parts: the key service's admission and limits are its own code, the others are cited in
`parameters`.
"""
