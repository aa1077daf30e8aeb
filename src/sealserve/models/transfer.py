"""Bytes from a URL, as a stream that may begin where an earlier one broke off.

HTTP (RFC 9110): `Range` asks for the rest, `If-Range` with a strong ETag makes the server send all
of it if the file is another one by now (13.1.5, 14.2), and what it then says about the range is
checked. Every read has a deadline. Redirects are followed by the rules of `sources`, and never from
https to less. The bytes are not judged here: that is for the digest.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import httpx

from sealserve.errors import NetworkError, UsageError
from sealserve.models.sources import check_url, shown_url

CHUNK_BYTES = 1 << 18
CONNECT_TIMEOUT = 10.0  # seconds
MAX_REDIRECTS = 5

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
_STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e]*"')


@dataclass(frozen=True)
class Transfer:
    """A stream of the bytes from `start` on. `total` is the size of the whole, if it is known."""

    start: int
    total: int | None
    etag: str | None
    chunks: Iterator[bytes]


@contextmanager
def open_file_url(url: str) -> Iterator[Transfer]:
    """The bytes of a `file:` URL; UsageError if it is no regular file."""
    with os.fdopen(_open_regular(url), "rb") as stream:
        chunks = iter(lambda: stream.read(CHUNK_BYTES), b"")
        yield Transfer(0, os.fstat(stream.fileno()).st_size, None, chunks)


def _open_regular(url: str) -> int:
    path = Path(unquote(urlsplit(url).path))
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # no pipe holds us
    except (OSError, ValueError) as error:
        what = error.strerror if isinstance(error, OSError) else "no path can be that"
        raise UsageError(f"cannot read {shown_url(url)}: {what}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UsageError(f"cannot read {shown_url(url)}: it is not a regular file")
    return descriptor


@contextmanager
def open_http_url(
    url: str, *, offset: int, etag: str | None, read_timeout: float
) -> Iterator[Transfer]:
    """The bytes of an https URL from `offset` on, or from 0 where the server cannot go on.

    Raises NetworkError if the server cannot be reached, stalls, or answers otherwise than it may.
    """
    headers = {"Accept-Encoding": "identity"}
    if offset and etag is not None:
        headers |= {"Range": f"bytes={offset}-", "If-Range": etag}
    timeout = httpx.Timeout(read_timeout, connect=min(CONNECT_TIMEOUT, read_timeout))
    # A proxy from the environment is for other machines.
    proxied = urlsplit(url).scheme == "https"
    try:
        with httpx.Client(timeout=timeout, trust_env=proxied) as client:
            response = _send(client, url, headers)
            try:
                if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                    response.close()
                    response = _send(client, url, {"Accept-Encoding": "identity"})
                yield _transfer(response, url, offset=offset, etag=etag)
            finally:
                response.close()
    except httpx.TimeoutException as error:
        raise NetworkError(
            f"{shown_url(url)}: nothing came for {read_timeout:g} seconds", hint=_GO_ON
        ) from error
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        raise NetworkError(
            f"{shown_url(url)}: the transfer failed: {_reason(error)}", hint=_GO_ON
        ) from error


_GO_ON = "run the same command again: it goes on where it broke off, if the server can"


def _reason(error: BaseException) -> str:
    """What failed, in the words of the system or OpenSSL: httpx's own may quote the peer."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__  # httpcore raises "from None"
    match cause:
        case socket.gaierror():
            return f"the host's name was not found ({cause.strerror})"
        case ssl.SSLCertVerificationError():
            return f"TLS: {cause.verify_message}"
        case ssl.SSLError():
            return f"TLS: {cause.reason}"
        case OSError(strerror=str(words)):
            return words
        case _:
            return type(error).__name__


def _send(client: httpx.Client, url: str, headers: dict[str, str]) -> httpx.Response:
    """The answer at the end of the redirects, its body not read yet."""
    for _ in range(MAX_REDIRECTS + 1):
        request = client.build_request("GET", url, headers=headers)
        response = client.send(request, stream=True)
        if not response.has_redirect_location:
            return response
        response.close()
        url = _redirected(url, response.headers["location"])
    raise NetworkError(f"{shown_url(url)}: more than {MAX_REDIRECTS} redirects")


def _redirected(url: str, location: str) -> str:
    try:
        target = urljoin(url, location)
        scheme = check_url(target).scheme
    except (UsageError, ValueError) as error:
        raise NetworkError(f"{shown_url(url)} redirects to what is not to be fetched") from error
    if scheme not in ("https", urlsplit(url).scheme):
        raise NetworkError(f"{shown_url(url)} redirects to {scheme}; expected https")
    return target


def _transfer(response: httpx.Response, url: str, *, offset: int, etag: str | None) -> Transfer:
    encoding = response.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise NetworkError(f"{shown_url(url)}: the server sent {encoding!r}; expected plain bytes")
    found = response.headers.get("etag", "")
    strong = found if _STRONG_ETAG.fullmatch(found) else None
    chunks = response.iter_raw()  # as they come: what httpx gathered would be lost at a break
    if response.status_code == httpx.codes.OK:
        return Transfer(0, _length(response), strong, chunks)
    if response.status_code != httpx.codes.PARTIAL_CONTENT:
        raise NetworkError(f"{shown_url(url)}: the server answered {response.status_code}")
    place = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
    if place is None or int(place[1]) != offset or etag is None or strong not in (None, etag):
        raise NetworkError(f"{shown_url(url)}: the server sent another range than was asked for")
    return Transfer(offset, int(place[3]), etag, chunks)


def _length(response: httpx.Response) -> int | None:
    length = response.headers.get("content-length", "")
    return int(length) if re.fullmatch(r"[0-9]{1,18}", length) else None
