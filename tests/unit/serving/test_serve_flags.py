"""The command line: the stock server's flags, ours, and what contradicts itself."""

from __future__ import annotations

import pytest

from sealserve.errors import UsageError
from sealserve.serving import settings
from sealserve.serving.flags import ACCEPTED, REFUSED, Flags, flag_table, parse_flags
from sealserve.serving.life.lifecycle import Pace

# What people pass to the stock server (facts of its guide and of the published start script).
STOCK = [
    "--port=8500",
    "--rest_api_port=8501",
    "--model_name=resnet50-v15-fp32",
    "--model_base_path=/models/resnet50-v15-fp32",
    "--enable_model_warmup=true",
    "--flush_filesystem_caches=false",
    "--enable_batching=false",
    "--ssl_config_file=ssl.cfg",
    "--tensorflow_intra_op_parallelism=8",
    "--tensorflow_inter_op_parallelism=8",
    "--tensorflow_session_parallelism=0",
    "--file_system_poll_wait_seconds=5",
    "--rest_api_num_threads=4",
    "--rest_api_timeout_in_ms=1000",
    "--model_config_file=m.config",
    "--model_config_file_poll_wait_seconds=0",
    "--batching_parameters_file=b",
    "--monitoring_config_file=m",
    "--max_num_load_retries=1",
    "--load_retry_interval_micros=-1",
    "--grpc_channel_arguments=grpc.max_connection_age_ms=2000,grpc.x=y",
    "--saved_model_tags=serve",
]

SOUND = {
    "model_base_path": "models/m",
    "ssl_config_file": "ssl.cfg",
    "dangerously_serve_unsealed_models": True,
}


def test_the_flags_of_the_stock_server_are_taken() -> None:
    flags, notes = parse_flags(STOCK)
    assert flags.port == 8500
    assert flags.rest_api_port == 8501
    assert flags.model_name == "resnet50-v15-fp32"
    assert flags.flush_filesystem_caches is False
    assert flags.enable_batching is False
    assert settings.pace(flags) == Pace(poll=5, retries=1, retry_interval=0)
    options = settings.grpc_settings(flags).options
    assert options == [("grpc.max_connection_age_ms", 2000), ("grpc.x", "y")]
    told = {note.split()[0] for note in notes}
    assert told == {"--rest_api_num_threads"}
    assert flags.enable_model_warmup is True


@pytest.mark.parametrize(
    "spelling",
    [
        ["--enable_batching"],
        ["--enable_batching=true"],
        ["--enable_batching=TRUE"],
        ["--enable-batching=1"],
        ["--enable_batching=false", "--enable_batching"],
    ],
)
def test_booleans_are_spelt_in_many_ways(spelling: list[str]) -> None:
    assert parse_flags([*spelling, "--port", "1"])[0] == Flags(enable_batching=True, port=1)


def test_values_stand_after_an_equals_sign_or_a_space() -> None:
    assert parse_flags(["--model-name", "a=b"])[0] == Flags(model_name="a=b")
    assert parse_flags(["--model_name=a=b"])[0] == Flags(model_name="a=b")
    assert parse_flags(["--rest_api_num_threads", "4", "--port=1"])[0] == Flags(port=1)


def test_what_is_given_twice_counts_the_last_time() -> None:
    assert parse_flags(["--port=1", "--port=2"])[0].port == 2


