"""What else people write into a description by mistake: the line, what is wrong, what to do."""

from __future__ import annotations

import pytest

from sealserve.deploy.description.reading import FAULT_LIMIT, VALUE_LIMIT, check_description
from sealserve.deploy.description.writing import Answers, describe
from sealserve.policies.finding import Severity

GOOD = """\
cluster = "digits"
domain = "grpc.example.com"
replicas = 2
[[models]]
name = "digits"
base_path = "models/digits"
key = "digits"
size = "100M"
[server]
kind = "tensorflow-serving"
port = 8500
threads = 4
enclave_size = "automatic"
batching = false
[tls]
mode = "oneway"
[key_service]
address = "keys.example.com:4433"
ca = "key-service-ca.pem"
[gramine]
version = "1.9"
svn = 1
"""
SERVER = GOOD[GOOD.index("[server]") : GOOD.index("[tls]")]
MODELS = GOOD[GOOD.index("[[models]]") : GOOD.index("[server]")]
HEX_KEY = "0123456789abcdef0123456789ABCDEF"

# What stands in the good one and what instead, the line that is named, and words of message and of
# hint.
BAD = {
    # numbers
    "a number of 5000 digits": ("replicas = 2", f"replicas = {'9' * 5000}", 3, "digits", "few"),
    "a hex number of 6000": ("replicas = 2", f"replicas = 0x{'F' * 6000}", 3, "bits", "replicas ="),
    "a number of 30 digits": ("port = 8500", f"port = {'9' * 30}", 11, "at most 65535", "8500"),
    "a negative SVN": ("svn = 1", "svn = -1", 22, "at least 0", "svn = 1"),
    "an SVN as a fraction": ("svn = 1", "svn = 1.0", 22, "whole number", "svn = 1"),
    "endless threads": ("threads = 4", "threads = inf", 12, "found inf", "threads = 4"),
    "a date of replicas": ("replicas = 2", "replicas = 1979-05-27", 3, "1979-05-27", "replicas ="),
    "port 0": ("port = 8500", "port = 0", 11, "at least 1024", "port = 8500"),
    # signs
    "a control sign": ("grpc.example", r"grpc\u001b[2J.example", 2, r"\x1b", "domain ="),
    "a raw control sign": ("grpc.example", "grpc\x1b[2J.example", 2, "not TOML", "toml.io"),
    "a NUL": ('"digits"', r'"dig\u0000its"', 1, r"\x00", "cluster ="),
    "a made-up key": ("replicas = 2", '"\\u001b[2J" = 1', 3, '"\\x1b[2J"', "remove it"),
    "a name as a path": ('name = "digits"', 'name = ".."', 5, "letters", "name ="),
    "a long name": ('name = "digits"', f'name = "{"n" * 65}"', 5, "1 to 64", "name ="),
    "a backslash in a path": ('"models/digits"', r"'models\digits'", 6, "letters", "base_path ="),
    # hosts
    "an international domain": ("grpc.example.com", "bücher.example", 2, "xn--", "domain ="),
    "a wildcard": ("grpc.example.com", "*.example.com", 2, "no host name", "domain ="),
    "a dot behind": ("grpc.example.com", "grpc.example.com.", 2, "no host name", "domain ="),
    "an underscore": ("grpc.example.com", "grpc_1.example.com", 2, "no host name", "domain ="),
    "a long domain": ("grpc.example.com", "a" * 300, 2, "no host name", "domain ="),
    "an IPv6 domain": ("grpc.example.com", "2001:db8::1", 2, "address", "domain ="),
    "IPv6 without brackets": ("keys.example.com", "2001:db8::1", 18, "brackets", "address ="),
    "IPv6 for the stock server": ("keys.example.com", "[2001:db8::1]", 18, "IPv6", "name the host"),
    "IPv6 with an interface": ("keys.example.com", "[fe80::1%eth0]", 18, "no host name", "address"),
    "a key service on port 0": (":4433", ":0", 18, "no port", "address ="),
    "a key service on port 99999": (":4433", ":99999", 18, "no port", "address ="),
    "a key service by a service's name": (":4433", ":https", 18, "is no address", "address ="),
    "two key services": (":4433", ":4433;b.example.com:4433", 18, "no address", "address ="),
    # paths
    "a path with a dot in front": ('"models/digits"', '"./models"', 6, "dot", "base_path ="),
    "a path with two slashes": ('"models/digits"', '"models//a"', 6, "slash", "base_path ="),
    "a path of nothing": ('"models/digits"', '""', 6, "empty", "base_path ="),
    "a path in a bucket": ('"models/digits"', '"gs://b/a"', 6, "letters", "base_path ="),
    "ssl.cfg above": ('mode = "oneway"', 'mode = "oneway"\nconfig = "../a"', 17, "..", "config ="),
    "the CA in a model": (
        '"key-service-ca.pem"',
        '"models/digits/ca.pem"',
        19,
        "models[0].base_path",
        "beside",
    ),
    "the CA as ssl.cfg": ('"key-service-ca.pem"', '"ssl.cfg"', 19, "tls.config", "beside"),
    # keys and sizes
    "a key itself": (
        'key = "digits"',
        f'key = "{HEX_KEY}"',
        7,
        "a key itself",
        "name of the secret",
    ),
    "a key in base64": ('key = "digits"', 'key = "AAECAw=="', 7, "not repeated", "name of the"),
    "a size in kilobytes": ('"100M"', '"100K"', 8, "from 1M", "size ="),
    "a size in small letters": ('"100M"', '"100m"', 8, "from 1M", "size ="),
    "a size as a fraction": ('"100M"', '"1.5G"', 8, "from 1M", "size ="),
    "a size of nothing": ('"100M"', '"0M"', 8, "from 1M", "size ="),
    "a model beyond enclaves": ('"100M"', '"200G"', 8, "more than any enclave", "several services"),
    "an enclave of its own mind": ('"automatic"', '"auto"', 13, "size", "enclave_size ="),
    # forms
    "a dotted table": (SERVER, "", 1, "server is missing", "[server]"),
    "brackets too many": ("[server]", "[[server]]", 9, "found a list", "write [server]"),
    "brackets too few": ("[[models]]", "[models]", 4, "found a table", "write [[models]]"),
    "a table twice": ("[gramine]", "[server]\n[gramine]", 20, "not TOML", "once"),
    "a key of the top below": ("batching = false", "cloud = 'azure'", 14, "belong", "to the top"),
    "a key of a table above": ("replicas = 2", "port = 8500", 3, "belong", "[server]"),
    "a key of nobody's": ("replicas = 2", 'password = "x"', 3, "unknown key", "may stand there"),
    "words of ours": (
        "grpc.example.com",
        "unknown key x; the nearest that exists is port",
        2,
        "domain: found",
        "domain =",
    ),
    "REST at the top": ("replicas = 2", "rest_api_port = 8501", 3, "REST is not", "leave it out"),
    "a byte order mark": ("cluster =", "\ufeffcluster =", 1, "not TOML", "byte order mark"),
    "YAML": ("replicas = 2", "replicas: 2", 3, "not TOML", "colons"),
    "JSON": ("replicas = 2", '{"replicas": 2}', 3, "not TOML", "JSON"),
    "no quotes": ('mode = "oneway"', "mode = oneway", 16, "not TOML", "quotes"),
    "curly quotes": ('mode = "oneway"', "mode = “oneway”", 16, "not TOML", "straight quotes"),
    "a capital": ("batching = false", "batching = False", 14, "not TOML", "true or false"),
    "no value": ("threads = 4", "threads =", 12, "not TOML", "a value behind"),
    "nesting": ("replicas = 2", f"replicas = {'[' * 60}{']' * 60}", 3, "nested", "no value"),
    "dots": ("replicas = 2", f"{'a.' * 20}b = 2", 3, "16 names", "toml.io"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_mistake_is_told_with_its_line_and_its_cure(name: str) -> None:
    good, bad, line, message, hint = BAD[name]
    assert good in GOOD
    checked = check_description(GOOD.replace(good, bad, 1))
    assert checked.description is None
    (found,) = checked.findings
    assert found.severity is Severity.ERROR
    assert (found.line, message in found.message, hint in found.hint) == (line, True, True), found
    assert len(found.message) + len(found.hint) < 500
    assert (found.message + found.hint).isprintable()


INLINE = 'server = { kind = "sealserve", port = %s }\n'
FORMS = {
    "inline": (INLINE % 0 + GOOD.replace(SERVER, ""), 1, "server.port"),
    "inline, without a key": ("server = { port = 8500 }\n" + GOOD.replace(SERVER, ""), 1, "kind"),
    "dotted": (
        'server.kind = "sealserve"\nserver.port = 0\n' + GOOD.replace(SERVER, ""),
        2,
        "server.port",
    ),
    "dotted, without a key": (
        GOOD.replace(SERVER, "").replace("replicas = 2", "replicas = 2\nserver.port = 8500"),
        4,
        "server.kind is missing",
    ),
    "a list of inline tables": (
        'models = [\n  { name = "a", base_path = "a", key = "k", size = "1M" },\n'
        '  { name = "b", base_path = "/b", key = "k", size = "1M" },\n]\n'
        + GOOD.replace(MODELS, ""),
        3,
        "models[1].base_path",
    ),
    "a list of inline tables, without a key": (
        'models = [\n  { name = "a", base_path = "a",\n    key = "k" },\n]\n'.replace(
            ",\n    ", ", "
        )
        + GOOD.replace(MODELS, ""),
        2,
        "models[0].size is missing",
    ),
    "a text of several lines": (
        GOOD.replace('"grpc.example.com"', '"""\ngrpc example"""'),
        2,
        "domain",
    ),
    "a quoted key": (GOOD.replace("replicas = 2", '"replicas" = 0'), 3, "replicas"),
    "other ends of lines": (
        GOOD.replace("\n", "\r\n").replace("replicas = 2", "replicas = 0"),
        3,
        "replicas",
    ),
    "below comments": ("# one\n\n# two\n" + GOOD.replace("svn = 1", "svn = -1"), 25, "gramine.svn"),
}


@pytest.mark.parametrize("name", FORMS)
def test_the_line_is_right_in_every_form_that_toml_has(name: str) -> None:
    text, line, words = FORMS[name]
    (found,) = check_description(text).findings
    assert found.line == line
    assert words in found.message


def test_what_is_written_for_another_form_means_the_same() -> None:
    inline = INLINE % 8500 + GOOD.replace(SERVER, "")
    dotted = 'server.kind = "sealserve"\n' + GOOD.replace(SERVER, "")
    table = GOOD.replace('"tensorflow-serving"', '"sealserve"')
    digests = {
        checked.description.digest
        for each in (inline, dotted, table)
        if (checked := check_description(each)).description
    }
    assert len(digests) == 1


def test_there_are_more_than_forty_faults_that_are_told_apart() -> None:
    told = {
        check_description(GOOD.replace(good, bad, 1)).findings[0].message
        for good, bad, *_ in BAD.values()
    }
    assert len(told) >= 40


def test_a_key_is_never_repeated() -> None:
    for wrong in (f'"{HEX_KEY}"', f'["{HEX_KEY}"]', f'"{HEX_KEY}=="', f'{{ x = "{HEX_KEY}" }}'):
        checked = check_description(GOOD.replace('key = "digits"', f"key = {wrong}"))
        assert checked.findings
        assert HEX_KEY not in str(checked.findings)


def test_of_many_faults_the_first_are_shown() -> None:
    more = "".join(f"x{n} = 1\n" for n in range(FAULT_LIMIT + 5))
    findings = check_description(more + GOOD).findings
    assert len(findings) == FAULT_LIMIT + 1
    assert findings[-1].code == "description.more"


def test_more_values_than_any_description_has_are_refused_at_once() -> None:
    (found,) = check_description("x = [" + "1,\n" * VALUE_LIMIT + "]\n" + GOOD).findings
    assert (found.code, found.line) == ("description.large", VALUE_LIMIT)


def test_an_empty_file_lacks_everything_that_has_no_default() -> None:
    findings = check_description("").findings
    assert {each.line for each in findings} == {1}
    assert all("is missing" in each.message for each in findings)


def test_models_of_one_size_that_an_enclave_holds_are_fine() -> None:
    assert check_description(describe(Answers(size="100G"))).description is not None
