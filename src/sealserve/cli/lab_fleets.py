"""Simulated fleets, and a recording beside one, as `sealserve lab simulate` prints them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sealserve.cli.output import print_json, print_table

if TYPE_CHECKING:
    from sealserve.lab.simulation.outcome import Outcome, Stage
    from sealserve.lab.simulation.recording import Comparison

NOTHING = "-"


def show_fleets(found: Sequence[Outcome], *, as_json: bool) -> None:
    """One column for each; rows that say nothing of any are left out."""
    if as_json:
        fleets = [_rounded(asdict(each)) for each in found]
        print_json({"simulated": True, "fleets": fleets})
        return
    columns = [dict([*_times(each), *_requests(each), *_key_service(each)]) for each in found]
    names = dict.fromkeys(name for column in columns for name in column)
    rows = [(name, [column.get(name, NOTHING) for column in columns]) for name in names]
    rows = [(name, cells) for name, cells in rows if set(cells) != {NOTHING}]
    widths = [max(len(cells[place]) for _, cells in rows) for place in range(len(columns))]
    title = f"SIMULATED {found[0].scenario}"
    print_table(title, [(name, _line(cells, widths)) for name, cells in rows])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))


def _times(found: Outcome) -> list[tuple[str, str]]:
    from sealserve.lab.simulation.enclave import STAGES, State

    stages = {stage.name: stage for stage in found.stages}
    spread = found.until_serving
    times = (None, None, None) if spread is None else (spread.median, spread.p99, spread.last)
    return [
        ("enclaves", f"{found.enclaves:,}"),
        ("nodes", f"{found.nodes:,}"),
        *((f"in the end {each.value}", _count(found.ended.get(each.value, 0))) for each in State),
        ("never out of service", _count(found.untouched)),
        ("all serve after", _seconds(found.all_serve_after)),
        *zip(("out of service: median", "99 %", "longest"), map(_seconds, times), strict=True),
        *((f"in stage {name}: share, median, 99 %", _stage(stages.get(name))) for name in STAGES),
        ("programs started again", _count(found.program_restarts)),
    ]


def _stage(stage: Stage | None) -> str:
    if stage is None:
        return NOTHING
    return f"{stage.share:.1%}, {_seconds(stage.median)}, {_seconds(stage.p99)}"


def _requests(found: Outcome) -> list[tuple[str, str]]:
    if found.requests_without_server is None or found.request_share is None:
        return []
    return [
        ("fewest that served", f"{found.fewest_serving:,}"),
        ("requests without a server", f"{found.requests_without_server:,.0f}"),
        ("of all in that time", f"{found.request_share:.1%}"),
    ]


def _key_service(found: Outcome) -> list[tuple[str, str]]:
    use = found.key_service
    return [
        ("key service: connections", f"{use.connections:,}"),
        *((f"on record: {name}", f"{count:,}") for name, count in sorted(use.records.items())),
        ("its processors busy", f"{use.processor_share:.1%}"),
        ("its database busy", f"{use.database_share:.1%}"),
        ("one worker: longest queue", f"{use.longest_queue:,}"),
        ("one worker: most sessions", f"{use.most_sessions:,}"),
        ("collateral fetched", f"{use.collateral_fetches:,}"),
        ("audit log grows by", f"{use.audit_bytes / (1 << 20):,.2f} MiB"),
        ("asked again", _count(use.tried_again)),
        *((f"not answered: {reason}", f"{count:,}") for reason, count in use.refused.items()),
    ]


def show_comparison(found: Comparison, *, as_json: bool) -> None:
    """Real pods beside as many simulated ones."""
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


def _count(value: int) -> str:
    return f"{value:,}" if value else NOTHING


def _seconds(value: float | None) -> str:
    if value is None:
        return "never"
    return f"{value:,.1f} s" if value >= 10 else f"{value:.2f} s"


def _rounded(value: Any) -> Any:
    """Without the noise of sums, below a microsecond."""
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(each) for each in value]
    return round(value, 6) if isinstance(value, float) else value
