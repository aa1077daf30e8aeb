"""Fetching over a real server: whole, broken off and gone on with, wrong, too large, silent."""

from __future__ import annotations

import contextlib
import hashlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sealserve.deploy.certificates import Validity, make_server
from sealserve.errors import NetworkError, UsageError, WrongDigest
from sealserve.models.fetch import Fetched, Limits, fetch
from sealserve.models.sources import Source

CONTENT = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OTHER = CONTENT[::-1]


@dataclass
class Origin:
    """A server of one file, which behaves as it is told."""

    content: bytes = CONTENT
    etag: str | None = '"v1"'
    status: int = 200
    stop_after: int | None = None  # bytes of a body, then the connection closes
    stall: threading.Event | None = None  # wait for it in the middle of a body
    shift: int = 0  # by how much a range is wrong
    location: str | None = None
    announce_length: bool = True
    encoding: str | None = None
    url: str = ""
    ranges: list[str | None] = field(default_factory=list)


def handler_of(origin: Origin) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers["Range"]
            origin.ranges.append(asked)
            if origin.location is not None and self.path == "/model.pb":
                self.send_response(302)
                self.send_header("Location", origin.location)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            start = 0
            if asked is not None and self.headers["If-Range"] == origin.etag:
                start = int(asked.removeprefix("bytes=").removesuffix("-"))
            self._answer(start)

        def _answer(self, start: int) -> None:
            total = len(origin.content)
            if start >= total:
                self.send_error(416)
                return
            self.send_response(206 if start else origin.status)
            if start:
                self.send_header(
                    "Content-Range", f"bytes {start + origin.shift}-{total - 1}/{total}"
                )
            if origin.announce_length:
                self.send_header("Content-Length", str(total - start))
            if origin.etag is not None:
                self.send_header("ETag", origin.etag)
            if origin.encoding is not None:
                self.send_header("Content-Encoding", origin.encoding)
            self.end_headers()
            self._body(origin.content[start:])

        def _body(self, body: bytes) -> None:
            if origin.stop_after is not None:
                body = body[: origin.stop_after]
            with contextlib.suppress(ConnectionError):  # who asked may have enough already
                self.wfile.write(body)
                self.wfile.flush()
            if origin.stall is not None:
                origin.stall.wait(30)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


@contextmanager
def serving(origin: Origin, tls: ssl.SSLContext | None = None) -> Iterator[Origin]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(origin))
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    scheme = "http" if tls is None else "https"
    origin.url = f"{scheme}://127.0.0.1:{server.server_port}/model.pb"
    try:
        yield origin
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def origin() -> Iterator[Origin]:
    with serving(Origin()) as running:
        yield running


@pytest.fixture
def https_origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Origin, Path]]:
    """A server with TLS, and the file of the certificate to trust."""
    pair = make_server(["127.0.0.1"], Validity(datetime.now(UTC), days=1), issuer=None)
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    certificate.write_bytes(pair.certificate_pem)
    key.write_bytes(pair.key_pem)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with serving(Origin(), tls) as running:
        yield running, certificate


@contextmanager
def no_progress(total: int | None) -> Iterator[Callable[[int], None]]:
    yield lambda count: None


def get(url: str, out: Path, *, sha256: str = SHA256, limits: Limits | None = None) -> Fetched:
    return fetch(Source(url, sha256, out), limits or Limits(), no_progress)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def break_off(origin: Origin, out: Path, *, after: int = 300_000) -> None:
    """One run that gets `after` bytes and leaves them."""
    origin.stop_after = after
    with pytest.raises(NetworkError) as caught:
        get(origin.url, out)
    origin.stop_after = None
    assert "goes on where it broke off" in (caught.value.hint or "")
    assert not out.exists()


