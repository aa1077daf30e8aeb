"""Folders with several models: which are served, under which key, for which path."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealserve.cli import main
from sealserve.deploy.description.model import Description
from sealserve.deploy.description.reading import check_description
from sealserve.deploy.migration import guesses, models, sealed, tls_config
from sealserve.deploy.migration.migrating import Migration, migrate
from sealserve.deploy.migration.models_config import Entry, read_models_config
from sealserve.errors import ConfigError
from sealserve.sealing import seal, unseal

NOW = datetime(2026, 6, 1, tzinfo=UTC)
FIRST, SECOND = bytes(range(16)), bytes(range(16, 32))
VECTORS = Path(__file__).parents[2] / "data" / "gramine"
CONFIG = """\
# What is served.
model_config_list: {
  config: {
    name: "faces", base_path: "/models/vision/faces"
    model_platform: 'tensorflow';
  }
  config <
    name: "digits" base_path: "/models/"
    "digits"
    model_version_policy { specific { versions: [1, 2] } }
    version_labels { key: "stable" value: 1 }
  >
}
"""


def sealed_file(path: str, key: bytes, *, size: int = 5000, version: int = 1) -> bytes:
    sink = io.BytesIO()
    seal(io.BytesIO(bytes(size)), sink, key, path=path, version=version)
    return sink.getvalue()


def lay_out(folder: Path, content: Mapping[str, str | bytes]) -> Path:
    for name, data in content.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
    return folder


def model(path: str, key: bytes, *, version: int = 1, under: str = "server") -> dict[str, bytes]:
    file = f"{path}/{version}/saved_model.pb"
    return {f"{under}/{file}": sealed_file(file, key)}


def described(migration: Migration) -> Description:
    description = check_description(migration.description).description
    assert description is not None
    return description


def codes(migration: Migration) -> list[str]:
    return [each.code for each in migration.faults if each.code.startswith("models.")]


def paths(migration: Migration) -> list[tuple[str, str]]:
    return [(each.name, each.base_path) for each in described(migration).models]


def test_models_of_one_key_become_one_description(tmp_path: Path) -> None:
    lay_out(tmp_path, model("models/faces", FIRST) | model("models/digits", FIRST))
    migration = migrate(tmp_path, "zoo", NOW, {"wrap-key": FIRST})
    assert paths(migration) == [("digits", "models/digits"), ("faces", "models/faces")]
    assert described(migration).key == "zoo"
    assert codes(migration) == []
    assert {each.key: each.source for each in migration.guesses}["key"] == "--secret, for wrap-key"


def test_models_of_two_keys_are_told_apart_with_what_to_do(tmp_path: Path) -> None:
    content = model("models/a", FIRST) | model("models/b", SECOND) | model("models/c", FIRST)
    migration = migrate(lay_out(tmp_path, content), "key", NOW, {"one": SECOND, "two": FIRST})
    assert paths(migration) == [("a", "models/a"), ("c", "models/c")]
    (fault,) = [each for each in migration.faults if each.code == "models.other-key"]
    assert (fault.file, fault.message) == ("models/b", "b is sealed with one, and not with two")
    assert "sealserve deploy init --model b --base-path models/b --key KEY" in fault.cure
    assert "sealserve reseal" in fault.cure


def test_without_a_key_nothing_is_opened_and_that_is_said(tmp_path: Path) -> None:
    lay_out(tmp_path, model("models/a", FIRST) | model("models/b", SECOND))
    migration = migrate(tmp_path, "key", NOW)
    assert paths(migration) == [("a", "models/a"), ("b", "models/b")]
    assert codes(migration) == ["models.untried"]


def test_what_no_key_opens_is_not_described_and_named(tmp_path: Path) -> None:
    lay_out(tmp_path, model("models/a", FIRST) | model("models/b", SECOND))
    migration = migrate(tmp_path, "key", NOW, {"wrap-key": FIRST})
    assert paths(migration) == [("a", "models/a")]
    assert codes(migration) == ["models.no-key"]


def test_a_model_of_two_keys_is_not_described(tmp_path: Path) -> None:
    content = model("models/a", FIRST) | model("models/a", SECOND, version=2)
    content |= model("models/b", FIRST)
    migration = migrate(lay_out(tmp_path, content), "key", NOW, {"x": FIRST, "y": SECOND})
    assert paths(migration) == [("b", "models/b")]
    assert codes(migration) == ["models.other-key"]


def test_models_config_says_names_and_paths(tmp_path: Path) -> None:
    content = model("models/vision/faces", FIRST) | model("models/digits", FIRST)
    lay_out(tmp_path, {"server/models.config": CONFIG} | content | model("models/old", FIRST))
    migration = migrate(tmp_path, "key", NOW, {"wrap-key": FIRST})
    assert paths(migration) == [("faces", "models/vision/faces"), ("digits", "models/digits")]
    found = [
        (each.file, each.line, each.code) for each in migration.faults if "models." in each.code
    ]
    assert found == [
        ("server/models.config", 7, "models.not-carried"),
        ("server/models/old", None, "models.unnamed"),
    ]
    sources = {each.key: each.source for each in migration.guesses}
    assert (sources["model"], sources["model 2"]) == (
        "server/models.config:3",
        "server/models.config:7",
    )


def test_the_path_on_the_host_is_that_of_the_mount(tmp_path: Path) -> None:
    config = (
        'model_config_list { config { name: "a" base_path: "/models/a" }\n'
        'config { name: "b" base_path: "/served/b" } }'
    )
    manifest = (
        "fs.mounts = [\n"
        ' { type = "encrypted", path = "/models", uri = "file:data/zoo" },\n'
        ' { type = "encrypted", path = "/served/b/1/saved_model.pb",'
        ' uri = "file:host/b/1/saved_model.pb" },\n'
        "]\n"
    )
    files = {"models.config": config, "tensorflow_model_server.manifest.template": manifest}
    lay_out(tmp_path, files | model("data/zoo/a", FIRST) | model("host/b", FIRST))
    migration = migrate(tmp_path, "key", NOW, {"wrap-key": FIRST})
    assert paths(migration) == [("a", "data/zoo/a"), ("b", "host/b")]
    assert codes(migration) == []


def test_the_path_that_a_model_is_sealed_for_wins_over_where_it_lies(tmp_path: Path) -> None:
    file = sealed_file("zoo/faces/1/saved_model.pb", FIRST)
    lay_out(tmp_path, {"client/models/faces/1/saved_model.pb": file})
    assert paths(migrate(tmp_path, "key", NOW)) == [("faces", "models/faces")]
    migration = migrate(tmp_path, "key", NOW, {"wrap-key": FIRST})
    assert paths(migration) == [("faces", "zoo/faces")]


@pytest.mark.parametrize(
    ("embedded", "words"),
    [
        (("models/a/1/x.pb", "other/a/2/x.pb"), "several folders: models/a, other/a"),
        (("x.pb", "models/a/2/x.pb"), "sealed for x.pb, which is no file of a version of a"),
    ],
    ids=["two folders", "no version"],
)
def test_files_that_no_one_path_opens_are_an_error(
    embedded: tuple[str, str], words: str, tmp_path: Path
) -> None:
    files = {f"models/a/{n}/x.pb": sealed_file(each, FIRST) for n, each in enumerate(embedded, 1)}
    migration = migrate(lay_out(tmp_path, files), "key", NOW, {"wrap-key": FIRST})
    (fault,) = [each for each in migration.faults if each.code == "models.paths"]
    assert words in fault.message


def test_models_that_are_not_sealed_are_an_error(tmp_path: Path) -> None:
    lay_out(tmp_path, {"models/a/1/saved_model.pb": b"\x08\x01", "models/a/1/variables": b""})
    migration = migrate(tmp_path, "key", NOW)
    assert codes(migration) == ["models.plain"]
    assert any("2 files of a are not sealed" in each.message for each in migration.faults)


def sealed_text(path: str, text: bytes, key: bytes) -> bytes:
    sink = io.BytesIO()
    seal(io.BytesIO(text), sink, key, path=path, version=1)
    return sink.getvalue()


def test_a_sealed_tls_configuration_is_held_to_key_and_path(tmp_path: Path) -> None:
    content = model("models/a", FIRST) | {
        "ssl.cfg": sealed_text("ssl.cfg", b"client_verify: true", FIRST),
        "x/ssl.cfg": sealed_text("ssl.cfg", b"", SECOND),
        "y/ssl.cfg": sealed_text("tls/ssl.cfg", b"", FIRST),
        "z/ssl.cfg": sealed_text("ssl.cfg", b"", bytes(16)),
        "zz/ssl.cfg": sealed_text("ssl.cfg", b"<xml>", FIRST),
    }
    lay_out(tmp_path, content)
    migration = migrate(tmp_path, "key", NOW, {"one": FIRST, "two": SECOND})
    assert [(each.file, each.code) for each in migration.faults] == [
        ("x/ssl.cfg", "models.other-key"),
        ("y/ssl.cfg", "migrate.tls-path"),
        ("z/ssl.cfg", "models.no-key"),
        ("zz/ssl.cfg", "migrate.tls-mode"),
    ]
    assert described(migration).tls.mode == "mutual"
    assert {each.key: each.source for each in migration.guesses}["tls"] == (
        "ssl.cfg: opened with one"
    )


def test_the_mode_of_a_sealed_tls_configuration_is_a_guess_without_its_key(tmp_path: Path) -> None:
    lay_out(tmp_path, {"ssl.cfg": sealed_text("ssl.cfg", b"client_verify: true", FIRST)})
    migration = migrate(tmp_path, "key", NOW)
    assert [each.code for each in migration.faults] == ["migrate.tls-mode"]
    assert described(migration).tls.mode == "oneway"


@pytest.mark.parametrize(
    ("name", "path", "words"),
    [
        ("a b", "models/x", "letters"),
        ("x", "gs://bucket/x", "letters"),
        ("x", "models/../x", "no .. leads"),
        ("faces", "models/x", "two models are called faces"),
        ("x", "models/faces/x", "lies in the other"),
        ('x"\\n[y', "models/x", "has signs that no such value has"),
    ],
)
def test_what_no_description_takes_is_said_and_left_out(
    name: str, path: str, words: str, tmp_path: Path
) -> None:
    config = f"""model_config_list {{
      config {{ name: "faces" base_path: "/models/faces" }}
      config {{ name: '{name}' base_path: "{path}" }} }}"""
    migration = migrate(lay_out(tmp_path, {"models.config": config}), "key", NOW)
    assert paths(migration) == [("faces", "models/faces")]
    (fault,) = [each for each in migration.faults if each.code == "models.not-described"]
    assert words in fault.message


def test_a_models_config_that_is_none_is_said_and_the_folders_count(tmp_path: Path) -> None:
    lay_out(tmp_path, {"models.config": "<?xml"} | model("models/a", FIRST))
    migration = migrate(tmp_path, "key", NOW)
    assert paths(migration) == [("a", "models/a")]
    assert [each.code for each in migration.faults] == ["migrate.unreadable"]


def test_more_models_than_a_description_takes_are_said(tmp_path: Path) -> None:
    lay_out(tmp_path, {f"models/m{n}/1/x": b"" for n in range(guesses.MODELS + 1)})
    migration = migrate(tmp_path, "key", NOW)
    assert len(described(migration).models) == guesses.MODELS
    assert "models.not-described" in codes(migration)


def test_the_model_of_the_start_script_comes_first(tmp_path: Path) -> None:
    script = "docker run \\\n  -e model_name=faces \\\n  image\n"
    content = model("models/digits", FIRST) | model("models/faces", FIRST)
    lay_out(tmp_path, {"run.sh": script} | content)
    migration = migrate(tmp_path, "key", NOW, {"wrap-key": FIRST})
    assert [name for name, _ in paths(migration)] == ["faces", "digits"]


@pytest.mark.parametrize("form", [1, 2])
def test_what_gramine_sealed_goes_on_to_open_and_says_its_path(form: int, tmp_path: Path) -> None:
    """Gramine's own tool sealed these files, for a path that is no version of a model."""
    folder = VECTORS / f"protected-files-v{form}"
    manifest = json.loads((folder / "manifest.json").read_text())
    key = bytes.fromhex(manifest["wrap_key_hex"])
    (sample,) = [each for each in manifest["vectors"] if each["name"] == "size-7168"]
    old = lay_out(tmp_path / "old", {})
    place = old / "models" / "digits" / "1"
    place.mkdir(parents=True)
    (place / "saved_model.pb").write_bytes((folder / sample["encrypted_file"]).read_bytes())
    for name, data in (("wrap-key", key), ("new.key", SECOND)):
        (tmp_path / name).write_bytes(data)
        (tmp_path / name).chmod(0o600)

    migration = migrate(old, "key", NOW, {"wrap-key": key})
    assert codes(migration) == ["models.paths"]
    (fault,) = [each for each in migration.faults if each.code == "models.paths"]
    assert f"it is sealed for {sample['embedded_path']}" in fault.message

    words = ["-w", tmp_path / "wrap-key", "--new-wrap-key", tmp_path / "new.key", "-i"]
    words += [old / "models" / "digits", "-o", tmp_path / "new" / "models" / "digits"]
    (tmp_path / "new" / "models").mkdir(parents=True)
    with pytest.raises(SystemExit) as ended:
        main(["reseal", *map(str, words), "--embed-path", "models/digits"])
    assert ended.value.code == 0
    again = migrate(tmp_path / "new", "key", NOW, {"new.key": SECOND})
    assert (codes(again), paths(again)) == ([], [("digits", "models/digits")])
    sink = io.BytesIO()
    with (tmp_path / "new/models/digits/1/saved_model.pb").open("rb") as stream:
        header = unseal(stream, sink, SECOND, expected_path="models/digits/1/saved_model.pb")
    assert header.version == form
    assert hashlib.sha256(sink.getvalue()).hexdigest() == sample["plaintext_sha256"]


