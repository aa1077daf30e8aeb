"""The one form of an enclave's arguments: what is measured, what is started."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealserve.errors import UsageError
from sealserve.lab.arguments import TRUSTED_FILES, UNMEASURED, normalize
from sealserve.serving.flags import Flags


def test_both_spellings_of_a_flag_have_one_form() -> None:
    joined = normalize(["serve", "--model_name=digits", "--attest", "--port=8500"])
    spaced = normalize(["serve", "--model_name", "digits", "--attest", "--port", "8500"])
    assert joined == spaced
    assert joined.measured == ("serve", "--model_name=digits", "--attest")


def test_the_enclave_is_started_with_the_measured_tokens_first() -> None:
    arguments = normalize(["serve", "--port", "8500", "--attest", "--rest_api_port=0"])
    assert arguments.measured == ("serve", "--attest")
    assert arguments.launched == ("serve", "--attest", "--port=8500", "--rest_api_port=0")


def test_a_value_may_hold_equals_signs_and_be_empty() -> None:
    arguments = normalize(["serve", "--grpc_channel_arguments=a=1,b=2", "--model_name="])
    assert arguments.measured == ("serve", "--grpc_channel_arguments=a=1,b=2", "--model_name=")


@pytest.mark.parametrize("flag", ["--key_service_ca", "--key-service-ca"])
def test_a_trusted_file_is_found_in_either_spelling_of_its_flag(flag: str) -> None:
    arguments = normalize(["serve", flag, "ca.pem"])
    (trusted,) = arguments.trusted_files
    assert (trusted.index, trusted.flag, trusted.path) == (1, flag, "ca.pem")


def test_a_trusted_flag_with_an_empty_value_names_no_file() -> None:
    arguments = normalize(["serve", "--model_config_file="])
    assert arguments.measured == ("serve", "--model_config_file=")
    assert arguments.trusted_files == ()


@pytest.mark.parametrize(
    "smuggling",
    [
        pytest.param(["--model_name", "--port", "--evil", "digits"], id="flag-after-port"),
        pytest.param(["--model_name=digits", "--port", "--evil=1"], id="joined-flag-after-port"),
        pytest.param(["--model_name=digits", "--port"], id="port-last"),
        pytest.param(["--model_name=digits", "--", "--port=1"], id="end-of-flags"),
        pytest.param(["--model_name=digits", "--key_service_ca"], id="trusted-without-file"),
        pytest.param(["--model_name", "--port=1", "digits"], id="value-behind-another-flag"),
        pytest.param(["--model_name", "-digits"], id="value-like-a-flag"),
    ],
)
def test_no_flag_hides_as_the_value_of_one_that_is_not_measured(smuggling: list[str]) -> None:
    with pytest.raises(UsageError):
        normalize(["serve", *smuggling])


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(["serve", "--model_name=other"], id="value"),
        pytest.param(["serve", "--model_name=digits", "--attest"], id="one-more-flag"),
        pytest.param(["serve", "--model_base_path=digits"], id="other-flag"),
        pytest.param(["serve", "--model_name", "--model_name=digits"], id="flag-without-value"),
        pytest.param(["serve", "digits", "--model_name"], id="no-value-but-a-word"),
        pytest.param(["serve", "--port=1", "--model_name"], id="no-value"),
        pytest.param(["serve"], id="left-out"),
    ],
)
def test_whatever_is_not_the_platforms_to_choose_changes_what_is_measured(other: list[str]) -> None:
    policy = normalize(["serve", "--model_name=digits"])
    assert normalize(other).measured != policy.measured


def test_the_tables_name_flags_of_the_server_and_miss_no_file_that_it_trusts() -> None:
    flags = {field.name for field in dataclasses.fields(Flags)}
    assert {*UNMEASURED, *TRUSTED_FILES} <= flags
    files = {name for name in flags if name.endswith(("_file", "_ca"))}
    sealed_or_for_development = {"ssl_config_file", "dangerously_use_key_file"}
    assert files == {*TRUSTED_FILES, *sealed_or_for_development}


WORDS = st.lists(st.sampled_from(["serve", "-v", "models"]), min_size=1, max_size=3)
FLAGS = st.lists(
    st.tuples(
        st.sampled_from(["--port", "--model_name", "--attest", "--key_service_ca", "--host"]),
        st.sampled_from(["8500", "a=b", "-", "ca.pem"]),
    ),
    max_size=6,
)


@given(words=WORDS, flags=FLAGS)
def test_what_is_started_measures_as_what_was_asked_for(
    words: list[str], flags: list[tuple[str, str]]
) -> None:
    asked = normalize([*words, *(token for flag in flags for token in flag)])
    assert normalize([*words, *(f"{flag}={value}" for flag, value in flags)]) == asked
    assert normalize(asked.launched) == asked
    assert asked.launched[: len(asked.measured)] == asked.measured
