"""`sealserve keyservice`: run the key service, or check its configuration."""

from __future__ import annotations

import asyncio
import logging
import resource
import time
from pathlib import Path

import click

from sealserve.cli.output import json_option, note, print_json, print_table
from sealserve.hosts import Address
from sealserve.keyservice import application
from sealserve.keyservice.audit import check_chain
from sealserve.keyservice.config import load_config
from sealserve.keyservice.verification import AzureVerification
from sealserve.logline import EventFormatter

config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The TOML file; every key is described in docs/operations.md.",
)


@click.group()
def keyservice() -> None:
    """Release secrets to attested enclaves, by policy.

    \b
    Example:
      sealserve keyservice check --config keyservice.toml
      sealserve keyservice run --config keyservice.toml
    """


@keyservice.command()
@config_option
def run(config_file: Path) -> None:
    """Serve RA-TLS until SIGTERM; SIGHUP reads policy and secrets again.

    Prints one line on standard output once it listens; decisions go to standard error, and to the
    audit log that the configuration names.

    \b
    Example:
      sealserve keyservice run --config keyservice.toml
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # it would hold every secret, in the open
    _log_to_stderr()
    loaded = application.load(load_config(config_file))
    asyncio.run(application.run(loaded, ready=_announce))


def _log_to_stderr() -> None:
    """One line for each event, with the time in UTC as in the audit log."""
    formatter = EventFormatter(
        "%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S"
    )
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def _announce(address: Address) -> None:
    click.echo(f"sealserve keyservice: ready on {address}")


@keyservice.command()
@config_option
@json_option
def check(config_file: Path, as_json: bool) -> None:
    """Load everything that the configuration names, and say what would be in force.

    Reads the audit log, too, and checks its chain from the first line; it starts nothing, fetches
    nothing and changes nothing, and may be used while the service runs.

    \b
    Example:
      sealserve keyservice check --config keyservice.toml
    """
    loaded = application.load(load_config(config_file))
    facts = _summary(loaded)
    if as_json:
        print_json(facts)
        return
    print_table(f"{config_file} is sound", list(facts.items()))
    if loaded.verification.basis.simulated:
        note("SIMULATED: neither Intel nor Microsoft vouches for any enclave")


def _summary(loaded: application.Loaded) -> dict[str, object]:
    config, rules = loaded.config, loaded.rules
    chain = check_chain(config.audit) if config.audit.exists() else None
    return {
        "listen": str(config.listen),
        **_verification(loaded),
        "policy": str(config.policy),
        "policy_sha256": rules.policy_sha256,
        "rules": [f"{rule.name} -> {rule.secret} ({rule.encoding})" for rule in rules.policy.rules],
        "exceptions": [
            f"{each.name}, until {each.expires.isoformat()}" for each in rules.policy.exceptions
        ],
        "debug_allowed_by": [
            each.name for each in rules.policy.exceptions if each.dangerously_allow_debug
        ],
        "secrets": sorted(rules.secrets.names),
        "audit": str(config.audit),
        "audit_records": chain.head.number if chain else 0,
        "audit_head_sha256": chain.head.digest if chain else None,
    }


def _verification(loaded: application.Loaded) -> dict[str, object]:
    """Who verifies, and on what."""
    how, config = loaded.verification, loaded.config
    facts: dict[str, object] = {"verifier": how.basis.verifier, "simulated": how.basis.simulated}
    if isinstance(how, AzureVerification):
        return {**facts, "issuer": how.basis.issuer}
    return {
        **facts,
        "trust_root": "SIMULATED" if how.basis.simulated else "Intel",
        "trust_root_sha256": how.basis.trust_root_sha256,
        "collateral": how.collateral.name,
        "collateral_update": config.attestation.collateral_update,
        "collateral_cache": str(config.collateral_cache),
    }
