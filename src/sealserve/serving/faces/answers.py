"""Status and metadata as TensorFlow Serving's messages, for both faces.

Sources: TensorFlow Serving 2.21, apis/{get_model_status,get_model_metadata}.proto. Why a version is
not available is told by its stable code; the log has the rest, for it may name files.
"""

from __future__ import annotations

from collections.abc import Mapping

from sealserve.messages import SIGNATURE_DEF_MAP_TYPE_URL
from sealserve.messages.metadata_pb2 import GetModelMetadataResponse, SignatureDefMap
from sealserve.messages.status_pb2 import GetModelStatusResponse
from sealserve.serving.life.reasons import status_of
from sealserve.serving.life.versions import VersionRecord

SIGNATURE_DEF = "signature_def"  # the one metadata field that there is


def status_response(versions: Mapping[int, VersionRecord]) -> GetModelStatusResponse:
    """The state of each version and, where it is not available, why."""
    response = GetModelStatusResponse()
    for version, record in versions.items():
        response.model_version_status.add(
            version=version, state=record.state, status=status_of(record.error)
        )
    return response


def metadata_response(
    name: str, version: int, definitions: SignatureDefMap
) -> GetModelMetadataResponse:
    """The signatures of one version."""
    response = GetModelMetadataResponse()
    response.model_spec.name = name
    response.model_spec.version.value = version
    # Not `Pack`: that would write the type's name in our package.
    packed = response.metadata[SIGNATURE_DEF]
    packed.type_url = SIGNATURE_DEF_MAP_TYPE_URL
    packed.value = definitions.SerializeToString()
    return response
