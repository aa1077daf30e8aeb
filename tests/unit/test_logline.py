"""One event is one line, whatever strangers put into it."""

from __future__ import annotations

import logging
import sys

import pytest

from sealserve.logline import EventFormatter, line


def test_facts_are_named_and_those_that_are_none_left_out():
    assert line("decision", outcome="denied", rule=None, record=7) == (
        "event=decision outcome=denied record=7"
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        pytest.param("192.0.2.1:4711", "192.0.2.1:4711", id="an address"),
        pytest.param("two words", '"two words"', id="a blank"),
        pytest.param("a\nevent=decision outcome=released", None, id="a forged line"),
        pytest.param("\x1b[2J", '"\\u001b[2J"', id="a terminal's escape"),
        pytest.param('say "x"', '"say \\"x\\""', id="quotes"),
        pytest.param("k=v", '"k=v"', id="an equals sign"),
        pytest.param("", '""', id="nothing"),
        pytest.param("\u202e", '"\\u202e"', id="a bidirectional override"),
    ],
)
def test_what_is_not_plain_is_quoted(value, shown):
    text = line("x", value=value)
    assert text.isprintable()
    assert text.isascii()
    assert shown is None or text == f"event=x value={shown}"


def test_long_values_are_cut():
    assert len(line("x", value="a" * 100_000)) < 1000


def test_what_an_error_quotes_of_a_stranger_forges_no_line_in_its_traceback():
    try:
        raise ValueError("unreadable: \nevent=decision outcome=released\r\x1b[2J\u202e")
    except ValueError:
        record = logging.LogRecord(
            "x", logging.ERROR, "x", 1, line("session_fault"), None, sys.exc_info()
        )
    first, *rows = EventFormatter().format(record).split("\n")
    assert first == "event=session_fault"
    assert any("event=decision" in row for row in rows)
    assert all(row.startswith("  ") and row.isprintable() and row.isascii() for row in rows)
