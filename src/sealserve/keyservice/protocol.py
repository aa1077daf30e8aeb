"""The server's end of Gramine's secret provisioning protocol, without I/O.

A session has one request, `REQUEST` with its NUL byte, and at most one answer. A refusal has no
message of its own: the server closes the session, and what it has to say is in its audit log.

Encodings of a secret, a property of the rule that releases it: `raw` is its bytes as they are
(Gramine 1.3 and later, and ours), `hex` its hexadecimal digits and a NUL byte (Gramine until 1.2,
whose client ignores a raw key without a word).

Source: Gramine, `tools/sgx/ra-tls/secret_prov_verify.c`, client_connection(); 1.2's
`secret_prov_attest.c` for the hexadecimal form.
"""

from __future__ import annotations

from typing import Literal

from sealserve.attester.protocol import LENGTH, REQUEST, RESPONSE, SECRET_LIMIT
from sealserve.errors import FormatError

Encoding = Literal["raw", "hex"]


class RequestParser:
    """Collects a request from pieces of any size, and refuses it at the first wrong byte."""

    def __init__(self) -> None:
        self._received = bytearray()

    def feed(self, data: bytes) -> bool:
        """Whether the request is whole; raises FormatError when it is another one or longer."""
        self._received += data
        if not REQUEST.startswith(self._received):
            raise FormatError("the client asks in another protocol than Gramine's", code="request")
        return len(self._received) == len(REQUEST)


def encode_answer(secret: bytes, encoding: Encoding) -> bytes:
    """The whole answer that carries `secret`, of 1 to SECRET_LIMIT bytes once it is encoded."""
    payload = secret if encoding == "raw" else secret.hex().encode("ascii") + b"\0"
    if not 0 < len(payload) <= SECRET_LIMIT:
        raise ValueError(f"a secret of {len(payload)} bytes cannot be sent")
    return RESPONSE + LENGTH.pack(len(payload)) + payload
