"""Files sealed for the published solution are served as they are, by what migrate made of it."""

from __future__ import annotations

import dataclasses
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sealserve.deploy.description.model import Description
from sealserve.deploy.description.reading import check_description
from sealserve.deploy.gramine.render import render
from sealserve.deploy.gramine.servers import program
from sealserve.deploy.migration.migrating import migrate
from sealserve.errors import SealServeError
from sealserve.sealing import seal
from sealserve.serving.flags import Flags, parse_flags

KEY = bytes(range(16))
X = {"x": np.ones((1, 2), "f4")}
OLD_FORM = 1


def put(path: Path, data: bytes, sealed_for: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sink = io.BytesIO()
    seal(io.BytesIO(data), sink, KEY, path=sealed_for, version=OLD_FORM)
    path.write_bytes(sink.getvalue())


@pytest.fixture
def folder(publish: Any, world: Any, tmp_path: Path) -> Path:
    """Two models and ssl.cfg as Gramine's old tool seals them, and the server's models.config."""
    old = tmp_path / "old"
    for version, name in enumerate(("scale", "other"), start=1):
        plain = publish(tmp_path / "plain" / name, version) / "saved_model.pb"
        path = f"models/{name}/{version}/saved_model.pb"
        put(old / path, plain.read_bytes(), path)
    put(old / "ssl.cfg", world.ssl_config(mutual=True), "ssl.cfg")
    (old / "models.config").write_text(
        'model_config_list { config { name: "scale" base_path: "/models/scale" }\n'
        'config { name: "other" base_path: "/models/other" } }\n'
    )
    return old


def described(folder: Path) -> Description:
    migration = migrate(folder, "wrap-key", datetime(2026, 6, 1, tzinfo=UTC), {"wrap-key": KEY})
    text = migration.description.replace('"tensorflow-serving"', '"sealserve"')
    description = check_description(text).description
    assert description is not None
    return description


def flags_of(description: Description, key_file: Path) -> Flags:
    """The rendered arguments, with a key from a file and free ports of this machine."""
    arguments = program(description).arguments
    flags, _ = parse_flags(arguments[arguments.index("serve") + 1 :])
    return dataclasses.replace(
        flags,
        host="127.0.0.1",
        port=0,
        attest=False,
        key_service="",
        key_service_ca="",
        secret_name="",
        dangerously_use_key_file=str(key_file),
    )


@pytest.fixture
def running(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: Any) -> Any:
    description = described(folder)
    rendered = render(description)
    for name in rendered.to_seal:
        path = name.removeprefix("to-seal/")
        put(folder / path, rendered.files[name], path)
    key_file = tmp_path / "wrap.key"
    key_file.write_bytes(KEY)
    key_file.chmod(0o600)
    monkeypatch.chdir(folder)
    return start(folder, **dataclasses.asdict(flags_of(description, key_file)))


def test_the_old_files_are_served_as_they_are(running: Any) -> None:
    with running.client(running.world.client) as client:
        assert client.predict("scale", X)["y"].tolist() == [[1, 1]]
        assert client.predict("other", X)["y"].tolist() == [[2, 2]]


def test_the_mode_of_the_old_tls_configuration_is_kept(running: Any) -> None:
    with running.client(timeout=5) as stranger, pytest.raises(SealServeError):
        stranger.predict("scale", X)
