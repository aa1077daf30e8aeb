"""`sealserve result`: keys, results of good and bad evidence, and what a relying party is told."""

from __future__ import annotations

import hashlib
import json
import stat
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sealserve.cli import main, verification
from sealserve.files import read_file
from sealserve.lab.faults import NO_FAULTS, Faults
from sealserve.lab.identity import EnclaveIdentity
from sealserve.lab.world import World
from sealserve.verifier import load_trust_root

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=10)
ENCLAVE = EnclaveIdentity(mr_enclave=b"\x01" * 32, mr_signer=b"\x02" * 32)
NONCE = "bm9uY2UtZm9yLXRlc3Rz"


@dataclass(frozen=True)
class Case:
    """A verifier's folder: a quote, its collateral, a policy and a key."""

    folder: Path
    capsys: pytest.CaptureFixture[str]

    def run(self, *words: object) -> int:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        assert isinstance(ended.value.code, int)
        return ended.value.code

    def json(self, *words: object, code: int = 0) -> dict[str, Any]:
        assert self.run(*words, "--json") == code
        printed = json.loads(self.capsys.readouterr().out)
        assert isinstance(printed, dict)
        return printed

    def path(self, name: str) -> Path:
        return self.folder / name

    def issue(self, *options: object, code: int = 0) -> dict[str, Any]:
        return self.json(
            "result",
            "issue",
            self.path("quote.bin"),
            *("--collateral", self.path("collateral")),
            *("--trust-root", self.path("root.pem")),
            *("--at", NOW.isoformat()),
            *("--key", self.path("verifier.key")),
            *("--out", self.path("result.jwt")),
            *options,
            code=code,
        )

    def verify(self, *options: object, code: int = 4) -> dict[str, Any]:
        return self.json(
            "result",
            "verify",
            self.path("result.jwt"),
            *("--key", self.path("verifier.key.pub")),
            *("--at", LATER.isoformat()),
            *options,
            code=code,
        )


@pytest.fixture
def made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Case:
    return case(tmp_path, capsys)


def case(folder: Path, capsys: pytest.CaptureFixture[str], faults: Faults = NO_FAULTS) -> Case:
    world = World.create(now=NOW, faults=faults)
    (folder / "collateral").mkdir()
    for name, data in world.collateral().to_files().items():
        (folder / "collateral" / name).write_bytes(data)
    (folder / "root.pem").write_bytes(world.root_ca_pem)
    (folder / "quote.bin").write_bytes(world.quote(ENCLAVE.report(bytes(64))))
    (folder / "policy.toml").write_text(
        f'version = 2\ntrust_root = "{load_trust_root(world.root_ca_pem).sha256.hex()}"\n'
        f'[[identities]]\nname = "server"\nmr_enclave = ["{ENCLAVE.mr_enclave.hex()}"]\n'
        '[[rules]]\nname = "digits"\nidentities = ["server"]\nsecret = "digits"\n'
    )
    made = Case(folder, capsys)
    assert made.run("result", "key", "--out", made.path("verifier.key")) == 0
    capsys.readouterr()
    return made


def test_a_key_is_for_its_owner_alone_and_its_public_half_for_everybody(made: Case) -> None:
    modes = [
        stat.S_IMODE(made.path(name).stat().st_mode)
        for name in ("verifier.key", "verifier.key.pub")
    ]
    assert modes == [0o600, 0o644]


@pytest.mark.parametrize("there", ["new.key", "new.key.pub"])
def test_a_key_is_never_written_over_another(made: Case, there: str) -> None:
    made.path(there).write_text("precious")
    assert made.run("result", "key", "--out", made.path("new.key")) == 1
    assert made.path(there).read_text() == "precious"
    assert len(list(made.folder.glob("*new.key*"))) == 1


def test_a_public_key_as_a_jwk_verifies_as_well(made: Case) -> None:
    jwk = made.json("result", "key", "--out", made.path("other.key"))
    made.path("other.jwk").write_text(json.dumps(jwk))
    made.issue("--key", made.path("other.key"))
    found = made.verify("--key", made.path("other.jwk"))
    assert found["issuer"] == jwk["kid"]
    assert jwt.PyJWK(jwk).algorithm_name == "ES256"


def test_what_is_issued_is_what_a_relying_party_is_told(made: Case) -> None:
    issued = made.issue("--policy", made.path("policy.toml"), "--nonce", NONCE)
    told = made.verify(
        *("--policy", made.path("policy.toml"), "--nonce", NONCE, "--max-age", 600),
        "--allow-warnings",
        code=0,
    )
    assert told == issued
    assert told["status"] == "warning"
    assert told["simulated"] is True
    assert told["trustworthiness"] == {
        "configuration": 3,
        "executables": 3,
        "hardware": -33,
        "runtime-opaque": 2,
    }
    assert (told["rule"], told["identity"], told["code"]) == ("digits", "server", "policy.allowed")
    policy = hashlib.sha256(made.path("policy.toml").read_bytes()).hexdigest()
    assert told["policy"] == f"sha256:{policy}"
    quote = hashlib.sha256(made.path("quote.bin").read_bytes()).hexdigest()
    assert told["evidence_sha256"] == quote
    assert told["claims"]["mr_enclave"] == ENCLAVE.mr_enclave.hex()
    assert "ppid" not in told["claims"]


def test_a_warning_is_not_good_enough_unless_that_is_said(made: Case) -> None:
    made.issue("--policy", made.path("policy.toml"))
    assert made.verify(code=4)["status"] == "warning"
    assert made.verify("--allow-warnings", code=0)["status"] == "warning"


