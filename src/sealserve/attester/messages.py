"""The protocol `sealserve/1`: its names and limits for both ends, and the client's end without I/O.

It is chosen by ALPN, on the RA-TLS session that Gramine's protocol uses too. A message is its
length as a 32-bit big-endian number and that many bytes of JSON (RFC 8259, UTF-8, one object, no
key twice, none that is not described). A session has one request and one answer; the layout of
both is in docs/formats.md.

The client believes the server's name, not its health: what does not follow the layout is refused,
and no error quotes an answer, for it holds keys.
"""

from __future__ import annotations

import base64
import json
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from sealserve.attester.protocol import SECRET_LIMIT
from sealserve.errors import FormatError, UsageError

ALPN = b"sealserve/1"
FRAME = struct.Struct(">I")
REQUEST_LIMIT = 16 << 10  # bytes of JSON
ANSWER_LIMIT = 4 << 20  # bytes of JSON
NAMES_LIMIT = 64
MARKS_LIMIT = 100_000  # commas, colons and opening brackets: what values cost to hold
VERSIONS_LIMIT = 1000  # of one secret
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
RETRY_LIMIT = 3600.0  # seconds

Members = dict[str, Any]


@dataclass(frozen=True)
class SecretVersion:
    """One version of a secret; its value does not show itself."""

    number: int
    value: bytes = field(repr=False)


@dataclass(frozen=True)
class NamedSecret:
    """A secret's versions, newest first, and the model record that belongs to it, if one does."""

    versions: tuple[SecretVersion, ...]
    record: bytes | None = None
    """JSON with sorted keys and no spaces, UTF-8, not yet read (`sealserve.sealing.record`)."""


@dataclass(frozen=True)
class Answered:
    """What was asked for is in one of `secrets` and `denied`."""

    secrets: Mapping[str, NamedSecret]
    denied: tuple[str, ...]
    result: Members | None
    """What the evidence was found to be; None where it did not verify."""


@dataclass(frozen=True)
class Unanswered:
    """The key service could not tell; None: nor when it can."""

    retry_after: float | None = None


def encode_request(names: Sequence[str]) -> bytes:
    """The request for the secrets `names`; raises UsageError for names that cannot be asked for."""
    if not 0 < len(names) <= NAMES_LIMIT or len(set(names)) < len(names):
        raise UsageError(
            f"{len(names)} secrets asked for, expected 1 to {NAMES_LIMIT} different names"
        )
    for name in names:
        if not NAME.fullmatch(name):
            raise UsageError(
                f"{name!r} is no name of a secret",
                hint="letters and digits, then also . _ -, 128 characters at most",
            )
    body = json.dumps({"secrets": list(names)}, separators=(",", ":")).encode("ascii")
    return FRAME.pack(len(body)) + body


class AnswerParser:
    """Collects the answer to a request for `names` from pieces of any size."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._frame = FrameParser(ANSWER_LIMIT)

    @property
    def started(self) -> bool:
        """Whether any byte of an answer has come."""
        return self._frame.started

    def feed(self, data: bytes) -> Answered | Unanswered | None:
        """The answer once it is whole, None before; raises FormatError for any other."""
        text = self._frame.feed(data)
        return None if text is None else _answer(read_message(text), self._names)


class FrameParser:
    """Collects one message of 2 to `limit` bytes, and nothing after it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._received = bytearray()
        self._whole = False
        self.started = False  # whether any byte has come

    def feed(self, data: bytes) -> str | None:
        """The JSON when it is whole, None before; raises FormatError (`message`)."""
        if self._whole and data:
            raise malformed("bytes follow it")
        self._received += data
        self.started = self.started or bool(data)
        if len(self._received) < FRAME.size:
            return None
        (length,) = FRAME.unpack_from(self._received)
        if not 2 <= length <= self._limit:
            raise malformed(f"it announces {length} bytes; 2 to {self._limit} are allowed")
        end = FRAME.size + length
        if len(self._received) > end:
            raise malformed("bytes follow it")
        return self._take() if len(self._received) == end else None

    def _take(self) -> str:
        """The message, which is then held here no longer."""
        try:
            return str(memoryview(self._received)[FRAME.size :], "utf-8")
        except UnicodeDecodeError:
            raise malformed("it is no UTF-8") from None
        finally:
            self._whole, self._received = True, bytearray()


