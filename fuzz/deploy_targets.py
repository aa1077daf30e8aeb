"""What an operator's commands read: descriptions, and the text forms of the server's files.

Most are their author's own, read once; `models.config` and `ssl.cfg` may be somebody else's.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle, islice
from typing import Final

from fuzz import hostile, seeds
from fuzz.target import Target
from sealserve.deploy.certificates import Validity, make_authority, make_server
from sealserve.deploy.description.reading import DESCRIPTION_LIMIT, FAULT_LIMIT, check_description
from sealserve.deploy.description.writing import Another, Answers, describe
from sealserve.deploy.migration.files import TEXT_LIMIT
from sealserve.deploy.migration.models_config import read_models_config
from sealserve.deploy.tls_check import read_tls_file
from sealserve.deploy.tls_folder import render_ssl_config
from sealserve.errors import ConfigError
from sealserve.policies.finding import Severity

_MODEL: Final = b'config { name: "a" base_path: "/models/a" }\n'
_TOML_WORDS: Final = (b"[[models]]\n", b"[server]\n", b"[tls]\n", b"[key_service]\n", b" = ")
_TEXT_WORDS: Final = (b"model_config_list {", b"config {", b"client_verify: true", b'\\n"', b" <")


def _description(data: bytes) -> None:
    """Either a description, or faults that each have a line, a cure and nothing for terminals."""
    text = data.decode("utf-8", "replace")
    checked = check_description(text)
    wrong = [each for each in checked.findings if each.severity is Severity.ERROR]
    assert bool(wrong) is (checked.description is None)
    assert len(wrong) <= FAULT_LIMIT + 1
    for each in checked.findings:
        assert 1 <= each.line <= text.count("\n") + 1
        assert each.message
        assert each.hint
    if checked.description is not None:
        again = type(checked.description).model_validate(checked.description.model_dump())
        assert again.digest == checked.description.digest


def _models_config(data: bytes) -> None:
    """Each model has a name, a path and a line of the text."""
    text = data.decode("utf-8", "replace")
    for each in read_models_config(text):
        assert each.name
        assert each.base_path
        assert 1 <= each.line <= text.count("\n") + 1


def _ssl_config(data: bytes) -> None:
    """One of two modes, or refused."""
    assert read_tls_file(data, seeds.NOW).mode in ("oneway", "mutual")


def _descriptions() -> list[bytes]:
    other = Another("two", "models/two", "1G")
    texts = (
        describe(Answers(), (other,)),
        describe(Answers(kind="sealserve", tls="mutual", gramine="1.5", cloud="azure")),
    )
    dotted = 'server.kind = "sealserve"\nserver.port = 8500\nmodels = [{ name = "a" }]\n'
    return [*(text.encode() for text in texts), dotted.encode()]


def _models_configs() -> list[bytes]:
    versions = (
        b'model_version_policy { specific { versions: [1, 2] } } model_platform: "tensorflow"'
    )
    return [
        b"model_config_list {\n" + _MODEL + _MODEL.replace(b'"a"', b"'b'") + b"}\n",
        b'model_config_list: < config: < name: "a" "b", base_path: "x"; ' + versions + b" > >\n",
    ]


def _ssl_configs() -> list[bytes]:
    validity = Validity(seeds.NOW, 30)
    authority = make_authority(validity)
    server = make_server(["grpc.example.com"], validity, issuer=authority)
    return [render_ssl_config(server, client_ca=each) for each in (None, authority.certificate_pem)]


def _large_descriptions() -> hostile.Inputs:
    """As many faults as fit, of each kind, and what is compared with all before it."""
    keys = islice(cycle(range(36**3)), DESCRIPTION_LIMIT // 8)
    return {
        **hostile.toml(DESCRIPTION_LIMIT),
        "models": hostile.filled(b"[[models]]\n", DESCRIPTION_LIMIT),
        "models alike": hostile.filled(
            b'[[models]]\nname="a"\nbase_path="m"\nkey="k"\nsize="1M"\n',
            DESCRIPTION_LIMIT,
            _descriptions()[1],
        ),
        "inline models": hostile.filled(b"{},", DESCRIPTION_LIMIT, b"models=[", b"]"),
        "keys that are unknown": b"".join(b"k%06x=1\n" % n for n in keys)[:DESCRIPTION_LIMIT],
        "a key that is unknown": hostile.filled(b"k", DESCRIPTION_LIMIT, b"", b"=1"),
        "a hex number": hostile.filled(b"F", DESCRIPTION_LIMIT, b"replicas=0x"),
        "a domain": hostile.filled(b"a.", DESCRIPTION_LIMIT, b'domain="', b'"'),
        "an address": hostile.filled(b":", DESCRIPTION_LIMIT, b'key_service.address="', b'"'),
        "a size": hostile.filled(b"9", DESCRIPTION_LIMIT, b'models=[{size="', b'G"}]'),
        "a Gramine": hostile.filled(b"1", DESCRIPTION_LIMIT, b'gramine.version="', b'.9"'),
    }


def _large_texts(before: bytes) -> Callable[[], hostile.Inputs]:
    parts = {
        "quotes": b'"',
        "empty texts": b'"" ',
        "escapes": b"\\n",
        "brackets": b"[",
        "messages": b"a{",
        "fields": b"a:1 ",
        "comments": b"#\n",
        "lines": b"\n",
        "models": _MODEL,
        "names": b"abc",
    }
    return lambda: {name: hostile.filled(part, TEXT_LIMIT, before) for name, part in parts.items()}


def _large_ssl_configs() -> hostile.Inputs:
    sound = _ssl_configs()[0]
    start, chain, end = sound.partition(b"-----BEGIN CERTIFICATE-----")
    certificate, quote, _ = (chain + end).partition(b'"')
    return {
        **_large_texts(b'server_key: "a" ')(),
        "a text": hostile.filled(b"\\n", TEXT_LIMIT, b'server_cert: "', b'"'),
        "certificates": hostile.filled(certificate, TEXT_LIMIT, start, quote),
    }


DEPLOY: dict[str, Target] = {
    "description": Target(
        _description, (), _descriptions, _large_descriptions, _TOML_WORDS, seconds=1.0
    ),
    "models-config": Target(
        _models_config,
        *((ConfigError,), _models_configs, _large_texts(b"model_config_list {"), _TEXT_WORDS),
        seconds=2.0,
    ),
    "ssl-config": Target(
        _ssl_config,
        *((ConfigError,), _ssl_configs, _large_ssl_configs, _TEXT_WORDS),
        seconds=2.0,
    ),
}
