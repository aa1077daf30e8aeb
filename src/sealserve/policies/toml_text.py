"""Values as TOML text: the little of writing that these tools need.

Source: TOML 1.0.0, https://toml.io/en/v1.0.0#string.
"""

from __future__ import annotations

import json


def basic_string(value: str) -> str:
    """`value` as a basic string: JSON's escapes are TOML's, but for DEL, which TOML escapes."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
