"""nginx before several copies of the service: it passes TLS through, and knows none of it."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sealserve.deploy.nginx import find_nginx
from soak._report import Missing
from soak._site import Copy, free_ports

START_SECONDS = 30.0
_CONFIG = """
daemon off;
pid nginx.pid;
error_log error.log;
{module}
events {{ worker_connections 1024; }}
stream {{
  upstream keys {{
{servers}
  }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    proxy_pass keys;
    proxy_connect_timeout 2s;
    proxy_next_upstream on;
  }}
}}
"""


@contextmanager
def balancer(folder: Path, copies: Sequence[Copy]) -> Iterator[str]:
    """Where it listens, as a client names it; raises Missing where there is no nginx.

    A copy that refuses a connection is passed over for that one connection, and not left out
    (`max_fails=0`): where copies are upgraded in turn, the other would be left out next.
    """
    nginx = find_nginx()
    if nginx is None or nginx.stream == "missing":
        raise Missing("nginx with its stream module (libnginx-mod-stream) is not installed")
    with free_ports(1) as (port,):
        pass
    folder.mkdir()
    (folder / "nginx.conf").write_text(
        _CONFIG.format(
            module=f"load_module {nginx.module};" if nginx.module else "",
            servers="\n".join(f"    server {copy.server} max_fails=0;" for copy in copies),
            port=port,
        )
    )
    process = subprocess.Popen(nginx.command(folder), stderr=subprocess.DEVNULL)
    try:
        _wait_for(process, port)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(START_SECONDS)


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError(f"nginx does not listen: {process.poll()}")
