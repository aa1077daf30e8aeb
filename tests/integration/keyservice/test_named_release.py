"""Secrets by name from a whole key service: what the policy grants, and nothing else, on record."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from fixed_decisions import make_identity
from key_site import PATIENT
from sealserve.attester.named import fetch_named
from sealserve.attester.ratls import make_certificate
from sealserve.attester.secrets import fetch_secret
from sealserve.errors import DeniedError, OverloadedError
from sealserve.keyservice import deciding

RECORD = b'{"files":[{"path":"1/m.pb","sha256":"' + b"ab" * 32 + b'","size":1}],'
RECORD += b'"format":1,"model":"resnet50","version":null}'
OWN, OTHERS = "resnet50", "payroll"


@pytest.fixture
def site(make_site):
    """The enclave may have `digits` and `resnet50`; `payroll` is there and for somebody else."""
    site = make_site(
        top='key_domain = "keys.example.com"', names=("localhost", "*.keys.example.com")
    )
    site.write_policy(secret='secrets = ["digits", "resnet50", "ssl"]')
    with site.administration() as administration:
        administration.add_secret(OWN, b"a key of resnet50", RECORD)
        administration.add_secret(OTHERS, b"what others earn")
    return site


def fetch(running, *names, **options):
    site = running.site
    return fetch_named(
        running.servers,
        names,
        **{"ca_file": site.ca_file, "identity": site.identity(), "required": (), **options},
    )


def values(secret) -> list[tuple[int, bytes]]:
    return [(version.number, version.value) for version in secret.versions]


def test_each_name_is_decided_by_itself_and_is_on_record_by_itself(running):
    site = running.site
    provision = fetch(running, OTHERS, OWN, "nothing", "digits")
    assert values(provision.secrets[OWN]) == [(1, b"a key of resnet50")]
    assert values(provision.secrets["digits"]) == [(1, site.secret)]
    assert provision.denied == (OTHERS, "nothing")
    assert provision.records == {OWN: RECORD}
    assert provision.result["simulated"] is True
    records = site.records()
    assert [(record["asked_secret"], record["outcome"]) for record in records] == [
        (OTHERS, "denied"),
        (OWN, "released"),
        ("nothing", "denied"),
        ("digits", "released"),
    ]
    assert len({record["request_id"] for record in records}) == 1
    assert {record["protocol"] for record in records} == {"sealserve/1"}
    assert provision.result["evidence_sha256"] == records[0]["evidence_sha256"]


def test_what_is_granted_but_not_there_and_what_is_there_but_not_granted_look_the_same(running):
    """`ssl` is granted and does not exist, `payroll` the other way round."""
    alone = [fetch(running, name) for name in ("ssl", OTHERS, "nothing")]
    results = [
        {
            key: value
            for key, value in provision.result.items()
            if key not in ("verified_at", "evidence_sha256")
        }
        for provision in alone
    ]
    assert [provision.secrets for provision in alone] == [{}, {}, {}]
    assert results[0] == results[1] == results[2]


def test_what_is_not_granted_is_not_looked_for_so_that_no_clock_tells_whether_it_is_there(
    running, monkeypatch
):
    """Otherwise what others have asked for is at hand, and denied sooner than what is not there."""
    looked, judge = set(), deciding.judge

    def judging(ask, names, evidence, claims, snapshot, look):
        def looking(name):
            looked.add(name)
            return look(name)

        return judge(ask, names, evidence, claims, snapshot, looking)

    monkeypatch.setattr(deciding, "judge", judging)
    assert list(fetch(running, OTHERS, "nothing", OWN).secrets) == [OWN]
    assert looked == {OWN}


def test_a_rotated_secret_comes_in_all_versions_that_are_in_use(running):
    with running.site.administration() as administration:
        administration.rotate_secret(OWN, b"a later key", RECORD)
        assert values(fetch(running, OWN).secrets[OWN]) == [
            (2, b"a later key"),
            (1, b"a key of resnet50"),
        ]
        administration.retire_secret(OWN, 1)
    assert values(fetch(running, OWN).secrets[OWN]) == [(2, b"a later key")]


def test_however_many_versions_leave_each_is_on_record(running):
    with running.site.administration() as administration:
        for number in range(2, 21):
            administration.rotate_secret(OWN, b"a key, number %d" % number, RECORD)
    left = [number for number, _ in values(fetch(running, OWN).secrets[OWN])]
    (record,) = running.site.records()
    assert record["versions"] == left == list(range(20, 0, -1))


def test_of_what_is_denied_each_secret_counts_as_a_request_of_its_build(make_site, start):
    """A record is written of each, and a stranger may name 64 at once."""
    rate = "releases_per_second_per_identity = 0.001\nreleases_burst_per_identity = 4"
    with start(make_site(limits=f"{PATIENT}\n{rate}")) as running:
        fetch(running, "digits")  # one
        fetch(running, "digits", "a", "b", "c", "d")  # four, one of them owed
        with pytest.raises(OverloadedError):
            fetch(running, "digits")


def test_what_is_long_to_judge_is_judged_beside_the_event_loop(running, monkeypatch):
    """By a policy of many rules, however few secrets are asked for."""
    judged, judge = [], deciding.judge

    def judging(*facts):
        judged.append(threading.current_thread().name)
        return judge(*facts)

    site = running.site
    rule = '[[rules]]\nname = "{0}"\nidentities = ["digits server 1.4"]\nsecret = "digits"\n'
    site.apply(site.policy_text() + "".join(rule.format(f"r{number}") for number in range(900)))
    fetch(running, "digits")  # so that all of it is at hand
    monkeypatch.setattr(deciding, "judge", judging)
    assert values(fetch(running, "digits").secrets["digits"]) == [(1, site.secret)]
    fetch_secret(running.servers, ca_file=site.ca_file, identity=site.identity())  # without a name
    assert [name.partition("_")[0] for name in judged] == ["decision"] * 2
    site.write_policy()
    fetch(running, "digits")
    judged.clear()
    fetch(running, "digits")
    assert judged == ["key service"]


@pytest.mark.parametrize("host", [f"{OWN}.keys.example.com", f"{OTHERS}.keys.example.com"])
def test_where_names_are_asked_for_the_host_name_adds_none(running, host):
    provision = fetch(running, "digits", server_name=host)
    assert list(provision.secrets) == ["digits"]
    assert provision.denied == ()
    (record,) = running.site.records()
    assert (record["asked_for"], record["asked_secret"]) == (host, "digits")


def test_in_gramines_protocol_the_host_name_asks_and_the_same_policy_decides(running):
    site = running.site
    options = {"ca_file": site.ca_file, "identity": site.identity()}
    own = fetch_secret(running.servers, server_name=f"{OWN}.keys.example.com", **options)
    assert own == b"a key of resnet50"
    for name in (OTHERS, "nothing", "ssl"):
        with pytest.raises(DeniedError):
            fetch_secret(running.servers, server_name=f"{name}.keys.example.com", **options)
    assert [record["outcome"] for record in site.records()] == ["released", *["denied"] * 3]


def test_an_enclave_that_the_policy_does_not_name_is_denied_every_name(running, world, enclave):
    stranger = enclave(world, replace(running.site.report, mr_enclave=bytes(32)))
    provision = fetch(running, OWN, OTHERS, identity=make_certificate(stranger))
    assert (provision.secrets, provision.denied) == ({}, (OWN, OTHERS))
    assert provision.result is not None


def test_evidence_that_does_not_verify_is_denied_every_name_and_told_no_result(running):
    provision = fetch(running, OWN, "digits", identity=make_identity())
    assert (provision.secrets, provision.denied) == ({}, (OWN, "digits"))
    assert provision.result is None
    assert {record["outcome"] for record in running.site.records()} == {"rejected"}


def test_however_many_names_come_with_evidence_of_a_stranger_their_one_record_is_short(running):
    names = [f"{number:02}-{'x' * 125}" for number in range(64)]
    for asked in (names, names[:4]):
        assert fetch(running, *asked, identity=make_identity()).denied == tuple(asked)
    many, few = running.site.records()
    assert many["asked_secret"] == " ".join(names[:4]) + " and 60 more"
    assert few["asked_secret"] == " ".join(names[:4])
