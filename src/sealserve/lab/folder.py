"""Where a lab world lies on disk.

    DIR/root_ca.pem       the trust root to name                                       public
    DIR/collateral/       what a PCCS serves for SGX, under the names of `endorsements.collateral`;
                          the form of its third interface; the PCK certificate chain   public
    DIR/tdx-collateral/   the same for TDX                                             public
    DIR/early-…collateral/  both as they are after the next TCB recovery               public
    DIR/world/            private keys, certificates and facts of the simulated hardware   0600
    DIR/qe.sock           the quoting enclave's socket, while `sealserve lab qe` runs      0600

A machine that may only read DIR, a container for one, has socket and lock in a folder of its own.

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

from sealserve.endorsements.collateral import FILE_NAMES, Collateral, Tee
from sealserve.errors import ConfigError, UsageError
from sealserve.files import PUBLIC, read_file, read_secret, write_file
from sealserve.lab import pki
from sealserve.lab.issuing import Issued
from sealserve.lab.levels import PICTURES, Update

_LIMIT = 1 << 20
_FACTS = "world.json"
_TCB_INFO_V2 = "tcb_info_v2.json"
_FOLDERS: Mapping[tuple[Tee, Update], str] = {
    ("SGX", "standard"): "collateral",
    ("TDX", "standard"): "tdx-collateral",
    ("SGX", "early"): "early-collateral",
    ("TDX", "early"): "early-tdx-collateral",
}


@dataclass(frozen=True, slots=True)
class LabFolder:
    """The folder of one world; `run` is where its quoting enclave writes, if not there."""

    path: Path
    run: Path | None = None

    @property
    def root_ca(self) -> Path:
        """The trust root, PEM."""
        return self.path / "root_ca.pem"

    @property
    def socket(self) -> Path:
        """The Unix socket of the quoting enclave."""
        return (self.run or self.path) / "qe.sock"

    @property
    def lock(self) -> Path:
        """Held by the one quoting enclave of this world, or of `run`."""
        return (self.run or self._private) / "qe.lock"

    @property
    def collateral(self) -> Path:
        """The folder of the collateral for SGX."""
        return self.collateral_of("SGX", "standard")

    def collateral_of(self, tee: Tee, update: Update) -> Path:
        """The folder of the collateral for one kind of TEE."""
        return self.path / _FOLDERS[tee, update]

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

    def write_public(self, root_ca: bytes, pck_chain: bytes, issued: Issued) -> None:
        """Trust root, PCK certificate chain and all collateral."""
        write_file(self.root_ca, root_ca, mode=PUBLIC)
        for (tee, update), collateral in issued.collateral.items():
            folder = self.collateral_of(tee, update)
            folder.mkdir(exist_ok=True)
            for name, content in collateral.to_files().items():
                write_file(folder / name, content, mode=PUBLIC)
        for update, tcb_info in issued.tcb_info_v2.items():
            write_file(self._tcb_info_v2(update), tcb_info, mode=PUBLIC)
        write_file(self.pck_chain, pck_chain, mode=PUBLIC)

    def read_issued(self) -> Issued:
        """What `write_public` wrote; raises ConfigError for a missing file."""
        return Issued(
            collateral={key: self.read_collateral(*key) for key in _FOLDERS},
            tcb_info_v2={update: self.read_tcb_info_v2(update) for update in PICTURES},
        )

    def read_collateral(self, tee: Tee = "SGX", update: Update = "standard") -> Collateral:
        """The collateral as it stands now; raises ConfigError for a missing file."""
        folder = self.collateral_of(tee, update)
        names = FILE_NAMES.values()
        return Collateral.from_files(
            {name: read_file(folder / name, limit=_LIMIT) for name in names}
        )

    def read_tcb_info_v2(self, update: Update) -> bytes:
        """SGX TCB info in the form of the third interface."""
        return read_file(self._tcb_info_v2(update), limit=_LIMIT)

    def _tcb_info_v2(self, update: Update) -> Path:
        return self.collateral_of("SGX", update) / _TCB_INFO_V2

    def read_pck_chain(self) -> bytes:
        """The PCK certificate chain, PEM."""
        return read_file(self.pck_chain, limit=_LIMIT)
