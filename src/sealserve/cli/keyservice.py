"""`sealserve keyservice`: make, check and run the key service, and what keeps its keys."""

from __future__ import annotations

import resource
from pathlib import Path

import click

from sealserve.cli.keyservice_backup import backup, config_option, restore, rewrap
from sealserve.cli.keyservice_files import files
from sealserve.cli.output import json_option, note, print_json, print_table
from sealserve.cli.passphrase import ask_new_passphrase, ask_passphrase, remembering
from sealserve.cli.policy_files import read_text
from sealserve.errors import ConfigError
from sealserve.hosts import Address
from sealserve.keyservice import application
from sealserve.keyservice.administration.opening import initialise, open_administration
from sealserve.keyservice.config import load_config
from sealserve.keyservice.store.store import Store
from sealserve.keyservice.verification import AzureVerification
from sealserve.logline import LogForm, configure_logging


@click.group()
def keyservice() -> None:
    """Release secrets to attested enclaves, by policy.

    \b
    Example:
      sealserve keyservice init --config keyservice.toml --policy policy.toml
      sealserve secret add resnet50 --from wrap.key --config keyservice.toml
      sealserve keyservice run --config keyservice.toml
    """


for command in (backup, files, restore, rewrap):
    keyservice.add_command(command)


@keyservice.command()
@config_option
@click.option(
    "--policy",
    "policy_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Put this policy in force, where none is yet.",
)
@click.option("--log-name", help="How the audit log is called in its checkpoints, for ever.")
@json_option
def init(config_file: Path, policy_file: Path | None, log_name: str | None, as_json: bool) -> None:
    """Make what the configuration names and is not there: key, database, log.

    What is there is left as it is; tables of an older version are brought up to date.

    \b
    Example:
      sealserve keyservice init --config keyservice.toml --policy policy.toml
    """
    config = load_config(config_file)
    typed: dict[str, str] = {}  # a person is asked once
    ask, ask_new = remembering(ask_passphrase, typed), remembering(ask_new_passphrase, typed)
    is_new = initialise(config, log_name=log_name, ask=ask, ask_new=ask_new)
    with open_administration(config_file, ask=ask) as administration:
        if policy_file is not None:
            if administration.policy().text is not None:
                raise ConfigError(
                    "a policy is in force already, and is not replaced untried",
                    hint=f"sealserve policy apply {policy_file} --config {config_file}",
                )
            text = read_text(policy_file)
            administration.apply_policy(text, administration.try_policy(text).token)
        status = administration.status()
        facts = {
            "database": status.database,
            "was_new": is_new,
            "log_origin": status.log_origin,
            "log_key": administration.log_key(),
            "policy_sha256": status.policy_sha256,
            "key_encryption": config.wrapping.kind,
        }
    if as_json:
        print_json(facts)
        return
    print_table("the key service is ready to be run", list(facts.items()))
    if is_new:
        note("keep log_key where the service is not: by it everybody checks the audit log")


@keyservice.command()
@config_option
@click.option(
    "--log-format",
    type=click.Choice([form.value for form in LogForm]),
    help="One line for each event, as text or as JSON; text at a terminal, JSON elsewhere.",
)
def run(config_file: Path, log_format: str | None) -> None:
    """Serve RA-TLS until SIGTERM; SIGHUP reads the TLS certificate again.

    Prints one line on standard output once it listens; its log goes to standard error, every
    decision to the audit log in the database.

    \b
    Example:
      sealserve keyservice run --config keyservice.toml
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # it would hold every secret, in the open
    configure_logging(LogForm(log_format) if log_format else None)
    application.run(load_config(config_file), ready=_announce, ask=ask_passphrase)


def _announce(address: Address) -> None:
    click.echo(f"sealserve keyservice: ready on {address}")


@keyservice.command()
@config_option
@json_option
def check(config_file: Path, as_json: bool) -> None:
    """Load everything that the configuration names, and say what would be in force.

    It starts nothing, fetches nothing and changes nothing, and may be used while the service runs.
    For every record of the log: `sealserve audit verify`.

    \b
    Example:
      sealserve keyservice check --config keyservice.toml
    """
    loaded = application.load(load_config(config_file), ask=ask_passphrase)
    try:
        facts = _summary(loaded)
    finally:
        loaded.store.close()
    if as_json:
        print_json(facts)
        return
    print_table(f"{config_file} is sound", list(facts.items()))
    if loaded.verification.basis.simulated:
        note("SIMULATED: neither Intel nor Microsoft vouches for any enclave")


@keyservice.command()
def openapi() -> None:
    """Print the description of the admin API (OpenAPI 3.1, JSON).

    A running service has the same at /openapi.json, for people with a role.

    \b
    Example:
      sealserve keyservice openapi > openapi.json
    """
    from sealserve.keyservice.api import openapi_document  # what it is made of takes its time

    print_json(openapi_document())


def _summary(loaded: application.Loaded) -> dict[str, object]:
    config, snapshot = loaded.config, loaded.store.snapshot
    policy, head = snapshot.policy, snapshot.head
    return {
        "listen": str(config.listen),
        "workers": config.workers,
        **_verification(loaded),
        "database": loaded.store.database.name,
        "key_encryption": config.wrapping.kind,
        "certificate_until": loaded.certificate.not_valid_after_utc.isoformat(),
        "policy_sha256": snapshot.policy_sha256,
        "revision": head.revision,
        "rules": [
            f"{rule.name} -> {rule.secret or ' '.join(rule.secrets or ())} ({rule.encoding})"
            for rule in policy.rules
        ],
        "exceptions": [
            f"{each.name}, until {each.expires.isoformat()}" for each in policy.exceptions
        ],
        "debug_allowed_by": [
            each.name for each in policy.exceptions if each.dangerously_allow_debug
        ],
        "missing_secrets": _missing(loaded.store),
        "log_key": str(loaded.store.log.key.verifier),
        "audit_records": head.size,
        "audit_root_sha256": head.frontier.root.hex(),
    }


def _missing(store: Store) -> list[str]:
    """Secrets that a rule grants by name and that nobody can have."""
    snapshot = store.snapshot
    granted = {rule.secret for rule in snapshot.policy.rules if rule.secret is not None}
    return sorted(name for name in granted if not snapshot.has(name))


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
