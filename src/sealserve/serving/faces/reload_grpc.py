"""HandleReloadConfigRequest: another model configuration, over the wire.

The stock server does it for whoever can connect. Here the configuration is a sealed file, which
nobody but the owner of its key can make; a request is signed by nobody, and could take every model
away. So it is refused, unless whoever started the server said that clients may. Even then only
files that open under the server's keys are served.

Semantics: TensorFlow Serving 2.21, model_servers/model_service_impl.cc and server_core.cc: the list
replaces the whole one; the answer comes once new models are available. Of metrics nothing is told.
"""

from __future__ import annotations

import logging

from sealserve.errors import ConfigError, InvalidArgument, PermissionDenied
from sealserve.logline import line
from sealserve.messages.services import HANDLE_RELOAD_CONFIG_REQUEST
from sealserve.messages.status_pb2 import Code, ReloadConfigRequest, ReloadConfigResponse
from sealserve.serving.calls import Call
from sealserve.serving.faces.grpc import Methods
from sealserve.serving.life.lifecycle import ModelManager
from sealserve.serving.textconfig import models_in

log = logging.getLogger(__name__)


class ReloadConfig:
    """ModelService's one method that changes something."""

    def __init__(self, models: ModelManager, *, allowed: bool) -> None:
        self._models = models
        self._allowed = allowed

    def methods(self) -> Methods:
        """What this face serves."""
        return {HANDLE_RELOAD_CONFIG_REQUEST: self._reload}

    async def _reload(self, data: bytes, _call: Call) -> bytes:
        if not self._allowed:
            raise PermissionDenied("this server takes its model configuration from its files alone")
        config = ReloadConfigRequest.FromString(data).config
        if config.WhichOneof("config") != "model_config_list":
            raise InvalidArgument(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. "
                "Only ModelConfigList is currently supported"
            )
        try:
            wanted = models_in(config.model_config_list, "model_config_list")
            log.warning(line("configuration_by_client", models=len(wanted)))
            await self._models.reload(wanted)
        except ConfigError as error:
            raise InvalidArgument(error.message) from error
        response = ReloadConfigResponse()
        response.status.error_code = Code.OK
        return response.SerializeToString()
