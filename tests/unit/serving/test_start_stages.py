from __future__ import annotations

import threading

import pytest

from sealserve.serving.watching.stages import Stages, process_age


def test_a_start_is_told_in_one_event_by_stage_in_the_order_in_which_they_ended() -> None:
    stages = Stages()
    stages.imported()
    with stages.stage("load"), stages.stage("compile"):
        pass
    told = stages.told()
    assert told.event == "started"
    assert list(told.facts) == ["seconds", "import", "compile", "load", "rest"]


def test_seconds_of_stages_and_the_rest_are_all_that_passed() -> None:
    stages = Stages()
    stages.imported()
    with stages.stage("load"):
        with stages.stage("read"):
            threading.Event().wait(0.01)
        with stages.stage("read"):
            threading.Event().wait(0.01)
    facts = {name: float(str(value)) for name, value in stages.told().facts.items()}
    whole = facts.pop("seconds")
    assert sum(facts.values()) == pytest.approx(whole, abs=0.005)
    assert facts["read"] >= 0.02, "it is the sum of both times"
    assert facts["load"] < facts["read"], "what is inside a stage is not counted twice"


def test_a_stage_that_fails_has_its_seconds_and_the_next_is_not_inside_it() -> None:
    stages = Stages()
    with pytest.raises(ZeroDivisionError), stages.stage("load"):
        raise ZeroDivisionError
    with stages.stage("compile"):
        threading.Event().wait(0.01)
    facts = stages.told().facts
    assert float(str(facts["compile"])) >= 0.01
    assert float(str(facts["load"])) >= 0.0


def test_stages_of_another_thread_are_not_inside_ours() -> None:
    stages = Stages()

    def read() -> None:
        with stages.stage("read"):
            threading.Event().wait(0.01)

    with stages.stage("load"):
        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
    facts = stages.told().facts
    assert float(str(facts["load"])) >= 0.01


def test_nothing_is_measured_once_it_has_been_told() -> None:
    stages = Stages()
    stages.told()
    with stages.stage("load"):
        pass
    assert "load" not in stages.told().facts


def test_this_process_is_older_than_nothing_and_younger_than_a_day() -> None:
    assert 0.0 < process_age() < 86_400
