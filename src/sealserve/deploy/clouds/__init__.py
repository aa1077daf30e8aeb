"""The clouds that SealServe knows, by name: data beside this module, read into frozen models.

A preset is a convenience, not a promise: it says what public documents say, and what they do not.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources

from sealserve.deploy.clouds.model import Cloud, Common
from sealserve.errors import UsageError

CLOUDS = ("azure", "alibaba", "tencent", "bytedance", "generic", "anolis")

__all__ = ["CLOUDS", "Cloud", "Common", "common", "load_cloud"]


@cache
def load_cloud(name: str) -> Cloud:
    """The cloud of that name; raises UsageError for a name that there is not."""
    if name not in CLOUDS:
        raise UsageError(f"no cloud {name[:80]!r} is known", hint=f"known: {', '.join(CLOUDS)}")
    return Cloud.model_validate(tomllib.loads(_text(name)))


@cache
def common() -> Common:
    """What is the same in all of them."""
    return Common.model_validate(tomllib.loads(_text("common")))


def _text(name: str) -> str:
    return (resources.files(__name__) / f"{name}.toml").read_text("utf-8")
