"""The life of models, with the real engine: found, switched, broken, mended, taken away."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sealserve.errors import (
    ConfigError,
    FailedPrecondition,
    FormatError,
    InvalidArgument,
    ModelsUnavailable,
    NotFound,
)
from sealserve.serving.faces.answers import status_response
from sealserve.serving.life.lifecycle import ModelManager, Pace
from sealserve.serving.life.models import All, Latest, ModelSettings, Specific
from sealserve.serving.life.servable import Loader, Servable
from sealserve.serving.life.versions import AVAILABLE, END

Publish = Callable[..., Path]
PACE = Pace(poll=0.01, retries=1000, retry_interval=0)


def factor(servable: Servable) -> float:
    outputs = servable.executable("").run({"x": np.ones((1, 2), np.float32)})
    return float(outputs["y"][0, 0])


def live(
    loader: Loader,
    models: list[ModelSettings],
    story: Callable[[ModelManager], Coroutine[Any, Any, None]],
    *,
    pace: Pace = PACE,
    early_labels: bool = False,
) -> None:
    """Run a story beside a manager that polls."""

    async def scene() -> None:
        manager = ModelManager(loader, pace, early_labels=early_labels)
        try:
            await manager.start(models)
            watching = asyncio.create_task(manager.watch())
            await asyncio.wait_for(story(manager), 30)
            watching.cancel()
        finally:
            await manager.close()

    asyncio.run(scene())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


def states(manager: ModelManager, name: str = "scale") -> dict[int, int]:
    return {version: record.state for version, record in manager.versions(name).items()}


def test_the_highest_version_is_served(loader: Loader, publish: Publish) -> None:
    publish(1)
    base = publish(12)

    async def story(manager: ModelManager) -> None:
        assert factor(manager.servable("scale")) == 12
        assert states(manager) == {12: AVAILABLE}

    live(loader, [ModelSettings("scale", str(base))], story)


def test_a_new_version_takes_over_and_the_old_one_ends(loader: Loader, publish: Publish) -> None:
    base = publish(1)

    async def story(manager: ModelManager) -> None:
        publish(2)
        await until(lambda: states(manager) == {2: AVAILABLE, 1: END})
        assert factor(manager.servable("scale")) == 2
        with pytest.raises(NotFound, match=r"request: Specific\(scale, 1\)"):
            manager.servable("scale", version=1)

    live(loader, [ModelSettings("scale", str(base))], story)


def test_a_version_in_use_is_kept_until_it_is_not(loader: Loader, publish: Publish) -> None:
    base = publish(1)

    async def story(manager: ModelManager) -> None:
        old = manager.servable("scale")
        with old.used():
            publish(2)
            await until(lambda: manager.servable("scale").version == 2)
            assert states(manager)[1] != END
            assert factor(old) == 1
        await until(lambda: states(manager)[1] == END)

    live(loader, [ModelSettings("scale", str(base))], story)


def test_a_broken_version_leaves_the_old_one_serving_and_says_why(
    loader: Loader, publish: Publish
) -> None:
    base = publish(1)

    async def story(manager: ModelManager) -> None:
        (base / "2").mkdir()
        (base / "2" / "saved_model.pb").write_bytes(b"\xff\xff no model")
        await until(lambda: states(manager).get(2) == END)
        assert factor(manager.servable("scale")) == 1
        status = status_response(manager.versions("scale")).model_version_status[0]
        assert status.version == 2
        assert status.status.error_message.startswith("saved-model: the version was not loaded")

    live(loader, [ModelSettings("scale", str(base))], story, pace=Pace(0.01, 0, 0))


def test_a_version_that_is_mended_is_tried_again(loader: Loader, publish: Publish) -> None:
    base = publish(1)

    async def story(manager: ModelManager) -> None:
        (base / "2").mkdir()
        await until(lambda: manager.versions("scale").get(2) is not None)
        await until(lambda: manager.versions("scale")[2].attempts > 2)
        good = (publish(5, model="elsewhere") / "5" / "saved_model.pb").read_bytes()
        (base / "2" / "saved_model.pb").write_bytes(good)
        await until(lambda: manager.servable("scale").version == 2)
        assert factor(manager.servable("scale")) == 5

    live(loader, [ModelSettings("scale", str(base))], story)


def test_tries_are_counted(loader: Loader, publish: Publish) -> None:
    base = publish(1)

    async def story(manager: ModelManager) -> None:
        (base / "2").mkdir()
        await until(lambda: getattr(manager.versions("scale").get(2), "attempts", 0) == 3)
        await asyncio.sleep(0.1)
        assert manager.versions("scale")[2].attempts == 3

    live(loader, [ModelSettings("scale", str(base))], story, pace=Pace(0.01, 2, 0))


def test_a_version_that_is_taken_away_gives_way_to_the_one_before(
    loader: Loader, publish: Publish
) -> None:
    publish(1)
    base = publish(2)

    async def story(manager: ModelManager) -> None:
        (base / "2").rename(base / "withdrawn")
        await until(lambda: manager.servable("scale").version == 1)
        (base / "withdrawn").rename(base / "2")
        await until(lambda: manager.servable("scale").version == 2)

    live(loader, [ModelSettings("scale", str(base))], story)


def test_an_emptied_folder_does_not_take_the_last_version(
    loader: Loader, publish: Publish, caplog: pytest.LogCaptureFixture
) -> None:
    base = publish(1)

    async def story(manager: ModelManager) -> None:
        base.rename(base.with_name("moved"))
        await until(lambda: "cannot read the model's base path" in caplog.text)
        base.mkdir()
        await until(lambda: "no version to serve under" in caplog.text)
        await asyncio.sleep(0.1)
        assert factor(manager.servable("scale")) == 1
        assert caplog.text.count("no version to serve under") == 1

    live(loader, [ModelSettings("scale", str(base))], story)


def test_policies_serve_several_versions_and_labels_name_them(
    loader: Loader, publish: Publish
) -> None:
    for version in (1, 2, 3):
        base = str(publish(version))
    models = [
        ModelSettings("all", base, All(), {"stable": 2}),
        ModelSettings("two", base, Latest(2)),
        ModelSettings("one", base, Specific(frozenset({1, 9}))),
    ]

    async def story(manager: ModelManager) -> None:
        assert manager.available() == {"all": [1, 2, 3], "two": [2, 3], "one": [1]}
        assert factor(manager.servable("all", version=1)) == 1
        assert factor(manager.servable("all", label="stable")) == 2
        with pytest.raises(InvalidArgument, match="Unrecognized servable version label: canary"):
            manager.servable("all", label="canary")

    live(loader, models, story)


def test_unknown_models_are_not_found_in_the_stock_servers_words(
    loader: Loader, publish: Publish
) -> None:
    base = publish(1)

    async def story(manager: ModelManager) -> None:
        with pytest.raises(NotFound) as caught:
            manager.servable("other")
        assert caught.value.message == "Servable not found for request: Latest(other)"

    live(loader, [ModelSettings("scale", str(base))], story)


def test_the_configuration_can_change_while_it_serves(loader: Loader, publish: Publish) -> None:
    first, second = publish(1, model="a"), publish(2, model="b")

    async def story(manager: ModelManager) -> None:
        manager.configure([ModelSettings("b", str(second))])
        await until(lambda: manager.available() == {"b": [2]})
        with pytest.raises(ConfigError, match="moved"):
            manager.configure([ModelSettings("b", str(first))])
        with pytest.raises(ConfigError, match="twice"):
            manager.configure([ModelSettings("b", str(second))] * 2)
        assert manager.available() == {"b": [2]}

    live(loader, [ModelSettings("a", str(first))], story)


def test_a_start_without_a_version_fails_and_says_where(loader: Loader, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no version to serve under"):
        live(loader, [ModelSettings("scale", str(tmp_path))], pytest.fail)


def test_a_start_with_a_broken_version_fails_with_its_reason(
    loader: Loader, publish: Publish
) -> None:
    base = publish(1)
    (base / "1" / "saved_model.pb").write_bytes(b"\xff\xff no model")
    with pytest.raises(FormatError, match="no SavedModel"):
        live(loader, [ModelSettings("scale", str(base))], pytest.fail)


def test_a_label_for_a_version_that_is_not_served_fails_the_start(
    loader: Loader, publish: Publish
) -> None:
    base = publish(1)
    settings = ModelSettings("scale", str(base), labels={"stable": 2})
    with pytest.raises(ConfigError, match="Request to assign label to version 2 of model scale"):
        live(loader, [settings], pytest.fail)


def labelled(base: Path, **labels: int) -> list[ModelSettings]:
    return [ModelSettings("scale", str(base), Latest(2), labels)]


def test_a_label_moves_to_an_available_version_and_to_no_other(
    loader: Loader, publish: Publish
) -> None:
    publish(1)
    base = publish(2)

    async def story(manager: ModelManager) -> None:
        assert manager.servable("scale", label="stable").version == 1
        await manager.reload(labelled(base, stable=2))
        assert manager.servable("scale", label="stable").version == 2
        with pytest.raises(FailedPrecondition, match="assign label to version 3 of model scale"):
            await manager.reload(labelled(base, stable=3, canary=1))
        assert manager.servable("scale", label="stable").version == 2
        with pytest.raises(InvalidArgument, match="Unrecognized servable version label: canary"):
            manager.servable("scale", label="canary")
        await manager.reload(labelled(base))
        with pytest.raises(InvalidArgument, match="Unrecognized servable version label: stable"):
            manager.servable("scale", label="stable")

    live(loader, labelled(base, stable=1), story)


def test_where_it_is_allowed_a_new_label_may_come_before_its_version(
    loader: Loader, publish: Publish
) -> None:
    base = publish(1)

    async def story(manager: ModelManager) -> None:
        await manager.reload(labelled(base, stable=1, canary=2))
        with pytest.raises(NotFound, match=r"request: Specific\(scale, 2\)"):
            manager.servable("scale", label="canary")
        with pytest.raises(FailedPrecondition, match="assign label to version 2"):
            await manager.reload(labelled(base, stable=2))  # who asks for it would be cut off
        publish(2)
        await until(lambda: manager.available() == {"scale": [1, 2]})
        assert manager.servable("scale", label="canary").version == 2

    live(loader, labelled(base, stable=1), story, early_labels=True)


def test_a_reload_replaces_all_models_and_waits_for_the_new_ones(
    loader: Loader, publish: Publish
) -> None:
    first, second = publish(1, model="a"), publish(2, model="b")

    async def story(manager: ModelManager) -> None:
        await manager.reload([ModelSettings("b", str(second), labels={"stable": 2})])
        assert manager.available() == {"b": [2]}
        assert manager.servable("b", label="stable").version == 2
        await manager.reload([])
        assert manager.available() == {}

    live(loader, [ModelSettings("a", str(first))], story, pace=Pace(poll=0))


def test_a_reload_takes_a_policy_into_account_at_once(loader: Loader, publish: Publish) -> None:
    publish(1)
    base = str(publish(2))

    async def story(manager: ModelManager) -> None:
        await manager.reload([ModelSettings("scale", base, All())])
        assert manager.available() == {"scale": [1, 2]}

    live(loader, [ModelSettings("scale", base)], story, pace=Pace(poll=0))


def test_a_reload_tells_which_new_models_did_not_become_available_and_why(
    loader: Loader, publish: Publish, tmp_path: Path
) -> None:
    first, broken = publish(1, model="a"), publish(2, model="b")
    (broken / "2" / "saved_model.pb").write_bytes(b"\xff\xff no model")
    wanted = [
        ModelSettings("a", str(first)),
        ModelSettings("b", str(broken)),
        ModelSettings("c", str(tmp_path / "nothing")),
    ]

    async def story(manager: ModelManager) -> None:
        with pytest.raises(ModelsUnavailable) as caught:
            await manager.reload(wanted)
        assert caught.value.message.startswith("2 model(s) did not become available: {{b version 2")
        assert "saved-model: the version was not loaded" in caught.value.message
        assert "{c: no version to serve}" in caught.value.message
        assert str(tmp_path) not in caught.value.message
        assert manager.available() == {"a": [1], "b": [], "c": []}

    live(loader, [ModelSettings("a", str(first))], story, pace=Pace(poll=0))


class Slow:
    """A loader that waits for its gate."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader
        self.gate = threading.Event()
        self.began = threading.Event()

    def load(self, name: str, version: int, folder: str) -> Servable:
        self.began.set()
        assert self.gate.wait(30)
        return self._loader.load(name, version, folder)


