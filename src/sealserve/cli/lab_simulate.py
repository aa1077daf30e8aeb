"""`sealserve lab simulate`: a fleet that starts, re-attests or fails over, SIMULATED."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealserve.cli.lab_capacity import given_parameters, measured_option
from sealserve.cli.output import json_option, note, print_json, print_table
from sealserve.errors import UsageError
from sealserve.files import read_file

if TYPE_CHECKING:
    from sealserve.lab.simulation.outcome import Outcome
    from sealserve.lab.simulation.recording import Comparison

RECORDING_LIMIT = 4 << 20  # bytes
TELL_SECONDS = 5.0
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_SHARE = click.FloatRange(0, 1)


@click.command()
@click.option("--enclaves", type=click.IntRange(1, 100_000), metavar="N", help="How many replicas.")
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
    enclaves: int | None,
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
      sealserve lab simulate --enclaves 10000 --scenario reattest --outdated 0.1
      sealserve lab simulate --enclaves 1000 --scenario failover --lose zone --for 1800
    """
    from sealserve.lab.simulation.recording import compare, parse_recording
    from sealserve.lab.simulation.scenario import Scenario
    from sealserve.lab.simulation.scenario import simulate as run

    given = given_parameters(measured)
    if recording is not None:
        if enclaves is not None:
            raise UsageError("--recording says how many pods there were: leave --enclaves out")
        data = read_file(recording, limit=RECORDING_LIMIT)
        _show_comparison(compare(parse_recording(data), given, seed), as_json=as_json)
        return
    if enclaves is None:
        raise UsageError("--enclaves is missing", hint="say how many, or give --recording FILE")
    what |= {"nodes": what["nodes"] or 0, "at_a_time": what["at_a_time"] or 0}
    scenario = Scenario(enclaves=enclaves, seed=seed, **what)
    _show(run(scenario, given, _progress(enclaves)), as_json=as_json)


def _progress(enclaves: int) -> Callable[[float, int], None]:
    """Say where it stands, now and then."""
    last = time.monotonic()

    def tell(simulated: float, serving: int) -> None:
        nonlocal last
        if time.monotonic() - last >= TELL_SECONDS:
            last = time.monotonic()
            note(f"SIMULATED {simulated:,.0f} s: {serving:,} of {enclaves:,} serve")

    return tell


def _show(found: Outcome, *, as_json: bool) -> None:
    if as_json:
        print_json({"simulated": True, **_rounded(asdict(found))})
        return
    title = f"SIMULATED {found.scenario} of {found.enclaves:,} enclaves on {found.nodes:,} nodes"
    print_table(title, [*_times(found), *_requests(found), *_key_service(found)])


def _times(found: Outcome) -> list[tuple[str, object]]:
    ended = ", ".join(f"{count:,} {state}" for state, count in sorted(found.ended.items()))
    rows: list[tuple[str, object]] = [
        ("enclaves at the end", ended),
        ("never out of service", f"{found.untouched:,}"),
        ("all serve after", _seconds(found.all_serve_after)),
    ]
    if found.until_serving is not None:
        spread = found.until_serving
        times = f"{_seconds(spread.median)}, {_seconds(spread.p99)}, {_seconds(spread.last)}"
        rows.append(("out of service: median, 99 %, longest", times))
    for stage in found.stages:
        text = f"{stage.share:6.1%} of the time; {_seconds(stage.median)}, {_seconds(stage.p99)}"
        rows.append((f"  {stage.name}: share; median, 99 %", text))
    return [*rows, ("programs that ended and started again", f"{found.program_restarts:,}")]


def _requests(found: Outcome) -> list[tuple[str, object]]:
    if found.requests_without_server is None or found.request_share is None:
        return []
    without = f"{found.requests_without_server:,.0f}, {found.request_share:.1%} of all"
    return [
        ("fewest that served", f"{found.fewest_serving:,}"),
        ("requests without a server", without),
    ]


def _key_service(found: Outcome) -> list[tuple[str, object]]:
    use = found.key_service
    return [
        ("key service: sessions", f"{use.sessions:,}"),
        ("  decisions on record", _counts(use.records)),
        ("  tries without a decision", _counts(use.refused)),
        ("  tried again", f"{use.tried_again:,}"),
        ("  processors, database: busy", f"{use.processor_share:.1%}, {use.database_share:.1%}"),
        (
            "  one worker: longest queue, most sessions",
            f"{use.longest_queue:,}, {use.most_sessions:,}",
        ),
        ("  collateral fetched", f"{use.collateral_fetches:,}"),
        ("  audit log grows by", f"{use.audit_bytes / (1 << 20):,.1f} MiB"),
    ]


def _show_comparison(found: Comparison, *, as_json: bool) -> None:
    if as_json:
        print_json({"simulated": True, **_rounded(asdict(found))})
        return
    rows: list[tuple[str, object]] = [
        ("until all are ready: measured", _seconds(found.measured_seconds)),
        ("until all are ready: SIMULATED", _seconds(found.simulated_seconds)),
        ("measured over SIMULATED", f"{found.ratio:.2f}"),
        ("the simulation was told by", found.told_by),
    ]
    rows += [
        (f"  {stage.name}: measured, SIMULATED",
         f"{_seconds(stage.measured)}, {_seconds(stage.simulated)}")
        for stage in found.stages
    ]  # fmt: skip
    print_table(f"SIMULATED beside {found.pods:,} real pods", rows)


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:,.1f} s" if value >= 10 else f"{value:.2f} s"


def _counts(found: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in found.items()) or "none"


def _rounded(value: Any) -> Any:
    """Without the noise of sums, below a microsecond."""
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(each) for each in value]
    return round(value, 6) if isinstance(value, float) else value
