"""Attacks on the admin API: owners' calls by an auditor, and connections of whoever has no role."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sealserve.attester.ratls import RatlsIdentity
from sealserve.deploy.certificates import Validity, make_authority, make_client
from sealserve.files import write_file
from soak._report import Figure, promise
from soak._site import AUDITOR, OWNER, Site

SECONDS = 30.0
VALUE = base64.b64encode(bytes(16)).decode()
HEX = "00" * 32  # the measurement of the owner's enclave
CALLS: dict[str, Callable[[httpx.Client], httpx.Response]] = {
    "add a secret": lambda c: c.post("/secrets", json={"name": "other", "value": VALUE}),
    "rotate a secret": lambda c: c.post("/secrets/digits/rotate", json={"value": VALUE}),
    "retire a secret": lambda c: c.post("/secrets/digits/retire", json={}),
    "revoke": lambda c: c.post(
        "/revocations", json={"kind": "measurement", "value": HEX, "reason": "an attack"}
    ),
    "lift a revocation": lambda c: c.delete(
        f"/revocations/measurement/{HEX}", params={"reason": "an attack"}
    ),
    "apply a policy": lambda c: c.put("/policy", json={"policy": "version = 2\n", "token": "00"}),
}


def others(site: Site, enclave: RatlsIdentity) -> Iterator[Figure]:
    """Everybody who is not the owner; and the owner, so that the refusals mean something."""
    with _client(site, AUDITOR) as auditor:
        said = {name: call(auditor).status_code for name, call in CALLS.items()}
        read = auditor.get("/policy").status_code
    for name, status in said.items():
        yield promise(f"an auditor, to {name}", f"HTTP {status}", holds=status == 403)
    with _client(site, OWNER) as owner:
        added = CALLS["add a secret"](owner).status_code
    yield promise(
        "an auditor, to read; the owner, to add a secret",
        f"HTTP {read}, {added}",
        holds=(read, added) == (200, 201),
    )
    _write_strangers(site.folder, enclave)
    strangers: tuple[tuple[str, str | None], ...] = (
        ("the admin API without a certificate", None),
        ("the admin API by another authority's certificate in the owner's name", "stranger"),
        ("the admin API by an enclave's certificate", "enclave"),
    )
    for title, person in strangers:
        reached = _reaches(site, person)
        yield promise(title, "an answer" if reached else "no session", holds=not reached)


def _client(site: Site, name: str | None) -> httpx.Client:
    """Whoever has the certificate of that name in the site's folder."""
    context = ssl.create_default_context(cafile=site.ca_file)
    if name is not None:
        context.load_cert_chain(site.folder / f"{name}.pem", site.folder / f"{name}.key")
    url = f"https://localhost:{site.copies[0].admin}/v1"
    return httpx.Client(base_url=url, verify=context, timeout=SECONDS, trust_env=False)


def _reaches(site: Site, name: str | None) -> bool:
    try:
        with _client(site, name) as client:
            client.get("/status")
    except httpx.TransportError:
        return False
    return True


def _write_strangers(folder: Path, enclave: RatlsIdentity) -> None:
    validity = Validity(datetime.now(UTC), 1)
    pair = make_client(OWNER, validity, issuer=make_authority(validity))
    write_file(folder / "stranger.pem", pair.certificate_pem)
    write_file(folder / "stranger.key", pair.key_pem)
    shown = x509.load_der_x509_certificate(enclave.certificate_der)
    write_file(folder / "enclave.pem", shown.public_bytes(Encoding.PEM))
    key = enclave.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_file(folder / "enclave.key", key)
