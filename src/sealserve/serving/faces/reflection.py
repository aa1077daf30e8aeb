"""gRPC's server reflection: which services there are, with their messages, under the wire's names.

Our messages are declared in a package of our own (see `sealserve.messages`), which no client knows.
So their files are described again, in a pool apart, under the packages of TensorFlow and of the
Open Inference Protocol, and with the services, for which we generate nothing.

Protocol: grpc/grpc, src/proto/grpc/reflection/{v1,v1alpha}/reflection.proto, which differ in their
package alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc
import grpc.aio
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection import aio as ready_made

from sealserve.errors import InvalidArgument, ServingError
from sealserve.messages.services import Method
from sealserve.serving.faces import health
from sealserve.serving.faces.streams import OpenCalls, next_message

OUR_PACKAGE = "sealserve.messages"
SERVING_PACKAGE = "tensorflow.serving"
# Files of ours whose messages are not TensorFlow Serving's. `Example` and the error codes, which
# are TensorFlow's, share a file with messages that are not, and are shown as Serving's.
PACKAGES = {
    "tensor": "tensorflow",
    "graph": "tensorflow",
    "saved_model": "tensorflow",
    "open_inference": "inference",
}
OLD, NEW = "grpc.reflection.v1alpha", "grpc.reflection.v1"


class ReflectionService:
    """`ServerReflectionInfo`, under both names."""

    def __init__(self, methods: Iterable[Method[Any, Any]]) -> None:
        methods = list(methods)
        pool = described(methods)
        names = sorted(
            {method.service for method in methods}
            | {health.SERVICE, f"{OLD}.ServerReflection", f"{NEW}.ServerReflection"}
        )
        self._answers = ready_made.ReflectionServicer(names, pool=pool)
        self._calls = OpenCalls()

    def register(self, server: grpc.aio.Server) -> None:
        """Put the service into a server that has not started."""
        methods = {"ServerReflectionInfo": grpc.stream_stream_rpc_method_handler(self._talk)}
        server.add_generic_rpc_handlers(
            tuple(
                grpc.method_handlers_generic_handler(f"{package}.ServerReflection", methods)
                for package in (OLD, NEW)
            )
        )

    def close(self) -> None:
        """End all calls."""
        self._calls.close()

    async def _talk(
        self, messages: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]
    ) -> AsyncIterator[bytes]:
        try:
            with self._calls.one():
                requests = self._parsed(messages)
                async for answer in self._answers.ServerReflectionInfo(requests, context):
                    yield answer.SerializeToString()
        except ServingError as error:
            await context.abort(grpc.StatusCode[error.status], error.message)

    async def _parsed(
        self, messages: AsyncIterator[bytes]
    ) -> AsyncIterator[reflection_pb2.ServerReflectionRequest]:
        while (data := await self._calls.unless_closed(next_message(messages))) is not None:
            try:
                yield reflection_pb2.ServerReflectionRequest.FromString(data)
            except DecodeError:
                raise InvalidArgument("the bytes are no ServerReflectionRequest") from None


def described(methods: Iterable[Method[Any, Any]]) -> DescriptorPool:
    """A pool with the services of these methods, their messages, health and reflection itself."""
    pool = DescriptorPool()
    methods = list(methods)
    types = [kind for method in methods for kind in (method.request, method.response)]
    files: dict[str, FileDescriptor] = {}
    for file in (*(kind.DESCRIPTOR.file for kind in types), health_pb2.DESCRIPTOR):
        _collect(file, files)
    for file in files.values():
        pool.Add(_renamed(file, files.values()))  # dependencies come first
    for service in sorted({method.service for method in methods}):
        pool.Add(_service(service, [m for m in methods if m.service == service]))
    for package in (OLD, NEW):
        pool.Add(_reflection(package))
    return pool


def _collect(file: FileDescriptor, found: dict[str, FileDescriptor]) -> None:
    if file.name not in found:
        for dependency in file.dependencies:
            _collect(dependency, found)
        found[file.name] = file


def _package(file: FileDescriptor) -> str:
    if file.package != OUR_PACKAGE:
        return str(file.package)
    stem = file.name.rpartition("/")[2].removesuffix(".proto")
    return PACKAGES.get(stem, SERVING_PACKAGE)


def _renamed(file: FileDescriptor, files: Iterable[FileDescriptor]) -> FileDescriptorProto:
    """The file with its wire's package, and so every type that it names."""
    proto = FileDescriptorProto()
    file.CopyToProto(proto)
    if file.package != OUR_PACKAGE:
        return proto
    proto.package = _package(file)
    homes = {
        f".{OUR_PACKAGE}.{name}": f".{_package(other)}.{name}"
        for other in files
        if other.package == OUR_PACKAGE
        for name in (*other.message_types_by_name, *other.enum_types_by_name)
    }
    for message in proto.message_type:
        _rename_types(message, homes)
    return proto


def _rename_types(message: Any, homes: dict[str, str]) -> None:
    depth = OUR_PACKAGE.count(".") + 3  # the leading dot, the package, the outermost name
    for field in message.field:
        parts = field.type_name.split(".")
        outermost = ".".join(parts[:depth])
        if outermost in homes:
            field.type_name = ".".join([homes[outermost], *parts[depth:]])
    for nested in message.nested_type:
        _rename_types(nested, homes)


def _service(name: str, methods: list[Method[Any, Any]]) -> FileDescriptorProto:
    package, _, short = name.rpartition(".")
    proto = FileDescriptorProto(
        name=f"{name.replace('.', '/')}.proto", package=package, syntax="proto3"
    )
    service = proto.service.add(name=short)
    for method in methods:
        types = method.request.DESCRIPTOR, method.response.DESCRIPTOR
        proto.dependency.extend(kind.file.name for kind in types)
        request, response = (f".{_package(kind.file)}.{kind.name}" for kind in types)
        service.method.add(name=method.name, input_type=request, output_type=response)
    dependencies = sorted(set(proto.dependency))
    del proto.dependency[:]
    proto.dependency.extend(dependencies)
    return proto


def _reflection(package: str) -> FileDescriptorProto:
    proto = FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(proto)
    proto.package = package
    proto.name = f"{package.replace('.', '/')}/reflection.proto"
    homes = {
        f".{OLD}.{name}": f".{package}.{name}"
        for name in reflection_pb2.DESCRIPTOR.message_types_by_name
    }
    for message in proto.message_type:
        for field in message.field:
            if field.type_name in homes:
                field.type_name = homes[field.type_name]
    for method in proto.service[0].method:
        method.input_type = homes[method.input_type]
        method.output_type = homes[method.output_type]
    return proto
