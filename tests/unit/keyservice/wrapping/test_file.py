"""A key-encryption key in a file: private, of 32 bytes, made once and never replaced."""

from __future__ import annotations

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealserve.errors import ConfigError, IntegrityError, SealServeError
from sealserve.keyservice.wrapping import FileWrapping, make_key, open_wrapping
from sealserve.keyservice.wrapping.file import FileKey

KEY = bytes(range(32))
CONTEXT = b"what the key is for"
KEK = FileKey(b"k" * 32)
WRAPPED = KEK.wrap(KEY, CONTEXT)


@pytest.fixture
def wrapping(tmp_path):
    return FileWrapping.model_validate({"kind": "file", "key": "kek"}, context=tmp_path)


def test_a_new_key_is_private_random_and_wraps(wrapping):
    make_key(wrapping)
    assert stat.S_IMODE(wrapping.key.stat().st_mode) == 0o600
    assert len(wrapping.key.read_bytes()) == 32
    kek = open_wrapping(wrapping)
    assert kek.kind == "file"
    wrapped = kek.wrap(KEY, CONTEXT)
    assert KEY not in wrapped
    assert kek.unwrap(wrapped, CONTEXT) == KEY
    assert kek.wrap(KEY, CONTEXT) != wrapped
    kek.close()
    kek.close()


def test_making_the_key_again_leaves_the_one_that_is_there(wrapping):
    make_key(wrapping)
    before = wrapping.key.read_bytes()
    make_key(wrapping)
    assert wrapping.key.read_bytes() == before


WRONG_FILES = {
    "too short": (bytes(31), 0o600, "has 31 bytes, expected a key-encryption key of 32"),
    "empty": (b"", 0o600, "has 0 bytes"),
    "too long": (bytes(33), 0o600, "larger than the 32 bytes"),
    "readable by a group": (bytes(32), 0o640, "mode 0640"),
    "readable by all": (bytes(32), 0o604, "mode 0604"),
}


@pytest.mark.parametrize(("data", "mode", "message"), WRONG_FILES.values(), ids=WRONG_FILES.keys())
def test_a_file_that_is_no_sound_key_is_refused_and_kept(wrapping, data, mode, message):
    wrapping.key.write_bytes(data)
    wrapping.key.chmod(mode)
    for attempt in (open_wrapping, make_key):
        with pytest.raises(ConfigError, match=message):
            attempt(wrapping)
    assert wrapping.key.read_bytes() == data


def test_a_missing_file_is_said_with_what_to_do(wrapping):
    with pytest.raises(ConfigError, match="there is no key-encryption key") as caught:
        open_wrapping(wrapping)
    assert "sealserve keyservice init" in (caught.value.hint or "")


@pytest.mark.parametrize("place", range(len(WRAPPED)))
def test_a_change_of_any_byte_is_refused(place):
    changed = WRAPPED[:place] + bytes([WRAPPED[place] ^ 1]) + WRAPPED[place + 1 :]
    with pytest.raises(IntegrityError) as caught:
        KEK.unwrap(changed, CONTEXT)
    assert caught.value.code == "wrapping.key"


OTHERS = {
    "another key-encryption key": (FileKey(b"o" * 32), WRAPPED, CONTEXT),
    "another context": (KEK, WRAPPED, CONTEXT + b"."),
    "no context": (KEK, WRAPPED, b""),
    "one byte less": (KEK, WRAPPED[:-1], CONTEXT),
    "one byte more": (KEK, WRAPPED + b"\0", CONTEXT),
    "a byte moved to the context": (KEK, WRAPPED[:-1], WRAPPED[-1:] + CONTEXT),
}


@pytest.mark.parametrize(("kek", "wrapped", "context"), OTHERS.values(), ids=OTHERS.keys())
def test_anything_else_than_what_was_wrapped_is_refused(kek, wrapped, context):
    with pytest.raises(IntegrityError) as caught:
        kek.unwrap(wrapped, context)
    assert caught.value.code == "wrapping.key"


def test_a_key_wrapped_by_another_kind_is_said_with_both_names():
    with pytest.raises(IntegrityError, match=r"kind pkcs11.*kind file") as caught:
        KEK.unwrap(WRAPPED[:5] + b"\x03" + WRAPPED[6:], CONTEXT)
    assert "rewrap" in (caught.value.hint or "")


def test_only_a_key_of_32_bytes_is_wrapped():
    with pytest.raises(ValueError, match="32 bytes, not 16"):
        KEK.wrap(bytes(16), CONTEXT)


NEAR = st.builds(
    lambda keep, tail: WRAPPED[:keep] + tail, st.integers(0, len(WRAPPED) - 1), st.binary()
)


@given(wrapped=st.one_of(st.binary(max_size=256), NEAR), context=st.binary(max_size=32))
def test_whatever_the_database_holds_only_our_errors_come_of_it(wrapped, context):
    try:
        assert KEK.unwrap(wrapped, context) == KEY
    except SealServeError as error:
        assert error.code == "wrapping.key"
