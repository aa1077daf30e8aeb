"""What is wrong with an `sgx_default_qcnl.conf`, what comes of it, and what to do.

Intel's reader takes what it cannot use for absent and goes on, so that a slip shows only as quotes
that cannot be made, or as TLS that nobody verifies. This says so beforehand. Pure; only `Fault`s
come out, whatever goes in.
Source: intel/confidential-computing.tee.dcap, `QuoteGeneration/qcnl` (2026): `qcnl_config.cpp` (the
type of each key), `certification_service.cpp` (`/sgx/` becomes `/tdx/`),
`certification_provider.cpp` (the query is put right behind the URL). The end of version 3:
fortanix/rust-sgx PR 933 (2026).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from sealserve.deploy.clouds.model import METADATA_HOST
from sealserve.deploy.clouds.qcnl_text import Read, read_qcnl
from sealserve.errors import FormatError

LOCALHOST = "https://localhost:8081/sgx/certification/v4/"  # where the reader goes without a URL
_SHOWN = 80  # characters of a wrong value
_INT_END = 1 << 31
_INTEL = re.compile(r"([a-z0-9-]+\.)*trustedservices\.intel\.com")
_VERSION = re.compile(r"/certification/v([0-9]{1,3})\b")
_URLS = ("pccs_url", "collateral_service", "local_pck_url")
_UPDATES = ("early", "standard")
_INTERFACES = ("3.0", "3.1")
_IGNORED = "Intel's reader ignores it without a word"


@dataclass(frozen=True)
class Fault:
    """One fault: where and what, what comes of it, and what to do; an error or a warning."""

    is_error: bool
    key: str
    found: str
    consequence: str
    cure: str


@dataclass(frozen=True)
class _Kind:
    fits: Callable[[Any], bool]
    name: str


def _is_int(value: Any) -> bool:
    return type(value) is int and 0 <= value < _INT_END


_TEXT = _Kind(lambda value: isinstance(value, str), "text in quotes")
_FLAG = _Kind(lambda value: isinstance(value, bool), "true or false, without quotes")
_COUNT = _Kind(_is_int, "a whole number, 0 or more, without quotes")
_HOURS = _Kind(
    lambda value: _is_int(value) or (isinstance(value, float) and value >= 0),
    "a number, 0 or more, without quotes",
)
_OBJECT = _Kind(lambda value: isinstance(value, dict), "an object")
_KINDS: Mapping[str, _Kind] = {
    "pccs_url": _TEXT,
    "use_secure_cert": _FLAG,
    "collateral_service": _TEXT,
    "tcb_update_type": _TEXT,
    "pccs_api_version": _TEXT,
    "retry_times": _COUNT,
    "retry_delay": _COUNT,
    "local_pck_url": _TEXT,
    "pck_cache_expire_hours": _HOURS,
    "verify_collateral_cache_expire_hours": _HOURS,
    "local_cache_only": _FLAG,
    "custom_request_options": _OBJECT,
}


def lint_qcnl(data: bytes) -> tuple[Fault, ...]:
    """All faults of the file whose content is `data`."""
    try:
        read = read_qcnl(data)
    except FormatError as error:
        falls = f"Intel's reader falls back to {LOCALHOST} without a word"
        cure = "JSON, with // comments at most; check it, or have it rendered: sealserve cloud qcnl"
        return (Fault(True, "", f"not JSON: {error.message}", falls, cure),)
    return tuple(_faults(read))


def _faults(read: Read) -> Iterator[Fault]:
    yield from _form(read)
    right = {key: value for key, value in read.values.items() if key in _KINDS}
    for key, value in list(right.items()):
        if not _KINDS[key].fits(value):
            del right[key]
            expected = f"write {_KINDS[key].name}"
            yield Fault(True, key, f"{key} is {_shown(value)}", _IGNORED, expected)
    if "pccs_url" not in right:
        consequence = f"PCK certificates are asked for at {LOCALHOST}"
        yield Fault(True, "pccs_url", "no pccs_url", consequence, "name the service's URL")
    if right.get("use_secure_cert") is False:
        yield Fault(
            True,
            "use_secure_cert",
            "use_secure_cert is false",
            "TLS is not verified: whoever is on the way answers in the service's place, and can "
            "hold back revocations",
            "true; add the authority of a private service to the system's trusted ones",
        )
    for key in _URLS:
        if key in right and (right[key] or key != "local_pck_url"):  # empty, it is as if absent
            yield from _url(key, right[key])
    yield from _choices(right)
    yield from _options(right.get("custom_request_options"))


def _form(read: Read) -> Iterator[Fault]:
    if read.older_form:
        yield Fault(
            False,
            "",
            "the older form, KEY=value",
            "it has no custom_request_options, and a slip in it is ignored without a word",
            "write JSON: sealserve cloud qcnl renders it",
        )
    for key in sorted(read.repeated):
        found = f"{_shown(key)} is there more than once"
        yield Fault(True, key, found, "the first one counts", "keep one of them")
    for key in read.values:
        if key not in _KINDS:
            near = difflib.get_close_matches(key.lower(), _KINDS, n=1, cutoff=0.0)[0]
            cure = f"the nearest that exists is {near}; upper and lower case matter"
            yield Fault(False, key, f"unknown key {_shown(key)}", _IGNORED, cure)


def _url(key: str, url: str) -> Iterator[Fault]:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        parts, host = urlsplit(""), ""
    if not host or parts.scheme not in ("http", "https"):
        consequence = "nothing can be fetched from it"
        yield Fault(True, key, f"{key} is {_shown(url)}, no URL", consequence, "write https://…")
        return
    if parts.scheme == "http" and host != METADATA_HOST:
        yield Fault(
            True,
            key,
            f"{key} is plain http",
            "whoever is on the way answers in the service's place, and can hold back revocations",
            f"https; http is for the machine's own {METADATA_HOST} alone",
        )
    yield from _version(key, parts.path, host)
    if "/sgx/" not in parts.path:
        consequence = "collateral of TDX cannot be asked for: its URL is made by replacing /sgx/"
        cure = "end it in /sgx/certification/v4/"
        yield Fault(True, key, f"{key} has no /sgx/ in its path", consequence, cure)
    if not url.endswith("/"):
        consequence = "what is asked for is put right behind it, and is not found"
        yield Fault(True, key, f"{key} does not end in a slash", consequence, "add the slash")


def _version(key: str, path: str, host: str) -> Iterator[Fault]:
    match = _VERSION.search(path)
    if match is None or int(match[1]) >= 4:
        return
    if _INTEL.fullmatch(host):
        consequence = "Intel ended it in May 2026: every request is answered with status 410"
    else:
        consequence = (
            "Intel ended it in May 2026: a cache gives what it kept, cannot renew it, and answers "
            "410 for the rest"
        )
    found = f"{key} asks for version {match[1]} of the interface"
    cure = "v4, where the service has it"
    yield Fault(_INTEL.fullmatch(host) is not None, key, found, consequence, cure)


def _choices(values: Mapping[str, Any]) -> Iterator[Fault]:
    update = values.get("tcb_update_type", _UPDATES[0])
    if update.lower() not in _UPDATES:
        found = f"tcb_update_type is {_shown(update)}"
        consequence = f"the whole file is refused, and Intel's reader falls back to {LOCALHOST}"
        yield Fault(True, "tcb_update_type", found, consequence, 'write "standard" or "early"')
    interface = values.get("pccs_api_version", _INTERFACES[0])
    if interface not in _INTERFACES:
        found = f"pccs_api_version is {_shown(interface)}"
        cure = 'leave it out, or write "3.1" for a PCCS that gives CRLs as DER'
        yield Fault(False, "pccs_api_version", found, 'it is taken for "3.0"', cure)


def _options(options: Any) -> Iterator[Fault]:
    """What goes with requests for PCK certificates; None where there is nothing."""
    key = "custom_request_options"
    if options is None:
        return
    certificate = options.get("get_cert")
    if not isinstance(certificate, dict):
        yield Fault(True, key, f"{key} has no object get_cert", _IGNORED, "write get_cert, or none")
        return
    for part in ("headers", "params"):
        entries = certificate.get(part, {})
        if not isinstance(entries, dict):
            yield Fault(True, key, f"{part} is {_shown(entries)}", _IGNORED, "write an object")
            continue
        for name, value in entries.items():
            if name != "".join(name.split()):
                found = f"{part} has spaces in the key {_shown(name)}"
                consequence = "the service is sent a name that it does not know"
                yield Fault(True, key, found, consequence, f"write {_shown(''.join(name.split()))}")
            if not isinstance(value, str):
                cure = "write text in quotes"
                yield Fault(True, key, f"{_shown(name)} is {_shown(value)}", _IGNORED, cure)


def _shown(value: Any) -> str:
    return f"{value!r:.{_SHOWN}}"