def test_neither_key_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lay_out(tmp_path / "old", model("models/a", FIRST) | model("models/b", SECOND))
    words: list[object] = ["--from", tmp_path / "old", "--out", tmp_path / "new"]
    for name, key in (("one", b"A" * 16), ("two", b"B" * 16)):
        (tmp_path / name).write_bytes(key)
        (tmp_path / name).chmod(0o600)
        words += ["--wrap-key", tmp_path / name]
    with pytest.raises(SystemExit) as ended:
        main(["migrate", *map(str, words)])
    assert ended.value.code == 0
    captured = capsys.readouterr()
    said = captured.out + captured.err
    said += "".join(each.read_text() for each in (tmp_path / "new").iterdir())
    for key in (b"A" * 16, b"B" * 16):
        assert key.decode() not in said
        assert key.hex() not in said


def test_a_models_config_is_read_as_protobuf_reads_it() -> None:
    assert read_models_config(CONFIG) == (
        Entry(3, "faces", "/models/vision/faces", "tensorflow", ()),
        Entry(7, "digits", "/models/digits", "", ("model_version_policy", "version_labels")),
    )


BAD_CONFIGS = {
    "": "no model_config_list",
    "model_config_list {": "line 1: expected the name of a field",
    "model_config_list { config { name: } }": "expected a value",
    'model_config_list {\n config { name: "a" }\n}': "line 2: a model needs name and base_path",
    "\n\nmodel_config_list { config { name: ” } }": "line 3: this is not",
    'a: "\\x41"': "line 1: an escape",
    "a: [" + "1," * 9: "expected a value",
    "a {" * 100: "messages in one another",
    "custom_model_config { x: 1 }": "no model_config_list",
    "model_config_list {" + 'config { name: "a" base_path: "b" }' * 1001 + "}": "1001 models",
}


