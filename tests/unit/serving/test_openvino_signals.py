"""Signals while OpenVINO is loaded and after it is gone: their handlers run on sound memory."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from sealserve.serving.engines import openvino_signals
from sealserve.serving.engines.openvino_signals import own_signal_stack

SIZE = 1 << 16
NONE = (None, 0)

# An engine that the main thread makes and another one drops; then signals, again and again.
PROGRAM = """
import gc, signal, sys, threading
from sealserve.serving.capacity import plan
from sealserve.serving.engines.openvino import OpenVinoEngine

heard = []
signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
engines = [OpenVinoEngine(plan(2))]
signal.raise_signal(signal.SIGTERM)

def drop():
    engines.clear()
    gc.collect()

thread = threading.Thread(target=drop)
thread.start()
thread.join()
for _ in range(10):
    signal.raise_signal(signal.SIGTERM)
print(len(heard))
"""


def set_stack(pointer: int | None, flags: int, size: int) -> None:
    stack = openvino_signals._Stack(pointer, flags, size)
    assert ctypes.CDLL(None).sigaltstack(ctypes.byref(stack), None) == 0


def stack_of_this_thread() -> tuple[int | None, int]:
    stack = openvino_signals._Stack()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack)) == 0
    return stack.pointer, stack.size


def in_a_thread(work: Callable[[], None]) -> None:
    """In one of its own, since each has its own stack; whose memory may go afterwards."""

    def run() -> None:
        try:
            work()
        finally:
            set_stack(None, openvino_signals._SS_DISABLE, 0)

    with ThreadPoolExecutor(1) as threads:
        threads.submit(run).result()


def test_an_engine_that_another_thread_drops_leaves_signals_a_stack() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True, check=False, timeout=60
    )
    assert (ended.returncode, ended.stdout) == (0, "11\n")


@pytest.mark.parametrize("had_one", [True, False])
def test_a_stack_that_is_put_in_place_meanwhile_is_taken_away(had_one: bool) -> None:
    def work() -> None:
        before = ctypes.create_string_buffer(SIZE)
        if had_one:
            set_stack(ctypes.addressof(before), 0, SIZE)
        meanwhile = ctypes.create_string_buffer(SIZE)
        with own_signal_stack():
            set_stack(ctypes.addressof(meanwhile), 0, SIZE)
        assert stack_of_this_thread() == ((ctypes.addressof(before), SIZE) if had_one else NONE)

    in_a_thread(work)


def test_it_is_taken_away_when_loading_fails() -> None:
    def work() -> None:
        meanwhile = ctypes.create_string_buffer(SIZE)
        with pytest.raises(ValueError, match="no such device"), own_signal_stack():
            set_stack(ctypes.addressof(meanwhile), 0, SIZE)
            raise ValueError("no such device")
        assert stack_of_this_thread() == NONE

    in_a_thread(work)
