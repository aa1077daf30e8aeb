"""Documents as YAML: the same documents, the same bytes; a text of several lines stands as it is.

Written by PyYAML, in the order in which they were made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml


class _Dumper(yaml.SafeDumper):
    """Without anchors, which nobody reads well, and with lists set in."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def to_yaml(document: Any) -> str:
    """One document."""
    return yaml.dump(
        document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=4096, indent=2
    )


def to_document(document: Any, head: Sequence[str]) -> str:
    """One document behind a comment of these lines."""
    return "".join(f"# {line}\n" for line in head) + to_yaml(document)


def to_documents(objects: Iterable[Mapping[str, Any]], head: Sequence[str]) -> str:
    """Several documents in one text, behind a comment of these lines."""
    first, *others = objects
    return "---\n".join([to_document(first, head), *map(to_yaml, others)])