def test_the_default_policy_is_not_good_enough_unless_that_is_said(made: Case) -> None:
    issued = made.issue()
    assert "executables" not in issued["trustworthiness"]
    assert made.verify("--allow-warnings")["error"]["code"] == "RESULT_DEFAULT_POLICY"
    assert made.verify("--allow-warnings", "--allow-default-policy", code=0) == issued
    assert made.verify("--allow-default-policy", code=4)["status"] == "warning"


def test_the_digest_is_that_of_the_policy_that_was_applied(made: Case, monkeypatch) -> None:
    """The file is replaced as soon as it was read for the first time."""
    path = made.path("policy.toml")
    applied = path.read_bytes()

    def replacing(file: Path, *, limit: int) -> bytes:
        data = read_file(file, limit=limit)
        if file == path:
            path.write_text("version = 2")
        return data

    monkeypatch.setattr(verification, "read_file", replacing)
    issued = made.issue("--policy", path)
    assert issued["policy"] == f"sha256:{hashlib.sha256(applied).hexdigest()}"


def test_a_person_is_told_that_a_lab_is_simulated(made: Case) -> None:
    made.issue("--with-platform-ids")
    words = ("--key", made.path("verifier.key.pub"), "--at", LATER.isoformat())
    assert made.run("result", "verify", made.path("result.jwt"), *words) == 4
    printed = made.capsys.readouterr().out
    assert "SIMULATED" in printed
    assert "hardware -33" in printed
    assert "ppid" in printed


def test_a_denial_is_issued_and_contraindicated(made: Case) -> None:
    text = made.path("policy.toml").read_text().replace("01" * 32, "03" * 32)
    made.path("policy.toml").write_text(text)
    issued = made.issue("--policy", made.path("policy.toml"), code=4)
    assert (issued["status"], issued["code"]) == ("contraindicated", "policy.measurement")
    assert made.verify("--allow-warnings", code=4) == issued


def test_evidence_that_does_not_verify_has_no_result(tmp_path: Path, capsys) -> None:
    made = case(tmp_path, capsys, Faults.TAMPERED_QUOTE)
    assert made.issue(code=2)["error"]["code"] == "QUOTE_SIGNATURE"
    assert not made.path("result.jwt").exists()


def test_a_result_does_not_outlive_its_collateral(made: Case) -> None:
    moment = NOW + timedelta(days=29, hours=22)
    issued = made.issue("--at", moment.isoformat(), "--lifetime", 7 * 86400)
    assert issued["expires_at"] == issued["claims"]["collateral_valid_until"]


WRONG = {
    "expired": (["--at", (NOW + timedelta(hours=1)).isoformat()], "RESULT_EXPIRED"),
    "too old": (["--max-age", "599"], "RESULT_TOO_OLD"),
    "another nonce": (["--nonce", NONCE], "RESULT_NONCE"),
    "another policy": (["--policy", "{folder}/policy.toml"], "RESULT_POLICY"),
    "another key": (["--key", "{folder}/other.key.pub"], "RESULT_KEY"),
}


@pytest.mark.parametrize(("options", "code"), WRONG.values(), ids=WRONG)
def test_a_result_that_is_not_what_was_asked_for_is_rejected(
    made: Case, options: list[str], code: str
) -> None:
    made.issue()
    made.json("result", "key", "--out", made.path("other.key"))
    filled = [option.format(folder=made.folder) for option in options]
    assert made.verify(*filled, code=2)["error"]["code"] == code


@pytest.mark.parametrize("data", [b"", b"\xff", b"a.b", b"{}"])
def test_what_is_no_result_is_rejected(made: Case, data: bytes) -> None:
    made.path("result.jwt").write_bytes(data)
    assert made.verify(code=2)["error"]["code"] == "RESULT_FORMAT"


def test_a_private_key_that_others_may_read_is_not_used(made: Case) -> None:
    made.path("verifier.key").chmod(0o644)
    assert "chmod 600" in made.issue(code=1)["error"]["hint"]


def pem(curve: ec.EllipticCurve) -> bytes:
    return ec.generate_private_key(curve).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


@pytest.mark.parametrize(
    "data", [b"", b"no key", pem(ec.SECP384R1())], ids=["empty", "text", "P-384"]
)
def test_what_is_no_signing_key_is_refused_without_its_bytes(made: Case, data: bytes) -> None:
    made.path("verifier.key").write_bytes(data)
    error = made.issue(code=1)["error"]
    assert "verifier.key" in error["message"]
    assert not any(line in error["message"] for line in data.decode().splitlines())


X = "A" * 43
PUBLIC_KEYS = {
    "empty": b"",
    "text": b"no key",
    "a private key": pem(ec.SECP256R1()),
    "no JWK": b"{}",
    "a JWK of another curve": json.dumps({"kty": "EC", "crv": "P-384", "x": X, "y": X}).encode(),
    "a point that is not on the curve": json.dumps(
        {"kty": "EC", "crv": "P-256", "x": X, "y": X}
    ).encode(),
    "a short coordinate": b'{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}',
    "a private JWK": json.dumps({"kty": "EC", "crv": "P-256", "x": X, "y": X, "d": X}).encode(),
}


@pytest.mark.parametrize("data", PUBLIC_KEYS.values(), ids=PUBLIC_KEYS)
def test_what_is_no_public_key_is_refused(made: Case, data: bytes) -> None:
    made.issue()
    made.path("verifier.key.pub").write_bytes(data)
    assert made.verify(code=1)["error"]["code"] == "config"
