"""A stand-in for the hardware behind configfs-tsm: folders whose files a thread answers.

In configfs the files of an entry come and go with its folder and are computed as they are read; a
plain folder does neither. Here they are pipes and files, made with the folder and removed before
it, and a thread for each entry does what the kernel does: it takes what was written to `inblob`
when that is closed, counts it, and lets `outblob` be read. It is no TDX: its quotes are the lab's.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from sealserve.attester.tsm import TsmSource


class StandIn(TsmSource):
    """`TsmSource` over a folder in which this class plays the kernel.

    `answer` makes an outblob of an inblob.
    """

    def __init__(
        self, folder: Path, answer: Callable[[bytes], bytes], *, timeout: float = 60.0
    ) -> None:
        super().__init__(folder, timeout=timeout)
        self.provider = "tdx_guest"
        self.disturbed = 0  # entries, from the next on, that count `writes` in place of ours alone
        self.writes = 2
        self.refusals: list[int] = []  # errno of the next tries, told when the entry is made
        self.written: list[bytes] = []
        self.names: list[str] = []
        self.before = 0  # what `generation` begins with
        self._answer = answer

    def _make(self, entry: Path) -> None:
        if self.refusals:
            number = self.refusals.pop(0)
            raise OSError(number, os.strerror(number))
        super()._make(entry)
        self.names.append(entry.name)
        (entry / "provider").write_text(f"{self.provider}\n")
        self._count(entry, self.before)
        for name in ("inblob", "outblob"):
            os.mkfifo(entry / name)
        threading.Thread(target=self._play, args=(entry,), daemon=True).start()

    def _remove(self, entry: Path) -> None:
        gone = entry.with_name(f".{entry.name}")  # readers and writers of its pipes stay there
        entry.rename(gone)
        for name in ("inblob", "outblob"):  # let the thread go that may wait at the other end
            os.close(os.open(gone / name, os.O_RDWR | os.O_NONBLOCK))
        shutil.rmtree(gone)

    def _play(self, entry: Path) -> None:
        try:
            data = (entry / "inblob").read_bytes()
            self.written.append(data)
            writes = 1
            if self.disturbed:
                self.disturbed -= 1
                writes = self.writes
            self._count(entry, self.before + writes)
            (entry / "outblob").write_bytes(self._answer(data))
        except (FileNotFoundError, BrokenPipeError):  # the entry is gone
            return

    def _count(self, entry: Path, writes: int) -> None:
        new = entry / "new"
        new.write_text(f"{writes}\n")
        new.replace(entry / "generation")