def test_a_flag_without_effect_is_told_once() -> None:
    _, notes = parse_flags(["--grpc_max_threads=1", "--grpc_max_threads=2"])
    assert notes == ["--grpc_max_threads has no effect: gRPC runs in one event loop"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        pytest.param(["--model_nam=x"], "there is no flag --model_nam", id="unknown"),
        pytest.param(["model"], "'model' is no flag", id="no-flag"),
        pytest.param(["--port"], "--port needs a value", id="no-value"),
        pytest.param(["--port=eight"], "--port is a number", id="no-number"),
        pytest.param(["--port=65536"], "--port is a port", id="no-port"),
        pytest.param(["--port=-1"], "--port is at least 0", id="negative"),
        pytest.param(["--max_request_bytes=0"], "at least 1", id="zero"),
        pytest.param(["--file_system_poll_wait_seconds=-1"], "at least 0", id="never-starts"),
        pytest.param(["--attest=maybe"], "--attest is true or false", id="no-boolean"),
        pytest.param(["--processes=0"], "at least 1", id="nobody-to-serve"),
        pytest.param(["--use_alts_credentials"], "TLS is configured", id="another-transport"),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong(arguments: list[str], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        parse_flags(arguments)


def test_a_misspelt_flag_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        parse_flags(["--model_base_pat=x"])
    assert caught.value.hint == "did you mean --model_base_path?"


def test_switching_off_what_is_not_there_is_fine() -> None:
    off = [f"--{name}=false" for name in REFUSED]
    assert parse_flags(off) == (Flags(), [])


def test_every_flag_has_one_meaning_and_a_text() -> None:
    names = [name for name, _, _ in flag_table()]
    assert len({*names, *ACCEPTED, *REFUSED}) == len(names) + len(ACCEPTED) + len(REFUSED)
    assert all(text for _, _, text in flag_table())


def test_a_sound_command_line_passes() -> None:
    settings.check(Flags(**SOUND))


KEY_SERVICE = {"key_service": "keys:4433", "key_service_ca": "ca.pem"}


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        pytest.param({"model_base_path": ""}, "which model", id="no-model"),
        pytest.param({"ssl_config_file": ""}, "no --ssl_config_file", id="no-tls"),
        pytest.param({"dangerously_serve_plaintext": True}, "contradict", id="tls-and-plaintext"),
        pytest.param({"dangerously_serve_unsealed_models": False}, "where is the key", id="no-key"),
        pytest.param({"attest": True, **KEY_SERVICE}, "contradict", id="key-and-unsealed"),
        pytest.param({"dangerously_use_key_file": "k"}, "contradict", id="file-and-unsealed"),
        pytest.param(
            {"attest": True, "dangerously_serve_unsealed_models": False},
            "--attest needs --key_service",
            id="nobody-to-ask",
        ),
        pytest.param(KEY_SERVICE, "--attest is not given", id="forgotten-attest"),
        pytest.param({"secret_name": "a"}, "--attest is not given", id="a-name-for-nobody"),
        pytest.param(
            {
                "attest": True,
                "dangerously_serve_unsealed_models": False,
                "secret_name": "models/a",
                **KEY_SERVICE,
            },
            "is no name of a secret",
            id="no-name",
        ),
        pytest.param(
            {
                "attest": True,
                "dangerously_serve_unsealed_models": False,
                "ssl_config_file": "",
                "dangerously_serve_plaintext": True,
                **KEY_SERVICE,
            },
            "does not serve plaintext",
            id="attested-plaintext",
        ),
        pytest.param({"tls_mode": "twoway"}, "oneway or mutual", id="no-tls-mode"),
        pytest.param(
            {"tls_mode": "oneway", "ssl_config_file": "", "dangerously_serve_plaintext": True},
            "--tls_mode and --dangerously_serve_plaintext",
            id="tls-mode-of-plaintext",
        ),
        pytest.param({"batching_parameters_file": "b"}, "without --enable_batch", id="batching"),
        pytest.param({"monitoring_config_file": "m"}, "needs --rest_api_port", id="metrics"),
        pytest.param({"grpc_channel_arguments": "x=1"}, "no argument of gRPC", id="grpc"),
        pytest.param(
            {
                "tensorflow_session_parallelism": 1,
                "tensorflow_intra_op_parallelism": 1,
                "tensorflow_inter_op_parallelism": 1,
            },
            "all of --tensorflow_session_parallelism",
            id="parallelism",
        ),
        pytest.param({"host": "0.0.0.0:8500"}, "no host name", id="host-with-port"),
        pytest.param(
            {"processes": 2, "dangerously_allow_reload_config": True},
            "a request reaches one of them",
            id="reload-of-one-of-several",
        ),
        pytest.param({"engine": "torch"}, "--engine is one of", id="engine"),
        pytest.param({"precision": "int8"}, "--precision is one of", id="precision"),
        pytest.param({"mixed_precision": "float16"}, "is bfloat16, not", id="another-answer"),
        pytest.param(
            {"mixed_precision": "bfloat16", "precision": "f16"}, "contradict", id="two-answers"
        ),
        pytest.param({"optimize_for": "cost"}, "--optimize_for is one of", id="goal"),
        pytest.param({"log_format": "xml"}, "--log_format is text or json", id="log"),
        pytest.param({"trace_endpoint": "collector"}, "is https://HOST:PORT", id="collector"),
        pytest.param({"trace_endpoint": "http://c:1"}, "over TLS alone", id="traces-in-plaintext"),
        pytest.param({"trace_ca": "ca.pem"}, "without --trace_endpoint", id="nobody-to-trace-to"),
        pytest.param({"port": 9, "rest_api_port": 9}, "are the same", id="one-port"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(changed: dict[str, object], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        settings.check(Flags(**{**SOUND, **changed}))  # type: ignore[arg-type]


@pytest.mark.parametrize("argument", ["max_age=1", "grpc.x", "grpc.x 1"])
def test_channel_arguments_are_grpcs(argument: str) -> None:
    with pytest.raises(UsageError, match="no argument of gRPC"):
        settings.grpc_settings(Flags(grpc_channel_arguments=argument))


def test_plaintext_stays_on_loopback_unless_a_host_is_named() -> None:
    assert settings.host(Flags()) == "0.0.0.0"
    assert settings.host(Flags(dangerously_serve_plaintext=True)) == "127.0.0.1"
    assert settings.host(Flags(dangerously_serve_plaintext=True, host="::1")) == "::1"


def test_processes_share_the_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "available_processors", lambda: 8)
    assert settings.capacity(Flags()).threads == 8
    assert settings.capacity(Flags(processes=3)).threads == 2
    assert settings.capacity(Flags(processes=99)).threads == 1


def test_processes_share_the_port_and_one_alone_does_not() -> None:
    assert not settings.grpc_settings(Flags()).shared_port
    assert settings.grpc_settings(Flags(processes=2)).shared_port