def test_a_file_with_the_pinned_digest_is_kept_private_and_alone(
    origin: Origin, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "model.pb"

    fetched = get(origin.url, out)

    assert fetched == Fetched(out, len(CONTENT), SHA256, resumed_at=0)
    assert out.read_bytes() == CONTENT
    assert out.stat().st_mode & 0o777 == 0o600
    assert names(out.parent) == ["model.pb"]


def test_progress_is_told_what_is_to_come_and_what_came(origin: Origin, tmp_path: Path) -> None:
    told: list[int | None] = []
    came: list[int] = []

    @contextmanager
    def progress(total: int | None) -> Iterator[Callable[[int], None]]:
        told.append(total)
        yield came.append

    fetch(Source(origin.url, SHA256, tmp_path / "model.pb"), Limits(), progress)

    assert told == [len(CONTENT)]
    assert sum(came) == len(CONTENT)


def test_a_broken_off_transfer_goes_on_where_it_was(origin: Origin, tmp_path: Path) -> None:
    out = tmp_path / "model.pb"
    break_off(origin, out)

    fetched = get(origin.url, out)

    assert origin.ranges == [None, "bytes=300000-"]
    assert fetched.resumed_at == 300_000
    assert out.read_bytes() == CONTENT
    assert names(tmp_path) == ["model.pb"]


def test_it_may_break_off_more_than_once(origin: Origin, tmp_path: Path) -> None:
    out = tmp_path / "model.pb"
    break_off(origin, out, after=100_000)
    break_off(origin, out, after=100_000)

    assert get(origin.url, out).resumed_at == 200_000
    assert out.read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_is_fetched_from_its_beginning(
    origin: Origin, tmp_path: Path
) -> None:
    out = tmp_path / "model.pb"
    origin.content = OTHER
    break_off(origin, out)
    origin.content, origin.etag = CONTENT, '"v2"'

    assert get(origin.url, out).resumed_at == 0
    assert out.read_bytes() == CONTENT


@pytest.mark.parametrize("etag", [None, 'W/"v1"'], ids=["no ETag", "weak ETag"])
def test_without_a_strong_etag_a_transfer_starts_again(
    origin: Origin, tmp_path: Path, etag: str | None
) -> None:
    origin.etag = etag
    break_off(origin, tmp_path / "model.pb")

    assert get(origin.url, tmp_path / "model.pb").resumed_at == 0
    assert origin.ranges == [None, None]


def test_what_was_left_of_another_url_is_not_gone_on_with(origin: Origin, tmp_path: Path) -> None:
    break_off(origin, tmp_path / "model.pb")

    get(origin.url + "?other", tmp_path / "model.pb")

    assert origin.ranges == [None, None]


def test_a_damaged_note_of_an_earlier_run_means_starting_again(
    origin: Origin, tmp_path: Path
) -> None:
    break_off(origin, tmp_path / "model.pb")
    for note in ("{", "[]", json.dumps({"etag": 1}), "x" * 5000):
        (tmp_path / ".model.pb.part.json").write_text(note)
        break_off(origin, tmp_path / "model.pb")
        assert origin.ranges[-1] is None


def test_a_part_that_is_whole_needs_no_server(tmp_path: Path) -> None:
    (tmp_path / ".model.pb.part").write_bytes(CONTENT)

    fetched = get("http://127.0.0.1:1/model.pb", tmp_path / "model.pb")

    assert fetched.resumed_at == len(CONTENT)
    assert names(tmp_path) == ["model.pb"]


def test_a_part_that_is_longer_than_the_file_is_dropped(origin: Origin, tmp_path: Path) -> None:
    break_off(origin, tmp_path / "model.pb")
    with (tmp_path / ".model.pb.part").open("ab") as stream:
        stream.write(CONTENT)

    assert get(origin.url, tmp_path / "model.pb").resumed_at == 0


def test_a_wrong_digest_keeps_nothing_and_says_found_and_expected(
    origin: Origin, tmp_path: Path
) -> None:
    origin.content = OTHER
    found = hashlib.sha256(OTHER).hexdigest()

    with pytest.raises(WrongDigest, match=f"has SHA-256 {found}; expected {SHA256}") as caught:
        get(origin.url, tmp_path / "model.pb")

    assert caught.value.exit_code == 5
    assert names(tmp_path) == []


def test_a_wrong_digest_after_going_on_asks_for_one_more_run(
    origin: Origin, tmp_path: Path
) -> None:
    break_off(origin, tmp_path / "model.pb")
    with (tmp_path / ".model.pb.part").open("r+b") as stream:
        stream.write(b"damaged")

    with pytest.raises(WrongDigest) as caught:
        get(origin.url, tmp_path / "model.pb")
    assert "run the command once more" in (caught.value.hint or "")
    assert names(tmp_path) == []
    assert get(origin.url, tmp_path / "model.pb").resumed_at == 0


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "not announced"])
def test_a_file_beyond_the_size_limit_is_refused(
    origin: Origin, tmp_path: Path, announced: bool
) -> None:
    origin.announce_length = announced

    with pytest.raises(UsageError, match="more than the 1000 bytes allowed"):
        get(origin.url, tmp_path / "model.pb", limits=Limits(size=1000))
    assert names(tmp_path) == []


def test_a_silent_server_is_left_at_the_deadline(origin: Origin, tmp_path: Path) -> None:
    origin.stop_after, origin.stall = 1000, threading.Event()

    with pytest.raises(NetworkError, match="nothing came for"):
        get(origin.url, tmp_path / "model.pb", limits=Limits(read_timeout=0.2))

    origin.stall.set()
    assert not (tmp_path / "model.pb").exists()


REFUSED_ANSWERS: dict[str, Callable[[Origin], None]] = {
    "not found": lambda origin: setattr(origin, "status", 404),
    "compressed": lambda origin: setattr(origin, "encoding", "gzip"),
    "redirect to plain http elsewhere": lambda origin: setattr(
        origin, "location", "http://192.0.2.1/model.pb"
    ),
    "redirect to a file": lambda origin: setattr(origin, "location", "file:///etc/hostname"),
    "redirect in a circle": lambda origin: setattr(origin, "location", "/model.pb"),
}


