"""The wrap key: where it comes from, and that it shows itself nowhere."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import pytest

from sealserve.errors import ConfigError, DeniedError, FormatError, NetworkError, UsageError
from sealserve.serving import keys
from sealserve.serving.keys import Attestation, WrapKey, key_by_attestation, key_from_file

KEY = b"sixteen secrets!"


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
    assert key_by_attestation(attestation).reveal() == KEY
    assert f"SIMULATED: key received for evidence SHA-256 {'ab' * 32}" in caplog.text
    assert "secrets" not in caplog.text
    assert KEY.hex() not in caplog.text


@pytest.mark.parametrize("secret", [b"", KEY[:-1], KEY * 2, b"zz" * 16], ids=len)
def test_a_secret_that_is_no_key_is_refused_without_showing_it(
    secret: bytes, attestation: Attestation, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, secret)
    with pytest.raises(FormatError) as caught:
        key_by_attestation(attestation)
    assert "secrets" not in repr(caught.value)
    assert caught.value.__cause__ is None


def test_silence_is_asked_again(attestation: Attestation, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = play(monkeypatch, NetworkError("down"), NetworkError("still"), KEY)
    assert key_by_attestation(attestation).reveal() == KEY
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
        key_by_attestation(attestation)
    assert len(asked) == 1


def test_asking_ends_at_the_deadline(
    attestation: Attestation, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(0, 1_000_000, 50))
    monkeypatch.setattr(keys.time, "monotonic", lambda: next(now))
    asked = play(monkeypatch, *[NetworkError("down")] * 100)
    with pytest.raises(NetworkError):
        key_by_attestation(attestation)
    assert len(asked) < 5


def test_what_cannot_work_is_not_tried(
    attestation: Attestation, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = play(monkeypatch)
    with pytest.raises(UsageError, match="no evidence source is called"):
        key_by_attestation(Attestation("hardware", "keys:4433", attestation.ca_file))
    with pytest.raises(ConfigError, match="there is no file"):
        key_by_attestation(Attestation("gramine", "keys:4433", Path("/nowhere/ca.pem")))
    assert not asked
