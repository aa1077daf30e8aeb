"""A key-encryption key from a passphrase: long enough, shown to nobody, its cost bounded."""

from __future__ import annotations

import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealserve.errors import ConfigError, IntegrityError, SealServeError
from sealserve.keyservice.wrapping import PassphraseWrapping, make_key, open_wrapping, passphrase
from sealserve.keyservice.wrapping.passphrase import PROMPT, Cost, PassphraseKey

KEY = bytes(range(32))
CONTEXT = b"what the key is for"
PASSPHRASE = "six words that were chosen by dice"
KEK = PassphraseKey(PASSPHRASE)


@pytest.fixture(scope="module", autouse=True)
def cheap():
    """The least cost that is accepted: most tests are about something else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passphrase, "COST", Cost(14, 8, 1))
        yield


@pytest.fixture(scope="module")
def wrapped(cheap):
    return KEK.wrap(KEY, CONTEXT)


def in_file(folder, content, mode=0o600):
    path = folder / "passphrase"
    path.write_bytes(content)
    path.chmod(mode)
    return PassphraseWrapping.model_validate(
        {"kind": "passphrase", "passphrase": "passphrase"}, context=folder
    )


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"], ids=["no end", "line feed", "CR and LF"])
def test_a_passphrase_of_a_file_is_its_line_without_the_end(tmp_path, wrapped, end):
    wrapping = in_file(tmp_path, PASSPHRASE.encode() + end)
    make_key(wrapping)
    kek = open_wrapping(wrapping)
    assert kek.unwrap(wrapped, CONTEXT) == KEY
    kek.close()


def test_a_passphrase_without_a_file_is_asked_for(wrapped):
    wrapping = PassphraseWrapping(kind="passphrase")
    asked = []

    def ask(prompt):
        asked.append(prompt)
        return PASSPHRASE

    make_key(wrapping)
    assert open_wrapping(wrapping, ask=ask).unwrap(wrapped, CONTEXT) == KEY
    assert asked == [PROMPT]
    with pytest.raises(ConfigError, match="asked for at a terminal"):
        open_wrapping(wrapping)
    with pytest.raises(ConfigError, match="fewer than 12 characters"):
        open_wrapping(wrapping, ask=lambda _: "too short")


def test_two_spellings_of_one_letter_are_one_passphrase():
    composed = unicodedata.normalize("NFC", "dreißig große Äpfel")
    apart = unicodedata.normalize("NFD", composed)
    assert apart != composed
    there = PassphraseKey(composed).wrap(KEY, CONTEXT)
    assert PassphraseKey(apart).unwrap(there, CONTEXT) == KEY


WRONG_FILES = {
    "too short": (b"eleven char", 0o600, "fewer than 12 characters"),
    "empty": (b"", 0o600, "one line"),
    "two lines": (b"six words that were\nchosen by dice\n", 0o600, "one line"),
    "not UTF-8": (b"\xff" * 20, 0o600, "not UTF-8"),
    "too long": (b"x" * 1025, 0o600, "larger than"),
    "readable by others": (PASSPHRASE.encode(), 0o644, "mode 0644"),
}


@pytest.mark.parametrize(("data", "mode", "message"), WRONG_FILES.values(), ids=WRONG_FILES.keys())
def test_a_file_that_is_no_sound_passphrase_is_refused_and_not_shown(tmp_path, data, mode, message):
    wrapping = in_file(tmp_path, data, mode)
    for attempt in (open_wrapping, make_key):
        with pytest.raises(ConfigError, match=message) as caught:
            attempt(wrapping)
        assert "eleven" not in str(caught.value)
        assert "six words that" not in str(caught.value)


def altered(place, value):
    return lambda wrapped: wrapped[:place] + bytes([value]) + wrapped[place + 1 :]


TAMPERED = {
    "another magic": altered(0, 0),
    "another version": altered(4, 2),
    "the kind of a file": altered(5, 1),
    "another salt": lambda wrapped: wrapped[:6] + bytes(16) + wrapped[22:],
    "another N": altered(22, 15),
    "another p": altered(24, 2),
    "another nonce": lambda wrapped: wrapped[:25] + bytes(12) + wrapped[37:],
    "another ciphertext": lambda wrapped: wrapped[:37] + bytes(32) + wrapped[69:],
    "another tag": lambda wrapped: wrapped[:69] + bytes(16),
    "one byte less": lambda wrapped: wrapped[:-1],
    "one byte more": lambda wrapped: wrapped + b"\0",
    "nothing": lambda wrapped: b"",
}


@pytest.mark.parametrize("tamper", TAMPERED.values(), ids=TAMPERED.keys())
def test_a_tampered_key_is_refused(wrapped, tamper):
    with pytest.raises(IntegrityError) as caught:
        KEK.unwrap(tamper(wrapped), CONTEXT)
    assert caught.value.code == "wrapping.key"


def test_another_passphrase_or_context_does_not_unwrap(wrapped):
    for kek, context in ((PassphraseKey(PASSPHRASE + "."), CONTEXT), (KEK, b"something else")):
        with pytest.raises(IntegrityError) as caught:
            kek.unwrap(wrapped, context)
        assert caught.value.code == "wrapping.key"
        assert PASSPHRASE not in str(caught.value)


HOSTILE = {
    "N of 2^255": (22, 255),
    "N of 2^19": (22, 19),
    "N of 1": (22, 0),
    "r of 255": (23, 255),
    "r of 0": (23, 0),
    "p of 255": (24, 255),
    "p of 0": (24, 0),
}


@pytest.mark.parametrize(("place", "value"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_cost_that_is_not_ours_is_refused_before_any_memory_is_used(wrapped, place, value):
    with pytest.raises(IntegrityError, match="more or less than is allowed") as caught:
        KEK.unwrap(altered(place, value)(wrapped), CONTEXT)
    assert caught.value.code == "wrapping.key"


@settings(max_examples=60, deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(0, 84), st.integers(0, 255)), min_size=1, max_size=3),
    keep=st.integers(80, 90),
)
def test_whatever_the_database_holds_only_our_errors_come_of_it(wrapped, changes, keep):
    hostile = bytearray(wrapped)
    for place, value in changes:
        hostile[place] = value
    try:
        assert KEK.unwrap(bytes(hostile)[:keep], CONTEXT) == KEY
    except SealServeError as error:
        assert error.code == "wrapping.key"


def test_what_is_written_in_earnest_costs_128_mib_and_a_lack_of_memory_is_said():
    script = (
        "import resource\n"
        "from sealserve.errors import ConfigError\n"
        "from sealserve.keyservice.wrapping.passphrase import PassphraseKey\n"
        "kek = PassphraseKey('six words that were chosen by dice')\n"
        "kek.wrap(bytes(32), b'')[22:25] == bytes((17, 8, 1)) or exit('another cost')\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20),) * 2)\n"
        "try:\n"
        "    kek.wrap(bytes(32), b'')\n"
        "except ConfigError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, timeout=60
    )
    assert "128 MiB are needed" in done.stdout.decode()
