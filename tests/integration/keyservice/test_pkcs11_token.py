"""A data key wrapped inside a real PKCS#11 token, SoftHSM, used as a hardware one would be."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sealserve.errors import ConfigError, IntegrityError, SealServeError
from sealserve.keyservice.datakey import DataKey
from sealserve.keyservice.wrapping import cryptoki, make_key, open_wrapping
from softhsm import PIN, softhsm

KEY = bytes(range(32))
CONTEXT = b"what the key is for"
WRONG_PIN = "wrong-pin-1234"


@pytest.fixture
def hsm(tmp_path, monkeypatch):
    with softhsm(tmp_path, monkeypatch) as hsm:
        hsm.make_token("models")
        yield hsm


@pytest.fixture
def kek(hsm):
    make_key(hsm.wrapping())
    key = open_wrapping(hsm.wrapping())
    yield key
    key.close()


def in_token(hsm, work):
    """What `work` does in a session of the token that may write."""
    with cryptoki.one_at_a_time():
        session = cryptoki.open_session(hsm.wrapping(), rw=True)
        try:
            return work(session)
        finally:
            cryptoki.close_session(hsm.wrapping(), session)


def complaint(wrapping) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        open_wrapping(wrapping)
    assert PIN not in str(caught.value)
    assert WRONG_PIN not in str(caught.value)
    return caught.value


def test_what_a_token_wraps_it_unwraps_also_in_another_process(hsm, kek):
    wrapped = kek.wrap(KEY, CONTEXT)
    assert KEY not in wrapped
    assert kek.unwrap(wrapped, CONTEXT) == KEY
    script = (
        "import sys, pathlib\n"
        "from sealserve.keyservice.wrapping import Pkcs11Wrapping, open_wrapping\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "wrapping = Pkcs11Wrapping.model_validate({'kind': 'pkcs11', 'module': sys.argv[2],\n"
        "    'token': 'models', 'key': 'kek', 'pin': 'pin'}, context=folder)\n"
        "kek = open_wrapping(wrapping)\n"
        "print(kek.unwrap(bytes.fromhex(sys.argv[3]), bytes.fromhex(sys.argv[4])).hex())\n"
        "kek.close()\n"
    )
    words = [str(hsm.folder), str(hsm.module), wrapped.hex(), CONTEXT.hex()]
    done = subprocess.run(
        [sys.executable, "-c", script, *words], check=True, capture_output=True, timeout=60
    )
    assert done.stdout.decode().strip() == KEY.hex()


def test_a_data_key_comes_back_out_of_its_wrapping(kek):
    data_key = DataKey.generate()
    sealed = data_key.seal(b"a model's key", b"resnet50 1")
    again = DataKey.unwrap(data_key.wrapped_by(kek), kek)
    assert again.open(sealed, b"resnet50 1") == b"a model's key"


def test_the_key_in_the_token_can_neither_be_read_nor_leave(hsm, kek):
    import pkcs11

    def look(session):
        key = session.get_key(label="kek")
        with pytest.raises(pkcs11.AttributeSensitive):
            key[pkcs11.Attribute.VALUE]
        attributes = pkcs11.Attribute
        return [
            key[attributes.SENSITIVE],
            key[attributes.EXTRACTABLE],
            key[attributes.NEVER_EXTRACTABLE],
            key[attributes.TOKEN],
            key[attributes.PRIVATE],
            key[attributes.WRAP],
            key[attributes.SIGN],
        ]

    assert in_token(hsm, look) == [True, False, True, True, True, False, False]


def test_making_the_key_again_leaves_the_one_that_is_there(hsm, kek):
    wrapped = kek.wrap(KEY, CONTEXT)
    make_key(hsm.wrapping())
    assert kek.unwrap(wrapped, CONTEXT) == KEY


TAMPERED = {
    "another magic": lambda wrapped: b"X" + wrapped[1:],
    "another version": lambda wrapped: wrapped[:4] + b"\x02" + wrapped[5:],
    "the kind of a file": lambda wrapped: wrapped[:5] + b"\x01" + wrapped[6:],
    "another nonce": lambda wrapped: wrapped[:6] + bytes([wrapped[6] ^ 1]) + wrapped[7:],
    "another ciphertext": lambda wrapped: wrapped[:20] + bytes([wrapped[20] ^ 1]) + wrapped[21:],
    "another tag": lambda wrapped: wrapped[:-1] + bytes([wrapped[-1] ^ 128]),
    "one byte less": lambda wrapped: wrapped[:-1],
    "one byte more": lambda wrapped: wrapped + b"\0",
    "nothing": lambda wrapped: b"",
}


@pytest.mark.parametrize("tamper", TAMPERED.values(), ids=TAMPERED.keys())
def test_a_tampered_key_is_refused_and_the_token_goes_on(kek, tamper):
    wrapped = kek.wrap(KEY, CONTEXT)
    with pytest.raises(IntegrityError) as caught:
        kek.unwrap(tamper(wrapped), CONTEXT)
    assert caught.value.code == "wrapping.key"
    assert kek.unwrap(wrapped, CONTEXT) == KEY


def test_a_key_wrapped_for_something_else_is_refused(kek):
    with pytest.raises(IntegrityError) as caught:
        kek.unwrap(kek.wrap(KEY, CONTEXT), b"something else")
    assert caught.value.code == "wrapping.key"


def test_another_key_of_the_same_token_does_not_unwrap(hsm, kek):
    other = hsm.wrapping(key="other")
    make_key(other)
    other_kek = open_wrapping(other)
    try:
        with pytest.raises(IntegrityError) as caught:
            other_kek.unwrap(kek.wrap(KEY, CONTEXT), CONTEXT)
        assert caught.value.code == "wrapping.key"
    finally:
        other_kek.close()


def test_a_wrong_pin_is_said_without_the_pin(hsm):
    make_key(hsm.wrapping())
    error = complaint(hsm.wrapping(pin=WRONG_PIN))
    assert "refuses the PIN in" in str(error)
    assert "tries are left" in str(error)


WRONG = {
    "no such token": ({"token": "none"}, "no token is labelled 'none'; found: models"),
    "no such key": ({"key": "none"}, "has no key labelled 'none'"),
    "a PIN that is too short": ({"pin": "1"}, "refuses the PIN"),
    "a PIN of two lines": ({"pin": "one\ntwo"}, "expected one line: the PIN"),
    "an empty PIN": ({"pin": ""}, "expected one line: the PIN"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_missing_or_wrong_is_said(hsm, change, message):
    assert message in str(complaint(hsm.wrapping(**change)))


def test_a_pin_that_others_may_read_is_refused(hsm):
    wrapping = hsm.wrapping()
    wrapping.pin.chmod(0o644)
    error = complaint(wrapping)
    assert "has mode 0644" in str(error)
    assert error.hint is not None
    assert "chmod 600" in error.hint


@pytest.mark.parametrize("module", ["/nonexistent.so", "/etc/hostname"])
def test_a_module_that_cannot_be_loaded_is_said(hsm, tmp_path, module):
    wrapping = hsm.wrapping().model_copy(update={"module": tmp_path / module})
    assert f"the PKCS#11 module {module} does not work" in str(complaint(wrapping))


def test_two_tokens_of_one_name_are_refused(hsm):
    hsm.make_token("models")
    assert "2 tokens are labelled 'models'" in str(complaint(hsm.wrapping()))


def generated(bits=256, **template):
    def work(session):
        import pkcs11

        attributes = {getattr(pkcs11.Attribute, name): on for name, on in template.items()}
        use = pkcs11.MechanismFlag.ENCRYPT | pkcs11.MechanismFlag.DECRYPT
        session.generate_key(
            pkcs11.KeyType.AES,
            bits,
            label="kek",
            store=True,
            capabilities=use,
            template={
                pkcs11.Attribute.SENSITIVE: True,
                pkcs11.Attribute.EXTRACTABLE: False,
                **attributes,
            },
        )

    return work


UNFIT = {
    "it can leave the token": (generated(EXTRACTABLE=True), "it is extractable"),
    "it shows its value": (generated(SENSITIVE=False), "it is not sensitive"),
    "it is of 128 bits": (generated(bits=128), "does not have 32 bytes"),
    "it may not decrypt": (generated(DECRYPT=False), "may not decrypt"),
}


@pytest.mark.parametrize(("work", "message"), UNFIT.values(), ids=UNFIT.keys())
def test_a_key_that_is_not_as_it_must_be_is_refused(hsm, work, message):
    in_token(hsm, work)
    assert message in str(complaint(hsm.wrapping()))
    with pytest.raises(ConfigError, match=message):
        make_key(hsm.wrapping())


def test_two_keys_of_one_name_are_refused(hsm):
    in_token(hsm, generated())
    in_token(hsm, generated())
    assert "has 2 keys labelled 'kek'" in str(complaint(hsm.wrapping()))


def test_a_lost_session_is_opened_again(hsm, kek):
    import pkcs11

    wrapped = kek.wrap(KEY, CONTEXT)
    pkcs11.lib(str(hsm.module)).reinitialize()
    assert kek.unwrap(wrapped, CONTEXT) == KEY


def test_a_token_that_is_gone_is_said_and_used_when_it_is_back(hsm, kek):
    import pkcs11

    wrapped = kek.wrap(KEY, CONTEXT)
    tokens = hsm.folder / "tokens"
    tokens.rename(hsm.folder / "away")
    tokens.mkdir()
    pkcs11.lib(str(hsm.module)).reinitialize()
    with pytest.raises(ConfigError, match="no token is labelled 'models'"):
        kek.unwrap(wrapped, CONTEXT)
    tokens.rmdir()
    (hsm.folder / "away").rename(tokens)
    assert kek.unwrap(wrapped, CONTEXT) == KEY


def test_closing_one_key_leaves_another_of_the_token_usable(hsm, kek):
    second = open_wrapping(hsm.wrapping())
    wrapped = second.wrap(KEY, CONTEXT)
    kek.close()
    kek.close()
    assert second.unwrap(wrapped, CONTEXT) == KEY
    second.close()


def test_whoever_holds_the_lock_of_the_module_keeps_nobody_from_working(hsm, kek, monkeypatch):
    monkeypatch.setattr(cryptoki, "TURN_SECONDS", 0.1)
    with hsm.module.open("rb") as stranger:
        fcntl.flock(stranger, fcntl.LOCK_EX)
        second = open_wrapping(hsm.wrapping())
    assert second.unwrap(kek.wrap(KEY, CONTEXT), CONTEXT) == KEY
    second.close()


def test_two_keys_are_used_by_several_threads(hsm, kek):
    second = open_wrapping(hsm.wrapping())

    def work(number):
        key = bytes([number]) * 32
        mine, other = (kek, second) if number % 2 else (second, kek)
        return all(other.unwrap(mine.wrap(key, CONTEXT), CONTEXT) == key for _ in range(25))

    try:
        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(work, range(8)))
    finally:
        second.close()


def test_forked_workers_use_the_token_themselves_also_at_the_same_time(hsm):
    make_key(hsm.wrapping())
    script = (
        "import os, sys, pathlib\n"
        "from sealserve.keyservice.wrapping import Pkcs11Wrapping, open_wrapping\n"
        "wrapping = Pkcs11Wrapping.model_validate({'kind': 'pkcs11', 'module': sys.argv[2],\n"
        "    'token': 'models', 'key': 'kek', 'pin': 'pin'}, context=pathlib.Path(sys.argv[1]))\n"
        "kek = open_wrapping(wrapping)\n"
        "wrapped = kek.wrap(bytes(32), b'')\n"
        "kek.close()\n"
        "def work():\n"
        "    for _ in range(20):\n"
        "        kek = open_wrapping(wrapping)\n"
        "        assert kek.unwrap(wrapped, b'') == bytes(32)\n"
        "        kek.close()\n"
        "children = []\n"
        "while len(children) < 2 and 0 not in children:\n"
        "    children.append(os.fork())\n"
        "work()\n"
        "if 0 in children:\n"
        "    os._exit(0)\n"
        "print(*(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(hsm.folder), str(hsm.module)],
        check=True,
        capture_output=True,
        timeout=60,
    )
    assert done.stdout.decode().split() == ["0", "0"]


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_whatever_the_database_holds_the_token_answers_or_refuses(kek, data):
    wrapped = bytearray(kek.wrap(KEY, CONTEXT))
    places = st.integers(0, len(wrapped) - 1)
    for place, value in data.draw(
        st.lists(
            st.tuples(places, st.integers(1, 255)), min_size=1, max_size=4, unique_by=lambda x: x[0]
        )
    ):
        wrapped[place] ^= value
    with pytest.raises(SealServeError):
        kek.unwrap(bytes(wrapped)[: data.draw(st.integers(0, 70))], CONTEXT)


def test_without_the_package_the_extra_is_named(hsm, monkeypatch):
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    error = complaint(hsm.wrapping())
    assert error.hint == "pip install 'sealserve[pkcs11]'"
    with pytest.raises(ConfigError, match="python-pkcs11"):
        make_key(hsm.wrapping())


def test_what_a_token_says_about_further_tries_is_passed_on():
    pkcs11 = pytest.importorskip("pkcs11", reason="python-pkcs11 is missing")
    flag = pkcs11.TokenFlag
    assert "locked" in cryptoki.tries_left(flag.USER_PIN_LOCKED | flag.USER_PIN_COUNT_LOW)
    assert "one try is left" in cryptoki.tries_left(flag.USER_PIN_FINAL_TRY)
    assert "does not say" in cryptoki.tries_left(flag.USER_PIN_COUNT_LOW)
