"""The options of `sealserve bench` as a plan: what is sent, and in which shape."""

from __future__ import annotations

import json
from typing import Any

from sealserve.cli.predict_options import Asked
from sealserve.cli.predict_source import Source
from sealserve.client.load import Plan, Shot, Step, json_shot, make_shot, ramp
from sealserve.client.load.requests import Protocol
from sealserve.client.service import find_service
from sealserve.errors import UsageError

DURATION = 10.0  # seconds
CONCURRENCY = 8
CONNECTIONS = 8  # of an open loop over gRPC, where one connection carries many requests
CONNECTIONS_AT_MOST = 32  # of a closed loop over gRPC
HTTP_CONNECTIONS = 64  # of an open loop over HTTP/1.1, where one carries one request at a time
_LOADS = ("concurrency", "rate", "ramp_rate", "ramp_concurrency")


def _shot(asked: Asked, source: Source, protocol: Protocol) -> Shot:
    version, name = asked.model_version, asked.signature_name
    if protocol in ("grpc", "v2-grpc"):
        with asked.client() as client:
            inputs = source.inputs(lambda: asked.signature(client))
            if protocol == "grpc":
                client.predict(asked.model, inputs, signature=name, version=version)
    elif protocol == "rest" and source.json_file is not None:
        return json_shot(asked.model, _json_body(source), version=version)
    else:
        inputs = source.inputs(_no_signature)
    return make_shot(protocol, asked.model, inputs, signature=name, version=version)


def _no_signature() -> Any:
    raise UsageError(
        "this input needs the model's signature, which is asked for over gRPC",
        hint="give --npy or --random",
    )


def _json_body(source: Source) -> Any:
    try:
        return json.loads(source.json_text())
    except (ValueError, RecursionError) as error:
        raise UsageError("the request is no JSON") from error


def make_plan(asked: Asked, source: Source, protocol: Protocol, shape: dict[str, Any]) -> Plan:
    """The plan; `shape` has the options of the load by their names. Raises UsageError.

    Over TensorFlow Serving's gRPC the request is sent once before, for a failure that explains.
    """
    loop, steps = _steps(shape)
    shot = _shot(asked, source, protocol)
    most = max(step.load for step in steps)
    return Plan(
        find_service(asked.targets, **asked.tls()),
        shot,
        loop="open" if loop == "open" else "closed",
        steps=steps,
        requests=shape["requests"],
        connections=_connections(shape, shot, loop, most),
        processes=shape["processes"],
        poisson=shape["arrivals"] == "poisson",
        warm_up=shape["warm_up"],
        timeout=asked.timeout,
        max_in_flight=shape["max_in_flight"],
    )


def _steps(shape: dict[str, Any]) -> tuple[str, tuple[Step, ...]]:
    if sum(shape[name] is not None for name in _LOADS) > 1:
        raise UsageError("one of --concurrency, --rate, --ramp and --ramp-concurrency is the load")
    if shape["requests"] is not None and shape["duration"] is not None:
        raise UsageError("a run ends after --duration or after --requests, not both")
    seconds = shape["duration"] or DURATION
    if shape["ramp_rate"] is not None:
        return "open", ramp(*shape["ramp_rate"], seconds=seconds)
    if shape["ramp_concurrency"] is not None:
        return "closed", _whole(ramp(*shape["ramp_concurrency"], seconds=seconds))
    if shape["rate"] is not None:
        return "open", (Step(shape["rate"], seconds),)
    return "closed", (Step(shape["concurrency"] or CONCURRENCY, seconds),)


def _whole(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    return tuple(Step(round(step.load), step.seconds) for step in steps)


def _connections(shape: dict[str, Any], shot: Shot, loop: str, most: float) -> int:
    given: int | None = shape["connections"]
    if given is not None:
        return given
    http = shot.transport == "http"
    if loop == "open":
        return max(HTTP_CONNECTIONS if http else CONNECTIONS, int(shape["processes"]))
    return int(most) if http else min(int(most), CONNECTIONS_AT_MOST)
