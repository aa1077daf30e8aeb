"""Manifest templates: known bytes, TOML that pins what the host must not choose, every version."""

from __future__ import annotations

import tomllib
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build_machine import BuildMachine
from golden import assert_golden
from sealserve.deploy.clouds import CLOUDS
from sealserve.deploy.description.model import GRAMINE_VERSIONS, Description, Model
from sealserve.deploy.description.reading import check_description
from sealserve.deploy.description.writing import Answers, describe
from sealserve.deploy.gramine.filling import BuildPaths, fill
from sealserve.deploy.gramine.lint import lint_manifest
from sealserve.deploy.gramine.render import render
from sealserve.deploy.gramine.schema import parse_version
from sealserve.deploy.gramine.sizing import sizing
from sealserve.deploy.gramine.testing import render_for_testing
from sealserve.deploy.weakness import Severity
from sealserve.errors import ConfigError
from sealserve.serving import settings as serving_settings
from sealserve.serving.flags import parse_flags

TWO_MODELS = """
[[models]]
name = "two"
base_path = "models/two"
key = "digits"
size = "3G"

[server]"""


def described(**answers: Any) -> str:
    return describe(Answers(**answers))


def read(text: str) -> Description:
    checked = check_description(text)
    assert checked.description is not None, checked.findings
    return checked.description


DESCRIPTIONS = {
    "stock-1.9": described(),
    "stock-1.5-two-models": described(gramine="1.5", tls="mutual", cloud="azure")
    .replace("\n[server]", TWO_MODELS)
    .replace("batching = false", "batching = true"),
    "sealserve-1.9": described(kind="sealserve"),
    "sealserve-1.7-edmm-two-models": described(kind="sealserve", gramine="1.7")
    .replace("\n[server]", TWO_MODELS)
    .replace("edmm = false", "edmm = true")
    .replace("batching = false", "batching = true"),
}


def filled_text(template: str) -> str:
    """A template as `gramine-manifest` would fill it in, for one machine."""
    paths = BuildPaths(
        entrypoint="/usr/bin/python3.11",
        sys_path=("/usr/lib/python3.11", "/usr/lib/python311.zip"),
        packages=("/opt/sealserve/lib/python3.11/site-packages",),
    )
    text = fill(template, paths, BuildMachine())
    assert "{{" not in text
    assert "{%" not in text
    return text


def manifest(description: Description) -> dict[str, Any]:
    rendered = render(description)
    return tomllib.loads(filled_text(rendered.files[rendered.manifest].decode()))


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_a_description_renders_to_the_known_bytes(name: str) -> None:
    assert_golden(f"gramine/{name}", render(read(DESCRIPTIONS[name])).files)


@pytest.mark.parametrize("kind", ["stock", "sealserve"])
def test_for_a_test_under_gramine_direct_it_renders_to_the_known_bytes(kind: str) -> None:
    description = read(DESCRIPTIONS[f"{kind}-1.9"])
    assert_golden(f"gramine-for-testing/{kind}-1.9", render_for_testing(description).files)


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize("name", ["stock-1.9", "sealserve-1.9"])
def test_in_every_cloud_the_enclave_is_the_same_so_that_one_golden_is_of_all(
    name: str, cloud: str
) -> None:
    """Clouds differ in where collateral comes from, which is the machine's affair."""
    text = DESCRIPTIONS[name]
    generic = read(text)
    other = read(text.replace('cloud = "generic"', f'cloud = "{cloud}"'))
    assert other.cloud == cloud
    found = {
        file: data.replace(other.digest.encode(), generic.digest.encode())
        for file, data in render(other).files.items()
    }
    assert found == render(generic).files


def encrypted(made: dict[str, Any]) -> list[tuple[str, str, str]]:
    mounts = (each for each in made["fs"]["mounts"] if each.get("type") == "encrypted")
    return [(each["path"], each["uri"], each["key_name"]) for each in mounts]


def test_the_stock_server_is_given_its_key_by_gramine_for_models_and_ssl_cfg() -> None:
    made = manifest(read(DESCRIPTIONS["stock-1.5-two-models"]))
    assert encrypted(made) == [
        ("/models/digits", "file:models/digits", "digits"),
        ("/models/two", "file:models/two", "digits"),
        ("/ssl.cfg", "file:ssl.cfg", "digits"),
    ]
    environment = made["loader"]["env"]
    assert environment["LD_PRELOAD"] == "libsecret_prov_attest.so"
    assert environment["SECRET_PROVISION_SET_KEY"] == "digits"
    assert environment["SECRET_PROVISION_SERVERS"] == "keys.example.com:4433"
    assert "file:key-service-ca.pem" in made["sgx"]["trusted_files"]
    assert "file:config/models.config" in made["sgx"]["trusted_files"]


@pytest.mark.parametrize("name", ["sealserve-1.9", "sealserve-1.7-edmm-two-models"])
def test_our_server_accepts_the_arguments_that_are_pinned_for_it(name: str) -> None:
    made = manifest(read(DESCRIPTIONS[name]))
    arguments = made["loader"]["argv"]
    python = made["libos"]["entrypoint"]  # by its whole name: it looks for its modules from there
    assert arguments[:7] == [python, "-s", "-P", "-B", "-m", "sealserve", "serve"]
    flags, notes = parse_flags(arguments[7:])
    serving_settings.check(flags)
    assert notes == []
    assert flags.attest
    assert flags.rest_api_port is None
    assert flags.secret_name == "digits"


