"""A server asks for its keys again when a file is of a later one: seldom, and losing nothing."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import pytest

from sealserve.errors import (
    ConfigError,
    DeniedError,
    IntegrityError,
    NetworkError,
    WrongKeyOrHeader,
)
from sealserve.sealing import ModelRecord, RecordedFile, seal
from sealserve.serving.opening.keys import HeldKeys, WrapKey
from sealserve.serving.opening.renewal import RENEWAL_SECONDS, RenewingVault
from sealserve.serving.opening.vault import Vault

OLD, NEW = HeldKeys((WrapKey(b"an older wrapkey"),)), HeldKeys((WrapKey(b"the newest key !"),))
LIMIT = 1 << 20


@dataclass
class KeyService:
    """What it answers, one after the other, and what it was told is held."""

    answers: list[HeldKeys | Exception]
    asked: list[HeldKeys] = field(default_factory=list)
    now: float = 0.0

    def renew(self, held: HeldKeys) -> HeldKeys:
        self.asked.append(held)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def open_vault(held: HeldKeys) -> Vault:
    return Vault(held.keys, record=held.record, record_root="models/digits")


Start = Callable[..., tuple[RenewingVault, KeyService]]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    monkeypatch.chdir(tmp_path)

    def begin(
        *answers: HeldKeys | Exception, held: HeldKeys = OLD
    ) -> tuple[RenewingVault, KeyService]:
        service = KeyService(list(answers))
        vault = RenewingVault(
            held, renew=service.renew, open_vault=open_vault, clock=lambda: service.now
        )
        service.now += RENEWAL_SECONDS
        return vault, service

    return begin


def put(path: str, data: bytes, held: HeldKeys) -> str:
    """A file sealed under the newest of these keys."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with Path(path).open("wb+") as stream:
        seal(io.BytesIO(data), stream, held.keys[0].reveal(), path=path)
    return path


def test_what_opens_asks_nobody(start: Start) -> None:
    vault, service = start()
    assert vault.read(put("1.pb", b"one", OLD), limit=LIMIT) == b"one"
    assert not service.asked


def test_a_file_under_a_newer_key_is_read_once_that_key_is_there(start: Start) -> None:
    both = HeldKeys((*NEW.keys, *OLD.keys))
    vault, service = start(both)
    assert vault.read(put("2.pb", b"two", NEW), limit=LIMIT) == b"two"
    assert vault.read(put("1.pb", b"one", OLD), limit=LIMIT) == b"one"
    assert service.asked == [OLD]


def test_a_key_that_is_no_longer_released_opens_nothing(start: Start) -> None:
    vault, service = start(NEW, NEW)
    vault.read(put("2.pb", b"two", NEW), limit=LIMIT)
    with pytest.raises(WrongKeyOrHeader):
        vault.read(put("1.pb", b"one", OLD), limit=LIMIT)
    assert service.asked == [OLD]  # it has just asked


def test_it_asks_again_at_most_so_often(start: Start) -> None:
    vault, service = start(*[OLD] * 9)
    path = put("2.pb", b"two", NEW)
    for _ in range(100):
        with pytest.raises(WrongKeyOrHeader):
            vault.read(path, limit=LIMIT)
        service.now += 1.0
    assert len(service.asked) == 4


def test_just_started_it_has_just_asked(start: Start) -> None:
    vault, service = start(NEW)
    service.now -= 0.1
    with pytest.raises(WrongKeyOrHeader):
        vault.read(put("2.pb", b"two", NEW), limit=LIMIT)
    assert not service.asked


@pytest.mark.parametrize(
    "error",
    [DeniedError("no"), NetworkError("nobody there"), ConfigError("no such model")],
    ids=lambda error: type(error).__name__,
)
def test_without_an_answer_it_keeps_what_it_holds(
    start: Start, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    vault, service = start(error, NEW)
    path = put("2.pb", b"two", NEW)
    with pytest.raises(WrongKeyOrHeader):
        vault.read(path, limit=LIMIT)
    assert vault.read(put("1.pb", b"one", OLD), limit=LIMIT) == b"one"
    assert str(error) in caplog.text
    service.now += RENEWAL_SECONDS
    assert vault.read(path, limit=LIMIT) == b"two"


def test_a_damaged_file_is_not_asked_about(start: Start) -> None:
    vault, service = start()
    path = Path(put("1.pb", bytes(9000), OLD))
    path.write_bytes(path.read_bytes()[:-4096] + bytes(4096))
    with pytest.raises(IntegrityError):
        vault.read(str(path), limit=LIMIT)
    path.write_bytes(b"plain")
    with pytest.raises(IntegrityError):
        vault.read(str(path), limit=LIMIT)
    assert not service.asked


def record(**files: bytes) -> ModelRecord:
    return ModelRecord(
        "digits",
        None,
        tuple(
            RecordedFile(f"{name}/m.pb", len(data), sha256(data).digest())
            for name, data in sorted(files.items())
        ),
    )


def test_a_version_that_the_record_does_not_name_asks_for_a_newer_record(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    before = HeldKeys(OLD.keys, record(v1=b"one"))
    vault, service = start(HeldKeys(OLD.keys, record(v1=b"one", v2=b"two")), held=before)
    assert vault.read(put("models/digits/v1/m.pb", b"one", OLD), limit=LIMIT) == b"one"
    assert not service.asked
    assert vault.read(put("models/digits/v2/m.pb", b"two", OLD), limit=LIMIT) == b"two"
    assert service.asked == [before]
    assert "event=asking_for_keys_again" in caplog.text


def test_an_older_file_that_was_put_back_is_still_refused_by_the_newer_record(start: Start) -> None:
    held = HeldKeys(OLD.keys, record(v1=b"new"))
    vault, service = start(held, held=held)
    with pytest.raises(IntegrityError) as caught:
        vault.read(put("models/digits/v1/m.pb", b"old", OLD), limit=LIMIT)
    assert caught.value.code == "integrity.record"
    assert len(service.asked) == 1
