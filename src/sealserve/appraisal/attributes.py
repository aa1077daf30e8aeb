"""The attribute bits of enclaves and trust domains: their names, and what silence means for them.

Sources: Intel SDM volume 3D, chapter 37 (ATTRIBUTES of an enclave: FLAGS, then XFRM; MISCSELECT);
Intel TDX Module ABI specification (348551), ATTRIBUTES of a TD: bits 7:0 are the group *TD under
debug* (any of them makes the TD untrusted), 31:8 may affect its security, 63:32 are others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_SGX_FLAGS = {
    0: "INIT",
    1: "DEBUG",
    2: "MODE64BIT",
    4: "PROVISIONKEY",
    5: "EINITTOKEN_KEY",
    6: "CET",
    7: "KSS",
    10: "AEXNOTIFY",
}
_TD_ATTRIBUTES = {
    0: "DEBUG",
    4: "HGS_PLUS_PROF",
    5: "PERF_PROF",
    6: "PMT_PROF",
    16: "ICSSD",
    17: "SERVTD_EXT",
    27: "LASS",
    28: "SEPT_VE_DISABLE",
    29: "MIGRATABLE",
    30: "PKS",
    31: "KL",
    62: "TPA",
    63: "PERFMON",
}
_MISC_SELECT = {0: "EXINFO", 1: "CPINFO"}
_FLAGS_BITS = 64
_TD_UNDER_DEBUG = 0xFF
_TD_MIGRATABLE = 1 << 29


@dataclass(frozen=True, slots=True)
class Bits:
    """Which bits must be what: `value` under `mask`, both in the order of memory."""

    value: bytes
    mask: bytes

    def pinned(self, value: bytes | None, mask: bytes | None) -> Bits:
        """These, with those that `mask` names replaced by those of `value`: of the rest, the
        policy is as silent as before."""
        if value is None or mask is None:
            return self
        return Bits(
            _or(_and_not(self.value, mask), value),
            _or(self.mask, mask),
        )

    def wrong(self, found: bytes) -> bytes:
        """The bits of `found` that are not as they must be."""
        return bytes(
            (a ^ b) & bits for a, b, bits in zip(found, self.value, self.mask, strict=True)
        )

    def __str__(self) -> str:
        return f"{self.value.hex()} under the mask {self.mask.hex()}"


def _or(first: bytes, second: bytes) -> bytes:
    return bytes(a | b for a, b in zip(first, second, strict=True))


def _and_not(first: bytes, second: bytes) -> bytes:
    return bytes(a & ~b for a, b in zip(first, second, strict=True))


def _flags(*names: str) -> int:
    return sum(1 << bit for bit, name in _SGX_FLAGS.items() if name in names)


# Silence leaves open what every enclave has, what another condition judges (DEBUG), key separation
# and sharing (its values are conditions of their own) and XFRM: which registers the enclave may
# use gives its host nothing. No access to other keys, and nothing that we do not know.
SILENT_SGX = Bits(
    bytes(16),
    (~_flags("INIT", "DEBUG", "MODE64BIT", "KSS") & (1 << _FLAGS_BITS) - 1).to_bytes(8, "little")
    + bytes(8),
)
# What the processor saves of an exception goes into the enclave's own memory, as with XFRM.
SILENT_MISC_SELECT = Bits(
    bytes(4), (~sum(1 << bit for bit in _MISC_SELECT) & 0xFFFF_FFFF).to_bytes(4, "little")
)
# SEPT_VE_DISABLE is what keeps the host from injecting #VE exceptions by taking pages away. All
# else is zero: not migratable to another platform, no feature nobody asked for, none that we do
# not know. The group "TD under debug" is judged by the debug condition.
SILENT_TD = Bits(
    (1 << 28).to_bytes(8, "little"),
    (~_TD_UNDER_DEBUG & (1 << 64) - 1).to_bytes(8, "little"),
)


def sgx_names(attributes: bytes) -> str:
    """The FLAGS that are set in 16 bytes, by name."""
    return _names(attributes[:8], _SGX_FLAGS)


def misc_select_names(misc_select: bytes) -> str:
    """The bits of MISCSELECT that are set in 4 bytes, by name."""
    return _names(misc_select, _MISC_SELECT)


def td_names(attributes: bytes) -> str:
    """The TD attributes that are set in 8 bytes, by name."""
    return _names(attributes, _TD_ATTRIBUTES)


def misc_select_bytes(misc_select: int) -> bytes:
    """MISCSELECT as it stands in memory, 4 bytes."""
    return misc_select.to_bytes(4, "little")


def td_under_debug(attributes: bytes) -> bytes:
    """The bits of the group *TD under debug* that are set in 8 bytes."""
    return bytes((attributes[0] & _TD_UNDER_DEBUG,)) + bytes(7)


def td_migratable(attributes: bytes) -> bool:
    """Whether service TDs may move the TD to another platform: bit 29 of 8 bytes."""
    return bool(int.from_bytes(attributes, "little") & _TD_MIGRATABLE)


def _names(attributes: bytes, known: Mapping[int, str]) -> str:
    bits = int.from_bytes(attributes, "little")
    found = [known.get(bit, f"bit {bit}") for bit in range(bits.bit_length()) if bits >> bit & 1]
    return ", ".join(found) or "none"
