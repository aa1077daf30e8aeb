"""Step 10 of the demo, and what other steps read: the audit log, as its owner reads it.

It is exported by the command that an owner types, and believed only as far as its own key goes,
which was kept as the log was made.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from sealserve.demo.stage import Stage

CONFIG = "keyservice.toml"
LOG_KEY = "log.key"
_EXPORT = "audit.jsonl"


@dataclass(frozen=True)
class Record:
    """What the demo reads of one decision in the audit log."""

    outcome: str
    evidence: str
    explanation: tuple[str, ...]


def audit(stage: Stage) -> list[Record]:
    """The decisions in the key service's audit log, so far."""
    exported = stage.owner / _EXPORT
    exported.unlink(missing_ok=True)  # an export replaces no file
    words = ["audit", "export", "--out", _EXPORT, "--config", CONFIG]
    stage.do(words, folder=stage.owner, quiet=True)
    lines = map(json.loads, exported.read_text().splitlines())
    return [
        Record(line["outcome"], line["evidence_sha256"], tuple(line["explanation"]))
        for line in lines
        if line["kind"] == "decision"
    ]


def verify_log(stage: Stage) -> None:
    """10: nothing of the log was changed, by the key that was kept when it was made."""
    stage.tell.step("The audit log: every record as it was written")
    words = ["audit", "verify", "--log-key", LOG_KEY, "--config", CONFIG]
    ended = stage.run(words, folder=stage.owner)
    stage.tell.say((ended.stdout or ended.stderr).strip())
    outcomes = [record.outcome for record in audit(stage)]
    counts = ", ".join(f"{outcomes.count(each)} {each}" for each in dict.fromkeys(outcomes))
    stage.tell.check(ended.returncode == 0, f"it is whole: {counts}")
