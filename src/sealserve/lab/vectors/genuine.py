"""Cases that verify: every form of quote, every TCB status, and what may be as it likes."""

from __future__ import annotations

from collections.abc import Iterator

from sealserve.lab import levels
from sealserve.lab.vectors.case import Accepted, Case, Evidence
from sealserve.lab.vectors.original import (
    ADVISORY,
    EVALUATION_TIME,
    Original,
    flipped,
    stating,
)
from sealserve.lab.vectors.originals import quote_of
from sealserve.lab.world import World
from sealserve.verifier import Code, TcbStatus

_GROUP = "genuine"

# What a platform's status becomes beside a quoting enclave that is out of date.
_BESIDE_OUTDATED = {
    TcbStatus.UP_TO_DATE: TcbStatus.OUT_OF_DATE,
    TcbStatus.SW_HARDENING_NEEDED: TcbStatus.OUT_OF_DATE,
    TcbStatus.CONFIGURATION_NEEDED: TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED,
    TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED: TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED,
    TcbStatus.OUT_OF_DATE: TcbStatus.OUT_OF_DATE,
    TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED: TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED,
}


def cases(original: Original) -> Iterator[Case]:
    """Of one form of quote."""
    yield original.accept(_GROUP, "genuine", "Nothing was changed.", original.evidence)
    yield _debug(original)
    yield from _around_the_quote(original)


def status_cases(original: Original) -> Iterator[Case]:
    """Each status of a platform, beside a quoting enclave that is good, outdated and revoked."""
    qe_advisories = levels.QE_OUT_OF_DATE.advisories
    for status, beside in _BESIDE_OUTDATED.items():
        name = status.lower()
        change = f"The platform's level is {status}, with an advisory"
        evidence = original.restated("tcb_info", stating(status))
        yield original.accept(
            _GROUP, f"status-{name}", f"{change}.", evidence, Accepted(status, (ADVISORY,))
        )
        outdated = _with_statement_of(original.with_qe_report(isv_svn=6), evidence)
        yield original.accept(
            _GROUP,
            f"status-{name}-beside-outdated-qe",
            f"{change}, and the quoting enclave is OutOfDate.",
            outdated,
            Accepted(beside, tuple(sorted((ADVISORY, *qe_advisories)))),
        )
    yield original.reject(
        _GROUP,
        "status-revoked",
        "The platform's level is Revoked, with an advisory.",
        Code.TCB_REVOKED,
        original.restated("tcb_info", stating(TcbStatus.REVOKED)),
    )


def form_cases(original: Original) -> Iterator[Case]:
    """Endorsements in the other forms that they may have."""
    if original.tee == "SGX":
        evidence = original.evidence.with_collateral(
            tcb_info=original.world.issued.tcb_info_v2["standard"]
        )
        change = "TCB info is of version 2, as the third interface of Intel's service has it."
        yield original.accept(_GROUP, "tcb-info-v2", change, evidence)
    yield _processor_ca(original)
    yield original.accept(
        _GROUP,
        "unknown-members",
        "TCB info has a member that nobody knows.",
        original.with_members("tcb_info", somethingNew={"svn": 1}),
    )
    chain = original.quote.certification_data
    for name, change, other in (
        ("chain-with-nul", "The PCK chain is followed by a NUL.", chain + b"\0"),
        (
            "chain-crlf",
            "The PCK chain has lines that end as on Windows.",
            chain.replace(b"\n", b"\r\n"),
        ),
    ):
        yield original.accept(_GROUP, name, change, original.with_chain(other))


def _with_statement_of(evidence: Evidence, other: Evidence) -> Evidence:
    return evidence.with_collateral(tcb_info=other.collateral.tcb_info)


def _debug(original: Original) -> Case:
    field = "attributes" if original.tee == "SGX" else "td_attributes"
    bit = 1 if original.tee == "SGX" else 0
    attributes = flipped(getattr(original.quote.body, field), 0, bit)
    return original.accept(
        _GROUP,
        "debug",
        "The attributes say that the host may look into it and change it.",
        original.with_body(**{field: attributes}),
        Accepted(debug=True),
        "The evidence is genuine. A verifier that knows no policy beside it may deny it by itself.",
    )


def _around_the_quote(original: Original) -> Iterator[Case]:
    data = original.data
    for name, change, trailing in (
        ("trailing-zeros", "The quote is followed by zeros, as real ones are.", bytes(100)),
        ("trailing-bytes", "The quote is followed by bytes that nobody signed.", b"trailing"),
    ):
        yield original.accept(_GROUP, name, change, original.with_bytes(data + trailing))
    for size in (0, 1, 33, 1000):
        yield original.accept(
            _GROUP,
            f"authentication-data-{size}",
            f"The QE authentication data has {size} bytes, for which the report vouches.",
            original.with_auth_data(b"a" * size),
        )


def _processor_ca(original: Original) -> Case:
    """A world of its own: another CA issues other certificates."""
    world = World.create(now=EVALUATION_TIME, ca="processor")
    tee, quote = quote_of(world, original.form)
    return original.accept(
        _GROUP,
        "processor-ca",
        "The PCK is of the Processor CA, and says nothing of a platform instance.",
        Evidence(quote, world.collateral(tee), world.root_ca_pem, EVALUATION_TIME),
    )
