"""SIGHUP: whatever goes wrong on reading, the old rules stay in force and the log says so."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import pytest

from sealserve.errors import ConfigError
from sealserve.keyservice import application

FAILURES = {
    "a fault of the files": (ConfigError("the policy is not valid"), "code=config", True),
    "a fault of our own": (RuntimeError("what a secret's file said"), "code=internal", False),
}


@pytest.mark.parametrize(("error", "code", "is_told"), FAILURES.values(), ids=FAILURES)
def test_what_cannot_be_read_leaves_the_old_rules_in_force_and_is_logged(
    error, code, is_told, monkeypatch, caplog
):
    def failing(config, basis):
        raise error

    monkeypatch.setattr(application, "load_rules", failing)
    loaded = SimpleNamespace(config=None, verification=SimpleNamespace(basis=None))
    service, renewed = SimpleNamespace(rules="the old ones"), []
    verifier = SimpleNamespace(renew=lambda: renewed.append(True))
    with caplog.at_level(logging.ERROR):
        application.reload(loaded, service, verifier)
    assert (service.rules, renewed) == ("the old ones", [])
    (told,) = caplog.messages
    assert "event=reload_failed" in told
    assert code in told
    assert (str(error) in told) is is_told
