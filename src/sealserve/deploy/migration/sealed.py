"""Which wrap key opens which model, and for which path it is sealed.

Tried only with keys that are named: none is looked for. Of a file only its first node is opened,
in memory, and what is told is a path and the name of a key's file. Format: docs/formats.md.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from sealserve.deploy.migration.fault import of_rule, printable
from sealserve.deploy.migration.files import Gathered, Kind, open_regular
from sealserve.deploy.migration.models import Found
from sealserve.deploy.weakness import Rule, Severity, Weakness
from sealserve.errors import ConfigError, IntegrityError
from sealserve.sealing import MAGIC, open_sealed_under

ONE_KEY: Final = "or seal all with one key: sealserve reseal"

PLAIN: Final = Rule(
    "models.plain",
    Severity.ERROR,
    "whoever has the folder has the model, and can put another in its place",
    "sealserve seal -w WRAP_KEY -i FOLDER -o models/NAME, and keep the plaintext elsewhere",
)
OTHER_KEY: Final = Rule(
    "models.other-key",
    Severity.ERROR,
    "an enclave is given one key when it starts, so what has another is not in the description",
    "one key for all: sealserve reseal; or one description for each key: sealserve deploy init",
)
NO_KEY: Final = Rule(
    "models.no-key",
    Severity.ERROR,
    "no enclave opens it with these keys; a model of which they open nothing is left out",
    "name its key with --wrap-key, too; if there is none, seal the model again",
)
PATHS: Final = Rule(
    "models.paths",
    Severity.ERROR,
    "Gramine opens a sealed file under the path alone that it was sealed for",
    "seal the folder as one, in its place: sealserve reseal -w KEY --new-wrap-key NEW -i FOLDER "
    "-o OUT --embed-path models/NAME",
)
UNTRIED: Final = Rule(
    "models.untried",
    Severity.WARNING,
    "the description says that one key is for all models, and that may be wrong",
    "migrate with --wrap-key FILE for each key: what each of them opens is told",
)
RULES: Final = (PLAIN, OTHER_KEY, NO_KEY, PATHS, UNTRIED)


@dataclass(slots=True)
class _Tried:
    """What was seen of one model's files."""

    plain: list[str] = field(default_factory=list)
    sealed: int = 0
    unopened: list[tuple[str, str]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    paths: set[str] = field(default_factory=set)
    misplaced: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Sorted:
    """The models that one key is for, with the paths that they are sealed for.

    `key` is the file of that key; None where none was named, or none opens a model.
    """

    models: tuple[Found, ...]
    key: str | None
    faults: tuple[Weakness, ...]


def sort_models(gathered: Gathered, models: tuple[Found, ...], keys: Mapping[str, bytes]) -> Sorted:
    """Those that the key opens which opens most; all of them where that cannot be known."""
    tried = [(each, _try(gathered, each, keys)) for each in models]
    faults = [fault for each, seen in tried for fault in _in_files(each, seen, bool(keys))]
    if not keys:
        faults += _untried(gathered, [seen for _, seen in tried])
    opens = Counter(name for _, seen in tried for name in seen.keys)
    if not opens:
        return Sorted(models, None, tuple(faults))
    key = max(keys, key=lambda name: opens[name])
    kept = []
    for model, seen in tried:
        if seen.keys - {key}:
            faults.append(_other_key(model, seen.keys - {key}, key))
        elif seen.keys or not seen.sealed:
            path = next(iter(seen.paths)) if len(seen.paths) == 1 else model.base_path
            kept.append(replace(model, base_path=path))
    return Sorted(tuple(kept), key, tuple(faults))


def _untried(gathered: Gathered, seen: list[_Tried]) -> Iterator[Weakness]:
    sealed = sum(each.sealed > 0 for each in seen)
    keys = len(gathered.of(Kind.WRAP_KEY))
    if sealed > 1 or (sealed and keys > 1):
        message = f"sealed models: {sealed}; files of wrap keys: {keys}; none of them was tried"
        yield of_rule(UNTRIED, "models", None, message)


def _other_key(model: Found, others: set[str], key: str) -> Weakness:
    shown = ", ".join(map(printable, sorted(others)))
    message = f"{printable(model.name)} is sealed with {shown}, and not with {printable(key)}"
    name, path = shlex.quote(printable(model.name)), shlex.quote(printable(model.base_path))
    found = of_rule(OTHER_KEY, printable(model.base_path), None, message)
    command = f"sealserve deploy init --model {name} --base-path {path} --key KEY --out FILE"
    return replace(found, cure=f"describe it as a service of its own, {command}; {ONE_KEY}")


def _in_files(model: Found, seen: _Tried, tried: bool) -> Iterator[Weakness]:
    name = printable(model.name)
    if seen.plain:
        message = f"{len(seen.plain)} files of {name} are not sealed, this the first"
        yield of_rule(PLAIN, printable(seen.plain[0]), None, message)
    if tried and seen.unopened:
        file, reason = seen.unopened[0]
        yield of_rule(NO_KEY, printable(file), None, f"no key opens it: {reason}")
    if seen.misplaced:
        file, path = seen.misplaced[0]
        message = f"it is sealed for {printable(path)}, which is no file of a version of {name}"
        yield of_rule(PATHS, printable(file), None, message)
    if len(seen.paths) > 1:
        shown = ", ".join(map(printable, sorted(seen.paths)[:4]))
        message = f"files of {name} are sealed for several folders: {shown}"
        yield of_rule(PATHS, printable(model.base_path), None, message)


def _try(gathered: Gathered, model: Found, keys: Mapping[str, bytes]) -> _Tried:
    seen = _Tried()
    for folder in model.folders:
        for version in gathered.versions[folder].values():
            for file in version.files:
                path = _try_file(gathered.folder, file, keys, seen)
                within = file.removeprefix(folder)
                if path is not None and path.endswith(within):
                    seen.paths.add(path.removesuffix(within))
                elif path is not None:
                    seen.misplaced.append((file, path))
    return seen


def _try_file(root: Path, file: str, keys: Mapping[str, bytes], seen: _Tried) -> str | None:
    """The path that the file is sealed for, where a key opens it."""
    try:
        with open_regular(root / file) as stream:
            if stream.read(len(MAGIC)) != MAGIC:
                seen.plain.append(file)
                return None
            seen.sealed += 1
            if not keys:
                return None
            number, opened = open_sealed_under(stream, list(keys.values()))
    except (ConfigError, IntegrityError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error.message
        seen.unopened.append((file, str(reason)))
        return None
    seen.keys.add(list(keys)[number])
    return opened.header.path
