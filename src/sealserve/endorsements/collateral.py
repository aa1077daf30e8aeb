"""Collateral: the endorsements of one platform, as bytes, exactly as they were received.

A value that is handed on: nothing in it has been checked beyond its size, and nobody believes it
before `sealserve.verifier.verify_collateral` has. It comes from a PCCS (`endorsements.pccs`), from
a folder's files, or from the one-file form that DCAP tools exchange.
Source: Intel SGX and TDX Provisioning Certification Service API, version 4.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Literal, TypeAlias

from sealserve.endorsements.crl import to_der
from sealserve.endorsements.signed_json import check_containers, split
from sealserve.errors import CollateralError, FormatError

PckCa: TypeAlias = Literal["platform", "processor"]
"""Which of Intel's CAs issued a PCK certificate, in the words of the service's interface."""
Tee: TypeAlias = Literal["SGX", "TDX"]
"""What the collateral is about: its TCB info and the identity of its quoting enclave differ."""

# The file of each part in a folder of collateral.
FILE_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "tcb_info": "tcb_info.json",
        "tcb_info_issuer_chain": "tcb_issuer_chain.pem",
        "qe_identity": "qe_identity.json",
        "qe_identity_issuer_chain": "qe_identity_issuer_chain.pem",
        "pck_crl": "pck.crl",
        "pck_crl_issuer_chain": "pck_crl_issuer_chain.pem",
        "root_ca_crl": "root_ca.crl",
    }
)

# Bytes that one part may have. Intel's largest today: TCB info 30 KB, chains 2 KB, CRLs 3 KB.
PART_LIMIT = 512 << 10
ONE_FILE_LIMIT = 256 << 10  # JSON that nobody signed: small enough for any content to be cheap
_CRLS = ("pck_crl", "root_ca_crl")


@dataclass(frozen=True, slots=True)
class Collateral:
    """The seven parts.

    `tcb_info` and `qe_identity` are the whole JSON bodies, signature and all, byte for byte; the
    three chains are PEM, signer first and root last; both CRLs are DER.
    """

    tcb_info: bytes
    tcb_info_issuer_chain: bytes
    qe_identity: bytes
    qe_identity_issuer_chain: bytes
    pck_crl: bytes
    pck_crl_issuer_chain: bytes
    root_ca_crl: bytes

    def __post_init__(self) -> None:
        for field in fields(self):
            size = len(getattr(self, field.name))
            if size > PART_LIMIT:
                raise FormatError(f"{field.name}: {size} bytes; at most {PART_LIMIT} are read")

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Collateral:
        """From the contents of a folder by file name (`FILE_NAMES`; others are ignored).

        CRLs may be DER, PEM or hex. Raises CollateralError for a file that is not there.
        """
        missing = [name for name in FILE_NAMES.values() if name not in files]
        if missing:
            raise CollateralError(
                f"collateral is incomplete: {', '.join(missing)} missing",
                hint=f"the folder needs {', '.join(FILE_NAMES.values())}",
            )
        return cls._of({part: files[name] for part, name in FILE_NAMES.items()})

    @classmethod
    def from_json(cls, text: str | bytes) -> Collateral:
        """From the one-file form: one JSON object with a text for each part.

        There `tcb_info` and `qe_identity` are the signed inner objects, their signatures are in
        `tcb_info_signature` and `qe_identity_signature` (hex), and CRLs are hex or PEM.
        Raises FormatError for what is no such object, CollateralError for a part not there.
        """
        if len(text) > ONE_FILE_LIMIT:
            raise FormatError(f"collateral file: {len(text)} bytes; at most {ONE_FILE_LIMIT}")
        members = _members(text)
        parts = {part: _text(members, part) for part in FILE_NAMES}
        for part, name in (("tcb_info", "tcbInfo"), ("qe_identity", "enclaveIdentity")):
            signature = _text(members, f"{part}_signature")
            parts[part] = f'{{"{name}":{parts[part]},"signature":"{signature}"}}'
        return cls._of({part: _utf8(part, value) for part, value in parts.items()})

    @classmethod
    def _of(cls, parts: Mapping[str, bytes]) -> Collateral:
        return cls(
            **{part: to_der(data) if part in _CRLS else data for part, data in parts.items()}
        )

    def to_json(self) -> bytes:
        """What `from_json` reads, the signed bytes as they are; raises FormatError."""
        members = {part: getattr(self, part) for part in FILE_NAMES}
        for part, name in (("tcb_info", "tcbInfo"), ("qe_identity", "enclaveIdentity")):
            statement = split(members[part], name)
            members[part] = statement.signed
            members[f"{part}_signature"] = statement.signature.hex().encode()
        for part in _CRLS:
            members[part] = members[part].hex().encode()
        try:
            texts = {member: data.decode() for member, data in members.items()}
        except UnicodeDecodeError as error:
            raise FormatError(f"collateral is no text: {error}") from None
        return json.dumps(texts, indent=1).encode() + b"\n"

    def to_files(self) -> dict[str, bytes]:
        """What `from_files` reads: file name to content."""
        return {name: getattr(self, part) for part, name in FILE_NAMES.items()}


def _members(text: str | bytes) -> Mapping[str, object]:
    data = text if isinstance(text, bytes) else _utf8("text", text)
    check_containers(data, "collateral file")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FormatError("collateral file is not JSON") from error
    if not isinstance(value, dict):
        raise FormatError("collateral file holds no JSON object")
    return value


def _utf8(name: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        raise FormatError(f"collateral file: {name!r} is no text of Unicode") from None


def _text(members: Mapping[str, object], name: str) -> str:
    value = members.get(name)
    if value is None:
        raise CollateralError(f"collateral is incomplete: {name!r} missing")
    if not isinstance(value, str):
        raise FormatError(f"collateral file: {name!r} is no text")
    return value
