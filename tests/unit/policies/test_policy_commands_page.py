"""The page of policy commands lists every code that a finding can have, and no other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
# Where the code stands among the arguments of what makes findings, and its prefix.
MAKERS = {
    "Doubt": (2, "policy."),
    "_doubt": (1, "policy."),
    "wide": (1, "policy."),
    "useless": (1, "policy."),
    "_error": (1, "ra-config."),
    "_warn": (1, "ra-config."),
    "Finding": (2, ""),
}


def texts(node):
    """The texts that an argument can be, through a choice between two."""
    if isinstance(node, ast.IfExp):
        return texts(node.body) | texts(node.orelse)
    return {node.value} if isinstance(node, ast.Constant) else set()


def called(node):
    """The name of the function that is called, if `node` is a call."""
    if not isinstance(node, ast.Call):
        return None
    return getattr(node.func, "attr", getattr(node.func, "id", None))


def codes():
    found = set()
    for module in (ROOT / "src" / "sealserve" / "policies").glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            name = called(node)
            if name in MAKERS:
                place, prefix = MAKERS[name]
                found |= {prefix + text for text in texts(node.args[place])}
    return found


def test_the_page_lists_every_code_of_a_finding():
    page = (ROOT / "docs" / "policy-commands.md").read_text()
    listed = re.findall(r"^\| `((?:policy|ra-config)\.[a-z0-9-]+)`", page, re.MULTILINE)
    assert sorted(listed) == sorted(codes())
    assert len(listed) > 30
