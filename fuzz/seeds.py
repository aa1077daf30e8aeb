"""Sound inputs to begin from: what the lab makes, and public vectors where they are there.

Made anew by each process, so that no evidence and no key lies in the repository. Random bytes would
die at a parser's first check; a sound input that is changed a little gets further.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from sealserve.appraisal import appraise_by_default
from sealserve.appraisal.ear import issue
from sealserve.attester.messages import FRAME, encode_request
from sealserve.attester.protocol import REQUEST
from sealserve.attester.ratls import make_certificate
from sealserve.endorsements.collateral import Collateral
from sealserve.endorsements.pck import SGX_EXTENSIONS_OID
from sealserve.endorsements.signed_json import split
from sealserve.evidence.ratls import dice_claims, dice_extension, spki_der
from sealserve.evidence.td_report import TD_REPORT_15_EX_BYTES
from sealserve.keyservice.asking import Answer, Decision, Outcome, Receipt, Release, Secret
from sealserve.keyservice.named import NamedConversation
from sealserve.keyservice.protocol import encode_answer
from sealserve.lab import pki
from sealserve.lab.identity import EnclaveIdentity
from sealserve.lab.trust_domain import TrustDomainIdentity
from sealserve.lab.world import World
from sealserve.sealing import seal
from sealserve.sealing.record import ModelRecord, RecordedFile
from sealserve.transparency.checkpoint import Checkpoint, LogKey, sign
from sealserve.transparency.tree import leaf_hash
from sealserve.verifier import Claims, verify
from sealserve.verifier.maa import Question, ask
from tests.support.azure_instance import Instance

PROJECT = Path(__file__).parents[1]
VECTORS = Path(os.environ.get("SEALSERVE_VECTORS", PROJECT.parent / "shared" / "vectors"))
LAB_VARIABLE = "SEALSERVE_FUZZ_LAB"
SAMPLES = PROJECT / "tests" / "data" / "gramine"

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
ENCLAVE = EnclaveIdentity(bytes(32), bytes(32))
TRUST_DOMAIN = TrustDomainIdentity(bytes(48))
KEY = ec.derive_private_key(0x5EA1, ec.SECP256R1())
"""Signs what a target puts under a right signature; known to everybody."""
WRAP_KEY = bytes(range(16))
TEES = ("SGX", "TDX")
_OF_EACH_KIND = 40  # vectors: libFuzzer keeps those that differ in coverage


@dataclass(frozen=True)
class LabSource:
    """Quotes of one enclave on a simulated platform."""

    world: World

    def quote(self, report_data: bytes) -> bytes:
        """See `sealserve.attester.source.EvidenceSource`."""
        return self.world.quote(ENCLAVE.report(report_data))


@cache
def world() -> World:
    """The platform that all of these are of: the one in LAB_VARIABLE's folder, or a new one.

    The processes of one run share it, so that what one has found means the same to the next.
    """
    folder = os.environ.get(LAB_VARIABLE)
    return World.load(Path(folder)) if folder else World.create(now=NOW)


def quotes() -> list[bytes]:
    """Every version and body that there is."""
    enclave, domain = ENCLAVE.report(bytes(64)), TRUST_DOMAIN.report(bytes(64))
    return [
        *(world().quote(enclave, version) for version in (3, 4, 5)),
        *(world().td_quote(domain, version) for version in (4, 5)),
        world().td_quote(TRUST_DOMAIN.report_15(bytes(64)), 5),
        *_vectors("dcap/*/*/quote.bin"),
    ]


def sgx_reports() -> list[bytes]:
    """The 384 bytes of an enclave."""
    return [ENCLAVE.report(bytes(64)).serialize()]


def td_reports() -> list[bytes]:
    """Both generations that the lab makes, and the extended one."""
    older, newer = TRUST_DOMAIN.report(bytes(64)), TRUST_DOMAIN.report_15(bytes(64))
    extended = newer.serialize().ljust(TD_REPORT_15_EX_BYTES, b"\0")
    return [older.serialize(), newer.serialize(), extended]


def collateral() -> list[Collateral]:
    """Of an enclave's platform and of a trust domain's."""
    return [world().collateral(tee) for tee in TEES]


def chains() -> list[bytes]:
    """PEM chains of every role."""
    authorities = world().authorities
    return [
        authorities.pck_chain,
        authorities.tcb_chain,
        *_vectors("dcap/*/*/*chain.pem"),
    ]


def certificates() -> list[bytes]:
    """DER of every role, and of strangers."""
    mine = [_der(certificate) for certificate in x509.load_pem_x509_certificates(chains()[0])]
    return [*mine, *ratls_certificates()]


def pck_extensions() -> list[bytes]:
    """The value of the SGX extension."""
    leaf = x509.load_der_x509_certificate(certificates()[0])
    oid = x509.ObjectIdentifier(SGX_EXTENSIONS_OID)
    return [leaf.extensions.get_extension_for_oid(oid).value.public_bytes()]


def crls() -> list[bytes]:
    """DER, hex and PEM; with an entry and without."""
    authorities = world().authorities
    revoked = [authorities.pck.certificate]
    der = [
        world().collateral().root_ca_crl,
        pki.issue_crl(authorities.platform_ca, NOW, revoked=revoked),
    ]
    pem = x509.load_der_x509_crl(der[0]).public_bytes(Encoding.PEM)
    return [*der, der[0].hex().encode(), pem, *_vectors("dcap/*/*/*.crl")]


def signed_tcb_infos() -> list[bytes]:
    """Bodies as the service sends them, signature and all."""
    return [*(one.tcb_info for one in collateral()), *_vectors("dcap/*/*/tcb_info.json")]


def tcb_infos() -> list[bytes]:
    """The bytes that were signed."""
    return [split(one.tcb_info, "tcbInfo").signed for one in collateral()]


def qe_identities() -> list[bytes]:
    """The bytes that were signed."""
    return [split(one.qe_identity, "enclaveIdentity").signed for one in collateral()]


def one_file_collateral() -> list[bytes]:
    """The form that DCAP tools exchange."""
    return [*map(one_file, collateral()), *_vectors("dcap/*/*/collateral.json")]


def one_file(one: Collateral) -> bytes:
    """Collateral in that form."""
    members = {
        "pck_crl": one.pck_crl.hex(),
        "root_ca_crl": one.root_ca_crl.hex(),
        "pck_crl_issuer_chain": one.pck_crl_issuer_chain.decode(),
    }
    for part, name in (("tcb_info", "tcbInfo"), ("qe_identity", "enclaveIdentity")):
        statement = split(getattr(one, part), name)
        members[part] = statement.signed.decode()
        members[f"{part}_signature"] = statement.signature.hex()
        members[f"{part}_issuer_chain"] = getattr(one, f"{part}_issuer_chain").decode()
    return json.dumps(members).encode()


def ratls_certificates() -> list[bytes]:
    """Certificates of enclaves: ours, and Gramine's of either style."""
    ours = make_certificate(LabSource(world())).certificate_der
    theirs = [path.read_bytes() for path in sorted(SAMPLES.glob("ratls/*.der"))]
    pem = x509.load_der_x509_certificate(ours).public_bytes(Encoding.PEM)
    return [ours, pem, *theirs]


