"""What is fuzzed: each parser of outsiders' bytes, the errors it may raise, and where to begin."""

from __future__ import annotations

from fuzz import hostile, parsers, seeds
from fuzz.deploy_targets import DEPLOY
from fuzz.serving_targets import SERVING
from fuzz.target import Target
from sealserve.appraisal.ear_reading import RESULT_LIMIT
from sealserve.appraisal.policy import POLICY_LIMIT
from sealserve.attester.messages import ANSWER_LIMIT, REQUEST_LIMIT
from sealserve.deploy.gramine.manifest import MANIFEST_LIMIT
from sealserve.endorsements.chain import parse_certificate, parse_chain
from sealserve.endorsements.collateral import Collateral
from sealserve.endorsements.pck import parse_pck_extension
from sealserve.endorsements.qe_identity import parse_qe_identity
from sealserve.endorsements.tcb_info import parse_tcb_info
from sealserve.errors import (
    AuditError,
    CollateralError,
    ConfigError,
    FormatError,
    RejectedError,
    VerificationError,
)
from sealserve.evidence.ratls import evidence_of_peer, extract_evidence
from sealserve.evidence.sigstruct import SIGSTRUCT_BYTES
from sealserve.policies.importing import RA_CONFIG_LIMIT
from sealserve.sealing.record import MAX_RECORD_BYTES
from sealserve.verifier.maa import TOKEN_LIMIT
from sealserve.verifier.maa_keys import KEYS_LIMIT

