"""A PKCS#11 module at work in this process: its lock, its tokens, the login.

What the standard (PKCS#11 3.1) and python-pkcs11 leave to us:

- Cryptoki is initialised without locks of its own, C_Initialize(NULL), so one lock of the process
  stands before every call (section 5.4.1), whatever the token.
- A login is the whole process's, not a session's (section 4.2): who closes one session logs the
  others of that token out.
- A module does not survive a fork. It is finalised when the last session ends, so that workers
  are forked without it; the next session initialises it again.
- SoftHSM 2.6 writes a token's file anew at each login, and a process that initialises meanwhile
  finds no token. So processes of this machine open their sessions one after the other.

The PIN is read from its file whenever it is needed, and is in no message. It is not tried when the
token says that one more wrong PIN locks it: a service that is restarted again and again would.
"""

from __future__ import annotations

import fcntl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, BinaryIO

from sealserve.errors import ConfigError, NetworkError
from sealserve.keyservice.wrapping.config import Pkcs11Wrapping
from sealserve.keyservice.wrapping.secret_line import read_line

if TYPE_CHECKING:
    from pkcs11 import Session, Token, TokenFlag

CODE = "wrapping.token"
LOCK_SECONDS = 30.0  # for which one call waits for another
TURN_SECONDS = 5.0  # for which one process waits for others to open their sessions
TURN_PAUSE_SECONDS = 0.02

_lock = threading.RLock()
_sessions: Counter[str] = Counter()  # open ones by module, under the lock


def library() -> ModuleType:
    """The package python-pkcs11, which is an extra; raises ConfigError where it is missing."""
    try:
        import pkcs11
    except ImportError as error:
        raise ConfigError(
            "wrapping by a PKCS#11 token needs the package python-pkcs11",
            hint="pip install 'sealserve[pkcs11]'",
        ) from error
    return pkcs11


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Stand alone before Cryptoki; raises NetworkError if another call does not end."""
    if not _lock.acquire(timeout=LOCK_SECONDS):
        raise broken(f"is busy for more than {LOCK_SECONDS:.0f} seconds")
    try:
        yield
    finally:
        _lock.release()


def open_session(wrapping: Pkcs11Wrapping, *, rw: bool = False) -> Session:
    """A session with the token that `wrapping` names, logged in.

    To be called, and used, within `one_at_a_time`. Raises ConfigError: module, token or PIN, and
    what is wrong with it.
    """
    pkcs11 = library()
    pin = read_line(wrapping.pin, "PIN")
    module = str(wrapping.module)
    _sessions[module] += 1
    try:
        with _in_turn(wrapping.module):
            return _log_in(_find_token(wrapping), wrapping, pin, rw=rw)
    except pkcs11.PKCS11Error as error:
        _end(module)
        raise ConfigError(
            f"token {wrapping.token!r} opens no session: it answered {name_of(error)}"
        ) from error
    except BaseException:
        _end(module)
        raise


def close_session(wrapping: Pkcs11Wrapping, session: Session) -> None:
    """End a session of `open_session`, which may be lost already."""
    with suppress(library().PKCS11Error):
        session.close()
    _end(str(wrapping.module))


def open_sessions() -> dict[str, int]:
    """How many sessions this process has open, by module."""
    with one_at_a_time():
        return dict(+_sessions)


def tries_left(flags: TokenFlag) -> str:
    """What a token's flags say about further tries of the PIN; PKCS#11 knows no number."""
    flag = library().TokenFlag
    if flags & flag.USER_PIN_LOCKED:
        return "the PIN is locked, and the token's security officer has to set a new one"
    if flags & flag.USER_PIN_FINAL_TRY:
        return "one try is left before the token locks the PIN"
    return "the token does not say how many tries are left"


