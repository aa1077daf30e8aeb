"""What the lab's TCB signer states: TCB info and identities of quoting enclaves, as signed JSON.

The signature is over the exact bytes of the inner object, as on Intel's service. TCB info comes in
version 3 for SGX and TDX, and in version 2, the form of the third interface, for SGX.
Source: Intel SGX and TDX Provisioning Certification Service API, version 3 and 4, "Get TCB Info"
and "Get QE Identity".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from sealserve.endorsements.collateral import Tee
from sealserve.lab.levels import Picture, SvnLevel, TcbLevel, TdxModule

# Under this mask a quoting enclave's ATTRIBUTES must be INIT and PROVISION_KEY, never DEBUG. As in
# Intel's identity, MODE64 (bit 2) and the extended features are left open.
QE_ATTRIBUTES = bytes.fromhex("11000000000000000000000000000000")
QE_ATTRIBUTES_MASK = bytes.fromhex("fbffffffffffffff0000000000000000")
QE_IDS: Mapping[Tee, str] = {"SGX": "QE", "TDX": "TD_QE"}
QE_ISV_PROD_IDS: Mapping[Tee, int] = {"SGX": 1, "TDX": 2}  # as of Intel's two enclaves

# A TDX module of Intel's has no signer, and no attribute.
_TDX_MODULE = {
    "mrsigner": "00" * 48,
    "attributes": "00" * 8,
    "attributesMask": "FF" * 8,
}
_SGX_CATEGORIES = {
    0: ("BIOS", "Early Microcode Update"),
    1: ("OS/VMM", "SGX Late Microcode Update"),
    2: ("OS/VMM", "TXT SINIT"),
    3: ("BIOS", None),
    7: ("OS/VMM", "SEAMLDR ACM"),
}
_TDX_CATEGORIES = {
    0: ("OS/VMM", "TDX Module"),
    1: ("OS/VMM", "TDX Module"),
    2: ("OS/VMM", "TDX Late Microcode Update"),
}


@dataclass(frozen=True, slots=True)
class Signer:
    """Who states something, and from when until when it holds."""

    key: ec.EllipticCurvePrivateKey
    issue_date: datetime
    next_update: datetime

    def sign(self, name: str, inner: Mapping[str, object]) -> bytes:
        """The whole body that the service sends."""
        body = json.dumps(inner, separators=(",", ":")).encode("ascii")
        return signed_body(name, body, raw_signature(self.key, body))

    @property
    def dates(self) -> dict[str, str]:
        """Both as they stand in a statement."""
        return {"issueDate": date_text(self.issue_date), "nextUpdate": date_text(self.next_update)}


def tcb_info(tee: Tee, fmspc: bytes, pce_id: bytes, picture: Picture, signer: Signer) -> bytes:
    """TCB info v3 for one kind of platform, signed."""
    info: dict[str, object] = {
        "id": tee,
        "version": 3,
        **_platform(fmspc, pce_id, picture, signer),
    }
    if tee == "TDX":
        info["tdxModule"] = _TDX_MODULE
        info["tdxModuleIdentities"] = [_module(module) for module in picture.tdx_modules]
    info["tcbLevels"] = [_level(tee, level) for level in picture.levels]
    return signer.sign("tcbInfo", info)


def tcb_info_v2(fmspc: bytes, pce_id: bytes, picture: Picture, signer: Signer) -> bytes:
    """SGX TCB info in the form of the third interface, signed."""
    info = {
        "version": 2,
        **_platform(fmspc, pce_id, picture, signer),
        "tcbLevels": [_level_v2(level) for level in picture.levels],
    }
    return signer.sign("tcbInfo", info)


def qe_identity(tee: Tee, mr_signer: bytes, picture: Picture, signer: Signer) -> bytes:
    """Identity v2 of the lab's quoting enclave for one kind of TEE, signed."""
    identity = {
        "id": QE_IDS[tee],
        "version": 2,
        **signer.dates,
        "tcbEvaluationDataNumber": picture.evaluation_data_number,
        "miscselect": "00000000",
        "miscselectMask": "FFFFFFFF",
        "attributes": QE_ATTRIBUTES.hex().upper(),
        "attributesMask": QE_ATTRIBUTES_MASK.hex().upper(),
        "mrsigner": mr_signer.hex().upper(),
        "isvprodid": QE_ISV_PROD_IDS[tee],
        "tcbLevels": [_svn_level(level) for level in picture.qe_levels],
    }
    return signer.sign("enclaveIdentity", identity)


def signed_body(name: str, inner: bytes, signature: bytes) -> bytes:
    """The two members as the service writes them; `signature` is r and s, 64 bytes."""
    return b'{"%s":%s,"signature":"%s"}' % (name.encode(), inner, signature.hex().encode())


def raw_signature(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    """ECDSA P-256 over SHA-256 of `data`: r and s, 32 bytes each, big-endian."""
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def date_text(date: datetime) -> str:
    """A time in UTC, as Intel writes it."""
    return f"{date:%Y-%m-%dT%H:%M:%SZ}"


def _platform(fmspc: bytes, pce_id: bytes, picture: Picture, signer: Signer) -> dict[str, object]:
    return {
        **signer.dates,
        "fmspc": fmspc.hex(),
        "pceId": pce_id.hex(),
        "tcbType": 0,
        "tcbEvaluationDataNumber": picture.evaluation_data_number,
    }


def _level(tee: Tee, level: TcbLevel) -> dict[str, object]:
    tcb: dict[str, object] = {
        "sgxtcbcomponents": _components(level.component_svns, _SGX_CATEGORIES),
        "pcesvn": level.pce_svn,
    }
    if tee == "TDX":
        tcb["tdxtcbcomponents"] = _components(level.tdx_component_svns, _TDX_CATEGORIES)
    return {"tcb": tcb, **_judgement(level)}


def _level_v2(level: TcbLevel) -> dict[str, object]:
    numbered = {f"sgxtcbcomp{n:02}svn": svn for n, svn in enumerate(level.component_svns, start=1)}
    return {"tcb": {**numbered, "pcesvn": level.pce_svn}, **_judgement(level)}


def _components(
    svns: bytes, categories: Mapping[int, tuple[str, str | None]]
) -> list[dict[str, object]]:
    components: list[dict[str, object]] = []
    for index, svn in enumerate(svns):
        category, kind = categories.get(index, (None, None))
        said = {"category": category, "type": kind}
        components.append({"svn": svn, **{name: text for name, text in said.items() if text}})
    return components


def _module(module: TdxModule) -> dict[str, object]:
    levels = [_svn_level(level) for level in module.levels]
    return {"id": f"TDX_{module.version:02X}", **_TDX_MODULE, "tcbLevels": levels}


def _svn_level(level: SvnLevel) -> dict[str, object]:
    return {"tcb": {"isvsvn": level.isv_svn}, **_judgement(level)}


def _judgement(level: TcbLevel | SvnLevel) -> dict[str, object]:
    advised = {"advisoryIDs": list(level.advisories)} if level.advisories else {}
    return {"tcbDate": level.date, "tcbStatus": level.status, **advised}
