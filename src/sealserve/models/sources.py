"""Where a model may come from: names that we know, https URLs, files.

Plain http is for this machine only. A URL carries no user or password, for a command line is seen
in process lists, and no message shows a query, for it may hold a signature that gives access.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import SplitResult, unquote, urlsplit

from sealserve.errors import UsageError
from sealserve.hosts import is_loopback

SCHEMES = ("https", "http", "file")
SHOWN_CHARACTERS = 300
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,199}")


@dataclass(frozen=True)
class KnownModel:
    """A model that has a name here; `sha256` is None where no digest is published."""

    url: str
    file_name: str
    about: str
    sha256: str | None = None


KNOWN = {
    # From the guide of Intel's tensorflow-serving-cluster (confidential-computing-zoo),
    # docker/client/download_model.sh. Neither says what its digest is.
    "resnet50-v15-fp32": KnownModel(
        url="https://storage.googleapis.com/intel-optimized-tensorflow/models/v1_8/"
        "resnet50_fp32_pretrained_model.pb",
        file_name="resnet50-v15-fp32.pb",
        about="ResNet-50 v1.5 of the guide, frozen graph; input `input`, output `predict`",
    )
}


@dataclass(frozen=True)
class Source:
    """What to fetch, the SHA-256 (lowercase hex) it must have, and where it goes."""

    url: str
    sha256: str
    out: Path

    @property
    def shown(self) -> str:
        """The URL as messages show it."""
        return shown_url(self.url)


def resolve(name_or_url: str, *, sha256: str | None, out: Path | None) -> Source:
    """The source that a name or URL stands for; UsageError if it is not to be fetched.

    A digest must be given wherever none is known, and one that is known cannot be replaced.
    """
    if sha256 is not None:
        sha256 = parse_sha256(sha256)
    known = KNOWN.get(name_or_url)
    if known is not None:
        pinned = _pinned(name_or_url, known, sha256)
        return Source(known.url, pinned, out or Path(known.file_name))
    if ":" not in name_or_url:
        raise UsageError(
            f"{name_or_url!r} is no model that is known by name: {', '.join(KNOWN)}",
            hint="or give a URL: https://..., file:...",
        )
    parts = check_url(name_or_url)
    if sha256 is None:
        raise UsageError(
            "a URL needs the SHA-256 of what is behind it",
            hint="--sha256 HEX, from its publisher or from a copy you trust (sha256sum FILE)",
        )
    return Source(name_or_url, sha256, out or _file_name(parts))


def parse_sha256(text: str) -> str:
    """A digest of 64 hexadecimal digits, in lower case; UsageError otherwise."""
    digest = text.strip().lower()
    if not _SHA256.fullmatch(digest):
        raise UsageError(f"{text!r} is no SHA-256: expected 64 hexadecimal digits")
    return digest


def check_url(url: str) -> SplitResult:
    """The parts of a URL that may be fetched; UsageError for any other."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError as error:
        raise UsageError(f"{shown_url(url)} is no URL") from error
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            "the URL holds a user or password, which process lists and logs would show",
            hint="fetch it by other means, and give file:PATH here",
        )
    if parts.scheme not in SCHEMES:
        raise UsageError(f"{shown_url(url)}: expected a URL of {', '.join(SCHEMES)}")
    if parts.scheme == "file":
        if host not in ("", "localhost") or not parts.path:
            raise UsageError(f"{shown_url(url)}: expected file:PATH or file:///PATH")
    elif not host:
        raise UsageError(f"{shown_url(url)} names no host")
    elif parts.scheme == "http" and not is_loopback(host):
        raise UsageError(f"{shown_url(url)}: plain http is for this machine only; expected https")
    return parts


def shown_url(url: str) -> str:
    """A URL without user, password, query and fragment, fit for a terminal and a message."""
    bare = re.sub(r"//[^/?#]*@", "//", url, count=1)
    bare = re.split(r"[?#]", bare, maxsplit=1)[0][:SHOWN_CHARACTERS]
    return "".join(character if character.isprintable() else "?" for character in bare)


def _pinned(name: str, known: KnownModel, given: str | None) -> str:
    if known.sha256 is None:
        if given is None:
            raise UsageError(
                f"the publisher of {name} states no SHA-256, so that none is known here",
                hint="--sha256 HEX, of a copy you trust (sha256sum FILE)",
            )
        return given
    if given is not None and given != known.sha256:
        raise UsageError(
            f"{name} has SHA-256 {known.sha256}; --sha256 says {given}",
            hint="leave --sha256 out, or give the URL of the other file",
        )
    return known.sha256


def _file_name(parts: SplitResult) -> Path:
    name = PurePosixPath(unquote(parts.path)).name
    if not _FILE_NAME.fullmatch(name):
        raise UsageError("the URL does not end in a plain file name", hint="give one: --out FILE")
    return Path(name)
