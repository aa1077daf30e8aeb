"""What has to be there before anything is served: imports, and the size of what is installed.

Imports are of processes of their own, and take turns. What an extra takes on the disk is reckoned
from what is installed here: the closure of its requirements, each distribution with all files that
its RECORD names; bytecode of modules that were imported once is in it.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, distribution, distributions
from typing import Any

from packaging.markers import Marker
from packaging.requirements import Requirement

from bench._serving_site import not_measured
from bench.measure import PROJECT, Result, interleave, limited

ROUNDS = 7
CLIENT_SECONDS = 0.4
DEVELOPMENT = {"dev", "bench", "fuzz", "interop"}  # extras that nobody needs who runs it
MIB = 1 << 20
NAME = "sealserve"
BARE = "pass"
_PROGRAMS = {
    "import sealserve.client": ("-c", "import sealserve.client"),
    "import sealserve.serving.server": ("-c", "import sealserve.serving.server"),
    "sealserve serve --version": ("-m", NAME, "serve", "--version"),
    "an interpreter that does nothing": ("-c", BARE),
}
# grpcio imports these by itself wherever they are installed: they are none of the client's.
_FILES = """import json, sys
sys.modules.update(dict.fromkeys(("grpc_health", "grpc_reflection", "grpc_tools")))
{}
print(json.dumps([file for m in sys.modules.values() if (file := getattr(m, "__file__", None))]))
"""


def measure() -> Iterator[Result]:
    """Imports, what the client's brings along, sizes."""
    times = interleave(
        {name: partial(_run, *words) for name, words in _PROGRAMS.items()}, rounds=ROUNDS
    )
    *programs, bare = times
    for name in programs:
        seconds, against = statistics.median(times[name]), statistics.median(times[bare])
        beside = f"{bare} ({against:.3g} s)"
        if name.endswith("client"):
            yield limited(name, seconds, "s", against=beside, limit=CLIENT_SECONDS)
        else:
            yield Result(name, seconds, "s", beside, None, None, None)
    packages = client_packages()
    yield Result(
        "packages of others that sealserve.client imports",
        len(packages),
        "packages",
        ", ".join(packages),
        None,
        None,
        None,
    )
    for extra in ("", *extras()):
        yield _installed(extra)


def extras() -> list[str]:
    """What pyproject.toml declares for those who run it, in its order."""
    return [name for name in _project()["optional-dependencies"] if name not in DEVELOPMENT]


def client_packages() -> list[str]:
    """Distributions of others of which `import sealserve.client` loads a module."""
    loaded = set(json.loads(_run("-c", _FILES.format("import sealserve.client"))))
    loaded -= set(json.loads(_run("-c", _FILES.format(BARE))))
    return sorted(
        each.name
        for each in distributions()
        if each.name != NAME and any(str(file.locate()) in loaded for file in each.files or ())
    )


def closure(extra: str) -> set[str]:
    """Names of the distributions that `sealserve[extra]` needs here, itself among them.

    Raises PackageNotFoundError for one that is not installed.
    """
    found: dict[str, set[str]] = {}
    waiting = [(NAME, frozenset({extra} - {""}))]
    while waiting:
        name, extras = waiting.pop()
        new = {"", *extras} - found.get(name, set())
        if not new:
            continue
        found.setdefault(name, set()).update(new)
        for requirement in _requirements(name):
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": each}) for each in new):
                waiting.append((_normal(requirement.name), frozenset(requirement.extras)))
    return set(found)


def _installed(extra: str) -> Result:
    name = f"installed size, {f'extra {extra}' if extra else 'no extra'}"
    try:
        sizes = {each: _size(each) for each in closure(extra)}
    except PackageNotFoundError as error:
        return not_measured(name, f"{error.name} is not installed")
    largest = max(sizes, key=lambda each: sizes[each])
    return Result(
        name,
        sum(sizes.values()) / MIB,
        "MiB",
        f"{len(sizes)} packages; the largest is {largest} ({sizes[largest] / MIB:.3g} MiB)",
        None,
        None,
        None,
    )


def _requirements(name: str) -> Iterator[Requirement]:
    """With the extras that they are for; ours as pyproject.toml has them, which may be newer."""
    if name != NAME:
        yield from map(Requirement, distribution(name).requires or ())
        return
    yield from map(Requirement, _project()["dependencies"])
    for extra, texts in _project()["optional-dependencies"].items():
        for requirement in map(Requirement, texts):
            condition = f"({requirement.marker}) and " if requirement.marker else ""
            requirement.marker = Marker(f'{condition}extra == "{extra}"')
            yield requirement


def _project() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    return table


def _size(name: str) -> int:
    """Bytes of a distribution's files; ours, which is installed from its folder, of its sources."""
    if name == NAME:
        sources = (PROJECT / "src").rglob("*")
        return sum(file.stat().st_size for file in sources if file.is_file())
    files = (file.locate() for file in distribution(name).files or ())
    return sum(file.stat().st_size for file in files if file.is_file())


def _normal(name: str) -> str:
    """PEP 503's."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _run(*words: str) -> str:
    return subprocess.run(
        [sys.executable, *words], cwd=PROJECT, check=True, capture_output=True, text=True
    ).stdout
