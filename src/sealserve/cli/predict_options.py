"""What `sealserve predict` and `sealserve bench` share: which service, which model, which input."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from sealserve.cli.output import note, remember_json
from sealserve.cli.predict_source import Source, parse_height_and_width, parse_sizes
from sealserve.client import Client, Signature
from sealserve.errors import UsageError

DTYPES = ("float32", "float64", "float16", "int8", "int16", "int32", "int64", "uint8")
FULL_LIGHT = 255.0

Command = TypeVar("Command", bound=Callable[..., None])
FILE = click.Path(path_type=Path, dir_okay=False)

as_json_option = click.option(
    "--as-json",
    is_flag=True,
    is_eager=True,
    callback=remember_json,
    help="Print one JSON object.",
)


@dataclass(frozen=True)
class Asked:
    """The service, the model and its signature, as they were given."""

    targets: str
    model: str
    ca: Path | None
    certificate: Path | None
    private_key: Path | None
    server_name: str | None
    dangerously_plaintext: bool
    signature_name: str
    model_version: int | None
    timeout: float

    def tls(self) -> dict[str, Any]:
        """How the service is spoken to, as keyword arguments of a client."""
        return {
            "ca": self.ca,
            "certificate": self.certificate,
            "private_key": self.private_key,
            "server_name": self.server_name,
            "dangerously_plaintext": self.dangerously_plaintext,
        }

    def client(self) -> Client:
        """A client of the service."""
        return Client(self.targets, timeout=self.timeout, **self.tls())

    def signature(self, client: Client) -> Signature:
        """The signature, from the server; UsageError where the model has none of that name."""
        found = client.metadata(self.model, version=self.model_version)
        if self.signature_name not in found:
            raise UsageError(
                f"the model has no signature {self.signature_name!r}; it has {sorted(found)}"
            )
        return found[self.signature_name]

    def warn(self) -> None:
        """Say what is dangerous about it."""
        if self.dangerously_plaintext:
            note("DANGEROUS: no TLS; everyone between here and the server can read and change this")


_SERVICE = (
    click.option(
        "--target",
        "targets",
        required=True,
        metavar="HOST:PORT[,...]",
        help="Where the service listens; requests go in turn over several.",
    ),
    click.option("--model", required=True, metavar="NAME"),
    click.option("--ca", type=FILE, help="The CA to trust, PEM; without it, the public roots."),
    click.option("--cert", "certificate", type=FILE, help="The client's certificate, PEM."),
    click.option("--key", "private_key", type=FILE, help="Its private key, PEM, mode 0600."),
    click.option(
        "--server-name",
        metavar="NAME",
        help="The certificate's name, where the target has another.",
    ),
    click.option(
        "--dangerously-plaintext", is_flag=True, help="No TLS: everyone on the way reads it."
    ),
    click.option("--signature", "signature_name", default="serving_default", show_default=True),
    click.option("--model-version", type=click.IntRange(min=0), metavar="N"),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=30.0,
        show_default=True,
        help="Seconds for each request.",
    ),
)
_INPUT = (
    click.option("--input-name", default="input", show_default=True),
    click.option("--npy", type=FILE, help="Send the array in this file."),
    click.option("--image", type=FILE, help="Send this image, scaled to the model's input."),
    click.option("--json", "json_file", metavar="FILE|-", help="Send this REST request body."),
    click.option(
        "--random",
        callback=parse_sizes,
        metavar="SHAPE",
        help="Send random values, such as 1,224,224,3.",
    ),
    click.option(
        "--size", callback=parse_height_and_width, metavar="N|HxW", help="Of the image sent."
    ),
    click.option(
        "--full-light",
        type=float,
        default=FULL_LIGHT,
        show_default=True,
        help="The value of a white pixel; 1 for models that take values from 0 to 1.",
    ),
    click.option(
        "--dtype",
        type=click.Choice(DTYPES),
        default="float32",
        show_default=True,
        help="Of --random.",
    ),
)


def asks_a_service(command: Command) -> Command:
    """The options of a service and a model, which reach the command as `asked`."""
    names = ("targets", "model", "ca", "certificate", "private_key", "server_name")
    more = ("dangerously_plaintext", "signature_name", "model_version", "timeout")
    return _bundle(command, _SERVICE, "asked", Asked, (*names, *more))


def sends_an_input(command: Command) -> Command:
    """The options of an input, which reach the command as `source`."""
    names = ("input_name", "npy", "image", "json_file", "random", "size", "full_light", "dtype")
    return _bundle(command, _INPUT, "source", Source, names)


def _bundle(
    command: Command,
    options: tuple[Callable[[Any], Any], ...],
    argument: str,
    kind: Callable[..., object],
    names: tuple[str, ...],
) -> Command:
    @functools.wraps(command)
    def bundled(**words: Any) -> None:
        given = {name: words.pop(name) for name in names}
        command(**{argument: kind(**given)}, **words)

    decorated: Any = bundled
    for option in reversed(options):
        decorated = option(decorated)
    result: Command = decorated
    return result
