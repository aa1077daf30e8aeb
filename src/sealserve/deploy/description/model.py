"""`sealserve.toml`: one description of a service, from which all that runs it is rendered.

It holds names, addresses and sizes, and no secret: keys are named, never written. What a person may
write is checked here key by key; `rules.py` has what must hold between keys, and
`reading.py` reads the text; `fields.py` has what texts may hold. Nothing here opens a file.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator

from sealserve.deploy.description.fields import (
    AUTOMATIC,
    LARGEST_MIB,
    EnclaveSize,
    Host,
    HostPort,
    KeyName,
    Label,
    Name,
    RelativePath,
    Size,
    Table,
    size_in_mib,
)
from sealserve.deploy.description.fields import key as _key
from sealserve.deploy.description.kubernetes import LATER_KEYS, Kubernetes

__all__ = ["AUTOMATIC", "LARGEST_MIB", "Description", "Kubernetes", "Model", "size_in_mib"]

GRAMINE_VERSIONS: Final = ("1.5", "1.6", "1.7", "1.8", "1.9")

_MODELS: Final = 100
_TOO_OLD: Final = (
    "Gramine before 1.5 has other manifest keys, and before 1.3 starts without the key that it was "
    "refused"
)


def _gramine(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError(f"found {value!r:.80}, expected text: a number loses the zero of 1.10")
    numbers = re.fullmatch(r"([0-9]{1,4})\.([0-9]{1,4})", value)
    if numbers and (int(numbers[1]), int(numbers[2])) < (1, 5):
        raise ValueError(f"found {value!r}: {_TOO_OLD}")
    if value not in GRAMINE_VERSIONS:
        raise ValueError(f"found {value!r:.80}, expected one of {', '.join(GRAMINE_VERSIONS)}")
    return value


class Model(Table):
    """One model."""

    name: Name = _key("the name that clients ask for", "digits")
    base_path: RelativePath = _key(
        "the folder of its versions, sealed for this very path", "models/digits"
    )
    key: KeyName = _key("the name of the secret that it is sealed with", "digits")
    size: Size = _key("what a version's files take, not less", "98M")
    signature: Name = _key(
        "the signature that clients call", "serving_default", default="serving_default"
    )


def _some(models: tuple[Model, ...]) -> tuple[Model, ...]:
    if not 1 <= len(models) <= _MODELS:
        raise ValueError(f"found {len(models)} models, expected 1 to {_MODELS}")
    return models


class Server(Table):
    """The program in the enclave."""

    kind: Literal["tensorflow-serving", "sealserve"] = _key(
        "the stock server, or SealServe's own", "tensorflow-serving"
    )
    port: int = _key("the port of gRPC", 8500, default=8500, ge=1024, le=65535)
    threads: int = _key("threads that compute", 4, default=4, ge=1, le=256)
    enclave_size: EnclaveSize = _key("automatic, or a power of two", AUTOMATIC, default=AUTOMATIC)
    batching: bool = _key("run waiting requests as one", False, default=False)
    connection_age: int = _key(
        "seconds after which clients are asked to connect anew; 0: never",
        60,
        default=0,
        ge=0,
        le=600,
    )


class Tls(Table):
    """TLS between clients and the enclave."""

    mode: Literal["oneway", "mutual"] = _key(
        "oneway, or mutual: clients show a certificate too", "oneway"
    )
    config: RelativePath = _key(
        "the sealed ssl.cfg, sealed for this path", "ssl.cfg", default="ssl.cfg"
    )


class KeyServiceAddress(Table):
    """Who releases the key."""

    address: HostPort = _key("host and port", "keys.example.com:4433")
    ca: RelativePath = _key("the authority that signed its certificate, PEM", "key-service-ca.pem")


class Gramine(Table):
    """What runs the program in SGX."""

    version: Annotated[str, BeforeValidator(_gramine)] = _key(
        "the version that is installed, 1.5 to 1.9", "1.9"
    )
    edmm: bool = _key("memory added while it runs: SGX2, Linux 6.0", False, default=False)
    product: int = _key("ISV product id", 0, default=0, ge=0, le=65535)
    svn: int = _key("ISV security version, raised with each fix", 1, default=1, ge=0, le=65535)


class Description(Table):
    """The whole file."""

    cluster: Label = _key("the name of the service, in all that is rendered", "digits")
    domain: Host = _key("the host name that clients connect to", "grpc.example.com")
    cloud: Literal["alibaba", "anolis", "azure", "bytedance", "generic", "tencent"] = _key(
        "where it runs; `sealserve cloud list` has them all", "generic", default="generic"
    )
    replicas: int = _key("how many enclaves serve", 2, default=1, ge=1, le=1000)
    models: Annotated[tuple[Model, ...], AfterValidator(_some)] = _key(
        "the models, each a [[models]] table", [], strict=False
    )
    server: Server = _key("the [server] table", {})
    tls: Tls = _key("the [tls] table", {})
    key_service: KeyServiceAddress = _key("the [key_service] table", {})
    gramine: Gramine = _key("the [gramine] table", {})
    kubernetes: Kubernetes = _key("the [kubernetes] table", {}, default=Kubernetes())

    @property
    def key(self) -> str:
        """The one secret of all models and of ssl.cfg."""
        return self.models[0].key

    @property
    def digest(self) -> str:
        """SHA-256 of what the file means: layout, comments and spelt-out defaults do not count.

        What was not there at first, and says nothing, is not there: old files keep their digest.
        """
        meaning = self.model_dump(mode="json")
        if not self.server.connection_age:
            del meaning["server"]["connection_age"]
        if self.kubernetes == Kubernetes():
            del meaning["kubernetes"]
        for name in LATER_KEYS:
            if getattr(self.kubernetes, name) == Kubernetes.model_fields[name].default:
                meaning.get("kubernetes", {}).pop(name, None)
        canonical = json.dumps(meaning, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()
