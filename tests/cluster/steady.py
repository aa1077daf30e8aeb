"""A steady load: predictions by two kinds of clients, one line of JSON for each.

Usage: steady.py TARGET SERVER_NAME FOLDER PAUSE [ROWS], with ca.pem, images.json and labels.json in
FOLDER, and with cert.pem and key.pem where clients show a certificate. It goes on until its
standard input ends. A connection of our clients takes some requests, then there is another, so that
new servers get their share. A stock client is gRPC as it is: one channel all the time, and nothing
is tried again. Times are in seconds since the epoch.
"""

import json
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

import grpc
import numpy as np

from sealserve.client import Client, predict_request
from sealserve.errors import SealServeError
from sealserve.messages.services import PREDICT
from sealserve.messages.tensors import from_proto

OURS, STOCK = 4, 1
EACH_CONNECTION = 25
TIMEOUT = 20.0
LIMIT = 1 << 20
Ask = Callable[[np.ndarray], np.ndarray]


class Load:
    """What is asked for, and whether it is over."""

    def __init__(
        self, target: str, server_name: str, folder: Path, pause: float, rows: int
    ) -> None:
        self.target, self.server_name = target, server_name
        self.pause = pause  # seconds between two requests of a client
        self.rows = rows  # of one request, all with the same image
        names = {"ca": "ca", "certificate": "cert", "private_key": "key"}
        paths = {name: folder / f"{file}.pem" for name, file in names.items()}
        self.pem = {name: path.read_bytes() for name, path in paths.items() if path.exists()}
        self.images = np.array(json.loads((folder / "images.json").read_text()), np.float32)
        self.labels = json.loads((folder / "labels.json").read_text())
        self.asked = count()
        self.over = threading.Event()

    def ours(self) -> None:
        options = {"server_name": self.server_name, "timeout": TIMEOUT}
        while not self.over.is_set():
            with Client(self.target, **self.pem, **options) as client:
                for _ in range(EACH_CONNECTION):
                    self.one("ours", partial(_predicted, client))
                    if self.over.is_set():
                        return

    def stock(self) -> None:
        own = (self.pem.get("private_key"), self.pem.get("certificate"))
        credentials = grpc.ssl_channel_credentials(self.pem["ca"], *own)
        options = [
            ("grpc.ssl_target_name_override", self.server_name),
            ("grpc.enable_retries", 0),
        ]
        with grpc.secure_channel(self.target, credentials, options) as channel:
            method = channel.unary_unary(
                PREDICT.path, PREDICT.request.SerializeToString, PREDICT.response.FromString
            )

            def ask(image: np.ndarray) -> np.ndarray:
                request = predict_request("digits", {"input": image})
                answer = method(request, timeout=TIMEOUT)
                return from_proto(answer.outputs["predict"], limit_bytes=LIMIT)

            while not self.over.is_set():
                self.one("stock", ask)

    def one(self, client: str, ask: Ask) -> None:
        place = next(self.asked) % len(self.labels)
        line = {"client": client, "began": time.time(), "right": False, "error": None}
        try:
            scores = ask(self.images[[place] * self.rows])
            line["right"] = set(scores.argmax(axis=1)) == {self.labels[place]}
        except (SealServeError, grpc.RpcError) as error:
            line["error"] = " ".join(str(error).split())
        line["ended"] = time.time()
        sys.stdout.write(json.dumps(line) + "\n")
        self.over.wait(self.pause)


def _predicted(client: Client, image: np.ndarray) -> np.ndarray:
    return client.predict("digits", {"input": image})["predict"]


def main(target: str, server_name: str, folder: str, pause: str, rows: str = "1") -> None:
    load = Load(target, server_name, Path(folder), float(pause), int(rows))
    kinds = [load.ours] * OURS + [load.stock] * STOCK
    threads = [threading.Thread(target=each) for each in kinds]
    for each in threads:
        each.start()
    sys.stdin.read()
    load.over.set()
    for each in threads:
        each.join()


main(*sys.argv[1:])
