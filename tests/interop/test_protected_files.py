"""Protected files that Gramine's own tool made: version 1 (before 1.0) and version 2 (1.9).

The small ones and the tampered ones are in `tests/data`; the large ones come from the folder of
vectors (`SEALSERVE_VECTORS`, by default `shared/vectors` beside the project).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from pathlib import Path

import pytest

from sealserve.errors import IntegrityError, SealServeError, WrongPath
from sealserve.sealing import normalize_path, seal, unseal

PROJECT = Path(__file__).parents[2]
SHIPPED = PROJECT / "tests" / "data" / "gramine"
ALL = Path(os.environ.get("SEALSERVE_VECTORS", PROJECT.parent / "shared" / "vectors")) / "gramine"
TAMPERED = SHIPPED / "tampered-v2"

MANIFESTS = {
    version: json.loads((SHIPPED / f"protected-files-v{version}" / "manifest.json").read_text())
    for version in (1, 2)
}
SAMPLES = [
    pytest.param(version, sample, id=f"v{version}-{sample['name']}")
    for version, manifest in MANIFESTS.items()
    for sample in manifest["vectors"]
]
VERDICTS: dict[str, str] = json.loads((TAMPERED / "verdicts.json").read_text())["verdicts"]
TAMPERED_FILES = list(VERDICTS.items())
TAMPERED_KEY = bytes.fromhex(MANIFESTS[2]["wrap_key_hex"])


def sample_file(version: int, name: str) -> bytes:
    for folder in (SHIPPED, ALL):
        path = folder / f"protected-files-v{version}" / name
        if path.is_file():
            return path.read_bytes()
    pytest.skip(f"{name} is not among the small samples, and there is no folder {ALL}")


def plaintext(name: str, size: int) -> bytes:
    """What the manifest calls its plaintext generator."""
    blocks = -(-size // 32)
    seeds = (b"gramine-peer:" + name.encode() + b":" + i.to_bytes(8, "big") for i in range(blocks))
    return b"".join(hashlib.sha256(seed).digest() for seed in seeds)[:size]


@pytest.mark.parametrize(("version", "sample"), SAMPLES)
def test_what_gramine_sealed_is_unsealed(version: int, sample: dict[str, object]) -> None:
    file = sample_file(version, str(sample["encrypted_file"]))
    assert hashlib.sha256(file).hexdigest() == sample["encrypted_sha256"]
    sink = io.BytesIO()
    header = unseal(io.BytesIO(file), sink, bytes.fromhex(MANIFESTS[version]["wrap_key_hex"]))
    assert hashlib.sha256(sink.getvalue()).hexdigest() == sample["plaintext_sha256"]
    found = (header.path, header.size, header.version)
    assert found == (sample["embedded_path"], sample["size"], version)


@pytest.mark.parametrize(("version", "sample"), SAMPLES)
def test_what_we_seal_has_the_shape_of_what_gramine_sealed(
    version: int, sample: dict[str, object]
) -> None:
    name, size = str(sample["name"]), sample["size"]
    assert isinstance(size, int)
    sink = io.BytesIO()
    header = seal(
        io.BytesIO(plaintext(name, size)),
        sink,
        bytes.fromhex(MANIFESTS[version]["wrap_key_hex"]),
        path=str(sample["output_arg"]),
        version=version,
    )
    assert hashlib.sha256(plaintext(name, size)).hexdigest() == sample["plaintext_sha256"]
    file, theirs = sink.getvalue(), bytes.fromhex(str(sample["header_hex"]))
    assert len(file) == sample["encrypted_size"]
    assert file[:10] == theirs[:10]
    if version == 2:
        assert file[58] == sample["feature_flags"]
    assert header.path == normalize_path(str(sample["embedded_path"]))


def test_every_kind_of_tampering_has_a_verdict() -> None:
    assert len(VERDICTS) == 36


@pytest.mark.parametrize(("name", "verdict"), TAMPERED_FILES)
def test_tampered_files_get_gramines_verdict(name: str, verdict: str) -> None:
    sink = io.BytesIO()
    source = io.BytesIO((TAMPERED / name).read_bytes())
    if verdict == "accept":
        unseal(source, sink, TAMPERED_KEY)
        assert sink.getvalue() == plaintext("size-7169", 7169)
    else:
        with pytest.raises(IntegrityError):
            unseal(source, sink, TAMPERED_KEY)


@pytest.mark.parametrize(("name", "verdict"), TAMPERED_FILES)
def test_no_tampered_file_passes_where_the_path_is_checked(name: str, verdict: str) -> None:
    """Gramine accepts two of them only because its tool was not asked to look at the path."""
    source = io.BytesIO((TAMPERED / name).read_bytes())
    with pytest.raises(WrongPath if verdict == "accept" else SealServeError):
        unseal(source, io.BytesIO(), TAMPERED_KEY, expected_path="enc/size-7169.pf")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("meta_plain_id_0", "integrity.not-protected"),
        ("meta_plain_version_0", "integrity.version"),
        ("meta_plain_nonce_0", "integrity.key-or-header"),
        ("meta_plain_mac_0", "integrity.key-or-header"),
        ("meta_plain_encrypted_0", "integrity.key-or-header"),
        ("meta_enc_size_3", "integrity.truncated"),
        ("meta_enc_mht_key_1", "integrity.node"),
        ("mht_0", "integrity.node"),
        ("data_0", "integrity.node"),
        ("data_2", "integrity.node"),
        ("trunc_data_2", "integrity.truncated"),
        ("trunc_meta_enc_4", "integrity.size"),
        ("trunc_meta_plain_0", "integrity.not-protected"),
    ],
)
def test_kinds_of_tampering_are_told_apart(change: str, code: str) -> None:
    source = io.BytesIO((TAMPERED / f"size-7169.pf.{change}").read_bytes())
    with pytest.raises(IntegrityError) as caught:
        unseal(source, io.BytesIO(), TAMPERED_KEY)
    assert caught.value.code == code
