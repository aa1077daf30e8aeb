"""Alert rules and dashboards as text: what they name, and what promtool has against them."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

PROMTOOL_SECONDS = 60
NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
# Functions are known by their parenthesis; these are the other words of PromQL here.
WORDS = {"by", "and", "offset", "or", "unless", "without", "on", "ignoring"}


@dataclass(frozen=True)
class AlertRules:
    """A file of rules, by its name."""

    name: str
    text: str

    @property
    def alerts(self) -> list[str]:
        """The alerts, in order."""
        return re.findall(r"- alert: (\w+)", self.text)

    @property
    def recorded(self) -> set[str]:
        """The metrics that the rules make themselves."""
        return set(re.findall(r"record: (\S+)", self.text))

    @property
    def runbooks(self) -> list[str]:
        """The headings of the page that alerts lead to."""
        return re.findall(r'runbook: "docs/watching\.md#(\w+)"', self.text)

    def expressions(self) -> list[str]:
        """Every `expr:`, on one line or in a block."""
        found = re.findall(r"^ +expr: (?!\|)(.+)$", self.text, re.MULTILINE)
        blocks = re.findall(r"^( +)expr: \|\n((?:\1  .*\n)+)", self.text, re.MULTILINE)
        return found + [block for _, block in blocks]

    def expected(self, alert: str, labels: dict[str, str]) -> dict[str, object]:
        """The alert as it is to fire: its labels, and its own words about them."""
        block = re.search(rf"- alert: {alert}\n(.*?)(?=\n\n|\Z)", self.text, re.DOTALL)
        assert block is not None, alert
        severity = re.findall(r"severity: (\w+)", block[1])[0]
        words = dict(re.findall(r'(summary|runbook): "(.*)"', block[1]))
        for name, value in labels.items():
            words["summary"] = words["summary"].replace(f"{{{{ $labels.{name} }}}}", value)
        return {"exp_labels": {**labels, "severity": severity}, "exp_annotations": words}

    def failures(self, folder: Path, cases: list[dict[str, object]]) -> str | None:
        """What promtool finds to be otherwise than the cases expect."""
        self.write(folder)
        written = folder / "test.yml"  # JSON is YAML
        written.write_text(
            json.dumps({"rule_files": [self.name], "evaluation_interval": "1m", "tests": cases})
        )
        return promtool("test", "rules", written)

    def write(self, folder: Path) -> Path:
        """The file, in `folder`."""
        path = folder / self.name
        path.write_text(self.text)
        return path


def case(
    inputs: list[dict[str, str]], *expectations: tuple[str, str, list[object]]
) -> dict[str, object]:
    """Series, and which alerts there are to be: a name, when, and each that fires."""
    tests = [
        {"alertname": alert, "eval_time": when, "exp_alerts": firing}
        for alert, when, firing in expectations
    ]
    return {"interval": "1m", "input_series": inputs, "alert_rule_test": tests}


def refused_expressions(folder: Path, expressions: list[str]) -> str | None:
    """What promtool has against a dashboard's expressions."""
    rules = []
    for number, expression in enumerate(expressions):
        for name, value in {"$__rate_interval": "5m", "$job": ".+", "$instance": ".+"}.items():
            expression = expression.replace(name, value)
        assert "$" not in expression
        rules.append({"record": f"x:{number}", "expr": expression})
    written = folder / "expressions.yml"
    written.write_text(json.dumps({"groups": [{"name": "x", "rules": rules}]}))
    return promtool("check", "rules", written)


def overlapping(panels: list[dict[str, Any]]) -> list[tuple[Any, Any]]:
    """The places of a dashboard's panels that lie over each other."""
    places = [panel["gridPos"] for panel in panels]
    return [
        (one, other)
        for one, other in combinations(places, 2)
        if one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    ]


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
