"""A Gramine manifest, or the template of one: text -> what it says, and on which line.

Old and new forms of one thing come out as one: file lists as arrays or tables (`sgx.trusted_files.
ID = "…"`), mounts as `fs.mounts` or `fs.mount.ID`, protected files as encrypted mounts. What has
another type than Gramine gives it is left out here; `schema.py` complains of it. Nothing is opened.

Source: Gramine, `Documentation/manifest-syntax.rst`, 1.0 to 1.9.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sealserve.appraisal.bounded_toml import read_toml
from sealserve.deploy.gramine.jinja import without_jinja
from sealserve.errors import ConfigError
from sealserve.policies.places import Path, Places

MANIFEST_LIMIT: Final = 80 << 10
"""Characters; a signed manifest with the hash of every file may have more."""
ENTRY_LIMIT: Final = 8192
"""Keys and values of a manifest."""

_HINT: Final = "lint what gramine-manifest makes of the template, before it is signed"


@dataclass(frozen=True, slots=True)
class Listed:
    """One entry of a list of files: where it stands, and its URI (`file:…`, `dev:…`)."""

    place: Path
    uri: str

    @property
    def file(self) -> str:
        """The path on the host."""
        return self.uri.partition(":")[2] or self.uri

    @property
    def name(self) -> str:
        """The last part of that path."""
        return self.file.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount: `kind` is Gramine's `type`, `path` is inside; empty where there is none."""

    place: Path
    kind: str
    path: str
    uri: str


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of the environment: its value, None where the host chooses it."""

    place: Path
    name: str
    value: str | None


class Manifest:
    """What the manifest says."""

    def __init__(self, text: str) -> None:
        """Raises ConfigError for what is no manifest, is too long or nests too deep."""
        if len(text) > MANIFEST_LIMIT:
            raise ConfigError(
                f"the manifest has {len(text)} characters, and at most {MANIFEST_LIMIT} are read",
                hint=_HINT,
            )
        toml = without_jinja(text)
        try:
            self.document: Mapping[str, Any] = read_toml(toml, "the manifest")
            self._places = Places(toml)
        except ConfigError as error:
            raise ConfigError(error.message, hint=_HINT) from None
        if len(self._places.paths()) > ENTRY_LIMIT:
            raise ConfigError(
                f"the manifest has more than {ENTRY_LIMIT} keys and values", hint=_HINT
            )
        self._first: dict[Path, Path] = {}  # tables that dotted keys make have no place themselves
        for path in self._places.paths():
            for length in range(1, len(path) + 1):
                self._first.setdefault(path[:length], path)

    def get(self, name: str) -> Any:
        """The value of a key such as `sgx.debug`; None where there is none."""
        value: Any = self.document
        for part in name.split("."):
            if not isinstance(value, dict):
                return None
            value = value.get(part)
        return value

    def line(self, place: Path) -> int:
        """The line, from 1, of what is there, or of the first thing nearest around it."""
        while place and place not in self._first:
            place = place[:-1]
        return self._places.line(self._first[place]) if place else 1

    def listed(self, name: str) -> tuple[Listed, ...]:
        """The files of a list such as `sgx.trusted_files`, in whichever form."""
        place = tuple(name.split("."))
        return tuple(
            Listed((*place, key), uri)
            for key, entry in _items(self.get(name))
            if isinstance(uri := entry.get("uri") if isinstance(entry, dict) else entry, str)
        )

    def mounts(self) -> tuple[Mount, ...]:
        """The mounts, the root's among them, and protected files as mounts."""
        tables = [
            *((("fs", "mounts", key), entry) for key, entry in _items(self.get("fs.mounts"))),
            *((("fs", "mount", key), entry) for key, entry in _items(self.get("fs.mount"))),
            (("fs", "root"), self.get("fs.root")),
        ]
        found = [_mount(place, table) for place, table in tables if isinstance(table, dict)]
        for kind in ("protected", "protected_mrenclave", "protected_mrsigner"):
            for each in self.listed(f"sgx.{kind}_files"):
                found.append(Mount(each.place, "encrypted", f"/{each.file}", each.uri))
        return tuple(found)

    def environment(self) -> tuple[Variable, ...]:
        """The variables that the manifest sets, or takes from the host."""
        return tuple(self._variables())

    def _variables(self) -> Iterator[Variable]:
        for name, entry in _items(self.get("loader.env")):
            place = ("loader", "env", name)
            value = entry.get("value") if isinstance(entry, dict) else entry
            if isinstance(value, str):
                yield Variable(place, str(name), value)
            elif isinstance(entry, dict) and entry.get("passthrough") is True:
                yield Variable(place, str(name), None)

    def variable(self, name: str) -> str | None:
        """The value of a variable that the manifest sets."""
        return next((each.value for each in self.environment() if each.name == name), None)

    def arguments(self) -> tuple[str, ...] | None:
        """`loader.argv`; None where the manifest does not say."""
        value = self.get("loader.argv")
        if not isinstance(value, list):
            return None
        return tuple(each for each in value if isinstance(each, str))


def _items(value: object) -> Iterator[tuple[str | int, Any]]:
    """What stands in an array or a table, with its index or key."""
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value)


def _mount(place: Path, table: Mapping[str, Any]) -> Mount:
    values = [table.get(key, "") for key in ("type", "path", "uri")]
    kind, path, uri = (value if isinstance(value, str) else "" for value in values)
    return Mount(place, kind or "chroot", path, uri)
