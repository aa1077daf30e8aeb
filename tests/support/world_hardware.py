"""Hardware of a self-test that is the lab's world in this process, and how it misbehaves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from sealserve.attester.ratls import make_certificate
from sealserve.demo.processes import Service
from sealserve.endorsements.collateral import Tee
from sealserve.errors import SourceError
from sealserve.lab.faults import NO_FAULTS, Faults
from sealserve.lab.identity import EnclaveIdentity
from sealserve.lab.trust_domain import TrustDomainIdentity
from sealserve.lab.world import World
from sealserve.selftest.platform import Site
from sealserve.verifier.claims import Target
from sealserve.verifier.target import target_of

ENCLAVE = EnclaveIdentity(mr_enclave=b"\x01" * 32, mr_signer=b"\x02" * 32, isv_svn=3)
GUEST = TrustDomainIdentity(b"\x04" * 48, (b"\x05" * 48, b"\x06" * 48, b"\x07" * 48, bytes(48)))


@dataclass
class Hardware:
    """A platform of the lab's world in this process, and how it misbehaves."""

    folder: Path
    tee: Tee = "SGX"
    faults: Faults = NO_FAULTS
    debug: bool = False
    predicted: bytes | None = None
    answers: bool = True
    stolen: bool = False
    unpredicted: bool = False
    title: str = "the world"
    simulated: bool = True
    source: str = "lab:nowhere"
    ready_seconds: float = 1.0
    collateral_ca: Path | None = None
    world: World = field(init=False)

    def __post_init__(self) -> None:
        self.world = World.create(now=datetime.now(UTC), faults=self.faults)
        for name, data in self.world.collateral(self.tee).to_files().items():
            (self.folder / name).write_bytes(data)

    @property
    def collateral(self) -> str:
        return str(self.folder)

    def trust_root(self) -> bytes:
        return self.world.root_ca_pem

    def find(self, site: Site) -> str:
        if not self.answers:
            raise SourceError("there is none", hint="buy one")
        return "a world"

    def quote(self, report_data: bytes) -> bytes:
        if self.tee == "SGX":
            return self.world.quote(replace(ENCLAVE, debug=self.debug).report(report_data))
        return self.world.td_quote(replace(GUEST, debug=self.debug).report(report_data))

    def run(self, words: Sequence[str], line: str) -> str:
        challenge = bytes(64) if self.stolen else bytes.fromhex(line)
        facts = {
            "quote": self.quote(challenge).hex(),
            "certificate": make_certificate(self).certificate_der.hex(),
        }
        return f"the loader says something\n{json.dumps(facts)}\n"

    def predict(self, words: Sequence[str]) -> Target | None:
        if self.unpredicted:
            return None
        if self.tee == "TDX":
            return target_of(GUEST.report(bytes(64)))
        measured = self.predicted or ENCLAVE.mr_enclave
        return target_of(replace(ENCLAVE, mr_enclave=measured).report(bytes(64)))

    def start(self, name: str, words: Sequence[str]) -> Service:
        raise AssertionError("the first six steps start nothing")

    def close(self) -> None:
        """Nothing runs."""
