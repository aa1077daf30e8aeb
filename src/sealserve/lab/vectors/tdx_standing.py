"""Cases of how a trust domain stands: by the platform and its TDX module, at the launch and now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sealserve.lab import levels
from sealserve.lab.vectors.case import Accepted, Case
from sealserve.lab.vectors.original import ADVISORY, Original, stating
from sealserve.lab.vectors.tdx_modules import (
    GOOD,
    OLD,
    OUTDATED,
    of_module,
    tee_tcb_svn,
    with_tee_tcb_svn,
)
from sealserve.verifier import Code, TcbStatus

_GROUP = "tdx"


def cases(original: Original) -> Iterator[Case]:
    """Of one form of quote of a trust domain."""
    yield from _without_identity(original)
    yield from _statuses(original)


def _without_identity(original: Original) -> Iterator[Case]:
    """Version 0 has no identity: TCB info judges the module with the platform."""
    good = levels.UP_TO_DATE.tdx_component_svns
    change = "The TDX module is of version 0, and reaches the first level."
    yield original.accept(_GROUP, "version-0", change, with_tee_tcb_svn(original, good))
    change = "The TDX module is of version 0, and has one less than the first two levels ask."
    evidence = with_tee_tcb_svn(original, bytes((good[0] - 1,)) + good[1:])
    outdated = Accepted(TcbStatus.OUT_OF_DATE, levels.OUT_OF_DATE.advisories)
    yield original.accept(_GROUP, "version-0-below-first", change, evidence, outdated)
    change = "The TDX module is of version 0, and has less than every level asks."
    evidence = with_tee_tcb_svn(original, bytes(16))
    yield original.reject(_GROUP, "version-0-below-all", change, Code.TCB_NOT_SUPPORTED, evidence)
    edit = of_module(mrsigner="01" + "00" * 47)
    stated = original.restated("tcb_info", edit).collateral.tcb_info
    evidence = with_tee_tcb_svn(original, good).with_collateral(tcb_info=stated)
    change = "The TDX module is of version 0, and TCB info says another signer."
    yield original.reject(_GROUP, "version-0-signer", change, Code.TDX_MODULE_MISMATCH, evidence)


def _statuses(original: Original) -> Iterator[Case]:
    """An outdated module makes a platform outdated; what needs configuration, goes on to."""
    for status, merged in (
        (TcbStatus.SW_HARDENING_NEEDED, TcbStatus.OUT_OF_DATE),
        (TcbStatus.CONFIGURATION_NEEDED, TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED),
        (
            TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED,
            TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED,
        ),
        (TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED, TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED),
    ):
        stated = original.restated("tcb_info", stating(status)).collateral.tcb_info
        evidence = with_tee_tcb_svn(original, tee_tcb_svn(OLD.isv_svn))
        yield original.accept(
            _GROUP,
            f"status-{status.lower()}-beside-outdated-module",
            f"The platform's level is {status}, and the TDX module is OutOfDate.",
            evidence.with_collateral(tcb_info=stated),
            Accepted(merged, tuple(sorted((ADVISORY, *OLD.advisories)))),
        )


def relaunch_cases(original: Original) -> Iterator[Case]:
    """Of TDX 1.5 and later: the module at the launch, and the module now."""
    yield from _modules_then_and_now(original)
    yield from _levels_then_and_now(original)


def _modules_then_and_now(original: Original) -> Iterator[Case]:
    good, old = tee_tcb_svn(GOOD.isv_svn), tee_tcb_svn(OLD.isv_svn)
    advised = TcbStatus.TD_RELAUNCH_ADVISED
    needed = TcbStatus.TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED
    launched_old = original.with_body(tee_tcb_svn=old)
    yield original.accept(
        _GROUP,
        "relaunch-advised",
        "The TDX module was updated since the trust domain was launched.",
        launched_old,
        Accepted(advised, OLD.advisories),
    )
    stated = original.restated("tcb_info", stating(TcbStatus.CONFIGURATION_NEEDED))
    yield original.accept(
        _GROUP,
        "relaunch-advised-configuration",
        "The TDX module was updated since the launch, and the platform needs configuration.",
        launched_old.with_collateral(tcb_info=stated.collateral.tcb_info),
        Accepted(needed, tuple(sorted((ADVISORY, *OLD.advisories)))),
    )
    yield original.accept(
        _GROUP,
        "relaunch-useless",
        "The TDX module was OutOfDate at the launch, and is so now.",
        original.with_body(tee_tcb_svn=old, tee_tcb_svn_2=tee_tcb_svn(OLD.isv_svn + 1)),
        OUTDATED,
    )
    yield original.accept(
        _GROUP,
        "relaunch-not-needed",
        "The TDX module was good at the launch, and is newer now.",
        original.with_body(tee_tcb_svn_2=tee_tcb_svn(GOOD.isv_svn + 1)),
    )
    yield original.accept(
        _GROUP,
        "module-older-now",
        "The TDX module was good at the launch, and is OutOfDate now.",
        original.with_body(tee_tcb_svn=good, tee_tcb_svn_2=old),
        OUTDATED,
        "The documents do not say what a module means that went back.",
    )
    yield original.reject(
        _GROUP,
        "module-unknown-now",
        "The TDX module is now of a version without identity.",
        Code.TDX_MODULE_MISMATCH,
        original.with_body(tee_tcb_svn_2=tee_tcb_svn(GOOD.isv_svn, 0x7F)),
        "A verifier may look at the module of the launch alone.",
    )


def _levels_then_and_now(original: Original) -> Iterator[Case]:
    """The platform reached the third level at the launch, and reaches the first now."""
    outdated, needed = TcbStatus.OUT_OF_DATE, TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED
    advised = TcbStatus.TD_RELAUNCH_ADVISED
    configure = TcbStatus.TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED
    for launched, now, expected in (
        (outdated, TcbStatus.UP_TO_DATE, advised),
        (outdated, TcbStatus.SW_HARDENING_NEEDED, advised),
        (outdated, TcbStatus.CONFIGURATION_NEEDED, configure),
        (outdated, TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED, configure),
        (outdated, outdated, outdated),
        (needed, TcbStatus.UP_TO_DATE, configure),
        (needed, needed, needed),
        (TcbStatus.UP_TO_DATE, TcbStatus.UP_TO_DATE, TcbStatus.UP_TO_DATE),
        (TcbStatus.REVOKED, TcbStatus.UP_TO_DATE, Code.TCB_REVOKED),
        (TcbStatus.UP_TO_DATE, TcbStatus.REVOKED, Code.TCB_REVOKED),
    ):
        yield _level_then_and_now(original, launched, now, expected)


def _level_then_and_now(
    original: Original, launched: TcbStatus, now: TcbStatus, expected: TcbStatus | Code
) -> Case:
    def state(info: dict[str, Any]) -> None:
        info["tcbLevels"][0]["tcbStatus"] = now.value
        info["tcbLevels"][2]["tcbStatus"] = launched.value

    at_launch = tee_tcb_svn(GOOD.isv_svn)[:2] + levels.OUT_OF_DATE.tdx_component_svns[2:]
    evidence = original.with_body(tee_tcb_svn=at_launch)
    stated = original.restated("tcb_info", state).collateral.tcb_info
    evidence = evidence.with_collateral(tcb_info=stated)
    name = f"launched-{launched.lower()}-now-{now.lower()}"
    change = f"At the launch the platform's level was {launched}, now it is {now}."
    if isinstance(expected, Code):
        return original.reject(_GROUP, name, change, expected, evidence)
    accepted = Accepted(expected, levels.OUT_OF_DATE.advisories)
    return original.accept(_GROUP, name, change, evidence, accepted)
