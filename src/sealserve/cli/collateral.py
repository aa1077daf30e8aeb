"""`sealserve collateral`: fetch what vouches for platforms, show it, and foresee refusals."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import click

from sealserve.cli import collateral_facts as facts
from sealserve.cli.collateral_fetch import fetch
from sealserve.cli.collateral_forget import forget
from sealserve.cli.collateral_options import (
    ca_file_option,
    cache_option,
    read_root,
    subscription_key_option,
    trust_root_option,
)
from sealserve.cli.output import json_option, note, print_json
from sealserve.cli.verification import Moment, read_policy
from sealserve.collateral.checks import check_is_for
from sealserve.collateral.disk import default_folder, roots
from sealserve.collateral.examination import Examination, examine
from sealserve.collateral.forecast import forecast as foresee
from sealserve.collateral.inventory import Inventory, inventory_of, take_inventory
from sealserve.collateral.source import (
    CollateralFile,
    CollateralFolder,
    CollateralSource,
    parse_source,
)
from sealserve.errors import NetworkError, RejectedError
from sealserve.verifier import INTEL_SGX_ROOT_CA_SHA256, Platform

at_option = click.option("--at", type=Moment(), help="The time to judge at.  [default: now]")


@click.group()
def collateral() -> None:
    """Fetch and show collateral, and foresee which platforms will be refused.

    \b
    Example:
      sealserve collateral fetch quote.bin --from intel --out collateral/
      sealserve collateral show collateral/
      sealserve collateral forecast --policy policy.toml
    """


collateral.add_command(fetch)
collateral.add_command(forget)


@collateral.command()
@click.argument("place", metavar="DIR|FILE|cache")
@trust_root_option
@at_option
@json_option
@click.pass_context
def show(
    context: click.Context,
    place: str,
    trust_root: Path | None,
    at: datetime | None,
    as_json: bool,
) -> None:
    """Show the collateral in a folder, a file or a cache: dates, numbers, levels, what ends first.

    `cache` is the default cache folder; another one is named by its path. What a cache has is
    verified under the root that it was kept for, the rest under the trust root. The exit code is 2
    when something does not verify.

    \b
    Example:
      sealserve collateral show collateral/
      sealserve collateral show collateral.json --at 2026-05-26T20:26:40Z
      sealserve collateral show cache --json
    """
    moment = at or datetime.now(UTC)
    path = default_folder() if place == "cache" else Path(place)
    if place == "cache" or roots(path):
        shown = _show_cache(take_inventory(path, moment), path, as_json)
    else:
        shown = [_show_one(path, trust_root, moment, as_json)]
    if not all(each.verified for each in shown):
        context.exit(RejectedError.exit_code)


def _show_one(path: Path, trust_root: Path | None, at: datetime, as_json: bool) -> Examination:
    source = CollateralFolder(path) if path.is_dir() else CollateralFile(path)
    examination = examine(source.read(), read_root(trust_root), at)
    found = facts.of_examination(examination)
    if as_json:
        print_json({"collateral": [{"source": str(path), **found}]})
    else:
        facts.print_collateral(str(path), found)
    return examination


def _show_cache(found: list[Inventory], path: Path, as_json: bool) -> list[Examination]:
    kept = [each for inventory in found for each in inventory.kept]
    damaged = [key.name for inventory in found for key in inventory.damaged]
    platforms = [
        row
        for each in found
        for row in facts.of_platforms(each.seen, each.edition_in_use(), each.early_edition())
    ]
    if as_json:
        print_json(
            {
                "cache": str(path),
                "collateral": [facts.of_kept(each) for each in kept],
                "damaged": damaged,
                "platforms": platforms,
            }
        )
    else:
        for each in kept:
            facts.print_collateral(each.key.name, facts.of_kept(each))
        facts.print_platforms(platforms)
        note(f"{path}: {len(kept)} entries, {len(platforms)} platforms seen")
        for name in damaged:
            note(f"damaged, and to be fetched anew: {name}")
    return [each.examination for each in kept]


@collateral.command()
@click.option(
    "--policy",
    "policy_file",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The policy that will refuse.",
)
@cache_option
@click.option(
    "--early",
    "early_place",
    metavar="SOURCE",
    help="Where Intel's early TCB data is had, asked now.  [default: what the cache has of it]",
)
@ca_file_option
@subscription_key_option
@at_option
@json_option
def forecast(
    policy_file: Path,
    cache: Path | None,
    early_place: str | None,
    ca_file: Path | None,
    subscription_key_file: Path | None,
    at: datetime | None,
    as_json: bool,
) -> None:
    """Say which platforms will be refused, from when, and why.

    Reads the collateral in a cache, and the platforms whose quotes the key service verified with
    it. They are refused when collateral or a certificate ends (if nothing newer can be had), when
    an exception of the policy expires, or when Intel's early TCB data, once it is the standard,
    puts them on a lower level: of that day there is only an estimate.

    \b
    Example:
      sealserve collateral forecast --policy policy.toml
      sealserve collateral forecast --policy policy.toml --cache /var/lib/keys/collateral-cache
      sealserve collateral forecast --policy policy.toml --early intel --json
    """
    moment, policy = at or datetime.now(UTC), read_policy(policy_file)
    path = cache or default_folder()
    sha256 = policy.trust_root or INTEL_SGX_ROOT_CA_SHA256
    grace = policy.collateral_grace(moment)
    inventory = inventory_of(path, sha256, moment, grace)
    present, early = inventory.edition_in_use(), inventory.early_edition()
    notes: list[str] = []
    if early_place is not None:
        source = parse_source(
            early_place,
            update="early",
            ca_file=ca_file,
            subscription_key_file=subscription_key_file,
        )
        early, notes = _ask_early(source, present, moment)
    notes += _gaps(inventory, present, early)
    refusals = foresee(present, early, list(inventory.seen), policy, moment)
    if as_json:
        print_json(
            {
                "at": moment.isoformat(),
                "cache": str(path),
                "trust_root_sha256": sha256,
                "refusals": [facts.of_refusal(each) for each in refusals],
                "platforms": facts.of_platforms(inventory.seen, present, early),
                "notes": notes,
            }
        )
        return
    facts.print_refusals(refusals)
    facts.print_platforms(facts.of_platforms(inventory.seen, present, early))
    for text in notes:
        note(text)


def _ask_early(
    source: CollateralSource, present: Mapping[Platform, Examination], at: datetime
) -> tuple[dict[Platform, Examination], list[str]]:
    """The early data of each platform, and why there is none of some."""
    early, notes = {}, []
    for platform, examination in present.items():
        if examination.verified is None:
            continue
        try:
            found = examine(source.collateral(platform), examination.verified.root, at)
            if found.verified is not None:
                check_is_for(platform, found.verified)
        except (NetworkError, RejectedError) as error:
            notes.append(f"no early data for {facts.kind(platform)}: {error.message}")
        else:
            early[platform] = found
    return early, notes


def _gaps(
    inventory: Inventory,
    present: Mapping[Platform, Examination],
    early: Mapping[Platform, Examination],
) -> list[str]:
    """What the forecast cannot speak about."""
    notes = [f"damaged, and to be fetched anew: {key.name}" for key in inventory.damaged]
    if not inventory.kept:
        notes.append("the cache has no collateral under the trust root that the policy names")
    for platform in sorted({tcb.platform for tcb in inventory.seen} - set(present), key=str):
        notes.append(f"no collateral is cached for {facts.kind(platform)}, which was seen")
    for platform, examination in present.items():
        if platform not in early:
            notes.append(
                f"no early data is at hand for {facts.kind(platform)}: name it with --early, "
                "or fetch it into the cache with --update early"
            )
        elif early[platform].verified is None and examination.verified is not None:
            notes.append(f"the early data for {facts.kind(platform)} does not verify")
        if platform not in {tcb.platform for tcb in inventory.seen}:
            notes.append(f"no platform was seen of {facts.kind(platform)}")
    return notes
