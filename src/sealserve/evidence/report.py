"""The report body of an SGX enclave: 384 bytes <-> `SgxReport`.

It stands in a quote twice: the application enclave's and the quoting enclave's. This module parses
and serialises, it judges nothing: whether a debug enclave or a measurement is acceptable is for the
verifier and the policy.

Source: Intel SGX ECDSA Quote Library Reference, appendix A, "Enclave Report Body"; Intel SDM
volume 3D, "Enclave Access Control and Data Structures", REPORT. All integers are little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from sealserve.errors import FormatError

SGX_REPORT_BYTES = 384
ATTRIBUTE_DEBUG = 0x02  # bit 1 of the first byte of ATTRIBUTES.FLAGS

_LAYOUT = struct.Struct("<16s I 12x 16s 16s 32s 32x 32s 32x 64s H H H 42x 16s 64s")
_RESERVED = (slice(20, 32), slice(96, 128), slice(160, 192), slice(262, 304))  # the x above
_LENGTHS = {
    "cpu_svn": 16,
    "isv_ext_prod_id": 16,
    "attributes": 16,
    "mr_enclave": 32,
    "mr_signer": 32,
    "config_id": 64,
    "isv_family_id": 16,
    "report_data": 64,
}
_INTEGER_BITS = {"misc_select": 32, "isv_prod_id": 16, "isv_svn": 16, "config_svn": 16}


@dataclass(frozen=True, slots=True)
class SgxReport:
    """What the hardware says about one enclave. Byte fields as stored, integers decoded."""

    cpu_svn: bytes
    """16 bytes: one security version for each of the platform's components."""
    misc_select: int
    """32 bits."""
    isv_ext_prod_id: bytes
    """16 bytes."""
    attributes: bytes
    """16 bytes: FLAGS (8, little-endian), then XFRM (8, little-endian)."""
    mr_enclave: bytes
    """32 bytes: the measurement of the enclave's code and initial data."""
    mr_signer: bytes
    """32 bytes: SHA-256 of the signer's RSA modulus, little-endian as in SIGSTRUCT."""
    config_id: bytes
    """64 bytes."""
    isv_prod_id: int
    """16 bits."""
    isv_svn: int
    """16 bits."""
    config_svn: int
    """16 bits."""
    isv_family_id: bytes
    """16 bytes."""
    report_data: bytes
    """64 bytes that the enclave chose."""

    def __post_init__(self) -> None:
        check_lengths("report", self, _LENGTHS)
        check_widths("report", self, _INTEGER_BITS)

    @property
    def debug(self) -> bool:
        """The enclave can be read and changed by a debugger."""
        return bool(self.attributes[0] & ATTRIBUTE_DEBUG)

    @classmethod
    def parse(cls, data: bytes) -> SgxReport:
        """A report from exactly 384 bytes.

        Raises FormatError: `report.length`; `report.reserved` when a reserved byte is not zero,
        because it would then carry a meaning that nobody here checks.
        """
        if len(data) != SGX_REPORT_BYTES:
            raise FormatError(
                f"an SGX report is {SGX_REPORT_BYTES} bytes, these are {len(data)}",
                code="report.length",
            )
        if any(any(data[reserved]) for reserved in _RESERVED):
            raise FormatError(
                "a reserved byte of the SGX report is not zero", code="report.reserved"
            )
        return cls(*_LAYOUT.unpack(data))

    def serialize(self) -> bytes:
        """The same 384 bytes."""
        return _LAYOUT.pack(
            self.cpu_svn,
            self.misc_select,
            self.isv_ext_prod_id,
            self.attributes,
            self.mr_enclave,
            self.mr_signer,
            self.config_id,
            self.isv_prod_id,
            self.isv_svn,
            self.config_svn,
            self.isv_family_id,
            self.report_data,
        )


def check_lengths(structure: str, value: object, lengths: Mapping[str, int]) -> None:
    """Raise FormatError (`<structure>.field`) unless the byte fields have these lengths.

    Without it, packing would silently pad or cut a field of the wrong length.
    """
    for name, length in lengths.items():
        found = len(getattr(value, name))
        if found != length:
            raise FormatError(
                f"{structure}: {name} is {length} bytes, not {found}", code=f"{structure}.field"
            )


def check_widths(structure: str, value: object, bits: Mapping[str, int]) -> None:
    """Raise FormatError (`<structure>.field`) unless the integer fields fit these widths."""
    for name, width in bits.items():
        if not 0 <= getattr(value, name) < 1 << width:
            raise FormatError(
                f"{structure}: {name} does not fit {width} bits", code=f"{structure}.field"
            )
