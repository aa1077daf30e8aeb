"""Fleets that start, re-attest and fail over: nobody is lost, limits are reached, bounds hold."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealserve.cli import main
from sealserve.errors import UsageError
from sealserve.keyservice.limits import Limits
from sealserve.lab.simulation import capacity
from sealserve.lab.simulation.enclave import State
from sealserve.lab.simulation.outcome import Outcome
from sealserve.lab.simulation.parameters import Parameters
from sealserve.lab.simulation.scenario import Scenario, simulate, simulate_fleet

GIVEN = Parameters()
OPEN = Limits(
    max_sessions=65536,
    max_sessions_per_source=65536,
    connections_per_second_per_source=1e6,
    connections_burst_per_source=65536,
    releases_per_second_per_identity=1e6,
    releases_burst_per_identity=65536,
    max_waiting_decisions=65536,
)
BARE = replace(
    GIVEN,
    creations_per_second=1e6, creations_burst=1_000_000, bindings_per_second=1e6,
    bindings_burst=1_000_000, container_seconds=0.0, build_bytes_per_second=math.inf,
    program_cpu_seconds=0.0, quote_seconds=0.0, model_bytes=0, open_cpu_seconds=0.0,
    collateral_seconds=0.0, client_seconds=0.0, round_trip_seconds=0.0, endpoint_seconds=0.0,
    probe_seconds=1e-6, pace_seconds=0.0, limits=OPEN,
)  # fmt: skip
"""Nothing takes time but the key service's processors and its database."""

scenarios = st.builds(
    Scenario,
    enclaves=st.integers(1, 30),
    name=st.sampled_from(["start", "reattest", "failover"]),
    nodes=st.integers(0, 12),
    spare=st.sampled_from([0.0, 0.4]),
    seed=st.integers(0, 5),
    pull=st.booleans(),
    at_a_time=st.integers(0, 3),
    outdated=st.sampled_from([0.0, 0.3, 1.0]),
    updated_after=st.sampled_from([0.0, 100.0, 1e6]),
    lose=st.sampled_from(["node", "zone", "keyservice", "database"]),
    lost_seconds=st.sampled_from([0.0, 30.0, 400.0, 1e4]),
    starting=st.sampled_from([0.0, 0.5, 1.0]),
    end=st.just(20_000.0),
)
worlds = st.builds(
    lambda copies, workers, cpus, session, limits, sources: replace(
        GIVEN,
        copies=copies,
        workers=workers,
        enclave_cpus=cpus,
        decision_cpu_seconds=session,
        limits=limits,
        sources=sources,
    ),
    copies=st.integers(1, 3),
    workers=st.integers(1, 3),
    cpus=st.sampled_from([1.0, 4.0, 15.0]),
    session=st.sampled_from([0.001, 1.0, 12.0]),
    limits=st.builds(
        Limits,
        max_sessions=st.sampled_from([1, 3, 2048]),
        max_sessions_per_source=st.sampled_from([1, 512]),
        connections_per_second_per_source=st.sampled_from([0.1, 200.0]),
        connections_burst_per_source=st.sampled_from([1, 1000]),
        releases_per_second_per_identity=st.sampled_from([0.05, 100.0]),
        releases_burst_per_identity=st.sampled_from([1, 1000]),
        max_waiting_decisions=st.sampled_from([1, 1024]),
    ),
    sources=st.sampled_from([0, 1]),
)


@settings(max_examples=60, deadline=None)
@given(scenario=scenarios, world=worlds)
def test_every_enclave_ends_in_one_state_and_its_time_is_in_its_stages(
    scenario: Scenario, world: Parameters
) -> None:
    found, fleet = simulate_fleet(scenario, world)
    assert sum(found.ended.values()) == scenario.enclaves
    assert fleet.serving == found.ended.get("serving", 0)
    assert len(fleet.unplaced) == found.ended.get("unplaced", 0)
    room = capacity.enclaves_per_node(world)
    for node in fleet.cluster.nodes:
        held = [each for each in fleet.enclaves if each.node is node]
        assert len(held) + node.room == room and node.room >= 0
    for enclave in fleet.enclaves:
        if enclave.state is State.SERVING and enclave.began is not None:
            assert enclave.served is not None
            assert sum(enclave.seconds) == pytest.approx(enclave.served - enclave.began)
            assert min(enclave.seconds) >= 0
            assert enclave.node is not None and fleet.is_allowed(enclave)
    use = found.key_service
    decided, refused = sum(use.records.values()), sum(use.refused.values())
    under_way = scenario.enclaves - fleet.serving  # at most, when the simulated week is over
    assert use.connections <= decided + refused + under_way
    assert use.records.get("released", 0) >= sum(
        each.state is State.SERVING and each.began is not None for each in fleet.enclaves
    )
    assert use.transactions <= decided
    assert 0 <= use.processor_share <= 1 and 0 <= use.database_share <= 1


