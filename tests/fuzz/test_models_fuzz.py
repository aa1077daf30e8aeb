"""Random and damaged bytes to the readers of graphs and models: an answer or our own error."""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from sealserve.errors import SealServeError
from sealserve.models.convert import SignatureNames, convert
from sealserve.models.digits import digits_model
from sealserve.models.inspect import describe
from sealserve.models.saved_model import serialize
from sealserve.models.synth import resnet50

MODEL = serialize(digits_model())
GRAPHS = (
    digits_model().meta_graphs[0].graph_def.SerializeToString(),
    resnet50(width=1).SerializeToString(),
)
NAMES = SignatureNames(["input"], ["predict"])


@st.composite
def damaged(draw: st.DrawFn, originals: tuple[bytes, ...]) -> bytes:
    """One of `originals` with a few bytes changed, and perhaps cut short."""
    data = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 6))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.sampled_from([len(data), draw(st.integers(0, len(data)))]))])


@given(st.binary(max_size=300) | damaged(GRAPHS))
@settings(max_examples=300, deadline=None)
def test_converting_any_bytes_gives_a_model_or_our_own_error(data: bytes) -> None:
    with contextlib.suppress(SealServeError):
        describe(serialize(convert(data, NAMES)))


@given(st.binary(max_size=300) | damaged((MODEL,)))
@settings(max_examples=300, deadline=None)
def test_describing_any_bytes_gives_facts_or_our_own_error(data: bytes) -> None:
    with contextlib.suppress(SealServeError):
        describe(data)


@given(st.text(max_size=40), st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_names_give_a_model_or_our_own_error(first: str, second: str) -> None:
    with contextlib.suppress(SealServeError):
        convert(GRAPHS[0], SignatureNames([first], [second]))
