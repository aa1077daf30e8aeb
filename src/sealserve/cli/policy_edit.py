"""`sealserve policy import` and `add-measurement`: the commands that write policy files."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from sealserve.cli.measured_evidence import Wish, add_evidence
from sealserve.cli.output import json_option, note, print_json
from sealserve.cli.policy_files import counts, policy_argument, print_findings, read_text
from sealserve.cli.verification import Moment
from sealserve.errors import ConfigError, UsageError
from sealserve.files import write_file
from sealserve.policies import importing
from sealserve.policies.importing import (
    RA_CONFIG_LIMIT,
    Answer,
    Imported,
    Script,
    import_ra_config,
)
from sealserve.verifier.claims import DcapStanding

SCRIPT_LIMIT = 256 << 10  # bytes
PUBLIC = 0o644  # a policy holds no secret


@click.command("import")
@click.argument("ra_config", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--secret", required=True, help="The secret that these enclaves may have.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The policy file to write; never one that exists.",
)
@click.option(
    "--encoding",
    type=click.Choice(["raw", "hex"]),
    default="raw",
    show_default=True,
    help="How the secret goes over the wire (hex: for Gramine before 1.3).",
)
@click.option(
    "--start-script",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The old key server's start script, which may switch checks off.",
)
@click.option("--exception-reason", help="Answer for insecure switches: why is this acceptable?")
@click.option(
    "--exception-expires",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="DATE",
    help="The last day of that exception, in UTC.",
)
@click.option(
    "--exception-advisory",
    "advisories",
    multiple=True,
    metavar="ID",
    help="An advisory that was looked at; may be given again.",
)
@json_option
@click.pass_context
def import_(
    context: click.Context, /, ra_config: Path, out: Path, as_json: bool, **options: Any
) -> None:
    """Make a policy from the ra_config.json of the published key server.

    It is read by the letter: where that server made something else of a value than its author
    meant, the value is an error with its line, and no policy is written. All four values of an
    entry are checked, whatever the switches say. Insecure switches come along only as an exception
    with a reason and a date.

    The exit code is 1 when there are errors.

    \b
    Example:
      sealserve policy import ra_config.json --secret wrap-key --out policy.toml
    """
    script = options["start_script"]
    imported = import_ra_config(
        read_text(ra_config, limit=RA_CONFIG_LIMIT),
        importing.Wish(options["secret"], options["encoding"], _answer(options)),
        datetime.now(UTC),
        Script(script.name, read_text(script, limit=SCRIPT_LIMIT)) if script else None,
    )
    if imported.text is not None:
        write_file(out, imported.text.encode(), mode=PUBLIC, replace=False)
    _report(ra_config, out, imported, as_json=as_json)
    if imported.text is None:
        context.exit(ConfigError.exit_code)


def _answer(options: dict[str, Any]) -> Answer | None:
    reason, expires = options["exception_reason"], options["exception_expires"]
    if reason is None and expires is None and not options["advisories"]:
        return None
    if reason is None or expires is None:
        raise UsageError("an exception needs both --exception-reason and --exception-expires")
    return Answer(reason, expires.date(), options["advisories"])


def _report(ra_config: Path, out: Path, imported: Imported, *, as_json: bool) -> None:
    written = imported.text is not None
    if as_json:
        findings = [each.as_dict() for each in imported.findings]
        print_json(
            {
                "written": str(out) if written else None,
                "enclaves": imported.enclaves,
                **counts(imported.findings),
                "findings": findings,
            }
        )
        return
    print_findings(ra_config, imported.findings)
    if written:
        click.echo(f"{out}: written, enclaves {imported.enclaves}; read it before it is in force")
    else:
        note("no policy was written: correct the errors above first")


@click.command("add-measurement")
@policy_argument
@click.argument("evidence", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--identity", required=True, help="The identity to add it to, by its name.")
@click.option("--by-signer", is_flag=True, help="Take every build of its signer, from this SVN on.")
@click.option("--create", is_flag=True, help="Make the identity, if there is none of that name.")
@click.option(
    "--collateral",
    metavar="DIR|FILE|URL",
    help="For a quote: a folder, one JSON file, a PCCS, or a service by its name.",
)
@click.option(
    "--trust-root",
    type=click.Path(path_type=Path, dir_okay=False),
    help="For a quote: the root certificate to rest on.  [default: Intel's SGX Root CA]",
)
@click.option("--at", type=Moment(), help="For a quote: the time to verify at.  [default: now]")
@json_option
def add_measurement(file: Path, evidence: Path, as_json: bool, **wish: Any) -> None:
    """Add what EVIDENCE is of to an identity of the policy FILE.

    EVIDENCE is the SIGSTRUCT of an enclave, or a quote (or RA-TLS certificate) of an enclave or a
    TDX trust domain. An enclave is added by its MRENCLAVE, or by its signer, product and security
    version; a trust domain by MRTD and its four registers. A SIGSTRUCT's signature is checked, a
    quote is verified, and what is under debug is refused; a quote must rest on the policy's own
    trust root. The file keeps its comments, order and layout, and is replaced whole or not at all;
    an identity of that name is never made wider than by the one measurement.

    \b
    Example:
      sealserve policy add-measurement policy.toml server.sig --identity 'digit server'
      sealserve policy add-measurement policy.toml server.sig --identity ours --by-signer --create
      sealserve policy add-measurement policy.toml td.quote --identity guest --collateral intel
    """
    added = add_evidence(file, evidence, Wish(**wish))
    edited, claims = added.edited, added.claims
    if as_json:
        facts = {"file": str(file), "changed": edited.changed, "done": edited.done}
        print_json(facts | ({} if claims is None else {"claims": claims.as_dict()}))
        return
    click.echo(f"{file}: {edited.done}")
    if claims is not None and isinstance(claims.standing, DcapStanding):
        simulated = "SIMULATED: " if claims.simulated else ""
        note(f"{simulated}the quote verifies; its platform's TCB: {claims.standing.tcb_status}")
    if edited.changed:
        note("a key service goes by it once it is in force: sealserve policy apply")
