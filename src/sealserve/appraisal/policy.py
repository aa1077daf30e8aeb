"""The policy: which enclaves may have which secret, as the model owner writes it down (TOML).

Text in, frozen value out; what was not written allows nothing. Unknown keys, wrong types and
contradictions are errors that name the key, so that a slip of the pen never widens a policy.
Every key is described in docs/policy-reference.md.
"""

from __future__ import annotations

import tomllib
from typing import Annotated, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from sealserve.appraisal.complaints import complain
from sealserve.errors import ConfigError
from sealserve.verifier.claims import TcbStatus

POLICY_LIMIT = 1 << 20  # characters
_LIST_LIMIT = 1000
_HASH_BYTES = 32
_T = TypeVar("_T")


def _hash(value: object) -> bytes:
    wanted = f"expected {2 * _HASH_BYTES} hex digits"
    if not isinstance(value, str):
        raise ValueError(f"found {value!r}, {wanted}")
    try:
        decoded = bytes.fromhex(value)
    except ValueError:
        raise ValueError(f"found {value[:80]!r}, {wanted}") from None
    if len(decoded) != _HASH_BYTES or len(value) != 2 * _HASH_BYTES:
        raise ValueError(f"found {len(value)} characters, {wanted}")
    return decoded


def _trust_root(value: object) -> object:
    if value == "intel":
        return None
    try:
        return _hash(value)
    except ValueError as error:
        raise ValueError(f'{error}, or "intel"') from None


def _accepted_status(value: object) -> TcbStatus:
    accepted = [status.value for status in TcbStatus if status is not TcbStatus.REVOKED]
    if value not in accepted:
        raise ValueError(f"found {value!r}, expected one of {', '.join(accepted)}")
    return TcbStatus(str(value))


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _not_empty(value: tuple[_T, ...]) -> tuple[_T, ...]:
    if not value:
        raise ValueError("the list is empty, and would allow nothing: name something, or no list")
    return value


Hash = Annotated[bytes, BeforeValidator(_hash)]
TrustRoot = Annotated[bytes | None, BeforeValidator(_trust_root)]
AcceptedStatus = Annotated[TcbStatus, BeforeValidator(_accepted_status)]
AdvisoryId = Annotated[str, Field(pattern=r"^[A-Z]+-[A-Z]+-[0-9]+$", max_length=32)]
HostName = Annotated[
    str, BeforeValidator(_lower), Field(pattern=r"^[a-z0-9]([a-z0-9_.-]{0,251}[a-z0-9])?$")
]
SecretName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
RuleName = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,100}$")]
Uint16 = Annotated[int, Field(ge=0, le=0xFFFF)]
ListOf = Annotated[tuple[_T, ...], Field(strict=False, max_length=_LIST_LIMIT)]
SomeOf = Annotated[ListOf[_T], AfterValidator(_not_empty)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Rule(_Table):
    """One secret, and what an enclave must be to have it: every condition here at once.

    The enclave is named by `mr_enclave` (any of these), or by `mr_signer`, `isv_prod_id` and
    `minimum_isv_svn` together, or by both.
    """

    name: RuleName
    secret: SecretName
    encoding: Literal["raw", "hex"] = "raw"
    mr_enclave: SomeOf[Hash] | None = None
    mr_signer: Hash | None = None
    isv_prod_id: Uint16 | None = None
    minimum_isv_svn: Uint16 | None = None
    tcb_statuses: SomeOf[AcceptedStatus] = (TcbStatus.UP_TO_DATE,)
    allowed_advisories: ListOf[AdvisoryId] = ()
    asked_for: SomeOf[HostName] | None = None
    dangerously_allow_debug_enclaves: bool = False

    @model_validator(mode="after")
    def _names_an_enclave(self) -> Self:
        by_signer = (self.mr_signer, self.isv_prod_id, self.minimum_isv_svn)
        if any(part is None for part in by_signer) and any(part is not None for part in by_signer):
            raise ValueError("mr_signer, isv_prod_id and minimum_isv_svn go together: name all")
        if self.mr_enclave is None and self.mr_signer is None:
            raise ValueError(
                "no enclave is named: give mr_enclave, "
                "or mr_signer with isv_prod_id and minimum_isv_svn"
            )
        return self


class Policy(_Table):
    """The rules, in the order in which they are tried, and the trust root they all rest on."""

    version: Annotated[int, Field(ge=1, le=1)] = 1
    trust_root: TrustRoot = None
    """None is Intel's; otherwise the SHA-256 of the one root certificate that is accepted."""
    rules: ListOf[Rule] = ()

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [rule.name for rule in self.rules]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two rules have the name {twice[0]!r}")
        return self


def parse_policy(toml_text: str) -> Policy:
    """The policy in `toml_text`; the empty text is the policy that allows nothing.

    Raises ConfigError that names every fault with its place.
    """
    if len(toml_text) > POLICY_LIMIT:
        raise ConfigError(f"the policy has {len(toml_text)} characters, at most {POLICY_LIMIT}")
    try:
        return Policy.model_validate(tomllib.loads(toml_text))
    except ValidationError as error:
        raise complain("policy", Policy, error) from None
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is a ValueError
        raise ConfigError(f"the policy is not TOML: {error}") from None