@pytest.mark.parametrize("name", ["start", "reattest", "failover"])
def test_the_same_seed_gives_the_same_and_another_need_not(name: Any) -> None:
    scenario = Scenario(300, name=name, lose="database")
    first, again = (simulate(scenario, GIVEN) for _ in range(2))
    assert json.dumps(asdict(first)) == json.dumps(asdict(again))
    if name == "failover":
        assert simulate(replace(scenario, seed=1), GIVEN) != first


def last(given: Parameters, enclaves: int) -> float:
    found = simulate(Scenario(enclaves), given).all_serve_after
    assert found is not None
    return found


def test_keys_for_all_at_once_take_what_the_processors_of_the_key_service_allow() -> None:
    given = replace(BARE, copies=1, workers=1)
    session = given.handshake_cpu_seconds + given.decision_cpu_seconds
    assert last(given, 500) == pytest.approx(500 * session, rel=0.01)
    assert last(given, 500) >= capacity.release_seconds(given, 500)


def test_where_the_database_is_slow_it_decides() -> None:
    slow = {"transaction_seconds": 0.5, "record_seconds": 0.01, "batch_records": 10}
    given = replace(BARE, copies=1, workers=1, **slow)
    rate = capacity.record_rate(given)
    assert last(given, 400) == pytest.approx(400 / rate, rel=0.05)


def test_the_last_quote_of_a_node_comes_when_all_others_have_been_given() -> None:
    given = replace(BARE, quote_seconds=0.5, enclave_cpus=1.0)
    found = simulate(Scenario(15, nodes=1), given)
    assert found.all_serve_after == pytest.approx(15 * 0.5, rel=0.01)


def test_more_copies_of_the_key_service_are_no_slower_in_the_mean() -> None:
    slow = replace(BARE, decision_cpu_seconds=0.02, workers=1)

    def mean(copies: int) -> float:
        return statistics.mean(
            spread.median
            for seed in range(4)
            if (spread := simulate(Scenario(150, seed=seed), replace(slow, copies=copies))
                .until_serving)
        )  # fmt: skip

    means = [mean(copies) for copies in (1, 2, 4, 8)]
    assert means == sorted(means, reverse=True)
    assert means[0] > 3 * means[-1]


def test_pods_are_created_no_faster_than_the_controller_asks() -> None:
    found = simulate(Scenario(430), replace(BARE, creations_per_second=20.0, creations_burst=30))
    assert found.all_serve_after == pytest.approx(20.0, rel=0.01)


