"""The SGX extension of a PCK certificate: which platform, and at which security versions.

Read for verification and built for the lab, from one description of its fields. Nothing is judged
here. Source: Intel SGX PCK Certificate and Certificate Revocation List Profile Specification,
section 1.3.5 (OID 1.2.840.113741.1.13.1 and its children 1 to 7).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sealserve.endorsements import der
from sealserve.errors import FormatError

SGX_EXTENSIONS_OID = "1.2.840.113741.1.13.1"

COMPONENTS = 16  # the TCB components of a platform; a quote's CPUSVN has as many bytes
MAX_SGX_TYPE = 2  # 0 standard, 1 scalable, 2 scalable with integrity

_PREFIX = der.oid_content(SGX_EXTENSIONS_OID)
_PPID, _TCB, _PCE_ID, _FMSPC, _SGX_TYPE, _PLATFORM_INSTANCE_ID, _CONFIGURATION = range(1, 8)
_PCE_SVN = 17  # under _TCB; 1 to 16 are the component SVNs
_CPU_SVN = 18
_DYNAMIC_PLATFORM, _CACHED_KEYS, _SMT_ENABLED = range(1, 4)  # under _CONFIGURATION


@dataclass(frozen=True, slots=True)
class PlatformConfiguration:
    """What a multi-package platform states about itself; None where it does not say."""

    dynamic_platform: bool | None = None
    cached_keys: bool | None = None
    smt_enabled: bool | None = None


@dataclass(frozen=True, slots=True)
class PckExtensions:
    """The fields of the SGX extension. Bytes are as in the certificate, not reversed.

    `ppid` 16 bytes, `component_svns` 16 bytes (one SVN each), `cpu_svn` 16 bytes as the processor
    reports them, `pce_id` 2 bytes, `fmspc` 6 bytes, `platform_instance_id` 16 bytes. The last two
    fields are there in certificates of the Platform CA only.
    """

    ppid: bytes
    component_svns: bytes
    pce_svn: int
    cpu_svn: bytes
    pce_id: bytes
    fmspc: bytes
    sgx_type: int
    platform_instance_id: bytes | None = None
    configuration: PlatformConfiguration | None = None


def parse_pck_extension(data: bytes) -> PckExtensions:
    """The fields of the extension's value (DER); raises FormatError."""
    fields = _fields(der.decode(data, der.SEQUENCE), ())
    tcb = _fields(_content(fields, _TCB, der.SEQUENCE), (_TCB,))
    svns = [_unsigned(tcb, component, maximum=0xFF) for component in range(1, COMPONENTS + 1)]
    instance, configuration = _parse_platform(fields)
    return PckExtensions(
        ppid=_octets(fields, _PPID, 16),
        component_svns=bytes(svns),
        pce_svn=_unsigned(tcb, _PCE_SVN, maximum=0xFFFF),
        cpu_svn=_octets(tcb, _CPU_SVN, COMPONENTS),
        pce_id=_octets(fields, _PCE_ID, 2),
        fmspc=_octets(fields, _FMSPC, 6),
        sgx_type=_unsigned(fields, _SGX_TYPE, maximum=MAX_SGX_TYPE, tag=der.ENUMERATED),
        platform_instance_id=instance,
        configuration=configuration,
    )


def build_pck_extension(extensions: PckExtensions) -> bytes:
    """The extension's value (DER) for these fields, in the order in which Intel writes them."""
    tcb = [
        *(_entry((_TCB, n), der.encode_unsigned(svn)) for n, svn in _numbered(extensions)),
        _entry((_TCB, _PCE_SVN), der.encode_unsigned(extensions.pce_svn)),
        _entry((_TCB, _CPU_SVN), der.encode(der.OCTET_STRING, extensions.cpu_svn)),
    ]
    entries = [
        _entry((_PPID,), der.encode(der.OCTET_STRING, extensions.ppid)),
        _entry((_TCB,), der.encode(der.SEQUENCE, *tcb)),
        _entry((_PCE_ID,), der.encode(der.OCTET_STRING, extensions.pce_id)),
        _entry((_FMSPC,), der.encode(der.OCTET_STRING, extensions.fmspc)),
        _entry((_SGX_TYPE,), der.encode_unsigned(extensions.sgx_type, der.ENUMERATED)),
    ]
    if (instance := extensions.platform_instance_id) is not None:
        entries.append(_entry((_PLATFORM_INSTANCE_ID,), der.encode(der.OCTET_STRING, instance)))
    if extensions.configuration is not None:
        entries.append(_entry((_CONFIGURATION,), _build_configuration(extensions.configuration)))
    return der.encode(der.SEQUENCE, *entries)


