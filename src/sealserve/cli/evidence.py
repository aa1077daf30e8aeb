"""`sealserve evidence`: what quotes, RA-TLS certificates and SIGSTRUCTs say."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeAlias

import click

from sealserve.cli.output import json_option, note, print_json, print_table
from sealserve.errors import RejectedError
from sealserve.evidence.kind import Kind, detect
from sealserve.evidence.quote import (
    TEE_TYPE_SGX,
    Body,
    Quote,
    is_placeholder,
    parse_quote,
    parse_quote_body,
)
from sealserve.evidence.ratls import RatlsEvidence, check_binding, extract_evidence
from sealserve.evidence.report import SgxReport
from sealserve.evidence.sigstruct import check_signature, parse_sigstruct
from sealserve.evidence.td_report import TdReport
from sealserve.files import read_file

MAX_FILE_BYTES = 64 * 1024  # the largest certificate that is read, as PEM, and some text around it

Facts: TypeAlias = dict[str, Any]

_REMARKS = {
    Kind.QUOTE: "shown, not verified: nobody checked here that this quote is genuine",
    Kind.CERTIFICATE: (
        "shown, not verified: checked are the certificate's own signature and whether the quote "
        "binds its key; nobody checked here that the quote is genuine"
    ),
    Kind.SIGSTRUCT: (
        "shown, not verified: checked is the signature by the key inside; whether that signer is "
        "to be trusted is for the policy"
    ),
}


@click.group()
def evidence() -> None:
    """Show quotes, certificates and SIGSTRUCTs.

    \b
    Example:
      sealserve evidence show server.sig
    """


@evidence.command()
@click.argument("file", type=click.Path(path_type=Path))
@json_option
@click.pass_context
def show(context: click.Context, file: Path, as_json: bool) -> None:
    """Show what the evidence in FILE says, without verifying it.

    FILE is a quote (SGX or TDX, version 3, 4 or 5), an RA-TLS certificate (DER or PEM) or a
    SIGSTRUCT.
    The exit code is 2 when it is malformed, does not bind its key or has a bad signature.

    \b
    Example:
      sealserve evidence show server.sig
      sealserve evidence show ratls.pem --json
    """
    data = read_file(file, limit=MAX_FILE_BYTES)
    kind = detect(data)
    facts, problem = _READERS[kind](data)
    remark = _REMARKS[kind]
    if as_json:
        print_json({"kind": kind.value, "verified": False, "remark": remark, **facts})
    else:
        _print_sections(f"{kind.value} (shown, not verified)", facts)
        note(remark)
    if problem is not None:
        if not as_json:
            note(f"error: {problem.message} [{problem.code}]")
        context.exit(problem.exit_code)


def _quote(data: bytes) -> tuple[Facts, None]:
    if is_placeholder(data):
        remark = "zeros stand in its place: nobody signed this quote"
        signature = {"present": False, "remark": remark}
        return _report(parse_quote_body(data)) | {"signature": signature}, None
    quote = parse_quote(data)
    signature = {
        "present": True,
        "qe_auth_data": quote.qe_auth_data,
        "certification_data_type": quote.certification_data_type.value,
        "certification_data": quote.certification_data_type.name,
        "certification_data_bytes": len(quote.certification_data),
        "trailing_bytes": len(quote.trailing),
    }
    sections = {
        "header": _header(quote),
        "signature": signature,
        "qe_report": _report(quote.qe_report),
    }
    return _report(quote.body) | sections, None


def _header(quote: Quote) -> Facts:
    header = {
        "version": quote.version,
        "tee": "SGX" if quote.tee_type == TEE_TYPE_SGX else "TDX",
        "attestation_key": "ECDSA P-256",
        "qe_svn": quote.qe_svn,
        "pce_svn": quote.pce_svn,
        "qe_vendor_id": quote.qe_vendor_id,
        "user_data": quote.user_data,
    }
    return header | ({} if quote.body_type is None else {"body_type": quote.body_type.name})


def _report(report: Body) -> Facts:
    return _td_report(report) if isinstance(report, TdReport) else _sgx_report(report)


def _sgx_report(report: SgxReport) -> Facts:
    return {
        "mr_enclave": report.mr_enclave,
        "mr_signer": report.mr_signer,
        "isv_prod_id": report.isv_prod_id,
        "isv_svn": report.isv_svn,
        "debug_enclave": report.debug,
        "report_data": report.report_data,
        "attributes": report.attributes,
        "misc_select": report.misc_select,
        "cpu_svn": report.cpu_svn,
        "config_id": report.config_id,
        "config_svn": report.config_svn,
        "isv_ext_prod_id": report.isv_ext_prod_id,
        "isv_family_id": report.isv_family_id,
    }


def _td_report(report: TdReport) -> Facts:
    facts: Facts = {
        "mr_td": report.mr_td,
        **{f"rtmr{number}": rtmr for number, rtmr in enumerate(report.rtmrs)},
        "debug_td": report.debug,
        "report_data": report.report_data,
        "td_attributes": report.td_attributes,
        "xfam": report.xfam,
        "mr_config_id": report.mr_config_id,
        "mr_owner": report.mr_owner,
        "mr_owner_config": report.mr_owner_config,
        "mr_seam": report.mr_seam,
        "mr_signer_seam": report.mr_signer_seam,
        "seam_attributes": report.seam_attributes,
        "tee_tcb_svn": report.tee_tcb_svn,
    }
    if report.tee_tcb_svn_2 is not None:
        facts |= {"tee_tcb_svn_2": report.tee_tcb_svn_2, "mr_service_td": report.mr_service_td}
    if (instance := report.instance) is not None:
        facts["td_instance"] = {
            field.name: getattr(instance, field.name) for field in fields(instance)
        }
    return facts


def _certificate(data: bytes) -> tuple[Facts, RejectedError | None]:
    found = extract_evidence(data)
    facts, _ = _quote(found.quote)
    problem = _problem(lambda: check_binding(found, facts["report_data"]))
    return {"certificate": _ratls(found), "binding": _outcome(problem)} | facts, problem


def _ratls(found: RatlsEvidence) -> Facts:
    facts = {
        "style": found.style,
        "oid": found.oid,
        "evidence_extensions": list(found.present),
        "public_key_sha256": hashlib.sha256(found.spki).digest(),
        "quote_bytes": len(found.quote),
    }
    return facts | ({"claims": found.claims} if found.claims else {})


def _sigstruct(data: bytes) -> tuple[Facts, RejectedError | None]:
    stated = parse_sigstruct(data)
    problem = _problem(lambda: check_signature(stated))
    facts = {
        "mr_signer": stated.mr_signer,
        "mr_enclave": stated.mr_enclave,
        "isv_prod_id": stated.isv_prod_id,
        "isv_svn": stated.isv_svn,
        "debug_enclave": stated.debug,
        "debug_enforced": stated.debug_enforced,
        "date": f"{stated.date:08x}",
        "vendor": stated.vendor,
        "attributes": stated.attributes,
        "attribute_mask": stated.attribute_mask,
        "misc_select": stated.misc_select,
        "misc_mask": stated.misc_mask,
        "isv_ext_prod_id": stated.isv_ext_prod_id,
        "isv_family_id": stated.isv_family_id,
        "signature": _outcome(problem),
    }
    return facts, problem


def _problem(check: Callable[[], None]) -> RejectedError | None:
    try:
        check()
    except RejectedError as error:
        return error
    return None


def _outcome(problem: RejectedError | None) -> Facts:
    if problem is None:
        return {"holds": True}
    return {"holds": False, "code": problem.code, "message": problem.message}


_READERS: dict[Kind, Callable[[bytes], tuple[Facts, RejectedError | None]]] = {
    Kind.QUOTE: _quote,
    Kind.CERTIFICATE: _certificate,
    Kind.SIGSTRUCT: _sigstruct,
}


def _print_sections(title: str, facts: Facts) -> None:
    """One table for the plain facts, then one for each group of them."""
    sections = {name: value for name, value in facts.items() if isinstance(value, dict)}
    rows = [(name, _brief(value)) for name, value in facts.items() if name not in sections]
    print_table(title, rows)
    for name, section in sections.items():
        _print_sections(f"\n{name}", section)


def _brief(value: object) -> object:
    """A value as a person reads it: long runs of zeros say less than their length."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(value)
    if isinstance(value, bytes) and len(value) >= 16 and not any(value):
        return f"{len(value)} zero bytes"
    return value
