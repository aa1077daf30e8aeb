"""The administration of a key service elsewhere, over its admin API.

Both sides show a certificate. Answers are bounded in size and time, and are what the API's schema
says; no redirect is followed, no compressed answer read, no proxy asked. A request is sent once: a
change whose answer is lost may have been made, and the error says so.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NoReturn, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from sealserve.errors import ConfigError, NetworkError, UsageError
from sealserve.files import read_file, read_secret
from sealserve.keyservice.administration.answers import (
    ANSWER_LIMIT,
    CheckpointAnswer,
    ConsistencyAnswer,
    DryRunAnswer,
    ErrorAnswer,
    InclusionAnswer,
    LogKeyAnswer,
    PolicyAnswer,
    RecordsAnswer,
    RevocationsAnswer,
    SecretAnswer,
    SecretsAnswer,
    StatusAnswer,
    TargetAnswer,
)
from sealserve.keyservice.administration.values import (
    Consistency,
    DryRun,
    Inclusion,
    PolicyFacts,
    Query,
    Record,
    Status,
    Target,
)
from sealserve.keyservice.store.secrets import SecretFacts
from sealserve.transparency.note import encode_base64

SECONDS: Final = 60.0
PEM_LIMIT: Final = 256 << 10  # bytes
_Answer = TypeVar("_Answer", bound=BaseModel)


class RemoteAdministration:
    """`sealserve.keyservice.administration.values.Administration`, over HTTPS. Closed by `with`."""

    def __init__(
        self,
        url: str,
        ca_file: Path,
        certificate: Path,
        private_key: Path,
        timeout: float = SECONDS,
    ) -> None:
        """`timeout` is for a whole request, in seconds. Raises UsageError, ConfigError."""
        self._url = _base(url)
        self._timeout = timeout
        self._http = httpx.Client(
            verify=_context(ca_file, certificate, private_key),
            timeout=timeout,
            headers={"Accept-Encoding": "identity"},
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def status(self) -> Status:
        """How it stands."""
        return self._get(StatusAnswer, "status").value_of()

    def secrets(self) -> list[SecretFacts]:
        """Every version of every secret."""
        return self._get(SecretsAnswer, "secrets").value_of()

    def secret(self, name: str) -> list[SecretFacts]:
        """Every version of one secret."""
        return self._get(SecretsAnswer, f"secrets/{_part(name)}").value_of()

    def add_secret(self, name: str, value: bytes, record: bytes | None = None) -> SecretFacts:
        """A new name."""
        body = {"name": name, **_value(value, record)}
        return self._ask(SecretAnswer, "POST", "secrets", body).value_of()

    def rotate_secret(self, name: str, value: bytes, record: bytes | None = None) -> SecretFacts:
        """A new current version."""
        path = f"secrets/{_part(name)}/rotate"
        return self._ask(SecretAnswer, "POST", path, _value(value, record)).value_of()

    def retire_secret(self, name: str, version: int | None = None) -> list[SecretFacts]:
        """Release a version, or all of them, no more."""
        path = f"secrets/{_part(name)}/retire"
        return self._ask(SecretsAnswer, "POST", path, {"version": version}).value_of()

    def revocations(self) -> list[Target]:
        """Everything that is revoked."""
        return self._get(RevocationsAnswer, "revocations").value_of()

    def revoke(self, target: Target, reason: str) -> None:
        """From the next release on."""
        body = {"kind": target.kind.value, "value": target.value, "reason": reason}
        self._ask(TargetAnswer, "POST", "revocations", body)

    def lift(self, target: Target, reason: str) -> None:
        """Take a revocation back."""
        path = f"revocations/{target.kind.value}/{_part(target.value)}"
        self._ask(TargetAnswer, "DELETE", path, query={"reason": reason})

    def policy(self) -> PolicyFacts:
        """The one in force."""
        return self._get(PolicyAnswer, "policy").value_of()

    def try_policy(self, text: str) -> DryRun:
        """Judge the newest decisions on record by another policy."""
        return self._ask(DryRunAnswer, "POST", "policy/dry-run", {"policy": text}).value_of()

    def apply_policy(self, text: str, token: str) -> PolicyFacts:
        """Put a policy in force that was tried on the revision that still is."""
        body = {"policy": text, "token": token}
        return self._ask(PolicyAnswer, "PUT", "policy", body).value_of()

    def log_key(self) -> str:
        """The verifier key of the log."""
        return self._get(LogKeyAnswer, "audit/key").key

    def checkpoint(self) -> str:
        """The signed note of the log's head."""
        return self._get(CheckpointAnswer, "audit/checkpoint").checkpoint

    def records(self, query: Query) -> list[Record]:
        """At most PAGE records, fewer where they are long; none at the end."""
        return self._ask(RecordsAnswer, "GET", "audit/records", query=_parameters(query)).value_of()

    def inclusion(self, index: int) -> Inclusion:
        """Proof of one record under the head."""
        return self._get(InclusionAnswer, f"audit/inclusion/{index}").value_of()

    def consistency(self, old_size: int) -> Consistency:
        """Proof that nothing before `old_size` was touched."""
        return self._get(ConsistencyAnswer, f"audit/consistency/{old_size}").value_of()

    def _get(self, kind: type[_Answer], path: str) -> _Answer:
        return self._ask(kind, "GET", path)

    def _ask(
        self,
        kind: type[_Answer],
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> _Answer:
        url = f"{self._url}/v1/{path}"
        try:
            with self._http.stream(method, url, json=body, params=query) as response:
                status, content = response.status_code, self._content(response)
        except httpx.HTTPError as error:
            _unreachable(self._url, method, error)
        if not 200 <= status < 300:
            raise _refused(self._url, status, content)
        try:
            return kind.model_validate_json(content)
        except ValidationError:
            raise _no_answer(self._url, f"HTTP {status} and no {kind.__name__}") from None

    def _content(self, response: httpx.Response) -> bytes:
        """The body, as long as it is of bounded length, in time and as it was sent."""
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise _no_answer(self._url, "a compressed answer, which was not asked for")
        until = time.monotonic() + self._timeout
        body = bytearray()
        for chunk in response.iter_raw():
            body += chunk
            if len(body) > ANSWER_LIMIT:
                raise _no_answer(self._url, f"more than {ANSWER_LIMIT} bytes")
            if time.monotonic() > until:
                raise _no_answer(self._url, f"no whole answer in {self._timeout:g} seconds")
        return bytes(body)


def _base(text: str) -> str:
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError):
        url = httpx.URL("")
    if url.scheme != "https" or not url.host or url.userinfo or url.query or url.fragment:
        raise UsageError(
            f"{text!r:.200} is no address of an admin API",
            hint="expected https://HOST:PORT, with the port of [admin] in its configuration",
        )
    return str(url).rstrip("/")


