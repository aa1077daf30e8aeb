"""The SGX extension of PCK certificates, read and built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealserve.endorsements import der
from sealserve.endorsements.pck import (
    PckExtensions,
    PlatformConfiguration,
    build_pck_extension,
    parse_pck_extension,
)
from sealserve.errors import FormatError

flags = st.none() | st.booleans()
platforms = st.builds(
    PckExtensions,
    ppid=st.binary(min_size=16, max_size=16),
    component_svns=st.binary(min_size=16, max_size=16),
    pce_svn=st.integers(0, 0xFFFF),
    cpu_svn=st.binary(min_size=16, max_size=16),
    pce_id=st.binary(min_size=2, max_size=2),
    fmspc=st.binary(min_size=6, max_size=6),
    sgx_type=st.integers(0, 2),
    platform_instance_id=st.none() | st.binary(min_size=16, max_size=16),
    configuration=st.none() | st.builds(PlatformConfiguration, flags, flags, flags),
)
PLATFORM = PckExtensions(
    ppid=bytes(range(16)),
    component_svns=bytes(range(16)),
    pce_svn=13,
    cpu_svn=bytes(16),
    pce_id=bytes(2),
    fmspc=bytes.fromhex("00906ed50000"),
    sgx_type=0,
)


@given(platforms)
def test_what_is_built_is_read_back(platform: PckExtensions) -> None:
    assert parse_pck_extension(build_pck_extension(platform)) == platform


def test_a_processors_extension_has_no_instance_and_no_configuration() -> None:
    parsed = parse_pck_extension(build_pck_extension(PLATFORM))
    assert parsed.platform_instance_id is None
    assert parsed.configuration is None


def test_flags_in_place_of_instance_and_configuration_are_those_of_the_draft() -> None:
    entries = der.decode(build_pck_extension(PLATFORM), der.SEQUENCE)
    entries += bytes.fromhex("300f060a2a864886f84d010d01060101ff")
    entries += bytes.fromhex("300f060a2a864886f84d010d0107010100")
    parsed = parse_pck_extension(der.encode(der.SEQUENCE, entries))
    assert parsed.platform_instance_id is None
    assert parsed.configuration == PlatformConfiguration(True, False)


def without(arc: int) -> bytes:
    entries = der.decode_all(der.decode(build_pck_extension(PLATFORM), der.SEQUENCE))
    kept = [der.encode(*entry) for entry in entries[: arc - 1] + entries[arc:]]
    return der.encode(der.SEQUENCE, *kept)


def twice(arc: int) -> bytes:
    entries = der.decode_all(der.decode(build_pck_extension(PLATFORM), der.SEQUENCE))
    return der.encode(der.SEQUENCE, *(der.encode(*entry) for entry in [*entries, entries[arc - 1]]))


def swapped(old: bytes, new: bytes) -> bytes:
    data = build_pck_extension(PLATFORM)
    assert data.count(old) == 1
    return data.replace(old, new)


DAMAGES: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "no sequence": lambda: der.encode(der.OCTET_STRING, b"x"),
    "byte after it": lambda: build_pck_extension(PLATFORM) + b"\0",
    "without PPID": lambda: without(1),
    "without TCB": lambda: without(2),
    "without PCEID": lambda: without(3),
    "without FMSPC": lambda: without(4),
    "without SGX type": lambda: without(5),
    "FMSPC twice": lambda: twice(4),
    "entry that is no sequence": lambda: der.encode(
        der.SEQUENCE, der.encode(der.OCTET_STRING, b"x")
    ),
    "foreign OID": lambda: swapped(
        bytes.fromhex("2a864886f84d010d0104"), bytes.fromhex("2a864886f84d010d0204")
    ),
    "short PPID": lambda: build_pck_extension(replace(PLATFORM, ppid=bytes(15))),
    "long FMSPC": lambda: build_pck_extension(replace(PLATFORM, fmspc=bytes(7))),
    "long PCEID": lambda: build_pck_extension(replace(PLATFORM, pce_id=bytes(3))),
    "long CPUSVN": lambda: build_pck_extension(replace(PLATFORM, cpu_svn=bytes(17))),
    "15 components": lambda: build_pck_extension(replace(PLATFORM, component_svns=bytes(15))),
    "PCESVN too large": lambda: build_pck_extension(replace(PLATFORM, pce_svn=1 << 16)),
    "unknown SGX type": lambda: build_pck_extension(replace(PLATFORM, sgx_type=3)),
    "SGX type as INTEGER": lambda: swapped(b"\x0a\x01\x00", b"\x02\x01\x00"),
}


@pytest.mark.parametrize("damaged", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_extension_is_refused(damaged: Callable[[], bytes]) -> None:
    with pytest.raises(FormatError):
        parse_pck_extension(damaged())


def test_a_component_above_255_is_refused() -> None:
    entries = der.decode_all(der.decode(build_pck_extension(PLATFORM), der.SEQUENCE))
    oid, (_, tcb) = der.decode_all(entries[1][1])
    components = [der.encode(*entry) for entry in der.decode_all(tcb)]
    name = der.encode(*der.decode_all(der.decode_all(tcb)[0][1])[0])
    components[0] = der.encode(der.SEQUENCE, name, der.encode_unsigned(256))
    changed = der.encode(der.SEQUENCE, der.encode(*oid), der.encode(der.SEQUENCE, *components))
    whole = [der.encode(*entries[0]), changed, *(der.encode(*entry) for entry in entries[2:])]
    with pytest.raises(FormatError, match="larger than 255"):
        parse_pck_extension(der.encode(der.SEQUENCE, *whole))
