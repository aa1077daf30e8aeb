"""How the key service verifies, by its configuration: ourselves, or by Azure Attestation.

The configuration names one of the two, and nothing falls back on the other: each is believed for
reasons of its own, and an outage of one must not choose the reasons. Loading reads what is named
and starts nothing; opening makes the verifier.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias

from sealserve.azure import Instance, instance
from sealserve.collateral.cached import CachedCollateral
from sealserve.collateral.disk import CacheFolder
from sealserve.collateral.shared import SharedCollateral
from sealserve.collateral.source import CollateralFolder, CollateralService, CollateralSource
from sealserve.errors import ConfigError, SealServeError
from sealserve.files import read_file
from sealserve.keyservice.config import Attestation, KeyServiceConfig
from sealserve.keyservice.verifiers import AzureVerifier, Basis, OwnVerifier, Verifier, basis_of
from sealserve.logline import line
from sealserve.verifier import INTEL_SGX_ROOT_CA, TrustRoot, load_trust_root

_ROOT_LIMIT = 64 << 10  # bytes

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OwnVerification:
    """Under a root, by collateral from a source."""

    root: TrustRoot
    collateral: CollateralSource

    @property
    def basis(self) -> Basis:
        """What claims will rest on."""
        return basis_of(self.root)


@dataclass(frozen=True)
class AzureVerification:
    """By an instance of Azure Attestation."""

    instance: Instance

    @property
    def basis(self) -> Basis:
        """What claims will rest on."""
        return basis_of(self.instance)


Verification: TypeAlias = OwnVerification | AzureVerification


def load(attestation: Attestation) -> Verification:
    """What `attestation` names, read and found sound; raises ConfigError."""
    if attestation.maa_url is not None:
        return AzureVerification(instance(attestation.maa_url, ca_file=attestation.maa_ca))
    return OwnVerification(_load_root(attestation), _collateral_source(attestation))


def load_basis(attestation: Attestation) -> Basis:
    """What claims will rest on, for whoever verifies nothing; raises ConfigError.

    Where collateral comes from is not looked at: to revoke something must not wait for that.
    """
    if attestation.maa_url is not None:
        return basis_of(instance(attestation.maa_url, ca_file=attestation.maa_ca))
    return basis_of(_load_root(attestation))


def open_verifier(verification: Verification, config: KeyServiceConfig) -> Verifier:
    """The verifier, over the cache folder of collateral, which is made if need be.

    Raises ConfigError when that folder is not this user's alone.
    """
    if isinstance(verification, AzureVerification):
        return AzureVerifier(verification.instance)
    return OwnVerifier(verification.root, _open_collateral(verification, config))


def _open_collateral(verification: OwnVerification, config: KeyServiceConfig) -> CachedCollateral:
    source = verification.collateral
    for remark in source.remarks:
        log.warning(line("collateral_remark", source=source.name, remark=remark))
    folder = CacheFolder(config.collateral_cache, verification.root.sha256)
    folder.make()
    return CachedCollateral(
        SharedCollateral(
            source,
            verification.root,
            folder,
            update=config.attestation.collateral_update,
            max_age=timedelta(seconds=config.attestation.collateral_max_age_seconds),
        )
    )


def _collateral_source(attestation: Attestation) -> CollateralSource:
    if attestation.collateral_service is not None:
        return CollateralService(
            attestation.collateral_service,
            update=attestation.collateral_update,
            ca_file=attestation.collateral_ca,
            subscription_key_file=attestation.collateral_subscription_key,
        )
    if attestation.collateral_dir is not None:
        return _collateral_folder(attestation.collateral_dir)
    raise ConfigError("no place of collateral is named")


def _collateral_folder(path: Path) -> CollateralFolder:
    folder = CollateralFolder(path)
    missing = folder.missing()  # it may change later, but is all there now
    if missing:
        raise ConfigError(
            f"the collateral in {path} is incomplete: {', '.join(missing)} missing",
            hint=f"sealserve collateral fetch QUOTE --from intel --out {path}",
        )
    return folder


def _load_root(attestation: Attestation) -> TrustRoot:
    if attestation.trust_root is None:
        return load_trust_root(INTEL_SGX_ROOT_CA)
    try:
        return load_trust_root(read_file(attestation.trust_root, limit=_ROOT_LIMIT))
    except SealServeError as error:
        raise ConfigError(f"the trust root {attestation.trust_root}: {error.message}") from error
