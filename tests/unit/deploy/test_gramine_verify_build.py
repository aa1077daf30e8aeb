"""Whether somebody else's build is the described one: what differs is named, with both sides.

Gramine is not here: the signed manifest is made from the template as `gramine-manifest` would make
it, and a stand-in measures. With the real programs: tests/integration/gramine.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from build_machine import BuildMachine
from gramine_stand_in import LIBPAL
from made_sigstruct import made_sigstruct, stand_in_measurement
from sealserve.cli import main
from sealserve.deploy.description.model import GRAMINE_VERSIONS
from sealserve.deploy.description.reading import check_description
from sealserve.deploy.description.writing import Answers, describe
from sealserve.deploy.gramine import measuring
from sealserve.deploy.gramine.comparing import different_keys
from sealserve.deploy.gramine.filling import BuildPaths, fill, paths_in
from sealserve.deploy.gramine.render import render
from sealserve.deploy.gramine.signed import read_signed
from sealserve.deploy.gramine.testing import render_for_testing
from sealserve.deploy.gramine.trusted import Root, trusted_files
from sealserve.errors import ConfigError, FormatError

STAND_IN = Path(__file__).parents[2] / "support" / "gramine_stand_in.py"
PATHS = BuildPaths(
    libraries="/lib/x86_64-linux-gnu",
    runtime="/usr/lib/gramine/runtime/glibc",
    libos="/usr/lib/gramine/libsysdb.so",
    entrypoint="/usr/bin/python3.11",
    sys_path=("/usr/lib/python3.11", "/usr/lib/python3/dist-packages"),
    packages=("/opt/sealserve",),
)
SYSTEM = {
    "lib/x86_64-linux-gnu/libc.so.6": b"libc",
    "lib/x86_64-linux-gnu/perl/perl.so": b"deeper: not a library of the folder itself",
    "usr/lib/x86_64-linux-gnu/libz.so.1": b"zlib",
    "usr/lib/x86_64-linux-gnu/libz.a": b"no shared library",
    "usr/lib/gramine/runtime/glibc/ld.so": b"loader",
    "usr/lib/gramine/libsysdb.so": b"libos",
    "usr/bin/python3.11": b"python",
    "usr/bin/tensorflow_model_server": b"server",
    "usr/lib/python3.11/os.py": b"os",
    "usr/lib/python3.11/json/decoder.py": b"decoder",
    "usr/lib/python3.11/json-b.py": b"sorted behind the folder",
    "usr/lib/python3/dist-packages/six.py": b"six",
    "opt/sealserve/sealserve/__init__.py": b"sealserve",
}
FOLDER = {
    "models/digits/1/saved_model.xml": b"sealed",
    "ssl.cfg": b"sealed, too",
    "key-service-ca.pem": b"-----BEGIN CERTIFICATE-----",
}


def toml(document: dict[str, Any]) -> str:
    """A table as TOML, whatever is in it."""

    def value(each: Any) -> str:
        if isinstance(each, dict):
            return f"{{ {', '.join(f'{json.dumps(k)} = {value(v)}' for k, v in each.items())} }}"
        if isinstance(each, list):
            return f"[{', '.join(map(value, each))}]"
        return json.dumps(each)

    return "".join(f"{json.dumps(key)} = {value(each)}\n" for key, each in document.items())


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


@dataclass
class Build:
    """A build, as somebody hands it over, and the files of whoever verifies it."""

    folder: Path
    document: dict[str, Any]
    libpal: bytes = LIBPAL
    product: int = 0
    svn: int = 1
    debug: bool = False

    @property
    def files(self) -> list[dict[str, str]]:
        listed: list[dict[str, str]] = self.document["sgx"]["trusted_files"]
        return listed

    def sign(self) -> None:
        manifest = toml(self.document).encode()
        (self.folder / "server.manifest.sgx").write_bytes(manifest)
        measured = stand_in_measurement(manifest, self.libpal)
        sig = made_sigstruct(measured, product=self.product, svn=self.svn, debug=self.debug)
        (self.folder / "server.sig").write_bytes(sig)

    def verify(self, *more: object) -> int:
        files = ("--manifest", self.folder / "server.manifest.sgx", "--sig")
        roots = ("--root", self.folder / "system", "--folder", self.folder / "enclave")
        arguments = (self.folder / "d.toml", *files, self.folder / "server.sig", *roots, *more)
        with pytest.raises(SystemExit) as ended:
            main(["gramine", "verify-build", *map(str, arguments)])
        assert isinstance(ended.value.code, int)
        return ended.value.code


def build(folder: Path, **answers: Any) -> Build:
    """What `gramine-manifest` and `gramine-sgx-sign` make of a description, by hand."""
    text = describe(Answers(**{"kind": "sealserve", **answers}))
    description = check_description(text).description
    assert description is not None
    (folder / "d.toml").write_text(text)
    write(folder / "system", SYSTEM)
    write(folder / "enclave", FOLDER)
    rendered = render(description)
    document = tomllib.loads(
        fill(rendered.files[rendered.manifest].decode(), PATHS, Root(folder / "system", folder))
    )
    hashes = {f"file:/{name}": data for name, data in SYSTEM.items()}
    hashes |= {f"file:{name}": data for name, data in FOLDER.items()}
    listed = [
        name
        for uri in document["sgx"]["trusted_files"]
        for name in sorted(hashes, key=lambda name: name.split("/"))
        if name == uri or (uri.endswith("/") and name.startswith(uri))
    ]
    document["sgx"] |= {
        "trusted_files": [
            {"uri": name, "sha256": hashlib.sha256(hashes[name]).hexdigest()}
            for name in dict.fromkeys(listed)
        ],
        "enable_stats": False,
    }
    libos = hashlib.sha256(SYSTEM["usr/lib/gramine/libsysdb.so"]).hexdigest()
    if description.gramine.version in ("1.8", "1.9"):
        entrypoint = {"uri": f"file:{PATHS.libos}", "sha256": libos}
        document["loader"]["entrypoint"] = entrypoint
    if description.gramine.version != "1.5":
        features = {"avx": "unspecified", "mpx": "disabled", "pkru": "disabled"}
        document["sgx"] |= {"use_exinfo": False, "cpu_features": features}
    made = Build(folder, document)
    made.sign()
    return made


@pytest.fixture
def gramine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stand-in on the PATH; the file says with what it was called."""
    folder, asked = tmp_path / "bin", tmp_path / "asked"
    folder.mkdir()
    script = folder / measuring.SIGNER
    command = f'"{sys.executable}" "{STAND_IN}" "$@"'
    script.write_text(
        f'#!/bin/sh\necho "$@" >"{asked}"\nPYTHONPATH="{STAND_IN.parent}" {command}\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return asked


@pytest.fixture
def no_gramine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


def differences(capsys: pytest.CaptureFixture[str]) -> list[tuple[str, str, object, object]]:
    found = json.loads(capsys.readouterr().out)["differences"]
    return [(each["kind"], each["name"], each["signed"], each["here"]) for each in found]


@pytest.mark.parametrize("kind", ["sealserve", "tensorflow-serving"])
def test_the_same_description_and_files_reproduce_the_measurement(
    kind: str, tmp_path: Path, gramine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = build(tmp_path, kind=kind)
    assert made.verify("--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["outcome"], facts["differences"]) == ("reproduced", [])
    assert facts["mr_enclave"] == facts["mr_enclave_here"]
    assert facts["trusted_files"] == len(made.files)


@pytest.mark.parametrize("version", GRAMINE_VERSIONS)
def test_what_a_version_of_gramine_adds_by_itself_is_no_difference(
    version: str, tmp_path: Path, no_gramine: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build(tmp_path, gramine=version).verify("--json") == 2
    assert differences(capsys) == []


def test_the_key_that_measures_is_made_for_it_and_gone_afterwards(
    tmp_path: Path, gramine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build(tmp_path).verify() == 0
    assert "REPRODUCED" in capsys.readouterr().out
    asked = gramine.read_text().split()
    key = Path(asked[asked.index("--key") + 1])
    assert not key.parent.exists()


def test_without_gramine_the_measurement_is_not_claimed(
    tmp_path: Path, no_gramine: None, capsys: pytest.CaptureFixture[str]
) -> None:
    made = build(tmp_path)
    assert made.verify() == 2
    printed = capsys.readouterr()
    assert "NOT RECOMPUTED" in printed.out
    assert "install the Gramine that made the build" in printed.err
    assert made.verify("--json") == 2
    facts = json.loads(capsys.readouterr().out)
    assert (facts["outcome"], facts["mr_enclave_here"]) == ("not-recomputed", None)


def test_without_gramine_what_differs_is_still_said(
    tmp_path: Path, no_gramine: None, capsys: pytest.CaptureFixture[str]
) -> None:
    made = build(tmp_path)
    (tmp_path / "system/usr/bin/python3.11").write_bytes(b"another")
    assert made.verify() == 5
    assert "DIFFERS: 1 difference\n" in capsys.readouterr().out


def _changed(made: Build) -> None:
    (made.folder / "system/usr/lib/python3.11/os.py").write_bytes(b"another")


def _missing(made: Build) -> None:
    (made.folder / "system/usr/lib/python3.11/os.py").unlink()


def _additional(made: Build) -> None:
    write(made.folder / "system", {"usr/lib/python3.11/sitecustomize.py": b"another"})


def _model(made: Build) -> None:
    write(made.folder / "enclave", {"models/digits/1/saved_model.xml": b"another model"})


def _libos(made: Build) -> None:
    (made.folder / "system/usr/lib/gramine/libsysdb.so").write_bytes(b"another")


def _order(made: Build) -> None:
    made.files[0], made.files[1] = made.files[1], made.files[0]
    made.sign()


def _arguments(made: Build) -> None:
    arguments = made.document["loader"]["argv"]
    arguments[arguments.index("--port=8500")] = "--port=8501"
    made.sign()


def _added_key(made: Build) -> None:
    made.document["loader"]["insecure__use_host_env"] = True
    made.sign()


def _left_out(made: Build) -> None:
    del made.document["sys"]["disallow_subprocesses"]
    made.sign()


def _added_mount(made: Build) -> None:
    made.document["fs"]["mounts"].append({"path": "/etc", "uri": "file:/etc"})
    made.sign()


def _another_type(made: Build) -> None:
    made.document["sgx"]["debug"] = 0
    made.sign()


def _no_default(made: Build) -> None:
    made.document["sgx"]["enable_stats"] = True
    made.sign()


def _debug(made: Build) -> None:
    made.debug = True
    made.sign()


def _version(made: Build) -> None:
    made.svn, made.product = 7, 3
    made.sign()


def _another_gramine(made: Build) -> None:
    made.libpal = b"another libpal.so"
    made.sign()


PYTHON = "file:/usr/lib/python3.11"
SAME = "the same"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_changed, [("changed-file", f"{PYTHON}/os.py", sha256(b"os"), sha256(b"another"))]),
        (_missing, [("missing-file", f"{PYTHON}/os.py", sha256(b"os"), None)]),
        (
            _additional,
            [("additional-file", f"{PYTHON}/sitecustomize.py", None, sha256(b"another"))],
        ),
        (
            _model,
            [
                (
                    "changed-file",
                    "file:models/digits/1/saved_model.xml",
                    sha256(b"sealed"),
                    sha256(b"another model"),
                )
            ],
        ),
        (
            _libos,
            [("changed-file", f"file:{PATHS.libos}", sha256(b"libos"), sha256(b"another"))],
        ),
        (
            _order,
            [
                (
                    "order",
                    "sgx.trusted_files[0]",
                    "file:/usr/lib/gramine/runtime/glibc/ld.so",
                    "file:/usr/bin/python3.11",
                )
            ],
        ),
        (_arguments, [("key", "loader.argv[7]", "--port=8501", "--port=8500")]),
        (_added_key, [("key", "loader.insecure__use_host_env", True, None)]),
        (_left_out, [("key", "sys.disallow_subprocesses", None, True)]),
        (_added_mount, [("key", "fs.mounts[11]", {"path": "/etc", "uri": "file:/etc"}, None)]),
        (_another_type, [("key", "sgx.debug", 0, False)]),
        (_no_default, [("key", "sgx.enable_stats", True, False)]),
        (_version, [("sigstruct", "isv_prod_id", 3, 0), ("sigstruct", "isv_svn", 7, 1)]),
        (_debug, [("sigstruct", "debug", True, False)]),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else "",
)
def test_what_differs_is_named_with_what_was_signed_and_what_is_here(
    change: Callable[[Build], None],
    expected: list[tuple[str, str, object, object]],
    tmp_path: Path,
    no_gramine: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = build(tmp_path)
    change(made)
    assert made.verify("--json") == 5
    assert differences(capsys) == expected


def test_another_build_of_gramine_measures_otherwise_and_that_is_said(
    tmp_path: Path, gramine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = build(tmp_path)
    _another_gramine(made)
    assert made.verify() == 5
    printed = capsys.readouterr()
    assert "measurement: mr_enclave" in printed.out
    assert "another build of Gramine" in printed.err
    theirs = tmp_path / "libpal.so"
    theirs.write_bytes(made.libpal)
    assert made.verify("--libpal", theirs) == 0


def test_a_sigstruct_of_another_manifest_is_found_though_every_file_is_the_same(
    tmp_path: Path, gramine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = build(tmp_path)
    (tmp_path / "server.sig").write_bytes(made_sigstruct(bytes(32)))
    assert made.verify("--json") == 5
    assert [each[:3] for each in differences(capsys)] == [
        ("measurement", "mr_enclave", bytes(32).hex())
    ]


def test_a_manifest_that_gramine_refuses_is_told_in_its_words(
    tmp_path: Path, gramine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = build(tmp_path)
    made.document["refused"] = True
    made.sign()
    assert made.verify() == 2
    assert "extra keys not allowed" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["sealserve", "tensorflow-serving"])
def test_a_manifest_for_testing_that_was_signed_never_passes(
    kind: str, tmp_path: Path, no_gramine: None, capsys: pytest.CaptureFixture[str]
) -> None:
    made = build(tmp_path, kind=kind)
    description = check_description((tmp_path / "d.toml").read_text()).description
    assert description is not None
    rendered = render_for_testing(description)
    text = fill(rendered.files[rendered.manifest].decode(), PATHS, BuildMachine())
    made.document = tomllib.loads(text)
    made.document["sgx"]["trusted_files"] = []
    made.debug = True
    made.sign()
    assert made.verify("--json") == 5
    found = {name for _, name, _, _ in differences(capsys)}
    marked = "loader.env.SEALSERVE_DANGEROUSLY_FOR_TESTING"
    assert {"debug", "sgx.debug", "sgx.remote_attestation", marked} <= found


def test_links_lead_nowhere_out_of_the_root(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("outside")
    root = tmp_path / "system"
    write(root, {"lib/libz.so.1": b"zlib", "deep/er/file": b"x"})
    (root / "lib/libz.so").symlink_to("libz.so.1")
    (root / "lib/absolute.so").symlink_to("/lib/libz.so.1")
    (root / "lib/out.so").symlink_to("../../../../secret")
    (root / "lib/loop.so").symlink_to("loop.so")
    (root / "lib/folder").symlink_to("/deep")
    os.mkfifo(root / "lib/pipe")
    found = trusted_files(["file:/lib/", "file:/lib/loop.so"], Root(root, tmp_path))
    zlib = sha256(b"zlib")
    assert found == {
        "file:/lib/absolute.so": zlib,
        "file:/lib/libz.so": zlib,
        "file:/lib/libz.so.1": zlib,
        "file:/lib/loop.so": None,
    }


def test_the_libraries_of_a_folder_are_its_shared_ones_and_links_to_them(tmp_path: Path) -> None:
    root = tmp_path / "system"
    names = ("libz.so.1.2", "libz.a", "deep/libd.so", 'bad".so', "ld.so.conf")
    write(root, {f"lib/{name}": b"" for name in names})
    (root / "lib/libz.so").symlink_to("/lib/libz.so.1.2")
    (root / "lib/gone.so").symlink_to("nowhere")
    (root / "lib/folder.so").mkdir()
    found = Root(root, tmp_path).libraries("/lib")
    assert found == ("/lib/ld.so.conf", "/lib/libz.so", "/lib/libz.so.1.2")
    assert Root(root, tmp_path).libraries("/nowhere") == ()


def test_a_folder_that_is_not_there_is_missing(tmp_path: Path) -> None:
    root = Root(tmp_path, tmp_path)
    assert trusted_files(["file:/nowhere/"], root) == {"file:/nowhere/": None}
    with pytest.raises(ConfigError, match="does not begin with file:"):
        trusted_files(["dev:tty"], root)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sgx = 1",
        "[sgx]\ntrusted_files = {}",
        '[sgx]\ntrusted_files = ["file:/lib/"]',
        '[sgx]\ntrusted_files = [{ uri = "file:a" }]',
        '[sgx]\ntrusted_files = [{ uri = "file:a", sha256 = "00" }]',
        f'[sgx]\ntrusted_files = [{", ".join([f"""{{uri="f:a",sha256="{"0" * 64}"}}"""] * 2)}]',
        "sgx.a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r = 1",
        "\udcff",
    ],
)
def test_what_is_no_signed_manifest_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        read_signed(text.encode(errors="surrogateescape"))


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"fs": [], "loader": 3, "libos": "x"},
        {"fs": {"mounts": [1, {"path": 2}]}, "loader": {"env": [], "entrypoint": 1}},
        {"libos": {"entrypoint": 'a"b'}, "loader": {"env": {"LD_LIBRARY_PATH": ":{{"}}},
    ],
)
def test_paths_that_a_manifest_does_not_say_are_debian_s(document: dict[str, Any]) -> None:
    assert paths_in(document) == BuildPaths()


def test_paths_are_read_back_as_they_were_filled_in(tmp_path: Path) -> None:
    assert paths_in(build(tmp_path).document) == PATHS


LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats()
WORDS = ["sgx", "loader", "fs", "libos", "env", "mounts", "path", "uri", "sha256", "entrypoint"]
NAMES = st.sampled_from([*WORDS, "trusted_files", "LD_LIBRARY_PATH", "PYTHONPATH", "argv"])
DOCUMENTS = st.dictionaries(
    NAMES,
    st.recursive(
        LEAVES,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
        max_leaves=12,
    ),
    max_size=5,
)


@given(DOCUMENTS)
def test_whatever_a_manifest_says_its_paths_fill_a_template_and_every_key_is_compared(
    document: dict[str, Any],
) -> None:
    paths = paths_in(document)
    description = check_description(describe(Answers(kind="sealserve"))).description
    assert description is not None
    rendered = render(description)
    expected = tomllib.loads(
        fill(rendered.files[rendered.manifest].decode(), paths, BuildMachine())
    )
    found = [each.name for each in different_keys(document, expected, (1, 9))]
    assert "loader.argv" in found or "argv" in document.get("loader", {})
    assert list(different_keys(expected, expected, (1, 9))) == []


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_bytes_are_a_signed_manifest_or_refused(data: bytes) -> None:
    try:
        assert read_signed(b"[sgx]\ntrusted_files = []\n" + data).data.endswith(data)
    except FormatError:
        return
