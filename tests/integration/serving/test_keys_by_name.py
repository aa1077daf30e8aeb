"""A server that has its key by name: with its record, and through a rotation without a restart."""

from __future__ import annotations

import io
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fixed_decisions import Quotes, by_name, released, serve
from sealserve.errors import ConfigError, DeniedError, IntegrityError
from sealserve.sealing import ModelRecord, RecordedFile, seal
from sealserve.serving.opening import keys, renewal

OLD, NEW = b"an older wrapkey", b"the newest key !"


@pytest.fixture(autouse=True)
def _lab(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evidence that nobody verifies, and keys that may be asked for at any time."""
    monkeypatch.setattr(keys, "parse_source", lambda _: Quotes())
    monkeypatch.setattr(renewal, "RENEWAL_SECONDS", 0.0)


@pytest.fixture
def sealed(world: Any, publish: Any, tmp_path: Path) -> Any:
    """Puts a version of the model into its folder, sealed under a key, and makes records."""

    class Sealed:
        base = tmp_path / "models" / "scale"
        plain = tmp_path / "plain"

        def put(self, version: int, key: bytes) -> None:
            data = (publish(self.plain, version) / "saved_model.pb").read_bytes()
            partial = self.base / f".{version}"
            partial.mkdir(parents=True)
            final = self.base / str(version)
            self.write(data, partial / "saved_model.pb", final / "saved_model.pb", key)
            partial.rename(final)

        def tls(self, key: bytes) -> str:
            path = tmp_path / "ssl.cfg"
            self.write(world.ssl_config(mutual=True), path, path, key)
            return str(path)

        def record(self, *versions: int, model: str = "scale") -> bytes:
            files = []
            for version in versions:
                data = (self.plain / str(version) / "saved_model.pb").read_bytes()
                name = f"{version}/saved_model.pb"
                files.append(RecordedFile(name, len(data), sha256(data).digest()))
            return ModelRecord(model, None, tuple(files)).to_json()

        def write(self, data: bytes, path: Path, final: Path, key: bytes) -> None:
            with path.open("wb+") as stream:
                seal(io.BytesIO(data), stream, key, path=str(final))

    return Sealed()


def flags(fixed: Any, sealed: Any, **changes: Any) -> dict[str, Any]:
    return {
        "attest": True,
        "evidence_source": "lab:nowhere",
        "key_service": fixed.servers,
        "key_service_ca": str(fixed.ca_file),
        "secret_name": "scale",
        "ssl_config_file": sealed.tls(OLD),
        "dangerously_serve_unsealed_models": False,
        "file_system_poll_wait_seconds": 1,
        **changes,
    }


def ask(running: Any) -> float:
    with running.client(running.world.client) as client:
        return float(client.predict("scale", {"x": np.ones((1, 2), "f4")})["y"][0, 0])


def test_a_key_is_rotated_and_what_is_sealed_under_the_new_one_served_without_a_restart(
    start: Any, sealed: Any, tmp_path: Path
) -> None:
    sealed.put(1, OLD)
    held = {"scale": released("scale", OLD, record=sealed.record(1))}
    with serve(tmp_path, by_name(held)) as fixed:
        running = start(sealed.base, **flags(fixed, sealed))
        assert ask(running) == 1
        sealed.put(2, NEW)
        held["scale"] = released("scale", NEW, OLD, record=sealed.record(1, 2))
        end = time.monotonic() + 60
        while ask(running) != 2:
            assert time.monotonic() < end
            time.sleep(0.1)
        running.stop()
    assert [asked.names for asked in fixed.asks][:2] == [("scale",), ("scale",)]


def test_a_version_that_is_not_in_the_record_is_not_served(
    start: Any, sealed: Any, tmp_path: Path
) -> None:
    sealed.put(1, OLD)
    sealed.put(2, OLD)
    held = {"scale": released("scale", OLD, record=sealed.record(1))}
    with serve(tmp_path, by_name(held)) as fixed, pytest.raises(IntegrityError) as caught:
        start(sealed.base, **flags(fixed, sealed))
    assert caught.value.code == "integrity.record"


def test_with_a_model_configuration_the_record_is_of_the_model_that_it_names(
    start: Any, sealed: Any, tmp_path: Path
) -> None:
    sealed.put(1, OLD)
    path = tmp_path / "models.config"
    config = f'model_config_list {{ config {{ name: "scale" base_path: "{sealed.base}" }} }}'
    sealed.write(config.encode(), path, path, OLD)
    held = {"scale": released("scale", OLD, record=sealed.record(1))}
    named = {"model_config_file": str(path), "model_base_path": ""}
    with serve(tmp_path, by_name(held)) as fixed:
        running = start(sealed.base, **flags(fixed, sealed, **named))
        assert ask(running) == 1
        running.stop()
        held["scale"] = released("scale", OLD, record=sealed.record(1, model="other"))
        with pytest.raises(ConfigError, match="record of model 'other'"):
            start(sealed.base, **flags(fixed, sealed, **named))


def test_a_name_that_is_denied_is_final(start: Any, sealed: Any, tmp_path: Path) -> None:
    sealed.put(1, OLD)
    with serve(tmp_path, by_name({})) as fixed, pytest.raises(DeniedError, match="denies scale"):
        start(sealed.base, **flags(fixed, sealed))
    assert len(fixed.asks) == 1
