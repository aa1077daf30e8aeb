"""OpenVINO as the engine, on the CPU: SavedModels, whose variables become constants; ONNX; its IR.

Precision is float32 exactly, whatever the processor would do faster, unless another is asked for: a
changed answer is never a default. A graph of TensorFlow's reaches OpenVINO through a file in memory
or, where the kernel has none, node by node; the other formats as bytes. OpenVINO's import sends a
usage event over the network; here the module that sends it is kept out.

Source: OpenVINO 2025.3 to 2026.4, `openvino.frontend` and the CPU device's properties.
"""

from __future__ import annotations

import copy
import importlib
import logging
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from sealserve.errors import ConfigError, Unimplemented
from sealserve.messages.graph_pb2 import GraphDef
from sealserve.messages.metadata_pb2 import SignatureDefMap
from sealserve.messages.tensors import dtype_name
from sealserve.serving.capacity import Capacity
from sealserve.serving.engine import Loaded, Precision, VersionFiles
from sealserve.serving.engines.openvino_graphs import GraphReader
from sealserve.serving.engines.openvino_lone import lone
from sealserve.serving.engines.openvino_models import DATA_TYPES, ReadModel, read_model
from sealserve.serving.engines.openvino_requests import OpenVinoExecutable
from sealserve.serving.engines.openvino_signals import own_signal_stack
from sealserve.serving.formats.found import Format, found_in
from sealserve.serving.formats.saved_model import FILE_NAME, MetaGraph, parse_saved_model
from sealserve.serving.formats.subgraph import cut
from sealserve.serving.formats.variables import Variables, stored_in
from sealserve.serving.memory import has_memory_files, memory_file
from sealserve.serving.signature import DEFAULT_SIGNATURE, Signature, parse_signature
from sealserve.serving.watching.stages import STARTING

log = logging.getLogger(__name__)

_PLATFORMS = {Format.ONNX: "onnx_onnxv1", Format.IR: "openvino_ir"}
# What OpenVINO 2026 and 2025 say of operations that they do not know.
_MISSING = re.compile(r"(?:No conversion rule found for operations|for operation\(s\)): (.+)")
_PRECISION_PROPERTIES: dict[Precision, dict[str, object]] = {
    Precision.F32: {"INFERENCE_PRECISION_HINT": "f32", "EXECUTION_MODE_HINT": "ACCURACY"},
    Precision.BF16: {"INFERENCE_PRECISION_HINT": "bf16", "EXECUTION_MODE_HINT": "PERFORMANCE"},
    Precision.F16: {"INFERENCE_PRECISION_HINT": "f16", "EXECUTION_MODE_HINT": "PERFORMANCE"},
    Precision.AUTO: {"EXECUTION_MODE_HINT": "PERFORMANCE"},
}
_CAPABILITIES = {Precision.BF16: "BF16", Precision.F16: "FP16"}
_TELEMETRY_HOME = "openvino.tools.ovc"  # the converter; importing it is what sends the event


