"""The key service's configuration: a TOML file into a frozen value, checked before anything opens.

Unknown keys are errors, relative paths count from the folder of the file, and a secret is always
the name of a file, never a value. What is not said is the careful choice: Intel's trust root, the
loopback address, bounded waits and numbers. What decides, the policy and the secrets, is not here
but in the database. Every key is described in docs/operations.md.
"""

from __future__ import annotations

import tomllib
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    InstanceOf,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from sealserve.appraisal.complaints import complain
from sealserve.endorsements.pccs import Update
from sealserve.errors import ConfigError, UsageError
from sealserve.files import read_file
from sealserve.hosts import ListenAddress, parse_dns_name
from sealserve.keyservice.fields import FilePath, Listen, Table
from sealserve.keyservice.limits import Limits
from sealserve.keyservice.wrapping import Wrapping

CONFIG_LIMIT = 1 << 20  # bytes
ROLE_NAMES_LIMIT = 100
_POSTGRESQL = ("postgresql", "postgres")
_MOVED = {
    "policy": "sealserve policy apply POLICY --config {path}",
    "secrets": "sealserve secret add NAME --from FILE --config {path}",
    "audit": "sealserve audit export --config {path} --out FILE",
}


def _database(value: object, info: ValidationInfo) -> URL:
    """A file, or a URL of PostgreSQL that holds no password."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("expected the name of a file, or postgresql://USER@HOST/DATABASE")
    if "://" not in value:
        if not isinstance(info.context, Path):
            raise TypeError("the folder of relative paths is the context of the validation")
        return URL.create("sqlite", database=str(info.context / value))
    try:
        url = make_url(value)
    except ArgumentError:  # not shown: it may hold a password
        raise ValueError("is no URL; expected postgresql://USER@HOST/DATABASE") from None
    if url.password is not None or "password" in url.query:
        raise ValueError("holds a password: write it into a file and name that database_password")
    if url.drivername not in _POSTGRESQL or not url.database:
        raise ValueError("expected the name of a file, or postgresql://USER@HOST/DATABASE")
    return url.set(drivername="postgresql+psycopg")


def _domain(value: object) -> str:
    try:
        return parse_dns_name(value if isinstance(value, str) else "")
    except UsageError as error:
        raise ValueError(f"is no host name: {error.message}") from None


def _network(value: object) -> IPv4Network | IPv6Network:
    try:
        return ip_network(value if isinstance(value, str) else "")
    except ValueError as error:
        raise ValueError(f"is no address or network: {error}") from None


def _person(name: str) -> str:
    """Not as those are called who use the database itself: the record tells the two apart."""
    if name.startswith("local:"):
        raise ValueError("begins with local:, as the names of those who use the database itself")
    return name


Database = Annotated[InstanceOf[URL], BeforeValidator(_database)]
Domain = Annotated[str, BeforeValidator(_domain)]
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)]
PersonName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@:/-]{0,252}$"), AfterValidator(_person)
]


class Tls(Table):
    """The server's certificate, its issuers after it, and its private key (mode 0600)."""

    certificate: FilePath
    private_key: FilePath


class Attestation(Table):
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
    """None is `collateral-cache`, in the folder `state`."""

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


class Roles(Table):
    """Who may do what, by a name in the client's certificate (subjectAltName)."""

    owner: Annotated[tuple[PersonName, ...], Field(max_length=ROLE_NAMES_LIMIT, strict=False)] = ()
    auditor: Annotated[
        tuple[PersonName, ...], Field(max_length=ROLE_NAMES_LIMIT, strict=False)
    ] = ()
    operator: Annotated[
        tuple[PersonName, ...], Field(max_length=ROLE_NAMES_LIMIT, strict=False)
    ] = ()

    @model_validator(mode="after")
    def _one_role_each(self) -> Self:
        names = [*self.owner, *self.auditor, *self.operator]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{name!r} has two roles; a person has one")
        return self


class Admin(Table):
    """The admin API: HTTPS, where every client has a certificate of `client_ca`."""

    listen: Listen = ListenAddress("127.0.0.1", 4434)
    certificate: FilePath
    private_key: FilePath
    client_ca: FilePath
    roles: Roles


class Watch(Table):
    """Health and metrics over plain HTTP; nothing secret is there."""

    listen: Listen = ListenAddress("127.0.0.1", 9433)


class KeyServiceConfig(Table):
    """The whole file."""

    listen: Listen = ListenAddress("127.0.0.1", 4433)
    database: Database
    database_password: FilePath | None = None
    """Mode 0600; for PostgreSQL."""
    key_domain: Domain | None = None
    """Who connects to NAME.key_domain asks for the secret NAME."""
    state: FilePath
    """A folder of this copy's own: what must not be forgotten about collateral and the log."""
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    proxies: Annotated[tuple[Network, ...], Field(max_length=100, strict=False)] = ()
    """Who speaks the PROXY protocol to us, and must."""
    wrapping: Wrapping
    tls: Tls
    attestation: Attestation
    limits: Limits = Limits()
    admin: Admin | None = None
    watch: Watch | None = None

    @model_validator(mode="after")
    def _password_is_of_use(self) -> Self:
        if self.database_password is not None and self.database.drivername == "sqlite":
            raise ValueError("database_password is of no use with a file")
        return self

    @property
    def collateral_cache(self) -> Path:
        """The folder for collateral, and for what must not be forgotten about it."""
        return self.attestation.collateral_cache or self.state / "collateral-cache"


def load_config(path: Path) -> KeyServiceConfig:
    """The configuration in the file at `path`; raises ConfigError that names every fault."""
    text = read_file(path, limit=CONFIG_LIMIT)
    try:
        document = tomllib.loads(text.decode("utf-8"))
        _refuse_what_moved(document, path)
        return KeyServiceConfig.model_validate(document, context=path.absolute().parent)
    except ValidationError as error:
        raise complain(f"key service configuration {path}", KeyServiceConfig, error) from None
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, UnicodeDecodeError
        raise ConfigError(f"{path} is not TOML: {error}") from error


def _refuse_what_moved(document: dict[str, Any], path: Path) -> None:
    for key, command in _MOVED.items():
        if key in document:
            raise ConfigError(
                f"{path}: `{key}` is no longer in the configuration, but in the database",
                hint=f"remove it, and: {command.format(path=path)}",
            )
