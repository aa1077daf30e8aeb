"""A small service under `supervise`, for tests: each connection is told who serves it.

    python supervised.py WORKERS FOLDER [die-at-start | die-later]

Answers with number and process of the worker; to a connection that sends `hold`, only after SIGTERM
has come. `die-at-start`: no worker starts; `die-later`: worker 0 starts once, and never again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from sealserve.errors import SealServeError, StoreError
from sealserve.hosts import ListenAddress
from sealserve.keyservice.listener import Listener
from sealserve.ports import ReservedPort, listen_on
from sealserve.supervisor import Worker, supervise


@dataclass(frozen=True)
class Prepared:
    port: ReservedPort
    mark: Path


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def prepare() -> Prepared:
    say(f"prepared by {os.getpid()}")
    mark = Path(sys.argv[2]) / "started-once"
    return Prepared(ReservedPort(ListenAddress("127.0.0.1", 0)), mark)


def work(prepared: Prepared, worker: Worker) -> None:
    if FAULT == "die-at-start":
        raise StoreError("no database here")
    if FAULT == "die-later" and worker.number == 0:
        if prepared.mark.exists():
            raise StoreError("no database any more")
        prepared.mark.touch()
    asyncio.run(serve(prepared, worker))


async def serve(prepared: Prepared, worker: Worker) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, say, f"{worker.number} reloads")
    tasks = set()

    async def answer(connection):
        with connection:
            if await loop.sock_recv(connection, 4) == b"hold":
                await stop.wait()
            await loop.sock_sendall(connection, f"{worker.number} {os.getpid()}\n".encode())

    def accepted(connection, _peer):
        tasks.add(loop.create_task(answer(connection)))

    listener = Listener(listen_on(prepared.port.address, reuse_port=True), accepted)
    worker.ready()
    await stop.wait()
    listener.close()
    if tasks:
        await asyncio.wait(tasks)


def ready(prepared: Prepared) -> None:
    say(f"ready on {prepared.port.address.port}")


if __name__ == "__main__":
    FAULT = sys.argv[3] if len(sys.argv) > 3 else None
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    try:
        supervise(prepare, work, workers=int(sys.argv[1]), ready=ready)
    except SealServeError as error:
        say(f"failed: {error}")
        sys.exit(error.exit_code)
