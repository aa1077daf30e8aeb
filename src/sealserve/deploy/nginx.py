"""nginx as the edge of a service: TLS passed through to replicas, chosen by SNI, held by no key.

The configuration uses the stream module with `ssl_preread`: nginx reads the server name of a
ClientHello and copies bytes from then on; TLS ends in the enclave. A name that is not configured,
and a connection without one, is closed before any replica hears of it. A replica that cannot be
connected to is left out for a while and the connection goes to the next (passive health checks); a
connection, once made, stays with its replica.

nginx runs in the foreground, unprivileged, and writes only below its prefix, the folder that holds
`nginx.conf` (`-p`), where pid file and logs have relative names; or its logs go where its output
does, for whoever keeps that. Everything that comes from outside
is a host name, an address or a number by type, so no text can end a directive and begin another.
Reference: nginx.org, ngx_stream_core_module, ngx_stream_upstream_module,
ngx_stream_ssl_preread_module.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sealserve.errors import ConfigError, UsageError
from sealserve.files import PUBLIC, write_file
from sealserve.hosts import Address, parse_dns_name, parse_host, parse_ip

Balance = Literal["least_conn", "round_robin"]
Stream = Literal["built in", "dynamic", "missing"]
Logs = Literal["files", "output"]

CONFIG_NAME = "nginx.conf"
PROBE_SECONDS = 5.0
NAME_BUCKET = 512  # bytes: the longest name of a map and its pointers have to fit
ZONE = "256k"  # where the workers share what they know of the replicas: some hundreds fit
_RESOLVE_SECONDS = 12  # nginx asks a silent DNS server again after five, and once more after ten
_USUAL_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/usr/local/nginx/sbin")
_MAP_PARAMETERS = frozenset({"default", "hostnames", "include", "volatile"})
_VERSION = re.compile(r"nginx version: \S*?/([0-9]+(?:\.[0-9]+)+)")
_MODULES_PATH = re.compile(r"--modules-path=([A-Za-z0-9/._+-]+)")
_MODULE_FILE = re.compile(r"/[A-Za-z0-9/._+-]+\.so")


@dataclass(frozen=True)
class Route:
    """Connections that ask for `server_name` go to one of `replicas`."""

    server_name: str
    replicas: tuple[Address, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "server_name", parse_dns_name(self.server_name))
        if not self.replicas:
            raise ConfigError(f"the route {self.server_name} has no replicas")


@dataclass(frozen=True)
class Edge:
    """One listening address with its routes; times in seconds.

    `idle_timeout` closes a connection that carries nothing in either direction; `failure_pause` is
    how long a replica that refused a connection is left out. With a `resolver`, a DNS server's name
    or address, each route has one replica, a name: for every connection one of its addresses is
    taken by chance, as DNS has them a second before at the latest, and the next where that one
    refuses. `shutdown_timeout` bounds how long connections go on when nginx is told to finish.
    Without `workers` there is one for each processor of the machine, of which a container may have
    fewer.
    """

    listen: Address
    routes: tuple[Route, ...]
    balance: Balance = "least_conn"
    connections: int = 1024
    connect_timeout: int = 2
    hello_timeout: int = 10
    idle_timeout: int = 600
    failure_pause: int = 5
    resolver: str | None = None
    shutdown_timeout: int | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        names = [route.server_name for route in self.routes]
        if not names or len(set(names)) != len(names):
            raise ConfigError(f"server names {names}: expected at least one, and each once")
        times = (self.connect_timeout, self.hello_timeout, self.idle_timeout, self.failure_pause)
        if min(*times, self.connections) < 1:
            raise ConfigError("times and numbers of connections start at 1")
        if self.resolver is None:
            return
        object.__setattr__(self, "resolver", parse_host(self.resolver))
        if any(len(route.replicas) > 1 for route in self.routes):
            raise ConfigError("with a resolver each route has one replica, which is a name")


@dataclass(frozen=True)
class Nginx:
    """An nginx found on this machine, and how it comes by its stream module."""

    binary: Path
    version: str
    stream: Stream
    module: Path | None = field(default=None)  # of a dynamic stream module

    def command(self, folder: Path) -> list[str]:
        """The arguments that run nginx in the foreground with `folder/nginx.conf`."""
        prefix = str(folder.resolve())
        config = str(folder.resolve() / CONFIG_NAME)
        return [str(self.binary), "-p", prefix, "-c", config, "-e", "stderr"]


def render(edge: Edge, *, module: Path | None, logs: Logs = "files") -> str:
    """The text of `nginx.conf`; `module` is loaded first, where stream is not built in."""
    errors = "error.log" if logs == "files" else "stderr"
    blocks = [
        "# Made by SealServe. TLS passes through: this file names no certificate and no key.",
        *([_load_module(module)] if module else []),
        "daemon off;",
        f"worker_processes {edge.workers or 'auto'};",
        "pid nginx.pid;",
        f"error_log {errors} warn;",
        *_shutdown(edge),
        f"events {{\n    worker_connections {edge.connections};\n}}",
        "stream {\n" + _indented(_stream(edge, logs)) + "\n}",
    ]
    return "\n".join(blocks) + "\n"


def require_stream(nginx: Nginx) -> None:
    """Raise ConfigError where this nginx cannot pass TLS through."""
    if nginx.stream == "missing":
        raise ConfigError(
            f"{nginx.binary} {nginx.version} has no stream module with ssl_preread",
            hint="on Debian and Ubuntu: apt-get install libnginx-mod-stream",
        )


def write_config(folder: Path, edge: Edge, nginx: Nginx) -> Path:
    """`nginx.conf` in `folder`, for `nginx.command(folder)`; ConfigError without stream."""
    require_stream(nginx)
    path = folder / CONFIG_NAME
    write_file(path, render(edge, module=nginx.module).encode(), mode=PUBLIC)
    return path


def find_nginx() -> Nginx | None:
    """The nginx of this machine (PATH, then where packages put it); None if there is none."""
    found = shutil.which("nginx") or shutil.which("nginx", path=":".join(_USUAL_FOLDERS))
    if found is None:
        return None
    try:
        answer = subprocess.run(
            [found, "-V"], capture_output=True, timeout=PROBE_SECONDS, text=True
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    return parse_build(Path(found), answer.stderr)


def parse_build(binary: Path, description: str) -> Nginx:
    """What `nginx -V` says of its version and its stream module."""
    version = _VERSION.search(description)
    words = description.split()
    dynamic = "--with-stream=dynamic" in words
    stream: Stream = "missing"
    module = None
    if "--with-stream_ssl_preread_module" not in words:
        pass  # stream without preread cannot route by name
    elif "--with-stream" in words:
        stream = "built in"
    elif dynamic and (module := _module_file(description)):
        stream = "dynamic"
    return Nginx(binary, version.group(1) if version else "unknown", stream, module)


def _module_file(description: str) -> Path | None:
    folder = _MODULES_PATH.search(description)
    path = Path(folder.group(1) if folder else "/usr/lib/nginx/modules") / "ngx_stream_module.so"
    return path if path.is_file() else None


def _load_module(module: Path) -> str:
    if not _MODULE_FILE.fullmatch(str(module)):
        raise UsageError(f"{str(module)!r} is no absolute path of an nginx module")
    return f"load_module {module};"


def _stream(edge: Edge, logs: Logs) -> Sequence[str]:
    accesses = "access.log" if logs == "files" else "/dev/stdout"
    names = {
        route.server_name: str(route.replicas[0]) if edge.resolver else f"replicas_{index}"
        for index, route in enumerate(edge.routes)
    }
    pairs = [f"{_map_key(name)} {upstream};" for name, upstream in names.items()]
    return [
        "log_format edge '$time_iso8601 $remote_addr name=$ssl_preread_server_name '",
        "                'replica=$upstream_addr status=$status '",
        "                'sent=$bytes_sent received=$bytes_received seconds=$session_time';",
        f"access_log {accesses} edge;",
        f"map_hash_bucket_size {NAME_BUCKET};",
        *_block("map $ssl_preread_server_name $replicas", [*pairs, "default refused;"]),
        *_block(
            "upstream refused", ["server 127.0.0.1:1 down;  # no route: close, connect nowhere"]
        ),
        *_following(edge),
        *(
            line
            for route in edge.routes
            if edge.resolver is None
            for line in _upstream(edge, route, names)
        ),
        *_block("server", _server(edge)),
    ]


def _following(edge: Edge) -> Sequence[str]:
    """Where names are asked: free nginx before 1.27.3 follows none in an upstream's servers."""
    if edge.resolver is None:
        return ()
    address = parse_ip(edge.resolver)
    host = f"[{address}]" if address and address.version == 6 else edge.resolver
    return (f"resolver {host} valid=1s;", f"resolver_timeout {_RESOLVE_SECONDS}s;")


