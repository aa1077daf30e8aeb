"""`sealserve tls check`: an ssl.cfg beside its description, before and after it is sealed."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealserve.cli import main
from sealserve.deploy.certificates import Validity, make_authority, make_client, make_server
from sealserve.deploy.description.model import Description
from sealserve.deploy.description.reading import check_description
from sealserve.deploy.description.writing import Answers, describe
from sealserve.deploy.tls_check import RULES, against, at_path, read_tls_file
from sealserve.deploy.tls_folder import render_ssl_config, write_oneway, write_twoway
from sealserve.errors import ConfigError
from sealserve.sealing import seal

NOW = datetime.now(UTC).replace(microsecond=0)
KEY = bytes(range(16))
VERSION_3 = bytes.fromhex("a003020102")
P256 = bytes.fromhex("06082a8648ce3d030107")
VALIDITY = Validity(NOW, 30)
AUTHORITY = make_authority(VALIDITY)
SERVER = make_server(["grpc.example.com", "*.zoo.example"], VALIDITY, issuer=AUTHORITY)
OTHER = make_client("client", VALIDITY, issuer=AUTHORITY)
MUTUAL = render_ssl_config(SERVER, client_ca=AUTHORITY.certificate_pem)
ONEWAY = render_ssl_config(SERVER, client_ca=None)


def description(**answers: str) -> Description:
    checked = check_description(describe(Answers(**answers)))  # type: ignore[arg-type]
    assert checked.description is not None
    return checked.description


def codes(data: bytes, **answers: str) -> list[str]:
    read = read_tls_file(data, NOW)
    return [each.code for each in (*read.findings, *against(read, description(**answers)))]


@pytest.mark.parametrize(
    ("data", "mode", "found"),
    [
        (MUTUAL, "mutual", []),
        (ONEWAY, "oneway", []),
        (ONEWAY, "mutual", ["tls.open"]),
        (MUTUAL, "oneway", ["tls.closed"]),
    ],
)
def test_the_mode_is_that_of_the_description(data: bytes, mode: str, found: list[str]) -> None:
    assert codes(data, tls=mode) == found


@pytest.mark.parametrize(
    ("domain", "found"),
    [
        ("grpc.example.com", []),
        ("GRPC.example.com", []),
        ("a.zoo.example", []),
        ("a.b.zoo.example", ["tls.domain"]),
        ("zoo.example", ["tls.domain"]),
        ("other.example.com", ["tls.domain"]),
    ],
)
def test_the_certificate_is_for_the_domain(domain: str, found: list[str]) -> None:
    assert codes(ONEWAY, domain=domain) == found


CHANGES: dict[str, tuple[Callable[[bytes], bytes], list[str]]] = {
    "any authority": (
        lambda _: ONEWAY.replace(b"client_verify: false", b"client_verify: true"),
        ["tls.any-authority", "tls.closed"],
    ),
    "no key": (lambda data: data[data.index(b"server_cert") :], ["tls.form"]),
    "no certificate": (lambda data: data[: data.index(b"server_cert")], ["tls.form"]),
    "another's key": (
        lambda _: render_ssl_config(type(SERVER)(SERVER.certificate, OTHER.key), client_ca=None),
        ["tls.key"],
    ),
    "a damaged key": (lambda data: data.replace(b"KEY-----\\nM", b"KEY-----\\n!"), ["tls.key"]),
    "a damaged certificate": (
        lambda data: data.replace(b"CERTIFICATE-----\\nM", b"CERTIFICATE-----\\n!"),
        ["tls.key"],
    ),
}


def changed(pem: bytes, old: bytes, new: bytes) -> bytes:
    """The same PEM, with some of its bytes exchanged."""
    begin, *body, end = pem.strip().split(b"\n")
    der = base64.b64decode(b"".join(body))
    assert old in der
    return b"\n".join((begin, base64.b64encode(der.replace(old, new)), end)) + b"\n"


def in_the_file(pem: bytes) -> bytes:
    return pem.replace(b"\n", b"\\n")


@pytest.mark.parametrize(
    ("part", "old", "new"),
    [
        ("certificate_pem", P256, P256[:-1] + b"\x63"),
        ("key_pem", P256, P256[:-1] + b"\x63"),
        ("certificate_pem", VERSION_3, VERSION_3[:-1] + b"\x05"),
    ],
    ids=["a certificate of an unknown curve", "a key of one", "a certificate of version 6"],
)
def test_what_cryptography_has_exceptions_of_its_own_for_is_an_error(
    part: str, old: bytes, new: bytes
) -> None:
    pem = getattr(SERVER, part)
    data = ONEWAY.replace(in_the_file(pem), in_the_file(changed(pem, old, new)))
    assert data != ONEWAY
    assert codes(data) == ["tls.key"]


@pytest.mark.parametrize("name", CHANGES)
def test_what_does_not_serve_is_an_error(name: str) -> None:
    change, found = CHANGES[name]
    assert codes(change(ONEWAY)) == found


@pytest.mark.parametrize("days", [-2, 31])
def test_a_certificate_that_does_not_hold_today_is_an_error(days: int) -> None:
    read = read_tls_file(ONEWAY, NOW + timedelta(days=days))
    assert [each.code for each in read.findings] == ["tls.validity"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"\xff", "not UTF-8"),
        (b"-----BEGIN PRIVATE KEY-----", "line 1"),
        (b'server_key: "s3cret" server_certificate: "x"', "line 1: expected server_key"),
        (b"\nclient_verify: perhaps", "line 2: expected"),
        (b"server_key { s3cret: 1 }", "line 1: expected"),
        (b'server_key: "s3cret', "line 1"),
    ],
)
def test_what_is_no_ssl_configuration_is_refused_without_its_content(
    text: bytes, words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as raised:
        read_tls_file(text, NOW)
    assert "s3cret" not in str(raised.value)
    assert raised.value.hint


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(MUTUAL)), st.integers(0, 30), st.binary(max_size=10))
def test_a_damaged_file_raises_nothing_but_our_errors(at: int, cut: int, piece: bytes) -> None:
    try:
        read = read_tls_file(MUTUAL[:at] + piece + MUTUAL[at + cut :], NOW)
    except ConfigError:
        return
    assert read.mode in ("oneway", "mutual")


def test_a_sealed_file_is_for_the_path_of_the_description() -> None:
    assert [each.code for each in at_path("tls/ssl.cfg", description())] == ["tls.path"]
    assert list(at_path("ssl.cfg", description())) == []


def test_every_finding_says_what_follows_and_what_to_do() -> None:
    assert all(each.consequence and each.cure for each in RULES)
    assert len({each.code for each in RULES}) == len(RULES)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "sealserve.toml").write_text(describe(Answers(tls="mutual")))
    validity = Validity(NOW, 30)
    write_twoway(tmp_path / "twoway", ["grpc.example.com"], "client", validity)
    write_oneway(tmp_path / "oneway", ["grpc.example.com"], validity)
    (tmp_path / "wrap.key").write_bytes(KEY)
    (tmp_path / "wrap.key").chmod(0o600)
    return tmp_path


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["tls", "check", *map(str, words)])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_what_ours_makes_passes_and_the_other_kind_does_not(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = ("--for", site / "sealserve.toml")
    assert run(site / "twoway/ssl.cfg", *told) == 0
    assert "mutual, for grpc.example.com, until" in capsys.readouterr().out
    assert run(site / "oneway/ssl.cfg", *told) == 1
    printed = capsys.readouterr()
    assert "[tls.open]" in printed.out
    assert "PRIVATE" not in printed.out + printed.err


def test_a_sealed_one_is_checked_with_its_key_in_memory(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sink = io.BytesIO()
    seal(io.BytesIO((site / "oneway/ssl.cfg").read_bytes()), sink, KEY, path="x.cfg")
    (site / "x.cfg").write_bytes(sink.getvalue())
    before = sorted(site.rglob("*"))
    assert run(site / "x.cfg") == 1
    assert "name its key" in capsys.readouterr().err
    words = ("-w", site / "wrap.key", "--for", site / "sealserve.toml", "--json")
    assert run(site / "x.cfg", *words) == 1
    found = json.loads(capsys.readouterr().out)
    assert [each["code"] for each in found["findings"]] == ["tls.path", "tls.open"]
    assert (found["mode"], found["sealed_for"]) == ("oneway", "x.cfg")
    assert sorted(site.rglob("*")) == before
