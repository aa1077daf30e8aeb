"""What attests and who believes it: manifests, ra_config.json, the quote provider's configuration.

Their readers are those of `sealserve gramine lint`, `policy import` and `cloud qcnl`; here their
findings get a file's name, and a policy is made that denies what cannot be carried over.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Final, NamedTuple

from sealserve.deploy.clouds.qcnl_lint import lint_qcnl
from sealserve.deploy.gramine.lint import lint_manifest
from sealserve.deploy.gramine.schema import LATEST, parse_version
from sealserve.deploy.migration.fault import of_finding, of_rule
from sealserve.deploy.migration.files import Item
from sealserve.deploy.weakness import Rule, Severity, Weakness
from sealserve.errors import UsageError
from sealserve.policies.importing import RA_CONFIG_LIMIT, Wish, import_ra_config

UNREADABLE: Final = Rule(
    "migrate.unreadable",
    Severity.ERROR,
    "nothing of it is carried over",
    "mend the file, and migrate again",
)
MANY: Final = Rule(
    "migrate.several",
    Severity.WARNING,
    "only the first becomes the policy",
    "sealserve policy import for each of the others",
)
RULES: Final = (UNREADABLE, MANY)

_OTHERWISE: Final = "the old key server made something else of it, or fewer checks than it seems"
_QCNL_KEYS: Final = frozenset(
    {"pccs_url", "use_secure_cert", "collateral_service", "local_pck_url", "tcb_update_type"}
)
_DENY_ALL: Final = """\
# {reason}: this policy denies everything.
# Name the enclaves: sealserve gramine measure FILE.sig, sealserve policy add-measurement.
version = 2
trust_root = "intel"
"""


class Policy(NamedTuple):
    """The policy's text, how many enclaves it names, where it is from, and the faults on the way.

    `source` is None where everything is denied.
    """

    text: str
    enclaves: int
    source: str | None
    faults: tuple[Weakness, ...]


def in_manifest(item: Item) -> Iterator[Weakness]:
    """What the manifest lets the host do, read as of the newest Gramine."""
    try:
        weaknesses = lint_manifest(item.text, parse_version(LATEST))
    except UsageError as error:
        yield of_rule(UNREADABLE, item.shown, None, error.message)
        return
    for each in weaknesses:
        yield replace(each, file=item.shown)


def in_qcnl(item: Item) -> Iterator[Weakness]:
    """What is wrong with the quote provider's configuration."""
    for each in lint_qcnl(item.data):
        severity = Severity.ERROR if each.is_error else Severity.WARNING
        name = each.key.replace("_", "-") if each.key in _QCNL_KEYS else "form"
        yield Weakness(
            severity,
            _line(item.text, each.key),
            f"qcnl.{name}",
            each.found,
            each.consequence,
            each.cure,
            item.shown,
        )


def _line(text: str, key: str) -> int | None:
    """Where the key stands first."""
    at = text.lower().find(key.lower()) if key else -1
    return None if at < 0 else text.count("\n", 0, at) + 1


def make_policy(items: tuple[Item, ...], secret: str, now: datetime) -> Policy:
    """The policy of the first ra_config.json; one that denies everything where that cannot be."""
    if not items:
        return Policy(_DENY_ALL.format(reason="There was no ra_config.json"), 0, None, ())
    item = items[0]
    faults = [of_rule(MANY, each.shown, None, "another ra_config.json") for each in items[1:]]
    denied = _DENY_ALL.format(reason="ra_config.json could not be carried over")
    if len(item.data) > RA_CONFIG_LIMIT:
        faults.append(of_rule(UNREADABLE, item.shown, None, f"larger than {RA_CONFIG_LIMIT} bytes"))
        return Policy(denied, 0, None, tuple(faults))
    try:
        imported = import_ra_config(item.text, Wish(secret, "raw"), now, None)
    except UsageError as error:
        faults.append(of_rule(UNREADABLE, item.shown, None, error.message))
        return Policy(denied, 0, None, tuple(faults))
    faults += [of_finding(each, item.shown, _OTHERWISE) for each in imported.findings]
    if imported.text is None:
        return Policy(denied, 0, None, tuple(faults))
    return Policy(imported.text, imported.enclaves, item.shown, tuple(faults))
