"""`sealserve k8s upgrade`: other servers in the place of those that run, and back."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from sealserve.cli.administration_options import Access
from sealserve.cli.gramine_measure import sigstruct_of
from sealserve.cli.interruption import clean_end
from sealserve.cli.k8s_options import service_options
from sealserve.cli.k8s_predict import Credentials, client_options, predict_each
from sealserve.cli.k8s_scale import wait_option
from sealserve.cli.output import json_option, note, print_json
from sealserve.cli.sigstruct_file import reference_of
from sealserve.deploy.kubernetes.live.enforcing import InsidePolicy, PolicyInForce
from sealserve.deploy.kubernetes.live.service import Service
from sealserve.deploy.kubernetes.live.upgrade_plan import At, Journal, holds
from sealserve.deploy.kubernetes.live.upgrade_start import Wish
from sealserve.deploy.kubernetes.live.upgrading import Upgrade, Upgraded
from sealserve.deploy.kubernetes.plan import SIMULATED
from sealserve.errors import ConfigError, SealServeError, UsageError
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
    click.option(
        "--without-prediction", is_flag=True, help="Be content with pods that are called ready."
    ),
)


def _upgrade_options(command: _Command) -> _Command:
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

    def apply(self, text: str) -> None:
        """Raises as `read`; UsageError if somebody changes anything in between."""
        with self._access.open() as admin:
            admin.apply_policy(text, admin.try_policy(text).token)


@click.command()
@service_options
@client_options
@_upgrade_options
@wait_option
@json_option
def upgrade(
    service: Service,
    client: Credentials | None,
    seconds: float,
    as_json: bool,
    **given: Any,
) -> None:
    """Go from the servers that run to those that FILE describes now, without a failed request.

    The key service's policy takes the new enclave beside the old; all is applied; a new pod is made
    before an old one goes; once all are new and the service answers, the policy lets go of the old
    one. What fails before that puts the former servers and the policy back, while old servers
    serve. If only models have changed, servers start anew where they would not see it themselves.

    In the lab the new image is measured by a pod of it; on hardware name --measurement or
    --sigstruct. After an interruption, run it again. With --back, the template before this one
    comes back in the same way, without anything else of FILE.

    \b
    Example:
      sealserve k8s upgrade sealserve.toml --sigstruct server.sig --ca ssl_configure/server/cert.pem
      sealserve k8s upgrade sealserve.toml --back --without-prediction
    """
    if service.plan.target.simulated:
        note(SIMULATED)
    note(f"to {service.cluster.context}, namespace {service.namespace}")
    wish = _wish(service, client, seconds, **given)
    journal = Journal()
    try:
        with clean_end():
            done = Upgrade(service, wish, journal, note).run()
    except SealServeError as error:
        if journal.at is not At.NOTHING:
            error.message = f"{error.message}; {holds(journal.at, journal.change)}"
        raise
    except (KeyboardInterrupt, SystemExit):
        note(f"interrupted: {holds(journal.at, journal.change)}")
        note(f"then: {_onward(journal)}")
        raise
    _report(service, done, journal, as_json=as_json)


def _wish(
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
    without_prediction: bool,
    **admin: Any,
) -> Wish:
    if (client is None) != without_prediction:
        raise UsageError(
            "it ends with a prediction, for which the service is verified",
            hint="--ca FILE; or --without-prediction",
        )
    if measurement is not None and sigstruct is not None:
        raise UsageError("--measurement and --sigstruct both say what the new servers measure")

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
        return AdminPolicy(Access(None, admin_server, admin_ca, admin_cert, admin_key))
    if any((admin_ca, admin_cert, admin_key)):
        raise UsageError("--admin-ca, --admin-cert and --admin-key go with --admin-server")
    if service.plan.key_service_inside and not accepted:
        return InsidePolicy(service)
    return None


def _onward(journal: Journal) -> str:
    """The words that go on with what was begun."""
    if journal.at in (At.RETURNING, At.WITHDRAWING):
        return "the same command tries it again, one with the former description gives it up"
    if journal.back_to:
        return f"the same command, with --back-to {journal.back_to} in the place of --back"
    back = "; or go back, by one with --back" if journal.at is At.ROLLING else ""
    return f"the same command goes on with it{back}"


def _report(service: Service, done: Upgraded, journal: Journal, *, as_json: bool) -> None:
    change = done.change
    old, new = (None if each is None else each.hex() for each in (change.old, change.new))
    if as_json:
        print_json(
            {
                "old_measurement": old,
                "new_measurement": new,
                "changed": change.rolls,
                "restarted": done.restarted,
                "retired": done.retired,
                "answer": done.answer,
                "seconds": done.seconds,
                "simulated": service.plan.target.simulated,
            }
        )
        return
    click.echo(f"measured  {new or 'not known'}")
    if change.of_policy:
        click.echo(f"before    {old}, {'retired' if done.retired else 'still taken'}")
    click.echo(f"holds     {holds(journal.at, change)}")
    if done.answer is not None:
        click.echo(f"answered  {done.answer}")
    click.echo(f"took      {done.seconds:.1f} s")
