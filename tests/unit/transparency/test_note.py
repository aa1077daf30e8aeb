"""Keys of logs, and notes that they sign: those of other implementations, and nothing near them."""

from __future__ import annotations

import base64
import copy
import pickle
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sealserve.errors import AuditError, FormatError
from sealserve.transparency.note import (
    NOTE_LIMIT,
    ORIGIN_LIMIT,
    LogKey,
    LogVerifier,
    open_note,
    sign_note,
)

# The example of C2SP signed-note.
SPEC_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SPEC_NOTE = (
    "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi"
    "2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
# The example of golang.org/x/mod/sumdb/note, whose private key is published with it.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
GO_TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
GO_SIGNATURE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngot"
    "pRZb6KE6RyyBwJnAM=\n"
)
GO_NOTE = GO_TEXT + "\n" + GO_SIGNATURE

GO = LogVerifier.parse(GO_KEY)
WITNESS = LogKey.from_seed("witness.example.org", b"w" * 32)


def line(key: LogKey, text: str = GO_TEXT) -> str:
    return sign_note(text, key).rpartition("\n\n")[2]


@pytest.mark.parametrize("text", [SPEC_KEY, GO_KEY], ids=["specification", "Go"])
def test_a_published_key_is_read_and_written_back(text: str) -> None:
    assert str(LogVerifier.parse(text)) == text


def test_a_published_note_is_opened() -> None:
    spec = LogVerifier.parse(SPEC_KEY)
    assert spec.key_id.hex() == "530d903a"
    assert open_note(SPEC_NOTE, spec) == "This is an example message.\n"
    assert open_note(GO_NOTE, GO) == GO_TEXT


def test_a_published_key_signs_the_published_note() -> None:
    key = LogKey.from_seed("PeterNeumann", GO_SEED)
    assert key.verifier == GO
    assert sign_note(GO_TEXT, key) == GO_NOTE


def test_the_text_of_a_note_ends_at_its_last_empty_line() -> None:
    text = "a\n\nb\n"
    assert open_note(sign_note(text, WITNESS), WITNESS.verifier) == text


def test_other_signers_are_passed_over() -> None:
    for signed in (GO_SIGNATURE + line(WITNESS), line(WITNESS) + GO_SIGNATURE):
        assert open_note(f"{GO_TEXT}\n{signed}", GO) == GO_TEXT


def test_a_signer_who_shares_the_name_or_the_id_is_another() -> None:
    namesake = line(LogKey.from_seed("PeterNeumann", b"n" * 32))
    same_id = GO_SIGNATURE.replace("PeterNeumann", "other.example.org")
    assert open_note(f"{GO_TEXT}\n{namesake}{same_id}{GO_SIGNATURE}", GO) == GO_TEXT
    with pytest.raises(AuditError):
        open_note(f"{GO_TEXT}\n{namesake}{same_id}", GO)


def test_sixteen_signatures_are_read() -> None:
    witnesses = [LogKey.from_seed(f"witness.example.org/{n}", bytes([n]) * 32) for n in range(15)]
    note = f"{GO_TEXT}\n" + "".join(map(line, witnesses)) + GO_SIGNATURE
    assert open_note(note, GO) == GO_TEXT


def _resigned(change: Callable[[bytes], bytes]) -> str:
    encoded = GO_SIGNATURE.split(" ")[2].strip()
    return f"— PeterNeumann {base64.b64encode(change(base64.b64decode(encoded))).decode()}\n"


def _signed_by(signature: str) -> str:
    return f"{GO_TEXT}\n{signature}"


