"""What the benchmarks of the verifier verify: a lab platform's quotes, and another verifier's form.

`dcap-qvl` is in the extra `bench`, which `make bench` installs; without it, benchmarks leave out
what they would compare with it, and say so.
"""

from __future__ import annotations

import importlib
import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import ModuleType

from sealserve.endorsements.collateral import Collateral
from sealserve.endorsements.pck import build_pck_extension
from sealserve.endorsements.signed_json import split
from sealserve.lab import pki
from sealserve.lab.authorities import FMSPC, PCE_ID, pck_extensions
from sealserve.lab.identity import EnclaveIdentity
from sealserve.lab.levels import STANDARD, UP_TO_DATE
from sealserve.lab.statements import Signer, tcb_info
from sealserve.lab.world import World
from sealserve.verifier import TrustRoot, VerifiedCollateral, load_trust_root, verify_collateral

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
_ENCLAVE = EnclaveIdentity(bytes(32), bytes(32))


@dataclass(frozen=True)
class Scene:
    """Quotes with everything to verify them by; they can be pickled."""

    quotes: list[bytes]
    collateral: Collateral
    root_pem: bytes

    @property
    def root(self) -> TrustRoot:
        """The trust root, loaded."""
        return load_trust_root(self.root_pem)

    def verified(self) -> VerifiedCollateral:
        """The collateral, verified."""
        return verify_collateral(self.collateral, self.root, NOW)


def one_platform(count: int) -> Scene:
    """Quotes of one enclave after another on one platform."""
    world = World.create(now=NOW)
    quotes = [world.quote(_ENCLAVE.report(bytes([n % 256]) * 64)) for n in range(count)]
    return Scene(quotes, world.collateral(), world.root_ca_pem)


def fleet(count: int) -> Scene:
    """One quote of each of so many platforms, which have one kind of collateral."""
    world = World.create(now=NOW)
    return Scene(
        [_another(world).quote(_ENCLAVE.report(bytes(64))) for _ in range(count)],
        world.collateral(),
        world.root_ca_pem,
    )


def with_levels(count: int) -> Scene:
    """A quote of a platform that reaches the last of so many TCB levels."""
    world = World.create(now=NOW)
    quote = world.quote(_ENCLAVE.report(bytes(64)))
    out_of_reach = replace(UP_TO_DATE, component_svns=UP_TO_DATE.component_svns[:-1] + b"\xff")
    picture = replace(STANDARD, levels=(out_of_reach,) * (count - 1) + (UP_TO_DATE,))
    signer = Signer(world.authorities.tcb_signer.key, NOW, NOW + timedelta(30))
    info = tcb_info("SGX", FMSPC, PCE_ID, picture, signer)
    return Scene([quote], replace(world.collateral(), tcb_info=info), world.root_ca_pem)


def _another(world: World) -> World:
    """The same authorities and a platform of its own."""
    authorities = world.authorities
    fields = replace(pck_extensions(UP_TO_DATE, authorities.root_ca), ppid=secrets.token_bytes(16))
    pck = pki.issue(
        pki.PCK, NOW, issuer=authorities.platform_ca, sgx_extensions=build_pck_extension(fields)
    )
    return replace(world, authorities=replace(authorities, pck=pck))


def other_verifier() -> ModuleType | None:
    """`dcap_qvl`; None, after a line that says so, where it is not installed."""
    try:
        return importlib.import_module("dcap_qvl")
    except ImportError:
        print(
            "dcap-qvl is not installed, and its rows are left out; get it with: "
            "pip install -c constraints.txt -e '.[bench]'",
            file=sys.stderr,
        )
        return None


def other_verification(module: ModuleType, scene: Scene) -> Callable[[bytes], object]:
    """`dcap_qvl.verify` of a quote by the same collateral and root, at the same time."""
    given = scene.collateral
    tcb_info = split(given.tcb_info, "tcbInfo")
    qe_identity = split(given.qe_identity, "enclaveIdentity")
    collateral = module.QuoteCollateralV3(
        pck_crl_issuer_chain=given.pck_crl_issuer_chain.decode(),
        root_ca_crl=given.root_ca_crl,
        pck_crl=given.pck_crl,
        tcb_info_issuer_chain=given.tcb_info_issuer_chain.decode(),
        tcb_info=tcb_info.signed.decode(),
        tcb_info_signature=tcb_info.signature,
        qe_identity_issuer_chain=given.qe_identity_issuer_chain.decode(),
        qe_identity=qe_identity.signed.decode(),
        qe_identity_signature=qe_identity.signature,
    )
    root = scene.root.certificate
    seconds = int(NOW.timestamp())
    return lambda quote: module.verify_with_root_ca(quote, collateral, root.der, seconds)
