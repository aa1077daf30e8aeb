"""What operators run the key service with, as files: systemd's unit, Prometheus' rules, Grafana's
dashboard.

They are shipped as they are, but for the unit, which names the command and the configuration of the
machine that it is for. Nothing is installed here: whoever runs the machine puts them in their place
(docs/watching.md says where). The names of metrics in them are those of
`sealserve.keyservice.measures`; tests hold them to it.
"""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

from sealserve.deploy.writing import write_new
from sealserve.errors import UsageError

UNIT = "sealserve-keyservice.service"
RULES = "sealserve-keyservice.rules.yml"
DASHBOARD = "sealserve-keyservice.dashboard.json"
HIDDEN = (Path("/home"), Path("/root"), Path("/run/user"))  # by ProtectHome=, from the service

_PATH = re.compile(r"/[A-Za-z0-9/._+@-]*")  # what systemd takes for itself, in a command line too


def operating_files(command: Path, config: Path) -> dict[str, bytes]:
    """Each file by its name; `command` and `config` are absolute paths on the service's machine.

    Raises UsageError for a path that systemd would read as something else.
    """
    unit = _text(UNIT).replace("@SEALSERVE@", _plain(command)).replace("@CONFIG@", _plain(config))
    return {
        UNIT: unit.encode(),
        RULES: _text(RULES).encode(),
        DASHBOARD: _text(DASHBOARD).encode(),
    }


def write_operating_files(folder: Path, command: Path, config: Path) -> tuple[Path, ...]:
    """Write them into `folder`, which is made if need be; never over another file: UsageError."""
    return write_new(folder, operating_files(command, config))


def is_hidden(path: Path) -> bool:
    """Whether the unit's service could not read `path`, since it is below somebody's home."""
    return any(path.is_relative_to(hidden) for hidden in HIDDEN)


def _text(name: str) -> str:
    return (resources.files(__name__) / name).read_text("utf-8")


def _plain(path: Path) -> str:
    text = str(path)
    if not _PATH.fullmatch(text):
        raise UsageError(
            f"{text!r} cannot be named in a unit of systemd's",
            hint="an absolute path of letters, digits and ._+@-",
        )
    return text
