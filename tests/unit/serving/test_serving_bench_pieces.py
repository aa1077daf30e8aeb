from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from bench import _serving_peers, _serving_small, _serving_start
from bench._process import client
from bench._serving_footprint import client_packages, closure, extras
from bench._serving_load import Predict, ask, latencies, load
from bench._serving_site import (
    INPUT,
    TWICE,
    Site,
    family,
    family_seconds,
    make_site,
    small_input,
    started_stages,
)
from sealserve.messages.open_inference_pb2 import ModelInferRequest
from sealserve.messages.predict_pb2 import PredictRequest, PredictResponse


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return make_site(tmp_path_factory.mktemp("bench"))


def test_a_server_of_ours_answers_over_mutual_tls_in_plaintext_and_over_rest(site: Site) -> None:
    rest_body = site.body("twice-json")
    rest_body.write_bytes(_serving_small.rest_request())
    with (
        client() as call,
        site.serve(TWICE, rest=True) as ours,
        site.serve(TWICE, tls=False) as plain,
    ):
        for server in (ours, plain):
            answer = PredictResponse.FromString(call(ask, server.grpc, site.body(TWICE)))
            assert list(answer.outputs) == ["predict"]
        assert b"outputs" in call(ask, ours.rest, rest_body)
        assert call(load, ours.grpc, site.body(TWICE), 2, 4) > 0
        assert len(call(latencies, ours.grpc, site.body(TWICE), 3)) == 3
        assert ours.pid in family(os.getpid())
        assert family_seconds(ours.pid) > 0
        log = next(iter(site.folder.glob("serve-0/log")))
        assert {"seconds", "import", "read", "load", "compile"} <= started_stages(log).keys()


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-01 INFO event=started seconds=1.5 import=0.25 rest=0.5\n",
        '{"time": "now", "event": "started", "seconds": 1.5, "import": 0.25, "rest": 0.5}\n',
    ],
    ids=["text", "json"],
)
def test_stages_are_read_from_either_form_of_the_log(tmp_path: Path, text: str) -> None:
    log = tmp_path / "log"
    log.write_text(f"something else\n{text}and more\n")
    assert started_stages(log) == {"seconds": 1.5, "import": 0.25, "rest": 0.5}


def test_a_log_without_the_event_is_an_error(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("ready\n")
    with pytest.raises(RuntimeError, match="no event of the start"):
        started_stages(log)


def test_peers_are_asked_about_the_same_numbers_in_every_form(site: Site) -> None:
    image = small_input()
    work = _serving_peers.Work(site, TWICE, image)
    ours = PredictRequest.FromString(site.body(TWICE).read_bytes())
    assert ours.inputs[INPUT].tensor_content == image.tobytes()
    for form, body in _serving_peers.v2_bodies(work).items():
        request = ModelInferRequest.FromString(body)
        (tensor,) = request.inputs
        found = {
            "fp32_contents": np.float32(tensor.contents.fp32_contents).tobytes(),
            "raw_input_contents": b"".join(request.raw_input_contents),
            "BYTES": b"".join(tensor.contents.bytes_contents),
        }
        assert found[form] == image.tobytes()
    bodies = _serving_peers.litserve_bodies(work)
    assert image.tobytes() in bodies["form with a file"][1]
    assert all(kind.startswith(("application/json", "multipart/")) for kind, _ in bodies.values())


def test_whole_starts_are_stages_and_the_answer_and_a_ratio_is_of_the_same_round() -> None:
    def found(seconds: float) -> dict[str, float]:
        return {"seconds": seconds, "load": seconds, _serving_start.FIRST_ANSWER: 1.0}

    rounds = {
        _serving_start.PLAIN: [found(1.0), found(3.0), found(9.0)],
        _serving_start.KEY_FILE: [found(1.5), found(4.0), found(11.0)],
        _serving_start.SOURCES: [found(1.0), found(4.0), found(15.0)],
        _serving_start.ATTESTED: [found(2.0), found(7.0), found(19.0)],
    }
    lines = {line.name: line for line in _serving_start.lines(rounds)}
    ratio = lines["start to first answer, ResNet-50, sealed, key file: times plain file"]
    assert ratio.value == 1.25 and ratio.holds is True
    assert lines["start, plain file: load"].value == 3.0
    attested = "start to first answer, ResNet-50, sealed, attested: times plain file"
    assert lines[attested].value == 2.0 and lines[attested].holds is None
    no_bytecode = lines[f"{attested}, no bytecode"]
    assert no_bytecode.value == 1.5 and no_bytecode.holds is False


def test_an_extra_brings_what_it_requires_and_the_client_brings_no_server() -> None:
    assert {"grpcio", "numpy", "cryptography", "sealserve"} <= closure("client")
    assert "openvino" not in closure("client") and "openvino" in closure("serving")
    assert {"grpcio", "numpy"} <= set(client_packages())
    not_the_clients = {"openvino", "starlette", "uvicorn", "grpcio-health-checking"}
    assert not not_the_clients & set(client_packages())


def test_the_extras_of_the_table_are_those_that_are_declared() -> None:
    assert {"client", "serving", "tensorflow", "otel", "pkcs11", "postgresql"} <= set(extras())
    assert not {"dev", "bench", "fuzz", "interop"} & set(extras())


def test_addresses_of_subjects_can_go_to_a_client_of_another_process() -> None:
    assert {Predict(1), Predict(1)} == {Predict(1)}
