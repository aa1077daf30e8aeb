"""The listener's side of TLS: every session shows evidence, and the library judges none of it.

pyOpenSSL, because the standard library's `ssl` cannot accept a self-signed client certificate and
hand it over. The context here

- asks every client for a certificate and ends the handshake without one;
- lets through what is wrong with *every* RA-TLS certificate, that nobody else signed it and that
  its dates mean nothing (an enclave has no clock to trust), and nothing else. That proves no more
  than possession of the key: what the certificate is worth is for `keyservice.service` to decide;
- ends the handshake at a key that is made to be slow, of RSA or DSA, before a signature by it is
  checked: one event loop does this for everybody;
- speaks TLS 1.2 and 1.3 with forward secrecy and authenticated encryption only: enough for the old
  and the new client of Gramine, by what their ClientHellos offer;
- never resumes a session and never renegotiates, so that there is no session without a certificate
  of its own;
- chooses the protocol by ALPN (RFC 7301): `sealserve/1` for who offers it, Gramine's for who offers
  nothing. Who offers others alone is ended with no_application_protocol, and never served in
  another protocol than he named.

SNI and ALPN are of the ClientHello that the handshake signs: in TLS 1.2 and 1.3 alike the client's
CertificateVerify and both Finished messages cover it, and there is no second one that counts, for
nothing is resumed or renegotiated. So the host name and the protocol are those that the holder of
the RA-TLS key chose; who stands in between can neither move a client into the other protocol nor
change the name under which it asks, only break the session. The client, for its part, goes on only
where `sealserve/1` was chosen. And the two protocols share no first byte: a request of one is
refused by the parser of the other before anything is decided.

This module does no I/O: bytes go through `TlsServer`'s memory.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from OpenSSL import SSL, crypto

from sealserve.attester.messages import ALPN
from sealserve.errors import ConfigError, NetworkError
from sealserve.evidence.certificate import is_bounded

TLS12_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"  # TLS 1.3 has sound ones alone
RECORD = 16 << 10  # bytes
FLIGHT = 64 << 10  # bytes taken from OpenSSL at once

# From OpenSSL's x509_vfy.h.
_NOT_YET_VALID, _EXPIRED, _SELF_SIGNED_LEAF = 9, 10, 18
_EC, _EC_BITS = 408, (256, 384, 521)  # NID_X9_62_id_ecPublicKey in obj_mac.h; the usual curves
_SELF_DECLARED = frozenset({_NOT_YET_VALID, _EXPIRED, _SELF_SIGNED_LEAF})


def server_context(certificates_pem: bytes, private_key_pem: bytes) -> SSL.Context:
    """The listener's context: our own certificate, then the chain; raises ConfigError."""
    own, *chain = _load_certificates(certificates_pem)
    key = _load_key(private_key_pem)
    if own.public_key() != key.public_key():
        raise ConfigError("the TLS private key does not belong to the first TLS certificate")
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(TLS12_CIPHERS)
    context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # 27 KiB less for a session that waits
    context.set_session_id(secrets.token_bytes(16))
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _hand_over)
    context.set_alpn_select_callback(_choose_protocol)
    context.use_certificate(own)
    for issuer in chain:
        context.add_extra_chain_cert(issuer)
    context.use_privatekey(key)
    return context


