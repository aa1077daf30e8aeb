"""HandleReloadConfigRequest: refused, unless whoever started the server allowed it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from sealserve.errors import ConfigError, UsageError
from sealserve.messages.services import HANDLE_RELOAD_CONFIG_REQUEST as RELOAD
from sealserve.messages.status_pb2 import Code, ReloadConfigRequest, ReloadConfigResponse


def reload(channel: grpc.Channel, request: ReloadConfigRequest) -> ReloadConfigResponse:
    method = channel.unary_unary(
        RELOAD.path, RELOAD.request.SerializeToString, RELOAD.response.FromString
    )
    answer: ReloadConfigResponse = method(request, timeout=30)
    return answer


def refused(channel: grpc.Channel, request: ReloadConfigRequest) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        reload(channel, request)
    return caught.value.code().name, caught.value.details()


def models(*entries: tuple[str, Path], platform: str = "tensorflow") -> ReloadConfigRequest:
    request = ReloadConfigRequest()
    request.config.model_config_list.SetInParent()
    for name, base in entries:
        request.config.model_config_list.config.add(
            name=name, base_path=str(base), model_platform=platform
        )
    return request


@pytest.fixture(scope="module")
def site(start: Any, publish: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    folder = tmp_path_factory.mktemp("models")
    for version, name in enumerate(("scale", "b"), 1):
        publish(folder / name, version)
    return start(folder / "scale", dangerously_allow_reload_config=True), folder


def test_by_default_nobody_may(server: Any, tmp_path: Path) -> None:
    with server.channel() as channel:
        code, text = refused(channel, models(("b", tmp_path)))
    assert (code, text) == (
        "PERMISSION_DENIED",
        "this server takes its model configuration from its files alone",
    )


def test_the_new_list_replaces_the_old_one_and_new_models_answer_at_once(
    site: tuple[Any, Path],
) -> None:
    running, folder = site
    x = {"x": np.ones((1, 2), "f4")}
    with running.channel() as channel, running.client(running.world.client) as client:
        answer = reload(channel, models(("scale", folder / "scale"), ("b", folder / "b")))
        assert answer.status.error_code == Code.OK
        assert client.predict("b", x)["y"].tolist() == [[2, 2]]
        reload(channel, models(("scale", folder / "scale")))
        with pytest.raises(Exception, match="Servable not found"):
            client.predict("b", x)
        assert client.predict("scale", x)["y"].tolist() == [[1, 1]]


CUSTOM = ReloadConfigRequest()
CUSTOM.config.custom_model_config.type_url = "x"
WRONG: dict[str, tuple[ReloadConfigRequest, str]] = {
    "nothing": (ReloadConfigRequest(), "Only ModelConfigList is currently supported"),
    "custom": (CUSTOM, "Only ModelConfigList is currently supported"),
    "no-name": (models(("", Path("x"))), "every model needs name and base_path"),
    "platform": (models(("a", Path("x")), platform="tflite"), "expected 'tensorflow'"),
    "twice": (models(("a", Path("x")), ("a", Path("x"))), "configured twice"),
    "moved": (models(("scale", Path("elsewhere"))), "moved to elsewhere"),
}


@pytest.mark.parametrize(("request_", "text"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_configuration_changes_nothing(
    site: tuple[Any, Path], request_: ReloadConfigRequest, text: str
) -> None:
    running, _ = site
    with running.channel() as channel, running.client(running.world.client) as client:
        code, details = refused(channel, request_)
        assert code == "INVALID_ARGUMENT"
        assert text in details
        assert client.predict("scale", {"x": np.ones((1, 2), "f4")})["y"].tolist() == [[1, 1]]


def test_a_label_of_an_unavailable_version_is_a_failed_precondition(
    site: tuple[Any, Path],
) -> None:
    running, folder = site
    request = models(("scale", folder / "scale"))
    request.config.model_config_list.config[0].version_labels["stable"] = 7
    with running.channel() as channel:
        code, text = refused(channel, request)
    assert code == "FAILED_PRECONDITION"
    assert text == (
        "Request to assign label to version 7 of model scale, which is not currently available "
        "for inference"
    )


def test_new_models_that_do_not_become_available_are_told(
    site: tuple[Any, Path], tmp_path: Path
) -> None:
    running, folder = site
    with running.channel() as channel:
        code, text = refused(channel, models(("scale", folder / "scale"), ("c", tmp_path)))
        assert code == "UNKNOWN"
        assert text == "1 model(s) did not become available: {{c: no version to serve}}"
        reload(channel, models(("scale", folder / "scale")))


def test_it_takes_clients_with_certificates(start: Any, publish: Any, tmp_path: Path) -> None:
    publish(tmp_path / "scale", 1)
    with pytest.raises(ConfigError, match="has no client_verify"):
        start(tmp_path / "scale", mutual=False, dangerously_allow_reload_config=True)


def test_it_takes_one_process(start: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs --processes=1"):
        start(tmp_path / "scale", dangerously_allow_reload_config=True, processes=2)
