"""Claims for tests that need no quote: two that are plain, and strategies that make any.

pytest has this on its path (`pythonpath` in pyproject.toml).
"""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime

from hypothesis import strategies as st

from sealserve.verifier.claims import (
    AzureStanding,
    Claims,
    DcapStanding,
    SgxEnclave,
    TcbStatus,
    TrustDomain,
)
from sealserve.verifier.recorded import SIZES

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
INTEL = bytes.fromhex("44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3")

TIMES = st.integers(1577836800, 2208988800).map(lambda moment: datetime.fromtimestamp(moment, UTC))
ADVISORIES = ("INTEL-SA-00334", "INTEL-SA-00615", "INTEL-SA-00837")
_STATUSES = st.sampled_from(TcbStatus)


def _strategy(kind, field):
    annotation = str(field.type)
    size = SIZES[kind].get(field.name)
    plain = {
        "bytes": st.binary(min_size=size or 0, max_size=size or 0),
        "int": st.integers(0, 0xFFFF),
        "bool": st.booleans(),
        "str": st.text(max_size=20),
        "datetime": TIMES,
        "TcbStatus": _STATUSES,
        "tuple[str, ...]": st.lists(st.sampled_from(ADVISORIES), unique=True, max_size=3).map(
            tuple
        ),
        "tuple[bytes, bytes, bytes, bytes]": st.tuples(
            *[st.binary(min_size=size or 0, max_size=size or 0)] * 4
        ),
    }[annotation.removesuffix(" | None")]
    return plain | st.none() if annotation.endswith(" | None") else plain


def any_of(kind):
    """Any value of one of the four halves of claims."""
    return st.builds(kind, **{field.name: _strategy(kind, field) for field in fields(kind)})


any_claims = st.builds(
    Claims,
    any_of(SgxEnclave) | any_of(TrustDomain),
    any_of(DcapStanding) | any_of(AzureStanding),
    TIMES,
)


def _zero(kind):
    """Zeros, and what stands for them, in every field."""
    values = {
        "int": 0,
        "bool": False,
        "str": "",
        "datetime": NOW,
        "TcbStatus": TcbStatus.UP_TO_DATE,
        "tuple[str, ...]": (),
    }
    made = {}
    for field in fields(kind):
        annotation, size = str(field.type), SIZES[kind].get(field.name, 0)
        zeros = {"bytes": bytes(size), "tuple[bytes, bytes, bytes, bytes]": (bytes(size),) * 4}
        plain = annotation.removesuffix(" | None")
        made[field.name] = zeros[plain] if plain in zeros else values[plain]
    return made


def sgx_enclave(**changes) -> SgxEnclave:
    """A production enclave, zeros but for `changes`."""
    return SgxEnclave(**{**_zero(SgxEnclave), **changes})


def trust_domain(**changes) -> TrustDomain:
    """A production trust domain (SEPT_VE_DISABLE set), zeros but for `changes`."""
    attributes = (1 << 28).to_bytes(8, "little")
    return TrustDomain(**{**_zero(TrustDomain), "td_attributes": attributes, **changes})


def dcap_standing(**changes) -> DcapStanding:
    """A platform with nothing against it under Intel's root, but for `changes`."""
    sound = {"quote_version": 3, "tcb_evaluation_data_number": 17, "trust_root_sha256": INTEL}
    if any(field.name == "revocation_checked" for field in fields(DcapStanding)):
        sound["revocation_checked"] = True
    return DcapStanding(**{**_zero(DcapStanding), **sound, **changes})


def azure_standing(**changes) -> AzureStanding:
    """What a token of Azure Attestation says, zeros but for `changes`."""
    return AzureStanding(**{**_zero(AzureStanding), "tcb_status": None, **changes})


def claims(target=None, standing=None, at: datetime = NOW) -> Claims:
    """Claims of the two halves, plain ones where none is given."""
    return Claims(target or sgx_enclave(), standing or dcap_standing(), at)
