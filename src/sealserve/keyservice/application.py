"""The key service as processes: from a configuration to listeners, until SIGTERM.

Everything that is named is read and unlocked once, by the process that was started; then come the
workers (`supervisor`), each with an event loop, a connection of its own to the database, and the
same port. The first of them also answers owners (`api`) and whoever watches (`watch`).

SIGTERM or SIGINT: not ready any more, take no more connections, let the open sessions end, leave.
SIGHUP: read the TLS certificate again, and ask for collateral, or for the keys of Azure
Attestation, anew; where the certificate is not sound, the old one stays and the log says so.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from OpenSSL import SSL

from sealserve.errors import SealServeError
from sealserve.files import read_file, read_secret
from sealserve.hosts import Address
from sealserve.keyservice import verification
from sealserve.keyservice.administration.local import LocalAdministration
from sealserve.keyservice.administration.opening import AskPerson, check_memory, open_store
from sealserve.keyservice.administration.values import Actor
from sealserve.keyservice.config import KeyServiceConfig, Tls
from sealserve.keyservice.metrics import Metrics
from sealserve.keyservice.readiness import StoreReadiness
from sealserve.keyservice.server import KeyServer
from sealserve.keyservice.service import KeyService
from sealserve.keyservice.store.appender import Appender
from sealserve.keyservice.store.memory import Memory
from sealserve.keyservice.store.store import Store
from sealserve.keyservice.tls import server_context
from sealserve.keyservice.verification import Verification
from sealserve.keyservice.watch import Watch
from sealserve.logline import line
from sealserve.notify import notify
from sealserve.ports import ReservedPort, check_free
from sealserve.supervisor import Worker, supervise

PEM_LIMIT = 64 << 10  # bytes

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """Everything that a configuration names, read, unlocked and found sound."""

    config: KeyServiceConfig
    verification: Verification
    store: Store
    context: SSL.Context
    certificate: x509.Certificate


def load(config: KeyServiceConfig, *, ask: AskPerson | None = None) -> Loaded:
    """Read what `config` names, and check the log against what this copy remembers.

    Raises ConfigError, StoreError, IntegrityError. The caller closes the store.
    """
    how = verification.load(config.attestation)
    context, certificate = _load_tls(config.tls)
    store = open_store(config, ask=ask)
    try:
        check_memory(config, store)
        store.refresh()
    except BaseException:
        store.close()
        raise
    return Loaded(config, how, store, context, certificate)


def run(
    config: KeyServiceConfig, *, ready: Callable[[Address], None], ask: AskPerson | None = None
) -> None:
    """Serve until SIGTERM or SIGINT; `ready` is told the address once all workers listen."""
    metrics = Metrics(workers=config.workers if config.workers > 1 else 0)
    check_free(config.listen)  # another service there would share the port with us
    reserved = ReservedPort(config.listen)

    def prepare() -> Loaded:
        loaded = load(config, ask=ask)
        loaded.store.close()  # connections do not cross a fork; new ones are made when needed
        _announce(loaded)
        return loaded

    def work(loaded: Loaded, worker: Worker) -> None:
        if worker.workers > 1:
            metrics.as_worker(worker.number)
        asyncio.run(serve(loaded, worker, metrics, reserved))

    def told(_loaded: Loaded) -> None:
        log.info(line("ready", listen=reserved.address))
        ready(Address(reserved.address.host, reserved.address.port))
        notify("READY=1")

    try:
        supervise(prepare, work, workers=config.workers, ready=told)
    finally:
        reserved.close()


async def serve(loaded: Loaded, worker: Worker, metrics: Metrics, reserved: ReservedPort) -> None:
    """One worker, until SIGTERM or SIGINT."""
    config = loaded.config
    limits = config.limits.shared_by(worker.workers)
    async with AsyncExitStack() as stack:
        appender = Appender(loaded.store, Memory(config.state, loaded.store.log), metrics)
        appender.start()
        stack.callback(loaded.store.close)
        stack.callback(appender.close)
        verifier = verification.open_verifier(loaded.verification, config)
        stack.callback(verifier.close)
        service = KeyService(
            store=loaded.store,
            appender=appender,
            verifier=verifier,
            observer=metrics,
            limits=limits,
            key_domain=config.key_domain,
        )
        stack.callback(service.close)
        readiness = StoreReadiness(loaded.store, appender, verifier, metrics)
        context, certificate = _newest_tls(loaded, worker)
        server = KeyServer(service, context, limits, proxies=config.proxies, observer=metrics)
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)

        def renew() -> None:
            _reload_tls(config.tls, server, metrics)
            verifier.renew()

        loop.add_signal_handler(signal.SIGHUP, renew)
        metrics.certificate("release", certificate.not_valid_after_utc)
        metrics.simulated(verifier.basis.simulated)
        await server.start(reserved.address, reuse_port=True)
        if worker.number == 0:
            await stack.enter_async_context(_beside(loaded, metrics, readiness))
        worker.ready()
        await stop.wait()
        if worker.workers == 1:
            notify("STOPPING=1")
        await server.stop(readiness.drain)
    log.info(line("stopped"))


@asynccontextmanager
async def _beside(
    loaded: Loaded, metrics: Metrics, readiness: StoreReadiness
) -> AsyncIterator[None]:
    """The listeners of the first worker: for owners, and for whoever watches."""
    config, basis = loaded.config, loaded.verification.basis
    async with AsyncExitStack() as stack:
        if config.watch is not None:
            watch = Watch(metrics, readiness, config.watch.listen)
            address = await watch.start()
            stack.push_async_callback(watch.stop)
            log.info(line("watch", listen=address))
        if config.admin is not None:
            # Whoever has no such listener need not wait for what it is made of.
            from sealserve.keyservice.api import AdminApi

            memory = Memory(config.state, loaded.store.log)

            def administration(actor: Actor) -> LocalAdministration:
                return LocalAdministration(
                    loaded.store,
                    actor,
                    trust_root_sha256=basis.trust_root_sha256,
                    simulated=basis.simulated,
                    memory=memory,
                )

            api = AdminApi(config.admin, administration)
            metrics.certificate("admin", _first_in(config.admin.certificate).not_valid_after_utc)
            address = await api.start()
            stack.push_async_callback(api.stop)
            log.info(line("admin", listen=address))
        yield


def _newest_tls(loaded: Loaded, worker: Worker) -> tuple[SSL.Context, x509.Certificate]:
    """What was loaded; or, where a worker may come long after that, what is there now."""
    found = _read_tls_again(loaded.config.tls) if worker.workers > 1 else None
    return found or (loaded.context, loaded.certificate)


def _reload_tls(tls: Tls, server: KeyServer, metrics: Metrics) -> None:
    """Show the certificate that is there now, to whoever connects from now on."""
    found = _read_tls_again(tls)
    if found is None:
        return
    context, certificate = found
    server.show(context)
    metrics.certificate("release", certificate.not_valid_after_utc)
    log.info(line("reloaded", certificate_until=certificate.not_valid_after_utc.isoformat()))


def _read_tls_again(tls: Tls) -> tuple[SSL.Context, x509.Certificate] | None:
    """What is there now; None, and a line in the log, where that is not sound."""
    try:
        return _load_tls(tls)
    except SealServeError as error:
        log.error(line("reload_failed", code=error.code, reason=error.message))
        return None


def _load_tls(tls: Tls) -> tuple[SSL.Context, x509.Certificate]:
    pem = read_file(tls.certificate, limit=PEM_LIMIT)
    context = server_context(pem, read_secret(tls.private_key, limit=PEM_LIMIT))
    return context, _first_in(tls.certificate)


def _first_in(path: Path) -> x509.Certificate:
    """The first certificate of a file that TLS has taken already."""
    return x509.load_pem_x509_certificates(read_file(path, limit=PEM_LIMIT))[0]


def _announce(loaded: Loaded) -> None:
    """What a person should know at every start."""
    basis, snapshot = loaded.verification.basis, loaded.store.snapshot
    if basis.simulated:
        log.warning(line("SIMULATED", trust_root=basis.trust_root_sha256, issuer=basis.issuer))
    head = snapshot.head
    log.info(
        line("log", origin=loaded.store.log.key.origin, size=head.size, revision=head.revision)
    )
    if snapshot.policy_sha256 is None:
        log.warning(line("no_policy", reason="everything is denied until one is applied"))
    now = datetime.now(UTC)
    for each in snapshot.policy.exceptions:
        event = "dangerously_allow_debug" if each.dangerously_allow_debug else "exception"
        state = "in force" if each.in_force(now) else "expired"
        log.warning(line(event, name=each.name, state=state, expires=each.expires.isoformat()))
