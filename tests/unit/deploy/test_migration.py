"""`sealserve migrate`: every fault of the published solution by its code, and nothing secret."""

from __future__ import annotations

import base64
import json
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealserve.cli import main
from sealserve.deploy.certificates import Validity
from sealserve.deploy.description.reading import check_description
from sealserve.deploy.migration import attestation, cluster, files, images, keys, migrating
from sealserve.deploy.migration.migrating import Migration, migrate, write
from sealserve.deploy.tls_folder import write_twoway
from sealserve.deploy.weakness import Severity
from sealserve.errors import SealServeError, UsageError
from sealserve.policies.checking import check_policy

NOW = datetime(2026, 6, 1, tzinfo=UTC)
WRAP_KEY = bytes(range(0x41, 0x51))
PEM_BODY = "c2VjcmV0LW9mLW5vYm9keS1hdC1hbGw="
PRIVATE = f"-----BEGIN PRIVATE KEY-----\n{PEM_BODY}\n-----END PRIVATE KEY-----\n"
ENCLAVE = {"mr_enclave": "1f" * 32, "mr_signer": "2e" * 32, "isv_prod_id": 0, "isv_svn": "0"}
SWITCHES = ("verify_mr_enclave", "verify_mr_signer", "verify_isv_prod_id", "verify_isv_svn")
RA_CONFIG = {**dict.fromkeys(SWITCHES, "on"), "mrs": [ENCLAVE]}

FILES: dict[str, str | bytes] = {
    "prov/ra_config.json": json.dumps(RA_CONFIG, indent=1),
    "prov/start_key_server.sh": "#!/bin/sh\n"
    "export RA_TLS_ALLOW_DEBUG_ENCLAVE_INSECURE=1\n"
    "export RA_TLS_ALLOW_OUTDATED_TCB_INSECURE=1\n"
    "export RA_TLS_ALLOW_HW_CONFIG_NEEDED=1\n"
    "export RA_TLS_ALLOW_SW_HARDENING_NEEDED=1\n",
    "prov/run_secret_prov.sh": '#!/bin/sh\n"docker run -p 4433:4433 provider"\n'
    "config='readlink -f ra_config.json'\n"
    "echo 'docker run'\n",
    "prov/sgx_default_qcnl.conf": '{\n "pccs_url": "https://pccs.example.com/sgx/certification/v4/"'
    ',\n "use_secure_cert": false\n}\n',
    "prov/key.dockerfile": "FROM ubuntu\nCOPY files/wrap-key /\n",
    "prov/ca.key": PRIVATE,
    "client/files/wrap-key": WRAP_KEY,
    "client/requirements.txt": "numpy==1.16\ntensorflow\n",
    "server/tensorflow_model_server.manifest.template": 'libos.entrypoint = "server"\n'
    "loader.insecure__use_cmdline_argv = true\n"
    'sgx.remote_attestation = "dcap"\n'
    'loader.env.SECRET_PROVISION_SERVERS = "keys.bank.example:4433"\n'
    "sgx.allowed_files = [\n"
    ' "file:/etc/hosts",\n'
    ' "file:/etc/resolv.conf",\n'
    ' "file:ssl.cfg",\n'
    "]\n",
    "server/server.dockerfile": "FROM ubuntu\n"
    "RUN git clone https://example.com/gramine && git checkout v1.7\n"
    'RUN echo "deb [trusted=yes] http://packages.example.com stable main" > /etc/apt/x.list\n'
    "RUN openssl genrsa -3 -out enclave.pem 3072\n"
    "RUN meson setup build --buildtype=debug\n",
    "server/enclave-key.pem": PRIVATE,
    "server/entry.sh": "tensorflow_model_server --rest_api_port=8501 --model_name=${model_name}\n",
    "server/run_server.sh": "docker run --privileged -p 9500-9501:8500-8501 image\n",
    "server/ssl_configure/ssl.cfg": f'server_key: "{PRIVATE}"\nclient_verify: true\n',
    "server/ssl_configure/server/key.pem": PRIVATE,
    "server/models/faces/1/saved_model.pb": bytes(3 << 20),
    "kubernetes/deploy.yaml": "apiVersion: apps/v1\n"
    "kind: Deployment\n"
    "metadata:\n"
    "  name: faces-service\n"
    "spec:\n"
    "  replicas: 3\n"
    "  template:\n"
    "      - image: localhost:5000/serving:<tag>\n"
    "        env:\n"
    "        - name: model_name\n"
    '          value: "faces"\n'
    "        ports:\n"
    "        - containerPort: 8501\n"
    "        securityContext:\n"
    "          privileged: true\n"
    "      - hostPath:\n"
    "          path: /dev/sgx\n",
    "kubernetes/ingress.yaml": "kind: Ingress\n"
    '    kubernetes.io/ingress.class: "nginx"\n'
    "  - host: faces.bank.example\n"
    "              number: 8500\n",
    "kubernetes/coredns_custom.yaml": "  name: coredns-custom\n"
    "  hosts {\n    10.0.0.1 attestation.bank.example\n",
}
TABLE = [
    ("prov/start_key_server.sh", 2, "ra-config.insecure"),
    ("prov/start_key_server.sh", 3, "ra-config.insecure"),
    ("prov/start_key_server.sh", 4, "ra-config.insecure"),
    ("prov/start_key_server.sh", 5, "ra-config.insecure"),
    ("prov/run_secret_prov.sh", 2, "script.quoted-command"),
    ("prov/run_secret_prov.sh", 3, "script.quoted-command"),
    ("prov/sgx_default_qcnl.conf", 3, "qcnl.use-secure-cert"),
    ("prov/key.dockerfile", 2, "image.baked-key"),
    ("prov/ca.key", None, "keys.ca-key"),
    ("client/files/wrap-key", None, "keys.wrap-key"),
    ("client/files/wrap-key", None, "keys.one-for-all"),
    ("client/requirements.txt", None, "client.requirements"),
    ("server/tensorflow_model_server.manifest.template", 2, "gramine.host-arguments"),
    ("server/tensorflow_model_server.manifest.template", 6, "gramine.allowed-names"),
    ("server/tensorflow_model_server.manifest.template", 7, "gramine.allowed-names"),
    ("server/tensorflow_model_server.manifest.template", 8, "gramine.allowed-tls"),
    ("server/server.dockerfile", 3, "image.unsigned-packages"),
    ("server/server.dockerfile", 3, "image.http-source"),
    ("server/server.dockerfile", 4, "image.signing-key"),
    ("server/server.dockerfile", 5, "image.debug-build"),
    ("server/enclave-key.pem", None, "keys.signing-key"),
    ("server/entry.sh", 1, "script.plain-rest"),
    ("server/run_server.sh", 1, "script.plain-rest"),
    ("server/run_server.sh", 1, "script.privileged"),
    ("server/ssl_configure/ssl.cfg", None, "keys.plain-ssl-config"),
    ("server/ssl_configure/server/key.pem", None, "keys.private-key"),
    ("kubernetes/deploy.yaml", 2, "kubernetes.no-probes"),
    ("kubernetes/deploy.yaml", 2, "kubernetes.no-epc"),
    ("kubernetes/deploy.yaml", 8, "kubernetes.placeholder"),
    ("kubernetes/deploy.yaml", 13, "kubernetes.plain-rest"),
    ("kubernetes/deploy.yaml", 15, "kubernetes.privileged"),
    ("kubernetes/ingress.yaml", 2, "kubernetes.retired-ingress"),
    ("kubernetes/coredns_custom.yaml", 2, "kubernetes.hosts-edit"),
]