def refused(changes: dict[str, Any], **costs: float) -> Outcome:
    limits = Limits.model_validate({**OPEN.model_dump(), **changes})
    sources = 1 if any("source" in name for name in changes) else 0
    slow = replace(
        BARE,
        copies=1, workers=1, limits=limits, sources=sources,
        **{"decision_cpu_seconds": 0.05, "transaction_seconds": 0.5, **costs},
    )  # fmt: skip
    return simulate(Scenario(400), slow)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"connections_burst_per_source": 20, "connections_per_second_per_source": 5.0},
         "overloaded.source-rate"),
        ({"max_sessions_per_source": 20}, "overloaded.source-sessions"),
        ({"max_sessions": 20}, "overloaded.evicted"),
        ({"max_waiting_decisions": 20}, "overloaded.decisions"),
        ({"releases_burst_per_identity": 20, "releases_per_second_per_identity": 5.0},
         "overloaded.identity-rate"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_limits_are_reached_and_the_refused_come_again(
    changes: dict[str, Any], reason: str
) -> None:
    found = refused(changes)
    assert found.key_service.refused[reason] > 0
    assert found.key_service.tried_again > 0
    assert found.ended == {"serving": 400}
    assert found.key_service.records["released"] >= 400


def test_a_handshake_that_waits_too_long_is_closed() -> None:
    found = refused({"handshake_seconds": 1.0}, handshake_cpu_seconds=0.01)
    assert found.key_service.refused["deadline"] > 0
    assert found.ended == {"serving": 400}


def test_a_decision_that_waits_too_long_is_given_up_by_the_client() -> None:
    found = refused({"session_seconds": 3600.0}, decision_cpu_seconds=0.15)
    assert found.key_service.refused["the client's deadline"] > 0
    assert found.ended == {"serving": 400}


def test_what_does_not_fit_waits_for_room_and_says_so() -> None:
    found = simulate(Scenario(10, nodes=2), GIVEN)
    assert found.ended == {"serving": 6, "unplaced": 4}
    assert found.all_serve_after is None


def test_spare_nodes_are_more_than_those_that_all_need() -> None:
    assert simulate(Scenario(30, spare=0.25), GIVEN).nodes == 13


def test_where_no_node_holds_an_enclave_nothing_is_simulated() -> None:
    with pytest.raises(UsageError, match="no node has room"):
        simulate(Scenario(10), replace(GIVEN, node_epc_bytes=1))


def test_an_image_that_is_pulled_takes_its_time_once_a_node() -> None:
    there, pulled = (simulate(Scenario(6, pull=pull), GIVEN) for pull in (False, True))
    stage = next(stage for stage in pulled.stages if stage.name == "pull")
    assert stage.median == pytest.approx(GIVEN.image_bytes / GIVEN.node_pull_bytes_per_second)
    assert "pull" not in [stage.name for stage in there.stages]


def test_one_at_a_time_leaves_all_others_serving() -> None:
    found = simulate(Scenario(10, name="reattest", at_a_time=1), GIVEN)
    assert found.fewest_serving == 9
    assert found.all_serve_after is not None and found.until_serving is not None
    assert found.all_serve_after >= 10 * 0.9 * found.until_serving.median


def test_all_at_once_leaves_nobody_serving() -> None:
    found = simulate(Scenario(10, name="reattest"), GIVEN)
    assert found.fewest_serving == 0
    assert found.requests_without_server == pytest.approx(
        found.request_share * 0.7 * 10 * GIVEN.enclave_requests_per_second * found.all_serve_after
    )


def test_outdated_platforms_are_denied_until_they_are_updated() -> None:
    scenario = Scenario(30, name="reattest", outdated=0.3, updated_after=1000.0)
    found = simulate(scenario, GIVEN)
    assert found.key_service.records["denied"] > 0
    assert found.ended == {"serving": 30}
    # kubelet waits for at most five minutes and the start that it then begins.
    assert 1000 < (found.all_serve_after or 0.0) < 1000 + 300 + 60
    never = simulate(replace(scenario, updated_after=1e9, end=5000.0), GIVEN)
    assert never.ended == {"serving": 21, "denied": 9} and never.all_serve_after is None


def test_a_node_that_comes_back_soon_starts_its_pods_again() -> None:
    found = simulate(Scenario(30, name="failover", lost_seconds=100.0), GIVEN)
    assert found.untouched == 27 and found.fewest_serving == 27
    assert 100 < (found.all_serve_after or 0.0) < 150


def test_a_node_that_stays_away_is_given_up_after_its_toleration() -> None:
    scenario = Scenario(30, name="failover", nodes=12, lost_seconds=5000.0)
    found = simulate(scenario, GIVEN)
    assert 350 < (found.all_serve_after or 0.0) < 400
    alone = simulate(replace(scenario, enclaves=3, nodes=1), GIVEN)
    assert (alone.all_serve_after or 0.0) > 5000  # all nodes lost: none is given up


def test_nodes_of_a_lost_zone_are_given_up_one_in_ten_seconds() -> None:
    scenario = Scenario(90, name="failover", nodes=60, lose="zone", lost_seconds=1e4)
    found = simulate(scenario, GIVEN)
    assert found.ended == {"serving": 90}
    assert 350 + 19 * 10 < (found.all_serve_after or 0.0) < 350 + 20 * 10 + 60


def test_a_copy_of_two_is_missed_by_nobody_and_the_only_one_by_those_that_start() -> None:
    scenario = Scenario(100, name="failover", lose="keyservice", lost_seconds=300.0)
    two, one = (simulate(scenario, replace(GIVEN, copies=copies)) for copies in (2, 1))
    assert two.untouched == one.untouched == 90
    assert two.key_service.refused == {}
    assert one.key_service.refused["no copy is up"] > 0
    assert two.all_serve_after is not None and one.all_serve_after is not None
    assert one.all_serve_after > 300
    assert one.ended == {"serving": 100}


def test_without_the_database_there_is_no_record_and_no_key() -> None:
    scenario = Scenario(
        50, name="failover", lose="database", lost_seconds=1e4, starting=1.0, end=1e4
    )
    found = simulate(scenario, GIVEN)
    assert found.key_service.records == {} and found.key_service.audit_bytes == 0
    assert found.key_service.refused["undecided"] > 0


def test_the_command_says_simulated_and_the_same_twice(capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    for _ in range(2):
        with pytest.raises(SystemExit):
            main(["lab", "simulate", "--enclaves", "50", "--scenario", "failover", "--json"])
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] and json.loads(said[0])["simulated"] is True
    with pytest.raises(SystemExit):
        main(["lab", "simulate", "--enclaves", "50"])
    assert capsys.readouterr().out.startswith("SIMULATED start\n")


def test_several_fleets_stand_beside_one_another(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["lab", "simulate", "--enclaves", "3", "--enclaves", "30"]
    with pytest.raises(SystemExit):
        main(words)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["enclaves", "3", "30"] in lines and ["nodes", "1", "10"] in lines
    with pytest.raises(SystemExit):
        main([*words, "--json"])
    fleets = json.loads(capsys.readouterr().out)["fleets"]
    assert [each["enclaves"] for each in fleets] == [3, 30]


@pytest.mark.parametrize(
    "words",
    [[], ["--enclaves", "0"], ["--enclaves", "5", "--scenario", "none"], ["--outdated", "2"]],
    ids=" ".join,
)
def test_wrong_words_are_wrong_usage(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["lab", "simulate", *words])
    assert ended.value.code == 1
