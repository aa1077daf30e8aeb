"""The life of models: found, loaded beside the old, switched, drained, unloaded.

1. Every poll lists each model's folder and lets its policy choose the versions to serve.
2. A chosen version that is new is loaded while the others serve. One that cannot be loaded is told
   in its status and the log, tried again as often as asked, and the others go on serving.
3. Once a chosen version is available, versions no longer chosen take no new requests, finish those
   they have, and are let go, with their memory. A model never loses its last version to an empty
   folder.
4. Another configuration replaces the whole one, or nothing of it. A label may be moved to a version
   that is available, and no other.

Version states and their order: TensorFlow Serving, apis/get_model_status.proto and
core/availability_preserving_policy.h; configurations and labels: model_servers/server_core.cc, but
a label of a model that is new is looked at once the model is loaded. All methods belong to the
event loop; loading runs in one thread of its own, one version at a time, so that two large models
are not in memory half-made.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from sealserve.errors import (
    ConfigError,
    InvalidArgument,
    ModelsUnavailable,
    NotFound,
    SealServeError,
)
from sealserve.logline import line
from sealserve.serving.life.models import ModelSettings, discover
from sealserve.serving.life.servable import Loader, Servable
from sealserve.serving.life.versions import (
    AVAILABLE,
    END,
    LOADING,
    START,
    UNLOADING,
    Model,
    VersionRecord,
    available,
    checked,
    require_available,
    require_labels,
    why_missing,
)
from sealserve.serving.threads import ended
from sealserve.serving.watching.events import Observer, Unobserved

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pace:
    """How often to look and to try again; seconds."""

    poll: float = 1.0  # 0: look once, at the start
    retries: int = 5
    retry_interval: float = 60.0


class ModelManager:
    """All models of one server."""

    def __init__(
        self,
        loader: Loader,
        pace: Pace,
        observer: Observer | None = None,
        *,
        early_labels: bool = False,
    ) -> None:
        """With `early_labels` a new label may name a version that is not available yet."""
        self._loader = loader
        self._early_labels = early_labels
        self._observer = observer or Unobserved()
        self._pace = pace
        self._models: dict[str, Model] = {}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="load")
        self._tasks: set[asyncio.Task[None]] = set()
        self._looking: set[asyncio.Future[Any]] = set()  # who asked for it may have gone
        self._one_looks = asyncio.Lock()
        self._changed: Callable[[], None] = lambda: None

    def when_changed(self, tell: Callable[[], None]) -> None:
        """Call `tell` whenever `servable` may give another answer than before."""
        self._changed = tell

    async def start(self, models: Iterable[ModelSettings]) -> None:
        """Load what there is of every model; raises the first reason why one is not available.

        Nothing is tried twice here: whoever started the server decides that.
        """
        self.configure(models)
        for model in self._models.values():
            await self._reconcile(model)
            require_available(model, early_labels=self._early_labels)

    async def reload(self, models: Iterable[ModelSettings]) -> None:
        """Serve these models and no others, from now on; returns once new ones are available.

        Raises what `configure` does, with nothing changed; and, with the configuration in force,
        ModelsUnavailable for new models that are not, FailedPrecondition for their labels. Whoever
        is cancelled here leaves loading to go on.
        """
        known = {name: model.settings for name, model in self._models.items()}
        self.configure(models)
        touched = [m for n, m in self._models.items() if known.get(n) != m.settings]
        looking = asyncio.gather(*(self._look(model) for model in touched))
        self._keep(looking)
        await asyncio.shield(looking)
        new = [model for model in touched if model.settings.name not in known]
        missing = [model for model in new if not available(model)]
        if missing:
            told = ", ".join(why_missing(model) for model in missing)
            raise ModelsUnavailable(f"{len(missing)} model(s) did not become available: {{{told}}}")
        for model in new:
            require_labels(model.settings, model, {}, early=self._early_labels)

    def configure(self, models: Iterable[ModelSettings]) -> None:
        """Serve these models from the next poll on, and no others.

        Raises ConfigError, with nothing changed, for a name given twice or a model that moved, and
        FailedPrecondition for a label of a version that is not available.
        """
        wanted = checked(models, self._models, early=self._early_labels)
        for name in self._models.keys() - wanted.keys():
            self._retire(self._models.pop(name), keep=set())
        for name, settings in wanted.items():
            self._models.setdefault(name, Model(settings)).settings = settings
        self._changed()

    async def watch(self) -> None:
        """Poll until cancelled; no trouble with one model ends it."""
        while self._pace.poll > 0:
            await asyncio.sleep(self._pace.poll)
            for model in list(self._models.values()):
                await self._look(model)

    async def close(self, seconds: float | None = None) -> bool:
        """Unload everything; whether a load that runs ended within `seconds`, None: its own time.

        Requests that still run keep what they use.
        """
        for looking in self._looking:
            looking.cancel()
        for model in self._models.values():
            self._retire(model, keep=set())
        await asyncio.gather(*self._tasks)
        return await ended(self._thread, seconds)

    def servable(
        self, name: str, *, version: int | None = None, label: str | None = None
    ) -> Servable:
        """The version asked for, or the highest available; NotFound in TensorFlow Serving's words.

        Raises InvalidArgument for a label that the model does not have.
        """
        model = self._models.get(name)
        if label is not None:
            version = model.settings.labels.get(label) if model else None
            if version is None:
                raise InvalidArgument(f"Unrecognized servable version label: {label}")
        ready = {} if model is None else available(model)
        if version is None and ready:
            return ready[max(ready)]
        if version is None or version not in ready:
            asked = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise NotFound(f"Servable not found for request: {asked}")
        return ready[version]

    def versions(self, name: str) -> Mapping[int, VersionRecord]:
        """What is known of a model's versions, highest first; empty for an unknown model."""
        model = self._models.get(name)
        return dict(sorted(model.versions.items(), reverse=True)) if model else {}

    def available(self) -> dict[str, list[int]]:
        """The available versions of every model, in order."""
        return {name: sorted(available(model)) for name, model in self._models.items()}

    async def _look(self, model: Model) -> None:
        """Load and retire what there is to, once nobody else does; no trouble is raised."""
        async with self._one_looks:
            try:
                await self._reconcile(model)
            except ConfigError as error:
                model.tell(error.message)
            except Exception:
                log.exception(line("polling_fault", model=model.settings.name))

    def _keep(self, task: asyncio.Future[Any]) -> None:
        self._looking.add(task)
        task.add_done_callback(self._looking.discard)

    async def _reconcile(self, model: Model) -> None:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(None, discover, model.settings.base_path)
        chosen = model.settings.policy.choose(found)
        model.tell("" if chosen else f"no version to serve under {model.settings.base_path}")
        for version in [v for v, r in model.versions.items() if r.error and v not in found]:
            del model.versions[version]  # taken away; should it come back, it is new
        for version in sorted(chosen):
            record = model.versions.setdefault(version, VersionRecord())
            if self._due(record):
                await self._load(model.settings.name, version, found[version], record)
            if self._models.get(model.settings.name) is not model:
                self._retire(model, keep=set())  # it was taken out of the configuration meanwhile
                return
        if chosen & available(model).keys():
            self._retire(model, keep=chosen)

    def _due(self, record: VersionRecord) -> bool:
        if record.state == START:
            return True
        if record.state != END or record.attempts > self._pace.retries:
            return False
        return time.monotonic() >= record.next_attempt

    async def _load(self, name: str, version: int, folder: str, record: VersionRecord) -> None:
        loop = asyncio.get_running_loop()
        record.state, record.error = LOADING, None
        record.attempts += 1
        self._tell(name)
        began = time.monotonic()
        try:
            record.servable = await loop.run_in_executor(
                self._thread, self._loader.load, name, version, folder
            )
        except Exception as error:  # whatever a file holds, the others go on serving
            record.state, record.error = END, error
            record.next_attempt = time.monotonic() + self._pace.retry_interval
            code = error.code if isinstance(error, SealServeError) else "internal"
            if code == "internal":
                log.exception(line("loading_fault", model=name, version=version))
            # Frames hold what was read: a model in plaintext would stay for as long as its error.
            error.__traceback__ = error.__cause__ = error.__context__ = None
            log.error(
                line("version_not_loaded", model=name, version=version, code=code, reason=error)
            )
            self._observer.load_failed(name, folder, code, time.monotonic() - began)
        else:
            record.state, record.attempts = AVAILABLE, 0
            self._observer.loaded(folder, time.monotonic() - began)
        self._tell(name)

    def _tell(self, name: str) -> None:
        """Let the observer know the states of a model's versions; none, once it is gone."""
        self._changed()
        self._observer.states(name, {v: r.state for v, r in self.versions(name).items()})

    def _retire(self, model: Model, *, keep: set[int]) -> None:
        for version, record in model.versions.items():
            if record.state == AVAILABLE and version not in keep:
                record.state = UNLOADING
                task = asyncio.create_task(_unload(model.settings.name, version, record))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                task.add_done_callback(lambda _: self._tell(model.settings.name))
        self._tell(model.settings.name)


async def _unload(name: str, version: int, record: VersionRecord) -> None:
    if record.servable is not None:
        await record.servable.drained()
        record.servable = None
    record.state = END
    log.info(line("version_unloaded", model=name, version=version))
