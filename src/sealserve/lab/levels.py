"""How the lab's platforms can stand: the levels of TCB info, the identities, and what runs there.

A small but whole picture: good, good with hardening in software, outdated, revoked, and older than
anything that is spoken of. The same platform runs SGX enclaves and trust domains, so a level has
both kinds of versions. `EARLY` is the picture after the next TCB recovery, under which what is good
today is outdated: what Intel's `update=early` gives while `update=standard` still says the other.
Source of the shapes: Intel SGX and TDX Provisioning Certification Service API, version 4, "TCB
Info" and "Enclave Identity".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, TypeAlias

Update: TypeAlias = Literal["standard", "early"]


@dataclass(frozen=True, slots=True)
class TcbLevel:
    """One level of TCB info; the platform reaches it when none of its versions is smaller."""

    status: str
    component_svns: bytes
    """16 bytes, one security version each."""
    tdx_component_svns: bytes
    """16 bytes, the same for TEE_TCB_SVN; the first two are the TDX module's."""
    pce_svn: int
    date: str
    advisories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SvnLevel:
    """One level of a quoting enclave or a TDX module, reached by its ISVSVN."""

    isv_svn: int
    status: str
    date: str
    advisories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TdxModule:
    """What is said of one generation of the TDX module: `TDX_01` is what Intel calls TDX 1.5."""

    version: int
    levels: tuple[SvnLevel, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything that Intel says at one time, under one evaluation data number."""

    evaluation_data_number: int
    levels: tuple[TcbLevel, ...]
    qe_levels: tuple[SvnLevel, ...]
    tdx_modules: tuple[TdxModule, ...]


UP_TO_DATE = TcbLevel(
    "UpToDate",
    bytes((14, 14, 3, 3, 255, 255, 1, 3)).ljust(16, b"\0"),
    bytes((5, 0, 3)).ljust(16, b"\0"),
    13,
    "2024-03-13T00:00:00Z",
)
SW_HARDENING_NEEDED = replace(
    UP_TO_DATE,
    status="SWHardeningNeeded",
    component_svns=bytes((14, 14, 3, 3, 255, 255, 0, 3)).ljust(16, b"\0"),
    advisories=("INTEL-SA-00615",),
)
OUT_OF_DATE = TcbLevel(
    "OutOfDate",
    bytes((12, 12, 3, 3, 255, 255, 0, 3)).ljust(16, b"\0"),
    bytes((3, 0, 2)).ljust(16, b"\0"),
    11,
    "2021-11-10T00:00:00Z",
    ("INTEL-SA-00615", "INTEL-SA-00960"),
)
REVOKED = TcbLevel(
    "Revoked",
    bytes((4, 4, 2, 3, 0, 0, 0, 1)).ljust(16, b"\0"),
    bytes((1, 0, 1)).ljust(16, b"\0"),
    7,
    "2018-01-04T00:00:00Z",
    ("INTEL-SA-00233", "INTEL-SA-00615", "INTEL-SA-00960"),
)
# Versions of a platform older than every level; it stands in no TCB info.
BELOW_ALL_LEVELS = TcbLevel("", bytes((1, 1, 1, 1)).ljust(16, b"\0"), bytes(16), 5, "")

QE_UP_TO_DATE = SvnLevel(8, "UpToDate", "2024-03-13T00:00:00Z")
QE_OUT_OF_DATE = SvnLevel(6, "OutOfDate", "2021-11-10T00:00:00Z", ("INTEL-SA-00615",))

TDX_MODULE_VERSION = 1  # of the module that the lab's platforms run
TDX_MODULE_UP_TO_DATE = SvnLevel(5, "UpToDate", "2024-03-13T00:00:00Z")
TDX_MODULE_OUT_OF_DATE = SvnLevel(3, "OutOfDate", "2023-08-09T00:00:00Z", ("INTEL-SA-01036",))

STANDARD = Picture(
    evaluation_data_number=17,
    levels=(UP_TO_DATE, SW_HARDENING_NEEDED, OUT_OF_DATE, REVOKED),
    qe_levels=(QE_UP_TO_DATE, QE_OUT_OF_DATE),
    tdx_modules=(
        TdxModule(3, (SvnLevel(3, "UpToDate", "2024-03-13T00:00:00Z"),)),
        TdxModule(TDX_MODULE_VERSION, (TDX_MODULE_UP_TO_DATE, TDX_MODULE_OUT_OF_DATE)),
    ),
)

_RECOVERY = "INTEL-SA-01313"


def _outdated(level: TcbLevel) -> TcbLevel:
    advisories = tuple(sorted({*level.advisories, _RECOVERY}))
    status = level.status if level is REVOKED else "OutOfDate"
    return replace(level, status=status, advisories=advisories)


EARLY = replace(
    STANDARD,
    evaluation_data_number=18,
    levels=(
        replace(  # a microcode update that no platform of the lab has
            UP_TO_DATE,
            component_svns=bytes((15, 15)) + UP_TO_DATE.component_svns[2:],
            date="2026-05-13T00:00:00Z",
        ),
        *map(_outdated, STANDARD.levels),
    ),
)
PICTURES: Mapping[Update, Picture] = MappingProxyType({"standard": STANDARD, "early": EARLY})
