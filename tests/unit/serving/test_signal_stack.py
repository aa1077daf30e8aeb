"""A stack for signal handlers: kept where its size was known, given up where it was not."""

from __future__ import annotations

import ctypes
import threading

import pytest

from sealserve.serving import signal_stack
from sealserve.serving.signal_stack import give_up_small_stack

SIZE = 1 << 16
NOBODY_TELLS = 9999  # no key of the auxiliary vector


def stack_of_this_thread() -> int | None:
    stack = signal_stack._Stack()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack)) == 0
    return stack.pointer


def in_a_thread_with_a_stack() -> tuple[bool, int | None]:
    """A thread of its own, since each has its own stack; what was given up, and what is left."""
    found: list[tuple[bool, int | None]] = []

    def run() -> None:
        memory = ctypes.create_string_buffer(SIZE)
        stack = signal_stack._Stack(ctypes.addressof(memory), 0, SIZE)
        assert ctypes.CDLL(None).sigaltstack(ctypes.byref(stack), None) == 0
        found.append((give_up_small_stack(), stack_of_this_thread()))
        none = signal_stack._Stack(None, signal_stack._SS_DISABLE, 0)
        ctypes.CDLL(None).sigaltstack(ctypes.byref(none), None)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


def test_where_the_kernel_says_how_much_a_handler_takes_the_stack_stays() -> None:
    given_up, left = in_a_thread_with_a_stack()
    assert not given_up
    assert left


def test_where_nobody_says_it_handlers_run_on_the_thread_s_own_stack(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(signal_stack, "_AT_MINSIGSTKSZ", NOBODY_TELLS)
    assert in_a_thread_with_a_stack() == (True, None)


def test_a_thread_without_such_a_stack_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal_stack, "_AT_MINSIGSTKSZ", NOBODY_TELLS)
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(give_up_small_stack()))
    thread.start()
    thread.join()
    assert found == [False]
