"""How the configuration file names the key-encryption key: the table `[wrapping]`.

The table names files and labels. No value in it is a secret.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sealserve.keyservice.fields import FilePath, Table

TokenLabel = Annotated[str, Field(min_length=1, max_length=32)]  # CK_TOKEN_INFO: 32 bytes
KeyLabel = Annotated[str, Field(min_length=1, max_length=128)]


class FileWrapping(Table):
    """The key-encryption key is a private file of 32 bytes."""

    kind: Literal["file"]
    key: FilePath


class PassphraseWrapping(Table):
    """It is derived from a passphrase: of a private file, or asked for at the terminal."""

    kind: Literal["passphrase"]
    passphrase: FilePath | None = None


class Pkcs11Wrapping(Table):
    """It is an AES-256 key that does not leave its token."""

    kind: Literal["pkcs11"]
    module: FilePath
    token: TokenLabel
    key: KeyLabel
    pin: FilePath


Wrapping = Annotated[
    FileWrapping | PassphraseWrapping | Pkcs11Wrapping, Field(discriminator="kind")
]
