"""The policy: which targets may have which secret, as the model owner writes it down (TOML).

Text in, frozen value out; what was not written allows nothing. Unknown keys, wrong types and
contradictions are errors that name the key, so that a slip of the pen never widens a policy. What
weakens it has a place of its own, `[[exceptions]]`, where it must be named, justified and dated.
Every key is described in docs/policy-reference.md.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from sealserve.appraisal.bounded_toml import read_toml
from sealserve.appraisal.complaints import complain
from sealserve.appraisal.fields import (
    AdvisoryId,
    Bytes6,
    Bytes16,
    End,
    ExceptedStatus,
    HostName,
    Issuer,
    ListOf,
    Name,
    PolicyHash,
    Reason,
    SecretName,
    SecretPattern,
    SomeOf,
    Table,
    TrustRoot,
)
from sealserve.appraisal.identities import Identity
from sealserve.appraisal.secret_names import SecretNames
from sealserve.errors import ConfigError

POLICY_LIMIT = 96 << 10  # characters: more than a thousand measurements
VERSION = 2
GRACE_LIMIT_HOURS = 30 * 24  # as long as Intel's collateral lasts


class PlatformRules(Table):
    """What every platform must be; a key that is not there leaves it open."""

    fmspcs: SomeOf[Bytes6] | None = None
    platform_ids: SomeOf[Bytes16] | None = None
    """PPIDs or platform instance ids."""
    minimum_tcb_evaluation_data_number: Annotated[int, Field(ge=1, le=0xFFFF_FFFF)] | None = None
    dynamic_platform: bool | None = None
    """What the PCK certificate must say, as of the two that follow; None leaves it open."""
    cached_keys: bool | None = None
    smt_enabled: bool | None = None


class AzureAttestation(Table):
    """Whose tokens are accepted, made under which of the issuer's own policies."""

    issuers: SomeOf[Issuer]
    policy_hashes: SomeOf[PolicyHash]


