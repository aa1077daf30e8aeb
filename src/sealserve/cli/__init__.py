"""The command line: parse, call, print. Nothing is decided here.

Commands are loaded when they are named, so that `sealserve key new` does not import an inference
engine. Every failure of ours ends in one line of what was found, one of what to do, and the exit
code of its family (`sealserve.errors`); with `--json` the same facts as one JSON object.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

import click

from sealserve import __version__
from sealserve.cli.output import Run, report_error
from sealserve.errors import SealServeError, UsageError


class Entry(NamedTuple):
    """Where a command lives, the extra that brings its packages, and its line in the list."""

    module: str
    attribute: str
    extra: str
    summary: str


COMMANDS = {
    "demo": Entry("demo", "demo", "all", "Seal, attest, release, serve, predict: all of it, here."),
    "key": Entry("key", "key", "", "Make wrap keys."),
    "seal": Entry("seal", "seal", "", "Encrypt files into Gramine protected files."),
    "unseal": Entry("seal", "unseal", "", "Decrypt Gramine protected files."),
    "reseal": Entry("reseal", "reseal", "", "Put protected files under another wrap key."),
    "model": Entry(
        "model", "model", "models", "Fetch, convert, synthesise, inspect and record models."
    ),
    "tls": Entry("tls", "tls", "", "Make the TLS certificates and ssl.cfg of a service."),
    "evidence": Entry("evidence", "evidence", "", "Show quotes, certificates and SIGSTRUCTs."),
    "collateral": Entry("collateral", "collateral", "", "Fetch collateral, and foresee refusals."),
    "quote": Entry("quote", "quote", "", "Verify quotes, and appraise what they say."),
    "policy": Entry("policy", "policy", "", "Check, explain, compare, replay and edit policies."),
    "result": Entry("result", "result", "", "Issue attestation results, and verify them."),
    "keyservice": Entry("keyservice", "keyservice", "keyservice", "Release keys by policy."),
    "secret": Entry(
        "secret", "secret", "keyservice", "Add, rotate and retire a service's secrets."
    ),
    "revocation": Entry("revocation", "revocation", "keyservice", "Revoke, whatever policies say."),
    "audit": Entry("audit", "audit", "keyservice", "Verify, search and prove the audit log."),
    "serve": Entry("serve", "serve", "serving", "Serve models over the TensorFlow Serving API."),
    "monitoring": Entry("monitoring", "monitoring", "", "Alert rules and a dashboard for it."),
    "up": Entry("compose", "up", "deploy", "Run a description here, until it is ready."),
    "status": Entry("compose", "status", "deploy", "Say whether its services are ready."),
    "logs": Entry("compose", "logs", "deploy", "Print what its services print."),
    "down": Entry("compose", "down", "deploy", "End all of it, and leave nothing."),
    "compose": Entry("compose_render", "compose", "deploy", "Show what `up` would run."),
    "predict": Entry("predict", "predict", "client", "Send a request, and print the answer."),
    "bench": Entry("bench", "bench", "client", "Put a load on a service, and measure it."),
    "lab": Entry("lab", "lab", "lab", "The simulated hardware: a world to try everything in."),
    "migrate": Entry("migrate", "migrate", "", "Come from the published solution's folder."),
    "deploy": Entry("deploy", "deploy", "", "Describe a service in one file, and check it."),
    "gramine": Entry("gramine", "gramine", "", "Make, check and measure Gramine manifests."),
    "image": Entry("image", "image", "", "Build container images, and say what is in one."),
    "k8s": Entry("k8s", "k8s", "deploy", "A service in Kubernetes: rendered, applied, explained."),
    "cloud": Entry("cloud", "cloud", "", "What is known of clouds, and their configuration."),
    "selftest": Entry("selftest", "selftest", "all", "Try what needs the hardware; or the lab."),
    "doctor": Entry("doctor", "doctor", "", "What this machine has and lacks, and what to do."),
}
EXIT_INTERRUPTED = 130


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        entry = COMMANDS.get(name)
        if entry is None:
            return None
        try:
            loaded = importlib.import_module(f"sealserve.cli.{entry.module}")
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith("sealserve"):
                raise
            package = f"sealserve[{entry.extra}]" if entry.extra else "sealserve"
            raise UsageError(
                f"`sealserve {name}` needs the Python package {error.name!r}, which is missing",
                hint=f"pip install '{package}'",
            ) from error
        command = getattr(loaded, entry.attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry.module}.{entry.attribute} is no command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="sealserve")
def cli() -> None:
    """Serve models that stay sealed until an attested enclave opens them.

    \b
    Example:
      sealserve demo
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with the exit code of the outcome."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    # gRPC logs to standard error what our errors say better; it reads this as it is imported.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    run = Run()
    try:
        outcome = cli.main(args=words, prog_name="sealserve", standalone_mode=False, obj=run)
        code = outcome if isinstance(outcome, int) else 0
    except click.exceptions.Exit as error:
        code = error.exit_code
    except click.Abort:
        click.echo("interrupted", err=True)
        code = EXIT_INTERRUPTED
    except click.ClickException as error:
        if run.as_json:
            report_error(UsageError(error.format_message()), as_json=True)
        else:
            error.show()
        code = UsageError.exit_code
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        code = EXIT_INTERRUPTED
    except SealServeError as error:
        report_error(error, as_json=run.as_json)
        code = error.exit_code
    sys.exit(code)
