"""One event is one line, whatever strangers put into it."""

from __future__ import annotations

import io
import json
import logging
import math
import sys
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealserve.logline import (
    CHATTY,
    EventFormatter,
    JsonFormatter,
    LogForm,
    configure_logging,
    line,
)


def record_of(message, *arguments, failure=None, name="x"):
    return logging.LogRecord(name, logging.ERROR, "x", 1, message, arguments, failure)


def as_json(*arguments, **named):
    text = JsonFormatter().format(record_of(*arguments, **named))
    assert text.isascii()
    assert text.isprintable()
    return json.loads(text)


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


def test_an_event_is_one_json_object_with_its_facts_as_they_are():
    found = as_json(line("decision", outcome="denied", record=7, fresh=True, share=0.5, rule=None))
    moment = found.pop("time")
    assert datetime.fromisoformat(moment).utcoffset() == timedelta(0)
    assert moment.endswith("Z")
    assert len(moment) == len("2026-11-23T09:22:38.924Z")
    assert found == {
        "level": "ERROR",
        "event": "decision",
        "outcome": "denied",
        "record": 7,
        "fresh": True,
        "share": 0.5,
    }


@pytest.mark.parametrize(
    ("value", "written"),
    [
        pytest.param(math.nan, "nan", id="no number"),
        pytest.param(math.inf, "inf", id="infinity"),
        pytest.param(LogForm.TEXT, "text", id="a name of an enumeration"),
        pytest.param(("a", 1), ["a", 1], id="a list"),
        pytest.param(["x"] * 100, ["x"] * 32, id="a long list"),
        pytest.param("a" * 1000, "a" * 400 + "...", id="long text"),
        pytest.param("a\ud800b", "a\\ud800b", id="a lone surrogate"),
        pytest.param('"}\n{"event": "decision"', '"}\n{"event": "decision"', id="a forged object"),
    ],
)
def test_what_json_has_no_form_for_is_text(value, written):
    assert as_json(line("x", value=value))["value"] == written


def test_no_fact_takes_the_place_of_what_every_line_has():
    found = as_json(line("x", time="never", level="none"))
    assert found["level"] == "ERROR"
    assert found["time"] != "never"


def test_a_traceback_is_one_text_in_json():
    try:
        raise ValueError("unreadable: \n\u202e")
    except ValueError:
        found = as_json(line("session_fault"), failure=sys.exc_info())
    assert found["event"] == "session_fault"
    assert found["traceback"].endswith("ValueError: unreadable: \n\u202e")


@pytest.mark.parametrize("formatter", [EventFormatter(), JsonFormatter()])
def test_what_another_library_logs_forges_no_line_either(formatter):
    forged = "bad request\nevent=decision outcome=released\x1b[2J"
    text = formatter.format(record_of("said: %s", forged, name="uvicorn.error"))
    assert text.isprintable()
    assert text.isascii()
    assert "message" in text
    assert "uvicorn.error" in text


@given(st.text(), st.text())
def test_both_forms_are_one_line_of_ascii_whatever_strangers_wrote(value, message):
    for formatter in (EventFormatter(), JsonFormatter()):
        for logged in (line("x", value=value), message.replace("%", "")):
            text = formatter.format(record_of(logged))
            assert text.isascii()
            assert text.isprintable()


@pytest.fixture
def logging_of_its_own(monkeypatch):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    levels = {each: each.level for each in (root, *map(logging.getLogger, CHATTY))}
    yield
    for logger, level in levels.items():
        logger.setLevel(level)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "form", "begins"),
    [
        pytest.param(Terminal(), None, "20", id="a terminal"),
        pytest.param(io.StringIO(), None, "{", id="a file"),
        pytest.param(Terminal(), LogForm.JSON, "{", id="a terminal that asks for JSON"),
        pytest.param(io.StringIO(), LogForm.TEXT, "20", id="a file that asks for text"),
    ],
)
@pytest.mark.usefixtures("logging_of_its_own")
def test_people_at_a_terminal_read_text_and_machines_json(monkeypatch, stream, form, begins):
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logging(form)
    logging.getLogger("sealserve").info(line("ready", listen="127.0.0.1:4433"))
    logging.getLogger("sealserve").debug(line("detail"))
    (written,) = stream.getvalue().splitlines()
    assert written.startswith(begins)
    assert "127.0.0.1:4433" in written
