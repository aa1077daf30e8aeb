"""What operators watch the model server with, as files: Prometheus' rules, Grafana's dashboard.

They are shipped as they are. The names of metrics in them are those of
`sealserve.serving.watching.measures`; tests hold them to it.
"""

from __future__ import annotations

from importlib import resources

RULES = "sealserve-serving.rules.yml"
DASHBOARD = "sealserve-serving.dashboard.json"


def watching_files() -> dict[str, bytes]:
    """Each file by its name."""
    folder = resources.files(__name__)
    return {name: (folder / name).read_bytes() for name in (RULES, DASHBOARD)}
