"""Reliability: what the key service promises under load, crashes and attack, tried on a real one.

`python -m soak [NAME...]` (`make soak` runs all) prints one table of figures and promises, and
exits with 1 if a promise does not hold. `--quick` shrinks every scenario, for the tests; `--write
FILE` puts the table between the markers of that file.

Each module in this folder whose name does not begin with `_` is a scenario. The service is always
`sealserve keyservice run` as a process of its own; the enclaves are the attester's own client, with
evidence of a lab world, in other processes; everything is on the loopback address, bounded in
number and time, and ended with its block. To add a scenario, write `soak/NAME.py` with a docstring
that says what is done to the service, and

    FULL, QUICK = Size(...), Size(...)

    def run(size: Size) -> Iterator[Figure]:
        yield figure("connections held", "500")
        yield promise("every honest enclave was served", "412 of 412", holds=True)

    _report    figures, and the table of them
    _site      the folder of a key service: certificates, configuration, database, policy
    _service   its process: started, asked to stop, killed, its memory and its metrics
    _database  a PostgreSQL for it; _balancer  an nginx before it; _clock.c  a clock that is wrong
    _process   a function in a process of its own that tells as it goes
    _world     enclaves, and those that are none of the owner's
    _enclaves  crowds of them that ask, and what became of each ask
    _hostile   those who stall and those who flood
    _cases     attacks on the release port; _people  on the admin API; _rollback  on the database
    _ledger    the audit log, followed and verified, against what enclaves received
"""