def test_who_is_cancelled_leaves_the_loading_to_go_on(loader: Loader, publish: Publish) -> None:
    base = publish(1)
    slow: Any = Slow(loader)

    async def story(manager: ModelManager) -> None:
        asking = asyncio.create_task(manager.reload([ModelSettings("scale", str(base))]))
        await until(slow.began.is_set)
        asking.cancel()
        await asyncio.wait([asking])
        slow.gate.set()
        await until(lambda: manager.available() == {"scale": [1]})

    live(slow, [], story, pace=Pace(poll=0))


def test_a_model_that_is_taken_out_while_it_is_loaded_does_not_stay_in_memory(
    loader: Loader, publish: Publish
) -> None:
    base = publish(1)
    slow: Any = Slow(loader)
    gone: list[Any] = []

    async def story(manager: ModelManager) -> None:
        asking = asyncio.create_task(manager.reload([ModelSettings("scale", str(base))]))
        await until(slow.began.is_set)
        gone.append(manager.versions("scale")[1])
        await manager.reload([])
        slow.gate.set()
        await asyncio.gather(asking, return_exceptions=True)
        await until(lambda: gone[0].state == END)
        assert gone[0].servable is None

    live(slow, [], story, pace=Pace(poll=0))


def test_what_a_failed_load_has_read_does_not_stay_with_its_error(
    loader: Loader, publish: Publish
) -> None:
    base = publish(1)

    async def story(manager: ModelManager) -> None:
        (base / "2").mkdir()
        (base / "2" / "saved_model.pb").write_bytes(b"\xff\xff no model")
        await until(lambda: states(manager).get(2) == END)
        error = manager.versions("scale")[2].error
        assert error is not None
        assert (error.__traceback__, error.__cause__, error.__context__) == (None, None, None)

    live(loader, [ModelSettings("scale", str(base))], story, pace=Pace(0.01, 0, 0))
