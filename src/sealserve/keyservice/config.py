"""The key service's configuration: a TOML file into a frozen value, checked before anything opens.

Unknown keys are errors, relative paths count from the folder of the file, and a secret is always
the name of a file, never a value. What is not said is the careful choice: Intel's trust root, the
loopback address, bounded waits and numbers. Every key is described in docs/operations.md.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from sealserve.appraisal.complaints import complain
from sealserve.endorsements.pccs import Update
from sealserve.errors import ConfigError, UsageError
from sealserve.files import read_file
from sealserve.hosts import ListenAddress, parse_listen_address

CONFIG_LIMIT = 1 << 20  # bytes
SECRETS_LIMIT = 1000


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
SecretName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Seconds = Annotated[float, Field(gt=0, le=3600)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Tls(_Table):
    """The server's certificate, its issuers after it, and its private key (mode 0600)."""

    certificate: FilePath
    private_key: FilePath


class Attestation(_Table):
    """Whom to believe about evidence, and where endorsements come from: one of service and dir.

    `verifier` "maa" is Azure Attestation, which needs none of that.
    """

    verifier: Literal["dcap", "maa"] = "dcap"
    maa_url: Annotated[str, Field(pattern=r"^[^\s]{1,512}$")] | None = None
    maa_ca: FilePath | None = None
    """The CA file for a private service that speaks the interface of Azure Attestation."""
    trust_root: FilePath | None = None
    """None is Intel's SGX root CA; any other root must be named here, and is logged SIMULATED."""
    collateral_service: Annotated[str, Field(pattern=r"^[^\s]{1,2000}$")] | None = None
    """A URL, or the name of a service that is known (`sealserve.endorsements.pccs.presets`)."""
    collateral_dir: FilePath | None = None
    collateral_update: Update = "standard"
    collateral_ca: FilePath | None = None
    """The CA file for a service whose HTTPS certificate no public CA has signed."""
    collateral_subscription_key: FilePath | None = None
    """Mode 0600; for services that ask for one."""
    collateral_max_age_seconds: Annotated[int, Field(gt=0, le=7 * 86400)] = 3600
    collateral_cache: FilePath | None = None
    """None is `collateral-cache`, beside the audit log."""

    @model_validator(mode="after")
    def _one_verifier(self) -> Self:
        azure = {"maa_url", "maa_ca"}
        unused = azure if self.verifier == "dcap" else self.model_fields_set - azure - {"verifier"}
        for key in sorted(unused & self.model_fields_set):
            raise ValueError(f'{key} is of no use with verifier = "{self.verifier}"')
        if self.verifier == "maa" and self.maa_url is None:
            raise ValueError('verifier = "maa" needs maa_url, the URL of the instance')
        return self

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.verifier == "maa":
            return self
        if (self.collateral_service is None) == (self.collateral_dir is None):
            raise ValueError("name one of collateral_service and collateral_dir")
        for key in ("collateral_ca", "collateral_subscription_key"):
            if getattr(self, key) is not None and self.collateral_service is None:
                raise ValueError(f"{key} belongs to collateral_service, which is not there")
        return self


class Limits(_Table):
    """What one client, or all of them, may take."""

    handshake_seconds: Seconds = 10.0
    idle_seconds: Seconds = 10.0
    session_seconds: Seconds = 60.0
    max_sessions: Annotated[int, Field(ge=1, le=65536)] = 512


class KeyServiceConfig(_Table):
    """The whole file."""

    listen: Listen = ListenAddress("127.0.0.1", 4433)
    policy: FilePath
    audit: FilePath
    tls: Tls
    attestation: Attestation
    secrets: Annotated[dict[SecretName, FilePath], Field(max_length=SECRETS_LIMIT)]
    limits: Limits = Limits()

    @property
    def collateral_cache(self) -> Path:
        """The folder for collateral, and for what must not be forgotten about it."""
        return self.attestation.collateral_cache or self.audit.parent / "collateral-cache"


def load_config(path: Path) -> KeyServiceConfig:
    """The configuration in the file at `path`; raises ConfigError that names every fault."""
    text = read_file(path, limit=CONFIG_LIMIT)
    try:
        return KeyServiceConfig.model_validate(
            tomllib.loads(text.decode("utf-8")), context=path.absolute().parent
        )
    except ValidationError as error:
        raise complain(f"key service configuration {path}", KeyServiceConfig, error) from None
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, UnicodeDecodeError
        raise ConfigError(f"{path} is not TOML: {error}") from error
