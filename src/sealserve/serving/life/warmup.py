"""Warm-up: a version's own requests, run before it serves anybody.

`assets.extra/tf_serving_warmup_requests` is a TFRecord file of PredictionLogs. Each request goes to
the executables that it names, as often as asked; what comes out is dropped. As in the stock server
a file that is broken, has more than 1000 records, or has a request that fails, fails the load: the
version would fail its first clients too. Unlike there, a request to a signature that this engine
does not run, which its clients are told to, is counted and left out. The error says which record
it was, and no file.

Blocks; belongs to the thread that loads. Source: TensorFlow Serving 2.21, servables/tensorflow/
{saved_model_warmup,saved_model_warmup_util}.cc.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from sealserve.errors import FormatError, InvalidArgument, ServingError, Unimplemented
from sealserve.logline import line
from sealserve.messages.inference_pb2 import Input
from sealserve.messages.prediction_log_pb2 import PredictionLog
from sealserve.messages.tensors import from_proto
from sealserve.serving.engine import Executable, VersionFiles
from sealserve.serving.examples import example_array
from sealserve.serving.formats.records import read_records
from sealserve.serving.signature import DEFAULT_SIGNATURE, Array

FILE_NAME = "assets.extra/tf_serving_warmup_requests"
RECORD_LIMIT = 1000
CODE = "serving.warm-up"
_EXAMPLES = "inputs"  # the one input of a signature that takes examples

log = logging.getLogger(__name__)

Executables = Mapping[str, Executable | Unimplemented]


@dataclass(frozen=True)
class WarmUp:
    """How often each request is replayed, and how large a tensor in one may be, in bytes."""

    iterations: int = 1
    limit_bytes: int = 64 << 20

    def run(self, files: VersionFiles, executables: Executables) -> int | None:
        """Replay the version's requests: how many there were; None, if it brings none.

        Raises what reading the file does, FormatError for a file that is no such one, and the
        ServingError of a request that fails, each with the record's number.
        """
        if FILE_NAME not in files.names:
            return None
        began, replayed, left_out = time.monotonic(), 0, 0
        for number, record in _records(files.read(FILE_NAME)):
            if self._replay(number, record, executables):
                replayed += 1
            else:
                left_out += 1
        log.info(
            line(
                "warmed_up",
                requests=replayed,
                left_out=left_out,  # of signatures that this engine does not serve
                seconds=round(time.monotonic() - began, 3),
            )
        )
        return replayed + left_out

    def _replay(self, number: int, record: PredictionLog, executables: Executables) -> bool:
        """Whether the record's request could be run at all."""
        kind = record.WhichOneof("log_type")
        try:
            runs = list(self._runs(record, executables))
            for _ in range(self.iterations):
                for executable, inputs in runs:
                    executable.run(inputs)
        except Unimplemented as error:
            log.warning(line("warm_up_left_out", record=number, kind=kind, reason=error.message))
            return False
        except ServingError as error:
            text = f"warm-up record {number} ({kind}): {error.message}"
            raise type(error)(text, code=CODE) from error
        except Exception:
            log.error(line("warm_up_failed", record=number, kind=kind))
            raise
        return bool(runs)

    def _runs(
        self, record: PredictionLog, executables: Executables
    ) -> Iterator[tuple[Executable, Mapping[str, Array]]]:
        """What to run with which inputs for one record; nothing for one that holds no request."""
        kind = record.WhichOneof("log_type")
        if kind == "predict_log":
            request = record.predict_log.request
            executable = _executable(executables, request.model_spec.signature_name)
            executable.signature.require_names(request.inputs)
            arrays = {
                alias: from_proto(tensor, limit_bytes=self.limit_bytes)
                for alias, tensor in request.inputs.items()
            }
            yield executable, executable.signature.complete(arrays)
        elif kind in ("classify_log", "regress_log"):
            asked = getattr(record, kind).request
            yield self._examples(executables, asked.model_spec.signature_name, asked.input)
        elif kind == "multi_inference_log":
            several = record.multi_inference_log.request
            for task in several.tasks:
                yield self._examples(executables, task.model_spec.signature_name, several.input)
        elif kind == "predict_streamed_log":
            raise InvalidArgument("Unsupported log_type for warmup")

    def _examples(
        self, executables: Executables, signature: str, examples: Input
    ) -> tuple[Executable, Mapping[str, Array]]:
        executable = _executable(executables, signature)
        array = example_array(examples, limit_bytes=self.limit_bytes)
        return executable, executable.signature.complete({_EXAMPLES: array})


def _records(data: bytearray) -> Iterator[tuple[int, PredictionLog]]:
    try:
        for number, record in enumerate(read_records(data), 1):
            if number > RECORD_LIMIT:
                raise FormatError(
                    f"Number of warmup records exceeds the maximum ({RECORD_LIMIT})", code=CODE
                )
            yield number, _parsed(number, record)
    except FormatError as error:
        if error.code == CODE:
            raise
        hint = "Please verify your warmup data is in TFRecord format."
        raise FormatError(f"warm-up: {error.message}", code=CODE, hint=hint) from error


def _parsed(number: int, record: bytes) -> PredictionLog:
    try:
        return PredictionLog.FromString(record)
    except DecodeError:
        raise FormatError(f"warm-up record {number} is no PredictionLog", code=CODE) from None


def _executable(executables: Executables, signature: str) -> Executable:
    name = signature or DEFAULT_SIGNATURE
    found = executables.get(name)
    if found is None:
        raise InvalidArgument(f'Serving signature key "{name}" not found.')
    if isinstance(found, Unimplemented):
        raise Unimplemented(found.message)
    return found
