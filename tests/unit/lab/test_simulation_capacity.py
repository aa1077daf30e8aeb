"""The capacity model: its bounds, and the values that it is told."""

from __future__ import annotations

import json
import math
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealserve.cli import main
from sealserve.errors import ConfigError
from sealserve.lab.simulation import capacity
from sealserve.lab.simulation.cluster import Cluster
from sealserve.lab.simulation.engine import Clock
from sealserve.lab.simulation.parameters import GIB, MIB, Parameters, read_parameters

GIVEN = Parameters()


@pytest.mark.parametrize(
    ("changes", "count", "by"),
    [
        ({"node_epc_bytes": 9 * GIB, "enclave_cpus": 1.0}, 2, "EPC"),
        ({"node_cpus": 8.0, "node_reserved_cpus": 0.5}, 1, "CPU"),
        ({"enclave_memory_bytes": 60 * GIB}, 2, "memory"),
        ({"node_pods": 12}, 2, "pods"),
        ({"enclave_bytes": 65 * GIB}, 0, "EPC"),
        ({"node_cpus": 2.0, "node_reserved_cpus": 0.1}, 0, "CPU"),
    ],
)
def test_a_node_holds_what_the_scarcest_of_its_resources_allows(
    changes: dict[str, Any], count: int, by: str
) -> None:
    given = replace(GIVEN, **changes)
    least = capacity.least(capacity.node_bounds(given))
    assert (least.value, least.by) == (count, by)
    assert capacity.nodes_for(given, 10) == (math.ceil(10 / count) if count else 0)


@given(
    epc=st.integers(1, 300), cpus=st.floats(1, 64), enclave=st.integers(1, 20),
    threads=st.floats(0.1, 16), nodes=st.integers(1, 5),
)  # fmt: skip
def test_the_simulated_scheduler_places_as_many_as_the_formula_says(
    epc: int, cpus: float, enclave: int, threads: float, nodes: int
) -> None:
    given = replace(
        GIVEN,
        node_epc_bytes=epc * GIB,
        node_cpus=cpus,
        enclave_bytes=enclave * GIB,
        enclave_cpus=threads,
    )
    cluster, placed = Cluster(Clock(), given, nodes), 0
    while cluster.place() is not None:
        placed += 1
    assert placed == nodes * capacity.enclaves_per_node(given)


def test_a_full_node_waits_for_its_one_quoting_enclave() -> None:
    given = replace(GIVEN, quote_seconds=0.05)
    assert capacity.quotes_per_second(given) == pytest.approx(20)
    assert capacity.quote_wait_seconds(given) == pytest.approx(3 * 0.05)


def test_releases_are_bounded_by_processors_database_pace_and_limits() -> None:
    bounds = {bound.by: bound.value for bound in capacity.release_bounds(GIVEN)}
    session = GIVEN.handshake_cpu_seconds + GIVEN.decision_cpu_seconds
    assert bounds["processors of the key service"] == pytest.approx(4 / session)
    full = GIVEN.transaction_seconds + 256 * GIVEN.record_seconds
    assert bounds["the database: one transaction at a time"] == pytest.approx(256 / full)
    assert bounds["the appenders' pace"] == pytest.approx(4 * 256 / 0.02)
    assert capacity.least(capacity.release_bounds(GIVEN)).value == 200
    shared = replace(GIVEN, sources=1, limits=GIVEN.limits.model_copy(
        update={"releases_per_second_per_identity": 1e6}
    ))  # fmt: skip
    least = capacity.least(capacity.release_bounds(shared))
    assert (least.value, "source" in least.by) == (400, True)


def test_a_burst_is_let_through_before_a_limit_s_rate_counts() -> None:
    assert capacity.release_seconds(GIVEN, 2000) == pytest.approx(2000 / (4 / 0.002183), rel=0.01)
    assert capacity.release_seconds(GIVEN, 10_000) == pytest.approx((10_000 - 2000) / 200)


def test_the_log_and_the_edge_and_collateral_grow_as_they_are_reckoned() -> None:
    given = replace(GIVEN, starts_per_day=2.0, stored_record_bytes=4000, platform_kinds=3)
    assert capacity.audit_bytes_per_day(given, 1000) == 8_000_000
    assert capacity.fetches_per_day(given) == 2 * 3 * 24
    assert [bound.value for bound in capacity.edge_bounds(replace(
        given, edge_memory_bytes=16 * MIB, edge_connection_bytes=16384
    ))] == [2 * 2 * 4096 // 2, 2 * 1024]  # fmt: skip
    assert capacity.database_connections(given) == 48


def test_every_parameter_has_a_unit_and_a_source_of_a_known_kind() -> None:
    for each in fields(Parameters):
        assert each.metadata["source"], each.name
        assert each.metadata["unit"] or each.name == "limits"


def test_measured_values_take_the_place_of_defaults_and_nothing_else() -> None:
    found = read_parameters({"quote_seconds": 1, "copies": 5, "limits": {"max_sessions": 7}})
    assert (found.quote_seconds, found.copies, found.limits.max_sessions) == (1.0, 5, 7)
    assert replace(found, quote_seconds=0.039, copies=2, limits=GIVEN.limits) == GIVEN


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"quote_second": 1}, "quote_second"),
        ({"quote_seconds": "1"}, "quote_seconds"),
        ({"quote_seconds": True}, "quote_seconds"),
        ({"quote_seconds": -1}, "quote_seconds"),
        ({"quote_seconds": math.nan}, "quote_seconds"),
        ({"quote_seconds": math.inf}, "quote_seconds"),
        ({"copies": 0}, "copies"),
        ({"copies": 1.5}, "copies"),
        ({"copies": None}, "copies"),
        ({"limits": {"max_session": 1}}, "max_session"),
        ({"limits": 3}, "limits"),
    ],
    ids=str,
)
def test_values_that_are_none_are_refused(document: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        read_parameters(document)


def run(*words: str, code: int = 0) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["lab", "capacity", *words])
    assert ended.value.code == code


def test_the_command_reckons_with_a_file_in_either_format(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.toml").write_text("enclave_cpus = 1.0\n")
    (tmp_path / "own.json").write_text('{"enclave_cpus": 1.0}')
    for name in ("own.toml", "own.json"):
        run("--enclaves", "100", "--measured", str(tmp_path / name), "--json")
        said = json.loads(capsys.readouterr().out)
        rows = {row["name"]: row for row in said["reckoned"]}
        assert rows["enclaves of a node"]["value"] == 15
        assert rows["enclaves of a node"]["bounds"]["EPC"] == 16
        assert rows["nodes"]["value"] == 7
    run()
    assert "by CPU" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["nonsense", "enclave_cpu = 1", "[limits]\nmax_sessions = 0"])
def test_the_command_refuses_a_file_that_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(text)
    run("--measured", str(tmp_path / "own.toml"), code=1)


def test_the_command_lists_every_parameter(capsys: pytest.CaptureFixture[str]) -> None:
    run("--parameters")
    said = capsys.readouterr().out
    names = [each.name for each in fields(Parameters) if each.name != "limits"]
    assert all(name in said for name in names)
    run("--parameters", "--json")
    assert list(json.loads(capsys.readouterr().out)) == names
