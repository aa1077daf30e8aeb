"""One event, one line: `event=decision outcome=denied peer=192.0.2.1:4711 reason="two words"`.

What strangers wrote (host names, the text of errors about their bytes) is quoted and escaped, so
that nobody forges a line or moves the cursor of a terminal. No secret is handed to this module.
"""

from __future__ import annotations

import json
import logging
import re
from typing import Any

_PLAIN = re.compile(r"[A-Za-z0-9._:/@+\[\]-]+")
_VALUE_LIMIT = 400  # characters


class EventFormatter(logging.Formatter):
    """Indents the lines of a traceback and escapes what is in them: an error may quote a stranger,
    and no event begins with a space."""

    def formatException(self, ei: Any) -> str:  # noqa: N802  (logging's own name)
        rows = super().formatException(ei).splitlines()
        return "\n".join("  " + row.encode("unicode_escape").decode("ascii") for row in rows)


def line(event: str, **facts: object) -> str:
    """The line for `event`; facts that are None are left out."""
    known = {"event": event, **{name: value for name, value in facts.items() if value is not None}}
    return " ".join(f"{name}={_value(str(value))}" for name, value in known.items())


def _value(text: str) -> str:
    short = text if len(text) <= _VALUE_LIMIT else text[:_VALUE_LIMIT] + "..."
    return short if _PLAIN.fullmatch(short) else json.dumps(short)
