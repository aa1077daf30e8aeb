"""--tls_mode: what ssl.cfg is for, said by whoever fixed the flags, and held at the start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from sealserve.deploy.description.reading import check_description
from sealserve.deploy.description.writing import Answers, describe
from sealserve.deploy.gramine.servers import program
from sealserve.errors import ConfigError, SealServeError
from sealserve.serving.flags import parse_flags

X = {"x": np.ones((1, 2), "f4")}


@pytest.fixture
def base(publish: Any, tmp_path: Path) -> Path:
    publish(tmp_path / "scale", 1)
    return tmp_path / "scale"


@pytest.mark.parametrize(
    ("meant", "mutual", "found"),
    [("mutual", False, "every client would be let in"), ("oneway", True, "would be refused")],
)
def test_a_file_of_the_other_kind_starts_nothing(
    meant: str, mutual: bool, found: str, start: Any, base: Path
) -> None:
    with pytest.raises(ConfigError, match=found) as raised:
        start(base, mutual=mutual, tls_mode=meant)
    assert raised.value.hint is not None
    assert "mode in [tls] of a description" in raised.value.hint
    assert "PRIVATE KEY" not in str(raised.value)


def test_mutual_as_it_is_meant_lets_only_clients_with_certificates_in(
    start: Any, base: Path, tmp_path: Path
) -> None:
    running = start(base, tls_mode="mutual")
    with running.client(running.world.client) as client:
        assert client.predict("scale", X)["y"].tolist() == [[1, 1]]
    with running.client(timeout=5) as stranger, pytest.raises(SealServeError):
        stranger.predict("scale", X)
    with running.http(tmp_path) as stranger, pytest.raises(httpx.TransportError):
        stranger.get("/v1/models/scale")


def test_oneway_as_it_is_meant_serves_every_client(start: Any, base: Path) -> None:
    running = start(base, mutual=False, tls_mode="oneway")
    with running.client() as client:
        assert client.predict("scale", X)["y"].tolist() == [[1, 1]]


@pytest.mark.parametrize("mutual", [False, True])
def test_without_the_flag_either_serves(mutual: bool, start: Any, base: Path) -> None:
    start(base, mutual=mutual).stop()


@pytest.mark.parametrize("mode", ["oneway", "mutual"])
def test_a_description_pins_its_mode_in_the_measured_arguments_of_our_server(mode: str) -> None:
    text = describe(Answers(kind="sealserve", tls=mode))
    description = check_description(text).description
    assert description is not None
    arguments = program(description).arguments
    flags, _ = parse_flags(arguments[arguments.index("serve") + 1 :])
    assert flags.tls_mode == mode
