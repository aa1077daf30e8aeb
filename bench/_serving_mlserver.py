"""MLServer's side of the serving benchmark: its custom runtime, as its documentation has one.

Run by MLServer's own interpreter, never by ours: it imports nothing of this project. An input comes
as numbers, which MLServer's NumpyCodec makes an array of, or as BYTES, which are viewed as one. The
engine runs in the event loop, as in MLServer's examples, or in threads beside it, which lets as
many requests run at a time as there are streams.

Source: MLServer 1.7.1, docs/user-guide/custom.md and content-type.md.
"""

from __future__ import annotations

import asyncio
import queue
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import openvino
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class EngineModel(MLModel):
    """One model file in OpenVINO; `extra` says where it is and how it is computed."""

    async def load(self) -> bool:
        extra = self.settings.parameters.extra
        core = openvino.Core()
        compiled = core.compile_model(core.read_model(extra["model"]), "CPU", extra["properties"])
        streams = int(extra["properties"]["NUM_STREAMS"])
        self._shape = extra["shape"]
        self._requests: queue.SimpleQueue[openvino.InferRequest] = queue.SimpleQueue()
        for _ in range(streams):
            self._requests.put(compiled.create_infer_request())
        self._threads = ThreadPoolExecutor(streams) if extra["threads"] else None
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        (given,) = payload.inputs
        if given.datatype == "BYTES":
            array = np.frombuffer(given.data[0], np.float32).reshape(self._shape)
        else:
            array = self.decode(given, default_codec=NumpyCodec)
        if self._threads is None:
            output = self._infer(array)
        else:
            loop = asyncio.get_running_loop()
            output = await loop.run_in_executor(self._threads, self._infer, array)
        return InferenceResponse(
            model_name=self.name, outputs=[NumpyCodec.encode_output("predict", output)]
        )

    def _infer(self, array: np.ndarray) -> np.ndarray:
        request = self._requests.get()
        try:
            return request.infer({0: array}, share_inputs=True, share_outputs=True)[0].copy()
        finally:
            self._requests.put(request)
