"""Gramine protected files (encrypted files), versions 1 and 2, over binary streams.

`seal` writes one, `unseal` decrypts one whole, `open_sealed` reads one anywhere, `reseal` puts one
under another key. What they raise is in `sealserve.errors` under IntegrityError. A `ModelRecord`
says which plaintext a model's files have. This room is handed streams and keys: it opens no file,
and it neither keeps nor prints a key. Format: Gramine 1.9, `common/src/protected_files/`; in our
words, `docs/formats.md`.
"""

from sealserve.sealing.header import MAGIC, VERSIONS, WRAP_KEY_BYTES, Header, check_wrap_key
from sealserve.sealing.paths import MAX_PATH_BYTES, normalize_path
from sealserve.sealing.reader import SealedReader, open_sealed, open_sealed_under, unseal
from sealserve.sealing.record import ModelRecord, RecordedFile, parse_record
from sealserve.sealing.reseal import reseal
from sealserve.sealing.writer import seal

__all__ = [
    "MAGIC",
    "MAX_PATH_BYTES",
    "VERSIONS",
    "WRAP_KEY_BYTES",
    "Header",
    "ModelRecord",
    "RecordedFile",
    "SealedReader",
    "check_wrap_key",
    "normalize_path",
    "open_sealed",
    "open_sealed_under",
    "parse_record",
    "reseal",
    "seal",
    "unseal",
]
