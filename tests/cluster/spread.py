"""Requests of one client for some seconds; prints how many there were and which failed.

Usage: spread.py KIND TARGET SERVER_NAME CA SECONDS, with the text of the CA's certificate. KIND is
`stock`, gRPC as it is, on one channel; `round_robin`, the same with that policy; or `ours`, one
client of ours, TARGET being several with commas. It runs here and in a pod of the client's image.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc
import numpy as np

from sealserve.client import Client, predict_request
from sealserve.errors import SealServeError
from sealserve.messages.services import PREDICT

PAUSE = 0.02  # seconds between two requests
TIMEOUT = 20.0
POLICY = json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})
INPUTS = {"input": np.zeros((1, 8, 8, 1), np.float32)}
Ask = Callable[[], object]


@contextmanager
def ours(targets: str, server_name: str, ca: bytes) -> Iterator[Ask]:
    names = targets.split(",")
    with Client(names, ca=ca, server_name=server_name, timeout=TIMEOUT) as client:
        yield lambda: client.predict("digits", INPUTS)


@contextmanager
def stock(target: str, server_name: str, ca: bytes, policy: str = "") -> Iterator[Ask]:
    options = [("grpc.ssl_target_name_override", server_name), ("grpc.enable_retries", 0)]
    options += [("grpc.service_config", policy)] if policy else []
    credentials = grpc.ssl_channel_credentials(ca)
    with grpc.secure_channel(target, credentials, options) as channel:
        method = channel.unary_unary(
            PREDICT.path, PREDICT.request.SerializeToString, PREDICT.response.FromString
        )
        yield lambda: method(predict_request("digits", INPUTS), timeout=TIMEOUT)


def main(kind: str, target: str, server_name: str, ca: str, seconds: str) -> None:
    options = {"policy": POLICY} if kind == "round_robin" else {}
    kinds = {"ours": ours, "stock": stock, "round_robin": stock}
    until = time.monotonic() + float(seconds)
    asked, failed = 0, []
    with kinds[kind](target, server_name, ca.encode(), **options) as ask:
        while time.monotonic() < until:
            asked += 1
            try:
                ask()
            except (SealServeError, grpc.RpcError) as error:
                failed.append(" ".join(str(error).split()))
            time.sleep(PAUSE)
    sys.stdout.write(json.dumps({"asked": asked, "failed": failed}))


main(*sys.argv[1:])
