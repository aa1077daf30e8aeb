"""No stack of their own for signal handlers where nobody says how large one must be.

OpenVINO gives the thread that loads its CPU plugin a stack for signal handlers, of SIGSTKSZ and
what the kernel says that a handler's frame takes (AT_MINSIGSTKSZ, from Linux 5.14 on). Gramine's
LibOS (1.9) does not say it, a processor with AMX saves more than is left, and the first signal ends
the process with a memory fault. Without such a stack handlers run on the thread's own, which is
large enough. Source: sigaltstack(2), getauxval(3); Gramine, `libos_context.c`, prepare_sigframe.
"""

from __future__ import annotations

import ctypes
import logging

from sealserve.logline import line

log = logging.getLogger(__name__)

_AT_MINSIGSTKSZ = 51  # linux/auxvec.h
_SS_DISABLE = 2  # linux/signal.h


class _Stack(ctypes.Structure):
    """stack_t."""

    _fields_ = (("pointer", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


def give_up_small_stack() -> bool:
    """Give up the calling thread's stack for handlers, if its size was a guess; whether it was."""
    libc = ctypes.CDLL(None)
    libc.getauxval.restype = ctypes.c_ulong
    if libc.getauxval(ctypes.c_ulong(_AT_MINSIGSTKSZ)):
        return False
    stack = _Stack()
    libc.sigaltstack(None, ctypes.byref(stack))
    if not stack.pointer or stack.flags & _SS_DISABLE:
        return False
    none = _Stack(None, _SS_DISABLE, 0)
    given_up = bool(libc.sigaltstack(ctypes.byref(none), None) == 0)
    log.info(line("signal_stack", bytes=stack.size, given_up=given_up))
    return given_up
