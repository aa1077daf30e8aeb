"""Which format the files of a version are: exactly one of those that are known, or a refusal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from sealserve.errors import FailedPrecondition
from sealserve.serving.formats.onnx import ONNX_NAME
from sealserve.serving.formats.saved_model import FILE_NAME

EXPECTED = f"{FILE_NAME}, {ONNX_NAME}, or one NAME.xml with NAME.bin"
_SHOWN = 10  # names in a message


class Format(Enum):
    """What versions are made of."""

    SAVED_MODEL = "a SavedModel"
    ONNX = "an ONNX model"
    IR = "an OpenVINO IR"


@dataclass(frozen=True)
class Found:
    """The format of a version, and the file that it begins with."""

    format: Format
    name: str


def found_in(names: Sequence[str]) -> Found:
    """The format of the files `names`; FailedPrecondition where it is none, or more than one.

    Only files of the version's folder itself tell; folders in it belong to what they tell. Names
    are in the hint alone, which no peer is told.
    """
    found = []
    if FILE_NAME in names:
        found.append(Found(Format.SAVED_MODEL, FILE_NAME))
    if ONNX_NAME in names:
        found.append(Found(Format.ONNX, ONNX_NAME))
    for name in names:
        if name.endswith(".xml") and "/" not in name and weights_name(name) in names:
            found.append(Found(Format.IR, name))
    if len(found) == 1:
        return found[0]
    shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    if found:
        several = ", ".join(each.format.value for each in found)
        raise FailedPrecondition(
            f"the version is more than one model: {several}",
            code="serving.formats",
            hint=f"give each model a version, or a base path, of its own; found {shown}",
        )
    raise FailedPrecondition(
        f"the version holds no model: expected {EXPECTED}",
        code="serving.formats",
        hint=f"found {shown or 'no file'}",
    )


def weights_name(name: str) -> str:
    """The file of an IR's weights, for that of its graph."""
    return name.removesuffix(".xml") + ".bin"
