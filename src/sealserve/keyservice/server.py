"""The listener: takes connections, bounds them, and stops without breaking one off.

One event loop serves all sessions: a client that stalls costs a little memory and nobody's time,
and goes at its deadline. What takes the processor or the disk (verification, appraisal, the audit
record) runs in the threads of `keyservice.service`. There are at most `max_sessions` at once; who
comes then is closed at once, and the log says so, at most once a second.

A fault in one session, of whatever kind, ends that session and no other.
"""

from __future__ import annotations

import asyncio
import logging
import secrets

from OpenSSL import SSL

from sealserve.errors import AuditError, ConfigError, SealServeError
from sealserve.hosts import Address, ListenAddress, spell
from sealserve.keyservice.config import Limits
from sealserve.keyservice.session import Releaser, Session
from sealserve.logline import line

STREAM_LIMIT = 64 << 10  # bytes buffered for one client
FULL_LOG_SECONDS = 1.0

log = logging.getLogger(__name__)


class KeyServer:
    """Sessions over TCP, each decided by `service`."""

    def __init__(self, service: Releaser, context: SSL.Context, limits: Limits) -> None:
        self._service = service
        self._context = context
        self._limits = limits
        self._sessions: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._refused = 0
        self._full_logged = float("-inf")

    async def start(self, listen: ListenAddress) -> Address:
        """Listen; returns the address with the port in use. Raises ConfigError."""
        try:
            self._server = await asyncio.start_server(
                self._accept, listen.host, listen.port, limit=STREAM_LIMIT, backlog=1024
            )
        except OSError as error:
            raise ConfigError(
                f"cannot listen on {listen}: {error.strerror}",
                hint="is another process there? name another address in `listen`",
            ) from error
        host, port = self._server.sockets[0].getsockname()[:2]
        return Address(host, port)

    async def stop(self) -> None:
        """Take no more connections, and let the open ones end, within their own deadline."""
        if self._server is not None:
            self._server.close()
        log.info(line("stopping", open_sessions=len(self._sessions)))
        while self._sessions:  # one that was just accepted may join them
            await asyncio.wait(self._sessions)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._sessions) >= self._limits.max_sessions:
            writer.transport.abort()
            self._log_full()
            return
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("connections are accepted in a task")
        self._sessions.add(task)
        try:
            await self._serve(reader, writer)
        finally:
            self._sessions.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = (writer.get_extra_info("peername") or ("unknown", 0))[:2]
        session = Session(
            secrets.token_hex(8),
            spell(host, port),
            reader,
            writer,
            self._context,
            self._limits,
        )
        try:
            await session.run(self._service)
        except TimeoutError:
            reason = "the client, or the decision, took too long"
            log.info(_ended(session, "deadline", reason))
        except AuditError as error:
            log.error(_ended(session, error.code, error.message))
        except SealServeError as error:
            log.info(_ended(session, error.code, error.message))
        except OSError as error:
            log.info(_ended(session, "connection", error.strerror or type(error).__name__))
        except Exception:  # the others go on
            log.exception(line("session_fault", session=session.identifier, peer=session.peer))

    def _log_full(self) -> None:
        self._refused += 1
        now = asyncio.get_running_loop().time()
        if now - self._full_logged >= FULL_LOG_SECONDS:
            log.warning(line("full", refused=self._refused, max_sessions=self._limits.max_sessions))
            self._refused, self._full_logged = 0, now


def _ended(session: Session, code: str, reason: str) -> str:
    """The line of a session without an answer or a denial."""
    return line(
        "session_ended",
        session=session.identifier,
        peer=session.peer,
        phase=session.phase,
        code=code,
        reason=reason,
    )
