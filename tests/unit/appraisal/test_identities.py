"""What reference values may say."""

from __future__ import annotations

import re

import pytest

from made_policies import SGX, TDX, policy
from sealserve.appraisal.identities import SgxIdentity, TdxIdentity
from sealserve.errors import ConfigError

HASH = "aB" * 32
LONG = "cD" * 48
SIGNER = f'mr_signer = "{HASH}"\nisv_prod_id = 1\nminimum_isv_svn = 2'
ALL_ONES = "ff" * 16


def test_an_enclave_is_named_by_its_measurement() -> None:
    (identity,) = policy(f'mr_enclave = ["{HASH}"]').identities
    assert isinstance(identity, SgxIdentity)
    assert identity.mr_enclave == (b"\xab" * 32,)
    assert set(identity.model_dump(exclude={"name", "tee", "mr_enclave"}).values()) == {None}


def test_an_enclave_is_named_by_its_signer_with_product_and_version() -> None:
    (identity,) = policy(SIGNER).identities
    assert isinstance(identity, SgxIdentity)
    signed = (identity.mr_signer, identity.isv_prod_id, identity.minimum_isv_svn)
    assert signed == (b"\xab" * 32, 1, 2)


def test_a_trust_domain_is_named_by_what_was_measured() -> None:
    text = TDX.replace('rtmr2 = "any"', f'rtmr2 = ["{LONG}", "{"00" * 48}"]')
    (identity,) = policy(text).identities
    assert isinstance(identity, TdxIdentity)
    assert identity.mr_td == (bytes(48),)
    assert identity.rtmrs == (None, None, (b"\xcd" * 48, bytes(48)), None)


def test_whole_numbers_may_be_written_in_hex() -> None:
    (identity,) = policy(SGX + "\nmisc_select = 0x1\nmisc_select_mask = 0xffffffff").identities
    assert isinstance(identity, SgxIdentity)
    assert identity.misc_select_bytes == (b"\x01\0\0\0", b"\xff" * 4)


@pytest.mark.parametrize(
    ("identity", "told"),
    [
        pytest.param("", "no enclave is named", id="nothing"),
        pytest.param('tee = "sgx"', r"\.tee: found 'sgx', expected \"SGX\" or \"TDX\"", id="tee"),
        pytest.param("tee = 1", r"\.tee: found '1'", id="tee-number"),
        pytest.param(SGX.replace("00" * 32, "ab"), "found 2 characters", id="short-hash"),
        pytest.param(SGX.replace("00" * 32, HASH + "ab"), "found 66 characters", id="long-hash"),
        pytest.param(SGX.replace("00" * 32, "xy" * 32), "expected 64 hex digits", id="no-hex"),
        pytest.param(SGX.replace("00" * 32, "ab " * 21 + "a"), "64 hex digits", id="hex-spaces"),
        pytest.param(SGX.replace("00" * 32, "٣" * 64), "64 hex digits", id="other-digits"),
        pytest.param(f'mr_enclave = "{HASH}"', "expected a list", id="hash-without-list"),
        pytest.param("mr_enclave = []", "the list is empty", id="no-hashes"),
        pytest.param(
            "mr_enclave = [1]", r"mr_enclave\[0\]: found 1, expected 64", id="hash-number"
        ),
        pytest.param(
            SIGNER.replace("isv_prod_id = 1\n", ""), "go together", id="signer-no-product"
        ),
        pytest.param(
            SIGNER.replace("minimum_isv_svn = 2", ""), "go together", id="signer-without-svn"
        ),
        pytest.param(SGX + "\nminimum_isv_svn = 2", "go together", id="svn-without-signer"),
        pytest.param(SIGNER.replace("= 1", "= 65536"), "isv_prod_id: found 65536", id="product"),
        pytest.param(SIGNER.replace("= 2", "= -1"), "found -1", id="svn-negative"),
        pytest.param(SIGNER.replace("= 2", "= 2.0"), "a whole number", id="svn-float"),
        pytest.param(SIGNER.replace("= 2", '= "2"'), "a whole number", id="svn-text"),
        pytest.param(SIGNER.replace("= 2", "= true"), "a whole number", id="svn-true"),
        pytest.param(
            f'{SGX}\nattributes = "{ALL_ONES}"',
            "attributes and attributes_mask go together",
            id="attributes-without-mask",
        ),
        pytest.param(
            f'{SGX}\nattributes_mask = "{ALL_ONES}"', "go together", id="mask-without-attributes"
        ),
        pytest.param(
            f'{SGX}\nattributes = "{ALL_ONES}"\nattributes_mask = "{"fe" * 16}"',
            "attributes has bits that attributes_mask leaves out",
            id="attributes-beyond-their-mask",
        ),
        pytest.param(
            f'{SGX}\nattributes = "{"00" * 16}"\nattributes_mask = "{"00" * 16}"',
            "would pin nothing",
            id="mask-of-nothing",
        ),
        pytest.param(
            SGX + "\nmisc_select = 2\nmisc_select_mask = 1", "leaves out", id="misc-beyond-its-mask"
        ),
        pytest.param(SGX + "\nmisc_select = 1", "misc_select_mask go together", id="misc-alone"),
        pytest.param(
            SGX + "\nmisc_select = 4294967296\nmisc_select_mask = 1", "at most", id="misc-33-bits"
        ),
        pytest.param(SGX + f'\nconfig_id = "{HASH}"', "expected 128 hex", id="config-id"),
        pytest.param(SGX + '\nisv_family_id = "00"', "expected 32 hex", id="family-id"),
        pytest.param(
            f'{SGX}\nmr_td = ["{LONG}"]', 'mr_td belongs to tee = "TDX"', id="td-of-an-enclave"
        ),
        pytest.param(
            f"{TDX}\nisv_prod_id = 1", 'isv_prod_id belongs to tee = "SGX"', id="product-of-a-td"
        ),
        pytest.param(
            re.sub("mr_td.*\n", "", TDX),
            r"identities\[0\]\.mr_td is missing",
            id="td-without-mr-td",
        ),
        pytest.param(
            TDX.replace('\nrtmr3 = "any"', ""), r"identities\[0\]\.rtmr3 is missing", id="no-rtmr3"
        ),
        pytest.param(TDX.replace('rtmr1 = "any"', 'rtmr1 = "all"'), 'or "any"', id="rtmr-all"),
        pytest.param(TDX.replace('rtmr1 = "any"', "rtmr1 = []"), "list is empty", id="rtmr-none"),
        pytest.param(
            TDX.replace('rtmr1 = "any"', f'rtmr1 = ["{HASH}"]'), "expected 96 hex", id="rtmr-short"
        ),
        pytest.param(
            TDX.replace('rtmr1 = "any"', f"rtmr1 = {['any'] * 1001}"),
            "at most 1000",
            id="rtmr-many",
        ),
        pytest.param(f'{TDX}\ntd_attributes = "{"00" * 8}"', "go together", id="td-attributes"),
        pytest.param(f'{TDX}\nxfam = "{"00" * 4}"', "expected 16 hex digits", id="xfam"),
    ],
)
def test_an_identity_that_is_wrong_is_refused_with_the_place_and_the_reason(
    identity: str, told: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        policy(identity)
    assert "identities[0]" in caught.value.message
    assert re.search(told, caught.value.message)
