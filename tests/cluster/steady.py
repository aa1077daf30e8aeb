"""A steady load: predictions over many connections, one line of JSON for each.

Usage: steady.py TARGET SERVER_NAME FOLDER, with ca.pem, images.json and labels.json in FOLDER. It
goes on until its standard input ends. A connection takes some requests, then there is another, so
that new servers get their share. Times are in seconds since the epoch.
"""

import json
import sys
import threading
import time
from pathlib import Path

import numpy as np

from sealserve.client import Client
from sealserve.errors import SealServeError

CLIENTS = 4
EACH_CONNECTION = 25
PAUSE = 0.1  # seconds between two requests of a client
TIMEOUT = 20.0


def main(target: str, server_name: str, folder: str) -> None:
    place = Path(folder)
    images = np.array(json.loads((place / "images.json").read_text()), np.float32)
    labels = json.loads((place / "labels.json").read_text())
    over = threading.Event()

    def ask() -> None:
        asked = 0
        while not over.is_set():
            certificate = str(place / "ca.pem")
            options = {"ca": certificate, "server_name": server_name, "timeout": TIMEOUT}
            with Client(target, **options) as client:
                for _ in range(EACH_CONNECTION):
                    line = one(client, images, labels, asked % len(labels))
                    asked += 1
                    sys.stdout.write(json.dumps(line) + "\n")
                    if over.wait(PAUSE):
                        return

    threads = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for each in threads:
        each.start()
    sys.stdin.read()
    over.set()
    for each in threads:
        each.join()


def one(client: Client, images: np.ndarray, labels: list[int], place: int) -> dict[str, object]:
    line: dict[str, object] = {"began": time.time(), "right": False, "error": None}
    try:
        answer = client.predict("digits", {"input": images[place : place + 1]})
        line["right"] = int(answer["predict"].argmax()) == labels[place]
    except SealServeError as error:
        line["error"] = f"{error.code}: {error}"
    line["ended"] = time.time()
    return line


main(sys.argv[1], sys.argv[2], sys.argv[3])
