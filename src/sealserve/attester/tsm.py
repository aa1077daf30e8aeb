"""Quotes of a TDX trust domain from Linux's configfs-tsm, that is from the TDX module.

1. Make an entry of our own, a folder with a random name: entries are shared with whoever may write
   there, and one that nobody else names has no other writer.
2. `provider` must be `tdx_guest`: the same files give evidence of other kinds of machine.
3. Read `generation`, write 64 bytes to `inblob`, read `outblob`, read `generation` again. It counts
   writes: anything but one more means that ours was not taken or another one came, and what was
   read answers nobody knows whom. The kernel takes a written blob when the file is closed and tells
   nobody whether it did, so this is also how a lost write shows.
4. Remove the entry, whatever happened.
5. The quote must be of a trust domain, over exactly these bytes. What follows it is cut off:
   platforms may pad it, and nobody has signed that.

A busy platform and a disturbed entry are tried again, a few times, each in a new entry; everything
together has one deadline. The kernel's files know no timeout: a thread uses them, and removes the
entry also when nobody waits for it any more. Nothing here uses `auxblob`, which `tdx_guest` lacks.

Source: Linux, `Documentation/ABI/testing/configfs-tsm-report`; `drivers/virt/coco/guest/report.c`
and `drivers/virt/coco/tdx-guest/tdx-guest.c` for the errors; `fs/configfs/file.c` for when a write
takes effect.
"""

from __future__ import annotations

import errno
import secrets
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from sealserve.attester.deadline import Deadline
from sealserve.attester.quoted import QUOTE_SECONDS, check_report_data, checked
from sealserve.errors import SourceError
from sealserve.evidence.quote import (
    MAX_QUOTE_BYTES,
    TEE_TYPE_TDX,
    parse_quote,
    serialize_quote,
)

REPORTS = Path("/sys/kernel/config/tsm/report")
PROVIDER = "tdx_guest"
TRIES = 4
FIRST_PAUSE = 0.25  # seconds, doubled after each try
_NAME_BYTES = 16
_TEXT_BYTES = 64  # of `provider` and `generation`

_OUTSIDE = "run inside a TDX guest, or use --evidence_source lab:SOCKET"
_MOUNT = (
    "inside a TDX guest: mount -t configfs none /sys/kernel/config, on Linux 6.7 or later; a "
    "container must be given it"
)
_DRIVER = "inside a TDX guest: modprobe tdx_guest"
_BUSY = "the host's quoting service still has an earlier request: try again, and look at the host"
_HOST = "the host's quoting service failed: look at its log (QGS) and at its certificates"
_HINTS = {
    errno.ENOENT: _MOUNT,
    errno.ENOTDIR: _MOUNT,
    errno.ENODEV: _DRIVER,
    errno.ENXIO: _DRIVER,
    errno.EACCES: "the server's user must be allowed to make folders there: by default only root",
    errno.EPERM: "a container must be allowed to write to configfs; so must the server's user",
    errno.EROFS: "configfs is mounted read-only, as in most containers: mount it writable",
    errno.EBUSY: _BUSY,
    errno.EWOULDBLOCK: _BUSY,
    errno.ETIMEDOUT: _HOST,
    errno.EIO: _HOST,
    errno.EINVAL: "the kernel did not take the report data, or takes another length",
    errno.EFBIG: "the platform's quotes are larger than the kernel takes: update the kernel",
}
_AGAIN = frozenset((errno.EBUSY, errno.EWOULDBLOCK, errno.EEXIST))


class _Disturbed(Exception):
    """The entry counts other writes than ours."""


class TsmSource:
    """Quotes from configfs-tsm, one at a time, each in an entry of its own."""

    _lock = threading.Lock()  # the module makes one quote at a time for the whole machine

    def __init__(self, reports: Path = REPORTS, *, timeout: float = QUOTE_SECONDS) -> None:
        self._reports = reports
        self._timeout = timeout

    def quote(self, report_data: bytes) -> bytes:
        """A quote of this trust domain; raises SourceError, NetworkError at the deadline."""
        check_report_data(report_data)
        deadline = Deadline(self._timeout, task="reading a quote from configfs-tsm")
        found = deadline.call(lambda: self._ask(report_data, deadline))
        quote = parse_quote(found)
        if quote.tee_type != TEE_TYPE_TDX:
            raise SourceError(f"{PROVIDER} gave a quote that is of no TDX trust domain")
        return checked(serialize_quote(replace(quote, trailing=b"")), report_data)

    def _ask(self, report_data: bytes, deadline: Deadline) -> bytes:
        pause = FIRST_PAUSE
        for left in reversed(range(TRIES)):
            try:
                with self._lock:
                    deadline.remaining()  # nobody waits for this one any more
                    return self._exchange(report_data)
            except OSError as error:
                if error.errno not in _AGAIN or not left:
                    raise self._failed(error) from error
            except _Disturbed:
                if not left:
                    raise SourceError(
                        f"somebody else writes to our entries in {self._reports}, or our own "
                        f"writes are lost: {TRIES} times no quote was certainly ours",
                        hint="find out who on this machine writes there",
                    ) from None
            time.sleep(min(pause, deadline.remaining()))
            pause *= 2
        raise AssertionError("the last try returns or raises")

    def _exchange(self, report_data: bytes) -> bytes:
        """What one entry of our own answers to these bytes."""
        entry = self._reports / f"sealserve-{secrets.token_hex(_NAME_BYTES)}"
        self._make(entry)
        try:
            provider = _text(entry / "provider")
            if provider != PROVIDER:
                raise SourceError(
                    f"evidence of this machine is made by {provider!r}, expected {PROVIDER!r}",
                    hint=_OUTSIDE,
                )
            before = _generation(entry)
            with (entry / "inblob").open("wb", buffering=0) as stream:
                stream.write(report_data)
            with (entry / "outblob").open("rb") as stream:
                found = stream.read(MAX_QUOTE_BYTES + 1)
            if _generation(entry) != before + 1:
                raise _Disturbed
        finally:
            with suppress(OSError):  # it is not what the caller asked for; the first error counts
                self._remove(entry)
        if not found:  # how kernels without a check of their own tell that the host failed
            raise SourceError(f"{self._reports} gives an empty quote", hint=_HOST)
        if len(found) > MAX_QUOTE_BYTES:
            raise SourceError(
                f"what configfs-tsm gives has more than {MAX_QUOTE_BYTES} bytes",
                hint="this may be the layered evidence of newer platforms, which is not supported",
            )
        return found

    def _make(self, entry: Path) -> None:
        """The folder; its files are there with it."""
        entry.mkdir(mode=0o700)

    def _remove(self, entry: Path) -> None:
        """The folder; its files go with it."""
        entry.rmdir()

    def _failed(self, error: OSError) -> SourceError:
        hint = _HINTS.get(error.errno or 0, _OUTSIDE)
        return SourceError(f"{self._reports} gives no quote: {error.strerror}", hint=hint)


def _generation(entry: Path) -> int:
    text = _text(entry / "generation")
    if not text.isdecimal():
        raise SourceError(f"configfs-tsm's generation is {text!r}, expected a number")
    return int(text)


def _text(file: Path) -> str:
    with file.open("rb") as stream:
        return stream.read(_TEXT_BYTES).decode("ascii", "replace").strip()
