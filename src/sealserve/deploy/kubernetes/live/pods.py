"""What is asked of one pod: its log, a command in it, one of its ports.

A command is given its input by its length, since only the newest protocol of the API server tells
a command that its input has ended. A forwarded port is a relay on loopback: every connection to it
is one through the API server to the pod, and nobody but this machine's users reaches it.
Sources: Kubernetes, API reference, `pods/log`, `pods/exec`, `pods/portforward`.
"""

from __future__ import annotations

import json
import shlex
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from sealserve.deploy.kubernetes.live.api import LIMIT, Cluster, Missing
from sealserve.errors import ConfigError, NetworkError
from sealserve.hosts import Address

RUN_SECONDS: Final = 120.0
_LOOPBACK: Final = "127.0.0.1"
_STEP: Final = 0.2
_PART: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Ran:
    """The end of a command in a container."""

    code: int
    output: str
    errors: str


@dataclass(frozen=True, slots=True)
class Container:
    """One container of a pod."""

    cluster: Cluster
    namespace: str
    pod: str
    name: str

    def log(self, *, lines: int, previous: bool = False) -> str:
        """The end of its log; empty where there is none (yet).

        Raises ConfigError where the user may not read it.
        """
        query = [("container", self.name), ("tailLines", str(lines))]
        query += [("limitBytes", str(LIMIT)), ("previous", str(previous).lower())]
        try:
            answer = self.cluster.request("GET", self._path("log"), query, accept="*/*")
        except ConfigError as error:
            if error.code == "kubernetes-forbidden":
                raise
            return ""
        return answer.decode("utf-8", "replace")

    def follow(self, *, lines: int | None) -> Iterator[str]:
        """The end of its log, or all of it, and what comes, until the container ends."""
        query = [("container", self.name), ("follow", "true")]
        query += [] if lines is None else [("tailLines", str(lines))]
        way = self.cluster.answer("GET", self._path("log"), query, accept="*/*", seconds=None)
        with suppress(Missing), way as answer:
            rest = b""
            for part in answer.stream(_PART):
                *whole, rest = (rest + part).split(b"\n")
                yield from (line.decode("utf-8", "replace") for line in whole)
                rest = rest[-_PART:]
            if rest:
                yield rest.decode("utf-8", "replace")

    def run(self, *command: str, given: bytes = b"", seconds: float = RUN_SECONDS) -> Ran:
        """Run a command in it to its end, with `given` as its input.

        Raises NetworkError where it does not end in time or cannot be run.
        """
        if given:
            fed = f"head -c {len(given)} | {shlex.join(command)}"
            command = ("sh", "-c", fed)
        words = self._open_command(command, bool(given))
        deadline = time.monotonic() + seconds
        output, errors = bytearray(), bytearray()
        try:
            if given:
                words.write_stdin(given)
            while words.is_open():
                words.update(timeout=_STEP)
                output += words.read_channel(1)
                errors += words.read_channel(2)
                if time.monotonic() > deadline or len(output) + len(errors) > LIMIT:
                    raise NetworkError(f"{command[0]} in {self.pod} does not come to its end")
            output += words.read_channel(1)
            errors += words.read_channel(2)
            code = _exit_code(words.read_channel(3))
        finally:
            words.close()
        return Ran(code, output.decode("utf-8", "replace"), errors.decode("utf-8", "replace"))

    def _open_command(self, command: Sequence[str], reads: bool) -> Any:
        from kubernetes.client import ApiException, CoreV1Api
        from kubernetes.stream import stream

        core = CoreV1Api(_own_client(self.cluster))
        options = {"stdin": reads, "stdout": True, "stderr": True, "tty": False}
        try:
            return stream(
                core.connect_get_namespaced_pod_exec,
                self.pod,
                self.namespace,
                command=list(command),
                container=self.name,
                _preload_content=False,
                binary=True,
                **options,
            )
        except ApiException as error:
            raise NetworkError(
                f"no command can be run in {self.pod}: {str(error.reason)[:300]}",
                code="kubernetes-exec",
            ) from error

    def _path(self, what: str) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.pod}/{what}"


@contextmanager
def forwarded(cluster: Cluster, namespace: str, pod: str, port: int) -> Iterator[Address]:
    """An address on loopback that leads to a port of a pod, as long as the context lasts."""
    with socket.create_server((_LOOPBACK, 0)) as listener:
        listener.settimeout(_STEP)
        over = threading.Event()
        arguments = (cluster, namespace, pod, port, listener, over)
        relay = threading.Thread(target=_relay, args=arguments, daemon=True)
        relay.start()
        try:
            yield Address(_LOOPBACK, listener.getsockname()[1])
        finally:
            over.set()
            relay.join()


def _relay(
    cluster: Cluster,
    namespace: str,
    pod: str,
    port: int,
    listener: socket.socket,
    over: threading.Event,
) -> None:
    """Each connection to the listener, until it is over."""
    while not over.is_set():
        with suppress(TimeoutError):
            accepted, _ = listener.accept()
            accepted.settimeout(None)
            arguments = (cluster, namespace, pod, port, accepted, over)
            threading.Thread(target=_connection, args=arguments, daemon=True).start()


def _connection(
    cluster: Cluster,
    namespace: str,
    pod: str,
    port: int,
    accepted: socket.socket,
    over: threading.Event,
) -> None:
    from kubernetes.client import ApiException, CoreV1Api
    from kubernetes.stream import portforward

    core = CoreV1Api(_own_client(cluster))
    with accepted, suppress(OSError, ApiException):
        way = portforward(
            core.connect_get_namespaced_pod_portforward, pod, namespace, ports=str(port)
        )
        with closing(way.socket(port)) as far:
            back = threading.Thread(target=_copy, args=(far, accepted), daemon=True)
            back.start()
            _copy(accepted, far)
            while back.is_alive() and not over.is_set():
                back.join(_STEP)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while part := source.recv(_PART):
            target.sendall(part)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


def _own_client(cluster: Cluster) -> Any:
    """A client of its own: the official one is changed while it opens a stream."""
    from kubernetes.client import ApiClient

    return ApiClient(cluster.client.configuration)


def _exit_code(status: bytes) -> int:
    """The exit code in the last message. Source: apimachinery, `metav1.Status`, exec's causes."""
    try:
        found = json.loads(status)
        if found["status"] == "Success":
            return 0
        causes = found["details"]["causes"]
        return next(int(each["message"]) for each in causes if each["reason"] == "ExitCode")
    except (ValueError, KeyError, TypeError, StopIteration) as error:
        raise NetworkError("the API server does not say how the command ended") from error
