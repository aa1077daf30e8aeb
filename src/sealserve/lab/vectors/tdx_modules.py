"""Cases of the TDX module: who it is, its version and its ISVSVN, and how TCB info describes it.

TEE_TCB_SVN begins with the module's ISVSVN and its version; what follows are the platform's
components, which are in `svns`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sealserve.evidence.td_report import TdReport
from sealserve.lab import levels
from sealserve.lab.vectors.case import STRICT_JSON, Accepted, Case, Evidence
from sealserve.lab.vectors.original import Edit, Original, flipped
from sealserve.verifier import Code, TcbStatus

_GROUP = "tdx"
_MODULE = levels.TDX_MODULE_VERSION
GOOD, OLD = levels.TDX_MODULE_UP_TO_DATE, levels.TDX_MODULE_OUT_OF_DATE
_COMPONENTS = levels.UP_TO_DATE.tdx_component_svns[2:]
OUTDATED = Accepted(TcbStatus.OUT_OF_DATE, OLD.advisories)


def cases(original: Original) -> Iterator[Case]:
    """Of one form of quote of a trust domain."""
    yield from _modules(original)
    yield from _module_versions(original)
    yield from _identities(original)
    yield from _forms(original)


def tee_tcb_svn(isv_svn: int, version: int = _MODULE) -> bytes:
    """16 bytes: a module's two versions on the lab's platform."""
    return bytes((isv_svn, version)) + _COMPONENTS


def _modules(original: Original) -> Iterator[Case]:
    """The module is another than TCB info describes."""
    for name, change, fields in (
        (
            "signer-first-byte",
            "MRSIGNERSEAM begins with another byte",
            {"mr_signer_seam": flipped(bytes(48), 0)},
        ),
        (
            "signer-last-byte",
            "MRSIGNERSEAM ends with another byte",
            {"mr_signer_seam": flipped(bytes(48), -1)},
        ),
        (
            "attributes-first-bit",
            "the first of SEAMATTRIBUTES is set",
            {"seam_attributes": flipped(bytes(8), 0)},
        ),
        (
            "attributes-last-bit",
            "the last of SEAMATTRIBUTES is set",
            {"seam_attributes": flipped(bytes(8), 7, 7)},
        ),
    ):
        yield original.reject(
            _GROUP,
            f"module-{name}",
            f"The TDX module is another: {change}.",
            Code.TDX_MODULE_MISMATCH,
            original.with_body(**fields),
        )
    change = "The TDX module has another measurement, which no identity names."
    evidence = original.with_body(mr_seam=b"\x07" * 48)
    yield original.accept(_GROUP, "module-other-measurement", change, evidence)


def _module_versions(original: Original) -> Iterator[Case]:
    for name, isv_svn, expected in (
        ("above-best", GOOD.isv_svn + 1, Accepted()),
        ("below-best", GOOD.isv_svn - 1, OUTDATED),
        ("worst", OLD.isv_svn, OUTDATED),
    ):
        change = (
            f"The TDX module has ISVSVN {isv_svn}; levels are {GOOD.isv_svn} and {OLD.isv_svn}."
        )
        evidence = with_tee_tcb_svn(original, tee_tcb_svn(isv_svn))
        yield original.accept(_GROUP, f"module-svn-{name}", change, evidence, expected)
    for name, change, svns in (
        (
            "below-worst",
            "The TDX module has an ISVSVN below every level.",
            tee_tcb_svn(OLD.isv_svn - 1),
        ),
        (
            "unknown-version",
            "The TDX module is of a version without identity.",
            tee_tcb_svn(GOOD.isv_svn, 0x7F),
        ),
    ):
        evidence = with_tee_tcb_svn(original, svns)
        yield original.reject(
            _GROUP, f"module-svn-{name}", change, Code.TDX_MODULE_MISMATCH, evidence
        )
    change = "The TDX module is of version 3, which has an identity and levels of its own."
    evidence = with_tee_tcb_svn(original, tee_tcb_svn(3, 3))
    yield original.accept(_GROUP, "module-version-3", change, evidence)


def with_tee_tcb_svn(original: Original, svns: bytes) -> Evidence:
    """TEE_TCB_SVN, at the launch and, where the report has it, now."""
    body = original.quote.body
    now = {"tee_tcb_svn_2": svns} if isinstance(body, TdReport) and body.tee_tcb_svn_2 else {}
    return original.with_body(tee_tcb_svn=svns, **now)


def _identities(original: Original) -> Iterator[Case]:
    """The same differences from the other side: TCB info says something else of the module."""
    for name, change, edit in (
        ("signer", "has another MRSIGNER", _ours(mrsigner="01" + "00" * 47)),
        ("attributes", "has an attribute more", _ours(attributes="01" + "00" * 7)),
        ("other-name", "is for another version", _ours(id="TDX_02")),
        ("no-levels", "has no levels", _ours(tcbLevels=[])),
    ):
        yield original.reject(
            _GROUP,
            f"identity-{name}",
            f"The identity of the TDX module {change}.",
            Code.TDX_MODULE_MISMATCH,
            original.restated("tcb_info", edit),
        )
    change = "The TDX module's level is Revoked."
    edit = _first_level_of_ours(tcbStatus="Revoked")
    evidence = original.restated("tcb_info", edit)
    yield original.reject(_GROUP, "module-revoked", change, Code.TCB_REVOKED, evidence)
    open_mask = _ours(attributes="00" * 8, attributesMask="00" * 8)
    evidence = original.restated("tcb_info", open_mask)
    change = "The identity's mask leaves all of SEAMATTRIBUTES open."
    yield original.accept(_GROUP, "identity-open-mask", change, evidence)
    for index in (0, 1):
        yield original.accept(
            _GROUP,
            f"tdx-component-{index + 1:02}-not-compared",
            f"The first level asks 255 of TDX component {index + 1}, which the identity judges.",
            original.restated("tcb_info", _asking(index)),
        )


def _asking(index: int) -> Edit:
    def edit(info: dict[str, Any]) -> None:
        info["tcbLevels"][0]["tcb"]["tdxtcbcomponents"][index]["svn"] = 255

    return edit


def _ours(**members: object) -> Edit:
    """Change the identity of the module that the platform runs."""
    return lambda info: _identity(info).update(members)


def _first_level_of_ours(**members: object) -> Edit:
    return lambda info: _identity(info)["tcbLevels"][0].update(members)


def _identity(info: dict[str, Any]) -> dict[str, Any]:
    name = f"TDX_{_MODULE:02X}"
    identity: dict[str, Any] = next(
        identity for identity in info["tdxModuleIdentities"] if identity["id"] == name
    )
    return identity


def _forms(original: Original) -> Iterator[Case]:
    """TCB info for TDX has members that TCB info for SGX has not."""
    for name, change, edit in (
        ("without-module", "has no module", lambda it: it.pop("tdxModule")),
        (
            "short-signer",
            "has a module with an MRSIGNER of 47 bytes",
            of_module(mrsigner="00" * 47),
        ),
        (
            "short-attributes",
            "has a module with attributes of seven bytes",
            of_module(attributes="00" * 7),
        ),
        ("without-components", "has a level without TDX components", _without_components),
        (
            "unknown-module-status",
            "has a module's level of unknown status",
            _first_level_of_ours(tcbStatus="Fine"),
        ),
    ):
        yield original.reject(
            _GROUP,
            f"tcb-info-{name}",
            f"TCB info for TDX {change}.",
            Code.TCB_INFO_FORMAT,
            original.restated("tcb_info", edit),
            STRICT_JSON,
        )


def of_module(**members: object) -> Edit:
    """Change what TCB info says of a module that has no identity."""
    return lambda info: info["tdxModule"].update(members)


def _without_components(info: dict[str, Any]) -> None:
    del info["tcbLevels"][0]["tcb"]["tdxtcbcomponents"]
