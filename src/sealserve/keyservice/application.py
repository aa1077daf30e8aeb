"""The key service as a process: from a configuration to a listener, until SIGTERM.

SIGTERM or SIGINT: take no more connections, let the open sessions end, leave. SIGHUP: read the
policy and the secrets again and ask for collateral, or for the keys of Azure Attestation, anew;
where they are not sound, the old ones stay in force and the log says so.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from OpenSSL import SSL

from sealserve.errors import SealServeError
from sealserve.files import read_file, read_secret
from sealserve.hosts import Address
from sealserve.keyservice import verification
from sealserve.keyservice.audit import AuditLog
from sealserve.keyservice.config import KeyServiceConfig, Tls
from sealserve.keyservice.rules import Rules, load_rules
from sealserve.keyservice.server import KeyServer
from sealserve.keyservice.service import KeyService
from sealserve.keyservice.tls import server_context
from sealserve.keyservice.verification import Verification
from sealserve.keyservice.verifiers import Verifier
from sealserve.logline import line

PEM_LIMIT = 64 << 10  # bytes

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """Everything that a configuration names, read and found sound."""

    config: KeyServiceConfig
    verification: Verification
    rules: Rules
    context: SSL.Context


def load(config: KeyServiceConfig) -> Loaded:
    """Read what `config` names, but for the audit log; raises ConfigError."""
    how = verification.load(config.attestation)
    return Loaded(config, how, load_rules(config, how.basis), _load_tls(config.tls))


async def run(loaded: Loaded, *, ready: Callable[[Address], None]) -> None:
    """Serve until SIGTERM or SIGINT; `ready` is told the address once it is listened on."""
    config = loaded.config
    basis = loaded.verification.basis
    if basis.simulated:
        log.warning(line("SIMULATED", trust_root=basis.trust_root_sha256, issuer=basis.issuer))
    _warn_of_exceptions(loaded.rules)
    with (
        AuditLog.open(config.audit, now=datetime.now(UTC)) as audit,
        _service(loaded, audit) as (service, verifier),
    ):
        server = KeyServer(service, loaded.context, config.limits)
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, reload, loaded, service, verifier)
        address = await server.start(config.listen)
        log.info(line("ready", listen=address, policy_sha256=loaded.rules.policy_sha256))
        ready(address)
        await stop.wait()
        await server.stop()
    log.info(line("stopped"))


def reload(loaded: Loaded, service: KeyService, verifier: Verifier) -> None:
    """Put the policy and the secrets as they are now in force, if they are sound."""
    try:
        service.rules = load_rules(loaded.config, loaded.verification.basis)
    except SealServeError as error:
        log.error(line("reload_failed", code=error.code, reason=error.message))
        return
    except Exception as error:  # noqa: BLE001  a fault of our own: the old rules serve on
        # Its words may be those of a secret's file, and so may its traceback's.
        log.error(line("reload_failed", code="internal", reason=type(error).__name__))
        return
    verifier.renew()
    log.info(line("reloaded", policy_sha256=service.rules.policy_sha256))
    _warn_of_exceptions(service.rules)


@contextmanager
def _service(loaded: Loaded, audit: AuditLog) -> Iterator[tuple[KeyService, Verifier]]:
    verifier = verification.open_verifier(loaded.verification, loaded.config)
    service = KeyService(rules=loaded.rules, verifier=verifier, audit=audit)
    try:
        yield service, verifier
    finally:
        service.close()
        verifier.close()


def _load_tls(tls: Tls) -> SSL.Context:
    certificate = read_file(tls.certificate, limit=PEM_LIMIT)
    return server_context(certificate, read_secret(tls.private_key, limit=PEM_LIMIT))


def _warn_of_exceptions(rules: Rules) -> None:
    now = datetime.now(UTC)
    for each in rules.policy.exceptions:
        event = "dangerously_allow_debug" if each.dangerously_allow_debug else "exception"
        state = "in force" if each.in_force(now) else "expired"
        log.warning(line(event, name=each.name, state=state, expires=each.expires.isoformat()))
