"""The highest security version that an identity takes: what an exact list of enclaves needs."""

from __future__ import annotations

import pytest

import made_claims
from sealserve.appraisal import PolicyCode, appraise, parse_policy
from sealserve.errors import ConfigError

SIGNER = "0c" * 32


def policy(*svn_lines):
    return parse_policy(
        f'version = 2\n[[identities]]\nname = "server"\nmr_signer = "{SIGNER}"\nisv_prod_id = 0\n'
        + "\n".join(svn_lines)
        + '\n[[rules]]\nname = "r"\nidentities = ["server"]\nsecret = "s"\n'
    )


@pytest.mark.parametrize(
    ("svn", "code"),
    [
        (2, PolicyCode.SVN),
        (3, PolicyCode.ALLOWED),
        (4, PolicyCode.ALLOWED),
        (5, PolicyCode.SVN_ABOVE),
    ],
)
def test_a_version_outside_of_the_two_ends_is_denied(svn, code):
    enclave = made_claims.sgx_enclave(mr_signer=bytes.fromhex(SIGNER), isv_svn=svn)
    wanted = policy("minimum_isv_svn = 3", "maximum_isv_svn = 4")
    claims = made_claims.claims(enclave)
    result = appraise(claims, wanted, asked_for=None, now=made_claims.NOW)
    assert result.code is code


@pytest.mark.parametrize(
    "lines",
    [["minimum_isv_svn = 3", "maximum_isv_svn = 2"], ["maximum_isv_svn = 2"]],
    ids=["below the minimum", "without a minimum"],
)
def test_a_highest_version_goes_with_a_lowest_that_is_not_above_it(lines):
    with pytest.raises(ConfigError):
        policy(*lines)
