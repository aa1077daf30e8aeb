"""Dockerfiles, start scripts and requirements: what they build in, start and publish.

Line by line, by what the published files do; a shell or a builder is not imitated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from sealserve.deploy.migration.fault import of_finding, of_rule
from sealserve.deploy.migration.files import Item
from sealserve.deploy.weakness import Rule, Severity, Weakness
from sealserve.policies.insecure import read_start_script, refusals

UNSIGNED_PACKAGES: Final = Rule(
    "image.unsigned-packages",
    Severity.ERROR,
    "apt takes packages that nobody signed: whoever is on the way chooses what the enclave runs",
    "signed-by=/etc/apt/keyrings/….gpg in place of trusted=yes",
)
HTTP_PACKAGES: Final = Rule(
    "image.http-source",
    Severity.WARNING,
    "what is built in comes over a connection that anybody on the way can change",
    "https, and a pinned digest or signature",
)
SIGNING_KEY: Final = Rule(
    "image.signing-key",
    Severity.ERROR,
    "whoever has the image signs enclaves in the owner's name; each build has another MRSIGNER",
    "sign outside of the image, with a key that stays there: gramine-sgx-sign --key",
)
BAKED_KEY: Final = Rule(
    "image.baked-key",
    Severity.ERROR,
    "whoever can pull the image has the key",
    "remove it and replace the key; the key service releases keys to attested enclaves alone",
)
DEBUG_BUILD: Final = Rule(
    "image.debug-build",
    Severity.WARNING,
    "Gramine itself is built for debugging: slower, and more is logged to the host",
    "--buildtype=release, or a released package",
)
LENIENT: Final = "the key server releases the key to debug enclaves or outdated platforms"
_SWITCH_OFF: Final = (
    "switch it off; or answer for it: sealserve policy import --start-script, with its --exception "
    "options"
)
PLAIN_REST: Final = Rule(
    "script.plain-rest",
    Severity.ERROR,
    "REST is published in plaintext: requests and answers can be read on the way and by the host",
    "publish 8500 alone; `sealserve serve` has REST under TLS",
)
PRIVILEGED: Final = Rule(
    "script.privileged",
    Severity.ERROR,
    "whoever breaks out of the program is root of the machine",
    "--device /dev/sgx_enclave and --device /dev/sgx_provision in place of --privileged",
)
QUOTED_COMMAND: Final = Rule(
    "script.quoted-command",
    Severity.ERROR,
    "the shell looks for a program by the whole text as its name, and does not run what was meant",
    "remove the quotes around the command; `sealserve keyservice run` needs no such script",
)
UNPINNED: Final = Rule(
    "client.requirements",
    Severity.WARNING,
    "the published list cannot be resolved, and nothing in it is held to a digest",
    "it is not needed: pip install 'sealserve[client]', then sealserve predict",
)
RULES: Final = (
    *(UNSIGNED_PACKAGES, HTTP_PACKAGES, SIGNING_KEY, BAKED_KEY, DEBUG_BUILD),
    *(PLAIN_REST, PRIVILEGED, QUOTED_COMMAND, UNPINNED),
)

_IN_IMAGES: Final = (
    (UNSIGNED_PACKAGES, re.compile(r"\btrusted=yes\b"), "packages are taken unsigned"),
    (
        HTTP_PACKAGES,
        re.compile(r"\b(?:deb|curl|wget|git|ADD)\b[^#\n]{0,300}\bhttp://", re.IGNORECASE),
        "something is fetched over plain http",
    ),
    (
        SIGNING_KEY,
        re.compile(r"\bopenssl genrsa\b|\bgramine-sgx-gen-private-key\b"),
        "the enclave's signing key is made inside the image",
    ),
    (
        BAKED_KEY,
        re.compile(r"^\s*(?:COPY|ADD)\b[^#\n]*(?:wrap[-_]key|\.key\b|[-_]key\.pem)", re.IGNORECASE),
        "a key is copied into the image",
    ),
    (DEBUG_BUILD, re.compile(r"--buildtype=debug\b"), "Gramine is built for debugging"),
)
_IN_SCRIPTS: Final = (
    (
        PLAIN_REST,
        re.compile(
            r"--rest_api_port[= ](?!0\b)|(?:-p|--publish)[ =]\S{0,100}(?::|-)8501\b", re.IGNORECASE
        ),
        "the port of REST is opened",
    ),
    (PRIVILEGED, re.compile(r"--privileged\b(?!=false)"), "a privileged container is started"),
    (
        QUOTED_COMMAND,
        re.compile(
            r"^\s*(?:(['\"])(?:docker|cd|cp|mkdir|sudo|exec|openssl)|"
            r"\w+=(['\"])(?:readlink|realpath|dirname|basename))\s[^'\"]*['\"]\s*$"
        ),
        "a command stands in quotes",
    ),
)


def in_image(item: Item) -> Iterator[Weakness]:
    """What is wrong in a Dockerfile."""
    for number, line in _lines(item):
        for rule, pattern, message in _IN_IMAGES:
            if pattern.search(line):
                yield of_rule(rule, item.shown, number, message)


def in_script(item: Item) -> Iterator[Weakness]:
    """What is wrong in a shell script."""
    allowed, unclear = read_start_script(item.text, item.shown)
    for found in refusals(allowed):
        yield replace(of_finding(found, item.shown, LENIENT), cure=_SWITCH_OFF)
    for found in unclear:
        yield of_finding(found, item.shown, LENIENT)
    for number, line in _lines(item):
        for rule, pattern, message in _IN_SCRIPTS:
            if pattern.search(line):
                yield of_rule(rule, item.shown, number, message)


def in_requirements(item: Item) -> Iterator[Weakness]:
    """A list of packages without digests."""
    if any(True for _ in _lines(item)) and "--hash=" not in item.text:
        yield of_rule(UNPINNED, item.shown, None, "the packages of the client, without digests")


def _lines(item: Item) -> Iterator[tuple[int, str]]:
    """The lines that are neither empty nor comments, numbered from 1."""
    for number, line in enumerate(item.text.split("\n"), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, line
