"""What the folder says, or seems to say, of the service: each answer with where it is from.

Every guess is tried in a description before it is taken, so that none makes one that is not valid;
the others stay as they are suggested.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Final

from sealserve.deploy.certificates import dns_names
from sealserve.deploy.description.writing import Another, Answers, describe
from sealserve.deploy.migration.cluster import is_service
from sealserve.deploy.migration.fault import of_rule, printable
from sealserve.deploy.migration.files import Gathered, Item, Kind
from sealserve.deploy.migration.keys import common_name, read_certificate
from sealserve.deploy.migration.models import Found
from sealserve.deploy.weakness import Rule, Severity, Weakness
from sealserve.errors import UsageError

NOT_DESCRIBED: Final = Rule(
    "models.not-described",
    Severity.ERROR,
    "it is not in the description",
    "give it a name and a path that a description takes, and add a [[models]] table for it",
)
MODELS: Final = 100

_MIB: Final = 1 << 20
_VALUE: Final = r"[ \t]*[\"']?([A-Za-z0-9][A-Za-z0-9.:_-]{0,252})"
_CLUSTER: Final = re.compile(
    r"^kind:[ \t]*[\"']?Deployment[\"']?[ \t]*\nmetadata:[ \t]*\n"
    rf"(?:  [^\n]{{0,300}}\n){{0,20}}?  name:{_VALUE}",
    re.MULTILINE,
)
_REPLICAS: Final = re.compile(r"^  replicas:[ \t]*([0-9]{1,4})\b", re.MULTILINE)
_HOST: Final = re.compile(rf"^[ \t]*(?:- )?host:{_VALUE}", re.MULTILINE)
_MODEL: Final = (
    re.compile(rf"--model_name[= ]{_VALUE}"),
    re.compile(rf"name:[ \t]*[\"']?model_name[\"']?[ \t]*\n[ \t]*value:{_VALUE}"),
    re.compile(rf"^[ \t]*(?:-e[ \t]+|export[ \t]+)?model_name={_VALUE}", re.MULTILINE),
)
_KEY_SERVICE: Final = re.compile(
    r"SECRET_PROVISION_SERVERS\"?[ \t]*=[ \t]*[\"']?([A-Za-z0-9.:-]{1,260})"
)
_GRAMINE: Final = re.compile(
    r"(?:GRAMINE_VERSION=|git checkout |gramine[=_-])(?:devel-)?v?([0-9]\.[0-9]{1,2})\b"
)
_MUTUAL: Final = re.compile(r"client_verify[ \t]*:[ \t]*true\b")
_CLOUDS: Final = {
    "azure": ".azure.",
    "alibaba": ".aliyuncs.com",
    "tencent": ".tencent.cn",
    "bytedance": ".bytedance.com",
}


@dataclass(frozen=True, slots=True)
class Guess:
    """One answer: `source` says where it was found, or that it was not."""

    key: str
    value: str
    source: str


@dataclass(frozen=True, slots=True)
class Guessed:
    """What makes the description, where each of it is from, and the models that are not in it."""

    answers: Answers
    others: tuple[Another, ...]
    guesses: tuple[Guess, ...]
    faults: tuple[Weakness, ...]


def guess(
    gathered: Gathered,
    secret: str,
    key: str,
    models: tuple[Found, ...],
    tls: tuple[str, str] | None,
) -> Guessed:
    """The answers for a description of these models; UsageError where the secret's name is none.

    `key` says where it is from that the secret seals them all; `tls` is the mode and its source,
    where ssl.cfg was opened.
    """
    found = dict(_found(gathered))
    answers = replace(Answers(), key=secret)
    describe(answers)
    described, faults = _described(answers, models)
    found |= _of_model(next(iter(described or models), None))
    if tls is not None:
        found["tls"] = tls
    guesses: list[Guess] = []
    for each in fields(Answers):
        if each.name == "key":
            guesses.append(Guess("key", secret, key))
            continue
        value, source = found.get(each.name, (None, "nothing says it: suggested"))
        tried = _with(answers, each.name, value)
        if tried is not None:
            answers = tried
        elif value is not None:
            source = f"{source} has {printable(str(value))}, which no description takes: suggested"
        guesses.append(Guess(each.name, str(getattr(answers, each.name)), source))
    others = tuple(map(_another, described[1:]))
    for number, model in enumerate(described[1:], start=2):
        value = f"{model.name}, {model.base_path}, {_another(model).size}"
        guesses.append(Guess(f"model {number}", value, model.source))
    return Guessed(answers, others, tuple(guesses), faults)


def _described(
    answers: Answers, models: tuple[Found, ...]
) -> tuple[list[Found], tuple[Weakness, ...]]:
    """The models that one description takes, side by side."""
    taken: list[Found] = []
    faults: list[Weakness] = []
    for model in models:
        if len(taken) == MODELS:
            message = f"{len(models)} models, and a description has {MODELS}"
            faults.append(of_rule(NOT_DESCRIBED, printable(model.base_path), None, message))
            break
        first, *others = map(_another, (*taken, model))
        main = replace(answers, model=first.model, base_path=first.base_path, size=first.size)
        try:
            describe(main, tuple(others))
        except UsageError as error:
            place = f"{printable(model.name)} at {printable(model.base_path)}"
            faults.append(of_rule(NOT_DESCRIBED, place, None, printable(error.message)))
            continue
        taken.append(model)
    return taken, tuple(faults)


def _another(model: Found) -> Another:
    size = Answers().size if model.size is None else f"{max(1, -(-model.size // _MIB))}M"
    return Another(model.name, model.base_path, size)


def _of_model(model: Found | None) -> Iterator[tuple[str, tuple[str, str]]]:
    if model is None:
        return
    yield "model", (model.name, model.source)
    yield "base_path", (model.base_path, model.source)
    if model.size is not None:
        source = f"measured: the largest version has {model.size} bytes"
        yield "size", (_another(model).size, source)


def model_name(gathered: Gathered) -> tuple[str, str] | None:
    """The first name of a model that a manifest, a Deployment or a script says, and its place."""
    clusters = [each for each in gathered.of(Kind.CLUSTER) if is_service(each)]
    items = (*gathered.of(Kind.MANIFEST), *clusters, *gathered.of(Kind.SCRIPT))
    return next((match for each in items if (match := _search(each, _MODEL))), None)


def _with(answers: Answers, name: str, value: str | None) -> Answers | None:
    if value is None:
        return None
    try:
        given = int(value) if name == "replicas" else value
        changed = replace(answers, **{name: given})  # type: ignore[arg-type]
        describe(changed)
    except UsageError:
        return None
    return changed


def _found(gathered: Gathered) -> Iterator[tuple[str, tuple[str, str]]]:
    clusters = [each for each in gathered.of(Kind.CLUSTER) if is_service(each)]
    manifests, scripts = gathered.of(Kind.MANIFEST), gathered.of(Kind.SCRIPT)
    searched = {
        "cluster": ((_CLUSTER,), clusters),
        "replicas": ((_REPLICAS,), clusters),
        "key_service": ((_KEY_SERVICE,), (*manifests, *scripts)),
        "gramine": ((_GRAMINE,), gathered.of(Kind.IMAGE)),
        "domain": ((_HOST,), clusters),
    }
    for name, (patterns, items) in searched.items():
        match = next((_search(each, patterns) for each in items if _search(each, patterns)), None)
        if match is not None:
            yield name, match
        elif name == "domain":
            yield from _of_certificates(gathered)
    yield from _tls(gathered)
    for item in gathered.of(Kind.QCNL):
        for cloud, sign in _CLOUDS.items():
            if sign in item.text:
                yield "cloud", (cloud, f"{item.shown}: the service that it asks")


def _search(item: Item, patterns: tuple[re.Pattern[str], ...]) -> tuple[str, str] | None:
    for pattern in patterns:
        match = pattern.search(item.text)
        if match:
            line = item.text.count("\n", 0, match.start(1)) + 1
            return match[1], f"{item.shown}:{line}"
    return None


def _of_certificates(gathered: Gathered) -> Iterator[tuple[str, tuple[str, str]]]:
    """The name of the server's certificate: its first DNS name, or its common name."""
    for item in gathered.of(Kind.PEM):
        certificate = read_certificate(item) if "server" in item.path else None
        if certificate is None:
            continue
        name = next(iter(dns_names(certificate)), None) or common_name(certificate)
        if name:
            yield "domain", (name, f"{item.shown}: the certificate's name")
            return


def _tls(gathered: Gathered) -> Iterator[tuple[str, tuple[str, str]]]:
    for item in gathered.of(Kind.TLS_CONFIG):
        if _MUTUAL.search(item.text):
            yield "tls", ("mutual", f"{item.shown}: client_verify is true")
            return
    for item in gathered.of(Kind.PEM):
        if "ssl_configure/client/" in item.path:
            yield "tls", ("mutual", f"{item.shown}: clients have certificates")
            return
