"""A request of a form that is known is read as if it were parsed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from sealserve.errors import InvalidArgument
from sealserve.messages import forms
from sealserve.messages.forms import Forms, Received
from sealserve.messages.wire import Spec, encode_predict_request

LIMIT = 1 << 16
unhurried = settings(deadline=None)  # a loaded machine is no failure
SPEC = Spec("m", 3, signature="s")


def request(x: object, y: object = 0, *, spec: Spec = SPEC) -> bytes:
    return encode_predict_request(spec, {"x": np.float32(x), "y": np.int64(y)[...]})


def outcome(read: Callable[[], Received]) -> object:
    try:
        received = read()
        arrays = received.inputs()
    except (DecodeError, InvalidArgument) as error:
        return type(error), str(error)
    shown = {a: (x.dtype, x.shape, x.tobytes()) for a, x in arrays.items()}
    return received.spec, received.output_filter, set(received.aliases), shown


def experienced() -> Forms:
    known = Forms(limit_bytes=LIMIT)
    for x in ([1, 2], [[1, 2], [3, 4]], []):
        known.read(request(x)).inputs()
    return known


def test_only_the_numbers_of_a_known_form_are_new() -> None:
    received = experienced().read(request([5, 6], 7))
    assert received.spec == SPEC
    assert received.inputs()["x"].tolist() == [5, 6]
    assert received.inputs()["y"].tolist() == 7


def test_its_arrays_are_views_of_it() -> None:
    data = request([5, 6], 7)
    array = experienced().read(data).inputs()["x"]
    assert not array.flags.owndata
    assert not array.flags.writeable


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(request([1, 2], spec=Spec("n", 3, signature="s")), id="another model"),
        pytest.param(request([1, 2], spec=Spec("m", 4, signature="s")), id="another version"),
        pytest.param(request([[1], [2]]), id="another shape"),
        pytest.param(request([[1, 2]]), id="one more dimension"),
        pytest.param(request([1, 2])[:-1] + b"\xff", id="another number"),
        pytest.param(request([1, 2])[:-9] + b"\x23" + request([1, 2])[-8:], id="another tag"),
    ],
)
def test_what_is_almost_of_the_form_is_parsed(other: bytes) -> None:
    fresh = Forms(limit_bytes=LIMIT)
    assert outcome(lambda: experienced().read(other)) == outcome(lambda: fresh.read(other))


@unhurried
@given(data=st.data())
def test_memory_changes_nothing(data: st.DataObject) -> None:
    changed = bytearray(request(data.draw(st.sampled_from([[1, 2], [[1, 2], [3, 4]], []]))))
    for _ in range(data.draw(st.integers(0, 2))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    known, fresh = experienced(), Forms(limit_bytes=LIMIT)
    for _ in range(2):  # the second time it may be known
        assert outcome(lambda: known.read(bytes(changed))) == outcome(
            lambda: fresh.read(bytes(changed))
        )


def test_what_may_be_wrong_inside_is_looked_at_every_time() -> None:
    known = Forms(limit_bytes=LIMIT)
    data = encode_predict_request(SPEC, {"x": np.array([True, False])})
    known.read(data).inputs()
    with pytest.raises(InvalidArgument, match="neither 0 nor 1"):
        known.read(data.replace(b"\x01\x00", b"\x07\x00")).inputs()


def test_a_form_is_remembered_once_its_arrays_were_sound() -> None:
    known = Forms(limit_bytes=4)
    for _ in range(2):
        with pytest.raises(InvalidArgument, match=r"input '[xy]': the tensor takes 8 bytes"):
            known.read(request([1, 2])).inputs()


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "MAX_FORMS", 2)
    known = Forms(limit_bytes=LIMIT)
    for size in range(50):
        known.read(request([0] * size)).inputs()
    assert len(known) == 2
    long_name = Spec("m" * forms.MAX_FORM_BYTES)
    known.read(request([0], spec=long_name)).inputs()
    assert len(known) == 2