def lay_out(folder: Path, content: dict[str, str | bytes]) -> Path:
    for name, data in content.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    return folder


def read(folder: Path) -> Migration:
    return migrate(folder, "wrap-key", NOW)


def listed(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def codes(migration: Migration) -> set[str]:
    return {each.code for each in migration.faults}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_out(tmp_path_factory.mktemp("published"), FILES)


@pytest.mark.parametrize(("file", "line", "code"), TABLE)
def test_every_fault_of_the_published_solution_is_found_at_its_line(
    published: Path, file: str, line: int | None, code: str
) -> None:
    assert (file, line, code) in {
        (each.file, each.line, each.code) for each in read(published).faults
    }


def test_every_fault_says_what_follows_and_what_to_do(published: Path) -> None:
    assert all(each.consequence and each.cure and each.message for each in read(published).faults)


def test_a_description_and_a_policy_are_written_that_their_checks_accept(
    published: Path, tmp_path: Path
) -> None:
    migration = read(published)
    write(migration, tmp_path / "new")
    assert listed(tmp_path / "new") == ["policy.toml", "sealserve.toml"]
    assert listed(tmp_path) == ["new"]
    described = check_description((tmp_path / "new" / "sealserve.toml").read_text()).description
    assert described is not None
    (model,) = described.models
    assert (described.cluster, described.replicas) == ("faces-service", 3)
    assert (described.domain, described.tls.mode) == ("faces.bank.example", "mutual")
    assert (model.name, model.base_path, model.size) == ("faces", "models/faces", "3M")
    assert described.key_service.address == "keys.bank.example:4433"
    assert described.gramine.version == "1.7"
    policy = check_policy((tmp_path / "new" / "policy.toml").read_text(), NOW).policy
    assert policy is not None
    assert [each.secret for each in policy.rules] == ["wrap-key"]
    assert migration.enclaves == 1


def test_what_was_guessed_says_where_it_is_from(published: Path) -> None:
    sources = {each.key: each.source for each in read(published).guesses}
    assert sources["model"].startswith("kubernetes/deploy.yaml:11")
    assert sources["domain"] == "kubernetes/ingress.yaml:3"
    assert sources["size"] == "measured: the largest version has 3145728 bytes"
    assert sources["cloud"] == "nothing says it: suggested"


@pytest.mark.parametrize("as_json", [[], ["--json"]], ids=["text", "json"])
def test_neither_a_key_nor_a_part_of_one_is_printed_or_written(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], as_json: list[str]
) -> None:
    out = tmp_path / "new"
    assert run("--from", published, "--out", out, *as_json) == 0
    printed = capsys.readouterr()
    said = printed.out + printed.err + "".join(each.read_text() for each in out.iterdir())
    for secret in (WRAP_KEY.decode(), WRAP_KEY.hex(), PEM_BODY[:12], "BEGIN PRIVATE"):
        assert secret not in said
    assert "client/files/wrap-key" in said


