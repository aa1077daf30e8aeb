"""Cases of the form of TCB info and the QE identity, and of the platform that they are for.

All of it is signed by the TCB signer: only who reads it can object.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from sealserve.endorsements.signed_json import split
from sealserve.lab.vectors.case import STRICT_JSON, Case
from sealserve.lab.vectors.original import (
    STATEMENT_NAMES,
    STATEMENT_WORDS,
    Edit,
    Original,
    Statement,
    statement_case,
)
from sealserve.verifier import Code

_GROUP = "statements"


def cases(original: Original) -> Iterator[Case]:
    """Of one form of quote."""
    for part in STATEMENT_NAMES:
        yield from _bodies(original, part)
        yield from _members(original, part)
    yield from _platforms(original)


def _bodies(original: Original, part: Statement) -> Iterator[Case]:
    """What is not one object of two members."""
    body = getattr(original.collateral, part)
    other = {"tcb_info": "qe_identity", "qe_identity": "tcb_info"}[part]
    received = split(body, STATEMENT_NAMES[part])
    short = received.signature[:-1].hex().encode()
    for name, change, changed in (
        ("missing", "is missing", b""),
        ("no-json", "is not JSON", b"statement"),
        ("no-members", "is an empty object", b"{}"),
        (
            "other-statement",
            "is replaced by the other statement",
            getattr(original.collateral, other),
        ),
        ("third-member", "has a third member beside its signature", body[:-1] + b',"x":1}'),
        ("short-signature", "has a signature of 63 bytes", body[:-130] + short + b'"}'),
    ):
        yield original.reject(
            _GROUP,
            statement_case(part, name),
            f"{STATEMENT_WORDS[part]} {change}.",
            Code[f"{part.upper()}_FORMAT"],
            original.evidence.with_collateral(**{part: changed}),
            STRICT_JSON if name == "third-member" else None,
        )


def _members(original: Original, part: Statement) -> Iterator[Case]:
    """Signed by the right signer, and not in the form that its version has."""
    code = Code[f"{part.upper()}_FORMAT"]
    for name, change, edit in _edits(part):
        evidence = original.restated(part, edit)
        yield original.reject(
            _GROUP,
            statement_case(part, name),
            f"{STATEMENT_WORDS[part]} {change}.",
            code,
            evidence,
            STRICT_JSON if name == "status-of-platforms" else None,
        )
    signed = split(getattr(original.collateral, part), STATEMENT_NAMES[part]).signed
    for name, change, raw in (
        ("version-twice", "names its version twice", signed[:-1] + b',"version":3}'),
        ("version-fraction", "has a version with a fraction", _with_version(signed, b"3.0")),
        ("version-text", "has a version that is text", _with_version(signed, b'"3"')),
        ("not-utf-8", "is not UTF-8", signed.replace(b"UpToDate", b"UpToD\xe4te", 1)),
    ):
        yield original.reject(
            _GROUP,
            statement_case(part, name),
            f"{STATEMENT_WORDS[part]} {change}.",
            code,
            original.resigned(part, raw),
            STRICT_JSON,
        )


def _with_version(signed: bytes, version: bytes) -> bytes:
    number = json.loads(signed)["version"]
    return signed.replace(b'"version":%d' % number, b'"version":' + version, 1)


def _edits(part: Statement) -> Iterator[tuple[str, str, Edit]]:
    yield "version-9", "is of version 9", lambda it: it.update(version=9)
    yield "without-levels", "has no levels", lambda it: it.pop("tcbLevels")
    yield "without-issue-date", "has no issue date", lambda it: it.pop("issueDate")
    yield "without-next-update", "has no next update", lambda it: it.pop("nextUpdate")
    yield "no-date", "has no date but text", lambda it: it.update(issueDate="yesterday")
    yield "date-without-zone", "has a date without zone", _without_zone
    yield "unknown-status", "has a level of an unknown status", _first_level(tcbStatus="Fine")
    yield (
        "without-evaluation",
        "has no evaluation number",
        lambda it: it.pop("tcbEvaluationDataNumber"),
    )
    if part == "tcb_info":
        yield "tcb-type-1", "compares TCBs in another way", lambda it: it.update(tcbType=1)
        yield "short-fmspc", "has an FMSPC of five bytes", lambda it: it.update(fmspc="53494d0000")
        yield "unknown-id", "is for an unknown TEE", lambda it: it.update(id="SEV")
        yield "svn-256", "has a component with version 256", _first_component
        yield "fifteen-components", "has fifteen components", _fifteen_components
    else:
        yield (
            "short-signer",
            "has an MRSIGNER of 31 bytes",
            lambda it: it.update(mrsigner="00" * 31),
        )
        yield "no-hex", "has attributes that are not hex", lambda it: it.update(attributes="g" * 32)
        yield (
            "status-of-platforms",
            "has a level of a status that only platforms have",
            _first_level(tcbStatus="ConfigurationNeeded"),
        )


def _without_zone(statement: dict[str, Any]) -> None:
    statement["issueDate"] = statement["issueDate"].removesuffix("Z")


def _first_level(**members: object) -> Edit:
    return lambda statement: statement["tcbLevels"][0].update(members)


def _first_component(statement: dict[str, Any]) -> None:
    statement["tcbLevels"][0]["tcb"]["sgxtcbcomponents"][0]["svn"] = 256


def _fifteen_components(statement: dict[str, Any]) -> None:
    statement["tcbLevels"][0]["tcb"]["sgxtcbcomponents"].pop()


def _platforms(original: Original) -> Iterator[Case]:
    other = "TDX" if original.tee == "SGX" else "SGX"
    for name, change, members in (
        ("other-fmspc", "is for another FMSPC", {"fmspc": "00906ed50000"}),
        ("other-pce-id", "is for another PCEID", {"pceId": "0001"}),
    ):
        evidence = original.with_members("tcb_info", **members)
        sentence = f"TCB info {change}."
        code = Code.TCB_INFO_MISMATCH
        yield original.reject(_GROUP, statement_case("tcb_info", name), sentence, code, evidence)
    collateral = original.world.collateral("TDX" if other == "TDX" else "SGX")
    yield original.reject(
        _GROUP,
        statement_case("tcb_info", "other-tee"),
        f"TCB info and the QE identity are for {other}.",
        Code.TCB_INFO_MISMATCH,
        original.evidence.with_collateral(
            tcb_info=collateral.tcb_info, qe_identity=collateral.qe_identity
        ),
    )
    yield original.reject(
        _GROUP,
        statement_case("qe_identity", "other-tee"),
        f"The QE identity is that of the quoting enclave for {other}.",
        Code.QE_IDENTITY_MISMATCH,
        original.evidence.with_collateral(qe_identity=collateral.qe_identity),
    )
