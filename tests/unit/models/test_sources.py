"""What may be fetched, and under which digest."""

from __future__ import annotations

from pathlib import Path

import pytest

from sealserve.errors import UsageError
from sealserve.models.sources import KNOWN, resolve, shown_url

DIGEST = "ab" * 32


def test_a_url_needs_a_digest() -> None:
    with pytest.raises(UsageError, match="needs the SHA-256") as caught:
        resolve("https://example.com/model.pb", sha256=None, out=None)
    assert "--sha256" in (caught.value.hint or "")


def test_a_url_gives_the_name_of_the_file() -> None:
    source = resolve("https://example.com/a/model.pb?x=1", sha256=DIGEST.upper(), out=None)

    assert source.out == Path("model.pb")
    assert source.sha256 == DIGEST


def test_the_name_of_the_guides_model_needs_a_digest_for_its_publisher_gives_none() -> None:
    with pytest.raises(UsageError, match="states no SHA-256"):
        resolve("resnet50-v15-fp32", sha256=None, out=None)

    source = resolve("resnet50-v15-fp32", sha256=DIGEST, out=None)
    assert source.url == KNOWN["resnet50-v15-fp32"].url
    assert source.out == Path("resnet50-v15-fp32.pb")


def test_an_unknown_name_is_told_from_a_url() -> None:
    with pytest.raises(UsageError, match="no model that is known by name: resnet50-v15-fp32"):
        resolve("resnet", sha256=DIGEST, out=None)


REFUSED = {
    "plain http": "http://example.com/model.pb",
    "plain http to a name like localhost": "http://localhost.example.com/model.pb",
    "another scheme": "ftp://example.com/model.pb",
    "password": "https://user:secret@example.com/model.pb",
    "user": "https://user@example.com/model.pb",
    "no host": "https:///model.pb",
    "bad port": "https://example.com:99999/model.pb",
    "bad brackets": "https://[::1/model.pb",
    "no file name": "https://example.com/",
    "hidden file name": "https://example.com/.bashrc",
    "file name with a slash": "https://example.com/..%2fmodel.pb%2f..",
    "file of another machine": "file://example.com/model.pb",
    "file without a path": "file:",
}


@pytest.mark.parametrize("url", REFUSED.values(), ids=REFUSED.keys())
def test_a_url_that_is_not_to_be_fetched_is_refused(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(url, sha256=DIGEST, out=None)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "[::1]"])
def test_plain_http_to_this_machine_may_be_fetched(host: str) -> None:
    assert resolve(f"http://{host}:8000/model.pb", sha256=DIGEST, out=None).out.name == "model.pb"


@pytest.mark.parametrize(
    "digest", ["", "ab", "g" * 64, "ab" * 33, "0x" + "a" * 62], ids=lambda digest: digest[:6]
)
def test_what_is_no_digest_is_refused(digest: str) -> None:
    with pytest.raises(UsageError, match="expected 64 hexadecimal digits"):
        resolve("https://example.com/model.pb", sha256=digest, out=None)


def test_a_url_is_shown_without_secrets_and_control_characters() -> None:
    shown = shown_url("https://user:secret@example.com/a\x1b[2J?token=secret#secret")

    assert shown == "https://example.com/a?[2J"