def test_a_wrap_key_is_not_even_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ignored.sh")  # nor is what is no regular file
    (tmp_path / "wrap-key").write_bytes(WRAP_KEY)
    before = (tmp_path / "wrap-key").stat().st_atime_ns
    os.utime(tmp_path / "wrap-key", ns=(before - 10**12, before))
    (item,) = files.gather(tmp_path).items
    assert (item.path, item.data) == ("wrap-key", b"")
    assert (tmp_path / "wrap-key").stat().st_atime_ns == before - 10**12


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ("{", "migrate.unreadable"),
        (json.dumps({**RA_CONFIG, **dict.fromkeys(SWITCHES, "off")}), "ra-config"),
        (json.dumps({**RA_CONFIG, "verify_isv_svn": "ON"}), "ra-config"),
        (json.dumps({**RA_CONFIG, "mrs": [{**ENCLAVE, "mr_enclave": "xyz"}]}), "ra-config"),
        (json.dumps({**RA_CONFIG, "mrs": [{**ENCLAVE, "isv_svn": "3"}]}), "ra-config"),
        (json.dumps({"mrs": [ENCLAVE]}), "ra-config"),
        (" " * (33 << 10), "migrate.unreadable"),
    ],
    ids=["no JSON", "all off", "ON", "bad hex", "quoted number", "missing key", "too large"],
)
def test_a_list_of_enclaves_that_does_not_stand_becomes_a_policy_that_denies_everything(
    tmp_path: Path, config: str, code: str
) -> None:
    migration = read(lay_out(tmp_path, {"ra_config.json": config}))
    found = [each for each in migration.faults if each.code.startswith(code)]
    assert any(each.severity is Severity.ERROR for each in found)
    policy = check_policy(migration.policy, NOW).policy
    assert policy is not None
    assert (policy.rules, migration.policy_source) == ((), None)


def test_without_a_list_of_enclaves_everything_is_denied(tmp_path: Path) -> None:
    migration = read(lay_out(tmp_path, {"wrap-key": WRAP_KEY}))
    policy = check_policy(migration.policy, NOW).policy
    assert policy is not None
    assert policy.rules == ()


@pytest.mark.parametrize("content", [{}, {"notes.txt": "nothing"}], ids=["empty", "others"])
def test_a_folder_with_nothing_recognisable_is_an_error_and_nothing_is_written(
    tmp_path: Path, content: dict[str, str | bytes]
) -> None:
    (tmp_path / "old").mkdir()
    lay_out(tmp_path / "old", content)
    assert run("--from", tmp_path / "old", "--out", tmp_path / "new") == 1
    assert listed(tmp_path) == ["old"]


