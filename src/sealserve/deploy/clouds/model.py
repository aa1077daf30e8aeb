"""What is known of one cloud, as its file says it: frozen, typed, each fact with its source.

The files beside this module are data and are shipped; they hold what public documents say, and mark
under `unconfirmed` what no document confirms. Nothing here asks a cloud.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from sealserve.errors import UsageError

REGION = "{region}"
METADATA_HOST = "169.254.169.254"  # link-local: the machine's own hypervisor, which has no TLS
_MAX_REGION = 40  # characters
_REGION = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_T = TypeVar("_T")


def _secure(url: str) -> str:
    """`url`, which must be https and end in the path of Intel's interface."""
    if not re.fullmatch(r"https://[a-z0-9.{}-]+(:[0-9]+)?/sgx/certification/v[34]/", url):
        raise ValueError(f"{url!r} is no https URL that ends in /sgx/certification/v4/ or v3/")
    return url


def _local(url: str) -> str:
    if not url.startswith(f"http://{METADATA_HOST}/") or not url.endswith("/"):
        raise ValueError(f"{url!r} is not on the machine's own metadata service")
    return url


Text = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f|]{1,400}$")]
ServiceUrl = Annotated[str, AfterValidator(_secure)]
LocalUrl = Annotated[str, AfterValidator(_local)]
ListOf = Annotated[tuple[_T, ...], Field(strict=False)]


class Table(BaseModel):
    """A table of the file: frozen, and without a key that nobody knows."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Sourced(Table):
    """Something that a document says."""

    source: Text
    unconfirmed: Text | None = None
    """What of it no document confirms."""


class Fact(Sourced):
    """A name and what it stands for, for people; `{region}` in it is filled in."""

    name: Text
    value: Text


class Size(Sourced):
    """One machine type."""

    name: Text
    vcpus: int = Field(gt=0)
    epc: Annotated[str, Field(pattern=r"^[0-9]+ Gi?B$")]
    reference: bool = False
    """Whether it is the one that the guide was tried on."""


class Device(Sourced):
    """A device node, and the names that it had under older drivers."""

    name: Text
    path: Text
    older: ListOf[Text] = ()


class Port(Sourced):
    """A TCP port that must be reachable."""

    number: int = Field(gt=0, lt=1 << 16)
    name: Text


class Kernel(Sourced):
    """The kernel and the system that the cloud's machines were tried with."""

    minimum: Annotated[str, Field(pattern=r"^[0-9]+([.-][0-9]+)+$")]
    release: Text
    os: Text


class Service(Sourced):
    """Where PCK certificates and collateral come from; all URLs end in a slash."""

    pccs_url: ServiceUrl
    collateral_url: ServiceUrl | None = None
    """For everything but PCK certificates, where `pccs_url` is not good for it."""
    local_pck_url: LocalUrl | None = None
    """Asked first for PCK certificates."""
    pck_headers: dict[str, str] = {}
    pck_params: dict[str, str] = {}
    own: bool = False
    """Whether the service is the operator's, so that any address may be right."""


class Regions(Sourced):
    """Names for `{region}`."""

    names: ListOf[Text]
    default: Text
    complete: bool
    """Whether there are no others."""

    @model_validator(mode="after")
    def _default_is_one(self) -> Self:
        if self.default not in self.names:
            raise ValueError(f"the default region {self.default!r} is not in the list")
        return self


class Ending(Sourced):
    """A date: something `ends`, or `closes` to new subscriptions."""

    what: Text
    date: date
    kind: Literal["ends", "closes"]
    successor: Text


class Common(Table):
    """What is the same in every cloud."""

    devices: ListOf[Device]
    ports: ListOf[Port]
    software: ListOf[Fact]
    endings: ListOf[Ending]


class Cloud(Table):
    """One cloud."""

    title: Text
    families: ListOf[Fact]
    sizes: ListOf[Size] = ()
    kernel: Kernel
    service: Service
    regions: Regions | None = None
    services: ListOf[Fact] = ()
    attestation: ListOf[Fact] = ()
    """Of the cloud's own verifier."""
    kubernetes: ListOf[Fact] = ()
    notes: ListOf[Fact] = ()
    endings: ListOf[Ending] = ()

    def region(self, name: str | None) -> str:
        """`name`, or the default one; empty where there are no regions. Raises UsageError."""
        if self.regions is None:
            if name is not None:
                raise UsageError(f"{self.title} has no regions here", hint="leave --region out")
            return ""
        if name is None:
            return self.regions.default
        known = ", ".join(sorted(self.regions.names))
        if name not in self.regions.names and (
            self.regions.complete or len(name) > _MAX_REGION or not _REGION.fullmatch(name)
        ):
            raise UsageError(f"{self.title} has no region {name[:80]!r}", hint=f"known: {known}")
        return name
