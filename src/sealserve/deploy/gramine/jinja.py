"""A manifest template as TOML: Jinja's tags become text that keeps its place.

A template is Gramine's input before `gramine-manifest` fills it in. Nothing is filled in here, and
nothing is run: `{{ … }}` stands as a text for the value that it will be, `{% … %}` and `{# … #}`
vanish, and all of it keeps its line. Source: Gramine 1.9, "gramine-manifest"; Jinja 3, "Template
Designer Documentation", Synopsis.
"""

from __future__ import annotations

import re
from typing import Final

from sealserve.errors import ConfigError

_OPENING: Final = re.compile(r"\{([{%#])")
_CLOSING: Final = {"{": "}}", "%": "%}", "#": "#}"}
_NOT_IN_A_STRING: Final = re.compile(r"""["'\\{}\x00-\x1f\x7f]""")
# What ends nowhere is taken to the end of its line, so that no text is read twice. Possessive are
# sets of characters alone: Python to 3.11.4 mistakes possessive groups that could give back.
_TOKEN: Final = re.compile(
    r'"""[^"\\]*+(?:(?:\\.|"(?!""))[^"\\]*+)*(?:""")?|'
    r"'''[^']*+(?:'(?!'')[^']*+)*(?:''')?|"
    r'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*"?|'
    r"'[^'\n]*+'?|#[^\n]*+|(\{\{[^{}\n]*+\}\})",
    re.DOTALL,
)


def without_jinja(text: str) -> str:
    """`text` as TOML with as many lines; raises ConfigError for a tag that has no end."""
    return _TOKEN.sub(lambda token: f'"{token[1]}"' if token[1] else token[0], _plain(text))


def is_open(value: object) -> bool:
    """Jinja decides this value, or a part of it."""
    return isinstance(value, str) and "{{" in value


def _plain(text: str) -> str:
    pieces: list[str] = []
    at = 0
    while opening := _OPENING.search(text, at):
        end = text.find(_CLOSING[opening[1]], opening.end())
        if end < 0:
            line = text.count("\n", 0, opening.start()) + 1
            raise ConfigError(
                f"the manifest's line {line} opens {opening[0]!r}, which nothing closes",
                hint="close it, or lint what gramine-manifest makes of it",
            )
        pieces.append(text[at : opening.start()])
        pieces.append(_stand_in(opening[1], text[opening.end() : end]))
        at = end + 2
    return "".join([*pieces, text[at:]])


def _stand_in(kind: str, content: str) -> str:
    if kind == "{":
        return "{{" + _NOT_IN_A_STRING.sub(" ", content) + "}}"
    return "\n" * content.count("\n")
