"""TensorFlow as the engine: every SavedModel that TensorFlow serves, on the CPU.

Variables, assets, tables, strings and tf.Example parsing are TensorFlow's own here. As in the stock
server, a version is a session: restored, initialised, then run by the tensors that its signatures
name; an asset is read while the version is initialised and never after (TensorFlow Serving 2.21,
servables/tensorflow/saved_model_bundle_factory.cc; TensorFlow 2.21, cc/saved_model/loader.cc).

The package is imported only when this engine is asked for. Plaintext reaches it through `ram://`,
TensorFlow's file system in its own memory (core/platform/ram_file_system.h), and is deleted there
once the version is loaded. What TensorFlow says of a run may quote the request: it is not logged.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import logging
import os
import re
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sealserve.errors import ConfigError, FormatError, ResourceExhausted, Unimplemented, UsageError
from sealserve.messages.metadata_pb2 import SignatureDefMap
from sealserve.serving.capacity import Capacity
from sealserve.serving.engine import Loaded, Precision, VersionFiles
from sealserve.serving.engines.tensorflow_session import TensorFlowExecutable
from sealserve.serving.formats.found import Format, found_in
from sealserve.serving.formats.saved_model import FILE_NAME, MetaGraph, parse_saved_model
from sealserve.serving.signature import parse_signature

log = logging.getLogger(__name__)

PRECISIONS = (Precision.F32, Precision.BF16)
_PIECE = 16 << 20  # bytes that are copied at a time
_FOLDERS = ("variables/", "assets/")  # what a SavedModel consists of beside its graph
_PROCESSORS = Path("/proc/cpuinfo")
_MISSING = re.compile(r"Op type not registered '([^']+)'")


def require_tensorflow(precision: Precision) -> None:
    """UsageError unless TensorFlow is installed and computes in `precision`; imports nothing."""
    if precision not in PRECISIONS:
        known = " or ".join(PRECISIONS)
        raise UsageError(f"--engine=tensorflow computes in {known}, not in {precision}")
    if importlib.util.find_spec("tensorflow") is None:
        raise UsageError(
            "--engine=tensorflow needs TensorFlow, which is not installed",
            code="no-tensorflow",
            hint="pip install 'sealserve[tensorflow]'",
        )


def has_bfloat16(cpuinfo: str) -> bool:
    """Whether TensorFlow rewrites graphs for a processor of which `/proc/cpuinfo` says this.

    Source: TensorFlow 2.21, core/util/util.cc (IsBF16SupportedByOneDNNOnThisCPU).
    """
    return not {"avx512f", "avx_ne_convert"}.isdisjoint(cpuinfo.split())


class TensorFlowEngine:
    """Sessions with the same capacity each. The threads of a process are set by its first one."""

    def __init__(self, capacity: Capacity, precision: Precision = Precision.F32) -> None:
        """Imports TensorFlow; raises what `require_tensorflow` does, and ConfigError for a
        precision that this processor does not compute in."""
        require_tensorflow(precision)
        if precision is Precision.BF16 and not has_bfloat16(_PROCESSORS.read_text()):
            raise ConfigError(f"this processor does not compute in {precision}", code="precision")
        self._tf = _import_tensorflow()
        self._v1 = self._tf.compat.v1
        self._capacity = capacity
        self._precision = precision

    @property
    def name(self) -> str:
        name = f"TensorFlow {self._tf.__version__}"
        return name if self._precision is Precision.F32 else f"{name} ({self._precision})"

    @property
    def concurrency(self) -> int:
        return self._capacity.streams

    def load(self, files: VersionFiles, tags: Sequence[str]) -> Loaded:
        """See `Engine.load`."""
        found = found_in(files.names)
        if found.format is not Format.SAVED_MODEL:
            raise Unimplemented(
                f"{self.name} does not read {found.format.value}; --engine=openvino does"
            )
        saved_model = files.read(FILE_NAME)
        meta_graph = parse_saved_model(saved_model, tags)
        gc.collect()  # the graph of an unloaded version is a cycle, and holds its constants
        with self._in_memory(files, saved_model) as folder:
            del saved_model
            session = self._restored(folder, tags)
        executables = {
            name: self._executable(session, meta_graph, name) for name in meta_graph.signatures
        }
        session.graph.finalize()
        return Loaded(SignatureDefMap(signature_def=meta_graph.signatures), executables)

    @contextmanager
    def _in_memory(self, files: VersionFiles, saved_model: bytearray) -> Iterator[str]:
        """A folder in TensorFlow's memory with the version's files; deleted with the block."""
        folder = f"ram://sealserve-{uuid.uuid4().hex}"
        gfile = self._tf.io.gfile
        gfile.makedirs(folder)
        try:
            self._write(f"{folder}/{FILE_NAME}", saved_model)
            for name in files.names:
                if name.startswith(_FOLDERS):
                    gfile.makedirs(f"{folder}/{name}".rpartition("/")[0])
                    self._write(f"{folder}/{name}", files.read(name))
            yield folder
        finally:
            gfile.rmtree(folder)

    def _write(self, path: str, data: bytearray) -> None:
        with self._tf.io.gfile.GFile(path, "wb") as stream, memoryview(data) as view:
            for start in range(0, len(view), _PIECE):
                stream.write(bytes(view[start : start + _PIECE]))

    def _restored(self, folder: str, tags: Sequence[str]) -> Any:
        """A session with variables restored and tables initialised."""
        errors = self._tf.errors
        graph = self._tf.Graph()
        session = self._v1.Session(graph=graph, config=self._configuration())
        try:
            with graph.as_default():
                self._v1.saved_model.loader.load(session, list(tags), folder)
        except errors.ResourceExhaustedError as error:
            log.error("%s has not enough memory: %s", self.name, error)
            raise ResourceExhausted(f"{self.name} has not enough memory for the model") from error
        except (errors.OpError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
            log.error("%s cannot load the model: %s", self.name, error)
            if missing := _MISSING.search(str(error)):
                raise Unimplemented(f"{self.name} lacks the operation {missing[1]}") from error
            raise FormatError(
                f"{self.name} cannot load the SavedModel; the log says why", code="saved-model"
            ) from error
        return session

    def _executable(
        self, session: Any, meta_graph: MetaGraph, name: str
    ) -> TensorFlowExecutable | Unimplemented:
        try:
            signature = parse_signature(name, meta_graph.signatures[name])
        except Unimplemented as error:
            return error
        return TensorFlowExecutable(self._tf, session, signature)

    def _configuration(self) -> Any:
        configuration = self._v1.ConfigProto(
            intra_op_parallelism_threads=self._capacity.threads,
            inter_op_parallelism_threads=self._capacity.streams,
            use_per_session_threads=True,
            device_count={"GPU": 0},  # whose memory is not the enclave's
        )
        if self._precision is Precision.BF16:
            rewriting = configuration.graph_options.rewrite_options
            rewriting.auto_mixed_precision_onednn_bfloat16 = rewriting.ON
        return configuration


def _import_tensorflow() -> Any:
    """The package, which says nothing but errors unless the environment asks it to."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    tensorflow = importlib.import_module("tensorflow")
    tensorflow.get_logger().setLevel(logging.ERROR)
    return tensorflow
