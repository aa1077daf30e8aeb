"""Asking a person for a passphrase: at a terminal alone, unseen, and a new one twice."""

from __future__ import annotations

import sys
from collections.abc import Callable

import click

from sealserve.errors import UsageError


def ask_passphrase(prompt: str) -> str:
    """What a person types; raises UsageError where there is nobody."""
    _require_terminal()
    typed: str = click.prompt(prompt, prompt_suffix="", hide_input=True, err=True)
    return typed


def ask_new_passphrase(prompt: str) -> str:
    """The same twice: what is mistyped here would never open anything again."""
    _require_terminal()
    typed: str = click.prompt(
        f"New: {prompt}",
        prompt_suffix="",
        hide_input=True,
        confirmation_prompt="Once more: ",
        err=True,
    )
    return typed


def remembering(ask: Callable[[str], str], typed: dict[str, str]) -> Callable[[str], str]:
    """`ask`, but what is in `typed` is not asked for again."""

    def asked(prompt: str) -> str:
        if prompt not in typed:
            typed[prompt] = ask(prompt)
        return typed[prompt]

    return asked


def _require_terminal() -> None:
    if not sys.stdin.isatty():
        raise UsageError(
            "a passphrase is needed, and nobody is at a terminal to type it",
            hint="name a file in the configuration, under [wrapping]: passphrase",
        )
