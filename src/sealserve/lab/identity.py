"""What an enclave is: its measurement and its signer, as they stand in a report.

Source: Intel SDM volume 3D, sections 37.3 (ATTRIBUTES), 37.14 (SIGSTRUCT), 37.15 (REPORT).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from sealserve.errors import ConfigError
from sealserve.evidence.report import ATTRIBUTE_DEBUG, SgxReport
from sealserve.files import read_secret, write_file

_INIT_MODE64 = 0x05
_XFRM = bytes.fromhex("e700000000000000")
_MODULUS_BYTES = 384  # RSA-3072
_EXPONENT = 3  # the only one that SGX takes
_KEY_LIMIT = 16 << 10


@dataclass(frozen=True, slots=True)
class EnclaveIdentity:
    """The fields of a report that a policy names."""

    mr_enclave: bytes
    mr_signer: bytes
    isv_prod_id: int = 0
    isv_svn: int = 0
    debug: bool = False

    def report(self, report_data: bytes) -> SgxReport:
        """The report of this enclave over 64 bytes that it chose; CPUSVN is the platform's."""
        flags = _INIT_MODE64 | (ATTRIBUTE_DEBUG if self.debug else 0)
        return SgxReport(
            cpu_svn=bytes(16),
            misc_select=0,
            isv_ext_prod_id=bytes(16),
            attributes=bytes((flags,)).ljust(8, b"\0") + _XFRM,
            mr_enclave=self.mr_enclave,
            mr_signer=self.mr_signer,
            config_id=bytes(64),
            isv_prod_id=self.isv_prod_id,
            isv_svn=self.isv_svn,
            config_svn=0,
            isv_family_id=bytes(16),
            report_data=report_data,
        )


def create_signing_key(file: Path) -> None:
    """An RSA-3072 key in whose name lab enclaves run, mode 0600; never overwrites one."""
    # SGX fixes the exponent 3; nothing is encrypted with this key.
    key = rsa.generate_private_key(_EXPONENT, 8 * _MODULUS_BYTES)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_file(file, pem, replace=False)


def read_mr_signer(file: Path) -> bytes:
    """MRSIGNER of a signing key: SHA-256 of its modulus, little-endian, 384 bytes.

    Any RSA-3072 key may stand there, one of `gramine-sgx-gen-private-key` too. Raises ConfigError.
    """
    try:
        key = load_pem_private_key(read_secret(file, limit=_KEY_LIMIT), password=None)
    except (ValueError, TypeError):
        raise ConfigError(f"{file} holds no unencrypted private key in PEM") from None
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size != 8 * _MODULUS_BYTES:
        raise ConfigError(f"{file} holds no RSA-3072 key, the only kind that signs enclaves")
    modulus = key.public_key().public_numbers().n
    return hashlib.sha256(modulus.to_bytes(_MODULUS_BYTES, "little")).digest()
