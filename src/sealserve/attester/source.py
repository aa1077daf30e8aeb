"""Where quotes come from: Gramine or Linux's configfs-tsm on hardware, the lab's service without.

A source is handed 64 bytes of report data and returns the quote over them. Its answer is bounded in
size and time, and checked to be a quote over exactly those bytes; whether it is *genuine* is not
known here and is the verifier's business. Never ask for a quote per connection: on hardware one
takes tens of milliseconds, one at a time.

Sources: Gramine, `Documentation/attestation.rst`, "/dev/attestation pseudo-filesystem"; the lab's
service: `sealserve.lab`; trust domains are in `sealserve.attester.tsm`.
"""

from __future__ import annotations

import logging
import socket
import struct
import threading
from pathlib import Path

from sealserve.attester.deadline import Deadline
from sealserve.attester.quoted import (
    QUOTE_SECONDS,
    EvidenceSource,
    check_report_data,
    checked,
)
from sealserve.attester.tsm import TsmSource
from sealserve.errors import DeniedError, SourceError, UsageError
from sealserve.evidence.ratls import MAX_RATLS_QUOTE_BYTES

HARDWARE = ("gramine", "tsm")  # what comes from anything else is SIMULATED

log = logging.getLogger(__name__)


class GramineSource:
    """Quotes from Gramine's `/dev/attestation`, that is from the processor."""

    _lock = threading.Lock()  # user_report_data is one value for the whole process

    def __init__(
        self, device: Path = Path("/dev/attestation"), *, timeout: float = QUOTE_SECONDS
    ) -> None:
        self._device = device
        self._timeout = timeout

    def quote(self, report_data: bytes) -> bytes:
        """Write the report data, read the quote. The files know no timeout: a thread reads them."""
        check_report_data(report_data)
        deadline = Deadline(self._timeout, task="reading a quote from Gramine")
        return checked(deadline.call(lambda: self._exchange(report_data)), report_data)

    def _exchange(self, report_data: bytes) -> bytes:
        with self._lock:
            try:
                kind = self._read("attestation_type", 64).decode("ascii", "replace").strip("\0\n ")
                if kind != "dcap":
                    raise SourceError(
                        f"the enclave's attestation type is {kind!r}, expected 'dcap'",
                        hint='set sgx.remote_attestation = "dcap" in the manifest',
                    )
                with (self._device / "user_report_data").open("wb", buffering=0) as stream:
                    stream.write(report_data)
                return self._read("quote", MAX_RATLS_QUOTE_BYTES + 1)
            except OSError as error:
                raise SourceError(
                    f"{self._device} gives no quote: {error.strerror}",
                    hint="run inside Gramine on SGX, or use --evidence_source lab:SOCKET",
                ) from error

    def _read(self, name: str, limit: int) -> bytes:
        with (self._device / name).open("rb") as stream:
            return stream.read(limit)


class QuotingServiceSource:
    """SIMULATED quotes, from the lab's quoting enclave over its Unix socket.

    Request: `SSQ1` and the report data. Answer: a status byte (0 or 1), a 32-bit big-endian length,
    and the quote (0) or a short ASCII code that says why there is none (1). One request per
    connection; the service finds out by itself who asks.
    """

    _MAGIC = b"SSQ1"
    _HEAD = struct.Struct(">BI")

    def __init__(self, socket_path: Path, *, timeout: float = QUOTE_SECONDS) -> None:
        self._path = socket_path
        self._timeout = timeout
        self._told = False

    def quote(self, report_data: bytes) -> bytes:
        """A quote that verifies under the lab's root and no other."""
        check_report_data(report_data)
        if not self._told:
            self._told = True
            log.warning("SIMULATED: quotes come from the lab's quoting enclave at %s", self._path)
        try:
            status, payload = self._exchange(report_data)
        except OSError as error:
            raise SourceError(
                f"no quoting service answers at {self._path}: {error.strerror or error}",
                hint="start it with: sealserve lab qe DIR",
            ) from error
        if status != 0:
            code = payload[:64].decode("ascii", "backslashreplace")
            raise DeniedError(
                f"the lab's quoting enclave refused a quote: {code}",
                hint="start this process with: sealserve lab enclave DIR -- serve ...",
            )
        return checked(payload, report_data)

    def _exchange(self, report_data: bytes) -> tuple[int, bytes]:
        deadline = Deadline(self._timeout, task="asking the lab's quoting enclave")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
            stream.settimeout(deadline.remaining())
            stream.connect(str(self._path))
            stream.sendall(self._MAGIC + report_data)
            status, length = self._HEAD.unpack(_receive(stream, self._HEAD.size, deadline))
            if status > 1 or length > MAX_RATLS_QUOTE_BYTES:
                raise SourceError(
                    f"the quoting service answers status {status} and {length} bytes, expected"
                    f" status 0 or 1 and at most {MAX_RATLS_QUOTE_BYTES} bytes"
                )
            return status, _receive(stream, length, deadline)


def parse_source(text: str) -> EvidenceSource:
    """The source that `gramine`, `tsm` or `lab:/path/to/qe.sock` names; raises UsageError."""
    if text == "gramine":
        return GramineSource()
    if text == "tsm":
        return TsmSource()
    scheme, _, path = text.partition(":")
    if scheme == "lab" and path:
        return QuotingServiceSource(Path(path))
    raise UsageError(
        f"no evidence source is called {text!r}",
        hint="name `gramine`, `tsm`, or `lab:` and a socket path",
    )


def is_simulated(text: str) -> bool:
    """Whether no hardware vouches for what the source of this name gives."""
    return text not in HARDWARE


def _receive(stream: socket.socket, size: int, deadline: Deadline) -> bytes:
    received = bytearray()
    while len(received) < size:
        stream.settimeout(deadline.remaining())
        piece = stream.recv(size - len(received))
        if not piece:
            raise SourceError(
                f"the quoting service closed after {len(received)} of {size} expected bytes"
            )
        received += piece
    return bytes(received)
