"""The table [wrapping]: one kind, exactly its keys, and names of files, never values."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from sealserve.keyservice.wrapping import (
    FileWrapping,
    PassphraseWrapping,
    Pkcs11Wrapping,
    Wrapping,
)

TABLE = TypeAdapter(Wrapping)
TOKEN = {"kind": "pkcs11", "module": "/lib/p11.so", "token": "models", "key": "kek", "pin": "pin"}


def test_each_kind_is_told_by_its_name_and_files_are_beside_the_configuration(tmp_path):
    def read(table):
        return TABLE.validate_python(table, context=tmp_path)

    assert read({"kind": "file", "key": "kek"}) == FileWrapping.model_construct(
        kind="file", key=tmp_path / "kek"
    )
    asked = read({"kind": "passphrase"})
    assert isinstance(asked, PassphraseWrapping)
    assert asked.passphrase is None
    token = read(TOKEN)
    assert isinstance(token, Pkcs11Wrapping)
    assert (str(token.module), token.pin) == ("/lib/p11.so", tmp_path / "pin")


WRONG = {
    "no kind": {"key": "kek"},
    "an unknown kind": {"kind": "cloud", "key": "kek"},
    "a file without its name": {"kind": "file"},
    "a key of another kind": {"kind": "file", "key": "kek", "passphrase": "p"},
    "a passphrase that is no name": {"kind": "passphrase", "passphrase": 1},
    "a token without a PIN": {**TOKEN, "pin": ""},
    "an empty label": {**TOKEN, "key": ""},
    "a label longer than a token's": {**TOKEN, "token": "m" * 33},
}


@pytest.mark.parametrize("table", WRONG.values(), ids=WRONG.keys())
def test_a_table_that_is_not_exact_is_refused(tmp_path, table):
    with pytest.raises(ValidationError):
        TABLE.validate_python(table, context=tmp_path)
