"""The table [kubernetes] of a description: what is refused, what is doubtful, what it changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealserve.deploy.description.kubernetes import Kubernetes
from sealserve.deploy.description.model import Description
from sealserve.deploy.description.reading import check_description
from sealserve.deploy.description.writing import Answers, describe
from sealserve.policies.finding import Severity

PLAIN = describe(Answers())
INSIDE = describe(Answers(key_service="keys.digits.svc:4433"))
DATABASE = '"postgresql://keys@db.example.com/keys"'
FIRST = "ecf500c4b96bdfa728e417fb4e98dfb4f42240c18666fc58a42d31645c06c4b6"
BEFORE_DATABASES = "7037b021d1e89a9d75ff1601c2f27b39e7a591d9d70c908bec4e1c5729cd5952"

# The description, what its table says, and words of the message and of the hint.
BAD = {
    "an unknown key": (PLAIN, "replica = 1", "unknown key", "max_replicas"),
    "a namespace in capitals": (PLAIN, 'namespace = "A"', "small letter", "namespace ="),
    "a registry with a tag": (PLAIN, 'registry = "r.example.com/a:b"', "registry", "registry ="),
    "a registry with a scheme": (PLAIN, 'registry = "https://r"', "registry", "registry ="),
    "the tag latest": (PLAIN, 'tag = "latest"', "stays", "tag ="),
    "a tag with an action": (PLAIN, 'tag = "{{ x }}"', "stays", "tag ="),
    "an image without tag": (PLAIN, 'aesm_image = "r.example.com/aesmd"', "tag", "aesm_image"),
    "the image latest": (PLAIN, 'aesm_image = "r.example.com/a:latest"', "tag", "aesm_image"),
    "a resolver with a directive": (PLAIN, 'resolver = "a;b"', "no host name", "resolver ="),
    "a storage class in capitals": (PLAIN, 'storage_class = "A"', "storage class", "storage_class"),
    "a group below 0": (PLAIN, "device_group = -1", "at least 0", "device_group"),
    "an edge nobody knows": (PLAIN, 'edges = ["envoy"]', "'envoy'", "edges ="),
    "an edge twice": (PLAIN, 'edges = ["nginx", "nginx"]', "once", "edges ="),
    "a gateway without namespace": (PLAIN, 'gateway = "public"', "NAMESPACE/NAME", "gateway ="),
    "a route without gateway": (PLAIN, 'edges = ["gateway"]', "none is named", "gateway ="),
    "fewer at most than at least": (PLAIN, "max_replicas = 1", "at least", "max_replicas"),
    "inside under another name": (PLAIN, "key_service_inside = true", "keys.example.com", ".svc"),
    "outside under another name": (PLAIN, 'key_service_outside = ["a.b"]', "Service", ".svc"),
    "two names outside": (INSIDE, 'key_service_outside = ["a.b", "c.d"]', "one host name", "="),
    "addresses of two kinds": (INSIDE, 'key_service_outside = ["192.0.2.7", "::1"]', "IPv6", "="),
    "an address twice": (INSIDE, 'key_service_outside = ["1.2.3.4", "1.2.3.4"]', "once", "="),
    "inside and outside": (
        INSIDE,
        'key_service_inside = true\nkey_service_outside = ["a.b"]',
        "inside the cluster and outside",
        "one of the two",
    ),
    "a database of another kind": (
        INSIDE,
        'key_service_database = "mysql://keys@db.example.com/keys"',
        "postgresql://USER@HOST/DATABASE",
        "key_service_database =",
    ),
    "a database with a password": (
        INSIDE,
        'key_service_database = "postgresql://keys:hunter2@db.example.com/keys"',
        "for a Secret",
        "key_service_database =",
    ),
    "a database with parameters": (
        INSIDE,
        'key_service_database = "postgresql://keys@db.example.com/keys?sslmode=disable"',
        "are rendered",
        "key_service_database =",
    ),
    "a database in the pod": (
        INSIDE,
        'key_service_database = "postgresql://keys@127.0.0.1/keys"',
        "the pod itself",
        "key_service_database =",
    ),
    "a database without a user": (
        INSIDE,
        'key_service_database = "postgresql://db.example.com/keys"',
        "USER@HOST",
        "key_service_database =",
    ),
    "a database at a port that is none": (
        INSIDE,
        'key_service_database = "postgresql://keys@db.example.com:70000/keys"',
        "no port",
        "key_service_database =",
    ),
    "several copies on a file": (
        INSIDE,
        "key_service_inside = true\nkey_service_replicas = 2",
        "cannot share the file",
        "key_service_database",
    ),
    "a Service that begins with a digit": (
        describe(Answers(key_service="9keys.digits.svc:4433")),
        "key_service_inside = true",
        "begins with a letter",
        "keys.digits.svc",
    ),
    "a name that a server's Service has": (
        describe(Answers(key_service="digits-pods.digits.svc:4433")),
        "key_service_inside = true",
        "server's own",
        "keys.digits.svc",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_table_that_cannot_be_is_refused_with_what_to_write(case: str) -> None:
    text, table, message, hint = BAD[case]
    checked = check_description(f"{text}\n[kubernetes]\n{table}\n")
    assert checked.description is None
    wrong = [each for each in checked.findings if each.severity is Severity.ERROR]
    assert [each for each in wrong if message in each.message and hint in each.hint], wrong


DOUBTS = {
    "requests in flight": (PLAIN, "requests_in_flight = 8", "no-metrics-in-enclaves"),
    "a retired controller": (PLAIN, 'edges = ["ingress-nginx"]', "retired-ingress"),
    "a gateway for nothing": (PLAIN, 'gateway = "a/b"', "gateway-unused"),
    "no edge": (PLAIN, "edges = []", "no-edge"),
    "a database for nothing": (PLAIN, f"key_service_database = {DATABASE}", "database-unused"),
    "one copy on a database": (
        INSIDE,
        f"key_service_inside = true\nkey_service_replicas = 1\nkey_service_database = {DATABASE}",
        "one-key-service",
    ),
    "keys on the platform": (INSIDE, "key_service_inside = true", "key-service-on-the-platform"),
}


@pytest.mark.parametrize("case", DOUBTS)
def test_what_is_doubtful_is_told_and_taken(case: str) -> None:
    text, table, code = DOUBTS[case]
    checked = check_description(f"{text}\n[kubernetes]\n{table}\n")
    assert checked.description is not None
    assert f"description.{code}" in [each.code for each in checked.findings]


def test_a_description_without_the_table_has_the_digest_that_it_had_before_there_was_one() -> None:
    for text in (PLAIN, f"{PLAIN}\n[kubernetes]\n", f'{PLAIN}\n[kubernetes]\nedges = ["nginx"]\n'):
        description = check_description(text).description
        assert description is not None
        assert description.digest == FIRST
    changed = check_description(f"{PLAIN}\n[kubernetes]\nmax_replicas = 7\n").description
    assert changed is not None
    assert changed.digest != FIRST


def test_keys_that_came_later_leave_digests_alone_unless_they_say_something() -> None:
    def digest(table: str) -> str:
        description = check_description(f"{INSIDE}\n[kubernetes]\n{table}\n").description
        assert description is not None
        return description.digest

    inside = "key_service_inside = true"
    spelt = f'{inside}\nkey_service_database = ""\nkey_service_replicas = 0'
    assert digest(inside) == digest(spelt) == BEFORE_DATABASES
    assert digest(f"{inside}\nkey_service_database = {DATABASE}") != BEFORE_DATABASES


def test_a_password_in_a_database_is_repeated_to_nobody() -> None:
    told = check_description(f"{INSIDE}\n[kubernetes]\n{BAD['a database with a password'][1]}\n")
    assert "hunter2" not in repr(told.findings)


def test_a_database_is_spelt_in_one_way() -> None:
    for text, spelt in {
        "postgresql://keys@DB.example.com/keys": "postgresql://keys@db.example.com:5432/keys",
        "postgresql://keys@[2001:DB8::1]/keys": "postgresql://keys@[2001:db8::1]:5432/keys",
        "postgresql://keys@192.0.2.7:6432/keys": "postgresql://keys@192.0.2.7:6432/keys",
    }.items():
        assert Kubernetes(key_service_database=text).key_service_database == spelt


def test_the_page_on_kubernetes_describes_every_key_with_its_default() -> None:
    page = (Path(__file__).parents[3] / "docs" / "kubernetes.md").read_text()
    for name, field in Kubernetes.model_fields.items():
        default = field.default
        shown = str(default).lower() if isinstance(default, bool) else default
        spelt = '["nginx"]' if default == ("nginx",) else "[]" if default == () else shown
        spelt = f'"{spelt}"' if isinstance(default, str) else spelt
        assert f"| `{name}` | `{spelt}` |" in page, name


def test_the_schema_knows_the_table() -> None:
    schema = Description.model_json_schema()
    assert set(schema["$defs"]["Kubernetes"]["properties"]) == set(Kubernetes.model_fields)
    assert "kubernetes" not in schema["required"]
