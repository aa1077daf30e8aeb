"""What several commands print, line by line, each with the name of whose line it is."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Mapping, Sequence

import click

END_SECONDS = 5.0


def print_interleaved(commands: Mapping[str, Sequence[str]], *, named: bool) -> None:
    """Run all of them to their ends and print their lines as they come; `named` says whose."""
    width = max(map(len, commands), default=0)
    running = []
    try:
        for name, words in commands.items():
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
            head = f"{name:<{width}} | " if named else ""
            thread = threading.Thread(target=_print, args=(process, head), daemon=True)
            thread.start()
            running.append((process, thread))
        for _, thread in running:
            thread.join()
    finally:
        for process, _ in running:
            process.terminate()
            process.wait(END_SECONDS)


def _print(process: subprocess.Popen[str], head: str) -> None:
    assert process.stdout is not None  # it is a pipe
    for line in process.stdout:
        click.echo(f"{head}{line}", nl=False)
