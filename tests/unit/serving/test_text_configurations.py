"""ssl.cfg, the model configuration and the batching parameters, as the stock server writes them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sealserve.deploy.certificates import Validity, make_authority, make_server
from sealserve.deploy.tls_folder import render_ssl_config
from sealserve.errors import ConfigError
from sealserve.serving.life.models import All, Latest, ModelSettings, Specific
from sealserve.serving.running.batching import BatchSettings
from sealserve.serving.textconfig import (
    parse_batching,
    parse_models,
    parse_monitoring,
    parse_tls,
)

SECRET = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC"


def test_the_ssl_configuration_that_our_own_command_writes_is_read() -> None:
    validity = Validity(datetime.now(UTC), 1)
    authority = make_authority(validity)
    server = make_server(["localhost"], validity, issuer=authority)
    mutual = parse_tls(render_ssl_config(server, client_ca=authority.certificate_pem), "ssl.cfg")
    assert mutual.private_key == server.key_pem
    assert mutual.certificates == server.certificate_pem
    assert mutual.client_ca == authority.certificate_pem
    assert parse_tls(render_ssl_config(server, client_ca=None), "ssl.cfg").client_ca is None


def test_the_private_key_shows_in_no_repr() -> None:
    settings = parse_tls(f'server_key: "{SECRET}" server_cert: "c"'.encode(), "ssl.cfg")
    assert SECRET not in repr(settings)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f'server_key: "{SECRET}"', id="no-certificate"),
        pytest.param('server_cert: "c"', id="no-key"),
        pytest.param(
            f'server_key: "{SECRET}" server_cert: "c" client_verify: true', id="any-public-client"
        ),
        pytest.param(f'server_key: "{SECRET}" server_crt: "c"', id="unknown-field"),
        pytest.param(f'server_key: "{SECRET}\n" server_cert: "c"', id="broken-string"),
        pytest.param(f"server_key: {SECRET}", id="no-string"),
    ],
)
def test_a_wrong_ssl_configuration_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_tls(text.encode(), "ssl.cfg")
    assert caught.value.message.startswith("ssl.cfg: ")
    assert SECRET not in caught.value.message
    assert caught.value.__cause__ is None


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(ConfigError, match="not UTF-8"):
        parse_tls(b"\xff\xfe", "ssl.cfg")


MODELS = """
model_config_list {
  config { name: "a" base_path: "/models/a" model_platform: "tensorflow" }
  config {
    name: "b" base_path: "models/b" model_platform: "tensorflow"
    model_version_policy { specific { versions: 4 versions: 2 } }
    version_labels { key: "stable" value: 2 }
  }
  config { name: "c" base_path: "c" model_version_policy { latest { num_versions: 3 } } }
  config { name: "d" base_path: "d" model_version_policy { all {} } }
}
"""


def test_models_policies_and_labels_are_read() -> None:
    assert parse_models(MODELS.encode(), "models.config") == (
        ModelSettings("a", "/models/a"),
        ModelSettings("b", "models/b", Specific(frozenset({2, 4})), {"stable": 2}),
        ModelSettings("c", "c", Latest(3)),
        ModelSettings("d", "d", All()),
    )


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("model_config_list {}", id="no-model"),
        pytest.param("custom_model_config {}", id="custom"),
        pytest.param('model_config_list { config { name: "a" } }', id="no-path"),
        pytest.param('model_config_list { config { base_path: "a" } }', id="no-name"),
        pytest.param(
            'model_config_list { config { name: "a" base_path: "a" model_platform: "other" } }',
            id="platform",
        ),
        pytest.param(
            'model_config_list { config { name: "a" base_path: "a" '
            "model_version_policy { specific {} } } }",
            id="specific-without-versions",
        ),
        pytest.param(
            'model_config_list { config { name: "a" base_path: "a" '
            "logging_config { sampling_config { sampling_rate: 1 } } } }",
            id="logging",
        ),
    ],
)
def test_a_wrong_model_configuration_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"models\.config: "):
        parse_models(text.encode(), "models.config")


def test_batching_parameters_are_read_and_have_the_stock_defaults() -> None:
    text = """
        max_batch_size { value: 32 }
        batch_timeout_micros { value: 5000 }
        max_enqueued_batches { value: 100 }
        num_batch_threads { value: 4 }
        allowed_batch_sizes: 8
        allowed_batch_sizes: 32
    """
    expected = BatchSettings(32, 0.005, 100, 4, (8, 32))
    assert parse_batching(text.encode(), "b") == expected
    assert parse_batching(b"", "b") == BatchSettings(1000, 0.0, 10, 0, ())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pad_variable_length_inputs: true", BatchSettings(pad_lengths=True)),
        ("enable_large_batch_splitting { value: true }", BatchSettings(max_execution=1000)),
        ("max_execution_batch_size { value: 8 }", BatchSettings()),  # as the stock server
        (
            "enable_large_batch_splitting { value: true } max_execution_batch_size { value: 8 } "
            "allowed_batch_sizes: [4, 8]",
            BatchSettings(allowed_sizes=(4, 8), max_execution=8),
        ),
    ],
)
def test_padding_of_lengths_and_splitting_are_read(text: str, expected: BatchSettings) -> None:
    assert parse_batching(text.encode(), "b") == expected


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("max_batch_size { value: 0 }", id="size"),
        pytest.param("max_enqueued_batches { value: 0 }", id="queue"),
        pytest.param("batch_timeout_micros { value: -1 }", id="timeout"),
        pytest.param("allowed_batch_sizes: 8", id="last-is-not-the-largest"),
        pytest.param(
            "max_batch_size { value: 8 } allowed_batch_sizes: [8, 8]", id="does-not-increase"
        ),
        pytest.param(
            "enable_large_batch_splitting { value: true } max_execution_batch_size { value: 1001 }",
            id="runs-larger-than-requests",
        ),
        pytest.param("max_batch_sise { value: 8 }", id="misspelt"),
    ],
)
def test_wrong_batching_parameters_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^b: "):
        parse_batching(text.encode(), "b")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", None),
        ('prometheus_config { enable: false, path: "/m" }', None),
        ("prometheus_config { enable: true }", "/monitoring/prometheus/metrics"),
        ('prometheus_config { enable: true, path: "/m" }', "/m"),
    ],
)
def test_metrics_are_told_where_the_monitoring_configuration_says(
    text: str, path: str | None
) -> None:
    assert parse_monitoring(text.encode(), "monitoring.config") == path


@pytest.mark.parametrize("path", ["m", "/v1/models/m", "/V1/x"])
def test_metrics_do_not_hide_a_route_of_the_api(path: str) -> None:
    text = f'prometheus_config {{ enable: true, path: "{path}" }}'
    with pytest.raises(ConfigError, match="must begin with /"):
        parse_monitoring(text.encode(), "monitoring.config")