def test_a_folder_that_exists_is_left_as_it_is(published: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("mine")
    assert run("--from", published, "--out", tmp_path) == 1
    assert listed(tmp_path) == ["kept"]


def test_symbolic_links_are_named_and_not_followed(tmp_path: Path) -> None:
    lay_out(tmp_path, {"elsewhere/ra_config.json": json.dumps(RA_CONFIG), "old/wrap-key": b"k"})
    (tmp_path / "old" / "ra_config.json").symlink_to("../elsewhere/ra_config.json")
    (tmp_path / "old" / "folder").symlink_to("../elsewhere")
    migration = read(tmp_path / "old")
    assert migration.policy_source is None
    assert ("ra_config.json", "migrate.not-read") in {
        (each.file, each.code) for each in migration.faults
    }


def test_what_is_too_many_is_refused_and_what_is_too_deep_or_too_large_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = "/".join("d" * (files.DEPTH + 1))
    large = b"#" * (files.TEXT_LIMIT + 1)
    lay_out(tmp_path, {f"{deep}/ra_config.json": "{}", "run.sh": large})
    reasons = {each.message for each in read(tmp_path).faults if each.code == "migrate.not-read"}
    assert reasons == {
        f"more than {files.DEPTH} folders deep",
        f"larger than {files.TEXT_LIMIT} bytes",
    }
    monkeypatch.setattr(files, "ENTRIES", 5)
    with pytest.raises(UsageError, match="more than 5 files"):
        read(tmp_path)


def test_what_ours_makes_of_certificates_has_no_fault_but_the_keys(tmp_path: Path) -> None:
    write_twoway(tmp_path / "ssl_configure", ["faces.example"], "client", Validity(NOW, 30))
    migration = read(tmp_path)
    assert codes(migration) == {"keys.ca-key", "keys.private-key", "keys.plain-ssl-config"}
    said = {each.key: each.value for each in migration.guesses}
    assert (said["domain"], said["tls"]) == ("faces.example", "mutual")
    later = migrate(tmp_path, "wrap-key", datetime(2027, 1, 1, tzinfo=UTC))
    assert "keys.expired" in codes(later)


def test_a_certificate_of_a_version_that_nobody_knows_is_none(tmp_path: Path) -> None:
    write_twoway(tmp_path / "made", ["faces.example"], "client", Validity(NOW, 30))
    pem = (tmp_path / "made/server/cert.pem").read_bytes()
    begin, *body, end = pem.strip().split(b"\n")
    der = base64.b64decode(b"".join(body)).replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x05")
    lay_out(tmp_path / "old", {"server.crt": b"\n".join((begin, base64.b64encode(der), end))})
    assert codes(read(tmp_path / "old")) == set()


def test_a_client_of_another_kind_does_not_make_tls_mutual(tmp_path: Path) -> None:
    lay_out(tmp_path, {"client/ca.crt": "", "wrap-key": b"k"})
    assert {each.key: each.value for each in read(tmp_path).guesses}["tls"] == "oneway"


def test_a_guess_that_no_description_takes_stays_as_suggested(tmp_path: Path) -> None:
    script = "kind: Deployment\nmetadata:\n  name: Has_Capitals\nspec:\n  replicas: 0\n# 8500\n"
    said = {each.key: each for each in read(lay_out(tmp_path, {"deploy.yaml": script})).guesses}
    assert said["cluster"].value == "digits"
    assert "no description takes: suggested" in said["cluster"].source
    assert said["replicas"].value == "2"


def test_names_of_files_cannot_command_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lay_out(tmp_path / "old", {"\x1b[2J\n/wrap-key": WRAP_KEY})
    assert run("--from", tmp_path / "old", "--out", tmp_path / "new") == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "\\x1b[2J\\n/wrap-key: error:" in printed


def test_codes_are_of_one_rule_each() -> None:
    rules = [*attestation.RULES, *cluster.RULES, *images.RULES, *keys.RULES]
    rules += [migrating.SKIPPED, migrating.CUT]
    assert len({each.code for each in rules}) == len(rules)


NAMES = sorted(FILES)


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(NAMES), damage=st.binary(max_size=40), data=st.data())
def test_damaged_files_raise_nothing_but_our_errors(
    name: str, damage: bytes, data: st.DataObject
) -> None:
    whole = FILES[name]
    content = (whole.encode() if isinstance(whole, str) else whole)[:4096]
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, len(content)))
    with tempfile.TemporaryDirectory() as folder:
        lay_out(Path(folder), {name: content[:start] + damage + content[end:]})
        try:
            migration = read(Path(folder))
        except SealServeError:
            return
        assert check_description(migration.description).description is not None
        assert check_policy(migration.policy, NOW).policy is not None


@pytest.mark.timeout(30)  # quadratic would be minutes
@pytest.mark.parametrize("name", ["deploy.yaml", "x.dockerfile", "run.sh", "ssl.cfg"])
@pytest.mark.parametrize(
    "part", ["\n", " ", ": ", "git ", "-p=", "sgx/", "COPY ", "name:\n", "8500 : <", "'docker "]
)
def test_a_text_of_one_sign_over_and_over_is_read_to_the_end(
    tmp_path: Path, name: str, part: str
) -> None:
    text = "8500\nkind: Deployment\n" + part * ((200 << 10) // len(part))
    lay_out(tmp_path, {name: text})
    read(tmp_path)


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["migrate", *map(str, arguments)])
    assert isinstance(ended.value.code, int)
    return ended.value.code
