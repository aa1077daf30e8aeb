"""LitServe's side of the serving benchmark: a LitAPI, as its documentation has one.

Run by LitServe's own interpreter, never by ours: it imports nothing of this project. A request is
JSON with the numbers in lists, JSON with their bytes in base64, or a form with a file of their
bytes: the three bodies that LitServe's documentation has. `litserve.py SETTINGS`, a file of JSON.

Source: LitServe 0.2.19, `litserve.LitAPI`, `litserve.LitServer`.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import litserve
import numpy as np
import openvino

SETTINGS = json.loads(Path(sys.argv[1]).read_text()) if len(sys.argv) > 1 else {}


class EngineAPI(litserve.LitAPI):
    """One model file in OpenVINO."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        self._settings = settings

    def setup(self, device: str) -> None:
        core = openvino.Core()
        model = core.read_model(self._settings["model"])
        compiled = core.compile_model(model, "CPU", self._settings["properties"])
        self._request = compiled.create_infer_request()

    def decode_request(self, request):  # type: ignore  # noqa: ANN001, ANN202  # a type means more
        if "base64" in request:
            data = base64.b64decode(request["base64"])
        elif "file" in request:
            data = request["file"].file.read()
        else:
            return np.array(request["input"], np.float32)
        return np.frombuffer(data, np.float32).reshape(self._settings["shape"])

    def predict(self, array: np.ndarray) -> np.ndarray:
        return self._request.infer({0: array}, share_inputs=True, share_outputs=True)[0].copy()

    def encode_response(self, output: np.ndarray) -> dict[str, Any]:
        return {"predict": output.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(
        EngineAPI(SETTINGS),
        accelerator="cpu",
        workers_per_device=SETTINGS["workers"],
        fast_queue=SETTINGS["fast_queue"],
    )
    server.run(
        host="127.0.0.1",
        port=SETTINGS["port"],
        num_api_servers=SETTINGS["api_servers"],
        generate_client_file=False,
        log_level="warning",
    )
