"""What an operator's Prometheus reads."""

from __future__ import annotations

import pytest

from sealserve.errors import ConfigError
from sealserve.serving.metrics import DEFAULT_PATH, Metrics
from sealserve.serving.textconfig import parse_monitoring


def test_predictions_are_counted_by_model_and_status_under_the_stock_servers_name() -> None:
    metrics = Metrics()
    metrics.count("digits", "OK")
    metrics.count("digits", "OK")
    metrics.count("digits", "INVALID_ARGUMENT")
    lines = metrics.render().splitlines()
    assert ':tensorflow:serving:request_count{model_name="digits",status="OK"} 2' in lines
    assert (
        ':tensorflow:serving:request_count{model_name="digits",status="INVALID_ARGUMENT"} 1'
        in lines
    )


def test_a_models_name_cannot_end_its_label() -> None:
    metrics = Metrics()
    metrics.count('a"} 1\nforged{x="\\', "OK")
    counted = [line for line in metrics.render().splitlines() if not line.startswith("#")]
    assert counted == [
        r':tensorflow:serving:request_count{model_name="a\"} 1\nforged{x=\"\\",status="OK"} 1'
    ]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("prometheus_config { enable: true }", DEFAULT_PATH),
        ('prometheus_config { enable: true path: "/metrics" }', "/metrics"),
        ("prometheus_config { enable: false }", None),
        ("", None),
    ],
)
def test_a_stock_monitoring_file_says_where_the_metrics_are(text: str, path: str | None) -> None:
    assert parse_monitoring(text.encode(), "monitoring.cfg") == path


@pytest.mark.parametrize(
    "text",
    [
        'prometheus_config { enable: true path: "metrics" }',
        'prometheus_config { enable: true path: "/v1/models" }',
        "prometheus { enable: true }",
    ],
    ids=["relative", "shadows a model", "unknown field"],
)
def test_a_wrong_monitoring_file_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match=r"monitoring\.cfg"):
        parse_monitoring(text.encode(), "monitoring.cfg")
