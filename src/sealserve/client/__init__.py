"""The data owner's library: predict over TLS, with numpy in and out.

    from sealserve.client import Client

    with Client("models.example.com:8500", ca="ca_cert.pem") as client:
        outputs = client.predict("digits", {"input": images})

`AsyncClient` is the same for asyncio. The library lives beside an installed TensorFlow in one
process (its messages have a package of their own), imports no inference engine, and needs the
`client` extra. `load` measures a service, `inputs` makes arrays of files.
"""

from sealserve.client.aio import AsyncClient
from sealserve.client.answers import Class, Signature, TensorSpec, VersionStatus
from sealserve.client.client import Client
from sealserve.client.questions import predict_request

__all__ = [
    "AsyncClient",
    "Class",
    "Client",
    "Signature",
    "TensorSpec",
    "VersionStatus",
    "predict_request",
]
