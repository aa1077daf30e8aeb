"""Genuine evidence of one form, and how to change one thing in it.

Whatever a change leaves unsigned is signed again with the key that the lab has for it: the quote by
the attestation key, the quoting enclave's report by the PCK, statements by the TCB signer. A method
whose name says `unsigned` leaves the old signature where it was.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias, TypeVar

from sealserve.endorsements.collateral import Collateral, Tee
from sealserve.endorsements.signed_json import split
from sealserve.evidence.quote import Quote, serialize_quote
from sealserve.evidence.report import SgxReport
from sealserve.evidence.td_report import TdInstance, TdReport
from sealserve.lab import pki
from sealserve.lab.authorities import Authorities
from sealserve.lab.quoting_enclave import binding
from sealserve.lab.statements import raw_signature, signed_body
from sealserve.lab.vectors.case import Accepted, Case, Evidence, Expected, Rejected
from sealserve.lab.vectors.reissuing import Difference, reissue
from sealserve.lab.world import World
from sealserve.verifier import Code, TcbStatus

_Report = TypeVar("_Report", bound=SgxReport | TdReport | TdInstance)

EVALUATION_TIME = datetime(2026, 6, 1, 12, tzinfo=UTC)

ADVISORY = "INTEL-SA-00001"  # of levels that a case makes

Edit: TypeAlias = Callable[[dict[str, Any]], object]
"""What is done to a statement, as JSON, before it is signed again."""
Statement: TypeAlias = Literal["tcb_info", "qe_identity"]
STATEMENT_NAMES: dict[Statement, str] = {"tcb_info": "tcbInfo", "qe_identity": "enclaveIdentity"}
STATEMENT_WORDS: dict[Statement, str] = {"tcb_info": "TCB info", "qe_identity": "The QE identity"}


@dataclass(frozen=True, slots=True)
class Original:
    """A genuine quote and all that vouches for it, and the keys with which it was signed."""

    form: str
    """TEE and quote version: the first part of the ids of its cases."""
    tee: Tee
    world: World
    stranger: World
    """Another world: the same names and other keys."""
    quote: Quote

    @property
    def authorities(self) -> Authorities:
        """Who signed what."""
        return self.world.authorities

    @property
    def collateral(self) -> Collateral:
        """The platform's."""
        return self.world.collateral(self.tee)

    @property
    def data(self) -> bytes:
        """The quote's bytes."""
        return serialize_quote(self.quote)

    @property
    def evidence(self) -> Evidence:
        """All of it as it is."""
        return self.with_bytes(self.data)

    # What a case is made of.

    def accept(
        self,
        group: str,
        name: str,
        change: str,
        evidence: Evidence,
        expected: Accepted | None = None,
        latitude: str | None = None,
    ) -> Case:
        """A case that verifies."""
        return self._case(group, name, change, evidence, expected or Accepted(), latitude)

    def reject(
        self,
        group: str,
        name: str,
        change: str,
        code: Code,
        evidence: Evidence,
        latitude: str | None = None,
    ) -> Case:
        """A case in which the check of `code` must fail."""
        return self._case(group, name, change, evidence, Rejected(code), latitude)

    def _case(
        self,
        group: str,
        name: str,
        change: str,
        evidence: Evidence,
        expected: Expected,
        latitude: str | None,
    ) -> Case:
        id = f"{self.form}-{name}"
        return Case(id, self.form, group, change, evidence, expected, latitude)

    # The quote.

    def with_bytes(self, data: bytes) -> Evidence:
        """Other bytes in place of the quote."""
        return Evidence(data, self.collateral, self.world.root_ca_pem, EVALUATION_TIME)

    def with_unsigned(self, **fields: Any) -> Evidence:
        """Other fields of the quote, under its old signature."""
        return self.with_bytes(serialize_quote(replace(self.quote, **fields)))

    def with_signed(self, **fields: Any) -> Evidence:
        """Other fields of the quote, signed by its attestation key."""
        changed = replace(self.quote, **fields)
        signature = raw_signature(self.world.attestation_key, changed.signed_bytes)
        return self.with_bytes(serialize_quote(replace(changed, signature=signature)))

    def with_body(self, **fields: Any) -> Evidence:
        """Another report of the enclave or trust domain, signed."""
        return self.with_signed(body=replace(self.quote.body, **fields))

    def with_qe_report(self, **fields: Any) -> Evidence:
        """Another report of the quoting enclave, signed by the PCK."""
        report = replace(self.quote.qe_report, **fields)
        signature = raw_signature(self.authorities.pck.key, report.serialize())
        return self.with_unsigned(qe_report=report, qe_report_signature=signature)

    def with_auth_data(self, auth_data: bytes) -> Evidence:
        """Other QE authentication data, for which the quoting enclave's report vouches."""
        report_data = binding(self.quote.attestation_key, auth_data)
        report = replace(self.quote.qe_report, report_data=report_data)
        signature = raw_signature(self.authorities.pck.key, report.serialize())
        return self.with_unsigned(
            qe_report=report, qe_report_signature=signature, qe_auth_data=auth_data
        )

    # The PCK chain.

    def with_chain(self, *pems: bytes) -> Evidence:
        """Another certificate chain in the quote; no signature of the quote covers it."""
        return self.with_unsigned(certification_data=b"".join(pems))

    def with_pck(self, difference: Difference) -> Evidence:
        """The PCK certificate issued again by its CA, with one difference."""
        pck = reissue(self.authorities.pck, self.authorities.platform_ca, difference)
        return self.with_chain(pck.certificate_pem, self.authorities.platform_chain)

    def with_pck_ca(self, difference: Difference) -> Evidence:
        """The CA of the PCK issued again by the root, in the quote's chain alone."""
        authorities = self.authorities
        pck_ca = reissue(authorities.platform_ca, authorities.root_ca, difference)
        return self.with_chain(
            authorities.pck.certificate_pem,
            pck_ca.certificate_pem,
            authorities.root_ca.certificate_pem,
        )

    def with_root(self, root: pki.Holder) -> Evidence:
        """`root` for the root CA: in every chain, and as the trust root."""
        new, old = root.certificate_pem, self.world.root_ca_pem
        collateral = self.collateral
        evidence = self.with_chain(self.quote.certification_data.replace(old, new))
        evidence = evidence.with_collateral(
            tcb_info_issuer_chain=collateral.tcb_info_issuer_chain.replace(old, new),
            qe_identity_issuer_chain=collateral.qe_identity_issuer_chain.replace(old, new),
            pck_crl_issuer_chain=collateral.pck_crl_issuer_chain.replace(old, new),
        )
        return replace(evidence, trust_root=new)

    # Statements.

    def restated(self, part: Statement, edit: Edit) -> Evidence:
        """TCB info or QE identity after `edit`, signed by the TCB signer."""
        statement = json.loads(split(getattr(self.collateral, part), STATEMENT_NAMES[part]).signed)
        edit(statement)
        return self.resigned(part, json.dumps(statement, separators=(",", ":")).encode())

    def with_members(self, part: Statement, **members: object) -> Evidence:
        """TCB info or QE identity with other members, signed by the TCB signer."""
        return self.restated(part, lambda statement: statement.update(members))

    def resigned(
        self, part: Statement, signed: bytes, signer: pki.Holder | None = None
    ) -> Evidence:
        """A statement of these bytes, signed by the TCB signer, or by `signer`."""
        holder = signer or self.authorities.tcb_signer
        body = signed_body(STATEMENT_NAMES[part], signed, raw_signature(holder.key, signed))
        return self.evidence.with_collateral(**{part: body})


