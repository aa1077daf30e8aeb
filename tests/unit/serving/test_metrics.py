"""The counters, as a scraper reads them."""

from __future__ import annotations

from sealserve.serving.calls import Call
from sealserve.serving.metrics import Metrics


def test_predictions_are_counted_by_model_and_status() -> None:
    metrics = Metrics()
    for model, status in (("digits", "OK"), ("digits", "OK"), ('a"b\\c\n', "NOT_FOUND")):
        metrics.observe(Call("Predict", "GRPC", model=model, status=status))
    lines = [line for line in metrics.render().splitlines() if not line.startswith("#")]
    assert lines == [
        ':tensorflow:serving:request_count{model_name="a\\"b\\\\c\\n",status="NOT_FOUND"} 1',
        ':tensorflow:serving:request_count{model_name="digits",status="OK"} 2',
    ]
