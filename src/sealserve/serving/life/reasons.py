"""Why a version is not available, as its status may say it: to peers, who are told no file's name.

A stable code, what it means in a sentence, and the canonical code of TensorFlow's status
(core/protobuf/error_codes.proto). Three families must be told apart by whoever operates the server:
sealed files that do not authenticate, and in which way; files that are no model; and models that
this engine does not run, whose text the engine has made for peers. The log says the rest.
"""

from __future__ import annotations

from collections.abc import Mapping

from sealserve.errors import (
    ConfigError,
    FormatError,
    IntegrityError,
    NetworkError,
    SealServeError,
    ServingError,
)
from sealserve.messages.status_pb2 import Code, StatusProto

_MEANINGS: Mapping[str, str] = {
    "integrity.key-or-header": "a sealed file opens under no key held, or its header is damaged",
    "integrity.node": "a sealed file was tampered with: one of its nodes does not authenticate",
    "integrity.path": "a sealed file is authentic, but was sealed for another path",
    "integrity.version": "a sealed file has a format version that is not read",
    "integrity.not-protected": "a file is not sealed, and this server has a key",
    "integrity.record": "a file is not the one that the model's record names",
    "no-key": "a file is sealed, and this server has no key",
    "file": "a file cannot be read",
}
_FAMILIES: tuple[tuple[type[SealServeError], Code, str], ...] = (
    (IntegrityError, Code.DATA_LOSS, "a sealed file does not authenticate"),
    (FormatError, Code.INVALID_ARGUMENT, "the files are no model"),
    (ConfigError, Code.FAILED_PRECONDITION, "the version's folder or a file in it is wrong"),
    (NetworkError, Code.UNAVAILABLE, "what is needed to open the files is not to be had"),
)


def status_of(error: Exception | None) -> StatusProto:
    """What the status of a version says of this error; OK without one."""
    if error is None:
        return StatusProto(error_code=Code.OK)
    if isinstance(error, ServingError):
        return StatusProto(error_code=error.status, error_message=f"{error.code}: {error.message}")
    code, number, meaning = "internal", Code.INTERNAL, "something unforeseen"
    if isinstance(error, SealServeError):
        code = error.code
        for family, its_number, its_meaning in _FAMILIES:
            if isinstance(error, family):
                number, meaning = its_number, its_meaning
                break
    if isinstance(error, FormatError) and code == "serving.warm-up":
        meaning = error.message  # made for peers
    text = f"{code}: the version was not loaded: {_MEANINGS.get(code, meaning)}; the log says more"
    return StatusProto(error_code=number, error_message=text)
