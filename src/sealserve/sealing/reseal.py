"""Put a protected file under another wrap key: decrypted and encrypted anew, in bounded memory.

Every node is authenticated before it is encrypted again, and gets a fresh key, so that nothing of
the new file hangs from what the old wrap key could open. The plaintext passes through memory and
goes nowhere else.

Changing node 0 alone would open the file under the new wrap key as well, but whoever has the old
one and an old copy of node 0 would go on reading the rest: so all of it is done.
"""

from __future__ import annotations

from collections.abc import Callable

from sealserve.sealing.header import Header, check_version, check_wrap_key
from sealserve.sealing.reader import open_sealed
from sealserve.sealing.streams import Sink, Source
from sealserve.sealing.writer import seal


def reseal(
    source: Source,
    sink: Sink,
    old_key: bytes,
    new_key: bytes,
    *,
    path: str | None = None,
    version: int | None = None,
    advance: Callable[[int], None] = lambda _count: None,
) -> Header:
    """Seal the plaintext of `source` into `sink`, an empty seekable stream; the header written.

    Path and format version stay as they are unless given. `advance` is told of plaintext bytes as
    they are done. Raises as `open_sealed` and `seal` do, and NodeTampered; after any error the sink
    holds nothing that can be opened.
    """
    check_wrap_key(new_key)
    if version is not None:
        check_version(version)
    with open_sealed(source, old_key) as plain:
        found = plain.header
        return seal(
            plain,
            sink,
            new_key,
            path=found.path if path is None else path,
            version=found.version if version is None else version,
            size=found.size,
            advance=advance,
        )
