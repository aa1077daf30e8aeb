"""A thread's stack for signal handlers, kept as it was while OpenVINO loads its CPU plugin.

The plugin gives the thread that loads it a stack of its own. It frees that stack at its end, but
takes it back only from the thread that ends it: if another one does, the next signal is written to
memory that is free or somebody else's, which ends the process or damages it. Where the kernel does
not say what a handler's frame takes (AT_MINSIGSTKSZ; Gramine's LibOS 1.9 does not) it is too small
besides, on a processor with AMX. Source: sigaltstack(2), getauxval(3); OpenVINO 2026.4, measured.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator

_SS_DISABLE = 2  # linux/signal.h


class _Stack(ctypes.Structure):
    """stack_t."""

    _fields_ = (("pointer", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextlib.contextmanager
def own_signal_stack() -> Iterator[None]:
    """Afterwards this thread's stack for handlers is what it was; none, where that is too small for
    what the processor saves by now. Raises OSError if the system refuses both.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    before, none = _Stack(), _Stack(None, _SS_DISABLE, 0)
    libc.sigaltstack(None, ctypes.byref(before))
    before.flags &= _SS_DISABLE
    try:
        yield
    finally:
        if libc.sigaltstack(ctypes.byref(before), None) and libc.sigaltstack(
            ctypes.byref(none), None
        ):
            raise OSError(ctypes.get_errno(), "sigaltstack")
