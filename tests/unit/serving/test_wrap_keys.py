"""The wrap key: where it comes from, and that it shows itself nowhere."""

from __future__ import annotations

import logging
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sealserve.attester.messages import NamedSecret, SecretVersion
from sealserve.attester.named import Provision
from sealserve.errors import (
    ConfigError,
    DeniedError,
    FormatError,
    NetworkError,
    OverloadedError,
    UsageError,
)
from sealserve.sealing import ModelRecord, RecordedFile
from sealserve.serving.opening import keys
from sealserve.serving.opening.keys import (
    Attestation,
    HeldKeys,
    WrapKey,
    key_from_file,
    keys_again,
    keys_by_attestation,
)

KEY, OLDER = b"sixteen secrets!", b"another secrets!"


class Identity:
    evidence_digest = "ab" * 32


@pytest.fixture
def attestation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Attestation:
    """Asks a key service that the test plays; quotes and pauses are left out."""
    (tmp_path / "ca.pem").write_text("a CA")
    monkeypatch.setattr(keys, "make_certificate", lambda source: Identity())
    monkeypatch.setattr(keys.time, "sleep", lambda seconds: None)
    return Attestation("lab:/nowhere", "keys:4433", tmp_path / "ca.pem")


def play(monkeypatch: pytest.MonkeyPatch, *answers: Any) -> list[str]:
    """What the key service answers, one after the other; returns who was asked."""
    asked: list[str] = []
    waiting = list(answers)

    def fetch(servers: str, **rest: object) -> bytes:
        asked.append(servers)
        answer = waiting.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]

    monkeypatch.setattr(keys, "fetch_secret", fetch)
    return asked


def test_a_key_is_revealed_on_request_alone() -> None:
    key = WrapKey(KEY)
    assert key.reveal() == KEY
    for text in (repr(key), str(key), f"{key}"):
        assert text == "<WrapKey>"
    with pytest.raises(TypeError):
        pickle.dumps(key)
    assert not hasattr(key, "__dict__")


def test_a_key_of_another_size_is_refused_without_showing_it() -> None:
    with pytest.raises(FormatError, match="16 bytes; this one has 15") as caught:
        WrapKey(KEY[:15])
    assert "secrets" not in str(caught.value)


def test_a_key_file_is_used_loudly(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "wrap.key"
    path.write_bytes(KEY)
    path.chmod(0o600)
    assert key_from_file(path).reveal() == KEY
    assert "DANGEROUS" in caplog.text
    assert "secrets" not in caplog.text


def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wrap.key"
    path.write_bytes(KEY)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="mode 0644"):
        key_from_file(path)


