"""The key service as a process: from a configuration to a listener, until SIGTERM.

SIGTERM or SIGINT: take no more connections, let the open sessions end, leave. SIGHUP: read the
policy and the secrets again and ask for collateral anew; where they are not sound, the old ones
stay in force and the log says so.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from OpenSSL import SSL

from sealserve.collateral.cached import CachedCollateral
from sealserve.collateral.disk import CacheFolder
from sealserve.collateral.shared import SharedCollateral
from sealserve.collateral.source import CollateralFolder, CollateralService, CollateralSource
from sealserve.errors import ConfigError, SealServeError
from sealserve.files import read_file, read_secret
from sealserve.hosts import Address
from sealserve.keyservice.audit import AuditLog
from sealserve.keyservice.config import Attestation, KeyServiceConfig, Tls
from sealserve.keyservice.rules import Rules, load_rules
from sealserve.keyservice.server import KeyServer
from sealserve.keyservice.service import KeyService
from sealserve.keyservice.tls import server_context
from sealserve.logline import line
from sealserve.verifier import INTEL_SGX_ROOT_CA, TrustRoot, load_trust_root

PEM_LIMIT = 64 << 10  # bytes

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """Everything that a configuration names, read and found sound."""

    config: KeyServiceConfig
    root: TrustRoot
    rules: Rules
    collateral: CollateralSource
    context: SSL.Context


def load(config: KeyServiceConfig) -> Loaded:
    """Read what `config` names, but for the audit log; raises ConfigError."""
    root = _load_root(config.attestation)
    return Loaded(
        config,
        root,
        load_rules(config, root),
        _collateral_source(config.attestation),
        _load_tls(config.tls),
    )


async def run(loaded: Loaded, *, ready: Callable[[Address], None]) -> None:
    """Serve until SIGTERM or SIGINT; `ready` is told the address once it is listened on."""
    config = loaded.config
    if loaded.root.simulated:
        log.warning(line("SIMULATED", trust_root=loaded.root.sha256.hex()))
    _warn_of_exceptions(loaded.rules)
    with (
        AuditLog.open(config.audit, now=datetime.now(UTC)) as audit,
        _service(loaded, audit) as (
            service,
            collateral,
        ),
    ):
        server = KeyServer(service, loaded.context, config.limits)
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, reload, loaded, service, collateral)
        address = await server.start(config.listen)
        log.info(line("ready", listen=address, policy_sha256=loaded.rules.policy_sha256))
        ready(address)
        await stop.wait()
        await server.stop()
    log.info(line("stopped"))


def reload(loaded: Loaded, service: KeyService, collateral: CachedCollateral) -> None:
    """Put the policy and the secrets as they are now in force, if they are sound."""
    try:
        service.rules = load_rules(loaded.config, loaded.root)
    except SealServeError as error:
        log.error(line("reload_failed", code=error.code, reason=error.message))
        return
    collateral.renew()
    log.info(line("reloaded", policy_sha256=service.rules.policy_sha256))
    _warn_of_exceptions(service.rules)


@contextmanager
def _service(loaded: Loaded, audit: AuditLog) -> Iterator[tuple[KeyService, CachedCollateral]]:
    collateral = open_collateral(loaded)
    service = KeyService(rules=loaded.rules, root=loaded.root, collateral=collateral, audit=audit)
    try:
        yield service, collateral
    finally:
        service.close()
        collateral.close()


def open_collateral(loaded: Loaded) -> CachedCollateral:
    """The collateral of a service, over the cache folder, which is made if need be.

    Raises ConfigError when the folder is not this user's alone.
    """
    attestation = loaded.config.attestation
    for remark in loaded.collateral.remarks:
        log.warning(line("collateral_remark", source=loaded.collateral.name, remark=remark))
    folder = CacheFolder(loaded.config.collateral_cache, loaded.root.sha256)
    folder.make()
    max_age = timedelta(seconds=attestation.collateral_max_age_seconds)
    return CachedCollateral(
        SharedCollateral(
            loaded.collateral,
            loaded.root,
            folder,
            update=attestation.collateral_update,
            max_age=max_age,
        )
    )


def _collateral_source(attestation: Attestation) -> CollateralSource:
    if attestation.collateral_service is not None:
        return CollateralService(
            attestation.collateral_service,
            update=attestation.collateral_update,
            ca_file=attestation.collateral_ca,
            subscription_key_file=attestation.collateral_subscription_key,
        )
    if attestation.collateral_dir is not None:
        return _collateral_folder(attestation.collateral_dir)
    raise ConfigError("no place of collateral is named")


def _collateral_folder(path: Path) -> CollateralFolder:
    folder = CollateralFolder(path)
    missing = folder.missing()  # it may change later, but is all there now
    if missing:
        raise ConfigError(
            f"the collateral in {path} is incomplete: {', '.join(missing)} missing",
            hint=f"sealserve collateral fetch QUOTE --from intel --out {path}",
        )
    return folder


def _load_root(attestation: Attestation) -> TrustRoot:
    if attestation.trust_root is None:
        return load_trust_root(INTEL_SGX_ROOT_CA)
    try:
        return load_trust_root(read_file(attestation.trust_root, limit=PEM_LIMIT))
    except SealServeError as error:
        raise ConfigError(f"the trust root {attestation.trust_root}: {error.message}") from error


def _load_tls(tls: Tls) -> SSL.Context:
    certificate = read_file(tls.certificate, limit=PEM_LIMIT)
    return server_context(certificate, read_secret(tls.private_key, limit=PEM_LIMIT))


def _warn_of_exceptions(rules: Rules) -> None:
    now = datetime.now(UTC)
    for each in rules.policy.exceptions:
        event = "dangerously_allow_debug" if each.dangerously_allow_debug else "exception"
        state = "in force" if each.in_force(now) else "expired"
        log.warning(line(event, name=each.name, state=state, expires=each.expires.isoformat()))
