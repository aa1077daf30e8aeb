"""What the key service's alert rules and dashboard say, taken apart: their expressions, the metrics
that these name, and the metrics that there are."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from sealserve.deploy.keyservice import DASHBOARD, RULES, operating_files
from sealserve.keyservice import measures
from sealserve.keyservice.metrics import Metrics

PROMTOOL_SECONDS = 60
FILES = {
    name: data.decode()
    for name, data in operating_files(Path("/usr/bin/sealserve"), Path("/etc/k.toml")).items()
}
BOARD = json.loads(FILES[DASHBOARD])
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
BOARD_EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]
ALERTS = re.findall(r"- alert: (\w+)", FILES[RULES])
# In Prometheus' own target, or made by the rules themselves.
OTHER_METRICS = {"up"} | set(re.findall(r"record: (\S+)", FILES[RULES]))
NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
# Functions are known by their parenthesis; these are the other words of PromQL here.
WORDS = {"by", "and", "offset", "or", "unless", "without", "on", "ignoring"}


def names_in(expression: str) -> set[str]:
    """The metrics that PromQL names: what is no string, label, duration, function or word of it."""
    text = re.sub(r'"[^"]*"', "", expression)
    text = re.sub(r"\{[^}]*\}", " ", text)
    text = re.sub(r"\[[^\]]*\]", " ", text)
    text = re.sub(r"\b(by|without|on|ignoring)\s*\([^)]*\)", " ", text)
    text = re.sub(r"\b[0-9][0-9.]*[smhd]?\b", " ", text)
    return {
        found[0]
        for found in NAME.finditer(text)
        if found[0] not in WORDS and not text[found.end() :].lstrip(" \n").startswith("(")
    }


def names_made() -> set[str]:
    """The name of every sample that the service can show."""
    made = {"sealserve_keyservice_build_info"}
    for each in measures.ALL:
        histogram = isinstance(each, measures.Histogram)
        ends = ("_bucket", "_count", "_sum") if histogram else ("",)
        made |= {measures.PREFIX + each.name + end for end in ends}
    return made | set(re.findall(r"^(process_\w+)\{", Metrics().show().decode(), re.MULTILINE))


def rule_expressions() -> list[str]:
    """Every `expr:`, on one line or in a block."""
    found = re.findall(r"^ +expr: (?!\|)(.+)$", FILES[RULES], re.MULTILINE)
    blocks = re.findall(r"^( +)expr: \|\n((?:\1  .*\n)+)", FILES[RULES], re.MULTILINE)
    return found + [block for _, block in blocks]


def promtool(*words: str | Path) -> str | None:
    """What promtool has against it; None where it has nothing."""
    ended = subprocess.run(
        ["promtool", *words],
        capture_output=True,
        text=True,
        timeout=PROMTOOL_SECONDS,
        check=False,
    )
    return ended.stdout + ended.stderr if ended.returncode else None
