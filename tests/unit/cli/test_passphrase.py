"""Asking for a passphrase: where nobody can type one, that is said, and nobody waits."""

from __future__ import annotations

import io

import pytest

from sealserve.cli.passphrase import ask_new_passphrase, ask_passphrase, remembering
from sealserve.errors import UsageError


@pytest.mark.parametrize("ask", [ask_passphrase, ask_new_passphrase])
def test_without_a_terminal_nobody_is_asked(ask, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("typed by a program\n"))
    with pytest.raises(UsageError, match="nobody is at a terminal") as caught:
        ask("Passphrase: ")
    assert "[wrapping]" in caught.value.hint


def test_what_was_typed_as_new_is_not_asked_for_again():
    asked, typed = [], {}

    def ask(prompt):
        asked.append(prompt)
        return "words"

    new, old = remembering(ask, typed), remembering(ask, typed)
    assert [new("A: "), old("A: "), old("B: ")] == ["words"] * 3
    assert asked == ["A: ", "B: "]