def lost() -> tuple[type[Exception], ...]:
    """The errors of a session that has ended, whoever ended it."""
    pkcs11 = library()
    return (
        pkcs11.SessionHandleInvalid,
        pkcs11.SessionClosed,
        pkcs11.UserNotLoggedIn,
        pkcs11.KeyHandleInvalid,
        pkcs11.ObjectHandleInvalid,
        pkcs11.DeviceRemoved,
        pkcs11.TokenNotPresent,
    )


def name_of(error: Exception) -> str:
    """The name of Cryptoki's return value, as python-pkcs11 spells it."""
    return str(error) or type(error).__name__


def broken(what: str) -> NetworkError:
    """The error of a token that does not do its work."""
    return NetworkError(f"the PKCS#11 token {what}", code=CODE, hint="look at the token's own log")


@contextmanager
def _in_turn(module: Path) -> Iterator[None]:
    """Wait until no other process opens a session by `module`: a courtesy, after a while we go on.

    Anybody who may read the module may hold its lock, so that it must not keep us from working.
    """
    try:
        stream = module.open("rb")
    except OSError:  # python-pkcs11 says what is wrong with it
        yield
        return
    with stream:
        end = time.monotonic() + TURN_SECONDS
        while _held_elsewhere(stream) and time.monotonic() < end:
            time.sleep(TURN_PAUSE_SECONDS)
        try:
            yield
        finally:
            with suppress(OSError):
                fcntl.flock(stream, fcntl.LOCK_UN)


def _held_elsewhere(stream: BinaryIO) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    return False


def _find_token(wrapping: Pkcs11Wrapping) -> Token:
    pkcs11 = library()
    try:
        module = pkcs11.lib(str(wrapping.module))
        tokens: list[Token] = list(module.get_tokens())
    except pkcs11.PKCS11Error as error:
        raise ConfigError(
            f"the PKCS#11 module {wrapping.module} does not work: {name_of(error)}",
            hint="name the token's own library; SoftHSM also needs a readable SOFTHSM2_CONF",
        ) from error
    found = [token for token in tokens if token.label == wrapping.token]
    if not found:
        others = ", ".join(sorted({token.label for token in tokens} - {""}))
        raise ConfigError(
            f"no token is labelled {wrapping.token!r}; found: {others or 'none'}",
            hint="set the token up with its own tool, or correct [wrapping] token",
        )
    if len(found) > 1:
        raise ConfigError(f"{len(found)} tokens are labelled {wrapping.token!r}, expected one")
    if pkcs11.Mechanism.AES_GCM not in found[0].slot.get_mechanisms():
        raise ConfigError(f"token {wrapping.token!r} does not know the mechanism CKM_AES_GCM")
    return found[0]


def _log_in(token: Token, wrapping: Pkcs11Wrapping, pin: str, *, rw: bool) -> Session:
    pkcs11 = library()
    if token.flags & pkcs11.TokenFlag.USER_PIN_FINAL_TRY:
        raise ConfigError(
            f"the PIN of token {wrapping.token!r} is not tried: a wrong one would lock the token",
            hint="log in once with the token's own tool, which sets its count back",
        )
    try:
        return token.open(rw=rw, user_pin=pin)
    except pkcs11.UserAlreadyLoggedIn:  # by another session of this process
        return token.open(rw=rw)
    except (
        pkcs11.PinIncorrect,
        pkcs11.PinInvalid,
        pkcs11.PinLenRange,
        pkcs11.PinExpired,
        pkcs11.PinLocked,
        pkcs11.UserPinNotInitialized,
    ) as error:
        raise ConfigError(
            f"token {wrapping.token!r} refuses the PIN in {wrapping.pin}: {name_of(error)};"
            f" {tries_left(token.slot.get_token().flags)}",
            hint="put the right PIN into the file before the next try",
        ) from None


def _end(module: str) -> None:
    """Count a session out; the last one takes the module out of work."""
    pkcs11 = library()
    _sessions[module] -= 1
    if not _sessions[module]:
        with suppress(pkcs11.PKCS11Error):
            pkcs11.lib(module).finalize()
