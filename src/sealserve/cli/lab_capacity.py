"""`sealserve lab capacity`: what a fleet takes, by the capacity model; and its parameters."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sealserve.cli.output import json_option, print_json, print_table
from sealserve.errors import ConfigError
from sealserve.files import read_file

if TYPE_CHECKING:
    from sealserve.lab.simulation.capacity import Bound
    from sealserve.lab.simulation.parameters import Parameters

MEASURED_LIMIT = 1 << 20  # bytes
MIB, GIB = 1 << 20, 1 << 30

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

    Each formula is explained in docs/scaling.md. What it is told of enclaves is SIMULATED or
    assumed, and nothing of it was measured on SGX hardware; --measured takes your own values.

    \b
    Example:
      sealserve lab capacity --enclaves 10000
      sealserve lab capacity --parameters
    """
    given = given_parameters(measured)
    if listed:
        _show_parameters(given, as_json=as_json)
    else:
        _show_reckoned(_reckoned(given, enclaves), enclaves, as_json=as_json)


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


def _show_parameters(given: Parameters, *, as_json: bool) -> None:
    listed = [
        {"name": each.name, "value": getattr(given, each.name), **each.metadata}
        for each in fields(given)
        if each.name != "limits"
    ]
    if as_json:
        print_json({each.pop("name"): each for each in listed})
        return
    print_table(
        "parameters",
        [
            (each["name"], f"{_text(each['value'])} {each['unit']} ({each['source']})")
            for each in listed
        ],
    )


@dataclass(frozen=True)
class _Row:
    """A number, and where several things bound it, each of them."""

    name: str
    value: float
    unit: str = ""
    bounds: tuple[Bound, ...] = ()


def _reckoned(given: Parameters, enclaves: int) -> list[_Row]:
    from sealserve.lab.simulation import capacity as model

    def bounded(name: str, bounds: list[Bound], unit: str) -> _Row:
        return _Row(name, model.least(bounds).value, unit, tuple(bounds))

    daily = model.audit_bytes_per_day(given, enclaves)
    exported = model.exported_bytes_per_day(given, enclaves)
    return [
        bounded("enclaves of a node", model.node_bounds(given), ""),
        _Row("nodes", model.nodes_for(given, enclaves)),
        _Row("quotes of a node", model.quotes_per_second(given), "quotes/s"),
        _Row("the last quote of a full node at once", model.quote_wait_seconds(given), "s"),
        bounded("releases that last", model.release_bounds(given), "releases/s"),
        _Row("keys for all at once, at least", model.release_seconds(given, enclaves), "s"),
        _Row("collateral", model.fetches_per_day(given), "fetches/day"),
        bounded("connections of the edge", model.edge_bounds(given), ""),
        _Row("decisions on record", model.records_per_day(given, enclaves), "records/day"),
        _Row("the database grows by", daily / MIB, "MiB/day"),
        _Row("the database grows by", daily * model.YEAR / GIB, "GiB/year"),
        _Row("an exported log grows by", exported / MIB, "MiB/day"),
        _Row("connections that PostgreSQL needs", model.database_connections(given)),
    ]


def _show_reckoned(rows: list[_Row], enclaves: int, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "enclaves": enclaves,
                "reckoned": [
                    {
                        "name": row.name,
                        "value": row.value,
                        "unit": row.unit,
                        "bounds": {bound.by: bound.value for bound in row.bounds},
                    }
                    for row in rows
                ],
            }
        )
        return
    shown: list[tuple[str, object]] = []
    for row in rows:
        shown.append((row.name, f"{_text(row.value)} {row.unit}".rstrip()))
        shown += [(f"  by {bound.by}", _text(bound.value)) for bound in row.bounds]
    print_table(f"{enclaves:,} enclaves, reckoned", shown)


def _text(value: float) -> str:
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