_FORMAT, _REJECTED, _VERIFICATION = (FormatError,), (RejectedError,), (VerificationError,)
_STATEMENT_WORDS = tuple(
    f'"{word}"'.encode()
    for word in (
        *("tcbInfo", "enclaveIdentity", "signature", "version", "tcbType", "id", "SGX", "TDX"),
        *("TD_QE", "QE", "issueDate", "nextUpdate", "fmspc", "pceId", "tcbEvaluationDataNumber"),
        *("tcbLevels", "tcb", "sgxtcbcomponents", "tdxtcbcomponents", "svn", "pcesvn", "tcbDate"),
        *("tcbStatus", "advisoryIDs", "UpToDate", "OutOfDate", "Revoked", "isvsvn", "miscselect"),
        *("miscselectMask", "attributes", "attributesMask", "mrsigner", "isvprodid", "tdxModule"),
        *("tdxModuleIdentities", "\\ud800"),
    )
)
_NAMED_WORDS = tuple(
    f'"{word}"'.encode()
    for word in (
        *("secrets", "outcome", "answered", "busy", "undecided", "denied", "result", "versions"),
        *("version", "value", "record", "retry_after_seconds", "resnet50", "ssl", "\\ud800"),
    )
)
_PEM_WORDS = (b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----")

TARGETS: dict[str, Target] = {
    "quote": Target(
        parsers.quote, _FORMAT, seeds.quotes, lambda: hostile.quotes(seeds.quotes()[0])
    ),
    "sgx-report": Target(parsers.sgx_report, _FORMAT, seeds.sgx_reports, longest=400),
    "td-report": Target(parsers.td_report, _FORMAT, seeds.td_reports, longest=900),
    "ratls-certificate": Target(
        extract_evidence, _REJECTED, seeds.ratls_certificates, hostile.ratls, _PEM_WORDS
    ),
    "ratls-peer": Target(
        evidence_of_peer, _REJECTED, seeds.ratls_certificates, hostile.ratls, _PEM_WORDS
    ),
    "ratls-dice": Target(
        parsers.dice_evidence, _REJECTED, seeds.dice_values, lambda: hostile.cbor(30_000)
    ),
    "cbor": Target(parsers.accepted_cbor, _FORMAT, seeds.dice_values, hostile.cbor),
    "sigstruct": Target(
        parsers.sigstruct,
        _REJECTED,
        seeds.sigstructs,
        hostile.of_size(SIGSTRUCT_BYTES),
        longest=1900,
    ),
    "certificate": Target(parse_certificate, _FORMAT, seeds.certificates, hostile.certificates),
    "chain": Target(parse_chain, _FORMAT, seeds.chains, hostile.chains, _PEM_WORDS),
    "pck-extension": Target(
        parse_pck_extension, _FORMAT, seeds.pck_extensions, hostile.pck_extensions
    ),
    "der": Target(parsers.der_elements, _FORMAT, seeds.pck_extensions, hostile.pck_extensions),
    "crl": Target(parsers.crl, _FORMAT, seeds.crls, hostile.crls),
    "signed-json": Target(
        parsers.signed_json,
        *(_FORMAT, seeds.signed_tcb_infos, hostile.signed_json, _STATEMENT_WORDS),
    ),
    "tcb-info": Target(
        parse_tcb_info, _FORMAT, seeds.tcb_infos, hostile.statements, _STATEMENT_WORDS
    ),
    "qe-identity": Target(
        parse_qe_identity, _FORMAT, seeds.qe_identities, hostile.statements, _STATEMENT_WORDS
    ),
    "one-file-collateral": Target(
        Collateral.from_json,
        (FormatError, CollateralError),
        seeds.one_file_collateral,
        lambda: hostile.one_file(seeds.one_file_collateral()[0]),
        _STATEMENT_WORDS,
    ),
    "verify-quote": Target(parsers.whole_quote, _VERIFICATION, seeds.quotes),
    "verify-collateral": Target(
        parsers.whole_collateral,
        (VerificationError, FormatError, CollateralError),
        *(seeds.one_file_collateral, hostile.none, _STATEMENT_WORDS),
    ),
    # Its author's own file, read when it changes: the time may grow with its length, and no faster.
    "policy": Target(
        parsers.policy,
        *((ConfigError,), seeds.policies, lambda: hostile.toml(POLICY_LIMIT)),
        seconds=1.0,
    ),
    "protected-file": Target(parsers.protected_file, (), seeds.protected_files, longest=1 << 14),
    "provisioning-request": Target(
        parsers.provisioning_request, _FORMAT, seeds.requests, longest=256
    ),
    "provisioning-answer": Target(parsers.provisioning_answer, _FORMAT, seeds.answers, longest=256),
    "named-request": Target(
        parsers.named_request,
        _FORMAT,
        seeds.named_requests,
        lambda: hostile.json(REQUEST_LIMIT, b'{"secrets":', b"}"),
        _NAMED_WORDS,
    ),
    "named-answer": Target(
        parsers.named_answer,
        _FORMAT,
        seeds.named_answers,
        lambda: hostile.json(ANSWER_LIMIT, b'{"outcome":"answered","secrets":', b"}"),
        _NAMED_WORDS,
    ),
    "proxy-header": Target(parsers.proxy_header, _FORMAT, seeds.proxy_headers, longest=2100),
    "checkpoint": Target(parsers.checkpoint, (AuditError,), seeds.checkpoints, longest=5000),
    "log-verifier": Target(parsers.log_verifier, _FORMAT, seeds.log_verifiers, longest=600),
    "model-record": Target(
        parsers.model_record,
        _FORMAT,
        seeds.model_records,
        lambda: hostile.json(MAX_RECORD_BYTES, b'{"files":', b"}"),
    ),
    "azure-token": Target(
        parsers.azure_token, _VERIFICATION, seeds.azure_tokens, lambda: hostile.token(TOKEN_LIMIT)
    ),
    "azure-claims": Target(
        parsers.azure_claims,
        _VERIFICATION,
        seeds.azure_claims,
        lambda: hostile.json(TOKEN_LIMIT // 2, b'{"a":', b"}"),
    ),
    "azure-keys": Target(
        parsers.azure_keys,
        _VERIFICATION,
        seeds.azure_key_sets,
        lambda: hostile.json(KEYS_LIMIT, b'{"keys":', b"}"),
    ),
    "azure-certificate": Target(
        parsers.azure_certificate, _VERIFICATION, seeds.azure_certificates, hostile.certificates
    ),
    "result-token": Target(
        parsers.result_token, _VERIFICATION, seeds.results, lambda: hostile.token(RESULT_LIMIT)
    ),
    "result-claims": Target(
        parsers.result_claims,
        _VERIFICATION,
        seeds.result_claims,
        lambda: hostile.json(RESULT_LIMIT // 2, b'{"a":', b"}"),
    ),
    "recorded-claims": Target(parsers.recorded_claims, _FORMAT, seeds.recorded_claims),
    # The same, once, by hand: each value that is wrong gets its line and what it should have been.
    "ra-config": Target(
        parsers.ra_config,
        (ConfigError,),
        seeds.ra_configs,
        lambda: hostile.json(RA_CONFIG_LIMIT, b'{"mrs":', b"}"),
        seconds=2.0,
    ),
    # An operator's, or somebody else's, read once.
    "gramine-manifest": Target(
        parsers.gramine_manifest,
        *((ConfigError,), seeds.gramine_manifests, lambda: hostile.toml(MANIFEST_LIMIT)),
        words=(b"{{ ", b" }}", b"{% ", b" %}", b"sgx.", b"fs.mounts", b"insecure__", b"file:"),
        seconds=1.0,
    ),
    **DEPLOY,
    **SERVING,
}
