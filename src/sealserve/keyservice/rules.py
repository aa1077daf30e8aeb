"""What the service decides by: the policy and the secrets it may release, loaded together.

A value that is replaced as a whole: a request sees the policy and the secrets of one moment.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from sealserve.appraisal.policy import POLICY_LIMIT, Policy, parse_policy
from sealserve.errors import ConfigError
from sealserve.files import read_file
from sealserve.keyservice.config import KeyServiceConfig
from sealserve.keyservice.store import SecretStore
from sealserve.keyservice.verifiers import Basis
from sealserve.verifier import INTEL_SGX_ROOT_CA_SHA256


@dataclass(frozen=True)
class Rules:
    """The policy, the SHA-256 of its file in hex, and the secrets."""

    policy: Policy
    policy_sha256: str
    secrets: SecretStore


def load_rules(config: KeyServiceConfig, basis: Basis) -> Rules:
    """Read the policy and the secrets that `config` names; raises ConfigError.

    Refused are a policy for another trust root, under which every request would be denied, and one
    that grants what is not there.
    """
    text = read_file(config.policy, limit=POLICY_LIMIT)
    try:
        policy = parse_policy(text.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"the policy {config.policy} is not UTF-8 text") from error
    secrets = SecretStore.load(config.secrets)
    if basis.trust_root_sha256 is not None:
        _check_trust_root(policy, basis.trust_root_sha256, config.policy)
    missing = sorted({rule.secret for rule in policy.rules} - secrets.names)
    if missing:
        raise ConfigError(
            f"the policy {config.policy} grants secrets that have no file: {', '.join(missing)}",
            hint="name their files under [secrets] in the key service's configuration",
        )
    return Rules(policy, hashlib.sha256(text).hexdigest(), secrets)


def _check_trust_root(policy: Policy, root_sha256: str, path: Path) -> None:
    named = (policy.trust_root or INTEL_SGX_ROOT_CA_SHA256).hex()
    if named != root_sha256:
        raise ConfigError(
            f"the policy {path} is for the trust root {named}, and the service verifies"
            f" under {root_sha256}",
            hint=f'write trust_root = "{root_sha256}" in the policy, if that root is meant',
        )
