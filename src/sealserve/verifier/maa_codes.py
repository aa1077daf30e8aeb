"""The rejection codes of Azure Attestation: one for each check, stable, with the step of the check.

The steps are those of `sealserve.verifier.maa`; docs/azure-attestation.md gives the meaning and the
cure of each code.
"""

from __future__ import annotations

from sealserve.verifier.codes import StepCode


class MaaCode(StepCode):
    """Why a token was rejected."""

    REFUSED = "MAA_REFUSED", 0

    TOKEN_FORMAT = "MAA_TOKEN_FORMAT", 1
    UNSECURED = "MAA_UNSECURED", 1
    ALGORITHM = "MAA_ALGORITHM", 1
    KEY_URL = "MAA_KEY_URL", 1

    KEYS_FORMAT = "MAA_KEYS_FORMAT", 2
    KEY_UNKNOWN = "MAA_KEY_UNKNOWN", 2
    KEY = "MAA_KEY", 2
    KEY_CERTIFICATE = "MAA_KEY_CERTIFICATE", 2
    KEY_CERTIFICATE_VALIDITY = "MAA_KEY_CERTIFICATE_VALIDITY", 2

    SIGNATURE = "MAA_SIGNATURE", 3

    CLAIMS_FORMAT = "MAA_CLAIMS_FORMAT", 4
    VERSION = "MAA_VERSION", 4
    ISSUER = "MAA_ISSUER", 4
    NOT_YET_VALID = "MAA_NOT_YET_VALID", 4
    EXPIRED = "MAA_EXPIRED", 4
    NONCE = "MAA_NONCE", 4

    TEE = "MAA_TEE", 5
    QUOTE_HASH = "MAA_QUOTE_HASH", 5
    QUOTE_FIELD = "MAA_QUOTE_FIELD", 5
    RUNTIME_DATA = "MAA_RUNTIME_DATA", 5
