"""The policy of an Azure Attestation instance that lets in named enclaves, and no debug one.

An instance of one's own begins with Microsoft's default, which permits every enclave. What is made
here permits as little as the policy of the key service, which decides all the same: a token is
evidence, and no answer. Pure.
Sources: Microsoft, Azure Attestation, "Examples of an attestation policy" and "How to author an
attestation policy" (grammar 1.0; issuance rules are optional), "Claim sets" (names, the hash).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Final

from sealserve.errors import UsageError
from sealserve.evidence.sigstruct import Sigstruct

ENCLAVES_LIMIT: Final = 50
HASH_UNCONFIRMED: Final = (
    "the hash is reckoned as Microsoft documents it, and no instance was asked: compare it with "
    "x-ms-policy-hash in a first token"
)


def maa_policy(enclaves: Sequence[Sigstruct], *, by_signer: bool = False) -> str:
    """A rule for each enclave, its signature checked; with `by_signer` for its signer.

    Raises UsageError for a debug enclave, for none and for too many.
    """
    if not 1 <= len(enclaves) <= ENCLAVES_LIMIT:
        raise UsageError(f"{len(enclaves)} enclaves, expected 1 to {ENCLAVES_LIMIT}")
    if any(each.debug for each in enclaves):
        raise UsageError(
            "a debug enclave, whose memory its host can read, is not let in",
            hint="build and sign it without debug (sgx.debug = false in Gramine's manifest)",
        )
    rules = dict.fromkeys(_rule(each, by_signer=by_signer) for each in enclaves)
    return f"version= 1.0;\nauthorizationrules\n{{\n{''.join(rules)}}};\n"


def policy_hash(policy: str) -> str:
    """`x-ms-policy-hash` of a policy that is set as text, as "Claim sets" defines it."""
    return _base64url(hashlib.sha256(_base64url(policy.encode()).encode()).digest())


def _rule(enclave: Sigstruct, *, by_signer: bool) -> str:
    conditions = [
        'type=="x-ms-sgx-is-debuggable", value==false',
        f'type=="x-ms-sgx-product-id", value=={enclave.isv_prod_id}',
        f'type=="x-ms-sgx-svn", value>= {enclave.isv_svn}',
        f'type=="x-ms-sgx-mrsigner", value=="{enclave.mr_signer.hex()}"',
    ]
    if not by_signer:
        conditions.append(f'type=="x-ms-sgx-mrenclave", value=="{enclave.mr_enclave.hex()}"')
    joined = "\n    && ".join(f"[ {each} ]" for each in conditions)
    return f"    {joined}\n    => permit();\n"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
