"""Fields of objects that a cluster gave, whatever their shape: what is not there is empty.

Objects come from many versions of Kubernetes, and a status is filled bit by bit, so nothing here
raises for a field that is missing or of another type.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

Object = dict[str, Any]


def at(found: Any, *path: str) -> Any:
    """What is at a path of names, or None."""
    for name in path:
        if not isinstance(found, dict):
            return None
        found = found.get(name)
    return found


def text(found: Any, *path: str) -> str:
    """The text at a path; empty where there is none."""
    value = at(found, *path)
    return value if isinstance(value, str) else ""


def number(found: Any, *path: str) -> int:
    """The whole number at a path; 0 where there is none."""
    value = at(found, *path)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def table(found: Any, *path: str) -> Object:
    """The object at a path; empty where there is none."""
    value = at(found, *path)
    return value if isinstance(value, dict) else {}


def rows(found: Any, *path: str) -> list[Object]:
    """The objects in the list at a path."""
    value = at(found, *path)
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def moment(found: Any, *path: str) -> datetime | None:
    """The time (RFC 3339) at a path, with its zone; None where there is none."""
    try:
        value = datetime.fromisoformat(text(found, *path))
    except ValueError:
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def name(found: Any) -> str:
    """An object's name."""
    return text(found, "metadata", "name")


def condition(found: Any, kind: str) -> Object:
    """The condition of that type in an object's status; empty where there is none."""
    held = rows(found, "status", "conditions")
    return next((each for each in held if each.get("type") == kind), {})