def flipped(data: bytes, index: int, bit: int = 0) -> bytes:
    """`data` with one bit flipped, in the byte at `index`."""
    changed = bytearray(data)
    changed[index] ^= 1 << bit
    return bytes(changed)


def with_each_field_changed(report: _Report) -> Iterator[tuple[str, _Report]]:
    """The report with the lowest bit of one field flipped, for each field by its name."""
    plain: Any = report
    for field in fields(plain):
        for suffix, value in _changed(getattr(plain, field.name)):
            yield field.name + suffix, replace(plain, **{field.name: value})


def _changed(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, int):
        yield "", value ^ 1
    elif isinstance(value, bytes):
        yield "", flipped(value, 0)
    elif isinstance(value, tuple):
        for index, part in enumerate(value):
            yield f"_{index}", (*value[:index], flipped(part, 0), *value[index + 1 :])
    elif isinstance(value, TdInstance):
        for name, instance in with_each_field_changed(value):
            yield f"_{name}", instance


def stating(status: TcbStatus) -> Edit:
    """Give the first level of a statement this status, and `ADVISORY`."""
    return lambda statement: statement["tcbLevels"][0].update(
        tcbStatus=status.value, advisoryIDs=[ADVISORY]
    )


def statement_case(part: Statement, name: str) -> str:
    """The name of a case that changes this statement."""
    return f"{part.replace('_', '-')}-{name}"
