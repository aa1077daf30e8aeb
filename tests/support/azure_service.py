"""An instance of Azure Attestation as a service on this machine, over real sockets.

pytest has this on its path (`pythonpath` in pyproject.toml).
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from azure_instance import Instance
from sealserve.lab.world import World


@dataclass
class Answer:
    """What the service says to one request; `body` None is silence until the client has gone."""

    status: int = 200
    body: bytes | None = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class AzureService:
    """A running instance. `spoil` may change its answers, and sees how often a path was asked."""

    instance: Instance
    asked: list[str] = field(default_factory=list)
    nonces: list[str] = field(default_factory=list)
    spoil: Callable[[str, int, Answer], Answer] = lambda path, count, answer: answer

    @property
    def url(self) -> str:
        return self.instance.url

    def answer(self, method: str, target: str, content: bytes) -> Answer:
        parts = urlsplit(target)
        self.asked.append(parts.path)
        if parts.query != "api-version=2025-06-01":
            return Answer(400, b'{"error": {"code": "InvalidApiVersion", "message": ""}}')
        if (method, parts.path) == ("GET", "/certs"):
            good = Answer(body=self.instance.certs())
        elif method == "POST" and parts.path in ("/attest/SgxEnclave", "/attest/TdxVm"):
            self.nonces.append(json.loads(content)["nonce"])
            status, body = self.instance.attest(parts.path, content)
            good = Answer(status, json.dumps(body).encode())
        else:
            good = Answer(404)
        return self.spoil(parts.path, self.asked.count(parts.path), good)


@contextmanager
def running(
    world: World, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> Iterator[AzureService]:
    """The service, until the block ends; `host` is what its URL says."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer("GET", b"")

        def do_POST(self) -> None:
            self._answer("POST", self.rfile.read(int(self.headers["Content-Length"])))

        def _answer(self, method: str, content: bytes) -> None:
            answer = service.answer(method, self.path, content)
            if answer.body is None:
                self.connection.settimeout(20)
                self.connection.recv(1)
                self.close_connection = True
                return
            self.send_response(answer.status)
            headers = {"Content-Length": str(len(answer.body))} | answer.headers
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = False  # so that closing waits for them

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that hangs up is what some of these tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    url = f"{'https' if tls else 'http'}://{host}:{server.server_port}"
    service = AzureService(Instance(url, world))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