NOTES = {
    "empty": "",
    "a text alone": GO_TEXT,
    "a signature alone": GO_SIGNATURE,
    "a text and an empty line": GO_TEXT + "\n",
    "an empty line more": GO_NOTE + "\n",
    "no empty line": GO_TEXT + GO_SIGNATURE,
    "the last line not ended": GO_NOTE[:-1],
    "cut off inside its signature": GO_NOTE[:-20],
    "cut off inside its text": GO_NOTE[20:],
    "a letter of the text": GO_NOTE.replace("think", "thing"),
    "a line before": "More:\n" + GO_NOTE,
    "a line after the text": GO_NOTE.replace("\n\n", "\nMore.\n\n"),
    "a space after the text": GO_NOTE.replace("\n\n", " \n\n"),
    "lines of Windows": GO_NOTE.replace("\n", "\r\n"),
    "a tab": GO_NOTE.replace(" ", "\t", 1),
    "a zero byte": GO_NOTE.replace(" ", "\0", 1),
    "half a surrogate": "\ud800" + GO_NOTE,
    "more than 4 KiB": "a" * NOTE_LIMIT + GO_NOTE,
    "more than 4 KiB of UTF-8": "é" * (NOTE_LIMIT // 2) + GO_NOTE,
    "signed by another": _signed_by(line(WITNESS)),
    "signed twice": _signed_by(GO_SIGNATURE * 2),
    "signed well and badly": _signed_by(
        GO_SIGNATURE + _resigned(lambda data: data[:4] + bytes(64))
    ),
    "signed over another text": _signed_by(
        line(LogKey.from_seed("PeterNeumann", GO_SEED), "Another text.\n")
    ),
    "another id": _signed_by(_resigned(lambda data: bytes(4) + data[4:])),
    "another signature": _signed_by(_resigned(lambda data: data[:-1] + bytes([data[-1] ^ 1]))),
    "a signature cut off": _signed_by(_resigned(lambda data: data[:-1])),
    "a signature made longer": _signed_by(_resigned(lambda data: data + b"\0")),
    "an id alone": _signed_by(_resigned(lambda data: data[:4])),
    "nothing signed": _signed_by("— PeterNeumann \n"),
    "a hyphen for a dash": GO_NOTE.replace("—", "-"),
    "no name": GO_NOTE.replace(" PeterNeumann ", "  "),
    "a name of two words": GO_NOTE.replace("PeterNeumann", "Peter Neumann"),
    "a name with an em space": GO_NOTE.replace("PeterNeumann", "Peter\u2003Neumann"),
    "a name with a plus": GO_NOTE.replace("PeterNeumann", "Peter+Neumann"),
    "a word after the signature": GO_NOTE[:-1] + " more\n",
    "a space after the signature": GO_NOTE[:-1] + " \n",
    "base64 without padding": GO_NOTE.replace("=\n", "\n"),
    "base64 with bits after its end": GO_NOTE.replace("AM=\n", "AN=\n"),
    "base64 for URLs": GO_NOTE.replace("/", "_"),
    "a line that is no signature beside ours": GO_NOTE + "not signed\n",
    "a damaged signature of another beside ours": GO_NOTE + line(WITNESS).replace("=", "!"),
}


@pytest.mark.parametrize("note", NOTES.values(), ids=NOTES)
def test_a_note_that_the_key_did_not_sign_is_refused(note: str) -> None:
    with pytest.raises(AuditError) as error:
        open_note(note, GO)
    assert error.value.code == "audit.checkpoint"


SIGNED_TEXTS = {
    "a tab": "a\tb\n",
    "a zero byte": "a\0b\n",
    "lines of Windows": "a\r\n",
    "more than 4 KiB": "a" * NOTE_LIMIT + "\n",
    "more than 4 KiB of UTF-8": "é" * (NOTE_LIMIT // 2) + "\n",
}


@pytest.mark.parametrize("text", SIGNED_TEXTS.values(), ids=SIGNED_TEXTS)
def test_what_is_no_note_is_refused_though_signed(text: str) -> None:
    with pytest.raises(AuditError) as error:
        open_note(sign_note(text, WITNESS), WITNESS.verifier)
    assert error.value.code == "audit.checkpoint"


BESIDE = {
    "no name": "",
    "a plus": "a+b",
    "an em space": "a\u2003b",
    "a space without break": "a\u00a0b",
    "a line separator": "a\u2028b",
}


@pytest.mark.parametrize("name", BESIDE.values(), ids=BESIDE)
def test_another_signer_without_a_proper_name_is_refused(name: str) -> None:
    with pytest.raises(AuditError, match="no signature"):
        open_note(GO_NOTE + GO_SIGNATURE.replace("PeterNeumann", name), GO)


KEYS = {
    "empty": "",
    "a name alone": "PeterNeumann",
    "no key": "PeterNeumann+c74f20a3",
    "an empty key": "PeterNeumann+c74f20a3+",
    "a private key": "PRIVATE+KEY+" + GO_KEY,
    "another name": GO_KEY.replace("Peter", "Paul"),
    "another id": GO_KEY.replace("c74f", "c74e"),
    "an id in capitals": GO_KEY.replace("c74f20a3", "C74F20A3"),
    "an id cut off": GO_KEY.replace("c74f20a3", "c74f20"),
    "another key": GO_KEY.replace("pc2", "pc3"),
    "a key cut off": GO_KEY[:-4],
    "a key made longer": GO_KEY + "AAAA",
    "another algorithm": GO_KEY.replace("+AR", "+BB"),
    "base64 for URLs": GO_KEY.replace("/", "_"),
    "a space before": " " + GO_KEY,
    "a newline after": GO_KEY + "\n",
    "no name": GO_KEY.removeprefix("PeterNeumann"),
    "letters that are not ASCII": GO_KEY.replace("Peter", "Péter"),
    "far too long": "a" * 1_000_000 + GO_KEY,
}


@pytest.mark.parametrize("text", KEYS.values(), ids=KEYS)
def test_what_is_no_key_of_a_log_is_refused(text: str) -> None:
    with pytest.raises(FormatError) as error:
        LogVerifier.parse(text)
    assert error.value.code == "audit.key"


ORIGINS = {
    "empty": "",
    "a space": "keys example",
    "a plus": "keys+example",
    "a newline": "keys\n12",
    "a newline at its end": "keys\n",
    "a control character": "keys\x7f",
    "not ASCII": "clés.example",
    "too long": "k" * (ORIGIN_LIMIT + 1),
}


@pytest.mark.parametrize("origin", ORIGINS.values(), ids=ORIGINS)
def test_a_log_is_not_named_what_a_note_cannot_hold(origin: str) -> None:
    with pytest.raises(FormatError):
        LogKey.generate(origin)


@pytest.mark.parametrize("seed", [b"", bytes(31), bytes(33)], ids=len)
def test_a_seed_of_another_length_is_no_key(seed: bytes) -> None:
    with pytest.raises(FormatError):
        LogKey.from_seed("keys.example.com", seed)


def test_a_key_comes_back_from_its_seed() -> None:
    key = LogKey.generate("keys.example.com")
    again = LogKey.from_seed("keys.example.com", key.seed)
    assert len(key.seed) == 32
    assert again.verifier == key.verifier
    assert LogVerifier.parse(str(key.verifier)) == key.verifier
    assert LogKey.generate("keys.example.com").seed != key.seed


def test_a_signature_is_plain_ed25519_over_the_text() -> None:
    key = LogKey.generate("keys.example.com")
    public = Ed25519PublicKey.from_public_bytes(key.verifier.public_key)
    public.verify(key.signature("né\n"), "né\n".encode())


@pytest.mark.parametrize("show", [repr, str, "{!r:.500}".format], ids=["repr", "str", "format"])
def test_a_private_key_does_not_show(show: Callable[[object], str]) -> None:
    key = LogKey.from_seed("PeterNeumann", GO_SEED)
    shown = show(key)
    assert GO_KEY in shown
    assert base64.b64encode(GO_SEED).decode()[:10] not in shown
    assert GO_SEED.hex()[:10] not in shown
    assert not hasattr(key, "__dict__")


@pytest.mark.parametrize("leave", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_private_key_is_not_pickled(leave: Callable[[object], object]) -> None:
    with pytest.raises(TypeError, match="not pickled"):
        leave(WITNESS)
