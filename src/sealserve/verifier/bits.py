"""Comparing fields of hardware under a mask."""

from __future__ import annotations


def masked(value: bytes, mask: bytes) -> bytes:
    """The bits of `value` that are set in `mask`; both have one length, in the order of memory."""
    return bytes(byte & bits for byte, bits in zip(value, mask, strict=True))
