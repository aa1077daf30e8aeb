"""How the demo tells its story: steps, commands, facts and checks; or one JSON object of the same.

A check that does not hold is told and remembered; the demo's exit code depends on all of them.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from rich.console import Console
from rich.markup import escape


@dataclass
class Step:
    """One step of the story and what came of it."""

    title: str
    commands: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    checks: list[dict[str, object]] = field(default_factory=list)


class Narrator:
    """Prints as it goes, or is silent (`quiet`) and keeps the same for `as_json`."""

    def __init__(self, *, quiet: bool) -> None:
        self._console = Console(highlight=False, soft_wrap=True, quiet=quiet)
        self._steps: list[Step] = []
        self._started = time.monotonic()

    def step(self, title: str) -> None:
        """Begin the next step."""
        self._steps.append(Step(title))
        self._console.print(f"\n[bold cyan]{len(self._steps)}[/]  [bold]{escape(title)}[/]")

    def command(self, words: Sequence[str]) -> None:
        """A command as a person would type it."""
        text = shlex.join(words)
        self._steps[-1].commands.append(text)
        self._console.print(f"   [dim]$ {escape(text)}[/]")

    def say(self, text: str) -> None:
        """A fact: what happened, or where a file is."""
        self._steps[-1].facts.append(text)
        for line in text.splitlines():
            self._console.print(f"   {line}", markup=False)

    def check(self, holds: bool, text: str) -> None:
        """Something that must hold."""
        self._steps[-1].checks.append({"check": text, "holds": holds})
        mark = "[green]✓[/]" if holds else "[bold red]✗[/]"
        self._console.print(f"   {mark} ", end="")
        self._console.print(text, markup=False)

    @property
    def failed(self) -> list[str]:
        """The checks that did not hold."""
        return [
            str(check["check"])
            for step in self._steps
            for check in step.checks
            if not check["holds"]
        ]

    def close(self) -> None:
        """The last line: whether all of it held."""
        count = sum(len(step.checks) for step in self._steps)
        seconds = time.monotonic() - self._started
        if self.failed:
            self._console.print(f"\n[bold red]{len(self.failed)} of {count} checks failed[/]")
        else:
            self._console.print(f"\n[bold green]All {count} checks held[/] in {seconds:.0f} s.")

    def as_json(self) -> dict[str, object]:
        """The same as values."""
        return {"holds": not self.failed, "steps": [asdict(step) for step in self._steps]}
