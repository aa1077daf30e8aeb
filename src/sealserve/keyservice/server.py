"""The listener: takes connections, bounds them, and stops without breaking one off.

One event loop serves all sessions: a client that stalls costs a little memory and nobody's time,
and goes at its deadline. What takes the processor or the disk (verification, appraisal, the audit
record) runs elsewhere (`keyservice.service`).

1. A connection is accepted (`listener`), and refused, before anything is made for it, where it is
   one too many (`admission`). From a proxy that the configuration names it begins with the address
   of its client (`proxy`), and is refused by that.
2. It becomes a session (`session`), which asks for a decision. So many may wait for theirs; who
   comes then is told that we are overloaded.
3. It ends, for one of the reasons in the log; a fault in it, of whatever kind, ends no other.

A flood is not to fill the log: refusals are counted and logged once a second, and of the lines on
sessions that came to nothing only so many a second are written.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Any

from OpenSSL import SSL

from sealserve.errors import AuditError, OverloadedError, SealServeError
from sealserve.hosts import Address, ListenAddress
from sealserve.keyservice.admission import Admission
from sealserve.keyservice.asking import Answer, Ask, Releaser
from sealserve.keyservice.limits import Limits
from sealserve.keyservice.listener import Listener
from sealserve.keyservice.tally import Tally
from sealserve.keyservice.throttle import Buckets, source_of
from sealserve.keyservice.visit import Network, Visit
from sealserve.keyservice.watching import Observer, Unobserved
from sealserve.logline import line
from sealserve.ports import listen_on

SETTLING_SECONDS = 0.1  # in which TCP handshakes that have begun come to their end
ENDS_PER_SECOND, ENDS_BURST = 50.0, 500  # lines of the log

log = logging.getLogger(__name__)


class KeyServer:
    """Sessions over TCP, each decided by `service`.

    `proxies` are the peers that speak the PROXY protocol, and must. `observer` is told what
    happens, from the event loop.
    """

    def __init__(
        self,
        service: Releaser,
        context: SSL.Context,
        limits: Limits,
        *,
        proxies: Sequence[Network] = (),
        observer: Observer | None = None,
    ) -> None:
        self._decisions = BoundedReleaser(service, limits.max_waiting_decisions)
        self._context = context
        self._limits = limits
        self._proxies = tuple(proxies)
        self._observer = observer or Unobserved()
        self._admission: Admission[Visit] = Admission(limits)
        self._visits: dict[Visit, asyncio.Task[None]] = {}
        self._listener: Listener | None = None
        self._refused = Tally("refused")
        self._unlogged = Tally("sessions_not_logged")
        self._lines: Buckets[None] = Buckets(ENDS_PER_SECOND, ENDS_BURST)

    async def start(self, listen: ListenAddress, *, reuse_port: bool = False) -> Address:
        """Listen; returns the address with the port in use. Raises ConfigError."""
        self._loop = asyncio.get_running_loop()
        self._listener = Listener(listen_on(listen, reuse_port=reuse_port), self._accepted)
        return self._listener.address

    def show(self, context: SSL.Context) -> None:
        """Begin every session from now on with another certificate."""
        self._context = context

    async def stop(self, draining: Callable[[], None] | None = None) -> None:
        """Take no more connections, and let the open ones end, within their own deadline.

        `draining` is called first; then, for `drain_seconds`, everybody is served as before, so
        that whoever spreads connections has time to see that we are not ready.
        """
        if draining is not None:
            draining()
        if self._limits.drain_seconds:
            log.info(line("draining", seconds=self._limits.drain_seconds))
            await asyncio.sleep(self._limits.drain_seconds)
        if self._listener is not None:
            self._listener.let_nobody_in()
            await asyncio.sleep(SETTLING_SECONDS)
            self._listener.close()
        log.info(line("stopping", open_sessions=len(self._visits)))
        while self._visits:
            await asyncio.wait(self._visits.values())
        self._refused.close()
        self._unlogged.close()

    def _accepted(self, connection: socket.socket, peer: Any) -> None:
        """A place and a task for a new connection, or its end."""
        now = self._loop.time()
        visit = Visit(connection, peer, now)
        behind_proxy = visit.comes_from(self._proxies)
        try:
            evicted = self._admission.enter(
                visit, None if behind_proxy else source_of(visit.host), now
            )
        except OverloadedError as error:
            self._refuse(error.code)
            visit.close()
            return
        if evicted is not None:
            evicted.evicted = True
            self._visits[evicted].cancel()
        self._observer.session_opened()
        task = self._loop.create_task(self._run(visit, behind_proxy))
        self._visits[visit] = task
        task.add_done_callback(lambda _: self._left(visit))

    def _left(self, visit: Visit) -> None:
        """Clean up; not in the task itself, which may be cancelled before it begins."""
        del self._visits[visit]
        self._admission.leave(visit)
        if visit.evicted:
            visit.how = "overloaded.evicted"
            self._refuse(visit.how)
        if visit.session is not None:
            end = visit.session.established
            self._observer.handshake((end or self._loop.time()) - visit.began, end is not None)
        self._observer.session_ended(visit.how)
        visit.close()

    async def _run(self, visit: Visit, behind_proxy: bool) -> None:
        try:
            if behind_proxy:
                async with asyncio.timeout(self._limits.handshake_seconds):
                    await visit.read_proxy_header()
                self._admission.identify(visit, source_of(visit.host), self._loop.time())
            session = await visit.begin(self._context, self._limits)
            await session.run(self._decisions)
        except TimeoutError:
            self._ended(visit, "deadline", "the client, or the decision, took too long")
        except OverloadedError as error:
            self._refuse(error.code)
            self._ended(visit, error.code, error.message)
        except AuditError as error:
            self._ended(visit, error.code, error.message, level=logging.ERROR)
        except SealServeError as error:
            self._ended(visit, error.code, error.message)
        except OSError as error:
            self._ended(visit, "connection", error.strerror or type(error).__name__)
        except Exception:  # the others go on
            visit.how = "fault"
            log.exception(line("session_fault", **visit.facts))
        else:
            visit.how = "served"

    def _refuse(self, code: str) -> None:
        self._refused.count(code)
        self._observer.refused(code)

    def _ended(self, visit: Visit, code: str, reason: str, *, level: int = logging.INFO) -> None:
        """The line of a session without an answer or a denial."""
        visit.how = code
        if level <= logging.INFO and self._lines.take(None, self._loop.time()) is not None:
            self._unlogged.count(code)
            return
        log.log(level, line("session_ended", **visit.facts, code=code, reason=reason))


class BoundedReleaser:
    """Whoever decides, with at most `places` asks at once; a `Releaser` itself."""

    def __init__(self, service: Releaser, places: int) -> None:
        self._service = service
        self._free = places

    async def release(self, ask: Ask) -> Answer:
        """The decision of the service; raises OverloadedError where all places are taken."""
        if not self._free:
            raise OverloadedError(
                "as many sessions as may wait for a decision do", code="overloaded.decisions"
            )
        self._free -= 1
        try:
            return await self._service.release(ask)
        finally:
            self._free += 1
