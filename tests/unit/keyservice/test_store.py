"""Secrets come from private files and show themselves to nobody."""

from __future__ import annotations

import copy
import logging
import pickle

import pytest

from sealserve.errors import ConfigError
from sealserve.keyservice.store import SECRET_FILE_LIMIT, Secret, SecretStore


def secret_file(folder, content=b"0123456789abcdef", mode=0o600):
    path = folder / "wrap-key"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_a_secret_is_read_by_its_name(tmp_path):
    store = SecretStore.load({"digits": secret_file(tmp_path)})
    assert store.names == {"digits"}
    assert store.get("digits").reveal() == b"0123456789abcdef"


def test_asking_for_a_secret_that_is_not_there_is_an_error():
    with pytest.raises(ConfigError, match="no secret named 'digits'"):
        SecretStore({}).get("digits")


@pytest.mark.parametrize(
    ("content", "mode", "complaint"),
    [
        pytest.param(b"0123456789abcdef", 0o640, "others may use it", id="readable by a group"),
        pytest.param(b"0123456789abcdef", 0o604, "others may use it", id="readable by all"),
        pytest.param(b"", 0o600, "is empty", id="empty"),
        pytest.param(bytes(SECRET_FILE_LIMIT + 1), 0o600, "larger than", id="too large"),
    ],
)
def test_a_file_that_is_no_sound_secret_is_refused(tmp_path, content, mode, complaint):
    with pytest.raises(ConfigError, match=complaint):
        SecretStore.load({"digits": secret_file(tmp_path, content, mode)})


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        SecretStore.load({"digits": tmp_path / "none"})


def test_a_secret_does_not_show_in_repr_logs_or_formats(caplog):
    secret = Secret("digits", b"0123456789abcdef")
    caplog.set_level(logging.INFO)
    logging.getLogger("test").info("%s %r %s", secret, secret, [secret])
    for text in (repr(secret), str(secret), f"{secret}", caplog.text, repr(vars(SecretStore))):
        assert "0123456789abcdef" not in text
        assert b"0123456789abcdef".hex() not in text
    assert "digits" in repr(secret)


@pytest.mark.parametrize("copier", [pickle.dumps, copy.deepcopy], ids=["pickle", "deepcopy"])
def test_a_secret_is_not_copied_out_of_the_process(copier):
    with pytest.raises(TypeError, match="not pickled"):
        copier(Secret("digits", b"0123456789abcdef"))
