"""The data key: what it seals and proves, for exactly the context it was told."""

from __future__ import annotations

import copy
import logging
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealserve.errors import IntegrityError
from sealserve.keyservice.datakey import DataKey
from sealserve.keyservice.wrapping.file import FileKey

RAW = bytes(range(32))
KEY = DataKey(RAW)
CONTEXT = b"secret resnet50 version 1"
VALUE = b"0123456789abcdef"
SEALED = KEY.seal(VALUE, CONTEXT)


@given(value=st.binary(max_size=4096), context=st.binary(max_size=64))
def test_what_is_sealed_opens_under_the_same_context(value, context):
    sealed = KEY.seal(value, context)
    assert len(sealed) == len(value) + 29
    assert KEY.open(sealed, context) == value


def test_a_value_sealed_twice_looks_different():
    assert KEY.seal(VALUE, CONTEXT) != SEALED


@pytest.mark.parametrize("place", range(len(SEALED)))
def test_a_change_of_any_byte_of_a_sealed_value_is_refused(place):
    changed = SEALED[:place] + bytes([SEALED[place] ^ 1]) + SEALED[place + 1 :]
    with pytest.raises(IntegrityError) as caught:
        KEY.open(changed, CONTEXT)
    assert caught.value.code == "datakey.seal"


OTHERS = {
    "another data key": (DataKey.generate(), SEALED, CONTEXT),
    "another version of the secret": (KEY, SEALED, CONTEXT[:-1] + b"2"),
    "cut short": (KEY, SEALED[:-1], CONTEXT),
    "longer": (KEY, SEALED + b"\0", CONTEXT),
    "no more than its version": (KEY, SEALED[:1], CONTEXT),
    "nothing": (KEY, b"", CONTEXT),
}


@pytest.mark.parametrize(("key", "sealed", "context"), OTHERS.values(), ids=OTHERS.keys())
def test_anything_else_than_what_was_sealed_is_refused(key, sealed, context):
    with pytest.raises(IntegrityError) as caught:
        key.open(sealed, context)
    assert caught.value.code == "datakey.seal"


@given(sealed=st.binary(max_size=128), context=st.binary(max_size=32))
def test_whatever_the_database_holds_only_our_error_comes_of_it(sealed, context):
    with pytest.raises(IntegrityError):
        KEY.open(sealed, context)


def test_a_mac_proves_its_document_for_its_context():
    mac = KEY.mac(b"document", CONTEXT)
    assert len(mac) == 32
    KEY.check_mac(b"document", CONTEXT, mac)


WRONG_MACS = {
    "another document": (b"Document", b"row 1", KEY.mac(b"document", b"row 1")),
    "another context": (b"document", b"row 2", KEY.mac(b"document", b"row 1")),
    "a byte moved from document to context": (
        b"ocument",
        b"row 1d",
        KEY.mac(b"document", b"row 1"),
    ),
    "another data key": (b"document", b"row 1", DataKey(bytes(32)).mac(b"document", b"row 1")),
    "half a MAC": (b"document", b"row 1", KEY.mac(b"document", b"row 1")[:16]),
    "none": (b"document", b"row 1", b""),
}


@pytest.mark.parametrize(("document", "context", "mac"), WRONG_MACS.values(), ids=WRONG_MACS.keys())
def test_a_mac_of_anything_else_is_refused(document, context, mac):
    with pytest.raises(IntegrityError) as caught:
        KEY.check_mac(document, context, mac)
    assert caught.value.code == "datakey.mac"


def test_a_database_written_by_an_earlier_program_is_read():
    """Fixed bytes: a change of a label, a frame or the format would lose every database."""
    sealed = bytes.fromhex("01acea37794f1a345405738f53b5d52d9e5c8271ca8c563254683146b1b63c652e41")
    assert KEY.open(sealed, b"context") == b"value"
    mac = bytes.fromhex("ea9489401725870b6b70b5d0e0e499f3936d05ea744cd3f51e96a374d2025d07")
    KEY.check_mac(b"document", b"context", mac)
    wrapped = bytes.fromhex(
        "5353574b01012f3da195029555a1aff535b5fd955bf5f494c3b45be9bf802711"
        "1eecdb23aead0da8ecaeab1902101e5ad90a4cbfdc2427c63b5b1b8d492acaf8"
        "d72e"
    )
    again = DataKey.unwrap(wrapped, FileKey(bytes(32)))
    again.check_mac(b"document", b"context", mac)


def test_a_data_key_is_wrapped_and_unwrapped():
    kek = FileKey(b"k" * 32)
    key = DataKey.generate()
    again = DataKey.unwrap(key.wrapped_by(kek), kek)
    assert again.open(key.seal(VALUE, CONTEXT), CONTEXT) == VALUE


def test_what_the_key_encryption_key_wrapped_for_something_else_is_no_data_key():
    kek = FileKey(b"k" * 32)
    with pytest.raises(IntegrityError) as caught:
        DataKey.unwrap(kek.wrap(RAW, b"something else"), kek)
    assert caught.value.code == "wrapping.key"


def test_a_data_key_has_32_bytes():
    with pytest.raises(ValueError, match="32 bytes, not 16"):
        DataKey(bytes(16))


def test_a_data_key_shows_itself_to_nobody(caplog):
    with caplog.at_level(logging.INFO):
        logging.getLogger("test").info("the key: %s %r", KEY, [KEY])
    shown = caplog.text + str(KEY) + repr(KEY)
    assert "hidden" in shown
    assert RAW.hex() not in shown
    assert repr(RAW) not in shown
    for leave in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not pickled"):
            leave(KEY)
