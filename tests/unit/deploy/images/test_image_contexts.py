"""What a build is given: what its recipe copies, and nothing that is or is called a secret."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sealserve.deploy.description.reading import check_description
from sealserve.deploy.description.writing import Answers, describe
from sealserve.deploy.images.building import Order, write_context
from sealserve.deploy.images.context import context_files, refuse_secret
from sealserve.deploy.images.families import find_family
from sealserve.deploy.images.recipe import MEASUREMENT_LABEL, RECIPE_NAME, Request
from sealserve.deploy.images.roles import DESCRIPTION_LABEL, find_role
from sealserve.deploy.images.wheels import requirement
from sealserve.errors import RejectedError, UsageError

SIGSTRUCTS = Path(__file__).parents[3] / "data" / "gramine"
DIGEST = "sha256:" + 64 * "0"
GIVEN = {"BASE": f"debian@{DIGEST}", "TFSERVING": f"tensorflow/serving@{DIGEST}"}


def description(**answers: object):  # of the room's own model
    found = check_description(describe(Answers(**answers))).description  # type: ignore[arg-type]
    assert found is not None
    return found


def order(folder: Path, **words: object) -> Order:
    return Order(find_family("debian"), folder, arguments=GIVEN, **words)  # type: ignore[arg-type]


@pytest.fixture
def keyrings(tmp_path: Path) -> Path:
    folder = tmp_path / "keyrings"
    folder.mkdir()
    (folder / "gramine-keyring.gpg").write_bytes(b"a public key, in OpenPGP's form")
    return folder


def test_a_context_has_every_file_that_its_recipe_copies(tmp_path: Path, keyrings: Path) -> None:
    made = order(tmp_path, description=description(), keyrings=keyrings)
    request = made.request(find_role("tensorflow"))
    files = context_files(request, description=made.description, keyrings=keyrings)
    copied = re.findall(r"^COPY ([^-]\S+)", files[RECIPE_NAME].decode(), re.MULTILINE)
    assert sorted(files) == sorted([RECIPE_NAME, *copied])
    assert made.reference(request) == "sealserve-tensorflow:0.1.0-unsigned"
    assert f'{DESCRIPTION_LABEL}="{made.description.digest}"' in files[RECIPE_NAME].decode()


def test_the_same_request_gives_the_same_context(tmp_path: Path, keyrings: Path) -> None:
    made = order(tmp_path, description=description(), keyrings=keyrings)
    written = []
    for name in ("one", "two"):
        write_context(tmp_path / name, made, find_role("tensorflow"))
        folder = tmp_path / name
        found = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}
        written.append(found)
    assert written[0] == written[1]


def test_an_argument_for_another_image_of_the_same_command_is_left_out(tmp_path: Path) -> None:
    request = order(tmp_path).request(find_role("proxy"))
    assert dict(request.arguments) == {"BASE": GIVEN["BASE"]}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("enclave/enclave-key.pem", b"x"),
        ("enclave/wrap-key", b"x"),
        ("wrap_key", b"x"),
        ("wrap.key", b"x"),
        ("keyrings/private.key", b"x"),
        ("kek", b"x"),
        ("client.p12", b"x"),
        ("database-passphrase.txt", b"x"),
        ("harmless", b"-----BEGIN RSA PRIVATE KEY-----\n"),
        ("harmless.txt", b"text before\n-----BEGIN ENCRYPTED PRIVATE KEY-----\n"),
        ("ssl.cfg", b'server_key: "-----BEGIN"'),
        ("sixteen-bytes", bytes(range(16))),
    ],
)
def test_no_file_like_a_secret_enters_a_context(name: str, content: bytes) -> None:
    with pytest.raises(UsageError, match="looks like a secret"):
        refuse_secret(name, content)


@pytest.mark.parametrize(
    "name",
    ["Containerfile", "enclave/sealserve.sig", "keyrings/gramine-keyring.gpg", "monkey.toml"],
)
def test_what_is_no_secret_may_enter(name: str) -> None:
    refuse_secret(name, b"nothing that is secret")


def test_a_keyring_that_holds_a_private_key_is_refused(tmp_path: Path, keyrings: Path) -> None:
    (keyrings / "gramine-keyring.gpg").write_bytes(b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n")
    made = order(tmp_path, description=description(), keyrings=keyrings)
    with pytest.raises(UsageError, match=r"gramine-keyring\.gpg looks like a secret"):
        write_context(tmp_path / "context", made, find_role("tensorflow"))
    assert not (tmp_path / "context").exists()


def test_what_an_enclave_needs_is_asked_for(tmp_path: Path, keyrings: Path) -> None:
    role = find_role("tensorflow")
    made = order(tmp_path, keyrings=keyrings)
    with pytest.raises(UsageError, match="made from a description"):
        write_context(tmp_path / "one", made, role)
    made = order(tmp_path, description=description())
    with pytest.raises(UsageError, match=r"gramine-keyring\.gpg is not given") as told:
        write_context(tmp_path / "two", made, role)
    assert "packages.gramineproject.io" in str(told.value.hint)
    made = order(tmp_path, description=description(kind="sealserve"), keyrings=keyrings)
    with pytest.raises(UsageError, match="the description's server is 'sealserve'"):
        write_context(tmp_path / "three", made, role)


def test_what_was_signed_is_for_images_with_gramine(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--signed is for images with Gramine"):
        order(tmp_path, signed=tmp_path).request(find_role("server"))


def test_what_was_signed_goes_on_the_image_that_waits_for_it(tmp_path: Path) -> None:
    signed = tmp_path / "signed"
    signed.mkdir()
    (signature,) = SIGSTRUCTS.rglob("*.sig")
    (signed / "tensorflow_model_server.sig").write_bytes(signature.read_bytes())
    (signed / "tensorflow_model_server.manifest.sgx").write_bytes(b"a manifest\n")
    (signed / "enclave-key.pem").write_bytes(b"-----BEGIN RSA PRIVATE KEY-----\n")
    made = Order(find_family("debian"), tmp_path, signed=signed)
    request = write_context(tmp_path / "context", made, find_role("tensorflow"))
    assert request.unsigned == "sealserve-tensorflow:0.1.0-unsigned"
    assert made.reference(request) == "sealserve-tensorflow:0.1.0"
    assert len(request.labels[MEASUREMENT_LABEL]) == 64
    names = {path.name for path in (tmp_path / "context").rglob("*") if path.is_file()}
    assert names == {
        RECIPE_NAME,
        "tensorflow_model_server.sig",
        "tensorflow_model_server.manifest.sgx",
    }


def test_a_signature_that_is_not_whole_makes_no_image(tmp_path: Path) -> None:
    (tmp_path / "tensorflow_model_server.sig").write_bytes(bytes(1808))
    made = Order(find_family("debian"), tmp_path, signed=tmp_path)
    with pytest.raises(RejectedError):
        made.request(find_role("tensorflow"))


def test_a_requirement_takes_one_wheel_and_no_other() -> None:
    assert requirement("pydantic_core-2.50.4-cp311-cp311-manylinux_2_17_x86_64.whl", b"x") == (
        "pydantic_core==2.50.4 --hash=sha256:"
        "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881\n"
    )


def test_only_roles_with_packages_of_python_have_wheels() -> None:
    families = find_family("debian")
    assert Request(find_role("server"), families).needs_wheels
    assert not Request(find_role("proxy"), families).needs_wheels
    assert not Request(find_role("server"), families, gramine=True, unsigned="x:1").needs_wheels


@pytest.mark.parametrize(("version", "dated"), [("1.5", False), ("1.6", True), ("1.9", True)])
def test_gramine_is_the_description_s_and_the_signer_gets_what_that_version_takes(
    tmp_path: Path, keyrings: Path, version: str, dated: bool
) -> None:
    made = order(tmp_path, description=description(gramine=version), keyrings=keyrings)
    request = made.request(find_role("tensorflow"))
    files = context_files(request, description=made.description, keyrings=keyrings)
    assert f'ARG GRAMINE_VERSION="{version}"' in files[RECIPE_NAME].decode()
    script = files["enclave/sign"].decode()
    assert ("--date 0000-00-00" in script) == dated
    assert "-Dentrypoint" not in script
    assert script.endswith('"$@"\n')
