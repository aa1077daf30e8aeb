"""Where a lab world lies on disk.

    DIR/root_ca.pem       the trust root to name                                       public
    DIR/collateral/       what a PCCS serves, under the names of `endorsements.collateral`, and the
                          PCK certificate chain                                        public
    DIR/world/            private keys, certificates and facts of the simulated hardware   0600
    DIR/qe.sock           the quoting enclave's socket, while `sealserve lab qe` runs      0600

Nothing is decided here: names, modes, limits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from sealserve.endorsements.collateral import FILE_NAMES, Collateral
from sealserve.errors import ConfigError, UsageError
from sealserve.files import PUBLIC, read_file, read_secret, write_file
from sealserve.lab import pki

_LIMIT = 1 << 20
_FACTS = "world.json"


@dataclass(frozen=True, slots=True)
class LabFolder:
    """The folder of one world."""

    path: Path

    @property
    def root_ca(self) -> Path:
        """The trust root, PEM."""
        return self.path / "root_ca.pem"

    @property
    def socket(self) -> Path:
        """The Unix socket of the quoting enclave."""
        return self.path / "qe.sock"

    @property
    def lock(self) -> Path:
        """Held by the one quoting enclave of this world."""
        return self._private / "qe.lock"

    @property
    def collateral(self) -> Path:
        """The folder of the collateral."""
        return self.path / "collateral"

    @property
    def pck_chain(self) -> Path:
        """PCK certificate, platform CA and root CA, PEM: what a PCCS answers to /pckcert."""
        return self.collateral / "pck_chain.pem"

    @property
    def enclave_signing_key(self) -> Path:
        """The RSA-3072 key in whose name enclaves are launched."""
        return self._private / "enclave_signing_key.pem"

    @property
    def _private(self) -> Path:
        return self.path / "world"

    def create(self, facts: Mapping[str, Any]) -> None:
        """Make the folder and write the facts; raises UsageError where a world is already."""
        try:
            self._private.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot make {self._private}: {error.strerror}") from error
        text = json.dumps(dict(facts), indent=2) + "\n"
        write_file(self._private / _FACTS, text.encode(), replace=False)

    def facts(self) -> dict[str, Any]:
        """What `create` wrote; raises ConfigError when this is no world."""
        file = self._private / _FACTS
        if not file.exists():
            raise ConfigError(
                f"{self.path} holds no lab world", hint=f"sealserve lab init {self.path}"
            )
        try:
            facts = json.loads(read_secret(file, limit=_LIMIT))
        except ValueError as error:
            raise ConfigError(f"{file} is damaged: {error}", hint="make a new world") from error
        if not isinstance(facts, dict):
            raise ConfigError(f"{file} is damaged: no JSON object", hint="make a new world")
        return facts

    def write_key(self, name: str, key: ec.EllipticCurvePrivateKey) -> None:
        """A private key, mode 0600."""
        write_file(self._private / f"{name}_key.pem", pki.key_pem(key))

    def read_key(self, name: str) -> ec.EllipticCurvePrivateKey:
        """The key that `write_key` wrote."""
        return pki.load_key(read_secret(self._private / f"{name}_key.pem", limit=_LIMIT))

    def write_holder(self, name: str, holder: pki.Holder) -> None:
        """A certificate and its key."""
        self.write_key(name, holder.key)
        write_file(self._private / f"{name}.pem", holder.certificate_pem)

    def read_holder(self, name: str) -> pki.Holder:
        """What `write_holder` wrote."""
        file = self._private / f"{name}.pem"
        try:
            certificate = x509.load_pem_x509_certificate(read_file(file, limit=_LIMIT))
        except ValueError as error:
            raise ConfigError(f"{file} is damaged: {error}", hint="make a new world") from error
        return pki.Holder(certificate, self.read_key(name))

    def write_public(self, root_ca: bytes, pck_chain: bytes, collateral: Collateral) -> None:
        """Trust root, PCK certificate chain and collateral."""
        self.collateral.mkdir(exist_ok=True)
        write_file(self.root_ca, root_ca, mode=PUBLIC)
        write_file(self.pck_chain, pck_chain, mode=PUBLIC)
        for part, name in FILE_NAMES.items():
            write_file(self.collateral / name, getattr(collateral, part), mode=PUBLIC)

    def read_collateral(self) -> Collateral:
        """The collateral as it stands now; raises ConfigError for a missing file."""
        names = FILE_NAMES.values()
        files = {name: read_file(self.collateral / name, limit=_LIMIT) for name in names}
        return Collateral.from_files(files)

    def read_pck_chain(self) -> bytes:
        """The PCK certificate chain, PEM."""
        return read_file(self.pck_chain, limit=_LIMIT)
