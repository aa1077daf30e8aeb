"""What the data owner does in the demo: ask, judge the answers, and look at what the edge saw."""

from __future__ import annotations

import re
import ssl
from pathlib import Path

import httpx
import numpy as np
from numpy.typing import NDArray

from sealserve.client import Client, predict_request
from sealserve.demo.running import Edge, Replica, client_words
from sealserve.demo.stage import DOMAIN, MODEL, Stage
from sealserve.demo.tap import hexdump
from sealserve.models.digits import held_out

IMAGE = "digit.npy"
CONNECTIONS = 10
METRICS_PATH = "/monitoring/prometheus/metrics"
METRICS_SECONDS = 10.0
REQUEST_COUNT = r'^:tensorflow:serving:request_count\{.*status="OK".*\} (\S+)$'
LEAST_ACCURACY = 0.95
GUIDE_FORM = "{'outputs': {'predict': {'dtype': 'DT_FLOAT', 'tensorShape':"
SHOWN_CHARACTERS = 240
APPLICATION_DATA = 23  # TLS record type, RFC 8446 section 5.1

Array = NDArray[np.float32]


def save_image(stage: Stage) -> None:
    """One held-out image as the file that the client sends."""
    images, _ = held_out()
    np.save(stage.client / IMAGE, images[:1])


def look_at_the_wire(stage: Stage, edge: Edge, *, mutual: bool) -> None:
    """7, continued: the bytes of one request as they pass, and what is not in them."""
    stage.do(
        client_words(f"127.0.0.1:{edge.tap.port}", mutual=mutual, npy=IMAGE),
        folder=stage.client,
        quiet=True,
    )
    sent = bytes(edge.tap.sent)
    image = held_out()[0][:1]
    request = predict_request(MODEL, {"input": image}).SerializeToString()
    secrets = {"the image": image.tobytes(), "the model's name": MODEL.encode()}
    stage.tell.say(
        f"{edge.observer} sees {len(sent)} bytes; it can read the name that is asked for:"
    )
    stage.tell.say(hexdump(sent[_name_row(sent) :], lines=3))
    data = _first_record(sent, APPLICATION_DATA)
    stage.tell.say("and of what follows, only that it is TLS application data (17 03 03):")
    stage.tell.say(hexdump(data, lines=3))
    for what, plaintext in secrets.items():
        stage.tell.check(
            plaintext in request and plaintext not in sent,
            f"{what} stands in the request, and nowhere in the bytes that {edge.observer} sees",
        )


def _name_row(sent: bytes) -> int:
    return max(0, sent.find(DOMAIN.encode()) // 16 * 16)


def _first_record(sent: bytes, kind: int) -> bytes:
    offset = 0
    while offset + 5 <= len(sent):
        length = int.from_bytes(sent[offset + 3 : offset + 5], "big")
        if sent[offset] == kind:
            return sent[offset : offset + 5 + length]
        offset += 5 + length
    return b""


def ask(stage: Stage, edge: Edge, replicas: list[Replica], *, mutual: bool) -> None:
    """8: one answer in the guide's form, then 300 images and how they spread."""
    stage.tell.step("The client: held-out digits over TLS that ends in the enclaves")
    printed = stage.do(client_words(edge.targets, mutual=mutual, npy=IMAGE), folder=stage.client)
    stage.tell.say(printed[:SHOWN_CHARACTERS].rstrip() + " …")
    stage.tell.check(printed.startswith(GUIDE_FORM), "the answer has the guide's form")
    right, total = _accuracy(stage, edge, mutual=mutual)
    share = right / total
    stage.tell.check(
        share >= LEAST_ACCURACY, f"{right} of {total} held-out images are read right: {share:.1%}"
    )
    spread = [_answered(stage, replica, mutual=mutual) for replica in replicas]
    for replica, count in zip(replicas, spread, strict=True):
        stage.tell.say(f"{replica.service.name} answered {count} requests")
    stage.tell.check(
        min(spread) > 0 and sum(spread) >= total, "both replicas took part, and none was lost"
    )


def _accuracy(stage: Stage, edge: Edge, *, mutual: bool) -> tuple[int, int]:
    """Right answers and images; one request for each image, over several connections."""
    images, labels = held_out()
    ca, certificate, private_key = _pem_files(stage, mutual=mutual)
    right = 0
    for part in np.array_split(np.arange(len(labels)), CONNECTIONS):
        with Client(
            edge.targets,
            ca=ca,
            certificate=certificate,
            private_key=private_key,
            server_name=DOMAIN,
        ) as client:
            for number in part:
                answer = client.predict(MODEL, {"input": images[number : number + 1]})
                right += int(answer["predict"].argmax() == labels[number])
    return right, len(labels)


def _answered(stage: Stage, replica: Replica, *, mutual: bool) -> int:
    """Predictions that a replica counts, by its metrics: REST, over the same TLS."""
    ca, certificate, private_key = _pem_files(stage, mutual=mutual)
    context = ssl.create_default_context(cafile=ca)
    if certificate and private_key:
        context.load_cert_chain(certificate, private_key)
    with httpx.Client(verify=context, timeout=METRICS_SECONDS) as client:
        answer = client.get(
            f"https://{replica.rest}{METRICS_PATH}", extensions={"sni_hostname": DOMAIN}
        )
    answer.raise_for_status()
    counts = re.findall(REQUEST_COUNT, answer.text, re.MULTILINE)
    return int(sum(map(float, counts)))


def _pem_files(stage: Stage, *, mutual: bool) -> tuple[Path, Path | None, Path | None]:
    """What the client trusts, and what it shows."""
    if not mutual:
        return stage.client / "server" / "cert.pem", None, None
    own = stage.client / "client"
    return stage.client / "ca_cert.pem", own / "cert.pem", own / "key.pem"
