"""A key-encryption key that does not leave its PKCS#11 token: the token itself encrypts.

The mechanism is CKM_AES_GCM (PKCS#11 3.1 section 6.13) with a nonce of ours and the header as
associated data, so that a wrapped key has one form for every kind. A session that is lost is
opened again, once.

Tokens disagree about the error of a tag that does not hold (SoftHSM 2.6: CKR_GENERAL_ERROR). So
after any error the key is asked whether it opens what it has just encrypted: if so, the wrapped
key is to blame, otherwise the token.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from sealserve.errors import ConfigError
from sealserve.keyservice.wrapping import blob
from sealserve.keyservice.wrapping.config import Pkcs11Wrapping
from sealserve.keyservice.wrapping.cryptoki import (
    broken,
    close_session,
    library,
    lost,
    name_of,
    one_at_a_time,
    open_session,
)

if TYPE_CHECKING:
    from pkcs11 import Session

Done = TypeVar("Done")


class Handle(Protocol):
    """A key as python-pkcs11 has it once it is known to encrypt and decrypt."""

    def __getitem__(self, attribute: Any) -> object: ...

    def encrypt(self, data: bytes, *, mechanism: object, mechanism_param: object) -> bytes: ...

    def decrypt(self, data: bytes, *, mechanism: object, mechanism_param: object) -> bytes: ...


class TokenKey:
    """A key inside a token, and the session in which it is used."""

    kind: str = "pkcs11"

    def __init__(self, wrapping: Pkcs11Wrapping, session: Session, key: Handle) -> None:
        self._wrapping = wrapping
        self._session: Session | None = session
        self._key = key

    @classmethod
    def open(cls, wrapping: Pkcs11Wrapping) -> TokenKey:
        """Raises ConfigError: module, token, PIN or key, and what is wrong with it."""
        library()
        with one_at_a_time():
            return cls(wrapping, *_open_key(wrapping))

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """`key` of 32 bytes, wrapped for `context`; raises NetworkError `wrapping.token`."""
        blob.check_size(key)
        header = blob.Header.fresh(self.kind)
        return bytes(header) + self._use(lambda kek: _encrypt(kek, header, key, context))

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """The key; raises IntegrityError `wrapping.key` or NetworkError `wrapping.token`."""
        header, sealed = blob.split(wrapped, self.kind)
        key = self._use(lambda kek: _open(kek, header, sealed, context))
        if len(key) != blob.KEY_SIZE:
            raise broken(f"gave {len(key)} bytes for a key of {blob.KEY_SIZE}")
        return key

    def close(self) -> None:
        """End the session; a later use would open another."""
        with one_at_a_time():
            session, self._session = self._session, None
            if session is not None:
                close_session(self._wrapping, session)

    def _use(self, work: Callable[[Handle], Done]) -> Done:
        """What `work` does with the key, in a new session if the old one is lost."""
        with one_at_a_time():
            try:
                try:
                    if self._session is not None:
                        return work(self._key)
                except lost():
                    self.close()
                self._session, self._key = _open_key(self._wrapping)
                return work(self._key)
            except library().PKCS11Error as error:
                raise broken(f"answered {name_of(error)}") from error


def make_token_key(wrapping: Pkcs11Wrapping) -> None:
    """Make the AES-256 key in the token if no key has its label, and try it.

    It is sensitive and not extractable (its value never leaves the token), permanent, private, and
    good for encryption and decryption alone. Raises ConfigError, or NetworkError `wrapping.token`
    where the token does not open what it encrypts.
    """
    pkcs11 = library()
    with one_at_a_time():
        session = open_session(wrapping, rw=True)
        try:
            if not _labelled(session, wrapping):
                _generate(session, wrapping)
            key = _find_key(session, wrapping)
            _encrypt(key, blob.Header.fresh(TokenKey.kind), bytes(blob.KEY_SIZE), b"")
        except pkcs11.PKCS11Error as error:
            raise ConfigError(
                f"token {wrapping.token!r} makes no AES-256 key: it answered {name_of(error)}",
                hint="make the key with the token's own tool: AES-256, sensitive, not extractable",
            ) from error
        finally:
            close_session(wrapping, session)


def _open_key(wrapping: Pkcs11Wrapping) -> tuple[Session, Handle]:
    session = open_session(wrapping)
    try:
        return session, _find_key(session, wrapping)
    except library().PKCS11Error as error:
        close_session(wrapping, session)
        raise ConfigError(
            f"key {wrapping.key!r} in token {wrapping.token!r} cannot be used:"
            f" the token answered {name_of(error)}"
        ) from error
    except BaseException:
        close_session(wrapping, session)
        raise


def _find_key(session: Session, wrapping: Pkcs11Wrapping) -> Handle:
    """The one key with the label, if it is what it must be; raises ConfigError."""
    keys = _labelled(session, wrapping)
    where = f"token {wrapping.token!r}"
    if not keys:
        raise ConfigError(
            f"{where} has no key labelled {wrapping.key!r}",
            hint="`sealserve keyservice init` makes one; for a database that exists, find its own",
        )
    if len(keys) > 1:
        raise ConfigError(f"{where} has {len(keys)} keys labelled {wrapping.key!r}, expected one")
    for attribute, expected, complaint in _required():
        if keys[0][attribute] != expected:
            raise ConfigError(
                f"key {wrapping.key!r} in {where} {complaint}",
                hint="name another key; `sealserve keyservice init` makes one as it must be",
            )
    return keys[0]


def _required() -> tuple[tuple[object, object, str], ...]:
    pkcs11 = library()
    attribute = pkcs11.Attribute
    return (
        (attribute.KEY_TYPE, pkcs11.KeyType.AES, "is no AES key"),
        (attribute.VALUE_LEN, blob.KEY_SIZE, f"does not have {blob.KEY_SIZE} bytes"),
        (attribute.ENCRYPT, True, "may not encrypt"),
        (attribute.DECRYPT, True, "may not decrypt"),
        (attribute.SENSITIVE, True, "shows its value: it is not sensitive"),
        (attribute.EXTRACTABLE, False, "can leave the token: it is extractable"),
    )


def _labelled(session: Session, wrapping: Pkcs11Wrapping) -> list[Handle]:
    pkcs11 = library()
    wanted = {
        pkcs11.Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY,
        pkcs11.Attribute.LABEL: wrapping.key,
    }
    return [cast(Handle, key) for key in session.get_objects(wanted)]


def _generate(session: Session, wrapping: Pkcs11Wrapping) -> None:
    pkcs11 = library()
    attribute, use = pkcs11.Attribute, pkcs11.MechanismFlag
    session.generate_key(
        pkcs11.KeyType.AES,
        blob.KEY_SIZE * 8,
        label=wrapping.key,
        store=True,
        capabilities=use.ENCRYPT | use.DECRYPT,
        template={
            attribute.SENSITIVE: True,
            attribute.EXTRACTABLE: False,
            attribute.PRIVATE: True,
        },
    )


def _encrypt(kek: Handle, header: blob.Header, key: bytes, context: bytes) -> bytes:
    """`key` encrypted, and opened again to be sure: some tokens choose a nonce of their own."""
    sealed = bytes(kek.encrypt(key, **_gcm(header, context)))
    if len(sealed) != blob.KEY_SIZE + blob.TAG_SIZE or not _gives(
        kek, header, sealed, context, key
    ):
        raise broken("does not open what it has just encrypted by AES-GCM with a nonce of ours")
    return sealed


def _gives(kek: Handle, header: blob.Header, sealed: bytes, context: bytes, key: bytes) -> bool:
    try:
        return kek.decrypt(sealed, **_gcm(header, context)) == key
    except lost():
        raise
    except library().PKCS11Error:
        return False


def _open(kek: Handle, header: blob.Header, sealed: bytes, context: bytes) -> bytes:
    try:
        return bytes(kek.decrypt(sealed, **_gcm(header, context)))
    except lost():
        raise
    except library().PKCS11Error:
        _encrypt(kek, blob.Header.fresh(header.kind), bytes(blob.KEY_SIZE), b"")
        raise blob.not_authentic() from None


def _gcm(header: blob.Header, context: bytes) -> dict[str, Any]:
    pkcs11 = library()
    nonce = bytes(bytearray(header.nonce))  # a copy: some tokens write their own nonce over it
    parameters = pkcs11.GCMParams(nonce, header.associated(context), blob.TAG_SIZE * 8)
    return {"mechanism": pkcs11.Mechanism.AES_GCM, "mechanism_param": parameters}