def _context(ca_file: Path, certificate: Path, private_key: Path) -> ssl.SSLContext:
    authorities = read_file(ca_file, limit=PEM_LIMIT)
    read_file(certificate, limit=PEM_LIMIT)
    read_secret(private_key, limit=PEM_LIMIT)  # refuses a key that others may read
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    try:
        context.load_verify_locations(cadata=authorities.decode("ascii"))
        context.load_cert_chain(certificate, private_key, password=_no_password)
    except (ssl.SSLError, UnicodeDecodeError) as error:
        reason = getattr(error, "reason", None) or "not PEM"
        raise ConfigError(
            f"the TLS files cannot be used: {reason}",
            hint=f"{certificate} and {private_key} must be PEM and belong together,"
            f" {ca_file} be PEM",
        ) from None
    return context


def _no_password() -> bytes:
    raise ConfigError("the private key is encrypted with a password, which is not asked for")


def _part(text: str) -> str:
    return quote(text, safe="")


def _value(value: bytes, record: bytes | None) -> dict[str, str | None]:
    return {
        "value": encode_base64(value),
        "record": None if record is None else encode_base64(record),
    }


def _parameters(query: Query) -> dict[str, str]:
    given = {
        "after": query.after,
        "limit": query.limit,
        "kind": query.kind,
        "outcome": query.outcome,
        "secret": query.secret,
        "evidence": query.evidence,
        "since": query.since.isoformat() if query.since else None,
        "until": query.until.isoformat() if query.until else None,
        "newest_first": "true" if query.newest_first else None,
    }
    return {name: str(value) for name, value in given.items() if value is not None}


def _refused(url: str, status: int, content: bytes) -> Exception:
    try:
        return ErrorAnswer.model_validate_json(content).value_of()
    except ValidationError:
        return _no_answer(url, f"HTTP {status}")


def _no_answer(url: str, found: str) -> NetworkError:
    return NetworkError(
        f"{url} is no admin API that we know: it sent {found}",
        hint="does the port belong to [admin] of the key service, and is it of our version?",
    )


def _unreachable(url: str, method: str, error: httpx.HTTPError) -> NoReturn:
    reason, hint = str(error) or type(error).__name__, "is the key service up, the port right?"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            reason = f"its certificate is not trusted: {cause.verify_message}"
            hint = "is --ca the authority of the key service's own certificate?"
            break
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.TimeoutException):
        reason = "it did not answer in time"
    elif isinstance(error, httpx.RemoteProtocolError | httpx.ReadError):
        # Where it refuses a certificate, its listener sends no alert.
        reason = "it closed the connection, as it does to a certificate that it does not accept"
        hint = "is the certificate of --cert signed by [admin] client_ca, and in force?"
    unsure = method != "GET" and not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
    if unsure:
        hint += " The change may have been made all the same: look before you repeat it"
    raise NetworkError(f"cannot ask {url}: {reason}", hint=hint) from None
