"""The quoting enclave as a service: it launches enclaves and signs quotes of them, of nobody else.

A request for a quote carries 64 bytes of report data and nothing else that is believed:
1. the kernel says which process asks (SO_PEERCRED);
2. it must be a process that this service has launched, and still be there; its children and all
   others are refused (`lab.not-an-enclave`);
3. everything measured must be as it was at launch (`lab.changed-since-launch`);
4. the quote then says what was measured, not what the asker is or says.
Every quote is SIMULATED: it verifies under the root CA of this lab's world alone.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from pydantic import ValidationError

from sealserve.attester.deadline import Deadline
from sealserve.errors import DeniedError, FormatError, SealServeError, UsageError
from sealserve.files import PRIVATE
from sealserve.lab import protocol
from sealserve.lab.folder import LabFolder
from sealserve.lab.identity import EnclaveIdentity, read_mr_signer
from sealserve.lab.launched import told
from sealserve.lab.launcher import GRACE_SECONDS, Enclave
from sealserve.lab.measurement import EnclaveRequest, Interpreter, measure
from sealserve.lab.trees import Digests
from sealserve.lab.world import World

REQUEST_SECONDS = 10.0
MAX_ENCLAVES = 64
MAX_CONNECTIONS = MAX_ENCLAVES + 128
_BACKLOG = 512
_CLOSE_SECONDS = GRACE_SECONDS + 10.0
_SHORTAGES = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_SHORTAGE_SECONDS = 0.1
_CREDENTIALS = struct.Struct("3i")  # process, user, group

log = logging.getLogger(__name__)


@contextmanager
def quoting_service(folder: LabFolder, digests: Digests | None = None) -> Iterator[QuotingService]:
    """The service of a lab folder, listening on its socket until the block ends.

    `digests` are those that somebody else measures with, too; what they know is not read again.
    Then every enclave is ended. Raises UsageError when one is already running there.
    """
    mr_signer = read_mr_signer(folder.enclave_signing_key)
    service = QuotingService(World.load(folder.path), mr_signer, digests)
    with _owned(folder), _listening(folder) as listener:
        log.info("SIMULATED quoting enclave listens at %s", folder.socket)
        acceptor = threading.Thread(target=service.accept, args=(listener,), daemon=True)
        acceptor.start()
        try:
            yield service
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # wakes `accept`
            acceptor.join(_CLOSE_SECONDS)
            service.close()


class QuotingService:
    """What the hardware knows: its world, the enclaves it has launched, digests of files."""

    def __init__(self, world: World, mr_signer: bytes, digests: Digests | None = None) -> None:
        self._world = world
        self._mr_signer = mr_signer
        self._interpreter = Interpreter.own()
        self._digests = digests or Digests()
        self._measuring = threading.Lock()
        self._lock = threading.Lock()  # guards the next three
        self._enclaves: dict[int, Enclave] = {}
        self._launches: set[socket.socket] = set()
        self._closed = False
        self._slots = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._threads: set[threading.Thread] = set()

    def accept(self, listener: socket.socket) -> None:
        """Serve what connects, each in a thread, until the listener is shut down."""
        while True:
            try:
                connection, _ = listener.accept()
            except OSError as error:
                if error.errno not in _SHORTAGES:
                    return  # shut down
                time.sleep(_SHORTAGE_SECONDS)  # until somebody closes something
                continue
            if not self._slots.acquire(timeout=REQUEST_SECONDS):
                connection.close()
                continue
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.add(thread)
            thread.start()

    def close(self) -> None:
        """End every enclave, and wait for it."""
        with self._lock:
            self._closed = True
            for connection in self._launches:
                with suppress(OSError):  # the launching side may have gone already
                    connection.shutdown(socket.SHUT_RD)  # reads as if it had gone
        for thread in list(self._threads):
            thread.join(_CLOSE_SECONDS)

    def _serve(self, connection: socket.socket) -> None:
        """One connection, from its first byte to its last."""
        try:
            with connection:
                self._answer(connection)
        except OSError as error:
            log.info("SIMULATED: a connection broke: %s", error)
        finally:
            self._slots.release()
            self._threads.discard(threading.current_thread())

    def _answer(self, connection: socket.socket) -> None:
        deadline = Deadline(REQUEST_SECONDS, task="reading a request to the quoting enclave")
        streams: Sequence[int] = ()
        try:
            magic, streams = protocol.receive_magic(connection, deadline)
            if magic == protocol.QUOTE:
                self._quote(connection, deadline)
            elif magic == protocol.LAUNCH:
                self._launch(connection, streams, deadline)
            else:
                raise FormatError("a request that is none", code="lab.request")
        except SealServeError as error:
            log.warning("SIMULATED: refused: %s [%s]", error.message, error.code)
            protocol.send_refusal(connection, error.code)
        finally:
            protocol.close_all(streams)

    def _quote(self, connection: socket.socket, deadline: Deadline) -> None:
        report_data = protocol.receive(connection, protocol.REPORT_DATA_BYTES, deadline)
        enclave = self._enclave_of(_peer(connection))
        if (path := enclave.changed()) is not None:
            raise DeniedError(
                f"{path}, measured at the launch of enclave {enclave.pid}, has changed since",
                code="lab.changed-since-launch",
            )
        identity = enclave.identity
        if isinstance(identity, EnclaveIdentity):
            quote = self._world.quote(identity.report(report_data))
        else:
            quote = self._world.td_quote(identity.report(report_data))
        connection.settimeout(deadline.remaining())
        protocol.send_answer(connection, quote)
        log.info("SIMULATED quote for enclave %d", enclave.pid)

    def _enclave_of(self, pid: int) -> Enclave:
        with self._lock:
            enclave = self._enclaves.get(pid)
        if enclave is None or enclave.ended():
            raise DeniedError(
                f"process {pid} was not launched as an enclave", code="lab.not-an-enclave"
            )
        return enclave

    def _launch(
        self, connection: socket.socket, streams: Sequence[int], deadline: Deadline
    ) -> None:
        if len(streams) != protocol.STREAMS:
            raise FormatError("a launch needs three standard streams", code="lab.request")
        request = _parse(protocol.receive_request(connection, deadline))
        try:
            enclave = self._start(connection, request, streams)
            try:
                self._attend(connection, enclave)
            finally:
                with self._lock:
                    del self._enclaves[enclave.pid]
                status = enclave.reap()
            log.info("SIMULATED enclave %d ended with %d", enclave.pid, status)
            with suppress(OSError):  # nobody may be there to hear it
                protocol.send_exit_status(connection, status)
        finally:
            with self._lock:
                self._launches.discard(connection)

    def _start(
        self, connection: socket.socket, request: EnclaveRequest, streams: Sequence[int]
    ) -> Enclave:
        """Measure, then start; from then on the process may ask for quotes."""
        with self._lock:
            if self._closed or len(self._launches) >= MAX_ENCLAVES:
                raise UsageError("no more enclaves are launched", code="lab.full")
            self._launches.add(connection)
        with self._measuring:  # the second of two at once finds the digests of the first
            measurement = measure(request, self._interpreter, self._digests)
        with self._lock:
            enclave = Enclave(request, measurement, self._mr_signer, streams)
            self._enclaves[enclave.pid] = enclave
        return enclave

    def _attend(self, connection: socket.socket, enclave: Enclave) -> None:
        facts = told(enclave.identity)
        log.info(
            "SIMULATED enclave %d launched%s, %s",
            enclave.pid,
            " for debugging" if enclave.identity.debug else "",
            ", ".join(f"{name} {value}" for name, value in facts.items()),
        )
        answer = json.dumps({"pid": enclave.pid, **facts}).encode("ascii")
        with suppress(OSError):  # then it has gone, which `supervise` notices
            protocol.send_answer(connection, answer)
        enclave.supervise(connection)


def _parse(data: bytes) -> EnclaveRequest:
    try:
        return EnclaveRequest.model_validate_json(data)
    except ValidationError as error:
        problems = "; ".join(problem["msg"] for problem in error.errors())
        raise FormatError(
            f"a launch request that is none: {problems}", code="lab.request"
        ) from None


def _peer(connection: socket.socket) -> int:
    """The process that connected, according to the kernel; 0 when it is of another container."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process: int = _CREDENTIALS.unpack(data)[0]
    return process


@contextmanager
def _owned(folder: LabFolder) -> Iterator[None]:
    """A lock on the world, so that it has one quoting enclave; the kernel lifts it if we die."""
    with folder.lock.open("ab") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"a quoting enclave is already running in {folder.path}",
                hint="stop that one first",
            ) from None
        yield


@contextmanager
def _listening(folder: LabFolder) -> Iterator[socket.socket]:
    """A listening socket that is this user's alone from its first moment."""
    folder.socket.unlink(missing_ok=True)  # left by one that was killed: the lock is ours
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        try:
            os.fchmod(listener.fileno(), PRIVATE)  # Linux gives it to the file that `bind` makes
            listener.bind(str(folder.socket))
            listener.listen(_BACKLOG)
        except OSError as error:
            raise UsageError(
                f"cannot listen at {folder.socket}: {error}",
                hint="a socket's path has at most 107 bytes: choose a folder with a shorter one",
            ) from error
        try:
            yield listener
        finally:
            folder.socket.unlink(missing_ok=True)