@pytest.mark.parametrize(
    "secret", [KEY, KEY.hex().encode() + b"\0", KEY.hex().encode()], ids=["raw", "hex-nul", "hex"]
)
def test_a_released_key_is_taken_raw_or_in_hex_and_told_by_its_evidence(
    secret: bytes,
    attestation: Attestation,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    play(monkeypatch, secret)
    assert [key.reveal() for key in keys_by_attestation(attestation).keys] == [KEY]
    assert f"event=key_received evidence_sha256={'ab' * 32} keys=1" in caplog.text
    assert "event=SIMULATED" in caplog.text
    assert "secrets" not in caplog.text
    assert KEY.hex() not in caplog.text


@pytest.mark.parametrize("secret", [b"", KEY[:-1], KEY * 2, b"zz" * 16], ids=len)
def test_a_secret_that_is_no_key_is_refused_without_showing_it(
    secret: bytes, attestation: Attestation, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, secret)
    with pytest.raises(FormatError) as caught:
        keys_by_attestation(attestation)
    assert "secrets" not in repr(caught.value)
    assert caught.value.__cause__ is None


NAMED = "resnet50"
RECORD = ModelRecord(NAMED, 1, (RecordedFile("1/saved_model.pb", 3, bytes(32)),))


def play_named(monkeypatch: pytest.MonkeyPatch, *answers: NamedSecret | Exception) -> list[Any]:
    """What the key service answers to requests by name; returns which names were asked for."""
    asked: list[Any] = []
    waiting = list(answers)

    def fetch(servers: str, names: list[str], **rest: object) -> Provision:
        asked.append(names)
        answer = waiting.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Provision({names[0]: answer}, (), None)

    monkeypatch.setattr(keys, "fetch_named", fetch)
    return asked


def versions(*values: bytes, record: bytes | None = None) -> NamedSecret:
    numbers = range(len(values), 0, -1)
    return NamedSecret(tuple(map(SecretVersion, numbers, values)), record)


def revealed(held: HeldKeys) -> list[bytes]:
    return [key.reveal() for key in held.keys]


def test_by_name_every_version_comes_and_the_models_record(
    attestation: Attestation, monkeypatch: pytest.MonkeyPatch
) -> None:
    attestation = replace(attestation, secret_name=NAMED)
    asked = play_named(monkeypatch, versions(KEY, OLDER, record=RECORD.to_json()))
    held = keys_by_attestation(attestation)
    assert revealed(held) == [KEY, OLDER]
    assert held.record == RECORD
    assert asked == [[NAMED]]


@pytest.mark.parametrize(
    "secret",
    [versions(KEY, OLDER[:-1]), versions(KEY, record=b"{}")],
    ids=["a version that is no key", "a record that is none"],
)
def test_what_comes_by_name_is_read_as_strictly(
    secret: NamedSecret, attestation: Attestation, monkeypatch: pytest.MonkeyPatch
) -> None:
    play_named(monkeypatch, secret)
    with pytest.raises(FormatError) as caught:
        keys_by_attestation(replace(attestation, secret_name=NAMED))
    assert "secrets" not in repr(caught.value)


def test_a_busy_key_service_is_given_the_time_it_asks_for(
    attestation: Attestation, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(keys.time, "sleep", pauses.append)
    play_named(monkeypatch, OverloadedError("full", retry_after=20), versions(KEY))
    keys_by_attestation(replace(attestation, secret_name=NAMED))
    assert 15 <= pauses[0] <= 25


def test_asked_again_by_name_what_is_released_now_is_all_there_is(
    attestation: Attestation, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = HeldKeys((WrapKey(OLDER),), RECORD)
    play_named(monkeypatch, versions(KEY))
    again = keys_again(replace(attestation, secret_name=NAMED), held)
    assert revealed(again) == [KEY]
    assert again.record is None


@pytest.mark.parametrize(
    ("held", "then"),
    [([OLDER], [KEY, OLDER]), ([KEY], [KEY]), ([OLDER, KEY], [KEY, OLDER])],
    ids=["a new key", "the same", "an older one is current again"],
)
def test_asked_again_in_gramines_protocol_the_newest_joins_those_held(
    held: list[bytes],
    then: list[bytes],
    attestation: Attestation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    play(monkeypatch, KEY)
    again = keys_again(attestation, HeldKeys(tuple(map(WrapKey, held))))
    assert revealed(again) == then


def test_asked_again_a_failure_is_told_at_once(
    attestation: Attestation, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = play(monkeypatch, NetworkError("down"), KEY)
    with pytest.raises(NetworkError):
        keys_again(attestation, HeldKeys((WrapKey(OLDER),)))
    assert len(asked) == 1


def test_silence_is_asked_again(attestation: Attestation, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = play(monkeypatch, NetworkError("down"), NetworkError("still"), KEY)
    assert [key.reveal() for key in keys_by_attestation(attestation).keys] == [KEY]
    assert len(asked) == 3


@pytest.mark.parametrize(
    "error",
    [
        DeniedError("no"),
        FormatError("what?"),
        NetworkError("another certificate", code="server-certificate"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_refusal_is_final(
    error: Exception, attestation: Attestation, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = play(monkeypatch, error, KEY)
    with pytest.raises(type(error)):
        keys_by_attestation(attestation)
    assert len(asked) == 1


def test_asking_ends_at_the_deadline(
    attestation: Attestation, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(0, 1_000_000, 50))
    monkeypatch.setattr(keys.time, "monotonic", lambda: next(now))
    asked = play(monkeypatch, *[NetworkError("down")] * 100)
    with pytest.raises(NetworkError):
        keys_by_attestation(attestation)
    assert len(asked) < 5


def test_what_cannot_work_is_not_tried(
    attestation: Attestation, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = play(monkeypatch)
    with pytest.raises(UsageError, match="no evidence source is called"):
        keys_by_attestation(Attestation("hardware", "keys:4433", attestation.ca_file))
    with pytest.raises(ConfigError, match="there is no file"):
        keys_by_attestation(Attestation("gramine", "keys:4433", Path("/nowhere/ca.pem")))
    assert not asked
