"""Make an input smaller while it still escapes in the same way.

Chunks are cut out, halves first and single bytes last, until nothing more can go or the attempts
are used up. What is left is what a person reads, and what goes into a table of a unit test.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable

ATTEMPTS = 3000

Signature = tuple[str, str, int]
"""The type of an exception, and the file and line that it comes from."""


def escape(
    run: Callable[[bytes], object], refusals: tuple[type[Exception], ...], data: bytes
) -> Signature | None:
    """How `data` makes `run` fail with another exception than `refusals`; None if it does not."""
    try:
        run(data)
    except refusals:
        return None
    except Exception as error:  # noqa: BLE001  (what escapes is what is looked for)
        return signature(error)
    return None


def signature(error: Exception) -> Signature:
    """What two escapes for the same reason have in common."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "sealserve" in frame.filename] or frames
    return type(error).__name__, ours[-1].filename, ours[-1].lineno or 0


def minimise(data: bytes, still: Callable[[bytes], bool]) -> bytes:
    """The smallest of `data` that was found for which `still` holds."""
    attempts = ATTEMPTS
    size = len(data) // 2
    while size and attempts:
        at = 0
        while at < len(data) and attempts:
            shorter = data[:at] + data[at + size :]
            attempts -= 1
            if still(shorter):
                data = shorter
            else:
                at += size
        size //= 2
    return data
