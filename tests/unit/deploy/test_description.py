"""The one description: what it means, and what a person is told who wrote it wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealserve.deploy.clouds import CLOUDS
from sealserve.deploy.description.model import Description
from sealserve.deploy.description.reading import check_description, load_description
from sealserve.errors import ConfigError
from sealserve.policies.finding import Severity

GOOD = """\
cluster = "digits"
domain = "grpc.example.com"
cloud = "generic"
replicas = 2

[[models]]
name = "digits"
base_path = "models/digits"
key = "digits"
size = "100M"
signature = "serving_default"

[server]
kind = "sealserve"
port = 8500
threads = 4
enclave_size = "automatic"
batching = false

[tls]
mode = "oneway"
config = "ssl.cfg"

[key_service]
address = "keys.example.com:4433"
ca = "key-service-ca.pem"

[gramine]
version = "1.9"
edmm = false
product = 0
svn = 0
"""
SECOND = '[[models]]\nname = "two"\nbase_path = "models/two"\nkey = "digits"\nsize = "1M"\n\n'

# A line of the good description, what stands there instead, the line that is named, and words of
# the message and of the hint.
BAD = {
    "no TOML": ("replicas = 2", "replicas = ", 4, "is not TOML", "a value behind"),
    "a text without end": ('"digits"\ndomain', '"digits\ndomain', 1, "is not TOML", "toml.io"),
    "a key twice": ("replicas = 2", "replicas = 2\nreplicas = 3", 5, "is not TOML", "once"),
    "a cluster in capitals": ('cluster = "digits"', 'cluster = "Digits"', 1, "small letter", "="),
    "an empty cluster": ('cluster = "digits"', 'cluster = ""', 1, "small letter", "cluster"),
    "a long cluster": ('cluster = "digits"', f'cluster = "{"x" * 50}"', 1, "small", "cluster"),
    "a cluster that is a number": ('cluster = "digits"', "cluster = 5", 1, "expected text", "="),
    "no cluster": ('cluster = "digits"\n', "", 1, "cluster is missing", 'cluster = "digits"'),
    "no domain": ('domain = "grpc.example.com"\n', "", 1, "domain is missing", "grpc.example"),
    "a domain with a port": ("grpc.example.com", "grpc.example.com:1", 2, "no host name", "domain"),
    "a domain with Jinja": ("grpc.example.com", "{{ env }}", 2, "no host name", "domain"),
    "a domain that is an address": ("grpc.example.com", "10.0.0.1", 2, "IP address", "domain"),
    "a cloud nobody knows": ('"generic"', '"gcp"', 3, "'gcp'", "cloud list"),
    "no replicas": ("replicas = 2", "replicas = 0", 4, "at least 1", "replicas"),
    "half a replica": ("replicas = 2", "replicas = 0.5", 4, "whole number", "replicas = 2"),
    "replicas as text": ("replicas = 2", 'replicas = "2"', 4, "whole number", "replicas = 2"),
    "too many replicas": ("replicas = 2", "replicas = 5000", 4, "1000", "replicas = 2"),
    "an unknown key": ("replicas = 2", "replica = 2", 4, "unknown key replica", "write replicas"),
    "an unknown table": ("[tls]", "[tlss]\nx = 1\n[tls]", 20, "unknown key tlss", "write tls"),
    "a model without name": ('name = "digits"\n', "", 6, "name is missing", "clients ask for"),
    "a name with a quote": ('name = "digits"', "name = 'di\"gits'", 7, "letters", "name ="),
    "a name with a slash": ('name = "digits"', 'name = "a/b"', 7, "letters", "name ="),
    "a path from the root": ('"models/digits"', '"/models/digits"', 8, "in front", "base_path"),
    "a path that climbs": ('"models/digits"', '"models/../x"', 8, "no ..", "base_path"),
    "a path with a slash behind": (
        '"models/digits"',
        '"models/digits/"',
        8,
        "at the end",
        "base_path",
    ),
    "a path with spaces": ('"models/digits"', '"my models"', 8, "letters", "base_path"),
    "a path without end": ('"models/digits"', f'"{"m" * 201}"', 8, "200", "base_path"),
    "a path among the system's": ('"models/digits"', '"usr/x"', 8, "system's own", "models/"),
    "a model on ssl.cfg": ('"models/digits"', '"ssl.cfg"', 22, "the same", "a path for each"),
    "no key": ('key = "digits"\n', "", 6, "key is missing", "secret"),
    "a key by its value": ('key = "digits"', 'key = ["00"]', 9, "expected text", "secret"),
    "no size": ('size = "100M"\n', "", 6, "size is missing", 'size = "98M"'),
    "a size without unit": ('"100M"', '"100"', 10, "from 1M to 512G", "size"),
    "a size in other units": ('"100M"', '"100MB"', 10, "from 1M to 512G", "size"),
    "a size beyond all enclaves": ('"100M"', '"600G"', 10, "from 1M to 512G", "size"),
    "models as a table": ("[[models]]", "[models]", 6, "expected a list", "[[models]]"),
    "an empty list of models": (
        GOOD[GOOD.index("[[models]]") : GOOD.index("[server]")],
        "models = []\n",
        6,
        "found 0 models",
        "[[models]]",
    ),
    "a name twice": ("[server]", SECOND.replace('"two"', '"digits"') + "[server]", 14, "two", "a"),
    "two keys": (
        "[server]",
        SECOND.replace('key = "digits"', 'key = "x"') + "[server]",
        16,
        "one key",
        "describe two services",
    ),
    "a model in another": (
        "[server]",
        SECOND.replace("models/two", "models/digits/2") + "[server]",
        15,
        "lies in the other",
        "a path for each",
    ),
    "another server": ('"sealserve"', '"triton"', 14, "'triton'", "the stock server"),
    "no kind": ('kind = "sealserve"\n', "", 13, "kind is missing", "kind ="),
    "REST": ("port = 8500", "port = 8500\nrest_port = 8501", 16, "REST is not", "leave it out"),
    "a port of root's": ("port = 8500", "port = 443", 15, "1024", "port = 8500"),
    "a port beyond": ("port = 8500", "port = 70000", 15, "65535", "port = 8500"),
    "no thread": ("threads = 4", "threads = 0", 16, "at least 1", "threads = 4"),
    "threads as a switch": ("threads = 4", "threads = true", 16, "whole number", "threads = 4"),
    "an enclave of 3G": ('"automatic"', '"3G"', 17, "power of two", "enclave_size"),
    "an enclave of no size": ('"automatic"', '"big"', 17, "size", "enclave_size"),
    "batching as text": ("batching = false", 'batching = "no"', 18, "true or false", "batching"),
    "no such TLS": ('"oneway"', '"none"', 21, "'none'", 'mode = "oneway"'),
    "no TLS": ('[tls]\nmode = "oneway"\nconfig = "ssl.cfg"\n', "", 1, "tls is missing", "mode"),
    "a key service without port": (":4433", "", 25, "is no address", "address ="),
    "a key service as a URL": ('"keys.', '"https://keys.', 25, "no address", "address ="),
    "a key service on our port": (
        "keys.example.com:4433",
        "grpc.example.com:8500",
        25,
        "very",
        "n",
    ),
    "no CA": ('ca = "key-service-ca.pem"\n', "", 24, "ca is missing", "authority"),
    "a CA elsewhere": ('"key-service-ca.pem"', '"/etc/ca.pem"', 26, "in front", "ca ="),
    "an old Gramine": ('"1.9"', '"1.4"', 29, "without the key", "1.5 to 1.9"),
    "a Gramine to come": ('"1.9"', '"2.0"', 29, "expected one of 1.5", "1.5 to 1.9"),
    "a Gramine that is a number": ('"1.9"', "1.9", 29, "expected text", 'version = "1.9"'),
    "EDMM as a number": ("edmm = false", "edmm = 1", 30, "true or false", "edmm = false"),
    "an SVN too high": ("svn = 0", "svn = 65536", 32, "65535", "svn = 1"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_description_is_refused_with_one_message_its_line_and_a_hint(name: str) -> None:
    good, bad, line, message, hint = BAD[name]
    assert good in GOOD
    checked = check_description(GOOD.replace(good, bad, 1))
    assert checked.description is None
    (found,) = checked.findings
    assert found.severity is Severity.ERROR
    assert (found.line, message in found.message, hint in found.hint) == (line, True, True), found


def test_the_good_description_is_good() -> None:
    checked = check_description(GOOD)
    assert checked.description is not None
    assert checked.findings == ()


@pytest.mark.parametrize(
    ("good", "odd", "line", "code"),
    [
        ("keys.example.com", "192.0.2.1", 25, "ip-address"),
        ("keys.example.com", "localhost", 25, "loopback"),
        ("replicas = 2", "replicas = 1", 4, "one-replica"),
        ('"automatic"', '"128M"', 17, "small-enclave"),
    ],
)
def test_what_is_doubtful_is_a_warning_with_its_line(
    good: str, odd: str, line: int, code: str
) -> None:
    checked = check_description(GOOD.replace(good, odd, 1))
    assert checked.description is not None
    (found,) = checked.findings
    assert (found.severity, found.line) == (Severity.WARNING, line)
    assert found.code == f"description.{code}"


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "sealserve.toml"
    file.write_text(GOOD.replace("replicas = 2", "replicas = 0").replace('"1.9"', '"1.2"'))
    with pytest.raises(ConfigError, match=r"line 4: .*; line 29: ") as raised:
        load_description(file)
    assert raised.value.hint


def test_layout_comments_and_spelt_out_defaults_do_not_change_the_digest() -> None:
    plain = check_description(GOOD).description
    other = check_description(
        "# Mine\n" + GOOD.replace("batching = false\n", "").replace("threads = 4\n", "threads=4\n")
    ).description
    changed = check_description(GOOD.replace("svn = 0", "svn = 1")).description
    assert plain is not None
    assert other is not None
    assert changed is not None
    assert plain.digest == other.digest != changed.digest


def test_every_cloud_that_is_known_can_be_described() -> None:
    for cloud in CLOUDS:
        assert check_description(GOOD.replace('"generic"', f'"{cloud}"')).description is not None
    known = Description.model_json_schema()["properties"]["cloud"]["enum"]
    assert sorted(known) == sorted(CLOUDS)


def test_the_page_on_deployment_describes_every_key() -> None:
    page = (Path(__file__).parents[3] / "docs" / "deployment.md").read_text()
    schema = Description.model_json_schema()
    tables = [schema, *schema["$defs"].values()]
    tables.remove(schema["$defs"]["Kubernetes"])  # on a page of its own
    keys = {key for table in tables for key in table["properties"]} - {"key_service", "gramine"}
    assert {key for key in keys if f"`{key}`" not in page and f"[{key}]" not in page} == set()


PIECES = st.sampled_from(
    ["5", "nan", "1979-05-27", "[1]", "{ x = 1 }", '"{{ x }}"', "[server]", "[[tls]]", "=", "\n"]
)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(GOOD)), st.integers(0, 12), st.one_of(PIECES, st.text(max_size=12)))
def test_whatever_is_written_is_a_description_or_has_a_fault_on_a_line_of_its_own(
    at: int, cut: int, piece: str
) -> None:
    text = GOOD[:at] + piece + GOOD[at + cut :]
    checked = check_description(text)
    wrong = [each for each in checked.findings if each.severity is Severity.ERROR]
    assert bool(wrong) is (checked.description is None)
    assert all(1 <= each.line <= text.count("\n") + 1 for each in wrong)
    assert all(each.message and each.hint for each in wrong)


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"\ncluster = '\xff'", "line 2 is not UTF-8"), (b"#" * (65 << 10), "larger than")],
    ids=["no text", "too long"],
)
def test_what_is_no_text_or_too_long_is_refused(data: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "sealserve.toml"
    file.write_bytes(data)
    with pytest.raises(ConfigError, match=message):
        load_description(file)
