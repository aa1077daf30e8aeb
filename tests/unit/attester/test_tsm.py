"""Quotes from configfs-tsm: ours and nobody else's, of a trust domain, bounded, tidied up.

The hardware is a stand-in (`tsm_stand_in`): a folder in which a thread plays the kernel.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sealserve.attester import tsm
from sealserve.attester.ratls import make_certificate
from sealserve.attester.source import TsmSource, is_simulated, parse_source
from sealserve.errors import FormatError, NetworkError, SourceError
from sealserve.evidence.quote import parse_quote
from sealserve.evidence.ratls import check_binding, extract_evidence
from sealserve.lab.identity import EnclaveIdentity
from sealserve.lab.trust_domain import TrustDomainIdentity
from sealserve.lab.world import World
from tsm_stand_in import StandIn

REPORT_DATA = bytes(range(64))
DOMAIN = TrustDomainIdentity(b"d" * 48)

Answer = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def world() -> World:
    return World.create(now=datetime.now(UTC))


@pytest.fixture
def answer(world: World) -> Answer:
    """What a trust domain of the lab's would be told."""
    return lambda data: world.td_quote(DOMAIN.report(data))


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tsm, "FIRST_PAUSE", 0.001)


def test_64_bytes_are_written_to_an_entry_of_its_own_and_the_quote_over_them_is_read(
    tmp_path: Path, answer: Answer
) -> None:
    source = StandIn(tmp_path, answer)
    quotes = [source.quote(REPORT_DATA), source.quote(REPORT_DATA)]
    for quote in quotes:
        body = parse_quote(quote).body
        assert (body.mr_td, body.report_data) == (DOMAIN.mr_td, REPORT_DATA)
    assert source.written == [REPORT_DATA, REPORT_DATA]
    assert len(set(source.names)) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("version", [4, 5])
def test_a_certificate_of_a_trust_domain_binds_its_key_as_an_enclaves_does(
    tmp_path: Path, world: World, version: int
) -> None:
    make = DOMAIN.report if version == 4 else DOMAIN.report_15
    source = StandIn(tmp_path, lambda data: world.td_quote(make(data), version))
    evidence = extract_evidence(make_certificate(source).certificate_der)
    assert evidence.style == "dice"
    check_binding(evidence, parse_quote(evidence.quote).body.report_data)


def test_what_a_platform_pads_its_quotes_with_is_cut_off(tmp_path: Path, answer: Answer) -> None:
    source = StandIn(tmp_path, lambda data: answer(data).ljust(16000, b"\0"))
    assert parse_quote(source.quote(REPORT_DATA)).trailing == b""


def test_a_counter_that_others_have_moved_before_is_no_fault(
    tmp_path: Path, answer: Answer
) -> None:
    source = StandIn(tmp_path, answer)
    source.before = 41
    assert source.quote(REPORT_DATA)


@pytest.mark.parametrize("writes", [0, 2, 3])
def test_an_entry_that_counts_other_writes_than_ours_is_given_up_for_another(
    tmp_path: Path, answer: Answer, writes: int
) -> None:
    source = StandIn(tmp_path, answer)
    source.disturbed, source.writes = tsm.TRIES - 1, writes
    assert parse_quote(source.quote(REPORT_DATA)).body.report_data == REPORT_DATA
    assert len(set(source.names)) == tsm.TRIES


def test_somebody_who_always_writes_is_told_of_in_the_end(tmp_path: Path, answer: Answer) -> None:
    source = StandIn(tmp_path, answer)
    source.disturbed = 100
    with pytest.raises(SourceError, match="somebody else writes"):
        source.quote(REPORT_DATA)
    assert len(source.names) == tsm.TRIES
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EWOULDBLOCK, errno.EEXIST])
def test_a_busy_platform_is_asked_again(tmp_path: Path, answer: Answer, number: int) -> None:
    source = StandIn(tmp_path, answer)
    source.refusals = [number, number]
    assert source.quote(REPORT_DATA)


