"""Whether what the service does costs the same with a full database as with an empty one.

Audit records are decisions as the service writes them, put there by the log's own `append` in large
transactions. Beside the largest stands the smallest of the same run, in turns: 1.00 is as cheap,
and what is in no proportion to the size stays near it. A proof of inclusion has one hash for each
doubling of the log, and may cost as much more.

Costs are processor time where nothing is waited for: the disk, its cache and other processes have
their own opinion on how long 4 GB take.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from time import process_time

from bench._keyservice_releases import run_service
from bench._load import Clients, Target, rounds
from bench._site import NAME, Site, decisions, fill
from bench.measure import Result, interleave
from sealserve.keyservice import application
from sealserve.keyservice.administration.local import LocalAdministration
from sealserve.keyservice.administration.opening import open_administration, open_store
from sealserve.keyservice.config import load_config
from sealserve.keyservice.store.log import Leaf
from sealserve.keyservice.store.store import Store

RECORDS = (10, 10_000, 1_000_000)
SECRETS = (10, 10_000)
TRANSACTION = 5000  # records, while filling
FLAT = 1.5  # times as dear with the largest as with the smallest
ROUNDS = 5
REQUESTS = 300
AT_A_TIME = 8
APPENDS = 100
OPENINGS = 5
PROOFS = 100


def measure(site: Site, clients: Clients) -> Iterator[Result]:
    """By audit records, then by secrets."""
    yield from _by_records(site, clients)
    yield from _by_secrets(site, clients)


def _by_records(site: Site, clients: Clients) -> Iterator[Result]:
    sizes = {f"{count:,} records": f"records-{count}" for count in RECORDS}
    configs = {name: site.configure(config) for name, config in sizes.items()}
    for count, config in zip(RECORDS, configs.values(), strict=True):
        fill(site, config)
        _grow(config, count)
    yield from _releases(site, clients, sizes, {})
    with ExitStack() as stack:
        stores = {name: stack.enter_context(_store(each)) for name, each in configs.items()}
        appends = {name: partial(_append_each, store) for name, store in stores.items()}
        yield from _flat("append and commit one record", appends, APPENDS)
    yield from _openings(configs)
    with ExitStack() as stack:
        owners = {
            name: stack.enter_context(open_administration(each)) for name, each in configs.items()
        }
        proofs = {
            name: partial(_prove, owner, count)
            for (name, owner), count in zip(owners.items(), RECORDS, strict=True)
        }
        yield from _flat("prove that a record is in the log", proofs, PROOFS, goal=None)
    for name in sizes.values():
        for file in site.folder.glob(f"{name}.db*"):
            file.unlink()


def _by_secrets(site: Site, clients: Clients) -> Iterator[Result]:
    """Any of them is asked for, so that most are read from the database for the first time."""
    sizes = {f"{count:,} secrets": f"secrets-{count}" for count in SECRETS}
    configs = {name: site.configure(config) for name, config in sizes.items()}
    for count, config in zip(SECRETS, configs.values(), strict=True):
        fill(site, config, secrets=count)
    names = {
        name: (NAME, *(f"model-{number}" for number in range(1, count)))
        for count, name in zip(SECRETS, sizes, strict=True)
    }
    yield from _releases(site, clients, sizes, names)
    yield from _openings(configs)


def _openings(configs: Mapping[str, Path]) -> Iterator[Result]:
    opens = {name: partial(_open_often, config) for name, config in configs.items()}
    yield from _flat("open, check and read the store at start", opens, OPENINGS)


def _open_often(config_file: Path) -> None:
    config = load_config(config_file)
    for _ in range(OPENINGS):
        application.load(config).store.close()


def _prove(owner: LocalAdministration, count: int) -> None:
    """One record in the log after the other, wherever they are."""
    chance = random.Random(count)
    for _ in range(PROOFS):
        owner.inclusion(chance.randrange(count))


@contextmanager
def _store(config: Path) -> Iterator[Store]:
    store = open_store(load_config(config))
    try:
        yield store
    finally:
        store.close()


def _grow(config: Path, count: int) -> None:
    """Put decisions on record until there are so many records."""
    with _store(config) as store:
        size = store.refresh().head.size
        while size < count:
            _append(store, decisions(min(TRANSACTION, count - size), size))
            size = min(size + TRANSACTION, count)


def _append(store: Store, leaves: Sequence[Leaf]) -> None:
    with store.database.writing() as connection:
        store.log.append(connection, store.log.lock(connection), leaves)


def _append_each(store: Store) -> None:
    for leaf in decisions(APPENDS):
        _append(store, [leaf])


def _releases(
    site: Site, clients: Clients, sizes: Mapping[str, str], named: Mapping[str, tuple[str, ...]]
) -> Iterator[Result]:
    with ExitStack() as stack:
        subjects = {}
        for name, config in sizes.items():
            server = run_service(stack, site, config)
            target = Target(site, (server,), named.get(name, ()))
            subjects[name] = partial(clients.ask, target, requests=REQUESTS, at_a_time=AT_A_TIME)
        found = rounds(subjects, ROUNDS)
    costs = {
        name: statistics.median(each.server_cost for each in done) for name, done in found.items()
    }
    yield from _compared("one release, processor time of the server", costs)


def _flat(
    name: str,
    subjects: Mapping[str, Callable[[], object]],
    work: int,
    goal: float | None = FLAT,
) -> Iterator[Result]:
    times = interleave(subjects, rounds=ROUNDS, clock=process_time)
    costs = {each: statistics.median(found) / work for each, found in times.items()}
    yield from _compared(name, costs, goal)


def _compared(name: str, costs: Mapping[str, float], goal: float | None = FLAT) -> Iterator[Result]:
    """The cost at each size beside that at the smallest; only the largest has the goal."""
    smallest, *others = costs
    for size in others:
        ratio = costs[smallest] / costs[size]
        flat = None if size != others[-1] else goal
        yield Result(
            f"{name}, {size}",
            costs[size] * 1000,
            "ms",
            f"{smallest} ({costs[smallest] * 1000:.3g} ms)",
            ratio,
            None if flat is None else f"ratio >= {1 / flat:.2f}",
            None if flat is None else ratio >= 1 / flat,
        )
