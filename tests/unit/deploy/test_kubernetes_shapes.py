"""Objects of any shape are understood as far as they go, and raise nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealserve.deploy.kubernetes.live.diagnosis.causes.catalogue import shown
from sealserve.deploy.kubernetes.live.diagnosis.causes.explaining import explain, worst
from sealserve.deploy.kubernetes.live.quantities import as_text, parse
from sealserve.deploy.kubernetes.live.seen import Seen
from sealserve.deploy.kubernetes.live.status.statuses import status_of
from sealserve.deploy.kubernetes.live.told import told
from seen_recordings import names, seen

SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
KINDS = ("Pod", "Deployment", "Event", "Node", "Service", "PersistentVolumeClaim")


def _understood(found: Seen) -> None:
    findings = explain(found)
    assert worst(findings) in range(6)
    assert json.dumps([each.as_dict() for each in findings])
    assert json.dumps(status_of(found, {}).as_dict())


def _paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if not isinstance(value, dict | list):
        return [here]
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    return [here, *(path for key, each in inner for path in _paths(each, (*here, key)))]


def _changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy in which what is at a path is another thing, or is gone (Ellipsis)."""
    if not path:
        return {} if new is ... else new
    key, *rest = path
    copied = dict(value) if isinstance(value, dict) else list(value)
    if not rest and new is ...:
        del copied[key]
    else:
        copied[key] = _changed(value[key], tuple(rest), new)
    return copied


@given(data=st.data(), name=st.sampled_from(names()))
@settings(max_examples=150, deadline=None)
def test_a_field_that_is_missing_or_of_another_type_raises_nothing(
    data: st.DataObject, name: str
) -> None:
    found = seen(name)
    objects = list(found.objects)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(objects) - 1))
        path = data.draw(st.sampled_from(_paths(objects[place])))
        new = data.draw(st.just(...) | ANYTHING)
        changed = _changed(objects[place], path, new)
        objects[place] = changed if isinstance(changed, dict) else {}
    _understood(replace(found, objects=objects))


@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_a_record_of_a_decision_of_any_shape_raises_nothing(data: st.DataObject) -> None:
    found = seen("denied")
    assert found.decisions is not None
    path = data.draw(st.sampled_from(_paths(found.decisions[0])[1:]))
    record = _changed(found.decisions[0], path, data.draw(st.just(...) | ANYTHING))
    _understood(replace(found, decisions=[record]))


@given(st.lists(st.dictionaries(st.sampled_from(["metadata", "spec", "status"]), ANYTHING)))
@settings(max_examples=60, deadline=None)
def test_objects_of_any_shape_raise_nothing(parts: list[dict[str, Any]]) -> None:
    objects = [{**each, "kind": KINDS[n % len(KINDS)]} for n, each in enumerate(parts)]
    _understood(replace(seen("healthy"), objects=objects))


@given(st.text(max_size=300) | ANYTHING.map(json.dumps))
@settings(deadline=None)
def test_a_log_of_any_bytes_is_read(log: str) -> None:
    read = told(f"{log}\n{log}")
    assert isinstance(read.waits, dict)
    assert all(mark.isprintable() for mark in shown(read.words))


@pytest.mark.parametrize(
    ("written", "number", "resource", "told_as"),
    [
        ("250m", "0.25", "cpu", "0.25"),
        ("8", "8", "cpu", "8"),
        ("512Mi", "536870912", "memory", "512Mi"),
        ("24632300Ki", "25223475200", "memory", "23.5Gi"),
        ("1G", "1000000000", "sgx.intel.com/epc", "953.7Mi"),
        ("1e3", "1000", "alibabacloud.com/sgx_epc_MiB", "1000"),
        ("-1Xi", "0", "cpu", "0"),
        ("", "0", "memory", "0"),
    ],
)
def test_quantities_are_read_as_kubernetes_writes_them(
    written: str, number: str, resource: str, told_as: str
) -> None:
    assert parse(written) == Decimal(number)
    assert as_text(parse(written), resource) == told_as


@given(ANYTHING)
def test_what_is_no_quantity_is_nothing(value: Any) -> None:
    assert parse(value) >= 0
