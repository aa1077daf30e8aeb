"""`sealserve serve`: the model server, by the flags of tensorflow_model_server."""

from __future__ import annotations

import contextlib
import logging
import resource
import sys

import click
import uvloop

from sealserve import __version__
from sealserve.logline import configure_logging, line
from sealserve.serving import settings
from sealserve.serving.flags import ACCEPTED, flag_table, parse_flags
from sealserve.serving.preparing import prepare
from sealserve.serving.process import run
from sealserve.serving.server import Listening
from sealserve.serving.watching.stages import STARTING
from sealserve.serving.workers import run_workers

log = logging.getLogger(__name__)


class _ServeCommand(click.Command):
    """Lists the flags, which click does not parse, in its help."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [
            (f"--{name}" + (f"={default}" if default else ""), text)
            for name, default, text in flag_table()
        ]
        with formatter.section("Flags"):
            formatter.write_dl(rows, col_max=42)
        with formatter.section("Accepted from TensorFlow Serving, without effect"):
            formatter.write_text(", ".join(f"--{name}" for name in ACCEPTED))


@click.command(
    cls=_ServeCommand,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    options_metavar="--FLAG=VALUE...",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="")
def serve(arguments: tuple[str, ...]) -> None:
    """Serve models over the TensorFlow Serving API, gRPC and REST, over TLS.

    Models and ssl.cfg are sealed files, opened in memory with the key that the key service releases
    to this server. Ready when it prints "Entering the event loop ...".

    \b
    Example:
      sealserve serve --host=127.0.0.1 --port=8500 --rest_api_port=8501 \\
        --model_name=digits --model_base_path=models/digits --ssl_config_file=ssl.cfg \\
        --attest --evidence_source=gramine \\
        --key_service=keys.example.com:4433 --key_service_ca=ca.pem
    """
    STARTING.imported()
    flags, notes = parse_flags(arguments)
    if flags.version:
        click.echo(f"sealserve {__version__}")
        return
    # A core would hold the key, the model and the requests, in the open.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _raise_descriptors()
    configure_logging(settings.log_form(flags))
    for note in notes:
        log.info(line("flag_without_effect", note=note))
    if flags.processes > 1:
        run_workers(flags, _announce)
    else:
        uvloop.run(run(prepare(flags), _announce))


def _raise_descriptors() -> None:
    """As many open files as we may have: connections take some, and so must models' files."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # some enclaves do not let us
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _announce(listening: Listening) -> None:
    rest = f", REST {listening.rest}" if listening.rest else ""
    models = "".join(
        f", model {name} version {', '.join(map(str, versions))}"
        for name, versions in listening.models.items()
    )
    # The last words are those that scripts wait for in the log of the stock server.
    click.echo(
        f"sealserve serve: ready, gRPC {listening.grpc}{rest}{models}. Entering the event loop ..."
    )
    sys.stdout.flush()
    log.info(STARTING.told())
