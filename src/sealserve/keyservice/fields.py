"""The kinds of values in the key service's configuration, each as exact as its meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from sealserve.errors import UsageError
from sealserve.hosts import ListenAddress, parse_listen_address


def _address(value: object) -> ListenAddress:
    try:
        return parse_listen_address(value if isinstance(value, str) else "")
    except UsageError:
        raise ValueError(f"is {value!r}, expected text like 127.0.0.1:4433 or [::1]:4433") from None


def _path(value: object, info: ValidationInfo) -> Path:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("expected the name of a file")  # not shown: it may be a secret
    if not isinstance(info.context, Path):
        raise TypeError("the folder of relative paths is the context of the validation")
    return info.context / value


Listen = Annotated[ListenAddress, BeforeValidator(_address)]
FilePath = Annotated[Path, BeforeValidator(_path)]
Seconds = Annotated[float, Field(gt=0, le=3600)]


class Table(BaseModel):
    """A table of the file: unknown keys are errors, nothing is converted, nothing changes."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