@pytest.mark.parametrize("misbehave", REFUSED_ANSWERS.values(), ids=REFUSED_ANSWERS.keys())
def test_an_answer_that_is_not_the_file_is_refused(
    origin: Origin, tmp_path: Path, misbehave: Callable[[Origin], None]
) -> None:
    misbehave(origin)

    with pytest.raises(NetworkError):
        get(origin.url, tmp_path / "model.pb")
    assert names(tmp_path) == []


def test_a_range_other_than_asked_for_is_refused(origin: Origin, tmp_path: Path) -> None:
    break_off(origin, tmp_path / "model.pb")
    origin.shift = 1

    with pytest.raises(NetworkError, match="another range"):
        get(origin.url, tmp_path / "model.pb")
    assert not (tmp_path / "model.pb").exists()


def test_a_redirect_on_this_machine_is_followed(origin: Origin, tmp_path: Path) -> None:
    origin.location = "/elsewhere"

    get(origin.url, tmp_path / "model.pb")

    assert (tmp_path / "model.pb").read_bytes() == CONTENT


def test_https_is_spoken_with_a_server_whose_certificate_is_trusted(
    https_origin: tuple[Origin, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin, certificate = https_origin
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(NetworkError, match="the transfer failed: TLS: self-signed certificate"):
        get(origin.url, tmp_path / "model.pb")
    assert origin.ranges == []

    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert get(origin.url, tmp_path / "model.pb").size == len(CONTENT)


def test_a_redirect_from_https_to_plain_http_is_refused_even_on_this_machine(
    origin: Origin,
    https_origin: tuple[Origin, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    secure, certificate = https_origin
    secure.location = origin.url
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    with pytest.raises(NetworkError, match="redirects to http; expected https"):
        get(secure.url, tmp_path / "model.pb")
    assert origin.ranges == []


def test_nobody_at_the_address_is_a_network_error(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match="the transfer failed: Connection refused"):
        get("http://127.0.0.1:1/model.pb", tmp_path / "model.pb")
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("host", "says"),
    [
        pytest.param("nobody.invalid", r"name was not found \(", id="no such name"),
        pytest.param(None, "TLS: [A-Z_]+$", id="no TLS"),
    ],
)
def test_a_failed_transfer_says_what_failed_and_shows_no_query(
    origin: Origin,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    host: str | None,
    says: str,
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    address = host or origin.url.split("/")[2]
    with pytest.raises(NetworkError, match=says) as caught:
        get(f"https://{address}/model.pb?signature=confidential", tmp_path / "model.pb")
    assert f"https://{address}/model.pb: the transfer failed: " in str(caught.value)
    assert "confidential" not in str(caught.value)


def test_messages_show_no_query_of_a_url(origin: Origin, tmp_path: Path) -> None:
    origin.status = 403

    with pytest.raises(NetworkError) as caught:
        get(f"{origin.url}?signature=confidential", tmp_path / "model.pb")
    assert "confidential" not in str(caught.value)


def test_a_file_that_is_there_is_checked_and_never_overwritten(
    origin: Origin, tmp_path: Path
) -> None:
    out = tmp_path / "model.pb"
    out.write_bytes(CONTENT)
    assert get(origin.url, out).resumed_at == len(CONTENT)

    out.write_bytes(OTHER)
    with pytest.raises(UsageError, match=f"expected {SHA256}"):
        get(origin.url, out)

    assert out.read_bytes() == OTHER
    assert origin.ranges == []


def test_two_processes_do_not_write_one_file(origin: Origin, tmp_path: Path) -> None:
    out = tmp_path / "model.pb"
    origin.stop_after, origin.stall = 1000, threading.Event()
    refused: list[str] = []

    @contextmanager
    def second(total: int | None) -> Iterator[Callable[[int], None]]:
        with pytest.raises(UsageError) as caught:
            get(origin.url, out)
        refused.append(str(caught.value))
        assert origin.stall is not None
        origin.stall.set()
        yield lambda count: None

    with pytest.raises(NetworkError):
        fetch(Source(origin.url, SHA256, out), Limits(), second)
    assert refused == [f"another process is fetching {out}"]


def test_a_file_url_is_copied_and_checked(tmp_path: Path) -> None:
    (tmp_path / "a model").write_bytes(CONTENT)
    url = f"file://{tmp_path}/a%20model"

    assert get(url, tmp_path / "out.pb").size == len(CONTENT)
    assert (tmp_path / "out.pb").read_bytes() == CONTENT
    with pytest.raises(WrongDigest):
        get(url, tmp_path / "other.pb", sha256="0" * 64)
    assert names(tmp_path) == ["a model", "out.pb"]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/nowhere/model.pb", "No such file or directory"),
        ("/dev/zero", "it is not a regular file"),
        ("/", "it is not a regular file"),
        ("/a%00b", "no path can be that"),
    ],
)
def test_a_file_url_of_no_regular_file_is_refused(tmp_path: Path, path: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        get(f"file:{path}", tmp_path / "model.pb")
    assert caught.value.message == f"cannot read file:{path}: {says}"
    assert names(tmp_path) == []
