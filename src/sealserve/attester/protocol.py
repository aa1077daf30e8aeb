"""The client's end of Gramine's secret provisioning protocol, without I/O.

After the TLS handshake the client sends `REQUEST`; the server answers `RESPONSE`, the secret's
length as a 32-bit big-endian number, and the secret. There is no message for a refusal: the server
closes the session. Both texts are followed by a NUL byte, which is part of the message.

Source: Gramine, `tools/sgx/ra-tls/secret_prov_common.h` and `secret_prov_attest.c`, 1.0 to 1.9.
"""

from __future__ import annotations

import struct

from sealserve.errors import FormatError

REQUEST = b"SECRET_PROVISION_RA_TLS_REQUEST_V1\0"
RESPONSE = b"SECRET_PROVISION_RA_TLS_RESPONSE_V1:\0"
LENGTH = struct.Struct(">I")
SECRET_LIMIT = 64 << 10  # bytes; our bound, Gramine's own is 2 GiB

_HEAD = len(RESPONSE) + LENGTH.size


class ResponseParser:
    """Collects an answer from pieces of any size, and refuses it at the first wrong byte."""

    def __init__(self) -> None:
        self._received = bytearray()

    @property
    def started(self) -> bool:
        """Whether any byte of an answer has come."""
        return bool(self._received)

    def feed(self, data: bytes) -> bytes | None:
        """The secret once it is whole, None before; raises FormatError for any other answer."""
        self._received += data
        if not RESPONSE.startswith(self._received[: len(RESPONSE)]):
            raise FormatError(
                f"the answer does not begin with Gramine's {RESPONSE!r}",
                hint="is this address a key service?",
            )
        if len(self._received) < _HEAD:
            return None
        (length,) = LENGTH.unpack_from(self._received, len(RESPONSE))
        if not 0 < length <= SECRET_LIMIT:
            raise FormatError(
                f"the answer announces a secret of {length} bytes; 1 to {SECRET_LIMIT} are allowed"
            )
        if len(self._received) > _HEAD + length:
            raise FormatError(f"bytes follow the announced {length} bytes of the secret")
        return bytes(self._received[_HEAD:]) if len(self._received) == _HEAD + length else None
