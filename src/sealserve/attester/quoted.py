"""What goes to a source of evidence and what comes back: 64 bytes, and a quote over exactly these.

Every source checks both here. Whether the quote is *genuine* is not known in this room.
"""

from __future__ import annotations

from typing import Protocol

from sealserve.errors import SourceError
from sealserve.evidence.quote import parse_quote
from sealserve.evidence.ratls import MAX_RATLS_QUOTE_BYTES

REPORT_DATA_BYTES = 64
QUOTE_SECONDS = 60.0  # the platform's quoting service may have to fetch certificates first


class EvidenceSource(Protocol):
    """Whatever makes quotes of the enclave, or of the trust domain, that asks."""

    def quote(self, report_data: bytes) -> bytes:
        """A quote over 64 bytes of report data; raises SourceError when none is to be had."""
        ...


def check_report_data(report_data: bytes) -> None:
    """Raise ValueError unless these are 64 bytes."""
    if len(report_data) != REPORT_DATA_BYTES:
        raise ValueError(f"report data has {REPORT_DATA_BYTES} bytes, not {len(report_data)}")


def checked(quote: bytes, report_data: bytes) -> bytes:
    """`quote`; raises SourceError when it is too large for a certificate, or over other bytes."""
    if len(quote) > MAX_RATLS_QUOTE_BYTES:
        raise SourceError(f"a quote has at most {MAX_RATLS_QUOTE_BYTES} bytes; this one is larger")
    if parse_quote(quote).body.report_data != report_data:
        raise SourceError("the quote that came back is over other report data than we gave")
    return quote
