"""`sealserve lab simulate`: a fleet that starts, re-attests or fails over, SIMULATED."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from sealserve.cli.lab_capacity import given_parameters, measured_option
from sealserve.cli.lab_fleets import show_comparison, show_fleets
from sealserve.cli.output import json_option, note
from sealserve.errors import UsageError
from sealserve.files import read_file

RECORDING_LIMIT = 4 << 20  # bytes
TELL_SECONDS = 5.0
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_SHARE = click.FloatRange(0, 1)


@click.command()
@click.option(
    "--enclaves",
    "sizes",
    type=click.IntRange(1, 100_000),
    multiple=True,
    metavar="N",
    help="How many replicas; given again, one fleet beside the other.",
)
@click.option(
    "--scenario",
    "name",
    type=click.Choice(("start", "reattest", "failover")),
    default="start",
    show_default=True,
    help="From nothing; all once more; something is lost.",
)
@click.option(
    "--nodes",
    type=click.IntRange(1, 100_000),
    metavar="N",
    help="How many machines; without it, as many as have room for all.",
)
@click.option(
    "--spare",
    type=_SHARE,
    default=0.0,
    metavar="SHARE",
    help="Of these machines, that there are more.",
)
@measured_option
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of chance.")
@click.option("--pull", is_flag=True, help="start: no node has the image yet.")
@click.option(
    "--at-a-time",
    type=click.IntRange(1),
    metavar="N",
    help="reattest: so many out of service at a time; without it, all.",
)
@click.option(
    "--outdated",
    type=_SHARE,
    default=0.0,
    metavar="SHARE",
    help="reattest: of the nodes, denied until they are updated.",
)
@click.option(
    "--updated-after",
    type=click.FloatRange(0, 86_400),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="reattest: when they are.",
)
@click.option(
    "--lose",
    type=click.Choice(("node", "zone", "keyservice", "database")),
    default="node",
    show_default=True,
    help="failover: a node, a zone, a copy of the key service, its database.",
)
@click.option(
    "--for",
    "lost_seconds",
    type=click.FloatRange(0, 86_400),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="failover: how long it is away.",
)
@click.option(
    "--starting",
    type=_SHARE,
    default=0.1,
    show_default=True,
    metavar="SHARE",
    help="failover of the key service or its database: of the enclaves, that start meanwhile.",
)
@click.option(
    "--recording",
    type=_FILE,
    metavar="FILE",
    help="Hold a recording of real pods to the simulation of as many, instead.",
)
@json_option
def simulate(
    sizes: Sequence[int],
    measured: Path | None,
    recording: Path | None,
    seed: int,
    as_json: bool,
    **what: Any,
) -> None:
    """What becomes of a fleet: until when all serve, where time goes, who is refused. SIMULATED.

    The same words and the same seed give the same bytes. Nothing is started; how long things take
    is assumed, or measured without SGX, unless --measured says it: docs/scaling.md.

    \b
    Example:
      sealserve lab simulate --enclaves 1000
      sealserve lab simulate --enclaves 10 --enclaves 10000 --scenario reattest --outdated 0.1
      sealserve lab simulate --enclaves 1000 --scenario failover --lose zone --for 1800
    """
    from sealserve.lab.simulation.recording import compare, parse_recording
    from sealserve.lab.simulation.scenario import Scenario
    from sealserve.lab.simulation.scenario import simulate as run

    given = given_parameters(measured)
    if recording is not None:
        if sizes:
            raise UsageError("--recording says how many pods there were: leave --enclaves out")
        data = read_file(recording, limit=RECORDING_LIMIT)
        show_comparison(compare(parse_recording(data), given, seed), as_json=as_json)
        return
    if not sizes:
        raise UsageError("--enclaves is missing", hint="say how many, or give --recording FILE")
    what |= {"nodes": what["nodes"] or 0, "at_a_time": what["at_a_time"] or 0}
    found = [
        run(Scenario(enclaves=size, seed=seed, **what), given, _progress(size)) for size in sizes
    ]
    show_fleets(found, as_json=as_json)


def _progress(enclaves: int) -> Callable[[float, int], None]:
    """Say where it stands, now and then."""
    last = time.monotonic()

    def tell(simulated: float, serving: int) -> None:
        nonlocal last
        if time.monotonic() - last >= TELL_SECONDS:
            last = time.monotonic()
            note(f"SIMULATED {simulated:,.0f} s: {serving:,} of {enclaves:,} serve")

    return tell
