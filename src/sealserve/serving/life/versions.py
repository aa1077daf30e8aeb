"""What is known of the models of a server, and of their versions.

States and their order: TensorFlow Serving, apis/get_model_status.proto. Labels: model_servers/
server_core.cc. Belongs to the event loop; `lifecycle` changes it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sealserve.errors import ConfigError, FailedPrecondition
from sealserve.logline import line
from sealserve.messages.status_pb2 import ModelVersionStatus
from sealserve.serving.life.models import ModelSettings
from sealserve.serving.life.reasons import status_of
from sealserve.serving.life.servable import Servable

log = logging.getLogger(__name__)

START, LOADING, AVAILABLE, UNLOADING, END = (
    ModelVersionStatus.START,
    ModelVersionStatus.LOADING,
    ModelVersionStatus.AVAILABLE,
    ModelVersionStatus.UNLOADING,
    ModelVersionStatus.END,
)


@dataclass
class VersionRecord:
    """What is known of one version. `error` is why it ended without having been available."""

    state: ModelVersionStatus.State = START
    error: Exception | None = None
    servable: Servable | None = None
    attempts: int = 0
    next_attempt: float = 0.0  # monotonic seconds


@dataclass
class Model:
    """One configured model."""

    settings: ModelSettings
    versions: dict[int, VersionRecord] = field(default_factory=dict)
    told: str = ""  # the last trouble with its folder, so that it is logged once and not per poll

    def tell(self, trouble: str) -> None:
        """Log what is wrong with the model's folder, if that is news; nothing wrong is empty."""
        if trouble and trouble != self.told:
            log.warning(line("no_versions", model=self.settings.name, reason=trouble))
        self.told = trouble


def available(model: Model) -> dict[int, Servable]:
    """The versions that take requests."""
    return {
        version: record.servable
        for version, record in model.versions.items()
        if record.state == AVAILABLE and record.servable is not None
    }


def require_labels(
    settings: ModelSettings, model: Model, assigned: Mapping[str, int], *, early: bool
) -> None:
    """FailedPrecondition for a label in `settings` that may not be given, where these are.

    A version must be available; with `early` a label that is new may come before its version, but
    not one that clients use already.
    """
    for label, version in settings.labels.items():
        is_early = early and assigned.get(label, version) == version
        if version not in available(model) and not is_early:
            raise FailedPrecondition(
                f"Request to assign label to version {version} of model {settings.name}, "
                "which is not currently available for inference",
                hint=f"label {label!r} names it",
            )


def require_available(model: Model, *, early_labels: bool) -> None:
    """Raise the first reason why this model cannot be served as it is configured.

    It is what kept a version from being loaded, or ConfigError: no version, or a label without one.
    """
    for record in model.versions.values():
        if record.error is not None:
            raise record.error
    if not available(model):
        raise ConfigError(
            f"model {model.settings.name!r}: no version to serve under {model.settings.base_path}",
            hint="a version is a folder with a number for a name: BASE_PATH/1/saved_model.pb",
        )
    try:
        require_labels(model.settings, model, {}, early=early_labels)
    except FailedPrecondition as error:
        raise ConfigError(error.message, hint=error.hint) from None


def checked(
    models: Iterable[ModelSettings], known: Mapping[str, Model], *, early: bool
) -> dict[str, ModelSettings]:
    """A configuration by name, if it may take the place of the `known` models'.

    Raises ConfigError for a name given twice or a model that moved, and what `require_labels` does.
    """
    wanted: dict[str, ModelSettings] = {}
    for settings in models:
        before = known.get(settings.name)
        if settings.name in wanted:
            raise ConfigError(f"model {settings.name!r} is configured twice")
        if before is not None and before.settings.base_path != settings.base_path:
            raise ConfigError(
                f"model {settings.name!r} moved to {settings.base_path}",
                hint="give it another name, or restart the server",
            )
        if before is not None:
            require_labels(settings, before, before.settings.labels, early=early)
        wanted[settings.name] = settings
    return wanted


def why_missing(model: Model) -> str:
    """A model that is not available, and why, for peers."""
    name = model.settings.name
    for version, record in model.versions.items():
        if record.error is not None:
            text = status_of(record.error).error_message
            return f"{{{name} version {version} due to error: {text}}}"
    return f"{{{name}: no version to serve}}"
