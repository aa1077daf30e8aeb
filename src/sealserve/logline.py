"""One event, one line: `event=decision outcome=denied peer=192.0.2.1:4711 reason="two words"`,
or the same facts as one JSON object.

What strangers wrote (host names, the text of errors about their bytes) is quoted and escaped in
both forms, so that nobody forges a line or moves the cursor of a terminal, and cut where it is
long. What other libraries log is an event of the name `message`, and no less escaped. No secret is
handed to this module.

JSON: `time` (RFC 3339, UTC, milliseconds), `level`, `event`, then the facts, with numbers and truth
values as such; a traceback is one text in `traceback`. All of it is ASCII.
"""

from __future__ import annotations

import json
import logging
import math
import re
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

_PLAIN = re.compile(r"[A-Za-z0-9._:/@+\[\]-]+")
_VALUE_LIMIT = 400  # characters
CHATTY = ("alembic", "httpx", "uvicorn")  # libraries whose every step is an event of ours already
_LIST_LIMIT = 32  # values of one list
_TRACEBACK_LIMIT = 16 << 10  # characters: some dozens of frames


class LogForm(StrEnum):
    """How the lines are written."""

    TEXT = "text"
    JSON = "json"


class Line(str):
    """The text form of an event, which knows what it was made of."""

    __slots__ = ("event", "facts")

    event: str
    facts: Mapping[str, object]


def line(event: str, **facts: object) -> Line:
    """The line for `event`; facts that are None are left out."""
    known = {name: value for name, value in facts.items() if value is not None}
    made = Line(
        " ".join(
            f"{name}={_value(str(value))}" for name, value in {"event": event, **known}.items()
        )
    )
    made.event, made.facts = event, known
    return made


def configure_logging(form: LogForm | None = None) -> None:
    """Write every event from level INFO to standard error, in `form`.

    Without one: text for the person at a terminal, JSON for whatever else reads it.
    """
    if form is None:
        form = LogForm.TEXT if sys.stderr.isatty() else LogForm.JSON
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form is LogForm.JSON else _text_with_time())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


class EventFormatter(logging.Formatter):
    """The text form. The lines of a traceback are indented, and no event begins with a space."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (logging's own names)
        record.message = _event(record)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return _indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802
        return _indented(stack_info)


class JsonFormatter(logging.Formatter):
    """One JSON object, on one line."""

    def format(self, record: logging.LogRecord) -> str:
        made = _event(record)
        head = {"time": _time(record), "level": record.levelname, "event": made.event}
        facts = {name: _json(value) for name, value in made.facts.items()}
        if record.exc_info:
            facts["traceback"] = _end(super().formatException(record.exc_info))
        return json.dumps(
            {**head, **facts, **head}
        )  # no fact takes the place of what every line has


def _text_with_time() -> EventFormatter:
    formatter = EventFormatter(
        "%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S"
    )
    formatter.converter = time.gmtime
    return formatter


def _event(record: logging.LogRecord) -> Line:
    """What was logged; what other libraries say is no event of ours, and may quote anybody."""
    if isinstance(record.msg, Line):
        return record.msg
    return line("message", logger=record.name, text=record.getMessage())


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _value(text: str) -> str:
    short = _cut(text)
    return short if _PLAIN.fullmatch(short) else json.dumps(short)


def _json(value: object) -> object:
    """`value` as JSON has it, or as text where JSON has nothing like it."""
    if isinstance(value, bool | int):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, list | tuple):
        return [_json(each) for each in value[:_LIST_LIMIT]]
    return _cut(_whole(str(value)))


def _whole(text: str) -> str:
    """`text` without lone surrogates (of undecodable bytes), which JSON's readers need not take."""
    return text.encode("utf-8", "backslashreplace").decode()


def _cut(text: str) -> str:
    return text if len(text) <= _VALUE_LIMIT else text[:_VALUE_LIMIT] + "..."


def _end(traceback: str) -> str:
    """A traceback's end: the nearest frames, and what happened."""
    return _whole(traceback[-_TRACEBACK_LIMIT:])


def _indented(rows: str) -> str:
    return "\n".join(
        "  " + row.encode("unicode_escape").decode("ascii") for row in rows.splitlines()
    )
