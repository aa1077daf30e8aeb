"""Collateral and forecasts, as facts for `--json` and as tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, TypeAlias

import click

from sealserve.cli.output import print_table
from sealserve.collateral.examination import Examination
from sealserve.collateral.forecast import Refusal
from sealserve.collateral.inventory import Kept
from sealserve.collateral.prospect import standing
from sealserve.collateral.sightings import PlatformTcb
from sealserve.errors import VerificationError
from sealserve.verifier import Platform, VerifiedCollateral

Facts: TypeAlias = dict[str, Any]


def of_examination(examination: Examination) -> Facts:
    """What collateral says, and whether it verifies."""
    info, identity = examination.tcb_info, examination.qe_identity
    verified, error = examination.verified, examination.error
    return {
        "tee": str(info.id) if info else None,
        "fmspc": info.fmspc if info else None,
        "verified": verified is not None,
        "code": error.code if error else None,
        "message": error.message if error else None,
        "trust_root_sha256": verified.root.sha256 if verified else None,
        "simulated": verified.root.simulated if verified else None,
        "named_root_sha256": examination.root_sha256,
        "tcb_info_evaluation_data_number": info.evaluation_data_number if info else None,
        "qe_identity_evaluation_data_number": (
            identity.evaluation_data_number if identity else None
        ),
        "parts": [
            {
                "name": part.name,
                "valid_from": part.valid_from.isoformat(),
                "valid_until": part.valid_until.isoformat(),
            }
            for part in examination.parts
        ],
        "tcb_levels": [
            {
                "status": level.status,
                "date": level.date.date().isoformat(),
                "component_svns": level.component_svns.hex(),
                "pce_svn": level.pce_svn,
                "tdx_component_svns": level.tdx_component_svns.hex() or None,
                "advisory_ids": list(level.advisory_ids),
            }
            for level in (info.levels if info else ())
        ],
        "qe_levels": [
            {
                "status": level.status,
                "date": level.date.date().isoformat(),
                "isv_svn": level.isv_svn,
                "advisory_ids": list(level.advisory_ids),
            }
            for level in (identity.levels if identity else ())
        ],
    }


def of_kept(kept: Kept) -> Facts:
    """An entry of a cache."""
    return {
        "key": kept.key.name,
        "ca": kept.key.ca,
        "update": kept.key.update,
        "source": kept.entry.source,
        "fetched_at": kept.entry.fetched_at.isoformat(),
        "highest_tcb_info_number_seen": kept.highest.tcb_info,
        "highest_qe_identity_number_seen": kept.highest.qe_identity,
        **of_examination(kept.examination),
    }


def of_platforms(
    seen: Mapping[PlatformTcb, datetime],
    present: Mapping[Platform, Examination],
    early: Mapping[Platform, Examination],
) -> list[Facts]:
    """The platforms that were seen, and how they stand by one collateral and the other."""
    return [
        of_tcb(tcb)
        | {
            "last_seen": day.date().isoformat(),
            "tcb_status": _status(tcb, present),
            "early_tcb_status": _status(tcb, early),
        }
        for tcb, day in seen.items()
    ]


def of_tcb(tcb: PlatformTcb) -> Facts:
    """A platform at its versions."""
    return {
        **of_platform(tcb.platform),
        "component_svns": tcb.component_svns.hex(),
        "pce_svn": tcb.pce_svn,
        "qe_isv_svn": tcb.qe_isv_svn,
        "tee_tcb_svns": [svn.hex() for svn in tcb.tee_tcb_svns],
    }


def of_platform(platform: Platform) -> Facts:
    """A kind of platform."""
    return {"tee": platform.tee, "fmspc": platform.fmspc.hex(), "ca": platform.ca}


def of_refusal(refusal: Refusal) -> Facts:
    """A refusal that is foreseen."""
    return {
        "begins": refusal.begins.isoformat(),
        "is_estimate": refusal.is_estimate,
        "reason": refusal.reason,
        "platform": of_tcb(refusal.tcb) if refusal.tcb else of_platform(refusal.platform),
        "rules": list(refusal.rules),
        "code": refusal.code,
        "message": refusal.message,
    }


def print_collateral(title: str, facts: Facts) -> None:
    """One collateral as tables."""
    if facts["simulated"]:
        click.secho("SIMULATED: the trust root is not Intel's", bold=True)
    lists = ("parts", "tcb_levels", "qe_levels")
    print_table(title, [(name, value) for name, value in facts.items() if name not in lists])
    print_table(
        "what ends first",
        [
            (part["valid_until"], f"{part['name']} (from {part['valid_from']})")
            for part in facts["parts"]
        ],
    )
    for name in ("tcb_levels", "qe_levels"):
        print_table(
            name.replace("_", " "),
            [(level["date"], _level(level)) for level in facts[name]],
        )
    click.echo("")


def print_platforms(platforms: Iterable[Facts]) -> None:
    """The platforms that were seen, one row each."""
    rows = [
        (
            f"{each['tee']} {each['fmspc']} at {each['component_svns']}, PCESVN {each['pce_svn']}",
            f"{each['tcb_status'] or 'unknown'}; by early data "
            f"{each['early_tcb_status'] or 'unknown'}; seen on {each['last_seen']}",
        )
        for each in platforms
    ]
    if rows:
        print_table("platforms seen", rows)


def print_refusals(refusals: Iterable[Refusal]) -> None:
    """Refusals, one row each, in the order in which they begin."""
    rows = [(_moment(each), _told(each)) for each in refusals]
    print_table("refused from" if rows else "no refusal is foreseen", rows)


def kind(platform: Platform) -> str:
    """A kind of platform in words."""
    return f"{platform.tee} on FMSPC {platform.fmspc.hex()} ({platform.ca} CA)"


def _level(level: Facts) -> str:
    advisories = ", ".join(level["advisory_ids"])
    return f"{level['status']}{f' ({advisories})' if advisories else ''}"


def _moment(refusal: Refusal) -> str:
    day = f"{refusal.begins:%Y-%m-%d %H:%M} UTC"
    return f"about {refusal.begins:%Y-%m-%d}" if refusal.is_estimate else day


def _told(refusal: Refusal) -> str:
    platform = kind(refusal.platform)
    if refusal.tcb is not None:
        platform += f" at {refusal.tcb.component_svns.hex()}, PCESVN {refusal.tcb.pce_svn}"
    rules = f" (rules: {', '.join(refusal.rules)})" if refusal.rules else ""
    return f"{platform}: {refusal.reason}: {refusal.message} [{refusal.code}]{rules}"


def _status(tcb: PlatformTcb, edition: Mapping[Platform, Examination]) -> str | None:
    examination = edition.get(tcb.platform)
    if examination is None or examination.verified is None:
        return None
    return _verdict(tcb, examination.verified)


def _verdict(tcb: PlatformTcb, collateral: VerifiedCollateral) -> str:
    """The status of the TCB level, or the code of the rejection."""
    try:
        return str(standing(tcb, collateral).tcb_status)
    except VerificationError as error:
        return error.code
