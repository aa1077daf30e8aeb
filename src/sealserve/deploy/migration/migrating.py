"""`sealserve migrate`: a folder of the published solution -> faults, guesses, and two files.

The files are `sealserve.toml` and `policy.toml`, written whole or not at all into a folder that is
new. No key is copied, and no file of the old folder is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final

from sealserve.deploy.description.writing import describe
from sealserve.deploy.migration.attestation import Policy, in_manifest, in_qcnl, make_policy
from sealserve.deploy.migration.cluster import in_cluster
from sealserve.deploy.migration.fault import of_rule
from sealserve.deploy.migration.files import Gathered, Item, Kind, gather
from sealserve.deploy.migration.guesses import Guess, guess, model_name
from sealserve.deploy.migration.images import in_image, in_requirements, in_script
from sealserve.deploy.migration.keys import in_keys
from sealserve.deploy.migration.models import find_models
from sealserve.deploy.migration.sealed import sort_models
from sealserve.deploy.migration.tls_config import find_tls
from sealserve.deploy.weakness import Rule, Severity, Weakness
from sealserve.deploy.writing import write_folder

DESCRIPTION: Final = "sealserve.toml"
POLICY: Final = "policy.toml"
FAULTS_OF_ONE_FILE: Final = 200

SKIPPED: Final = Rule(
    "migrate.not-read",
    Severity.WARNING,
    "its faults are not known, and nothing of it is carried over",
    "put a plain file of the usual size and place there, and migrate again",
)
CUT: Final = Rule(
    "migrate.more",
    Severity.WARNING,
    "the rest is not listed",
    "mend those that are listed, and migrate again",
)
_BY_KIND: Final[dict[Kind, Callable[[Item], Iterator[Weakness]]]] = {
    Kind.MANIFEST: in_manifest,
    Kind.QCNL: in_qcnl,
    Kind.IMAGE: in_image,
    Kind.SCRIPT: in_script,
    Kind.REQUIREMENTS: in_requirements,
    Kind.CLUSTER: in_cluster,
}


@dataclass(frozen=True, slots=True)
class Migration:
    """What was found, what was guessed, and the texts to write."""

    recognised: tuple[str, ...]
    faults: tuple[Weakness, ...]
    guesses: tuple[Guess, ...]
    enclaves: int
    policy_source: str | None
    description: str
    policy: str


def migrate(
    folder: Path, secret: str, now: datetime, keys: Mapping[str, bytes] = MappingProxyType({})
) -> Migration:
    """Read `folder`; UsageError where nothing of the published solution is in it.

    `keys` are wrap keys by the names of their files: what each of them opens is told.
    """
    gathered = gather(folder)
    policy = make_policy(gathered.of(Kind.RA_CONFIG), secret, now)
    found, faults = find_models(gathered, model_name(gathered))
    models = sort_models(gathered, found, keys)
    key = "--secret" if models.key is None else f"--secret, for {models.key}"
    tls = find_tls(gathered, keys, models.key, now)
    guessed = guess(gathered, secret, key, models.models, tls.mode)
    faults += (*models.faults, *tls.faults, *guessed.faults, *_faults(gathered, policy, now))
    return Migration(
        tuple(each.shown for each in gathered.items),
        tuple(sorted(faults, key=_order)),
        guessed.guesses,
        policy.enclaves,
        policy.source,
        describe(guessed.answers, guessed.others),
        policy.text,
    )


def write(migration: Migration, out: Path) -> tuple[Path, ...]:
    """Both files into the new folder `out`; UsageError where it exists or cannot be made."""
    files = {DESCRIPTION: migration.description, POLICY: migration.policy}
    return write_folder(out, {name: text.encode() for name, text in files.items()})


def _order(fault: Weakness) -> tuple[str, int]:
    return fault.file or "", fault.line or 0


def _faults(gathered: Gathered, policy: Policy, now: datetime) -> Iterator[Weakness]:
    yield from policy.faults
    for item in gathered.items:
        if item.kind in _BY_KIND:
            yield from _some(item, _BY_KIND[item.kind](item))
    yield from in_keys(gathered, now)
    for each in gathered.skipped:
        yield of_rule(SKIPPED, each.path, None, each.reason)


def _some(item: Item, found: Iterator[Weakness]) -> Iterator[Weakness]:
    for number, each in enumerate(found):
        if number == FAULTS_OF_ONE_FILE:
            yield of_rule(CUT, item.shown, None, f"more than {FAULTS_OF_ONE_FILE} faults")
            return
        yield each
