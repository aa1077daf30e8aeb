"""A new description, with comments, from a few answers.

The answers go into TOML texts, so a character that could end one is refused; all else is judged by
`reading`, as in a file that a person wrote.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any, Final

from sealserve.deploy.description.reading import check_description
from sealserve.errors import UsageError

_UNSAFE: Final = re.compile(r'["\\\x00-\x1f\x7f]')


@dataclass(frozen=True, slots=True)
class Answers:
    """What `sealserve deploy init` asks for; the defaults describe a service of one model."""

    cluster: str = "digits"
    domain: str = "grpc.example.com"
    cloud: str = "generic"
    replicas: int = 2
    model: str = "digits"
    base_path: str = "models/digits"
    key: str = "digits"
    size: str = "100M"
    kind: str = "tensorflow-serving"
    tls: str = "oneway"
    key_service: str = "keys.example.com:4433"
    gramine: str = "1.9"


@dataclass(frozen=True, slots=True)
class Another:
    """A model beside the first, sealed with the same key."""

    model: str
    base_path: str
    size: str


def describe(answers: Answers, others: tuple[Another, ...] = ()) -> str:
    """The text of a valid description; UsageError for answers that make none."""
    values = _values(answers)
    more = "".join(_MODEL.format(**_values(each), key=answers.key) for each in others)
    text = _TEXT.format(**values, more=more)
    checked = check_description(text)
    if checked.description is None:
        first = checked.findings[0]
        raise UsageError(first.message, hint=first.hint)
    return text


def _values(answers: Answers | Another) -> dict[str, Any]:
    values = {each.name: getattr(answers, each.name) for each in fields(answers)}
    for name, value in values.items():
        if _UNSAFE.search(str(value)):
            raise UsageError(f"{name}: {value!r:.80} has signs that no such value has")
    return values


_MODEL = """
[[models]]
name = "{model}"
base_path = "{base_path}"
key = "{key}"
size = "{size}"
"""

_TEXT = """\
# One description of a service: everything that runs it is rendered from this file.
# Check it after every change: sealserve deploy check FILE. It holds no secret.

cluster = "{cluster}"    # the name of the service, in all that is rendered
domain = "{domain}"    # the host name that clients connect to
cloud = "{cloud}"    # alibaba, anolis, azure, bytedance, generic, tencent
replicas = {replicas}

[[models]]
name = "{model}"    # clients ask for it
base_path = "{base_path}"    # the folder of its versions; sealed for this very path
key = "{key}"    # the secret that it is sealed with, by its name in the key service
size = "{size}"    # what a version's files take
signature = "serving_default"
{more}
[server]
kind = "{kind}"    # tensorflow-serving: the stock server; sealserve: ours
port = 8500
threads = 4    # that compute
enclave_size = "automatic"    # or a power of two, such as "8G"
batching = false

[tls]
mode = "{tls}"    # oneway, or mutual: clients show a certificate too
config = "ssl.cfg"    # sealed like the models, with the same key

[key_service]
address = "{key_service}"
ca = "key-service-ca.pem"    # decides whose key service the enclave believes: it is measured

[gramine]
version = "{gramine}"
edmm = false    # memory added while it runs: SGX2 and Linux 6.0
product = 0
svn = 1    # raise it with each fix that old enclaves must not outlive
"""
