"""The quote provider's configuration: each slip is found, with what comes of it and what to do."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sealserve.deploy.clouds.qcnl_lint import LOCALHOST, Fault, lint_qcnl
from sealserve.deploy.clouds.qcnl_text import QCNL_LIMIT, read_qcnl
from sealserve.errors import FormatError

GOOD: dict[str, Any] = {
    "pccs_url": "https://pccs.example:8081/sgx/certification/v4/",
    "use_secure_cert": True,
}


def faults(**entries: Any) -> tuple[Fault, ...]:
    return lint_qcnl(json.dumps(GOOD | entries).encode())


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(json.dumps(GOOD), id="plain"),
        pytest.param(f"// a comment\n/* and\nanother */ {json.dumps(GOOD)} // end", id="comments"),
        pytest.param(json.dumps(GOOD | {"local_pck_url": ""}), id="an empty local URL"),
        pytest.param(json.dumps(GOOD | {"tcb_update_type": "Early"}), id="early, in any case"),
        pytest.param(json.dumps(GOOD | {"pccs_api_version": "3.1"}), id="CRLs as DER"),
        pytest.param(json.dumps(GOOD | {"pck_cache_expire_hours": 0.5}), id="half an hour"),
        pytest.param(
            json.dumps(GOOD | {"local_pck_url": "http://169.254.169.254/THIM/sgx/x/v4/"}),
            id="http to the machine's own service",
        ),
    ],
)
def test_a_sound_file_has_no_fault(text: str) -> None:
    assert lint_qcnl(text.encode()) == ()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b'{"pccs_url": "https://p/sgx/v4/" "retry_times": 6}', id="a missing comma"),
        pytest.param(b'{"retry_times": 6,}', id="a comma too many"),
        pytest.param(b'{"pccs_url": "https://p/sgx/v4/"', id="no end"),
        pytest.param(b"", id="empty"),
        pytest.param(b"\xef\xbb\xbf{}", id="a byte order mark"),
        pytest.param(b"{'pccs_url': 'x'}", id="single quotes"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b"null", id="null"),
        pytest.param(b'{"a": "\xff"}', id="not UTF-8"),
        pytest.param(b'{"a": NaN}', id="NaN"),
        pytest.param(b'{"a": 1e999}', id="a number too large"),
        pytest.param(b'{"a": ' + b"9" * 5000 + b"}", id="a number of many digits"),
        pytest.param(b'{"a": "\\ud800"}', id="half of a surrogate pair"),
        pytest.param(b"[" * 16000, id="deep"),
        pytest.param(b"/* no end {}", id="a comment without an end"),
        pytest.param(b'{} /* no end "', id="a comment without an end, after"),
        pytest.param(b'"\\' * (QCNL_LIMIT // 2), id="quotes and backslashes"),
        pytest.param(b" " * (QCNL_LIMIT + 1), id="too large"),
        pytest.param(b"# PCCS_URL=https://p/sgx/v4/\n", id="nothing but a comment"),
    ],
)
def test_what_intel_s_reader_cannot_read_leads_to_localhost(text: bytes) -> None:
    (fault,) = lint_qcnl(text)
    assert fault.is_error
    assert LOCALHOST in fault.consequence
    assert "JSON" in fault.cure


def test_a_broken_file_is_told_its_line() -> None:
    (fault,) = lint_qcnl(b'{\n  // one\n  "retry_times": 6\n  "retry_delay": 1\n}')
    assert "line 4" in fault.found


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("pccs_url", 5),
        ("pccs_url", None),
        ("use_secure_cert", "true"),
        ("use_secure_cert", 1),
        ("collateral_service", ["https://p/sgx/certification/v4/"]),
        ("tcb_update_type", True),
        ("pccs_api_version", 3.1),
        ("retry_times", "6"),
        ("retry_times", 6.0),
        ("retry_times", True),
        ("retry_times", -1),
        ("retry_delay", 1 << 31),
        ("pck_cache_expire_hours", "168"),
        ("verify_collateral_cache_expire_hours", None),
        ("local_cache_only", "false"),
        ("local_pck_url", {}),
        ("custom_request_options", []),
    ],
)
def test_a_value_of_the_wrong_type_is_ignored_without_a_word(entry: str, value: object) -> None:
    found = faults(**{entry: value})[0]
    assert (found.is_error, found.key) == (True, entry)
    assert "ignores it" in found.consequence
    assert found.cure.startswith("write ")


URL = "https://pccs.example/sgx/certification/v4/"


@pytest.mark.parametrize(
    ("entries", "key", "is_error", "consequence", "cure"),
    [
        pytest.param({"use_secure_cert": False}, "use_secure_cert", True, "not verified", "true",
            id="TLS not verified"),
        pytest.param({"pccs_url": URL.replace("https", "http")}, "pccs_url", True, "on the way",
            "https", id="plain http"),
        pytest.param({"pccs_url": "http://localhost:8081/sgx/certification/v4/"}, "pccs_url", True,
            "on the way", "https", id="plain http to localhost"),
        pytest.param({"local_pck_url": "http://169.254.169.253/sgx/certification/v4/"},
            "local_pck_url", True, "on the way", "169.254.169.254", id="another local address"),
        pytest.param({"local_pck_url": "http://169.254.169.254@evil.example/sgx/x/"},
            "local_pck_url", True, "on the way", "https", id="another host behind the address"),
        pytest.param({"collateral_service":
            "https://api.trustedservices.intel.com/sgx/certification/v3/"}, "collateral_service",
            True, "410", "v4", id="Intel's version 3"),
        pytest.param({"pccs_url": URL.replace("v4", "v3")}, "pccs_url", False, "410", "v4",
            id="a cache's version 3"),
        pytest.param({"pccs_url": URL.replace("/sgx", "")}, "pccs_url", True, "TDX", "/sgx/",
            id="no /sgx/"),
        pytest.param({"pccs_url": URL[:-1]}, "pccs_url", True, "right behind", "slash",
            id="no slash"),
        pytest.param({"pccs_url": ""}, "pccs_url", True, "nothing can be fetched", "https",
            id="an empty URL"),
        pytest.param({"collateral_service": ""}, "collateral_service", True, "nothing", "https",
            id="an empty service"),
        pytest.param({"pccs_url": "pccs.example/sgx/"}, "pccs_url", True, "nothing", "https",
            id="no scheme"),
        pytest.param({"pccs_url": "https://[/sgx/"}, "pccs_url", True, "nothing", "https",
            id="no URL"),
        pytest.param({"tcb_update_type": "late"}, "tcb_update_type", True, LOCALHOST, "early",
            id="an update that there is not"),
        pytest.param({"pccs_api_version": "4.0"}, "pccs_api_version", False, "3.0", "3.1",
            id="an interface that there is not"),
        pytest.param({"USE_SECURE_CERT": False}, "USE_SECURE_CERT", False, "ignores it",
            "use_secure_cert", id="capitals"),
        pytest.param({"pccs_urls": ""}, "pccs_urls", False, "ignores it", "pccs_url",
            id="a slip of the pen"),
        pytest.param({"custom_request_options": {}}, "custom_request_options", True, "ignores it",
            "get_cert", id="options for nothing"),
        pytest.param({"custom_request_options": {"get_cert": {"headers": []}}},
            "custom_request_options", True, "ignores it", "object", id="headers in a list"),
        pytest.param({"custom_request_options": {"get_cert": {"headers": {"metadata": True}}}},
            "custom_request_options", True, "ignores it", "text", id="a header that is no text"),
        pytest.param({"custom_request_options": {"get_cert": {"params": {"api-version  ": "1"}}}},
            "custom_request_options", True, "does not know", "'api-version'",
            id="Microsoft's spaces"),
    ],
)  # fmt: skip
def test_a_slip_is_told_with_what_comes_of_it_and_what_to_do(
    entries: dict[str, Any], key: str, is_error: bool, consequence: str, cure: str
) -> None:
    (fault,) = faults(**entries)
    assert (fault.key, fault.is_error) == (key, is_error)
    assert consequence in fault.consequence
    assert cure in fault.cure


def test_without_a_url_localhost_is_asked() -> None:
    (fault,) = lint_qcnl(b"{}")
    assert (fault.key, fault.is_error) == ("pccs_url", True)
    assert LOCALHOST in fault.consequence


def test_of_two_equal_keys_the_first_counts_and_both_are_told() -> None:
    text = json.dumps(GOOD)[:-1] + ', "use_secure_cert": false}'
    (fault,) = lint_qcnl(text.encode())
    assert fault.found == "'use_secure_cert' is there more than once"
    assert read_qcnl(text.encode()).values["use_secure_cert"] is True


def test_the_older_form_is_read_and_judged_alike() -> None:
    text = (
        b"# older\nPCCS_URL = https://pccs.example/sgx/certification/v4/\nUSE_SECURE_CERT=FALSE\n"
        b"RETRY_TIMES=many\nUSE=1\n"
    )
    found = {fault.key: fault for fault in lint_qcnl(text)}
    assert set(found) == {"", "use_secure_cert", "retry_times"}
    assert found["use_secure_cert"].is_error
    assert not found[""].is_error


def test_a_flag_of_the_older_form_that_says_neither_is_as_if_absent() -> None:
    read = read_qcnl(b"PCCS_URL=https://p/\nUSE_SECURE_CERT=no\nLOCAL_CACHE_ONLY=yes\n")
    assert read.older_form
    assert read.values["use_secure_cert"] is True
    assert read.values["local_cache_only"] is False


def test_a_comment_of_json_is_not_read_as_the_older_form() -> None:
    text = b"/*\nPCCS_URL=http://evil.example/\n*/\n" + json.dumps(GOOD).encode()
    assert lint_qcnl(text) == ()


def test_slashes_in_text_are_no_comment() -> None:
    assert read_qcnl(b'{"a": "x // y /* z"}').values == {"a": "x // y /* z"}


@given(st.binary(max_size=300))
@example(b'{"\\')
def test_whatever_goes_in_only_faults_come_out(data: bytes) -> None:
    assert all(fault.found and fault.consequence and fault.cure for fault in lint_qcnl(data))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    [
        "pccs_url",
        "use_secure_cert",
        "collateral_service",
        "local_pck_url",
        "retry_times",
        "pck_cache_expire_hours",
        "custom_request_options",
        "tcb_update_type",
        "pccs_api_version",
        "get_cert",
    ]
)


@given(st.dictionaries(KEYS | st.text(), JSON | st.dictionaries(KEYS, JSON), max_size=6))
def test_whatever_json_says_it_is_judged(values: dict[str, Any]) -> None:
    found = lint_qcnl(json.dumps(values, allow_nan=False).encode())
    assert all("\n" not in fault.found for fault in found)
    if values.get("use_secure_cert") is False:
        assert any(fault.key == "use_secure_cert" and fault.is_error for fault in found)


@given(st.text(max_size=80))
def test_comments_change_nothing(comment: str) -> None:
    line = "".join(comment.split("\n")).encode("utf-8", "replace")
    block = comment.replace("*/", "").encode("utf-8", "replace")
    if block.endswith(b"*"):
        block += b" "
    text = b"//" + line + b"\n/*" + block + b"*/" + json.dumps(GOOD).encode()
    try:
        read = read_qcnl(text)
    except FormatError as error:
        raise AssertionError(text) from error
    assert read.values == GOOD