def test_what_our_server_opens_by_itself_is_measured_as_it_is_sealed() -> None:
    made = manifest(read(DESCRIPTIONS["sealserve-1.9"]))
    assert encrypted(made) == []
    assert {"file:models/digits/", "file:ssl.cfg"} <= set(made["sgx"]["trusted_files"])
    assert not any(name.startswith("SECRET_PROVISION") for name in made["loader"]["env"])


@pytest.mark.parametrize("version", GRAMINE_VERSIONS)
def test_the_libos_is_named_where_the_version_wants_it_named(version: str) -> None:
    made = manifest(read(described(gramine=version)))
    named = version in ("1.5", "1.6", "1.7")
    libos = f"file:{BuildPaths().libos}"
    assert made["loader"].get("entrypoint") == (libos if named else None)
    assert (libos in made["sgx"]["trusted_files"]) is named


def test_every_output_shows_the_digest_of_its_description() -> None:
    for text in DESCRIPTIONS.values():
        description = read(text)
        rendered = render(description)
        assert description.digest in rendered.files[rendered.manifest].decode()


def test_a_larger_model_or_more_threads_never_make_a_smaller_enclave() -> None:
    found = [
        sizing(read(described(size=size).replace("threads = 4", f"threads = {threads}")))
        for size, threads in [("1M", 1), ("100M", 4), ("4G", 4), ("4G", 64)]
    ]
    sizes = [int(each.size.removesuffix("G")) for each in found]
    assert sizes == sorted(sizes)
    assert [each.threads for each in found] == sorted(each.threads for each in found)
    assert "not measured on SGX hardware" in found[0].reasoning[-1]


def test_models_that_fill_the_largest_enclave_before_anything_else_are_refused() -> None:
    with pytest.raises(ConfigError, match="more than any enclave"):
        render(read(described(size="128G")))


NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)


@st.composite
def valid(draw: st.DrawFn) -> Description:
    text = described(
        kind=draw(st.sampled_from(["tensorflow-serving", "sealserve"])),
        gramine=draw(st.sampled_from(GRAMINE_VERSIONS)),
        cloud=draw(st.sampled_from(CLOUDS)),
        tls=draw(st.sampled_from(["oneway", "mutual"])),
        cluster=draw(st.from_regex(r"[a-z][a-z0-9]{0,10}", fullmatch=True)),
        key=(key := draw(NAMES)),
    )
    for name in ("batching", "edmm"):
        text = text.replace(f"{name} = false", f"{name} = {str(draw(st.booleans())).lower()}")
    text = text.replace("threads = 4", f"threads = {draw(st.integers(1, 256))}")
    models = tuple(
        Model(name=name, base_path=f"models/m{at}", key=key, size=f"{draw(st.integers(1, 4096))}M")
        for at, name in enumerate(draw(st.lists(NAMES, min_size=1, max_size=4, unique=True)))
    )
    return read(text).model_copy(update={"models": models})


@settings(max_examples=60, deadline=None)
@given(valid())
def test_every_valid_description_renders_to_toml_that_leaves_the_host_no_choice(
    description: Description,
) -> None:
    assert render(description) == render(description)
    made = manifest(description)
    assert made["sgx"]["debug"] is False
    assert made["sgx"]["remote_attestation"] == "dcap"
    assert made["sgx"]["edmm_enable"] is description.gramine.edmm
    assert made["loader"]["argv"]
    assert "allowed_files" not in made["sgx"]
    assert not any("insecure" in key for table in made.values() for key in table)
    assert all(isinstance(value, str) for value in made["loader"]["env"].values())
    paths = [each["path"] for each in made["fs"]["mounts"]]
    assert len(set(paths)) == len(paths)


@settings(max_examples=40, deadline=None)
@given(valid(), st.booleans())
def test_the_linter_finds_no_fault_in_what_any_description_renders_to(
    description: Description, is_template: bool
) -> None:
    rendered = render(description)
    text = rendered.files[rendered.manifest].decode()
    if not is_template:
        text = filled_text(text)
    found = lint_manifest(text, parse_version(description.gramine.version))
    large = {"gramine.huge-size"}  # of models of many gigabytes
    assert {each.code for each in found if each.severity is not Severity.NOTE} <= large


def test_every_version_kind_cloud_and_way_of_memory_passes_the_linter() -> None:
    for version, kind, cloud, edmm in product(
        GRAMINE_VERSIONS, ("tensorflow-serving", "sealserve"), CLOUDS, ("true", "false")
    ):
        text = described(gramine=version, kind=kind, cloud=cloud)
        description = read(text.replace("edmm = false", f"edmm = {edmm}"))
        rendered = render(description)
        manifest_text = filled_text(rendered.files[rendered.manifest].decode())
        assert tomllib.loads(manifest_text)["sgx"]["edmm_enable"] is (edmm == "true")
        found = lint_manifest(manifest_text, parse_version(version))
        assert [each for each in found if each.severity is not Severity.NOTE] == []


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_the_linter_finds_neither_error_nor_warning_in_what_is_rendered(name: str) -> None:
    description = read(DESCRIPTIONS[name])
    rendered = render(description)
    text = rendered.files[rendered.manifest].decode()
    found = lint_manifest(text, parse_version(description.gramine.version))
    assert [each for each in found if each.severity is not Severity.NOTE] == []
