"""What the server counts, as a scraper reads it."""

from __future__ import annotations

import multiprocessing
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sealserve.messages.status_pb2 import ModelVersionStatus
from sealserve.serving.calls import Call
from sealserve.serving.watching import measures
from sealserve.serving.watching.measures import PREFIX
from sealserve.serving.watching.metrics import PATHS, PEERS, Metrics
from tools import needs_promtool

PAGE = (Path(__file__).parents[3] / "docs" / "serving-watching.md").read_text()
SERVING = ":tensorflow:serving:"


def call(**changed: object) -> Call:
    """A prediction of two rows that went well: 3 ms, of which 1 ms waiting and 1.5 ms computing."""
    facts = {
        "api": "Predict",
        "entrypoint": "GRPC",
        "peer": "ipv4:192.0.2.1:4711",
        "model": "digits",
        "version": 1,
        "received": 100,
        "sent": 40,
        "rows": 2,
        "seconds": 0.003,
        "queue_seconds": 0.001,
        "engine_seconds": 0.0015,
        "status": "OK",
    }
    return Call(**{**facts, **changed})  # type: ignore[arg-type]


def shown(metrics: Metrics) -> dict[str, float]:
    """Every sample, by its name with its labels."""
    lines = [line for line in metrics.render().splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_requests_are_counted_by_model_and_status() -> None:
    metrics = Metrics()
    for model, status in (("digits", "OK"), ("digits", "OK"), ('a"b\\c\n', "NOT_FOUND")):
        metrics.observe(call(model=model, status=status))
    found = shown(metrics)
    assert found[f'{SERVING}request_count{{model_name="digits",status="OK"}}'] == 2
    escaped = f'{SERVING}request_count{{model_name="a\\"b\\\\c\\n",status="NOT_FOUND"}}'
    assert found[escaped] == 1


def test_the_time_of_a_request_is_in_the_buckets_of_the_stock_server() -> None:
    metrics = Metrics()
    metrics.observe(call())
    found = shown(metrics)
    labels = 'model_name="digits",API="Predict",entrypoint="GRPC"'
    limits = re.findall(
        rf'^{SERVING}request_latency_bucket{{{labels},le="([^"]+)"}} (\d)$',
        metrics.render(),
        re.MULTILINE,
    )
    assert limits[:5] == [("10", "0"), ("18", "0"), ("32.4", "0"), ("58.32", "0"), ("104.976", "0")]
    assert limits[-2:] == [("1.47476e+09", "1"), ("+Inf", "1")]
    assert len(limits) == 34
    assert next(limit for limit, count in limits if count == "1") == "3570.47"
    assert found[f"{SERVING}request_latency_sum{{{labels}}}"] == pytest.approx(3000)
    assert found[f"{SERVING}request_latency_count{{{labels}}}"] == 1
    runtime = 'model_name="digits",API="Predict",runtime="openvino"'
    assert found[f"{SERVING}runtime_latency_sum{{{runtime}}}"] == pytest.approx(1500)
    assert found[f'{PREFIX}queue_duration_seconds_sum{{model_name="digits"}}'] == 0.001
    assert found[f'{PREFIX}rows_total{{model_name="digits"}}'] == 2
    assert found[f'{PREFIX}received_bytes_total{{entrypoint="GRPC"}}'] == 100


def test_examples_are_counted_where_requests_hold_examples() -> None:
    metrics = Metrics()
    metrics.observe(call())
    metrics.observe(call(api="Classify", rows=5))
    found = shown(metrics)
    assert found[f'{SERVING}request_example_count_total{{model="digits"}}'] == 5
    assert found[f'{SERVING}request_example_counts_bucket{{model="digits",le="4"}}'] == 0
    assert found[f'{SERVING}request_example_counts_bucket{{model="digits",le="8"}}'] == 1


def test_a_request_that_failed_or_asked_nothing_of_the_engine_has_no_time_there() -> None:
    metrics = Metrics()
    metrics.observe(call(status="INVALID_ARGUMENT"))
    metrics.observe(call(api="GetModelStatus", engine_seconds=0.0))
    names = {name.partition("{")[0] for name in shown(metrics)}
    assert f"{SERVING}runtime_latency_count" not in names
    assert f"{SERVING}request_latency_count" in names, "of the status, as in the stock server"


def test_what_is_under_way_goes_up_and_down() -> None:
    metrics = Metrics()
    one = call()
    metrics.begun(one)
    metrics.begun(call(entrypoint="REST"))
    metrics.observe(one)
    found = shown(metrics)
    assert found[f'{PREFIX}requests_in_flight{{entrypoint="GRPC"}}'] == 0
    assert found[f'{PREFIX}requests_in_flight{{entrypoint="REST"}}'] == 1


def test_a_grpc_connection_counts_once_and_a_handshake_on_rest_by_its_end() -> None:
    metrics = Metrics()
    for port in (1, 2, 1, 1, 2):
        metrics.observe(call(peer=f"ipv4:192.0.2.1:{port}"))
    for ok in (True, False, True):
        metrics.handshake(ok)
    found = shown(metrics)
    name = f"{PREFIX}tls_handshakes_total"
    assert found[f'{name}{{entrypoint="GRPC",result="ok"}}'] == 2
    assert found[f'{name}{{entrypoint="REST",result="ok"}}'] == 2
    assert found[f'{name}{{entrypoint="REST",result="failed"}}'] == 1


def test_versions_are_counted_by_state_and_leave_with_their_model() -> None:
    metrics = Metrics()
    state = ModelVersionStatus
    metrics.states("digits", {3: state.AVAILABLE, 2: state.UNLOADING, 4: state.END})
    found = shown(metrics)
    numbers = [
        found[f'{PREFIX}versions{{model_name="digits",state="{each}"}}'] for each in measures.STATES
    ]
    assert numbers == [0, 0, 1, 1, 1]
    assert found[f'{PREFIX}available_version{{model_name="digits"}}'] == 3
    metrics.states("digits", {})
    assert shown(metrics)[f'{PREFIX}versions{{model_name="digits",state="available"}}'] == 0


def test_loads_and_warm_up_are_told_by_folder_and_failures_by_code() -> None:
    metrics = Metrics()
    metrics.loaded("models/digits/1", 0.5)
    metrics.load_failed("digits", "models/digits/2", "integrity.path", 0.25)
    metrics.warmed("models/digits/1", 3, 0.1, "OK")
    found = shown(metrics)
    attempts = ":tensorflow:cc:saved_model:load_attempt_count"
    assert found[f'{attempts}{{model_path="models/digits/1",status="success"}}'] == 1
    assert found[f'{attempts}{{model_path="models/digits/2",status="fail"}}'] == 1
    latency = ":tensorflow:cc:saved_model:load_latency"
    assert found[f'{latency}{{model_path="models/digits/1"}}'] == 500_000
    failed = f'{PREFIX}load_failures_total{{model_name="digits",code="integrity.path"}}'
    assert found[failed] == 1
    warm = 'model_path="models/digits/1",status="OK"'
    assert found[f"{SERVING}model_warmup_latency_sum{{{warm}}}"] == pytest.approx(100_000)
    assert found[f"{SERVING}model_warmup_records_read{{{warm}}}"] == 3


def test_a_batch_is_told_with_its_padding() -> None:
    metrics = Metrics()
    metrics.batch([3, 2], 8)
    metrics.observe(call(batched=True))
    found = shown(metrics)
    session = f"{SERVING}batching_session:"
    assert found[f"{session}wrapped_run_count"] == 1
    assert found[f"{session}input_batch_size_count"] == 2
    assert found[f"{session}processed_batch_size_sum"] == 8
    assert found[f'{session}padding_size_sum{{execution_batch_size="8"}}'] == 3
    waited = f'{session}queuing_latency_sum{{thread_pool_name="batch_threads"}}'
    assert found[waited] == pytest.approx(1000)


def test_what_comes_and_goes_does_not_make_the_metrics_grow() -> None:
    metrics = Metrics()
    for number in range(10 * PATHS):
        metrics.loaded(f"models/digits/{number}", 0.5)
    paths = re.findall(r"load_attempt_count\{model_path=\"([^\"]+)\"", metrics.render())
    assert len(paths) == PATHS + 1
    assert "other" in paths
    for number in range(PEERS + 10):
        metrics.observe(call(peer=f"ipv6:[2001:db8::1]:{number}"))
    assert len(metrics._peers) == PEERS


@pytest.mark.parametrize("name", ["a\x1fb", "a\udcffb", "m" * 4000, "\0", "", "ü" * 200])
def test_whatever_a_model_is_called_it_is_counted(name: str) -> None:
    metrics = Metrics()
    metrics.observe(call(model=name))
    counts = [v for n, v in shown(metrics).items() if n.startswith(f"{SERVING}request_count")]
    assert counts == [1]


def in_a_fork(work: Callable[[], object]) -> None:
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join()
    assert process.exitcode == 0


def test_workers_count_together_and_one_that_follows_another_counts_on() -> None:
    metrics = Metrics(workers=2)

    def work(number: int, version: int) -> None:
        metrics.as_worker(number)
        metrics.begun(call())  # and never ended
        metrics.observe(call())
        metrics.begun(call())
        metrics.states("digits", {version: ModelVersionStatus.AVAILABLE})
        metrics.ready(number == 0)

    for number, version in ((0, 1), (1, 2), (0, 3)):
        in_a_fork(lambda number=number, version=version: work(number, version))
    found = shown(metrics)
    assert found[f'{SERVING}request_count{{model_name="digits",status="OK"}}'] == 3
    assert found[f'{PREFIX}requests_in_flight{{entrypoint="GRPC"}}'] == 2, "of those that are left"
    assert found[f'{PREFIX}versions{{model_name="digits",state="available"}}'] == 2
    assert found[f'{PREFIX}available_version{{model_name="digits"}}'] == 2, "that all of them serve"
    assert found[f"{PREFIX}ready"] == 0, "as long as one is not"


def filled() -> Metrics:
    """Metrics with a sample of everything."""
    metrics = Metrics()
    one = call(api="Classify", batched=True)
    metrics.begun(one)
    metrics.observe(one)
    metrics.handshake(True)
    metrics.states("digits", {1: ModelVersionStatus.AVAILABLE})
    metrics.loaded("models/digits/1", 0.5)
    metrics.load_failed("digits", "models/digits/2", "config", 0.1)
    metrics.warmed("models/digits/1", 3, 0.1, "OK")
    metrics.batch([3, 2], 8)
    metrics.span_dropped()
    metrics.ready(True)
    metrics.protections(simulated=False, unattested=True, unsealed=False, plaintext=False)
    metrics.certificate(2e9)
    metrics.engine("OpenVINO 2026.4")
    return metrics


def test_everything_that_is_measured_is_shown_once() -> None:
    types = re.findall(r"^# TYPE (\S+) (\S+)$", filled().render(), re.MULTILINE)
    wanted = [(measure.name, str(measure.kind)) for measure in measures.ALL]
    assert [each for each in types if not each[0].startswith("process_")] == wanted


@needs_promtool
def test_promtool_objects_to_nothing_but_the_stock_servers_names() -> None:
    ended = subprocess.run(
        ["promtool", "check", "metrics"],
        input=filled().render(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    objections = [line for line in (ended.stdout + ended.stderr).splitlines() if line]
    assert not [line for line in objections if not line.startswith(":tensorflow:")]


def test_every_metric_is_explained_in_the_page() -> None:
    for measure in measures.ALL:
        assert f"`{measure.name}`" in PAGE, measure.name
