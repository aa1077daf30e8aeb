"""Sessions over real sockets and TLS, with a decision that the test makes: no evidence, no log."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sealserve.attester.ratls import RatlsIdentity, make_certificate
from sealserve.deploy.certificates import KeyType, Validity, make_authority, make_server
from sealserve.files import write_file
from sealserve.keyservice.asking import (
    Answer,
    Ask,
    Decision,
    Encoding,
    Outcome,
    Receipt,
    Release,
    Secret,
)
from sealserve.keyservice.limits import Limits
from sealserve.keyservice.session import Session
from sealserve.keyservice.tls import server_context

RESULT: dict[str, object] = {"outcome": "affirming", "simulated": True, "advisory_ids": []}
PATIENT = Limits(handshake_seconds=60, idle_seconds=60, session_seconds=100)

Deciding = Callable[[Ask], Answer]


def released(
    name: str | None,
    *values: bytes,
    encoding: Encoding = "raw",
    record: bytes | None = None,
) -> Decision:
    """A secret with these versions, the newest first."""
    versions = tuple(
        Secret(name or "unnamed", len(values) - index, value) for index, value in enumerate(values)
    )
    return decided(name, Outcome.RELEASED, Release(versions, encoding, record))


def decided(name: str | None, outcome: Outcome, release: Release | None = None) -> Decision:
    """A decision on record."""
    return Decision(name, outcome, outcome.value, Receipt(7, "ab" * 32), release)


def by_name(held: dict[str, Decision]) -> Deciding:
    """Answers to named requests: what is not `held` is denied."""

    def decide(ask: Ask) -> Answer:
        names = ask.names or (None,)
        missing = [decided(name, Outcome.DENIED) for name in names]
        return Answer(tuple(held.get(gap.name or "", gap) for gap in missing), RESULT)

    return decide


class Quotes:
    """An evidence source whose quotes nobody verifies."""

    def quote(self, report_data: bytes) -> bytes:
        return hashlib.shake_256(report_data).digest(4734)


def make_identity(**options: Any) -> RatlsIdentity:
    """An RA-TLS identity with such quotes."""
    return make_certificate(Quotes(), **options)


@dataclass
class Fixed:
    """A service that listens; what was asked, and how each session ended (None: well)."""

    port: int
    ca_file: Path
    asks: list[Ask] = field(default_factory=list)
    ends: list[Exception | None] = field(default_factory=list)

    @property
    def servers(self) -> str:
        return f"localhost:{self.port}"


def write_credentials(folder: Path, *, key_type: KeyType = "p256") -> Path:
    """`server.pem` and `server.key` in `folder`; returns the file of their authority."""
    validity = Validity(datetime.now(UTC), 2)
    authority = make_authority(validity)
    names = ["localhost", "*.keys.example.com"]
    pair = make_server(names, validity, issuer=authority, key_type=key_type)
    write_file(folder / "ca.pem", authority.certificate_pem)
    write_file(folder / "server.pem", pair.certificate_pem)
    write_file(folder / "server.key", pair.key_pem)
    return folder / "ca.pem"


@contextlib.contextmanager
def serve(
    folder: Path, decide: Deciding, *, limits: Limits = PATIENT, server_key: KeyType = "p256"
) -> Iterator[Fixed]:
    """Serve in a thread of its own; leaving waits until every session has ended."""
    ca_file = write_credentials(folder, key_type=server_key)
    context = server_context(
        *((folder / name).read_bytes() for name in ("server.pem", "server.key"))
    )
    ready, fixed = threading.Event(), Fixed(0, ca_file)
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    class Service:
        async def release(self, ask: Ask) -> Answer:
            fixed.asks.append(ask)
            return decide(ask)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = Session(f"s{len(fixed.ends)}", "test", reader, writer, context, limits)
        try:
            await session.run(Service())
        except Exception as error:  # noqa: BLE001  (the test looks at it)
            fixed.ends.append(error)
        else:
            fixed.ends.append(None)
        finally:
            writer.transport.abort()
            sessions.discard(asyncio.current_task())

    sessions: set[asyncio.Task | None] = set()

    def track(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sessions.add(asyncio.ensure_future(accept(reader, writer)))

    async def main() -> None:
        server = await asyncio.start_server(track, "127.0.0.1", 0)
        fixed.port = server.sockets[0].getsockname()[1]
        ready.set()
        await stop.wait()
        server.close()
        while sessions:
            await asyncio.wait(list(sessions))
            await asyncio.sleep(0)

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(main())

    thread = threading.Thread(target=run, name="fixed decisions")
    thread.start()
    ready.wait()
    try:
        yield fixed
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
