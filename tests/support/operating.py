"""The key service's alert rules and dashboard, and the metrics that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path

from alert_rules import AlertRules
from sealserve.deploy.keyservice import DASHBOARD, RULES, operating_files
from sealserve.keyservice import measures
from sealserve.keyservice.metrics import Metrics

FILES = {
    name: data.decode()
    for name, data in operating_files(Path("/usr/bin/sealserve"), Path("/etc/k.toml")).items()
}
BOARD = json.loads(FILES[DASHBOARD])
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
BOARD_EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]
KEYSERVICE_RULES = AlertRules(RULES, FILES[RULES])
# In Prometheus' own target, or made by the rules themselves.
OTHER_METRICS = {"up"} | KEYSERVICE_RULES.recorded


def names_made() -> set[str]:
    """The name of every sample that the service can show."""
    made = {"sealserve_keyservice_build_info"}
    for each in measures.ALL:
        histogram = isinstance(each, measures.Histogram)
        ends = ("_bucket", "_count", "_sum") if histogram else ("",)
        made |= {measures.PREFIX + each.name + end for end in ends}
    return made | set(re.findall(r"^(process_\w+)\{", Metrics().show().decode(), re.MULTILINE))
