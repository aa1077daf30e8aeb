"""The command line: parse, call, print. Nothing is decided here.

Commands are loaded when they are named, so that `sealserve key new` does not import an inference
engine. Every failure of ours ends in one line of what was found, one of what to do, and the exit
code of its family (`sealserve.errors`); with `--json` the same facts as one JSON object.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import click

from sealserve import __version__
from sealserve.cli.output import report_error
from sealserve.errors import SealServeError, UsageError

# command -> (module below sealserve.cli, attribute)
COMMANDS = {
    "demo": ("demo", "demo"),
    "key": ("key", "key"),
    "seal": ("seal", "seal"),
    "unseal": ("seal", "unseal"),
    "model": ("model", "model"),
    "tls": ("tls", "tls"),
    "evidence": ("evidence", "evidence"),
    "keyservice": ("keyservice", "keyservice"),
    "serve": ("serve", "serve"),
    "predict": ("predict", "predict"),
    "lab": ("lab", "lab"),
    "doctor": ("doctor", "doctor"),
}
# What a missing package of a command means: the extra that brings it.
EXTRAS = {
    "model": "models",
    "keyservice": "keyservice",
    "serve": "serving",
    "predict": "client",
    "lab": "lab",
    "demo": "all",
}
EXIT_INTERRUPTED = 130


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, attribute = COMMANDS[name]
        try:
            loaded = importlib.import_module(f"sealserve.cli.{module}")
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith("sealserve"):
                raise
            extra = EXTRAS.get(name, "all")
            raise UsageError(
                f"`sealserve {name}` needs the Python package {error.name!r}, which is missing",
                hint=f"pip install 'sealserve[{extra}]'",
            ) from error
        command = getattr(loaded, attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{module}.{attribute} is no command")
        return command


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
    try:
        outcome = cli.main(args=words, prog_name="sealserve", standalone_mode=False)
        code = outcome if isinstance(outcome, int) else 0
    except click.exceptions.Exit as error:
        code = error.exit_code
    except click.Abort:
        click.echo("interrupted", err=True)
        code = EXIT_INTERRUPTED
    except click.ClickException as error:
        error.show()
        code = UsageError.exit_code
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        code = EXIT_INTERRUPTED
    except SealServeError as error:
        report_error(error, as_json="--json" in words)
        code = error.exit_code
    sys.exit(code)
