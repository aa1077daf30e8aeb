"""Coverage-guided fuzzing of every parser that takes an outsider's bytes: `python -m fuzz`.

`make fuzz` runs all targets, each in a process of its own, for FUZZ_SECONDS seconds. The rule that
each must keep: whatever the bytes, it answers or raises the errors of ours that it documents, and
no input costs it more than 50 ms of processor time or 16 MiB of memory; files of a person's own may
take the seconds that their target names.

    targets   what is fuzzed: a function of bytes, the errors it may raise, where to begin
    seeds     sound inputs to begin from, made by the lab; public vectors too where they are there
    hostile   inputs at the limits of size that are built to be dear: deep, wide, long, repeated
    explore   one target under atheris; keeps what escapes, and what seems dear
    judge     what was kept, the corpus and the hostile inputs again, without instrumentation
    cost      processor time and memory of one input
    minimise  a smaller input that escapes in the same way

Exploring finds candidates cheaply, and only judging convicts: instrumented code is slower than the
code that runs, and a busy machine makes anything look slow. Nothing that a fuzzer found is kept in
the repository: `build/fuzz/TARGET/` has it after a run, and an input that failed once goes, in
hex, into a table of the unit tests of its parser.

To add a target, add an entry to `targets.TARGETS`.
"""