def count_marks(text: str) -> int:
    """How many commas, colons and opening brackets there are; values are not more."""
    return sum(map(text.count, ",:[{"))


def read_message(text: str) -> Members:
    """The one JSON object that `text` is; raises FormatError (`message`), which quotes none of it.

    How deep it may be is bounded by Python's own limit, well below what its stack takes.
    """
    if count_marks(text) > MARKS_LIMIT:
        raise malformed(f"it has more than {MARKS_LIMIT} values")
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):  # both quote
        raise malformed("it is no JSON, or has a key twice") from None
    if not isinstance(value, dict):
        raise malformed("it is no object")
    return value


def malformed(problem: str) -> FormatError:
    """The error for a message that is not of this protocol."""
    return FormatError(f"no message of sealserve/1: {problem}", code="message")


def _answer(message: Members, names: tuple[str, ...]) -> Answered | Unanswered:
    outcome = message.pop("outcome", None)
    if outcome == "answered":
        return _answered(message, names)
    if outcome == "busy" and message.keys() == {"retry_after_seconds"}:
        seconds = message["retry_after_seconds"]
        if type(seconds) not in (int, float) or not 0 <= seconds <= RETRY_LIMIT:
            raise malformed("retry_after_seconds is out of range")
        return Unanswered(float(seconds))
    if outcome == "undecided" and not message:
        return Unanswered()
    raise malformed("an outcome that is not known, or members that it does not have")


def _answered(message: Members, names: tuple[str, ...]) -> Answered:
    if message.keys() != {"secrets", "denied", "result"}:
        raise malformed("an answer has secrets, denied and result")
    secrets, denied, result = message["secrets"], message["denied"], message["result"]
    if not isinstance(secrets, dict) or not isinstance(denied, list):
        raise malformed("secrets is an object, denied a list")
    told = [*secrets, *denied]
    if not all(isinstance(name, str) for name in told) or sorted(told) != sorted(names):
        raise malformed("it is not about the names that were asked for")
    return Answered(
        {name: _secret(secrets[name]) for name in names if name in secrets},
        tuple(denied),
        _object_or_none(result),
    )


def _secret(found: object) -> NamedSecret:
    if not isinstance(found, dict) or found.keys() != {"versions", "record"}:
        raise malformed("a secret has versions and record")
    versions = found["versions"]
    if not isinstance(versions, list) or not 0 < len(versions) <= VERSIONS_LIMIT:
        raise malformed("a secret has one version or more")
    read = tuple(map(_version, versions))
    if len({version.number for version in read}) < len(read):
        raise malformed("a version is there twice")
    return NamedSecret(read, _record(found["record"]))


def _record(found: object) -> bytes | None:
    members = _object_or_none(found)
    if members is None:
        return None
    text = json.dumps(members, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise malformed("a record is no UTF-8") from None


def _version(found: object) -> SecretVersion:
    if not isinstance(found, dict) or found.keys() != {"version", "value"}:
        raise malformed("a version has version and value")
    number, text = found["version"], found["value"]
    if type(number) is not int or number < 1 or not isinstance(text, str):
        raise malformed("a version is a number from 1, its value text")
    try:
        value = base64.b64decode(text.encode("ascii"), validate=True)
    except ValueError:  # binascii.Error and UnicodeEncodeError are
        raise malformed("a value is no base64") from None
    if not 0 < len(value) <= SECRET_LIMIT:
        raise malformed(f"a value of {len(value)} bytes; 1 to {SECRET_LIMIT} are allowed")
    return SecretVersion(number, value)


def _object_or_none(value: object) -> Members | None:
    if value is not None and not isinstance(value, dict):
        raise malformed("record and result are objects or null")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> Members:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key is there twice")
    return members


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are no JSON")
