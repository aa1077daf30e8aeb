"""What `sealserve k8s status` and `diagnose` print, of what was seen on a real cluster."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sealserve.cli.k8s_diagnose import lines
from sealserve.cli.k8s_status import print_status
from sealserve.deploy.kubernetes.live.diagnosis.causes.explaining import explain
from sealserve.deploy.kubernetes.live.status.rows import ModelState
from sealserve.deploy.kubernetes.live.status.statuses import status_of
from seen_recordings import seen


def test_a_status_says_for_each_pod_how_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    found = seen("healthy")
    name = found.pods("server")[0]["metadata"]["name"]
    print_status(status_of(found, {name: [ModelState("digits", 1, "AVAILABLE")]}))
    said = capsys.readouterr()
    rows = [line.split() for line in said.out.splitlines()]
    assert "SIMULATED" in said.out
    assert ["server", "1", "of", "1", "ready"] in rows
    (pod, server) = (row for row in rows if row[:1] == [name])
    assert pod[1:4] == ["Running", "yes", "0"]
    assert pod[-2:] == ["node-1", "test"]
    assert server[1:5] == ["released", "UpToDate", "digits/1", "AVAILABLE"]
    assert len(server[-1]) == 64


def test_models_that_were_not_asked_are_not_made_up(capsys: pytest.CaptureFixture[str]) -> None:
    print_status(status_of(seen("denied"), None))
    said = capsys.readouterr()
    assert "denied policy.measurement" in said.out
    assert said.out.count("not asked") == 2
    assert "sealserve k8s diagnose" in said.err


def test_where_nothing_is_applied_it_is_said_how_to(capsys: pytest.CaptureFixture[str]) -> None:
    print_status(status_of(replace(seen("healthy"), objects=()), None))
    assert "sealserve k8s apply" in capsys.readouterr().err


def test_a_finding_is_a_sentence_a_cure_and_the_pods_that_show_it() -> None:
    (finding, *_) = explain(seen("cpu"))
    sentence, cure, pods = lines(finding)
    assert sentence.startswith("error: a pod asks for 8 of cpu")
    assert sentence.endswith("[node.cpu]")
    assert cure.startswith("  hint: ")
    assert pods == f"  pods: {finding.pods[0]}"
