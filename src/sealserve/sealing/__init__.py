"""Gramine protected files (encrypted files), versions 1 and 2, over binary streams.

`seal` writes one, `unseal` decrypts one whole, `open_sealed` reads one anywhere. What they raise is
in `sealserve.errors` under IntegrityError. This room is handed streams and keys: it opens no file,
and it neither keeps nor prints a key. Format: Gramine 1.9, `common/src/protected_files/`; in our
words, `docs/formats.md`.
"""

from sealserve.sealing.header import MAGIC, VERSIONS, WRAP_KEY_BYTES, Header, check_wrap_key
from sealserve.sealing.paths import MAX_PATH_BYTES, normalize_path
from sealserve.sealing.reader import SealedReader, open_sealed, unseal
from sealserve.sealing.writer import seal

__all__ = [
    "MAGIC",
    "MAX_PATH_BYTES",
    "VERSIONS",
    "WRAP_KEY_BYTES",
    "Header",
    "SealedReader",
    "check_wrap_key",
    "normalize_path",
    "open_sealed",
    "seal",
    "unseal",
]