def _fields(content: bytes, parent: tuple[int, ...]) -> dict[int, der.Element]:
    """The `SEQUENCE { OID, value }` entries of one level, by the last arc of their OIDs."""
    parent_oid = _PREFIX + bytes(parent)
    head = bytes((der.OBJECT_IDENTIFIER, len(parent_oid) + 1)) + parent_oid
    fields: dict[int, der.Element] = {}
    for tag, entry in der.decode_all(content):
        values = der.decode_all(entry[len(head) + 1 :])
        if tag != der.SEQUENCE or not entry.startswith(head) or len(values) != 1:
            raise FormatError(
                f"an entry of the SGX extension is no pair of an OID under {_name(parent)} and a "
                f"value: {entry[: len(head) + 1].hex()}"
            )
        arc = entry[len(head)]
        if arc in fields:
            raise FormatError(f"{_name((*parent, arc))} is there twice in the SGX extension")
        fields[arc] = values[0]
    return fields


def _content(fields: Mapping[int, der.Element], arc: int, tag: int) -> bytes:
    element = fields.get(arc)
    if element is None or element[0] != tag:
        found = "nothing" if element is None else f"tag 0x{element[0]:02x}"
        raise FormatError(f"SGX extension: field {arc} needs tag 0x{tag:02x}, found {found}")
    return element[1]


def _octets(fields: Mapping[int, der.Element], arc: int, length: int) -> bytes:
    content = _content(fields, arc, der.OCTET_STRING)
    if len(content) != length:
        raise FormatError(f"SGX extension: field {arc} has {len(content)} bytes, not {length}")
    return content


def _unsigned(
    fields: Mapping[int, der.Element], arc: int, *, maximum: int, tag: int = der.INTEGER
) -> int:
    value = der.decode_unsigned(_content(fields, arc, tag))
    if value > maximum:
        raise FormatError(f"SGX extension: field {arc} is larger than {maximum}")
    return value


def _parse_platform(
    fields: Mapping[int, der.Element],
) -> tuple[bytes | None, PlatformConfiguration | None]:
    """Instance id and configuration, which certificates of the Processor CA do not have.

    In the draft that Intel's own test certificates follow, both arcs are flags.
    """
    if fields.get(_PLATFORM_INSTANCE_ID, (der.OCTET_STRING, b""))[0] == der.BOOLEAN:
        dynamic = der.decode_boolean(fields[_PLATFORM_INSTANCE_ID][1])
        cached = der.decode_boolean(_content(fields, _CONFIGURATION, der.BOOLEAN))
        return None, PlatformConfiguration(dynamic, cached)
    instance = configuration = None
    if _PLATFORM_INSTANCE_ID in fields:
        instance = _octets(fields, _PLATFORM_INSTANCE_ID, 16)
    if _CONFIGURATION in fields:
        configuration = _parse_configuration(_content(fields, _CONFIGURATION, der.SEQUENCE))
    return instance, configuration


def _parse_configuration(content: bytes) -> PlatformConfiguration:
    fields = _fields(content, (_CONFIGURATION,))

    def flag(arc: int) -> bool | None:
        if arc not in fields:
            return None
        return der.decode_boolean(_content(fields, arc, der.BOOLEAN))

    return PlatformConfiguration(flag(_DYNAMIC_PLATFORM), flag(_CACHED_KEYS), flag(_SMT_ENABLED))


def _build_configuration(configuration: PlatformConfiguration) -> bytes:
    flags = (
        (_DYNAMIC_PLATFORM, configuration.dynamic_platform),
        (_CACHED_KEYS, configuration.cached_keys),
        (_SMT_ENABLED, configuration.smt_enabled),
    )
    entries = [
        _entry((_CONFIGURATION, arc), der.encode_boolean(value))
        for arc, value in flags
        if value is not None
    ]
    return der.encode(der.SEQUENCE, *entries)


def _numbered(extensions: PckExtensions) -> Iterable[tuple[int, int]]:
    return enumerate(extensions.component_svns, start=1)


def _entry(arcs: tuple[int, ...], value: bytes) -> bytes:
    oid = der.encode(der.OBJECT_IDENTIFIER, _PREFIX + bytes(arcs))
    return der.encode(der.SEQUENCE, oid, value)


def _name(arcs: tuple[int, ...]) -> str:
    return ".".join((SGX_EXTENSIONS_OID, *map(str, arcs)))
