"""`sealserve collateral forget`: give up what is known of one kind of platform, on purpose."""

from __future__ import annotations

from pathlib import Path

import click

from sealserve.cli.collateral_options import (
    cache_option,
    parse_fmspc,
    read_root,
    trust_root_option,
)
from sealserve.cli.output import json_option, note, print_json
from sealserve.collateral.disk import CacheFolder, default_folder
from sealserve.collateral.evaluations import EvaluationMemory
from sealserve.collateral.key import CollateralKey
from sealserve.collateral.shared import PATIENCE
from sealserve.endorsements.collateral import PckCa, Tee
from sealserve.endorsements.pccs import Update
from sealserve.errors import UsageError

_CAS: tuple[PckCa, ...] = ("platform", "processor")


@click.command()
@click.option("--fmspc", metavar="HEX", required=True, help="Which kind of platform.")
@click.option("--tee", type=click.Choice(["SGX", "TDX"]), default="SGX", show_default=True)
@click.option(
    "--update",
    type=click.Choice(["standard", "early"]),
    default="standard",
    show_default=True,
    help="Which edition of Intel's TCB data.",
)
@cache_option
@trust_root_option
@json_option
def forget(
    fmspc: str, tee: Tee, update: Update, cache: Path | None, trust_root: Path | None, as_json: bool
) -> None:
    """Forget the collateral of one kind of platform, and its highest evaluation data numbers.

    Older data of that kind is accepted again from then on: do so where a service answered early
    data as standard, or to change to a service whose data is deliberately older. Stop the services
    that use the cache first, for they hold collateral in memory. The number of a QE identity stays
    where another platform of the TEE has seen it too.

    \b
    Example:
      sealserve collateral forget --cache cache --fmspc 00606a000000
      sealserve collateral forget --cache cache --fmspc 00606a000000 --tee TDX --update early
    """
    path = cache or default_folder()
    folder = CacheFolder(path, read_root(trust_root).sha256)
    if not folder.path.is_dir():
        raise UsageError(
            f"{path} has nothing under that trust root",
            hint="name the cache with --cache, and a root other than Intel's with --trust-root",
        )
    keys = [CollateralKey(tee, parse_fmspc(fmspc), ca, update) for ca in _CAS]
    entries = [key.name for key in keys if _drop(folder, key)]
    memory = EvaluationMemory(folder.path)
    forgotten, left = memory.forget(keys[0]), memory.highest(keys[0])
    report = {
        "cache": str(path),
        "entries": entries,
        "tcb_info_number_forgotten": forgotten and forgotten.tcb_info,
        "qe_identity_number_forgotten": forgotten and forgotten.qe_identity,
        "qe_identity_number_left": left.qe_identity or None,
    }
    if as_json:
        print_json(report)
        return
    if forgotten is None:
        note(f"no numbers were remembered; entries dropped: {len(entries)}")
        return
    note(
        f"forgotten: TCB info {forgotten.tcb_info}, QE identity {forgotten.qe_identity}; "
        f"entries dropped: {len(entries)}"
    )
    if left.qe_identity:
        note(f"QE identity {left.qe_identity} stays: another platform of {tee} has seen it")


def _drop(folder: CacheFolder, key: CollateralKey) -> bool:
    """Drop an entry, while nobody is about to write it."""
    if key not in folder.kept():
        return False
    with folder.locked(key, timeout=PATIENCE):
        return folder.forget(key)
