"""A real prediction of a service in a cluster: with what, from where, and what came of it.

Inputs are made from the signature that the server tells, so that nobody needs to know the model.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import click
import numpy as np

from sealserve.deploy.kubernetes.live.reaching import reached
from sealserve.deploy.kubernetes.live.service import Service
from sealserve.errors import NetworkError, ServingError, UsageError
from sealserve.hosts import Address, parse_address

if TYPE_CHECKING:
    from sealserve.client import Client, Signature

SECONDS: Final = 60.0  # until the first answer: addresses take a moment to be known everywhere
_ONE: Final = 20.0
_STEP: Final = 1.0
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Predicted:
    """The answer for one model: the shapes of its outputs; none where only its state was asked."""

    model: str
    outputs: dict[str, tuple[int, ...]]

    def __str__(self) -> str:
        shapes = ", ".join(f"{name} {list(shape)}" for name, shape in self.outputs.items())
        return shapes or "available; its inputs are no numbers, so nothing was predicted"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client of the service has; `target` is where it is reached, if that was named."""

    ca: Path
    certificate: Path | None
    private_key: Path | None
    target: Address | None

    def client(self, service: Service, address: Address) -> Client:
        """A client that verifies the service's certificate."""
        from sealserve.client import Client

        return Client(
            str(address),
            ca=self.ca,
            certificate=self.certificate,
            private_key=self.private_key,
            server_name=service.plan.description.domain,
            timeout=_ONE,
        )


_OPTIONS = (
    click.option("--ca", type=_FILE, help="The CA of the service's certificate, PEM."),
    click.option("--cert", type=_FILE, help="A client's certificate, PEM, for mutual TLS."),
    click.option("--key", type=_FILE, help="Its private key, PEM, mode 0600."),
    click.option(
        "--target",
        metavar="HOST:PORT",
        help="Where clients reach it.  [default: its load balancer, or through the API server]",
    ),
    click.option(
        "--without-prediction",
        is_flag=True,
        help="Be content with pods that Kubernetes calls ready.",
    ),
)


def client_options(command: _Command) -> _Command:
    """What a client has, for a prediction at the end, or that there is none.

    The command is handed `client: Credentials | None`.
    """

    @functools.wraps(command)
    def wrapped(
        ca: Path | None,
        cert: Path | None,
        key: Path | None,
        target: str | None,
        without_prediction: bool,
        **others: Any,
    ) -> Any:
        if ca is None and any((cert, key, target)):
            raise UsageError("--cert, --key and --target are for a prediction", hint="--ca FILE")
        if (ca is None) != without_prediction:
            raise UsageError(
                "it ends with a prediction, for which the service is verified",
                hint="--ca FILE; or --without-prediction",
            )
        at = None if target is None else parse_address(target)
        client = None if ca is None else Credentials(ca, cert, key, at)
        return command(client=client, **others)

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return cast(_Command, wrapped)


def predict_each(service: Service, credentials: Credentials) -> tuple[str, tuple[Predicted, ...]]:
    """How the service was reached, and a prediction of each of its models.

    Raises ServingError for what a server refuses, NetworkError where none is reached in time.
    """
    if credentials.target is not None:
        return str(credentials.target), _predicted(service, credentials, credentials.target)
    with reached(service) as (address, how):
        return how, _predicted(service, credentials, address)


def _predicted(
    service: Service, credentials: Credentials, address: Address
) -> tuple[Predicted, ...]:
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            with credentials.client(service, address) as client:
                models = service.plan.description.models
                return tuple(_one(client, model.name) for model in models)
        except (NetworkError, ServingError):
            if time.monotonic() > deadline:
                raise
            time.sleep(_STEP)


def _one(client: Client, model: str) -> Predicted:
    signatures = client.metadata(model)
    name = "serving_default" if "serving_default" in signatures else min(signatures)
    inputs = _inputs(signatures[name])
    if inputs is None:
        client.status(model)
        return Predicted(model, {})
    outputs = client.predict(model, inputs, signature=name)
    return Predicted(model, {name: tuple(map(int, array.shape)) for name, array in outputs.items()})


def _inputs(signature: Signature) -> dict[str, Any] | None:
    """Random values of the signature's shapes, one example each; None if they are no numbers."""
    from sealserve.client.inputs import random_array

    found = {}
    for name, spec in signature.inputs.items():
        if spec.dtype is None or np.dtype(spec.dtype).kind not in "fiu":
            return None
        shape = tuple(size or 1 for size in spec.shape or ())
        found[name] = random_array(shape, np.dtype(spec.dtype))
    return found
