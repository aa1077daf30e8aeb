"""Conformance vectors as files: what is written, and that it reads back to the same verdicts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from sealserve.endorsements.collateral import FILE_NAMES, Collateral
from sealserve.errors import ConfigError, FormatError, UsageError
from sealserve.lab.vectors.case import Case, Rejected
from sealserve.lab.vectors.catalogue import FORMS, all_cases
from sealserve.lab.vectors.manifest import manifest_of, parse_manifest
from sealserve.lab.vectors.publishing import collateral_json, publish
from sealserve.lab.vectors.replaying import judge, replay
from sealserve.verifier import Code

# One of each group, and what the one-file form cannot say.
CHOSEN = (
    "sgx-v3-genuine",
    "sgx-v3-debug",
    "sgx-v3-status-outofdate-beside-outdated-qe",
    "sgx-v3-trust-root-no-certificate",
    "sgx-v3-quote-empty",
    "sgx-v3-missing-root-ca-crl",
    "sgx-v3-crl-chain-missing",
    "sgx-v3-root-ca-crl-no-crl",
    "sgx-v3-tcb-info-third-member",
    "sgx-v3-tcb-info-missing",
    "sgx-v3-tcb-info-not-utf-8",
    "sgx-v3-tcb-info-space-added",
    "sgx-v3-tcb-info-v2",
    "tdx-v5-td15-genuine",
    "tdx-v5-td15-relaunch-advised",
    "tdx-v5-td15ex-body-instance-td-id",
)
NOT_IN_ONE_FILE = {
    "sgx-v3-tcb-info-third-member",
    "sgx-v3-tcb-info-missing",
    "sgx-v3-tcb-info-not-utf-8",
}


@pytest.fixture(scope="module")
def cases() -> dict[str, Case]:
    return {case.id: case for case in all_cases()}


@pytest.fixture(scope="module")
def published(cases: dict[str, Case], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("vectors") / "new" / "vectors"
    assert publish([cases[id] for id in CHOSEN], out) == len(CHOSEN)
    return out


def manifests(folder: Path) -> dict[str, dict[str, Any]]:
    return {
        file.parent.name: json.loads(file.read_bytes()) for file in folder.glob("*/manifest.json")
    }


def test_what_is_published_reads_back_to_the_manifests_verdicts(published: Path) -> None:
    replayed = {each.id: each for each in replay(published)}
    assert set(replayed) == set(CHOSEN)
    assert [each for each in replayed.values() if not each.agrees] == []
    without = {id for id, each in replayed.items() if each.found_in_one_file is None}
    assert without == NOT_IN_ONE_FILE


def test_both_forms_of_collateral_say_the_same(published: Path, cases: dict[str, Case]) -> None:
    for id in set(CHOSEN) - NOT_IN_ONE_FILE:
        folder = published / id
        files = {name: (folder / name).read_bytes() for name in FILE_NAMES.values()}
        one_file = (folder / "collateral.json").read_bytes()
        given = cases[id].evidence.collateral
        assert Collateral.from_files(files) == Collateral.from_json(one_file) == given


def test_each_folder_holds_a_vector_and_the_index_lists_it(published: Path) -> None:
    found = manifests(published)
    index = json.loads((published / "INDEX.json").read_bytes())
    assert index["vectors"] == [found[id] for id in CHOSEN]
    for id, manifest in found.items():
        assert manifest["id"] == id
        names = {file.name for file in (published / id).iterdir()}
        assert names >= {"quote.bin", "trust_root.pem", *FILE_NAMES.values()}
        assert ("collateral.json" in names) == (manifest["one_file"] == "collateral.json")


def test_everything_published_says_that_it_is_simulated(published: Path) -> None:
    texts = [*published.glob("*.*"), *published.glob("*/manifest.json")]
    assert len(texts) == len(CHOSEN) + 2
    assert [file for file in texts if "SIMULATED" not in file.read_text()] == []


def test_no_private_key_is_published(published: Path) -> None:
    files = [file for file in published.rglob("*") if file.is_file()]
    assert [file for file in files if b"PRIVATE" in file.read_bytes()] == []


def test_all_but_keys_is_the_same_each_time(published: Path, tmp_path: Path) -> None:
    again = {case.id: case for case in all_cases()}
    publish([again[id] for id in CHOSEN], tmp_path)  # an empty folder will do
    assert manifests(tmp_path) == manifests(published)
    for name in ("INDEX.json", "README.md"):
        assert (tmp_path / name).read_bytes() == (published / name).read_bytes()


def test_nothing_is_overwritten(published: Path, cases: dict[str, Case], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not an empty folder"):
        publish(list(cases.values())[:1], published)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="not an empty folder"):
        publish([], tmp_path / "file")
    assert {folder.name for folder in published.iterdir() if folder.is_dir()} == set(CHOSEN)


def test_what_cannot_be_finished_leaves_nothing_behind(
    cases: dict[str, Case], tmp_path: Path
) -> None:
    genuine = cases["sgx-v3-genuine"]
    with pytest.raises(UsageError, match="cannot write"):
        publish([genuine, genuine], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def _set_verdict(folder: Path) -> None:
    file = folder / "manifest.json"
    manifest = json.loads(file.read_bytes())
    manifest["expected"] = {"verdict": "reject", "code": "REVOKED", "step": 3}
    file.write_text(json.dumps(manifest))


def _break_quote(folder: Path) -> None:
    (folder / "quote.bin").write_bytes(b"")


def _break_one_file(folder: Path) -> None:
    file = folder / "collateral.json"
    file.write_text(file.read_text().replace("tcbEvaluationDataNumber", "tcbEvaluationDataNumbers"))


@pytest.mark.parametrize("change", [_set_verdict, _break_quote, _break_one_file])
def test_a_verdict_that_differs_is_told(
    cases: dict[str, Case], tmp_path: Path, change: Callable[[Path], None]
) -> None:
    publish([cases["sgx-v3-genuine"]], tmp_path)
    change(tmp_path / "sgx-v3-genuine")
    (replayed,) = replay(tmp_path)
    assert not replayed.agrees


def test_a_folder_without_vectors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no conformance vectors"):
        list(replay(tmp_path))


MANIFESTS = {
    "no-json": b"{",
    "no-object": b"[]",
    "another-format": b'{"format": 2}',
    "nothing-expected": b'{"format": 1, "id": "x", "eval_time": 0}',
    "unknown-code": b'{"format": 1, "id": "x", "eval_time": 0,'
    b' "expected": {"verdict": "reject", "code": "BAD"}}',
    "unknown-verdict": b'{"format": 1, "id": "x", "eval_time": 0, "expected": {"verdict": "deny"}}',
    "no-time": b'{"format": 1, "id": "x", "eval_time": 1e400, "expected": {}}',
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(FormatError):
        parse_manifest(MANIFESTS[name])


def test_every_manifest_is_read_as_it_was_meant(cases: dict[str, Case]) -> None:
    for case in cases.values():
        manifest = manifest_of(case, has_one_file=True)
        read = parse_manifest(json.dumps(manifest).encode())
        assert (read.id, read.at, read.expected) == (case.id, case.evidence.at, case.expected)
        assert case.id.startswith(f"{manifest['tee'].lower()}-v{manifest['quote_version']}")


def test_the_readme_explains_every_code_and_every_group(cases: dict[str, Case]) -> None:
    text = resources.files("sealserve.lab.vectors").joinpath("README.md").read_text()
    table = dict(re.findall(r"^\| `([A-Z_]+)` \| (\d) \|", text, re.MULTILINE))
    codes = {case.expected.code for case in cases.values() if isinstance(case.expected, Rejected)}
    assert table == {code.value: str(code.step) for code in Code if code in codes}
    groups = {case.group for case in cases.values()}
    (row,) = re.findall(r"^\| `group` \| [^:]*: (.*) \|$", text, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", row)) == groups


def test_there_are_cases_of_every_form_and_most_of_them_are_rejections(
    cases: dict[str, Case],
) -> None:
    assert {case.form for case in cases.values()} == set(FORMS)
    rejections = [case for case in cases.values() if isinstance(case.expected, Rejected)]
    strict = [case for case in rejections if case.latitude is None]
    assert len(cases) > len(rejections) > len(strict) > 750


def test_the_forms_may_be_chosen() -> None:
    assert {case.form for case in all_cases(["tdx-v5-td15ex"])} == {"tdx-v5-td15ex"}
    with pytest.raises(UsageError, match="no form of quote"):
        all_cases(["sgx-v9"])


def test_the_one_file_form_is_made_only_where_it_says_the_same(cases: dict[str, Case]) -> None:
    told = [case for case in cases.values() if collateral_json(case.evidence.collateral) is None]
    assert 0 < len(told) < 50
    assert all(judge(case.evidence) == case.expected for case in told)
