"""Who asks: enclaves on the lab's platform. Those of `ENCLAVE` get `SECRET`, `STRANGER` nothing.

It knows nothing of the key service: what imports it starts quickly.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sealserve.attester.ratls import RatlsIdentity, make_certificate
from sealserve.lab.identity import EnclaveIdentity
from sealserve.lab.world import World

SECRET = bytes(range(16))
NAME = "digits"
ENCLAVE = EnclaveIdentity(bytes(32), bytes(32))
STRANGER = EnclaveIdentity(b"\x55" * 32, b"\x55" * 32)


@dataclass(frozen=True)
class Launcher:
    """Enclaves on the platform of a site."""

    world: World

    @classmethod
    def of(cls, folder: Path) -> Launcher:
        """For the site in `folder`."""
        return cls(World.load(folder / "lab"))

    def identity(self, enclave: EnclaveIdentity = ENCLAVE) -> RatlsIdentity:
        """A fresh RA-TLS identity, as an enclave makes it when it starts."""
        return make_certificate(_Platform(self.world, enclave))

    def rsa_identity(self) -> RatlsIdentity:
        """The same with the kind of key that Gramine made until 1.3."""
        return make_certificate(_Platform(self.world, ENCLAVE), key_type="rsa3072", style="legacy")

    def quote(self, report_data: bytes, enclave: EnclaveIdentity = ENCLAVE) -> bytes:
        """A genuine quote over 64 bytes."""
        return self.world.quote(enclave.report(report_data))


@dataclass(frozen=True)
class _Platform:
    world: World
    enclave: EnclaveIdentity

    def quote(self, report_data: bytes) -> bytes:
        return self.world.quote(self.enclave.report(report_data))
