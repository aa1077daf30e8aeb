"""`sealserve lab capacity`: what a fleet takes, by the capacity model; and its parameters."""

from __future__ import annotations

import json
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealserve.cli.output import json_option, print_json, print_table
from sealserve.errors import ConfigError
from sealserve.files import read_file

if TYPE_CHECKING:
    from sealserve.lab.simulation.parameters import Parameters

MEASURED_LIMIT = 1 << 20  # bytes

measured_option = click.option(
    "--measured",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Values of your own, in TOML or JSON, in place of the defaults.",
)


@click.command()
@click.option(
    "--enclaves",
    type=click.IntRange(1, 100_000),
    default=1000,
    show_default=True,
    metavar="N",
    help="How many replicas.",
)
@measured_option
@click.option("--parameters", "listed", is_flag=True, help="List what the model is told, instead.")
@json_option
def capacity(enclaves: int, measured: Path | None, listed: bool, as_json: bool) -> None:
    """What a fleet takes: nodes, quotes, keys, collateral, connections, records. Reckoned.

    Each formula is explained in docs/scaling.md. Nothing is measured here, least of all hardware.

    \b
    Example:
      sealserve lab capacity --enclaves 10000
      sealserve lab capacity --parameters
    """
    given = given_parameters(measured)
    rows = _listed(given) if listed else _reckoned(given, enclaves)
    if as_json:
        print_json({"simulated": True, **{row[0]: _plain(row) for row in rows}})
        return
    title = "parameters" if listed else f"{enclaves:,} enclaves, reckoned"
    print_table(title, [(name, " ".join(map(_text, rest))) for name, *rest in rows])


def given_parameters(measured: Path | None) -> Parameters:
    """The defaults, with the values of a file; raises ConfigError."""
    from sealserve.lab.simulation.parameters import Parameters, read_parameters

    if measured is None:
        return Parameters()
    data = read_file(measured, limit=MEASURED_LIMIT)
    try:
        text = data.decode("utf-8")
        document = json.loads(text) if measured.suffix == ".json" else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        kind = "JSON" if measured.suffix == ".json" else "TOML"
        raise ConfigError(f"{measured} is no {kind}: {error}") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{measured} holds no table of values")
    return read_parameters(document)


def _listed(given: Parameters) -> list[tuple[Any, ...]]:
    return [
        (
            each.name,
            getattr(given, each.name),
            each.metadata["unit"],
            f"({each.metadata['source']})",
        )
        for each in fields(given)
        if each.name != "limits"
    ]


def _reckoned(given: Parameters, enclaves: int) -> list[tuple[Any, ...]]:
    from sealserve.lab.simulation import capacity as model

    return [
        ("enclaves of a node", *_least(model.node_bounds(given))),
        ("nodes", model.nodes_for(given, enclaves)),
        ("quotes of a node", model.quotes_per_second(given), "quotes/s"),
        ("longest wait for a quote, a full node at once", model.quote_wait_seconds(given), "s"),
        ("releases that last", *_least(model.release_bounds(given), "releases/s")),
        ("keys for all at once, at least", model.release_seconds(given, enclaves), "s"),
        ("collateral", model.fetches_per_day(given), "fetches/day"),
        ("clients' connections of the edge", *_least(model.edge_bounds(given))),
        ("audit records", model.records_per_day(given, enclaves), "records/day"),
        ("database grows by", model.audit_bytes_per_day(given, enclaves) / (1 << 20), "MiB/day"),
        ("database grows by, in a year", _yearly(given, enclaves), "GiB/year"),
        ("exported log grows by", _exported(given, enclaves), "MiB/day"),
        ("connections of PostgreSQL", model.database_connections(given)),
    ]


def _yearly(given: Parameters, enclaves: int) -> float:
    from sealserve.lab.simulation.capacity import YEAR, audit_bytes_per_day

    return audit_bytes_per_day(given, enclaves) * YEAR / (1 << 30)


def _exported(given: Parameters, enclaves: int) -> float:
    from sealserve.lab.simulation.capacity import exported_bytes_per_day

    return exported_bytes_per_day(given, enclaves) / (1 << 20)


def _least(bounds: list[Any], unit: str = "") -> tuple[Any, ...]:
    """The bound that binds, then all of them."""
    from sealserve.lab.simulation.capacity import least

    found = least(bounds)
    others = "; ".join(f"{each.by}: {_text(each.value)}" for each in bounds)
    return found.value, unit, f"by {found.by} ({others})"


def _plain(row: tuple[Any, ...]) -> dict[str, Any]:
    _, value, *rest = row
    return {"value": value, "unit": rest[0] if rest else "", "by": rest[1] if rest[1:] else ""}


def _text(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
    return str(value)