class TlsServer:
    """One session, without a socket: bytes in by `feed`, bytes out by `take`.

    What needs more bytes from the client says so by its result; nothing here waits.
    """

    def __init__(self, context: SSL.Context) -> None:
        self._connection = SSL.Connection(context, None)
        self._connection.set_accept_state()

    def feed(self, data: bytes) -> None:
        """Bytes that came from the client."""
        while data:
            data = data[self._connection.bio_write(data) :]

    def take(self) -> bytes:
        """Bytes for the client; call it after everything else, errors included (alerts)."""
        pieces: list[bytes] = []
        try:
            while not pieces or len(pieces[-1]) == FLIGHT:
                pieces.append(self._connection.bio_read(FLIGHT))
        except SSL.WantReadError:  # nothing is left
            pass
        return b"".join(pieces)

    def handshake(self) -> bool:
        """Whether the handshake is done; raises NetworkError when it failed."""
        with _failing("handshake"):
            try:
                self._connection.do_handshake()
            except SSL.WantReadError:
                return False
            return True

    def receive(self) -> bytes | None:
        """What the client sent, b"" once it closed the session, None while more is needed."""
        with _failing("session"):
            try:
                return self._connection.recv(RECORD)
            except SSL.WantReadError:
                return None
            except SSL.ZeroReturnError:
                return b""

    def send(self, data: bytes) -> None:
        """Encrypt all of `data` for the client (into memory, which takes everything)."""
        with _failing("session"):
            self._connection.sendall(data)

    def close(self) -> None:
        """Say that nothing more comes. The client may have gone, or never have come so far."""
        try:
            self._connection.shutdown()
        except SSL.Error:
            return

    @property
    def certificate(self) -> bytes:
        """The client's certificate, DER: possession of its key is proven, nothing else."""
        found = self._connection.get_peer_certificate()
        if found is None:
            raise NetworkError("the session has no client certificate", code="no-certificate")
        return crypto.dump_certificate(crypto.FILETYPE_ASN1, found)

    @property
    def server_name(self) -> str | None:
        """The host name that the client asked under (SNI), lower case, if it gave a sane one."""
        name = self._connection.get_servername()
        if name is None or len(name) > 253 or not name.isascii():
            return None
        text = name.decode("ascii").lower()
        return text if text.isprintable() and " " not in text else None

    @property
    def protocol(self) -> bytes:
        """The protocol that ALPN chose; nothing where the client offered none."""
        return self._connection.get_alpn_proto_negotiated()

    @property
    def version(self) -> str:
        """The TLS version in use, `TLSv1.3`."""
        return self._connection.get_protocol_version_name()


def _hand_over(
    _connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int
) -> bool:
    """OpenSSL's verify callback: a single, self-signed certificate of any date is handed over.

    We name no CA, so OpenSSL finds every certificate at fault (it is self-signed, or its issuer is
    not there) before it says at last that all is well: what the client's signature will cost to
    check is bounded once, at that fault, and before the signature is looked at.
    """
    if depth != 0 or (not ok and error not in _SELF_DECLARED):
        return False
    return bool(ok) or error != _SELF_SIGNED_LEAF or not _is_slow(certificate)


def _choose_protocol(_connection: SSL.Connection, offered: list[bytes]) -> bytes:
    """OpenSSL's ALPN callback, called where the client offers any.

    An error and not pyOpenSSL's NO_OVERLAPPING_PROTOCOLS, which would go on without ALPN: this one
    ends the handshake with no_application_protocol (RFC 7301, section 3.2).
    """
    if ALPN not in offered:
        raise NetworkError(
            f"the client offers none of our protocols, but {offered[:4]}", code="protocol"
        )
    return ALPN


def _is_slow(certificate: crypto.X509) -> bool:
    """Whether the key is an RSA key out of bounds, one for DSA, or none that can be told."""
    try:
        found = certificate.get_pubkey()
        if found.type() == _EC and found.bits() in _EC_BITS:
            return False
        key = found.to_cryptography_key()
    except (crypto.Error, ValueError, UnsupportedAlgorithm):
        return True
    if isinstance(key, rsa.RSAPublicKey):
        return not is_bounded(key)
    return isinstance(key, dsa.DSAPublicKey)  # of up to 10,000 bits, and no enclave has one


@contextmanager
def _failing(phase: str) -> Iterator[None]:
    """OpenSSL's errors as ours; `phase` is the code."""
    try:
        yield
    except SSL.Error as error:
        details = error.args[0] if error.args else None
        reasons = [str(entry[-1]) for entry in details] if isinstance(details, list) else []
        text = "; ".join(reasons) or "the client broke off"
        raise NetworkError(f"TLS {phase} failed: {text}", code=phase) from error


def _load_certificates(pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise ConfigError(f"the TLS certificate file holds no PEM certificate: {error}") from error


def _load_key(pem: bytes) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise ConfigError(
            "the TLS private key file holds no unencrypted private key in PEM"
        ) from error
    if isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)):
        return key
    raise ConfigError("the TLS private key is neither RSA nor EC; Gramine's clients know no other")
