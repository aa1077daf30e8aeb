"""Cases of the PCK certificate's SGX extension: each field missing, doubled, of another length.

The certificate is signed by its CA each time: only who reads the extension can object.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from cryptography import x509

from sealserve.endorsements import der
from sealserve.endorsements.pck import PckExtensions, build_pck_extension
from sealserve.lab.authorities import pck_extensions
from sealserve.lab.levels import UP_TO_DATE
from sealserve.lab.vectors.case import PROFILE, UNUSED_FIELD, Case, Evidence
from sealserve.lab.vectors.original import Original
from sealserve.lab.vectors.reissuing import Difference, sgx_extension
from sealserve.verifier import Code

_GROUP = "extensions"
# The top-level entries, in Intel's order.
_ENTRIES = ("ppid", "tcb", "pceid", "fmspc", "sgx-type", "platform-instance", "configuration")
_OPTIONAL = ("platform-instance", "configuration")
_UNUSED = ("ppid", "sgx-type", "cpusvn", "platform-instance")
_TCB = 1
_TCB_ENTRIES = (*(f"component-{n:02}" for n in range(1, 17)), "pcesvn", "cpusvn")


def cases(original: Original) -> Iterator[Case]:
    """Of one form of quote."""
    yield from _whole(original)
    yield from _entries(original)
    yield from _tcb_entries(original)
    yield from _values(original)


def with_extensions(original: Original, extensions: PckExtensions) -> Evidence:
    """The PCK certificate of a platform of which this is said."""
    return _with_value(original, build_pck_extension(extensions))


def platform(original: Original) -> PckExtensions:
    """What the PCK certificate says of the platform of `original`."""
    return pck_extensions(UP_TO_DATE, original.authorities.root_ca)


def _with_value(original: Original, value: bytes) -> Evidence:
    return original.with_pck(Difference(extensions=sgx_extension(value)))


def _reject(
    original: Original, name: str, change: str, evidence: Evidence, latitude: str | None = None
) -> Case:
    code = Code.PCK_EXTENSIONS
    return original.reject(_GROUP, f"pck-extension-{name}", change, code, evidence, latitude)


def _whole(original: Original) -> Iterator[Case]:
    missing = original.with_pck(Difference(extensions={x509.UnrecognizedExtension: None}))
    yield _reject(original, "missing", "The PCK certificate has no SGX extension.", missing)
    value = build_pck_extension(platform(original))
    for name, change, data in (
        ("empty", "The SGX extension is an empty sequence.", der.encode(der.SEQUENCE)),
        ("no-der", "The SGX extension is not DER.", b"\x30\x01\x00"),
        ("followed", "The SGX extension is followed by a byte.", value + b"\0"),
    ):
        latitude = PROFILE if name == "followed" else None
        yield _reject(original, name, change, _with_value(original, data), latitude)


def _entries(original: Original) -> Iterator[Case]:
    entries = _split(build_pck_extension(platform(original)))
    for index, name in enumerate(_ENTRIES):
        without = entries[:index] + entries[index + 1 :]
        evidence = _with_value(original, _join(without))
        change = f"The SGX extension has no {name.replace('-', ' ')}."
        if name in _OPTIONAL:
            yield original.accept(_GROUP, f"pck-extension-without-{name}", change, evidence)
        else:
            latitude = UNUSED_FIELD if name in _UNUSED else None
            yield _reject(original, f"without-{name}", change, evidence, latitude)
        twice = _with_value(original, _join((*entries, entries[index])))
        change = f"The SGX extension has its {name.replace('-', ' ')} twice."
        yield _reject(original, f"{name}-twice", change, twice, PROFILE)


def _tcb_entries(original: Original) -> Iterator[Case]:
    """Inside the TCB: sixteen component SVNs, PCESVN, CPUSVN."""
    entries = _split(build_pck_extension(platform(original)))
    oid, tcb = der.decode_all(der.decode(entries[_TCB], der.SEQUENCE))
    inner = [der.encode(tag, content) for tag, content in der.decode_all(tcb[1])]
    for index, name in enumerate(_TCB_ENTRIES):
        without = der.encode(der.SEQUENCE, *inner[:index], *inner[index + 1 :])
        entry = der.encode(der.SEQUENCE, der.encode(*oid), without)
        data = _join((*entries[:_TCB], entry, *entries[_TCB + 1 :]))
        change = f"The TCB in the SGX extension has no {name.replace('-', ' ')}."
        latitude = UNUSED_FIELD if name == "cpusvn" else None
        evidence = _with_value(original, data)
        yield _reject(original, f"without-{name}", change, evidence, latitude)


def _values(original: Original) -> Iterator[Case]:
    said = platform(original)
    for name, change, extensions in (
        ("ppid-short", "The PPID has fifteen bytes.", replace(said, ppid=said.ppid[:-1])),
        ("cpusvn-short", "The CPUSVN has fifteen bytes.", replace(said, cpu_svn=said.cpu_svn[:-1])),
        ("pceid-long", "The PCEID has three bytes.", replace(said, pce_id=bytes(3))),
        ("fmspc-short", "The FMSPC has five bytes.", replace(said, fmspc=said.fmspc[:-1])),
        ("sgx-type-9", "The SGX type is 9.", replace(said, sgx_type=9)),
        ("pcesvn-large", "The PCESVN has three bytes.", replace(said, pce_svn=1 << 16)),
        (
            "platform-instance-short",
            "The platform instance has fifteen bytes.",
            replace(said, platform_instance_id=bytes(15)),
        ),
    ):
        latitude = UNUSED_FIELD if name.startswith(_UNUSED) else None
        evidence = with_extensions(original, extensions)
        yield _reject(original, name, change, evidence, latitude)
    for name, change, extensions in (
        ("other-fmspc", "another FMSPC", replace(said, fmspc=bytes(6))),
        ("other-pceid", "another PCEID", replace(said, pce_id=b"\0\1")),
    ):
        yield original.reject(
            _GROUP,
            f"pck-extension-{name}",
            f"The PCK certificate is for {change} than TCB info.",
            Code.TCB_INFO_MISMATCH,
            with_extensions(original, extensions),
        )


def _split(extension: bytes) -> list[bytes]:
    """The DER of each entry."""
    content = der.decode(extension, der.SEQUENCE)
    return [der.encode(tag, entry) for tag, entry in der.decode_all(content)]


def _join(entries: Sequence[bytes]) -> bytes:
    return der.encode(der.SEQUENCE, *entries)