def dice_values() -> list[bytes]:
    """The value of the DICE extension of a certificate for KEY."""
    named = dice_claims(spki_der(KEY.public_key()), {"nonce": bytes(32)})
    return [dice_extension(quotes()[0], named), dice_extension(b"a quote", named)]


def sigstructs() -> list[bytes]:
    """A SIGSTRUCT of Gramine's signer."""
    return [path.read_bytes() for path in sorted(SAMPLES.glob("sigstruct/*.sig"))]


def protected_files() -> list[bytes]:
    """Of both versions, of no data, of one node and of several."""
    return [_sealed(bytes(size), version) for version in (1, 2) for size in (0, 100, 8000)]


def policies() -> list[bytes]:
    """The policies that the documentation shows, and a small one."""
    pages = sorted((PROJECT / "docs").glob("*.md"))
    shown = [block for page in pages for block in _toml_blocks(page.read_text())]
    return [b'version = 2\ntrust_root = "intel"\n', *(block.encode() for block in shown)]


def requests() -> list[bytes]:
    """The one request of Gramine's protocol."""
    return [REQUEST]


def answers() -> list[bytes]:
    """Answers that carry a secret."""
    return [encode_answer(bytes(range(16)), encoding) for encoding in ("raw", "hex")]


NAMES = ("resnet50", "ssl")
LOG = LogKey.from_seed("keys.example.com/audit", bytes(range(32)))


def proxy_headers() -> list[bytes]:
    """Headers of both versions, for both families."""
    start = b"\r\n\r\n\0\r\nQUIT\n"
    return [
        b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 4433\r\n",
        b"PROXY TCP6 2001:db8::1 2001:db8::2 4711 4433\r\n",
        b"PROXY UNKNOWN\r\n",
        start + b"\x21\x11\0\x0c" + bytes(range(12)),
        start + b"\x21\x21\0\x24" + bytes(range(36)),
        start + b"\x20\0\0\0",
    ]


def checkpoints() -> list[bytes]:
    """A log's head, signed."""
    return [sign(Checkpoint(LOG.origin, 7, leaf_hash(b"a"), 57, 12), LOG).encode()]


def log_verifiers() -> list[bytes]:
    """A log's verifier key as text."""
    return [str(LOG.verifier).encode()]


def model_records() -> list[bytes]:
    """A record of two files."""
    files = tuple(RecordedFile(f"1/{name}", 3, bytes(32)) for name in ("a.pb", "b/c.bin"))
    return [ModelRecord("digits", 1, files).to_json()]