class OpenVinoEngine:
    """One OpenVINO core; every loaded graph has the same capacity."""

    def __init__(self, capacity: Capacity, precision: Precision = Precision.F32) -> None:
        """Raises ConfigError for a precision that this processor does not compute in."""
        self._precision = precision
        self._precision_told = False
        self._openvino = _import_openvino()
        self._core = self._openvino.Core()
        with own_signal_stack():  # the first question to the plugin loads it
            _require_precision(self._core, precision)
        frontend = self._openvino.frontend
        self._frontend = frontend.FrontEndManager().load_by_framework("tf")
        self._conversion_errors = (
            RuntimeError,
            frontend.GeneralFailure,
            frontend.InitializationFailure,
            frontend.NotImplementedFailure,
            frontend.OpConversionFailure,
            frontend.OpValidationFailure,
        )
        self._capacity = capacity

    @property
    def name(self) -> str:
        name = f"OpenVINO {self._openvino.__version__.partition('-')[0]}"
        return name if self._precision is Precision.F32 else f"{name} ({self._precision})"

    @property
    def concurrency(self) -> int:
        return self._capacity.streams

    def load(self, files: VersionFiles, tags: Sequence[str]) -> Loaded:
        """See `Engine.load`."""
        found = found_in(files.names)
        if found.format is not Format.SAVED_MODEL:
            read = read_model(self._openvino, self._core, files, found)
            return self._load_read(read, _PLATFORMS[found.format])
        meta_graph = parse_saved_model(files.read(FILE_NAME), tags)
        variables = stored_in(files, meta_graph)
        done: dict[bytes, OpenVinoExecutable] = {}
        return Loaded(
            SignatureDefMap(signature_def=meta_graph.signatures),
            {
                name: self._compiled(meta_graph, name, variables, done)
                for name in meta_graph.signatures
            },
        )

    def _load_read(self, read: ReadModel, platform: str) -> Loaded:
        signature = parse_signature(DEFAULT_SIGNATURE, read.definition)
        return Loaded(
            SignatureDefMap(signature_def={DEFAULT_SIGNATURE: read.definition}),
            {DEFAULT_SIGNATURE: self._executable(read.model, signature)},
            platform,
        )

    def _compiled(
        self,
        meta_graph: MetaGraph,
        name: str,
        variables: Variables | None,
        done: dict[bytes, OpenVinoExecutable],
    ) -> OpenVinoExecutable | Unimplemented:
        """What runs a signature: one of those that are `done` if it computes the same."""
        try:
            signature = parse_signature(name, meta_graph.signatures[name])
            self._require_types(signature)
            part = cut(meta_graph.graph, signature, variables)
            same = part.computation() if len(meta_graph.signatures) > 1 else None
            if same in done:
                return _under(signature, done[same])
            executable = self._executable(self._read(part.pieces()), signature)
        except Unimplemented as error:
            return error
        if same is not None:
            done[same] = executable
        return executable

    def _require_types(self, signature: Signature) -> None:
        for spec in (*signature.inputs.values(), *signature.outputs.values()):
            if spec.data_type not in DATA_TYPES.values():
                raise Unimplemented(
                    f"tensor {spec.alias!r} is {dtype_name(spec.data_type)}, which {self.name} "
                    "does not compute with; --engine=tensorflow does"
                )

    def _read(self, pieces: Iterator[bytes]) -> Any:
        """The model of a GraphDef: through a file in memory, node by node where there are none."""
        if not has_memory_files():
            graph = GraphDef.FromString(b"".join(pieces))
            return self._convert(GraphReader(self._openvino).iterator(graph))
        with memory_file("model", pieces) as path:
            return self._convert(str(path))

    def _executable(self, model: Any, signature: Signature) -> OpenVinoExecutable:
        try:
            with STARTING.stage("compile"):
                compiled = self._core.compile_model(model, "CPU", self._properties())
                alone = lone(self._core, model, self._properties())
        except RuntimeError as error:
            log.error("%s cannot compile signature %r: %s", self.name, signature.name, error)
            raise Unimplemented(
                f"{self.name} cannot compile signature {signature.name!r}"
            ) from error
        self._tell_precision(compiled)
        return OpenVinoExecutable(
            self._openvino, model, compiled, signature, requests=self._capacity.streams, lone=alone
        )

    def _convert(self, source: Any) -> Any:
        try:
            return self._frontend.convert(self._frontend.load(source))
        except self._conversion_errors as error:
            log.error("%s cannot read the graph: %s", self.name, error)
            missing = _MISSING.search(str(error))
            reason = f"it lacks {missing[1].strip()}" if missing else "the log says why"
            raise Unimplemented(f"{self.name} cannot read the graph: {reason}") from error

    def _tell_precision(self, compiled: Any) -> None:
        """Say once what is computed in, where it is not float32 as by default."""
        if self._precision is Precision.F32 or self._precision_told:
            return
        self._precision_told = True
        chosen = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        log.warning("%s computes in %s: answers differ from float32's", self.name, chosen)

    def _properties(self) -> dict[str, object]:
        return {
            **_PRECISION_PROPERTIES[self._precision],
            "NUM_STREAMS": self._capacity.streams,
            "INFERENCE_NUM_THREADS": self._capacity.threads,
            # Replicas on one machine would all pin their threads to the same processors.
            "ENABLE_CPU_PINNING": False,
        }


def _under(signature: Signature, executable: OpenVinoExecutable) -> OpenVinoExecutable:
    """The executable of another signature, its requests included, under this one."""
    same = copy.copy(executable)
    same.signature = replace(
        executable.signature,
        name=signature.name,
        defaults=signature.defaults,
        method=signature.method,
    )
    return same


def _require_precision(core: Any, precision: Precision) -> None:
    found = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    wanted = _CAPABILITIES.get(precision)
    if wanted is not None and wanted not in found:
        raise ConfigError(
            f"this processor does not compute in {precision}; OpenVINO says it has "
            f"{', '.join(sorted(found))}",
            code="precision",
            hint="--precision=auto takes what the processor is fastest with",
        )


def _import_openvino() -> Any:
    """The package, without the part of it that reports every import to its maker."""
    if "openvino" not in sys.modules:
        sys.modules[_TELEMETRY_HOME] = None  # type: ignore[assignment]  # makes its import fail
        try:
            importlib.import_module("openvino")
        finally:
            del sys.modules[_TELEMETRY_HOME]
    openvino: Any = sys.modules["openvino"]
    # Its first view of a tensor as an array sets numpy up, under a lock that is held while it waits
    # for the interpreter: two threads that come first together would wait for ever. So that view is
    # here, whoever imported the package: an engine is made before any thread loads, tries or runs.
    _ = openvino.Tensor(openvino.Type.f32, openvino.Shape([1])).data
    return openvino
