"""The models of the folder: what serves them by which name, where they lie, how large they are.

`models.config` says it where there is one; else the folders `models/…/VERSION/` are the models. A
sealed file opens under one path alone, that of its mount on the host, so a base path as the server
has it (`/models/x`) becomes the path below the enclave's folder (`models/x`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from sealserve.deploy.gramine.manifest import Manifest
from sealserve.deploy.migration.attestation import UNREADABLE
from sealserve.deploy.migration.fault import of_rule, printable
from sealserve.deploy.migration.files import Gathered, Item, Kind, Versions, below_models
from sealserve.deploy.migration.models_config import Entry, read_models_config
from sealserve.deploy.weakness import Rule, Severity, Weakness
from sealserve.errors import ConfigError

NOT_THERE: Final = Rule(
    "models.not-there",
    Severity.WARNING,
    "its size is not known, and the enclave's size is reckoned from it",
    "put its versions where the path says, and migrate again, or write its size yourself",
)
UNNAMED: Final = Rule(
    "models.unnamed",
    Severity.WARNING,
    "no server served it, so it is not in the description",
    "add a [[models]] table if it is to be served",
)
NOT_CARRIED: Final = Rule(
    "models.not-carried",
    Severity.WARNING,
    "the server of a description loads the newest version, and knows no labels",
    "leave only the versions in the folder that are to be served",
)
OTHER_PLATFORM: Final = Rule(
    "models.platform",
    Severity.ERROR,
    "neither server loads it, so it is not in the description",
    "save it as a SavedModel: sealserve model convert",
)
RULES: Final = (NOT_THERE, UNNAMED, NOT_CARRIED, OTHER_PLATFORM)

_POLICY: Final = frozenset({"model_version_policy", "version_labels"})


@dataclass(frozen=True, slots=True)
class Found:
    """A model: `size` is the largest version's bytes, `folders` where its versions were found."""

    name: str
    base_path: str
    source: str
    size: int | None
    folders: tuple[str, ...]


def find_models(
    gathered: Gathered, named: tuple[str, str] | None
) -> tuple[tuple[Found, ...], tuple[Weakness, ...]]:
    """The models and the faults on the way; `named` is a name in a start script, and its source.

    The model of that name comes first. A name that no folder has is a model all the same.
    """
    faults: list[Weakness] = []
    configured = list(_configured(gathered, faults))
    by_folder = list(_by_folder(gathered.versions))
    if configured:
        paths = {each.base_path for each in configured}
        others = [each for each in by_folder if each.base_path not in paths]
        for each in others:
            message = "no models.config names this model"
            faults.append(of_rule(UNNAMED, printable(each.folders[0]), None, message))
        return tuple(configured), tuple(faults)
    if named is None:
        return tuple(by_folder), tuple(faults)
    name, source = named
    first = [each for each in by_folder if each.name == name]
    rest = [each for each in by_folder if each.name != name]
    served = replace(first[0], source=source) if first else _unmeasured(name, source)
    return (served, *rest), tuple(faults)


def _unmeasured(name: str, source: str) -> Found:
    return Found(name, f"models/{name}", source, None, ())


def _configured(gathered: Gathered, faults: list[Weakness]) -> Iterator[Found]:
    """The models of all models.config; a path or a name of an earlier one counts once."""
    mounts = tuple(_mounts(gathered.of(Kind.MANIFEST)))
    seen: set[tuple[str, str]] = set()
    for item in gathered.of(Kind.MODELS_CONFIG):
        try:
            entries = read_models_config(item.text)
        except ConfigError as error:
            faults.append(of_rule(UNREADABLE, item.shown, None, error.message))
            continue
        for entry in entries:
            faults += _in_entry(item, entry)
            path = _on_the_host(entry.base_path, mounts)
            if entry.platform not in ("", "tensorflow") or (entry.name, path) in seen:
                continue
            seen.add((entry.name, path))
            size, folders = _measured(gathered.versions, path)
            if not folders:
                shown = printable(path)
                message = f"no version of {printable(entry.name)} is in {shown}"
                faults.append(of_rule(NOT_THERE, item.shown, entry.line, message))
            yield Found(entry.name, path, f"{item.shown}:{entry.line}", size, folders)


def _in_entry(item: Item, entry: Entry) -> Iterator[Weakness]:
    name = printable(entry.name)
    if entry.platform not in ("", "tensorflow"):
        message = f"the platform of {name} is {printable(entry.platform)}"
        yield of_rule(OTHER_PLATFORM, item.shown, entry.line, message)
    lost = sorted(_POLICY & set(entry.rest))
    if lost:
        message = f"{' and '.join(lost)} of {name} cannot be carried over"
        yield of_rule(NOT_CARRIED, item.shown, entry.line, message)


def _mounts(manifests: tuple[Item, ...]) -> Iterator[tuple[str, str]]:
    """Paths in the enclave, and where they are on the host, of the encrypted mounts."""
    for item in manifests:
        try:
            mounts = Manifest(item.text).mounts()
        except ConfigError:
            continue  # which the linter says
        for mount in mounts:
            if mount.kind == "encrypted" and mount.uri.startswith("file:"):
                yield mount.path.strip("/"), mount.uri.removeprefix("file:").strip("/")


def _on_the_host(base_path: str, mounts: tuple[tuple[str, str], ...]) -> str:
    """The path that the model's files are sealed for, below the enclave's folder."""
    path = base_path.strip("/")
    for inside, outside in mounts:
        if f"{path}/".startswith(f"{inside}/"):  # the mount is around the model
            return (outside + path[len(inside) :]).strip("/")
        within = inside.removeprefix(f"{path}/")
        if within != inside and outside.endswith(f"/{within}"):  # a version or a file is mounted
            return outside.removesuffix(f"/{within}")
    return path


def _measured(versions: Versions, path: str) -> tuple[int | None, tuple[str, ...]]:
    """The largest version's bytes, and every folder that ends with the path."""
    folders = tuple(each for each in versions if f"/{each}".endswith(f"/{path}"))
    sizes = [version.size for each in folders for version in versions[each].values()]
    return max(sizes, default=None), folders


def _by_folder(versions: Versions) -> Iterator[Found]:
    """Each `models/NAME/VERSION`; of a deeper one, the folders between are part of the name."""
    names = {rest for each in versions if (rest := below_models(each)) is not None}
    for name in sorted(names):
        path = f"models/{name}"
        size, folders = _measured(versions, path)
        yield Found(name.replace("/", "-"), path, "the folder models/", size, folders)
