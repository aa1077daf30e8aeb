"""What `gramine-manifest` fills into a template of ours: the paths of the machine that builds.

A template leaves nothing open but where things lie. So the paths can be read back from what was
signed, and the template filled in with them, without Jinja: all else must then be the same. The
texts of tags and loops are those of `render` and `servers`. Nothing is opened here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import takewhile
from typing import Any, Final, Protocol

from sealserve.deploy.gramine.render import (
    END,
    LIBRARIES_LOOP,
    LIBRARY_FOLDERS,
    PACKAGES_LOOP,
    SYS_PATH_LOOP,
)

_PATH: Final = re.compile(r'/[^"\\:\x00-\x1f\x7f{}]{0,300}')
_PATHS: Final = 64  # entries of sys.path
_SLASH: Final = "{{ '/' if path.is_dir() else '' }}"


@dataclass(frozen=True, slots=True)
class BuildPaths:
    """Absolute paths on the machine that builds; the defaults are those of Debian's packages.

    `sys_path` and `packages` are for our server alone: where its Python looks for modules, and the
    folders that were added with -Dpackages.
    """

    libraries: str = "/lib/x86_64-linux-gnu"
    runtime: str = "/usr/lib/x86_64-linux-gnu/gramine/runtime/glibc"
    libos: str = "/usr/lib/x86_64-linux-gnu/gramine/libsysdb.so"
    entrypoint: str = "/usr/bin/python3"
    sys_path: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """The paths as a JSON object."""
        return asdict(self)


class Files(Protocol):
    """The files of the machine that a template is filled in for."""

    def is_folder(self, path: str) -> bool:
        """Whether there is a folder of that name."""

    def libraries(self, folder: str) -> Iterable[str]:
        """The shared libraries right in a folder, as paths, sorted."""


def fill(template: str, paths: BuildPaths, files: Files) -> str:
    """The template with every tag filled in."""
    loops: dict[str, Iterable[str]] = {
        SYS_PATH_LOOP: paths.sys_path,
        PACKAGES_LOOP: paths.packages,
    }
    folders = (paths.libraries, f"/usr{paths.libraries}")
    for tag, folder in zip(LIBRARY_FOLDERS, folders, strict=True):
        loops[LIBRARIES_LOOP.format(tag)] = files.libraries(folder)
    for loop, values in loops.items():
        while f"{loop}\n" in template:
            before, _, rest = template.partition(f"{loop}\n")
            body, _, after = rest.partition(f"{END}\n")
            filled = "".join(_entry(body, each, files) for each in values)
            template = f"{before}{filled}{after}"
    for tag, value in {
        "gramine.libos": paths.libos,
        "gramine.runtimedir()": paths.runtime,
        "arch_libdir": paths.libraries,
        "entrypoint": paths.entrypoint,
        "packages | default('')": ":".join(paths.packages),
    }.items():
        template = template.replace(f"{{{{ {tag} }}}}", value)
    return template


def _entry(body: str, path: str, files: Files) -> str:
    if _SLASH in body:
        body = body.replace(_SLASH, "/" if files.is_folder(path) else "")
    return body.replace("{{ path }}", path).replace("{{ file }}", path)


def paths_in(document: Mapping[str, Any]) -> BuildPaths:
    """The paths that a manifest was filled in with, as it says; the default for what it leaves out.

    `document` is anyone's: what is no absolute path, or could end a text, is as if left out.
    """
    default = BuildPaths()
    mounts = _mounts(document)
    environment = _table(_table(document, "loader"), "env")
    loader = _table(document, "loader").get("entrypoint")
    libos = loader.get("uri") if isinstance(loader, dict) else loader
    libraries = _text(environment.get("LD_LIBRARY_PATH")).split(":")
    found = [uri for path, uri in mounts if path == "/lib"]
    entrypoint = _text(_table(document, "libos").get("entrypoint"))
    packages = _all(_text(environment.get("PYTHONPATH")).split(":"))
    return BuildPaths(
        libraries=_first(libraries[1:2], default.libraries),
        runtime=_first(found, default.runtime),
        libos=_first([_text(libos).removeprefix("file:")], default.libos),
        entrypoint=_first([entrypoint], default.entrypoint),
        sys_path=_sys_path(mounts, packages),
        packages=packages,
    )


def _sys_path(mounts: list[tuple[str, str]], packages: tuple[str, ...]) -> tuple[str, ...]:
    """What is mounted under its own name behind /tmp, and is none of the added folders."""
    paths = [path for path, _ in mounts]
    if "/tmp" not in paths:  # noqa: S108  # the enclave's own memory
        return ()
    behind = mounts[paths.index("/tmp") + 1 :]  # noqa: S108
    own = [path for path, uri in takewhile(lambda each: each[0] == each[1], behind)]
    return _all(own[: len(own) - len(packages)])


def _mounts(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    mounts = _table(document, "fs").get("mounts")
    tables = [each for each in mounts if isinstance(each, dict)] if isinstance(mounts, list) else []
    return [
        (_text(each.get("path")), _text(each.get("uri")).removeprefix("file:")) for each in tables
    ]


def _table(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _all(values: list[str]) -> tuple[str, ...]:
    return tuple(value for value in values[:_PATHS] if _PATH.fullmatch(value))


def _first(values: list[str], otherwise: str) -> str:
    return next(iter(_all(values)), otherwise)
