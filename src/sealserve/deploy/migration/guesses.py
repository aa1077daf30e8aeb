"""What the folder says, or seems to say, of the service: each answer with where it is from.

Every guess is tried in a description before it is taken, so that none makes one that is not valid;
the others stay as they are suggested.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Final

from sealserve.deploy.description.writing import Answers, describe
from sealserve.deploy.migration.cluster import is_service
from sealserve.deploy.migration.fault import printable
from sealserve.deploy.migration.files import Gathered, Item, Kind
from sealserve.deploy.migration.keys import common_name, names, read_certificate
from sealserve.errors import UsageError

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


def guess(gathered: Gathered, secret: str) -> tuple[Answers, tuple[Guess, ...]]:
    """The answers for a description; UsageError where the secret's name is none."""
    found = dict(_found(gathered))
    answers = replace(Answers(), key=secret)
    describe(answers)
    model = found.get("model")
    guesses: list[Guess] = []
    for each in fields(Answers):
        if each.name == "key":
            guesses.append(Guess("key", secret, "--secret"))
            continue
        value, source = found.get(each.name, (None, "nothing says it: suggested"))
        if each.name == "base_path" and model is not None:
            value, source = f"models/{answers.model}", "from the model's name"
        tried = _with(answers, each.name, value)
        if tried is not None:
            answers = tried
        elif value is not None:
            source = f"{source} has {printable(str(value))}, which no description takes: suggested"
        guesses.append(Guess(each.name, str(getattr(answers, each.name)), source))
    return answers, tuple(guesses)


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
    named = [_search(each, _MODEL) for each in (*manifests, *clusters, *scripts)]
    yield from _model(gathered.models, next((each for each in named if each), None))
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
        name = next(iter(names(certificate)), None) or common_name(certificate)
        if name:
            yield "domain", (name, f"{item.shown}: the certificate's name")
            return


def _model(
    models: Mapping[str, Mapping[str, int]], named: tuple[str, str] | None
) -> Iterator[tuple[str, tuple[str, str]]]:
    name = named[0] if named else min(models, default=None)
    if name is None:
        return
    others = sorted(set(models) - {name})
    more = f"; of {len(others) + 1} models: add [[models]] for the others" if others else ""
    yield "model", (name, (named[1] if named else "the folder models/") + more)
    versions = models.get(name)
    if versions:
        largest = max(versions.values())
        size = f"{max(1, -(-largest // _MIB))}M"
        yield "size", (size, f"measured: the largest version in models/ has {largest} bytes")


def _tls(gathered: Gathered) -> Iterator[tuple[str, tuple[str, str]]]:
    for item in gathered.of(Kind.TLS_CONFIG):
        if _MUTUAL.search(item.text):
            yield "tls", ("mutual", f"{item.shown}: client_verify is true")
            return
    for item in gathered.of(Kind.PEM):
        if "ssl_configure/client/" in item.path:
            yield "tls", ("mutual", f"{item.shown}: clients have certificates")
            return
