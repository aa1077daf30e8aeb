"""Pictures of runs: whole documents, whatever was measured."""

from __future__ import annotations

import io
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sealserve.cli.bench_drawing import Line, Words, png, svg
from sealserve.cli.bench_plot import Scale, draw
from sealserve.client.load import Plan, Report, Shot, Step
from sealserve.client.load.report import Tally
from sealserve.client.load.slices import Recorder
from sealserve.client.load.worker import Ended
from sealserve.client.service import find_service

SVG = "{http://www.w3.org/2000/svg}"
MEASURED: dict[str, Any] = {
    "model": 'a<b>&"c"',
    "targets": ["127.0.0.1:8500"],
    "loop": "closed",
    "load": "8 clients",
    "protocol": "grpc",
    "tls": "mutual",
    "request_bytes": 319,
}
LATENCIES = st.lists(st.floats(1e-6, 100), max_size=60)


def run(latencies: list[float], errors: int = 0) -> Report:
    service = find_service("127.0.0.1:1", dangerously_plaintext=True)
    plan = Plan(service, Shot("grpc", "/a.B/C", b""), "closed", (Step(1, 4.0),))
    tally = Tally(plan)
    recorder = Recorder(0, int(plan.interval * 1e9), lambda told: tally.add(0, told))
    for index, latency in enumerate(latencies):
        now = int(4e9 * (index + 1) / (len(latencies) + 1))
        recorder.ended(0, now - int(latency * 1e9), now, None)
    for _ in range(errors):
        recorder.ended(0, int(3.9e9), int(3.95e9), "serving.unavailable")
    recorder.finish()
    tally.end(Ended(0, 0, 4.0))
    return tally.report()


@given(LATENCIES, st.integers(0, 3))
def test_every_run_is_drawn_within_the_page(latencies: list[float], errors: int) -> None:
    page = draw(MEASURED, run(latencies, errors))
    places = [
        place
        for shape in page.shapes
        for place in (shape.points if isinstance(shape, Line) else [(shape.x, shape.y)])
    ]
    assert all(0 <= x <= page.width and 0 <= y <= page.height for x, y in places)
    ElementTree.fromstring(svg(page))


def test_a_picture_has_titles_labelled_axes_and_a_curve_for_each_series() -> None:
    page = draw(MEASURED, run([0.001 * (n + 1) for n in range(50)], errors=2))
    texts = {shape.text for shape in page.shapes if isinstance(shape, Words)}
    assert {"Latency by percentile, ms", "percentile", "50 %", "90 %"} <= texts
    assert {"Answers and errors per second", "Latency over time, ms", "seconds"} <= texts
    assert {"latency", "answers", "errors", "p50", "p99"} <= texts
    curves = [s for s in page.shapes if isinstance(s, Line) and s.width > 1]
    assert len(curves) == 5


def test_words_of_a_picture_are_words_and_no_markup() -> None:
    root = ElementTree.fromstring(svg(draw(MEASURED, run([0.1]))))
    assert [one.text for one in root.iter(f"{SVG}title")] == ['a<b>&"c" at 127.0.0.1:8500']
    assert {one.tag for one in root.iter()} == {
        SVG + tag for tag in ("svg", "title", "rect", "polyline", "text")
    }


def test_a_png_is_twice_as_large_and_dark_on_white() -> None:
    page = draw(MEASURED, run([0.1, 0.2]))
    with Image.open(io.BytesIO(png(page))) as image:
        assert image.size == (2 * page.width, 2 * page.height)
        colours = image.getcolors(1 << 16)
    assert colours is not None
    most = max(colours)[1]
    assert most == (255, 255, 255)
    assert min(sum(colour) for _, colour in colours) < 3 * 64


@pytest.mark.parametrize("log", [False, True])
@given(low=st.floats(1e-3, 1e3), factor=st.floats(1.5, 1e6))
def test_ticks_are_few_and_within_their_scale(log: bool, low: float, factor: float) -> None:
    scale = Scale(low if log else 0, low * factor, 0, 100, log=log)
    ticks = scale.ticks()
    assert 0 <= len(ticks) <= 20
    assert all(0 <= scale.place(tick) <= 100 for tick in ticks)
