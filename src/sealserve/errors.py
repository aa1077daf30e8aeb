"""Every exception of SealServe, as one tree with stable codes and exit codes.

    SealServeError
    ├── UsageError            1  the command or its configuration is wrong
    │   └── ConfigError          a configuration file or value is wrong
    ├── RejectedError         2  malformed or unverifiable input
    │   ├── FormatError          bytes that do not follow their format
    │   ├── BindingError         evidence that does not bind the key it came with
    │   └── VerificationError    a check of the verifier failed; `code` names the check
    ├── NetworkError          3  a peer cannot be reached, stalls or misbehaves
    │   ├── CollateralError      endorsements are not to be had
    │   ├── RemoteVerifierError  a verifier elsewhere cannot be asked, or gives no answer
    │   ├── SourceError          no quote is to be had
    │   ├── StoreError           the key service's database does not answer, or takes no more
    │   └── OverloadedError      a limit is reached; `retry_after` says when to come again
    ├── DeniedError           4  verified, and refused by policy
    ├── IntegrityError        5  a protected file or the audit log fails authentication
    │   ├── WrongKeyOrHeader     wrong key or damaged header: the format cannot tell
    │   ├── NodeTampered         one node's tag does not match
    │   ├── WrongPath            authentic, but sealed for another path
    │   ├── UnsupportedVersion   a format version that we do not read
    │   ├── WrongDigest          a file that does not have its pinned SHA-256
    │   └── AuditError           the audit log is not whole, or takes no record
    └── ServingError             an answer of the serving surface, by its gRPC status
        ├── InvalidArgument, NotFound, FailedPrecondition, Unimplemented, PermissionDenied,
        └── ResourceExhausted, DeadlineExceeded, Unavailable, ModelsUnavailable

A person reads `str(error)`: what was found, what was expected, and the hint says what to do.
A peer is told `error.code` and nothing else. No message ever holds a secret.
"""

from __future__ import annotations

from typing import ClassVar


class SealServeError(Exception):
    """Base of the tree. `code` is stable, `hint` says what to do next."""

    default_code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, code: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.hint = hint

    def about(self, name: object) -> None:
        """Say which file this error is about: rooms that work on streams know no names."""
        self.message = f"{name}: {self.message}"
        self.args = (self.message,)


class UsageError(SealServeError):
    """The command was given wrong or contradicting arguments."""

    default_code = "usage"
    exit_code = 1


class ConfigError(UsageError):
    """A configuration file or one of its values is wrong."""

    default_code = "config"


class RejectedError(SealServeError):
    """Input that is malformed or cannot be verified."""

    default_code = "rejected"
    exit_code = 2


class FormatError(RejectedError):
    """Bytes that do not follow the format they claim."""

    default_code = "format"


class BindingError(RejectedError):
    """Evidence whose report data does not bind the key that it came with."""

    default_code = "binding"


class VerificationError(RejectedError):
    """A numbered check of the verifier failed; `code` is the check's own."""

    default_code = "verification"


class NetworkError(SealServeError):
    """A peer cannot be reached, stalls, or speaks another protocol."""

    default_code = "network"
    exit_code = 3


class CollateralError(NetworkError):
    """Endorsements (TCB info, QE identity, CRLs) are not to be had."""

    default_code = "collateral"


class RemoteVerifierError(NetworkError):
    """A verifier that runs elsewhere cannot be asked, or answers what is no answer."""

    default_code = "remote-verifier"


class SourceError(NetworkError):
    """No quote is to be had from the platform's or the lab's quoting service."""

    default_code = "evidence-source"


class StoreError(NetworkError):
    """The key service's database does not answer, or cannot make anything durable."""

    default_code = "database"


class OverloadedError(NetworkError):
    """A limit is reached and the work is not begun; `code` names the limit."""

    default_code = "overloaded"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        hint: str | None = None,
        retry_after: float = 1.0,
    ) -> None:
        super().__init__(message, code=code, hint=hint)
        self.retry_after = retry_after  # seconds


class DeniedError(SealServeError):
    """Verified evidence that the policy does not accept."""

    default_code = "denied"
    exit_code = 4


class IntegrityError(SealServeError):
    """A protected file, or the audit log, does not authenticate."""

    default_code = "integrity"
    exit_code = 5


class WrongKeyOrHeader(IntegrityError):
    """Node 0 does not authenticate: the key is wrong or the header is damaged."""

    default_code = "integrity.key-or-header"


class NodeTampered(IntegrityError):
    """A node beyond the header does not authenticate."""

    default_code = "integrity.node"

    def __init__(self, message: str, *, node: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.node = node


class WrongPath(IntegrityError):
    """An authentic file that was sealed for another path."""

    default_code = "integrity.path"


class UnsupportedVersion(IntegrityError):
    """A protected file of a major version that we do not read."""

    default_code = "integrity.version"


class WrongDigest(IntegrityError):
    """A file whose SHA-256 is not the pinned one."""

    default_code = "integrity.digest"


class AuditError(IntegrityError):
    """The audit log's chain is broken, or a record cannot be made durable in it."""

    default_code = "integrity.audit"


class ServingError(SealServeError):
    """An answer of the serving surface; `status` is the gRPC status name."""

    default_code = "serving"
    exit_code = 3
    status: ClassVar[str] = "INTERNAL"


class InvalidArgument(ServingError):
    """The request's shape, dtype, inputs or signature are wrong."""

    default_code = "serving.invalid-argument"
    status = "INVALID_ARGUMENT"


class NotFound(ServingError):
    """No such model, version or label."""

    default_code = "serving.not-found"
    status = "NOT_FOUND"


class FailedPrecondition(ServingError):
    """The request is sound, but not in this state of the server."""

    default_code = "serving.failed-precondition"
    status = "FAILED_PRECONDITION"


class Unimplemented(ServingError):
    """The engine or this server cannot do what was asked."""

    default_code = "serving.unimplemented"
    status = "UNIMPLEMENTED"


class ResourceExhausted(ServingError):
    """A limit or a queue is full."""

    default_code = "serving.resource-exhausted"
    status = "RESOURCE_EXHAUSTED"


class DeadlineExceeded(ServingError):
    """The deadline passed before an answer was there."""

    default_code = "serving.deadline-exceeded"
    status = "DEADLINE_EXCEEDED"


class Unavailable(ServingError):
    """The server or the model is not ready or is going away."""

    default_code = "serving.unavailable"
    status = "UNAVAILABLE"


class PermissionDenied(ServingError):
    """What this server does for nobody, unless whoever started it allowed it."""

    default_code = "serving.permission-denied"
    status = "PERMISSION_DENIED"


class ModelsUnavailable(ServingError):
    """Models of a new configuration did not become available; UNKNOWN, as in the stock server."""

    default_code = "serving.models-unavailable"
    status = "UNKNOWN"


def family(exit_code: int) -> type[SealServeError]:
    """The exceptions of an exit code; those of a wrong configuration where it is nobody's."""
    families = (RejectedError, NetworkError, DeniedError, IntegrityError)
    return next((each for each in families if each.exit_code == exit_code), ConfigError)