def named_requests() -> list[bytes]:
    """The JSON of a request for secrets by name."""
    return [encode_request(NAMES)[FRAME.size :]]


def named_answers() -> list[bytes]:
    """The JSON of answers to it, of every outcome."""
    receipt = Receipt(0, "00" * 32)
    key = Release((Secret("resnet50", 2, bytes(16)), Secret("resnet50", 1, b"\1")), "raw", b"{}")
    released = Decision("resnet50", Outcome.RELEASED, "released", receipt, key)
    denied = [Decision(name, Outcome.DENIED, "denied", receipt, None) for name in NAMES]
    conversation = NamedConversation()
    messages = [
        conversation.answer(Answer((released, denied[1]), {"outcome": "affirming"})),
        conversation.answer(Answer(tuple(denied), None)),
        conversation.apology(1.5),
        conversation.apology(None),
    ]
    return [message[FRAME.size :] for message in messages]


@dataclass(frozen=True)
class Azure:
    """An instance of Azure Attestation with a key of its own, and what it was asked."""

    instance: Instance
    question: Question

    @property
    def key(self) -> rsa.RSAPrivateKey:
        return self.instance.keys[0].key

    @property
    def kid(self) -> str:
        return self.instance.keys[0].kid

    @property
    def jku(self) -> str:
        return f"{self.instance.url}/certs"


@cache
def azure() -> Azure:
    """Asked about an enclave of the lab."""
    instance = Instance("https://instance.region.attest.azure.net", world(), NOW)
    report_data = hashlib.sha256(b"runtime data").digest() + bytes(32)
    quote = world().quote(ENCLAVE.report(report_data))
    return Azure(instance, ask(instance.url, quote, b"runtime data", "a nonce"))


def azure_tokens() -> list[bytes]:
    """The answer to the question."""
    question = azure().question
    token = azure().instance.token(question.quote, question.runtime_data, question.nonce)
    return [token.encode()]


def azure_claims() -> list[bytes]:
    """The payload of the answer."""
    return [_payload(token) for token in azure_tokens()]


def azure_key_sets() -> list[bytes]:
    """What the instance publishes."""
    return [azure().instance.certs()]


def azure_certificates() -> list[bytes]:
    """Of the keys in that set."""
    return [_der(key.certificate) for key in azure().instance.keys]


def claims() -> list[Claims]:
    """Of an enclave and of a trust domain."""
    quotes_of = (world().quote(ENCLAVE.report(bytes(64))), quotes()[3])
    return [
        verify(quote, one, trust_root=world().root_ca_pem, now=NOW)
        for quote, one in zip(quotes_of, collateral(), strict=True)
    ]


def results() -> list[bytes]:
    """Attestation results about them."""
    return [
        issue(
            *(appraise_by_default(one), one),
            policy_sha256=None,
            evidence_sha256="00" * 32,
            key=KEY,
            now=NOW,
        ).encode()
        for one in claims()
    ]


def result_claims() -> list[bytes]:
    """The payloads of the results."""
    return [_payload(token) for token in results()]


def recorded_claims() -> list[bytes]:
    """As an audit log has them."""
    return [json.dumps(one.as_dict()).encode() for one in claims()]


def ra_configs() -> list[bytes]:
    """The published key server's file, as its authors show it."""
    entry = {"mr_enclave": "ab" * 32, "mr_signer": "cd" * 32, "isv_prod_id": "0", "isv_svn": "0"}
    switches = {f"verify_{name}": "on" for name in entry}
    return [json.dumps({**switches, "mrs": [entry]}, indent=2).encode()]


def gramine_manifests() -> list[bytes]:
    """The templates that we render, and a manifest in the oldest forms."""
    golden = (PROJECT / "tests" / "golden" / "gramine").glob("*/*.manifest.template")
    old = (
        b'loader.preload = "file:libsysdb.so"\nfs.mount.etc.type = "chroot"\n'
        b'fs.mount.etc.path = "/etc"\nfs.mount.etc.uri = "file:/etc"\nsgx.thread_num = 8\n'
        b'sgx.allowed_files.ssl = "file:ssl.cfg"\nsgx.protected_files.m = "file:models/"\n'
        b"sgx.remote_attestation = true\nloader.env.X = { passthrough = true }\n"
    )
    return [*(path.read_bytes() for path in sorted(golden)), old]


def _payload(token: bytes) -> bytes:
    text = token.split(b".")[1]
    return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))


def _toml_blocks(page: str) -> list[str]:
    return [part.partition("```")[0] for part in page.split("```toml\n")[1:]]


def _sealed(plaintext: bytes, version: int) -> bytes:
    sink = io.BytesIO()
    seal(io.BytesIO(plaintext), sink, WRAP_KEY, path="models/a", version=version)
    return sink.getvalue()


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def _vectors(pattern: str) -> list[bytes]:
    found = {path.read_bytes() for path in VECTORS.glob(pattern)}
    return sorted(found, key=len)[:: max(1, len(found) // _OF_EACH_KIND)]
