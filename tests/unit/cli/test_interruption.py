"""Commands that write unwind when they are told to end, so that nothing half written stays."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Never

import pytest

from sealserve.cli import main
from sealserve.cli.interruption import clean_end
from sealserve.models.digits import digits_model

ENDING = [signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def outside() -> Iterator[list[signal.Signals]]:
    """The signals that came while nobody here listened, in place of the end of this process."""
    unheard: list[signal.Signals] = []
    previous = {
        number: signal.signal(number, lambda came, _: unheard.append(signal.Signals(came)))
        for number in ENDING
    }
    yield unheard
    for number, handler in previous.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_unwinds_and_leaves_with_its_exit_code(number: signal.Signals) -> None:
    unwound = False
    with pytest.raises(SystemExit) as caught, clean_end():
        try:
            signal.raise_signal(number)
        finally:
            for again in ENDING:  # systemd and terminals send both
                signal.raise_signal(again)
            unwound = True
    assert unwound
    assert caught.value.code == 128 + number


def test_handlers_are_put_back(outside: list[signal.Signals]) -> None:
    with clean_end():
        pass
    for number in ENDING:
        signal.raise_signal(number)
    assert outside == ENDING


def test_a_signal_that_was_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with clean_end():
        signal.raise_signal(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


@pytest.mark.parametrize("number", ENDING)
@pytest.mark.parametrize(
    ("words", "moment"),
    [
        pytest.param(("digits", "--out", "base"), "saved_model.write_file", id="digits"),
        pytest.param(
            ("convert", "--input=g.pb", "--inputs=input", "--outputs=predict", "--out=base"),
            "saved_model.write_file",
            id="convert",
        ),
        pytest.param(("synth", "resnet50-v15", "--out", "base"), "synth.resnet50", id="synth"),
    ],
)
def test_a_model_that_is_half_written_is_removed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    outside: list[signal.Signals],
    words: tuple[str, ...],
    moment: str,
    number: signal.Signals,
) -> None:
    monkeypatch.chdir(tmp_path)
    graph = digits_model().meta_graphs[0].graph_def
    (tmp_path / "g.pb").write_bytes(graph.SerializeToString())

    def interrupted(*_: object, **__: object) -> Never:
        signal.raise_signal(number)
        raise AssertionError("the signal did not unwind")

    monkeypatch.setattr(f"sealserve.models.{moment}", interrupted)
    with pytest.raises(SystemExit) as caught:
        main(["model", *words])
    assert caught.value.code == 128 + number
    assert outside == []
    assert not list(tmp_path.glob("base/.*"))
    assert not (tmp_path / "base" / "1").exists()
