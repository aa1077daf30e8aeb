"""A new sealed version that cannot be served: the old one is, and the status says what is wrong."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from sealserve.errors import NetworkError, Unimplemented
from sealserve.messages.status_pb2 import Code, StatusProto
from sealserve.sealing import seal
from sealserve.serving.engines.openvino import OpenVinoEngine
from sealserve.serving.faces.answers import status_response
from sealserve.serving.life.lifecycle import ModelManager, Pace
from sealserve.serving.life.models import ModelSettings
from sealserve.serving.life.reasons import status_of
from sealserve.serving.life.servable import Loader
from sealserve.serving.life.versions import END
from sealserve.serving.life.warmup import FILE_NAME, WarmUp
from sealserve.serving.opening.keys import WrapKey
from sealserve.serving.opening.vault import Vault

KEY, OTHER = bytes(range(16)), bytes(16)
Publish = Callable[..., Path]


class Site:
    """A model folder that is sealed, version by version, under the path that the server uses."""

    def __init__(self, folder: Path, model: bytes) -> None:
        self.folder = folder
        self.model = model

    def put(
        self,
        version: int,
        *,
        name: str = "saved_model.pb",
        plain: bytes | None = None,
        key: bytes = KEY,
        embed: str = "",
    ) -> Path:
        path = f"sealed/{version}/{name}"
        made = self.folder / f"sealed/.{version}/{name}"
        made.parent.mkdir(parents=True, exist_ok=True)
        with made.open("w+b") as sink:
            seal(io.BytesIO(self.model if plain is None else plain), sink, key, path=embed or path)
        return made

    def show(self, version: int) -> None:
        (self.folder / f"sealed/.{version}").rename(self.folder / f"sealed/{version}")


@pytest.fixture
def site(publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.chdir(tmp_path)
    site = Site(tmp_path, (publish(1) / "1/saved_model.pb").read_bytes())
    site.put(1)
    site.show(1)
    return site


def tamper(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def broken_warm_up(site: Site) -> None:
    site.put(2)
    site.put(2, name=FILE_NAME, plain=b"no records")


FAILURES: dict[str, tuple[Callable[[Site], object], str, str]] = {
    "another-key": (
        lambda site: site.put(2, key=OTHER),
        "DATA_LOSS",
        "integrity.key-or-header: the version was not loaded: a sealed file opens under no key",
    ),
    "tampered": (
        lambda site: tamper(site.put(2, plain=site.model + bytes(40_000)), 20_000),
        "DATA_LOSS",
        "integrity.node: the version was not loaded: a sealed file was tampered with",
    ),
    "of-another-path": (
        lambda site: site.put(2, embed="sealed/1/saved_model.pb"),
        "DATA_LOSS",
        "integrity.path: the version was not loaded: a sealed file is authentic, but was sealed",
    ),
    "not-sealed": (
        lambda site: site.put(2).write_bytes(site.model),
        "DATA_LOSS",
        "integrity.not-protected: the version was not loaded: a file is not sealed",
    ),
    "no-model": (
        lambda site: site.put(2, plain=b"\xff\xff"),
        "INVALID_ARGUMENT",
        "saved-model: the version was not loaded: the files are no model",
    ),
    "broken-warm-up": (
        broken_warm_up,
        "INVALID_ARGUMENT",
        "serving.warm-up: the version was not loaded: warm-up: record 1 of a TFRecord file",
    ),
}


@pytest.mark.parametrize(("make", "code", "text"), FAILURES.values(), ids=FAILURES.keys())
def test_the_kind_of_failure_is_told_and_no_file(
    site: Site, engine: OpenVinoEngine, make: Callable[[Site], object], code: str, text: str
) -> None:
    loader = Loader(engine, Vault([WrapKey(KEY)]), ["serve"], WarmUp())
    status = asyncio.run(_second_version(loader, site, make))
    assert Code.Name(status.error_code) == code
    assert status.error_message.startswith(text)
    assert "saved_model.pb" not in status.error_message


async def _second_version(
    loader: Loader, site: Site, make: Callable[[Site], object]
) -> StatusProto:
    """The status of a second version that appears while the first is served."""
    manager = ModelManager(loader, Pace(0.01, 0, 0))
    try:
        await manager.start([ModelSettings("scale", "sealed")])
        watching = asyncio.create_task(manager.watch())
        make(site)
        site.show(2)
        async with asyncio.timeout(30):
            while 2 not in manager.versions("scale") or manager.versions("scale")[2].state != END:
                await asyncio.sleep(0.005)
        watching.cancel()
        assert manager.servable("scale").version == 1
        return status_response(manager.versions("scale")).model_version_status[0].status
    finally:
        await manager.close()


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Unimplemented("it lacks RaggedTensor"), "serving.unimplemented: it lacks RaggedTensor"),
        (
            NetworkError("10.0.0.1 does not answer"),
            "network: the version was not loaded: what is needed to open the files is not to be "
            "had; the log says more",
        ),
        (
            RuntimeError("/secret/path"),
            "internal: the version was not loaded: something unforeseen; the log says more",
        ),
    ],
)
def test_an_engine_speaks_for_itself_and_nothing_else_does(error: Exception, text: str) -> None:
    assert status_of(error).error_message == text


def test_without_an_error_all_is_well() -> None:
    assert status_of(None) == StatusProto()
