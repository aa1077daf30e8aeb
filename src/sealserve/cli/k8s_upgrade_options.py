"""What `sealserve k8s upgrade` may be told: measurements, whose policy, how far back."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from sealserve.cli.administration_options import Access
from sealserve.cli.gramine_measure import sigstruct_of
from sealserve.cli.k8s_predict import Credentials, predict_each
from sealserve.cli.sigstruct_file import reference_of
from sealserve.deploy.kubernetes.live.service import Service
from sealserve.deploy.kubernetes.live.upgrade.enforcing import (
    InsidePolicy,
    PolicyInForce,
    check_same,
)
from sealserve.deploy.kubernetes.live.upgrade.start import Wish
from sealserve.errors import ConfigError, UsageError
from sealserve.policies.succession import Successor

_FILE = click.Path(path_type=Path, dir_okay=False)
_MEASURED = re.compile("[0-9a-fA-F]{64}")
_Command = TypeVar("_Command", bound=Callable[..., Any])


class Measurement(click.ParamType[bytes]):
    """An MRENCLAVE."""

    name = "HEX"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> bytes:
        """64 hexadecimal digits to bytes."""
        if isinstance(value, bytes):
            return value
        if not _MEASURED.fullmatch(value):
            self.fail("no MRENCLAVE: expected 64 hexadecimal digits", param, ctx)
        return bytes.fromhex(value)


_OPTIONS = (
    click.option("--measurement", type=Measurement(), help="What the new servers measure."),
    click.option(
        "--sigstruct",
        metavar="SIG|IMAGE",
        help="Or where that is told, as `sealserve gramine measure` reads it.",
    ),
    click.option(
        "--running-measurement",
        "running",
        type=Measurement(),
        help="What the servers measure that run.  [default: as upgraded before, or the policy's "
        "only enclave]",
    ),
    click.option("--back", is_flag=True, help="Put the template before this one back instead."),
    click.option("--back-to", metavar="HASH", help="Or that one of the kept ones."),
    click.option("--keep-old", is_flag=True, help="Let the policy take the old enclave, too."),
    click.option(
        "--policy-accepts",
        "accepted",
        is_flag=True,
        help="The owner of a key service elsewhere has seen to its policy: believe it.",
    ),
    click.option("--admin-server", metavar="URL", help="Its admin API, to see to it from here."),
    click.option("--admin-ca", type=_FILE, help="The authority of that API's certificate."),
    click.option("--admin-cert", type=_FILE, help="Your certificate for it (PEM)."),
    click.option("--admin-key", type=_FILE, help="Its private key, mode 0600."),
)


def upgrade_options(command: _Command) -> _Command:
    """What an upgrade may be told, beside the service and its client."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


class AdminPolicy:
    """The policy of a key service elsewhere, by its admin API."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def read(self) -> str:
        """Raises ConfigError where none is in force, and what the API's client raises."""
        with self._access.open() as admin:
            text = admin.policy().text
        if text is None:
            raise ConfigError("no policy is in force there", code="no-policy")
        return text

    def apply(self, text: str, before: str) -> None:
        """Raises as `read`, and UsageError if somebody changes anything in between."""
        with self._access.open() as admin:
            token = admin.try_policy(text).token  # of the revision that `before` is to be
            check_same(admin.policy().text, before)
            admin.apply_policy(text, token)


def wish_of(
    service: Service,
    client: Credentials | None,
    seconds: float,
    *,
    measurement: bytes | None,
    sigstruct: str | None,
    running: bytes | None,
    back: bool,
    back_to: str | None,
    keep_old: bool,
    accepted: bool,
    **admin: Any,
) -> Wish:
    """What is wanted; raises UsageError for what contradicts itself, as nothing is asked yet."""
    if measurement is not None and sigstruct is not None:
        raise UsageError("--measurement and --sigstruct both say what the new servers measure")
    if back and back_to is not None:
        raise UsageError("--back and --back-to both say what to go back to")

    def predict() -> str:
        assert client is not None  # or this is not asked for
        how, predicted = predict_each(service, client)
        return f"{', '.join(f'{each.model}: {each}' for each in predicted)}, by {how}"

    return Wish(
        new=_successor(service, measurement, sigstruct),
        running=running,
        back=back_to or ("" if back else None),
        keep_old=keep_old,
        seconds=seconds,
        policy=_policy(service, accepted=accepted, **admin),
        accepted=accepted,
        predict=None if client is None else predict,
    )


def _successor(
    service: Service, measurement: bytes | None, sigstruct: str | None
) -> Successor | None:
    if sigstruct is not None:
        with sigstruct_of(sigstruct) as file:
            reference = reference_of(file)
        return Successor(reference.mr_enclave, reference.remark, reference)
    if measurement is None:
        return None
    return Successor(measurement, f"{service.plan.name}, {service.plan.choices.image_tag}")


def _policy(
    service: Service,
    *,
    accepted: bool,
    admin_server: str | None,
    admin_ca: Path | None,
    admin_cert: Path | None,
    admin_key: Path | None,
) -> PolicyInForce | None:
    if admin_server is not None:
        if not (admin_ca and admin_cert and admin_key):
            raise UsageError("--admin-server needs --admin-ca, --admin-cert and --admin-key")
        return AdminPolicy(Access(None, admin_server, admin_ca, admin_cert, admin_key))
    if any((admin_ca, admin_cert, admin_key)):
        raise UsageError("--admin-ca, --admin-cert and --admin-key go with --admin-server")
    if service.plan.key_service_inside and not accepted:
        return InsidePolicy(service)
    return None
