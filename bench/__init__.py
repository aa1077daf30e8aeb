"""Benchmarks: `python -m bench [NAME...]` (`make bench` runs all).

Each module in this folder whose name does not begin with `_` is a benchmark. To add one, write
`bench/NAME.py` with a docstring that says what is compared with what, and

    def run() -> Iterator[Result]:
        times = interleave({"ours": ..., "theirs": ...})
        yield compared("verify a quote", times, "ours", "theirs", work=1, unit="quotes/s", goal=2.0)

`run` measures something of ours beside its peer or limit, *in the same run*: the peer's number from
another day or machine says nothing. Helpers are in `bench.measure`. The results of NAME go to
`bench/results/NAME.json`, a list of

    name     what was measured
    value    the number, in `unit`; of several rounds, the best
    unit
    against  the peer or limit
    ratio    ours to the peer's, where more is better: the median over the rounds, or null
    goal     what has to hold, for instance `ratio >= 0.6` or `value <= 64`; null if only reported
    holds    whether it does; null where there is no goal

`python -m bench` exits with 1 if a goal does not hold. The folder of results is not in the
repository; `--write PAGE` puts the table into a page that is.
"""
