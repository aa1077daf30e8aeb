"""The folder `ssl_configure/` of the published guide, section 7.2, in its two ways.

With the guide's file names, so that its other steps work unchanged:

    one-way   server/cert.pem  self-signed; the client trusts exactly this certificate
              server/key.pem, ssl.cfg
    two-way   ca_cert.pem, ca_key.pem, server/{cert,key}.pem, client/{cert,key}.pem, ssl.cfg

`ssl.cfg` is the text form of TensorFlow Serving's SSLConfig (config/ssl_config.proto) and holds the
server's private key: it is what gets sealed for the enclave. What holds a private key has mode
0600. A folder is written whole or not at all, and never over another.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sealserve.deploy.certificates import (
    KeyType,
    Pair,
    Validity,
    make_authority,
    make_client,
    make_server,
)
from sealserve.deploy.writing import write_folder


def write_oneway(
    folder: Path, names: Sequence[str], validity: Validity, *, key_type: KeyType = "p256"
) -> tuple[Path, ...]:
    """The folder of the one-way mode; returns its files. UsageError if the folder exists."""
    server = make_server(names, validity, issuer=None, key_type=key_type)
    return write_folder(
        folder,
        {
            "server/cert.pem": server.certificate_pem,
            "server/key.pem": server.key_pem,
            "ssl.cfg": render_ssl_config(server, client_ca=None),
        },
    )


def write_twoway(
    folder: Path,
    names: Sequence[str],
    client_name: str,
    validity: Validity,
    *,
    key_type: KeyType = "p256",
) -> tuple[Path, ...]:
    """The folder of the two-way mode; returns its files. UsageError if the folder exists."""
    authority = make_authority(validity, key_type=key_type)
    server = make_server(names, validity, issuer=authority, key_type=key_type)
    client = make_client(client_name, validity, issuer=authority, key_type=key_type)
    return write_folder(
        folder,
        {
            "ca_cert.pem": authority.certificate_pem,
            "ca_key.pem": authority.key_pem,
            "server/cert.pem": server.certificate_pem,
            "server/key.pem": server.key_pem,
            "client/cert.pem": client.certificate_pem,
            "client/key.pem": client.key_pem,
            "ssl.cfg": render_ssl_config(server, client_ca=authority.certificate_pem),
        },
    )


def render_ssl_config(server: Pair, *, client_ca: bytes | None) -> bytes:
    """SSLConfig in protobuf text format; `client_ca` (PEM) makes a client certificate a must."""
    lines = (
        f"server_key: {_quoted(server.key_pem)}",
        f"server_cert: {_quoted(server.certificate_pem)}",
        f"custom_ca: {_quoted(client_ca or b'')}",
        f"client_verify: {'true' if client_ca else 'false'}",
    )
    return "\n".join(lines).encode() + b"\n"


def _quoted(pem: bytes) -> str:
    """PEM as one string of the text format: it has no character to escape but its newlines."""
    return '"' + pem.decode("ascii").replace("\n", "\\n") + '"'
