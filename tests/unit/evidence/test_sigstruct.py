"""SIGSTRUCTs: values, signature, and what the hardware would refuse."""

from __future__ import annotations

import hashlib
import struct

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from sealserve.errors import FormatError, VerificationError
from sealserve.evidence.sigstruct import check_signature, parse_sigstruct


@pytest.fixture(scope="module")
def signed() -> bytes:
    """A SIGSTRUCT of our own, every field filled, rightly signed."""
    key = rsa.generate_private_key(public_exponent=3, key_size=3072)
    modulus = key.public_key().public_numbers().n
    data = bytearray(1808)
    data[0:16] = bytes.fromhex("06000000e10000000000010000000000")
    struct.pack_into("<II", data, 16, 0x8086, 0x20240229)
    data[24:40] = bytes.fromhex("01010000600000006000000001000000")
    struct.pack_into("<I", data, 40, 77)
    data[128:512] = modulus.to_bytes(384, "little")
    struct.pack_into("<I", data, 512, 3)
    struct.pack_into("<IIBB", data, 900, 1, 2, 3, 4)
    data[912:928] = b"f" * 16
    data[928:944] = b"\x06" + b"a" * 15
    data[944:960] = b"\xfd" + b"m" * 15
    data[960:992] = b"e" * 32
    data[1008:1024] = b"x" * 16
    struct.pack_into("<HH", data, 1024, 0x0102, 0x0304)
    raw = key.sign(bytes(data[:128] + data[900:1028]), padding.PKCS1v15(), hashes.SHA256())
    signature = int.from_bytes(raw, "big")
    q1 = signature**2 // modulus
    q2 = (signature**3 - q1 * signature * modulus) // modulus
    data[516:900] = signature.to_bytes(384, "little")
    data[1040:1424] = q1.to_bytes(384, "little")
    data[1424:1808] = q2.to_bytes(384, "little")
    return bytes(data)


def patched(data: bytes, offset: int, value: bytes) -> bytes:
    return data[:offset] + value + data[offset + len(value) :]


def test_every_value_is_read_from_its_offset(signed: bytes) -> None:
    stated = parse_sigstruct(signed)
    assert (stated.vendor, stated.date, stated.software_defined) == (0x8086, 0x20240229, 77)
    assert (stated.misc_select, stated.misc_mask) == (1, 2)
    assert (stated.cet_attributes, stated.cet_attributes_mask) == (3, 4)
    assert stated.isv_family_id == b"f" * 16
    assert stated.attributes == b"\x06" + b"a" * 15
    assert stated.attribute_mask == b"\xfd" + b"m" * 15
    assert stated.mr_enclave == b"e" * 32
    assert stated.isv_ext_prod_id == b"x" * 16
    assert (stated.isv_prod_id, stated.isv_svn) == (0x0102, 0x0304)
    assert stated.mr_signer == hashlib.sha256(signed[128:512]).digest()


def test_the_debug_attribute_and_whether_it_is_enforced_are_told_apart(signed: bytes) -> None:
    debug = parse_sigstruct(signed)
    assert (debug.debug, debug.debug_enforced) == (True, False)
    production = parse_sigstruct(patched(patched(signed, 928, b"\x04"), 944, b"\xff"))
    assert (production.debug, production.debug_enforced) == (False, True)


def test_a_right_signature_holds(signed: bytes) -> None:
    check_signature(parse_sigstruct(signed))


@pytest.mark.parametrize(
    "offset",
    [
        pytest.param(16, id="vendor"),
        pytest.param(40, id="software defined"),
        pytest.param(129, id="modulus"),
        pytest.param(516, id="signature"),
        pytest.param(928, id="attributes"),
        pytest.param(960, id="MRENCLAVE"),
        pytest.param(1026, id="ISVSVN"),
        pytest.param(1040, id="Q1"),
        pytest.param(1807, id="Q2"),
    ],
)
def test_one_flipped_bit_breaks_the_signature(signed: bytes, offset: int) -> None:
    flipped = patched(signed, offset, bytes([signed[offset] ^ 1]))
    with pytest.raises(VerificationError) as caught:
        check_signature(parse_sigstruct(flipped))
    assert caught.value.code == "sigstruct.signature"


@pytest.mark.parametrize(
    "modulus",
    [
        pytest.param(bytes(384), id="zero"),
        pytest.param(b"\x01" + bytes(383), id="one"),
        pytest.param(b"\x00" + b"\xff" * 383, id="even"),
        pytest.param(b"\xff" * 383 + b"\x7f", id="one bit short"),
    ],
)
def test_a_modulus_that_is_none_is_refused(signed: bytes, modulus: bytes) -> None:
    with pytest.raises(VerificationError):
        check_signature(parse_sigstruct(patched(signed, 128, modulus)))


@pytest.mark.parametrize(
    ("offset", "value", "code"),
    [
        pytest.param(0, b"\x07", "sigstruct.header", id="header"),
        pytest.param(24, b"\x00", "sigstruct.header", id="second header"),
        pytest.param(512, b"\x01\x00\x01", "sigstruct.exponent", id="exponent 65537"),
        pytest.param(44, b"\x01", "sigstruct.reserved", id="reserved before the modulus"),
        pytest.param(911, b"\x01", "sigstruct.reserved", id="reserved after CET"),
        pytest.param(992, b"\x01", "sigstruct.reserved", id="reserved after MRENCLAVE"),
        pytest.param(1039, b"\x01", "sigstruct.reserved", id="reserved before Q1"),
    ],
)
def test_a_wrong_field_is_refused_with_its_code(
    signed: bytes, offset: int, value: bytes, code: str
) -> None:
    with pytest.raises(FormatError) as caught:
        parse_sigstruct(patched(signed, offset, value))
    assert caught.value.code == code


@pytest.mark.parametrize("length", [0, 1, 1807, 1809])
def test_another_length_is_refused(signed: bytes, length: int) -> None:
    with pytest.raises(FormatError) as caught:
        parse_sigstruct((signed + b"\x00")[:length])
    assert caught.value.code == "sigstruct.length"
