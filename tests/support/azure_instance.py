"""An instance of Azure Attestation that signs with keys of its own, and a lab platform's quotes.

It answers `POST /attest/SgxEnclave`, `POST /attest/TdxVm` and `GET /certs` as the service's REST
interface has them: it verifies the quote (by our own verifier, under the lab's root), refuses what
does not verify or does not bind its runtime data, and signs what it found. A test may have it
answer otherwise: header and claims can be replaced or dropped, and any key may sign.

pytest has this on its path (`pythonpath` in pyproject.toml).
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from sealserve.errors import RejectedError
from sealserve.evidence.quote import parse_quote
from sealserve.evidence.report import SgxReport
from sealserve.evidence.td_report import TdReport
from sealserve.lab.world import World
from sealserve.verifier import verify

DROPPED = object()
POLICY_HASH = (
    base64.urlsafe_b64encode(sha256(b"the instance's policy").digest()).decode().rstrip("=")
)
HOURS = timedelta(hours=1)


@dataclass(frozen=True)
class SigningKey:
    """An RSA key with the certificate that the instance publishes for it."""

    kid: str
    key: rsa.RSAPrivateKey
    certificate: x509.Certificate

    def jwk(self) -> dict:
        """As the service lists it: the certificate, and neither `alg` nor `use`."""
        der = self.certificate.public_bytes(serialization.Encoding.DER)
        return {"kid": self.kid, "kty": "RSA", "x5c": [base64.b64encode(der).decode()]}


def signing_key(
    url: str, now: datetime, *, bits: int = 2048, start: timedelta = -HOURS, end: timedelta = HOURS
) -> SigningKey:
    key = rsa.generate_private_key(65537, bits)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, url)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + start)
        .not_valid_after(now + end)
        .sign(key, hashes.SHA256())
    )
    kid = base64.b64encode(certificate.fingerprint(hashes.SHA256())).decode()
    return SigningKey(kid, key, certificate)


@dataclass
class Instance:
    """The instance at `url`; `keys[0]` signs."""

    url: str
    world: World
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    keys: list[SigningKey] = field(default_factory=list)
    header: dict[str, object] = field(default_factory=dict)
    claims: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.keys = self.keys or [signing_key(self.url, self.now) for _ in range(2)]

    def certs(self) -> bytes:
        """The body of `GET /certs`."""
        return json.dumps({"keys": [key.jwk() for key in self.keys]}).encode()

    def attest(self, path: str, content: bytes) -> tuple[int, dict]:
        """Status and body of the answer to a request for a token."""
        request = json.loads(content)
        quote, data = decode(request["quote"]), decode(request["runtimeData"]["data"])
        try:
            body = parse_quote(quote).body
            tee = "SGX" if isinstance(body, SgxReport) else "TDX"
            verify(
                quote,
                self.world.collateral(tee),
                trust_root=self.world.root_ca_pem,
                now=self.now,
            )
        except RejectedError as error:
            return _refusal(f"the quote does not verify: {error}")
        if path != {"SGX": "/attest/SgxEnclave", "TDX": "/attest/TdxVm"}[tee]:
            return _refusal(f"{path} is not for {tee}")
        if sha256(data).digest() != body.report_data[:32]:
            return _refusal("the report data does not bind the runtime data")
        return 200, {"token": self.token(quote, data, request.get("nonce"))}

    def token(self, quote: bytes, data: bytes, nonce: str | None) -> str:
        """A token about a quote, as `header` and `claims` change it."""
        body = parse_quote(quote).body
        seconds = int(self.now.timestamp())
        claims = {
            "iss": self.url,
            "iat": seconds,
            "nbf": seconds,
            "exp": seconds + 8 * 3600,
            "jti": "5f65006d573bc1c04f67820348c20f5d8da72ddbbd4d6c03da8de9f11b5cf29b",
            "nonce": nonce,
            "x-ms-ver": "1.0",
            "x-ms-policy-hash": POLICY_HASH,
            **(_sgx(quote, body, data) if isinstance(body, SgxReport) else _tdx(body)),
        }
        header = {"alg": "RS256", "jku": f"{self.url}/certs", "kid": self.keys[0].kid}
        return self.sign(_changed(header, self.header), _changed(claims, self.claims))

    def sign(self, header: dict, claims: dict) -> str:
        """Any header and claims, signed by the key that signs."""
        return jwt.encode(claims, self.keys[0].key, algorithm="RS256", headers=header)


def decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _changed(members: dict, changes: dict) -> dict:
    return {name: value for name, value in (members | changes).items() if value is not DROPPED}


def _refusal(message: str) -> tuple[int, dict]:
    return 400, {"error": {"code": "InvalidParameter", "message": message}}


def _sgx(quote: bytes, body: SgxReport, data: bytes) -> dict:
    return {
        "x-ms-attestation-type": "sgx",
        "x-ms-sgx-is-debuggable": body.debug,
        "x-ms-sgx-mrenclave": body.mr_enclave.hex(),
        "x-ms-sgx-mrsigner": body.mr_signer.hex(),
        "x-ms-sgx-product-id": body.isv_prod_id,
        "x-ms-sgx-svn": body.isv_svn,
        "x-ms-sgx-report-data": body.report_data.hex(),
        "x-ms-sgx-ehd": base64.urlsafe_b64encode(data).decode().rstrip("="),
        "x-ms-sgx-collateral": {"quotehash": sha256(quote).hexdigest()},
    }


def _tdx(body: TdReport) -> dict:
    return {
        "x-ms-attestation-type": "tdxvm",
        "eat_profile": "https://aka.ms/maa-eat-profile-tdxvm",
        "attester_tcb_status": "UpToDate",
        "tdx_mrtd": body.mr_td.hex(),
        "tdx_mrconfigid": body.mr_config_id.hex(),
        "tdx_mrowner": body.mr_owner.hex(),
        "tdx_mrownerconfig": body.mr_owner_config.hex(),
        "tdx_mrseam": body.mr_seam.hex(),
        "tdx_mrsignerseam": body.mr_signer_seam.hex(),
        "tdx_seam_attributes": body.seam_attributes.hex(),
        "tdx_td_attributes": body.td_attributes.hex(),
        "tdx_xfam": body.xfam.hex(),
        "tdx_tee_tcb_svn": body.tee_tcb_svn.hex(),
        "tdx_report_data": body.report_data.hex(),
        **{f"tdx_rtmr{n}": rtmr.hex() for n, rtmr in enumerate(body.rtmrs)},
    }
