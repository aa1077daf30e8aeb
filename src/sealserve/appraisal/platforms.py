"""Conditions of `[platform]`: which platforms these are, on which numbers of Intel's, set up how.

No exception carries them, and what nobody states fails where it is named: a token of Azure
Attestation says nothing of its platform, a platform of one processor nothing of its setting up.
Source: Intel SGX PCK Certificate and CRL Profile Specification, the extension's "Configuration".
"""

from __future__ import annotations

from collections.abc import Iterator

from sealserve.appraisal.conditions import Condition, PolicyCode, any_of, judged
from sealserve.appraisal.policy import PlatformRules
from sealserve.verifier.claims import Claims, DcapStanding

_AZURE_IS_SILENT = "nothing: Azure Attestation does not say"
_OURSELVES = "verify the quote itself, as a token does not say where it was made"

_NO_SETUP = "nothing: certificates of platforms of one processor do not say"
_SETUP = (
    (
        PolicyCode.DYNAMIC_PLATFORM,
        "dynamic_platform",
        "run it where packages are, or are not, added to a registered platform, as is named",
    ),
    (
        PolicyCode.CACHED_KEYS,
        "cached_keys",
        "run it where Intel's registration service does, or does not, keep keys, as is named",
    ),
    (
        PolicyCode.SMT_ENABLED,
        "smt_enabled",
        "set hyper-threading in the BIOS as is named, and fetch a new PCK certificate",
    ),
)


def of_platform(claims: Claims, rules: PlatformRules) -> Iterator[Condition]:
    """The rules for every platform, as far as there are any."""
    standing = claims.standing if isinstance(claims.standing, DcapStanding) else None
    if rules.fmspcs is not None:
        yield judged(
            PolicyCode.FMSPC,
            "platform.fmspcs",
            standing is not None and standing.fmspc in rules.fmspcs,
            found=standing.fmspc.hex() if standing else _AZURE_IS_SILENT,
            expected=any_of(fmspc.hex() for fmspc in rules.fmspcs),
            fix=_on_a_platform(standing, "kind", "its FMSPC to platform.fmspcs"),
        )
    if rules.platform_ids is not None:
        yield _platform_id(standing, rules.platform_ids)
    if rules.minimum_tcb_evaluation_data_number is not None:
        found = standing.tcb_evaluation_data_number if standing else None
        yield judged(
            PolicyCode.EVALUATION_DATA_NUMBER,
            "platform.minimum_tcb_evaluation_data_number",
            found is not None and found >= rules.minimum_tcb_evaluation_data_number,
            found=_AZURE_IS_SILENT if found is None else str(found),
            expected=f"{rules.minimum_tcb_evaluation_data_number} or more",
            fix="fetch newer collateral (update=early has Intel's next numbers first)"
            if standing
            else _OURSELVES,
        )
    for code, key, cure in _SETUP:
        wanted = getattr(rules, key)
        if wanted is not None:
            yield _setup(standing, code, key, wanted, cure)


def _on_a_platform(standing: DcapStanding | None, one: str, entry: str) -> str:
    if standing is None:
        return _OURSELVES
    return f"run it on an accepted {one} of platform; or, if this one is meant, add {entry}"


def _platform_id(standing: DcapStanding | None, accepted: tuple[bytes, ...]) -> Condition:
    found = [] if standing is None else [standing.ppid, standing.platform_instance_id]
    ids = [each for each in found if each is not None]
    return judged(
        PolicyCode.PLATFORM_ID,
        "platform.platform_ids",
        any(each in accepted for each in ids),
        found=" and ".join(each.hex() for each in ids) or _AZURE_IS_SILENT,
        expected=any_of(each.hex() for each in accepted),
        fix=_on_a_platform(standing, "machine", "its PPID or instance id to platform.platform_ids"),
    )


def _setup(
    standing: DcapStanding | None, code: PolicyCode, key: str, wanted: bool, cure: str
) -> Condition:
    found = getattr(standing, key) if standing else None
    silent = _NO_SETUP if standing else _AZURE_IS_SILENT
    if standing is None:
        cure = _OURSELVES
    elif found is None:
        cure = f"its certificate does not say, so remove platform.{key}, if that will do"
    return judged(
        code,
        f"platform.{key}",
        found is wanted,
        found=silent if found is None else str(found).lower(),
        expected=str(wanted).lower(),
        fix=cure,
    )
