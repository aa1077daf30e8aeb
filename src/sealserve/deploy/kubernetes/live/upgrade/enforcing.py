"""The policy in force of the key service inside the cluster: read and changed in its own pod.

By the commands that its image has, with the database that it has. The text goes in as standard
input, never as an argument.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from sealserve.deploy.images.roles import CONFIG_FOLDER
from sealserve.deploy.kubernetes.keyservice import CONFIG
from sealserve.deploy.kubernetes.live.pods import Container
from sealserve.deploy.kubernetes.live.reaching import is_ready
from sealserve.deploy.kubernetes.live.rollout import STEP
from sealserve.deploy.kubernetes.live.service import Service
from sealserve.errors import ConfigError, NetworkError
from sealserve.policies.checking import check_policy
from sealserve.policies.finding import errors

READY_SECONDS: Final = 120.0
_CONTAINER: Final = "keyservice"
_CONFIG: Final = f"--config={CONFIG_FOLDER}/{CONFIG}"
_APPLY: Final = (
    "umask 077; file=$(mktemp) && cat > $file && "
    f"sealserve policy apply $file --yes --json {_CONFIG}; code=$?; rm -f $file; exit $code"
)


class PolicyInForce(Protocol):
    """Where the policy is."""

    def read(self) -> str:
        """The text in force."""
        ...

    def apply(self, text: str, before: str) -> None:
        """Put a text in force in the place of the one that was; ConfigError if that is another."""
        ...


class InsidePolicy:
    """That of the key service in the service's namespace."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def read(self) -> str:
        """Raises NetworkError where no pod of it is ready, ConfigError for what it refuses."""
        return str(self._told("sealserve", "policy", "show", "--json", _CONFIG)["policy"])

    def apply(self, text: str, before: str) -> None:
        """Raises as `read`, and ConfigError if another than `before` is in force by now."""
        check_same(self.read(), before)
        self._told("sh", "-c", _APPLY, given=text.encode())

    def _told(self, *command: str, given: bytes = b"") -> Any:
        ran = self._container().run(*command, given=given)
        try:
            told = json.loads(ran.output)
        except ValueError:
            said = " ".join(ran.errors.split())[-300:] or f"exit code {ran.code}"
            told = {"error": {"message": said}}
        if ran.code == 0 and "error" not in told:
            return told
        said = told.get("error", {}).get("message", f"exit code {ran.code}")
        family = NetworkError if ran.code == NetworkError.exit_code else ConfigError
        raise family(f"the key service's pod: {said}", code="kubernetes-policy")

    def _container(self) -> Container:
        """That of a pod that is ready, or soon is: one copy that is changed is not for a moment."""
        deadline = time.monotonic() + READY_SECONDS
        while True:
            ready = [pod for pod in self._service.pods("keyservice") if is_ready(pod)]
            if ready:
                return self._service.container(ready[-1], _CONTAINER)
            if time.monotonic() > deadline:
                raise NetworkError(
                    f"no pod of the key service is ready in {READY_SECONDS:.0f} s",
                    hint="sealserve k8s diagnose says why",
                )
            time.sleep(STEP)


def put_in_force(place: PolicyInForce, text: str, before: str) -> None:
    """Put a text without errors in the place of `before`, and see that it is; else ConfigError."""
    wrong = errors(check_policy(text, datetime.now(UTC)).findings)
    if wrong:
        raise ConfigError(f"the policy would have errors: {wrong[0]}")
    place.apply(text, before)
    check_same(place.read(), text)


def check_same(found: str | None, expected: str) -> None:
    """Raise ConfigError if somebody else has put another policy in force."""
    if found != expected:
        raise ConfigError(
            "somebody else has changed the policy in this moment",
            code="policy-changed",
            hint="run it again",
        )
