"""What commands on a key service share: whose database or whose admin API they are for.

With `--config` a command opens the database itself, as the service's own user; with `--server` it
asks the admin API, as whoever the certificate names. What needs the packages of the key service is
imported when it is opened: `sealserve policy` works without them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from sealserve.cli.passphrase import ask_passphrase
from sealserve.errors import UsageError

if TYPE_CHECKING:
    from sealserve.keyservice.administration.values import Administration

_Command = TypeVar("_Command", bound=Callable[..., Any])
_FILE = click.Path(path_type=Path, dir_okay=False)


@dataclass(frozen=True, slots=True)
class Access:
    """The way to a key service."""

    config: Path | None
    server: str | None
    ca: Path | None
    certificate: Path | None
    key: Path | None

    @property
    def words(self) -> str:
        """The options that lead there, for a command that a person is told to run."""
        if self.config is not None:
            return f"--config {self.config}"
        return f"--server {self.server} --ca {self.ca} --cert {self.certificate} --key {self.key}"

    @contextmanager
    def open(self) -> Iterator[Administration]:
        """The administration there; raises UsageError unless exactly one way was named."""
        if (self.config is None) == (self.server is None):
            raise UsageError(
                "name one of --config and --server",
                hint="--config FILE on the machine of the key service, --server URL elsewhere",
            )
        if self.config is not None and any((self.ca, self.certificate, self.key)):
            raise UsageError("--ca, --cert and --key go with --server")
        try:
            way = self._remote() if self.config is None else _local(self.config)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith("sealserve"):
                raise
            raise UsageError(
                f"this needs the Python package {error.name!r}, which is missing",
                hint="pip install 'sealserve[keyservice]'",
            ) from error
        with way as administration:
            yield administration

    def _remote(self) -> AbstractContextManager[Administration]:
        if self.server is None or not self.ca or not self.certificate or not self.key:
            raise UsageError("--server needs --ca, --cert and --key")
        from sealserve.keyservice.administration.remote import RemoteAdministration

        return RemoteAdministration(self.server, self.ca, self.certificate, self.key)


def administration_options(command: _Command) -> _Command:
    """The options of a command on a key service; it is handed `access: Access`."""

    @functools.wraps(command)  # with the options that it has already
    def wrapped(
        config_file: Path | None,
        server: str | None,
        ca: Path | None,
        cert: Path | None,
        tls_key: Path | None,
        **others: Any,
    ) -> Any:
        return command(access=Access(config_file, server, ca, cert, tls_key), **others)

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return cast(_Command, wrapped)


_OPTIONS = (
    click.option(
        "--config", "config_file", type=_FILE, help="The key service's file: open its database."
    ),
    click.option("--server", metavar="URL", help="Or its admin API, https://HOST:PORT."),
    click.option("--ca", type=_FILE, help="With --server: the authority of its certificate."),
    click.option("--cert", type=_FILE, help="With --server: your certificate (PEM)."),
    click.option("--key", "tls_key", type=_FILE, help="With --server: its private key, mode 0600."),
)


def _local(config: Path) -> AbstractContextManager[Administration]:
    from sealserve.keyservice.administration.opening import open_administration

    return open_administration(config, ask=ask_passphrase)