class Rule(Table):
    """One secret, or those that are asked for by certain names, and who may have them."""

    name: Name
    identities: SomeOf[Name]
    secret: SecretName | None = None
    secrets: SomeOf[SecretPattern] | None = None
    """Patterns of names; one of this and `secret` is there."""
    encoding: Literal["raw", "hex"] = "raw"
    asked_for: SomeOf[HostName] | None = None
    _names: SecretNames = PrivateAttr()

    @model_validator(mode="after")
    def _grants_something(self) -> Self:
        if (self.secret is None) == (self.secrets is None):
            found = "neither" if self.secret is None else "both"
            raise ValueError(
                f"found {found} of secret and secrets, expected one: secret for the one that is "
                "granted whoever asks for no other, secrets for those that are asked for by name"
            )
        self._names = SecretNames.of(self.patterns)
        return self

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns of the names under which a secret of this rule is asked for."""
        return self.secrets or (str(self.secret),)

    @property
    def names(self) -> SecretNames:
        """The names that these stand for."""
        return self._names

    def granted(self, asked: str | None) -> str | None:
        """The secret for who asks for that name, or for none; None where the rule has none."""
        if asked is None:
            return self.secret
        return asked if asked in self._names else None


class PolicyException(Table):
    """A weakening of the policy (nothing that is raised): named, justified, dated, and scoped."""

    name: Name
    reason: Reason
    expires: End
    """The first moment at which it is no longer in force."""
    tcb_statuses: ListOf[ExceptedStatus] = ()
    advisory_ids: ListOf[AdvisoryId] = ()
    collateral_grace_hours: Annotated[int, Field(ge=1, le=GRACE_LIMIT_HOURS)] | None = None
    dangerously_allow_debug: bool = False
    rules: SomeOf[Name] | None = None
    fmspcs: SomeOf[Bytes6] | None = None

    @model_validator(mode="after")
    def _weakens_something(self) -> Self:
        if not (
            self.tcb_statuses
            or self.advisory_ids
            or self.collateral_grace_hours
            or self.dangerously_allow_debug
        ):
            raise ValueError(
                "it excepts nothing: name tcb_statuses, advisory_ids, collateral_grace_hours "
                "or dangerously_allow_debug, or remove it"
            )
        return self

    @property
    def collateral_grace(self) -> timedelta:
        """How long collateral may be used past its end."""
        return timedelta(hours=self.collateral_grace_hours or 0)

    def in_force(self, now: datetime) -> bool:
        """Whether it has not yet expired."""
        return now < self.expires


class Policy(Table):
    """The whole file: reference values, rules in the order in which they are tried, exceptions."""

    version: Literal[2]
    trust_root: TrustRoot = None
    """None is Intel's; otherwise the SHA-256 of the one root certificate that is accepted."""
    platform: PlatformRules = PlatformRules()
    maa: AzureAttestation | None = None
    """None: no token of Azure Attestation is accepted."""
    identities: ListOf[Identity] = ()
    rules: ListOf[Rule] = ()
    exceptions: ListOf[PolicyException] = ()

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        faults = [
            *_twice("identities", self.identities),
            *_twice("rules", self.rules),
            *_twice("exceptions", self.exceptions),
            *_unknown("rules", self.rules, "identities", {each.name for each in self.identities}),
            *_unknown("exceptions", self.exceptions, "rules", {each.name for each in self.rules}),
            *self._beyond_the_platform(),
        ]
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def _beyond_the_platform(self) -> Iterator[str]:
        if self.platform.fmspcs is None:
            return
        for number, each in enumerate(self.exceptions):
            for fmspc in sorted(set(each.fmspcs or ()) - set(self.platform.fmspcs)):
                yield (
                    f"exceptions[{number}].fmspcs names {fmspc.hex()}, "
                    "which platform.fmspcs does not accept"
                )

    def identity(self, name: str) -> Identity:
        """The identity of that name; raises KeyError."""
        return {each.name: each for each in self.identities}[name]

    def collateral_grace(self, now: datetime) -> timedelta:
        """How long past its end collateral may be handed to the verifier: the most that any
        exception in force grants. Which rule may use it, the appraisal judges."""
        graces = [each.collateral_grace for each in self.exceptions if each.in_force(now)]
        return max(graces, default=timedelta())


def parse_policy(toml_text: str) -> Policy:
    """The policy in `toml_text`. Raises ConfigError that names every fault with its place."""
    if len(toml_text) > POLICY_LIMIT:
        raise ConfigError(f"the policy has {len(toml_text)} characters, at most {POLICY_LIMIT}")
    document = read_toml(toml_text, "the policy")
    _refuse_version_1(document)
    try:
        return Policy.model_validate(document)
    except ValidationError as error:
        raise complain("policy", Policy, error) from None


def _refuse_version_1(document: dict[str, Any]) -> None:
    version = document.get("version", "none")
    if version == "none" or (version == 1 and type(version) is int):
        raise ConfigError(
            f"the policy is of version {version}, and only version {VERSION} is read",
            hint=(
                f"write `version = {VERSION}`; move what names the enclave (mr_enclave, mr_signer, "
                "isv_prod_id, minimum_isv_svn) from each rule to an entry of [[identities]] with "
                "a name, and name it in the rule's `identities`; move tcb_statuses, "
                "allowed_advisories (now advisory_ids) and dangerously_allow_debug_enclaves (now "
                "dangerously_allow_debug) to an entry of [[exceptions]] with a name, a reason and "
                'a date. docs/policy-reference.md, "From version 1", shows both forms'
            ),
        )


def _twice(table: str, entries: Iterable[Any]) -> Iterator[str]:
    names = [entry.name for entry in entries]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"two {table} have the name {name!r}"


def _unknown(table: str, entries: Iterable[Any], key: str, known: set[str]) -> Iterator[str]:
    for number, entry in enumerate(entries):
        for place, name in enumerate(getattr(entry, key) or ()):
            if name not in known:
                nearest = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.0)
                hint = f"; the nearest name is {nearest[0]!r}" if nearest else ""
                yield f"{table}[{number}].{key}[{place}]: {key} has no {name!r}{hint}"
