"""`sealserve k8s upgrade`: other servers in the place of those that run, and back."""

from __future__ import annotations

from typing import Any

import click

from sealserve.cli.interruption import clean_end
from sealserve.cli.k8s_options import service_options, wait_option
from sealserve.cli.k8s_predict import Credentials, client_options
from sealserve.cli.k8s_scale import POD_SECONDS, POD_WAIT
from sealserve.cli.k8s_upgrade_options import upgrade_options, wish_of
from sealserve.cli.output import json_option, note, print_json
from sealserve.deploy.kubernetes.live.service import Service
from sealserve.deploy.kubernetes.live.upgrade.plan import At, Journal, holds
from sealserve.deploy.kubernetes.live.upgrade.upgrading import Upgrade, Upgraded
from sealserve.errors import SealServeError


@click.command()
@service_options
@client_options
@upgrade_options
@wait_option(POD_SECONDS, POD_WAIT)
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
    note(f"to {service.cluster.context}, namespace {service.namespace}")
    wish = wish_of(service, client, seconds, **given)
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
