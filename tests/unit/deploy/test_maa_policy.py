"""The policy of an Azure Attestation instance: it lets in the named enclaves, and no debug one."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest

from golden import assert_golden
from made_sigstruct import made_sigstruct
from sealserve.cli import main
from sealserve.deploy.clouds import load_cloud
from sealserve.deploy.clouds.maa import ENCLAVES_LIMIT, maa_policy, policy_hash
from sealserve.deploy.clouds.rows import cloud_rows
from sealserve.errors import UsageError
from sealserve.evidence.sigstruct import Sigstruct, parse_sigstruct

SIG = Path(__file__).parents[2] / "data" / "gramine" / "sigstruct" / "sample.sig"
STATED = json.loads(SIG.with_name("sample.view.json").read_text())
CONDITION = re.compile(r'\[ type=="([a-z-]+)", value(==|>=) ?("[0-9a-f]{64}"|false|[0-9]+) \]')


def sample() -> Sigstruct:
    return parse_sigstruct(SIG.read_bytes())


def another(**changed: object) -> Sigstruct:
    return parse_sigstruct(made_sigstruct(bytes(32), **changed))  # type: ignore[arg-type]


def test_the_policy_is_the_one_that_was_looked_at() -> None:
    assert_golden("azure", {"maa-policy.txt": maa_policy([sample()]).encode()})


def test_an_enclave_is_let_in_by_what_its_signer_states_and_never_with_debug() -> None:
    conditions = CONDITION.findall(maa_policy([sample()]))
    assert conditions == [
        ("x-ms-sgx-is-debuggable", "==", "false"),
        ("x-ms-sgx-product-id", "==", str(STATED["isv_prod_id"])),
        ("x-ms-sgx-svn", ">=", str(STATED["isv_svn"])),
        ("x-ms-sgx-mrsigner", "==", f'"{STATED["mr_signer"]}"'),
        ("x-ms-sgx-mrenclave", "==", f'"{STATED["mr_enclave"]}"'),
    ]


def test_by_its_signer_another_build_is_let_in_too() -> None:
    names = [name for name, _, _ in CONDITION.findall(maa_policy([sample()], by_signer=True))]
    assert "x-ms-sgx-mrsigner" in names
    assert "x-ms-sgx-mrenclave" not in names


def test_every_enclave_has_one_rule() -> None:
    policy = maa_policy([sample(), another(), sample()])
    assert policy.count("=> permit();") == 2
    assert policy.count("x-ms-sgx-is-debuggable") == 2
    assert policy.count("{") == policy.count("}") == 1


def test_a_debug_enclave_none_and_too_many_are_refused() -> None:
    with pytest.raises(UsageError, match="debug"):
        maa_policy([sample(), another(debug=True)])
    for number in (0, ENCLAVES_LIMIT + 1):
        with pytest.raises(UsageError, match="expected 1 to"):
            maa_policy([sample()] * number)


def test_the_hash_is_of_the_text_in_base64url() -> None:
    inner = base64.urlsafe_b64encode(b"version= 1.0;").rstrip(b"=")
    digest = base64.urlsafe_b64decode(policy_hash("version= 1.0;") + "=")
    assert digest == hashlib.sha256(inner).digest()


def test_the_command_writes_the_policy_and_tells_the_hash_as_unconfirmed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "maa-policy.txt"
    with pytest.raises(SystemExit) as ended:
        main(["cloud", "maa-policy", str(SIG), "--out", str(out), "--json"])
    assert ended.value.code == 0
    printed = capsys.readouterr()
    facts = json.loads(printed.out)
    assert out.read_text() == facts["content"] == maa_policy([sample()])
    assert facts["policy_hash"] in printed.err
    assert "not confirmed" in printed.err


def test_azure_s_facts_name_its_verifier_its_node_pools_and_what_ends() -> None:
    rows = [*cloud_rows(load_cloud("azure"), "weu")]
    values = {(row.area, row.name): row.value for row in rows}
    assert values["attestation", "instance of one's own"] == "https://NAME.weu.attest.azure.net"
    assert values["attestation", "shared instance"] == "https://sharedweu.weu.attest.azure.net"
    assert "--node-vm-size Standard_DC16s_v3" in values["Kubernetes", "node pool"]
    assert {row.name for row in rows if row.area == "dates"} == {"DCsv2", "DCsv3 and DCdsv3"}
