from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from google.protobuf import text_format

from sealserve.deploy import writing
from sealserve.deploy.certificates import Validity
from sealserve.deploy.tls_folder import write_oneway, write_twoway
from sealserve.errors import UsageError
from sealserve.messages.config_pb2 import SSLConfig

NAMES = ["grpc.tf-serving.service.com", "127.0.0.1"]
VALIDITY = Validity(datetime.now(UTC), 30)
# The files of the published guide, section 7.2.
ONE_WAY = {"server/cert.pem", "server/key.pem", "ssl.cfg"}
TWO_WAY = ONE_WAY | {"ca_cert.pem", "ca_key.pem", "client/cert.pem", "client/key.pem"}


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def _config(folder: Path) -> SSLConfig:
    return text_format.Parse((folder / "ssl.cfg").read_text(), SSLConfig())


def test_the_one_way_folder_has_the_files_of_the_guide(tmp_path: Path) -> None:
    folder = tmp_path / "ssl_configure"
    assert {
        str(file.relative_to(folder)) for file in write_oneway(folder, NAMES, VALIDITY)
    } == ONE_WAY
    assert _files(folder) == ONE_WAY


def test_the_two_way_folder_has_the_files_of_the_guide(tmp_path: Path) -> None:
    folder = tmp_path / "ssl_configure"
    write_twoway(folder, NAMES, "client", VALIDITY)
    assert _files(folder) == TWO_WAY


def test_the_one_way_configuration_asks_for_no_client_certificate(tmp_path: Path) -> None:
    folder = tmp_path / "ssl"
    write_oneway(folder, NAMES, VALIDITY)
    assert _config(folder) == SSLConfig(
        server_key=(folder / "server/key.pem").read_text(),
        server_cert=(folder / "server/cert.pem").read_text(),
        custom_ca="",
        client_verify=False,
    )


def test_the_two_way_configuration_demands_certificates_of_the_ca(tmp_path: Path) -> None:
    folder = tmp_path / "ssl"
    write_twoway(folder, NAMES, "client", VALIDITY)
    assert _config(folder) == SSLConfig(
        server_key=(folder / "server/key.pem").read_text(),
        server_cert=(folder / "server/cert.pem").read_text(),
        custom_ca=(folder / "ca_cert.pem").read_text(),
        client_verify=True,
    )


def test_whatever_holds_a_private_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "ssl"
    write_twoway(folder, NAMES, "client", VALIDITY)
    private = {
        name: stat.S_IMODE((folder / name).stat().st_mode)
        for name in _files(folder)
        if b"PRIVATE" in (folder / name).read_bytes()
    }
    assert private == dict.fromkeys(
        ("ca_key.pem", "server/key.pem", "client/key.pem", "ssl.cfg"), 0o600
    )
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_each_key_fits_its_certificate(tmp_path: Path) -> None:
    from cryptography import x509

    folder = tmp_path / "ssl"
    write_twoway(folder, NAMES, "client", VALIDITY)
    for certificate, key in (
        ("ca_cert.pem", "ca_key.pem"),
        ("server/cert.pem", "server/key.pem"),
        ("client/cert.pem", "client/key.pem"),
    ):
        public = x509.load_pem_x509_certificate((folder / certificate).read_bytes()).public_key()
        private = load_pem_private_key((folder / key).read_bytes(), None)
        assert private.public_key() == public


def test_a_folder_that_exists_is_never_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "ssl"
    write_oneway(folder, NAMES, VALIDITY)
    before = (folder / "ssl.cfg").read_bytes()
    with pytest.raises(UsageError, match="exists and is not overwritten"):
        write_twoway(folder, NAMES, "client", VALIDITY)
    assert (folder / "ssl.cfg").read_bytes() == before
    assert _files(folder) == ONE_WAY


def test_a_write_that_fails_half_way_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_file = writing.write_file

    def fail_at_the_configuration(path: Path, data: bytes, *, mode: int, replace: bool) -> None:
        if path.name == "ssl.cfg":
            raise UsageError("disk full")
        write_file(path, data, mode=mode, replace=replace)

    monkeypatch.setattr(writing, "write_file", fail_at_the_configuration)
    with pytest.raises(UsageError, match="disk full"):
        write_oneway(tmp_path / "ssl", NAMES, VALIDITY)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_parent_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot write"):
        write_oneway(tmp_path / "no" / "ssl", NAMES, VALIDITY)


def test_a_name_that_is_none_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        write_oneway(tmp_path / "ssl", ['x"\nclient_verify: false'], VALIDITY)
    assert list(tmp_path.iterdir()) == []
