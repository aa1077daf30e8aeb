"""`sealserve gramine lint`: what a manifest lets the host do, and what its Gramine makes of it.

Every rule has a stable code, a severity, a consequence and a cure; docs/gramine.md lists them.
Nothing is opened and nothing is filled in: the manifest's text is all that is looked at.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

from sealserve.deploy.gramine import (
    lint_enclave,
    lint_environment,
    lint_files,
    lint_host,
    lint_versions,
)
from sealserve.deploy.gramine.manifest import Manifest
from sealserve.deploy.gramine.rule import Found
from sealserve.deploy.gramine.schema import Version
from sealserve.deploy.weakness import Severity, Weakness

RULES: Final = (
    *lint_host.RULES,
    *lint_files.RULES,
    *lint_environment.RULES,
    *lint_enclave.RULES,
    *lint_versions.RULES,
)
FOUND_LIMIT: Final = 1000
"""Weaknesses of one kind of question that are shown of one manifest."""

_WORST_FIRST: Final = tuple(Severity)


def lint_manifest(text: str, version: Version) -> tuple[Weakness, ...]:
    """The weaknesses of the manifest, or template, in `text`, by line and then the worst first.

    Raises ConfigError for what cannot be read.
    """
    manifest = Manifest(text)
    found = (
        *islice(lint_host.found_in_options(manifest), FOUND_LIMIT),
        *islice(lint_files.found_in_files(manifest), FOUND_LIMIT),
        *islice(lint_environment.found_in_environment(manifest), FOUND_LIMIT),
        *islice(lint_enclave.found_in_enclave(manifest, version), FOUND_LIMIT),
        *islice(lint_versions.found_in_keys(manifest, version), FOUND_LIMIT),
    )
    weaknesses = (_weakness(manifest, each) for each in found)
    return tuple(
        sorted(weaknesses, key=lambda each: (each.line or 0, _WORST_FIRST.index(each.severity)))
    )


def _weakness(manifest: Manifest, found: Found) -> Weakness:
    rule = found.rule
    return Weakness(
        rule.severity,
        manifest.line(found.place),
        rule.code,
        found.message,
        rule.consequence,
        found.cure or rule.cure,
    )
