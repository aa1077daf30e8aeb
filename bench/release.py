"""Release a secret over TLS, beside a bare server that answers the same bytes to whoever asks.

Ours is `sealserve keyservice run` as a process of its own, asked by the attester's client: TLS
handshake, evidence, collateral (verified before), quote, binding, policy, audit record, secret. The
bare server, a process too, does the same handshake with the same certificate, key and client
certificates, verifies nothing, makes a line as long as the audit record durable (fdatasync), and
answers, with a thread for each connection. The difference is what deciding costs, and one event
loop with deadlines for everybody. The client's share is in both: the ratio is that of what an
enclave waits for.

Each enclave of a round has an identity of its own. The audit log alone has the limit of any durable
record beside it: one write and one fdatasync of the same line. Both are in the system's folder for
temporary files; where that is memory, durable costs nothing, and the ratios are the hardest.
"""

from __future__ import annotations

import json
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL

from bench._process import Server, Tell, command, peer
from bench.measure import Result, compared, interleave
from sealserve.attester.protocol import REQUEST
from sealserve.attester.ratls import RatlsIdentity, make_certificate
from sealserve.attester.secrets import fetch_secret
from sealserve.deploy.certificates import Validity, make_authority, make_server
from sealserve.files import write_file
from sealserve.keyservice.audit import AuditLog
from sealserve.keyservice.protocol import encode_answer
from sealserve.lab.identity import EnclaveIdentity
from sealserve.lab.world import World
from sealserve.verifier import load_trust_root

RELEASES = 50
AT_A_TIME = 8
RECORDS = 200
SECRET = bytes(range(16))
ENCLAVE = EnclaveIdentity(bytes(32), bytes(32))
CONFIG = """
listen = "127.0.0.1:0"
policy = "policy.toml"
audit = "audit.jsonl"
[tls]
certificate = "server.pem"
private_key = "server.key"
[attestation]
trust_root = "lab/root_ca.pem"
collateral_dir = "lab/collateral"
[secrets]
digits = "digits.key"
"""

Fetch = Callable[[RatlsIdentity], object]


@dataclass(frozen=True)
class LabSource:
    """Quotes of one enclave on a simulated platform."""

    world: World

    def quote(self, report_data: bytes) -> bytes:
        """See `sealserve.attester.source.EvidenceSource`."""
        return self.world.quote(ENCLAVE.report(report_data))


def run() -> Iterator[Result]:
    """Releases one at a time and several, then the audit log alone."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        source = LabSource(World.create(now=datetime.now(UTC)))
        _write_site(folder, source.world)
        service = stack.enter_context(
            command("keyservice", "run", "--config", "ks.toml", folder=folder)
        )
        ours = _fetcher(folder, service)
        identities = [make_certificate(source) for _ in range(RELEASES)]
        ours(identities[0])
        record = (folder / "audit.jsonl").read_bytes()
        bare = _fetcher(folder, stack.enter_context(peer(serve_bare, folder, record)))
        yield from _releases(ours, bare, identities)
        yield from _records(folder, record)


def _releases(ours: Fetch, bare: Fetch, identities: list[RatlsIdentity]) -> Iterator[Result]:
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        times = interleave(
            {
                "bare TLS server and fdatasync": lambda: list(map(bare, identities)),
                "one": lambda: list(map(ours, identities)),
                "bare TLS server and fdatasync, 8": lambda: list(pool.map(bare, identities)),
                "eight": lambda: list(pool.map(ours, identities)),
            }
        )
    for name, subject, bare_name in (
        ("release a secret, one at a time", "one", "bare TLS server and fdatasync"),
        ("release a secret, 8 at a time", "eight", "bare TLS server and fdatasync, 8"),
    ):
        yield compared(name, times, subject, bare_name, work=RELEASES, unit="releases/s", goal=None)


def _records(folder: Path, line: bytes) -> Iterator[Result]:
    """The audit log alone, beside its limit."""
    record = json.loads(line)
    del record["number"], record["previous"]  # the log's own
    with (
        AuditLog.open(folder / "alone.jsonl", now=datetime.now(UTC)) as audit,
        (folder / "bare.jsonl").open("ab", buffering=0) as stream,
    ):
        times = interleave(
            {
                "one fdatasync": lambda: _append(stream.fileno(), line, RECORDS),
                "log": lambda: [audit.append(record) for _ in range(RECORDS)],
            }
        )
    name = "put a decision on record"
    yield compared(name, times, "log", "one fdatasync", work=RECORDS, unit="records/s", goal=None)


def _write_site(folder: Path, world: World) -> None:
    """The folder of a key service for one enclave of `world`."""
    world.save(folder / "lab")
    validity = Validity(datetime.now(UTC), 1)
    authority = make_authority(validity)
    own = make_server(["localhost"], validity, issuer=authority)
    root = load_trust_root(world.root_ca_pem).sha256.hex()
    for name, content in {
        "ca.pem": authority.certificate_pem,
        "server.pem": own.certificate_pem,
        "server.key": own.key_pem,
        "digits.key": SECRET,
        "ks.toml": CONFIG.encode(),
        "policy.toml": (
            f'version = 2\ntrust_root = "{root}"\n'
            '[[identities]]\nname = "digits server"\n'
            f'mr_enclave = ["{ENCLAVE.mr_enclave.hex()}"]\n'
            '[[rules]]\nname = "digits"\nidentities = ["digits server"]\nsecret = "digits"\n'
        ).encode(),
    }.items():
        write_file(folder / name, content)


def _fetcher(folder: Path, server: Server) -> Fetch:
    def fetch(identity: RatlsIdentity) -> None:
        secret = fetch_secret(
            f"localhost:{server.port}", ca_file=folder / "ca.pem", identity=identity
        )
        if secret != SECRET:
            raise RuntimeError("another secret than ours came back")

    return fetch


def serve_bare(tell: Tell, folder: Path, line: bytes) -> None:
    """Handshake, line to disk, answer: for ever, a thread for each connection."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate(x509.load_pem_x509_certificate((folder / "server.pem").read_bytes()))
    key = load_pem_private_key((folder / "server.key").read_bytes(), None)
    context.use_privatekey(key)  # type: ignore[arg-type]  # ours is an EC key
    context.set_options(SSL.OP_NO_TICKET)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
    log = os.open(folder / "bare-tls.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        tell(listener.getsockname()[1])
        while True:
            stream, _ = listener.accept()
            answer = partial(_answer, context, stream, log, line)
            threading.Thread(target=answer, daemon=True).start()


def _answer(context: SSL.Context, stream: socket.socket, log: int, line: bytes) -> None:
    with stream:
        session = SSL.Connection(context, stream)
        session.set_accept_state()
        session.do_handshake()
        session.recv(len(REQUEST))
        _append(log, line, 1)
        session.sendall(encode_answer(SECRET, "raw"))
        session.shutdown()


def _append(log: int, line: bytes, times: int) -> None:
    for _ in range(times):
        os.write(log, line)
        os.fdatasync(log)
