"""What the lab's TCB signer states: TCB info v3 and QE identity v2, as signed JSON.

The signature is over the exact bytes of the inner object, as on Intel's service. The levels are a
small but whole picture: good, good with hardening in software, outdated, revoked.
Source: Intel SGX and TDX Provisioning Certification Service API, version 4, "Get SGX TCB Info" and
"Get SGX QE Identity".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

EVALUATION_DATA_NUMBER = 17

# Under this mask a quoting enclave's ATTRIBUTES must be INIT and PROVISION_KEY, never DEBUG. As in
# Intel's identity, MODE64 (bit 2) and the extended features are left open.
QE_ATTRIBUTES = bytes.fromhex("11000000000000000000000000000000")
QE_ATTRIBUTES_MASK = bytes.fromhex("fbffffffffffffff0000000000000000")
QE_ISV_PROD_ID = 1

_CATEGORIES = (
    {"category": "BIOS", "type": "Early Microcode Update"},
    {"category": "OS/VMM", "type": "SGX Late Microcode Update"},
    {"category": "OS/VMM", "type": "TXT SINIT"},
    {"category": "BIOS"},
)


@dataclass(frozen=True, slots=True)
class TcbLevel:
    """One level of TCB info; the platform reaches it when none of its versions is smaller."""

    status: str
    component_svns: bytes
    """16 bytes, one security version each."""
    pce_svn: int
    date: str
    advisories: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        """The level as it stands in TCB info."""
        components = [
            {"svn": svn, **(_CATEGORIES[n] if n < len(_CATEGORIES) else {})}
            for n, svn in enumerate(self.component_svns)
        ]
        tcb = {"sgxtcbcomponents": components, "pcesvn": self.pce_svn}
        return {"tcb": tcb, **_judgement(self.date, self.status, self.advisories)}


UP_TO_DATE = TcbLevel(
    "UpToDate", bytes((14, 14, 3, 3, 255, 255, 1)).ljust(16, b"\0"), 13, "2024-03-13T00:00:00Z"
)
SW_HARDENING_NEEDED = TcbLevel(
    "SWHardeningNeeded",
    bytes((14, 14, 3, 3, 255, 255, 0)).ljust(16, b"\0"),
    13,
    "2024-03-13T00:00:00Z",
    ("INTEL-SA-00615",),
)
OUT_OF_DATE = TcbLevel(
    "OutOfDate",
    bytes((12, 12, 3, 3, 255, 255, 0)).ljust(16, b"\0"),
    11,
    "2021-11-10T00:00:00Z",
    ("INTEL-SA-00615", "INTEL-SA-00960"),
)
REVOKED = TcbLevel(
    "Revoked",
    bytes((4, 4, 2, 3, 0, 0, 0)).ljust(16, b"\0"),
    7,
    "2018-01-04T00:00:00Z",
    ("INTEL-SA-00233", "INTEL-SA-00615", "INTEL-SA-00960"),
)
LEVELS = (UP_TO_DATE, SW_HARDENING_NEEDED, OUT_OF_DATE, REVOKED)

# Versions of a platform older than every level; it stands in no TCB info.
BELOW_ALL_LEVELS = TcbLevel("", bytes((1, 1, 1, 1)).ljust(16, b"\0"), 5, "")


@dataclass(frozen=True, slots=True)
class QeLevel:
    """One level of QE identity; the quoting enclave reaches it when its version is not smaller."""

    isv_svn: int
    status: str
    date: str
    advisories: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        """The level as it stands in QE identity."""
        tcb = {"isvsvn": self.isv_svn}
        return {"tcb": tcb, **_judgement(self.date, self.status, self.advisories)}


QE_UP_TO_DATE = QeLevel(8, "UpToDate", "2024-03-13T00:00:00Z")
QE_OUT_OF_DATE = QeLevel(6, "OutOfDate", "2021-11-10T00:00:00Z", ("INTEL-SA-00615",))
QE_LEVELS = (QE_UP_TO_DATE, QE_OUT_OF_DATE)


def tcb_info(
    fmspc: bytes,
    pce_id: bytes,
    dates: tuple[datetime, datetime],
    signer: ec.EllipticCurvePrivateKey,
) -> bytes:
    """TCB info v3 with `LEVELS` for one kind of platform, signed."""
    info = {
        "id": "SGX",
        "version": 3,
        **_dates(dates),
        "fmspc": fmspc.hex(),
        "pceId": pce_id.hex(),
        "tcbType": 0,
        "tcbEvaluationDataNumber": EVALUATION_DATA_NUMBER,
        "tcbLevels": [level.as_json() for level in LEVELS],
    }
    return _signed("tcbInfo", info, signer)


def qe_identity(
    mr_signer: bytes, dates: tuple[datetime, datetime], signer: ec.EllipticCurvePrivateKey
) -> bytes:
    """QE identity v2 of the lab's quoting enclave, signed."""
    identity = {
        "id": "QE",
        "version": 2,
        **_dates(dates),
        "tcbEvaluationDataNumber": EVALUATION_DATA_NUMBER,
        "miscselect": "00000000",
        "miscselectMask": "FFFFFFFF",
        "attributes": QE_ATTRIBUTES.hex().upper(),
        "attributesMask": QE_ATTRIBUTES_MASK.hex().upper(),
        "mrsigner": mr_signer.hex().upper(),
        "isvprodid": QE_ISV_PROD_ID,
        "tcbLevels": [level.as_json() for level in QE_LEVELS],
    }
    return _signed("enclaveIdentity", identity, signer)


def raw_signature(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    """ECDSA P-256 over SHA-256 of `data`: r and s, 32 bytes each, big-endian."""
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _signed(name: str, inner: Mapping[str, object], signer: ec.EllipticCurvePrivateKey) -> bytes:
    body = json.dumps(inner, separators=(",", ":")).encode("ascii")
    signature = raw_signature(signer, body).hex().encode("ascii")
    return b'{"' + name.encode("ascii") + b'":' + body + b',"signature":"' + signature + b'"}'


def _dates(dates: tuple[datetime, datetime]) -> dict[str, str]:
    issued, next_update = (f"{date:%Y-%m-%dT%H:%M:%SZ}" for date in dates)
    return {"issueDate": issued, "nextUpdate": next_update}


def _judgement(date: str, status: str, advisories: tuple[str, ...]) -> dict[str, object]:
    advised = {"advisoryIDs": list(advisories)} if advisories else {}
    return {"tcbDate": date, "tcbStatus": status, **advised}