def _shutdown(edge: Edge) -> Sequence[str]:
    if edge.shutdown_timeout is None:
        return ()
    return (f"worker_shutdown_timeout {edge.shutdown_timeout}s;",)


def _map_key(name: str) -> str:
    """A name as the key of a map; a leading backslash takes its meaning from a parameter's name."""
    return f"\\{name}" if name in _MAP_PARAMETERS else name


def _upstream(edge: Edge, route: Route, names: dict[str, str]) -> Sequence[str]:
    checks = f"max_fails=1 fail_timeout={edge.failure_pause}s"
    return _block(
        f"upstream {names[route.server_name]}",
        [
            f"zone {names[route.server_name]} {ZONE};",
            *(["least_conn;"] if edge.balance == "least_conn" else []),
            *(f"server {replica} {checks};" for replica in route.replicas),
        ],
    )


def _server(edge: Edge) -> Sequence[str]:
    return [
        f"listen {edge.listen};",
        "ssl_preread on;",
        f"preread_timeout {edge.hello_timeout}s;",
        "proxy_pass $replicas;",
        f"proxy_connect_timeout {edge.connect_timeout}s;",
        f"proxy_timeout {edge.idle_timeout}s;",
        "proxy_socket_keepalive on;",
        "proxy_next_upstream on;",
    ]


def _block(head: str, body: Sequence[str]) -> Sequence[str]:
    return [f"{head} {{", *(f"    {line}" for line in body), "}"]


def _indented(lines: Sequence[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)
