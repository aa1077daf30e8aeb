"""The admin API's listener: HTTPS with client certificates, and the gate before every request.

1. The handshake (TLS 1.2 or later) verifies the client's certificate under `client_ca`. Sessions
   are not resumed: every connection shows its certificate.
2. Whose certificate it is, and with which role, is found anew for each request.
3. The request has `REQUEST_SECONDS` for everything: to arrive, to be done, to be answered.
4. It gets an id, which its answer, the log and the record of a change name.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import ssl
from datetime import UTC, datetime
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sealserve.errors import ConfigError, DeniedError, OverloadedError, SealServeError
from sealserve.files import read_file, read_secret
from sealserve.hosts import Address
from sealserve.http_server import HttpServer, peer_certificate
from sealserve.keyservice.administration.answers import ErrorAnswer
from sealserve.keyservice.api.access import person_of
from sealserve.keyservice.api.answering import refusal, status_of
from sealserve.keyservice.api.application import make_application
from sealserve.keyservice.api.calls import Calls, Make, Visit
from sealserve.keyservice.config import Admin, Roles
from sealserve.logline import line

CONNECTIONS: Final = 64
REQUEST_SECONDS: Final = 60.0
STOP_SECONDS: Final = 5.0
PEM_LIMIT: Final = 256 << 10  # bytes

log = logging.getLogger(__name__)


class AdminApi:
    """Answers on `config.listen`, from `start` to `stop`, in people's names."""

    def __init__(self, config: Admin, administration: Make) -> None:
        """`administration` makes what acts for one person, once for each request.

        Raises ConfigError for TLS files that cannot be used.
        """
        self._listen = config.listen
        self._calls = Calls(administration)
        gate = Gate(make_application(), config.roles, self._calls)
        self._server = HttpServer(
            gate, tls_context(config), purpose="the admin API", connections=CONNECTIONS
        )

    async def start(self) -> Address:
        """Listen; the address with the port in use. Raises UsageError."""
        host = self._listen.host
        return Address(host, await self._server.start(host, self._listen.port))

    async def stop(self) -> None:
        """Answer what is being asked, and no more."""
        await self._server.stop(STOP_SECONDS)
        await self._calls.close()


class Gate:
    """Lets people through to the application, and says in the log what they did."""

    def __init__(self, application: ASGIApp, roles: Roles, calls: Calls) -> None:
        self._application = application
        self._roles = roles
        self._calls = calls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        visit = Visit(secrets.token_hex(8), self._calls)
        scope.setdefault("state", {})["visit"] = visit
        answer = _Answer(send, visit, scope)
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                visit.person = person_of(peer_certificate(scope), self._roles, datetime.now(UTC))
                await self._application(scope, receive, answer.send)
        except DeniedError as error:
            await answer.refuse(error, scope, receive)
        except TimeoutError:
            await answer.refuse(_late(), scope, receive)
        except Exception:  # noqa: BLE001, S110  (answered and logged by the application)
            pass


class _Answer:
    """What is sent back: logged first, with the request's id, and kept by nobody."""

    def __init__(self, send: Send, visit: Visit, scope: Scope) -> None:
        self._send = send
        self._visit = visit
        self._scope = scope
        self._headers = [
            (b"x-request-id", visit.request_id.encode("ascii")),
            (b"cache-control", b"no-store"),
        ]
        self._begun = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._begun = True
            _log(self._visit, self._scope, int(message["status"]))
            message = {**message, "headers": [*message.get("headers", []), *self._headers]}
        await self._send(message)

    async def refuse(self, error: SealServeError, scope: Scope, receive: Receive) -> None:
        """Answer with an error, unless an answer has begun."""
        if not self._begun:
            answer = refusal(status_of(error), ErrorAnswer.of(error))
            await answer(scope, receive, self.send)


def tls_context(config: Admin) -> ssl.SSLContext:
    """TLS 1.2 or later, with a certificate from every client; raises ConfigError."""
    read_file(config.certificate, limit=PEM_LIMIT)
    read_secret(config.private_key, limit=PEM_LIMIT)  # refuses a key that others may read
    authorities = read_file(config.client_ca, limit=PEM_LIMIT)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    context.num_tickets = 0
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(config.certificate, config.private_key, password=_no_password)
        context.load_verify_locations(cadata=authorities.decode("ascii"))
    except (ssl.SSLError, UnicodeDecodeError) as error:
        reason = getattr(error, "reason", None) or "not PEM"
        raise ConfigError(
            f"the TLS files of [admin] cannot be used: {reason}",
            hint="certificate and private_key must be PEM and belong together, client_ca be PEM",
        ) from None
    return context


def _no_password() -> bytes:
    # Without this OpenSSL asks at the terminal.
    raise ConfigError("private_key of [admin] is encrypted with a password, which nobody types")


def _late() -> OverloadedError:
    return OverloadedError(
        f"the request took longer than {REQUEST_SECONDS:g} seconds",
        code="deadline",
        hint="a change may have been made all the same: look before you repeat it",
    )


def _log(visit: Visit, scope: Scope, status: int) -> None:
    person = visit.person
    peer = scope.get("client")
    log.info(
        line(
            "admin_request",
            request_id=visit.request_id,
            peer=f"{peer[0]}:{peer[1]}" if peer else None,
            person=person.name if person else None,
            role=person.role if person else None,
            operation=visit.operation,
            status=status,
        )
    )
