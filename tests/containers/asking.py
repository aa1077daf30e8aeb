"""What a client's container runs: predictions over new connections, one line of JSON for each.

Usage: asking.py TARGET SERVER_NAME COUNT. It goes on until COUNT requests were answered or refused;
a line says whether the answer was right, or which error there was, and when, in seconds since the
epoch, by the clock that all containers of a host share.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from sealserve.client import Client
from sealserve.errors import SealServeError

PAUSE = 0.02  # seconds between two requests


def main(target: str, server_name: str, count: int) -> None:
    images = np.array(json.loads(Path("images.json").read_text()), np.float32)
    labels = json.loads(Path("labels.json").read_text())
    for number in range(count):
        place = number % len(labels)
        began = time.time()
        line = {"began": began, "right": False, "error": None}
        try:
            with Client(target, ca="ca.pem", server_name=server_name, timeout=20.0) as client:
                answer = client.predict("digits", {"input": images[place : place + 1]})
            line["right"] = int(answer["predict"].argmax()) == labels[place]
        except SealServeError as error:
            line["error"] = error.code
        line["ended"] = time.time()
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
        time.sleep(PAUSE)


main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