@pytest.mark.parametrize("text", BAD_CONFIGS, ids=range(len(BAD_CONFIGS)))
def test_what_is_no_models_config_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=BAD_CONFIGS[text]):
        read_models_config(text)


PIECES = st.sampled_from([*"{}<>[]:,;\"'#\n\\", "config", "name", "1", "model_config_list", "ä"])


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(CONFIG)), st.integers(0, 20), st.lists(PIECES, max_size=8))
def test_a_damaged_models_config_raises_nothing_but_our_errors(
    at: int, cut: int, pieces: list[str]
) -> None:
    text = CONFIG[:at] + "".join(pieces) + CONFIG[at + cut :]
    try:
        entries = read_models_config(text)
    except ConfigError as error:
        assert error.message
        return
    assert all(each.name and each.base_path for each in entries)


@pytest.mark.timeout(20)  # quadratic would be minutes
@pytest.mark.parametrize("part", ['"', '"" ', "[", "a:", "a{", "a:1 ", "#\n", "\n", "<"])
def test_one_sign_over_and_over_is_read_in_a_moment(part: str) -> None:
    with pytest.raises(ConfigError):
        read_models_config("x" + part * ((250 << 10) // len(part)))


def test_codes_of_models_are_of_one_rule_each() -> None:
    rules = [*models.RULES, *sealed.RULES, *tls_config.RULES, guesses.NOT_DESCRIBED]
    assert len({each.code for each in rules}) == len(rules)