REFUSALS = {
    "busy": (errno.EBUSY, "earlier request"),
    "would-block": (errno.EWOULDBLOCK, "earlier request"),
    "no-provider": (errno.ENXIO, "modprobe tdx_guest"),
    "not-permitted": (errno.EACCES, "only root"),
    "not-permitted-in-a-container": (errno.EPERM, "container"),
    "read-only": (errno.EROFS, "mount it writable"),
    "host-too-slow": (errno.ETIMEDOUT, "QGS"),
    "host-failed": (errno.EIO, "QGS"),
    "too-big": (errno.EFBIG, "update the kernel"),
    "anything-else": (errno.ENOMEM, "inside a TDX guest"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_says_what_to_do(tmp_path: Path, answer: Answer, case: str) -> None:
    number, words = REFUSALS[case]
    source = StandIn(tmp_path, answer)
    source.refusals = [number] * tsm.TRIES
    with pytest.raises(SourceError, match="gives no quote") as caught:
        source.quote(REPORT_DATA)
    assert words in (caught.value.hint or "")


def test_without_configfs_it_says_how_to_mount_it(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="gives no quote") as caught:
        TsmSource(tmp_path / "tsm" / "report").quote(REPORT_DATA)
    assert "mount -t configfs" in (caught.value.hint or "")


def test_another_kind_of_machine_is_not_asked(tmp_path: Path, answer: Answer) -> None:
    source = StandIn(tmp_path, answer)
    source.provider = "sev_guest"
    with pytest.raises(SourceError, match="'sev_guest', expected 'tdx_guest'"):
        source.quote(REPORT_DATA)
    assert list(tmp_path.iterdir()) == []


def test_a_quote_of_an_enclave_is_none_of_a_trust_domain(tmp_path: Path, world: World) -> None:
    enclave = EnclaveIdentity(bytes(32), bytes(32))
    source = StandIn(tmp_path, lambda data: world.quote(enclave.report(data)))
    with pytest.raises(SourceError, match="no TDX trust domain"):
        source.quote(REPORT_DATA)


def test_a_quote_over_other_bytes_is_not_passed_on(tmp_path: Path, answer: Answer) -> None:
    source = StandIn(tmp_path, lambda data: answer(data[::-1]))
    with pytest.raises(SourceError, match="other report data"):
        source.quote(REPORT_DATA)


WRONG = {
    "nothing": (b"", SourceError),
    "no-quote": (b"no quote", FormatError),
    "too-large": (bytes(40_000), SourceError),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_quote_is_refused(tmp_path: Path, case: str) -> None:
    content, error = WRONG[case]
    source = StandIn(tmp_path, lambda data: content)
    with pytest.raises(error):
        source.quote(REPORT_DATA)
    assert list(tmp_path.iterdir()) == []


def test_a_kernel_that_stalls_costs_the_deadline_and_its_entry_is_removed_when_it_answers(
    tmp_path: Path, answer: Answer
) -> None:
    go_on = threading.Event()

    def late(data: bytes) -> bytes:
        go_on.wait(60)
        return answer(data)

    source = StandIn(tmp_path, late, timeout=0.3)
    with pytest.raises(NetworkError) as caught:
        source.quote(REPORT_DATA)
    assert caught.value.code == "deadline"
    (waiting,) = (
        thread for thread in threading.enumerate() if thread.name.startswith("reading a quote from")
    )
    go_on.set()
    waiting.join(60)
    assert list(tmp_path.iterdir()) == []


def test_report_data_has_64_bytes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="64 bytes"):
        TsmSource(tmp_path).quote(bytes(63))


def test_the_source_has_a_name_and_is_hardware() -> None:
    assert isinstance(parse_source("tsm"), TsmSource)
    named = ("gramine", "tsm", "lab:/run/qe.sock")
    assert [is_simulated(name) for name in named] == [False, False, True]
