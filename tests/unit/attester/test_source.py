"""Quotes from Gramine's pseudo-files and from the lab's socket: bounded, and what was asked for."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import struct
import threading
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from sealserve.attester.source import GramineSource, QuotingServiceSource, parse_source
from sealserve.errors import DeniedError, FormatError, NetworkError, SourceError, UsageError
from sealserve.evidence.report import SgxReport
from sealserve.lab.world import World

REPORT_DATA = bytes(range(64))
REPORT = SgxReport(
    cpu_svn=bytes(16),
    misc_select=0,
    isv_ext_prod_id=bytes(16),
    attributes=bytes(16),
    mr_enclave=bytes(32),
    mr_signer=bytes(32),
    config_id=bytes(64),
    isv_prod_id=0,
    isv_svn=0,
    config_svn=0,
    isv_family_id=bytes(16),
    report_data=REPORT_DATA,
)


@pytest.fixture(scope="module")
def quote() -> bytes:
    return World.create(now=datetime.now(UTC)).quote(REPORT)


@pytest.fixture
def device(tmp_path, quote):
    """The files of /dev/attestation, as an enclave sees them."""
    (tmp_path / "attestation_type").write_bytes(b"dcap")
    (tmp_path / "user_report_data").write_bytes(bytes(64))
    (tmp_path / "quote").write_bytes(quote)
    return tmp_path


@pytest.fixture
def answering(tmp_path):
    """A quoting service that gives one answer and keeps the request."""

    @contextlib.contextmanager
    def serve(answer: bytes, *, stall: bool = False):
        path, request = tmp_path / "qe.sock", bytearray()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(path))
            listener.listen()
            listener.settimeout(30)

            def run() -> None:
                with contextlib.suppress(OSError):
                    stream, _ = listener.accept()
                    with stream:
                        while len(request) < 68:
                            request.extend(stream.recv(68))
                        stream.sendall(answer)
                        if stall:
                            stream.recv(1)

            thread = threading.Thread(target=run)
            thread.start()
            try:
                yield path, request
            finally:
                thread.join()

    return serve


def test_gramine_is_given_the_report_data_and_its_quote_is_read(device, quote):
    assert GramineSource(device).quote(REPORT_DATA) == quote
    assert (device / "user_report_data").read_bytes()[:64] == REPORT_DATA


def test_outside_of_an_enclave_there_is_no_quote(tmp_path):
    with pytest.raises(SourceError, match="gives no quote") as caught:
        GramineSource(tmp_path / "attestation").quote(REPORT_DATA)
    assert "inside Gramine" in caught.value.hint


@pytest.mark.parametrize("kind", [b"none", b"epid", b""])
def test_an_enclave_without_dcap_attestation_says_what_to_set(device, kind):
    (device / "attestation_type").write_bytes(kind)
    with pytest.raises(SourceError, match="expected 'dcap'") as caught:
        GramineSource(device).quote(REPORT_DATA)
    assert "sgx.remote_attestation" in caught.value.hint


def test_a_quote_over_other_report_data_is_not_passed_on(device):
    with pytest.raises(SourceError, match="other report data"):
        GramineSource(device).quote(bytes(64))


@pytest.mark.parametrize(
    ("content", "error"),
    [(b"", FormatError), (b"no quote", FormatError), (bytes(8193), SourceError)],
    ids=["nothing", "no quote", "too large"],
)
def test_what_is_no_quote_is_refused(device, content, error):
    (device / "quote").write_bytes(content)
    with pytest.raises(error):
        GramineSource(device).quote(REPORT_DATA)


def test_a_device_that_stalls_costs_the_deadline_and_no_more(device):
    (device / "quote").unlink()
    os.mkfifo(device / "quote")
    with pytest.raises(NetworkError) as caught:
        GramineSource(device, timeout=0.5).quote(REPORT_DATA)
    assert caught.value.code == "deadline"
    with (device / "quote").open("wb"):  # lets the waiting thread go
        pass


def test_report_data_has_64_bytes(device):
    for source in (GramineSource(device), QuotingServiceSource(device / "qe.sock")):
        with pytest.raises(ValueError, match="64 bytes"):
            source.quote(bytes(63))


def test_the_lab_is_asked_by_its_protocol_and_named_as_simulated_once(answering, quote, caplog):
    answer = b"\0" + struct.pack(">I", len(quote)) + quote
    with answering(answer) as (path, request):
        source = QuotingServiceSource(path)
        assert source.quote(REPORT_DATA) == quote
        path.unlink()
        with pytest.raises(SourceError):
            source.quote(REPORT_DATA)
    assert bytes(request) == b"SSQ1" + REPORT_DATA
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "SIMULATED" in caplog.text


def test_a_refusal_of_the_lab_says_its_code(answering):
    answer = b"\1" + struct.pack(">I", 12) + b"not-launched"
    with answering(answer) as (path, _), pytest.raises(DeniedError, match="not-launched"):
        QuotingServiceSource(path).quote(REPORT_DATA)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\0\0\0\0", id="half a head"),
        pytest.param(b"\0\0\0\0\x05abc", id="less than announced"),
        pytest.param(b"\2\0\0\0\0", id="another status"),
        pytest.param(b"\0\0\0\x20\x01", id="over the limit"),
        pytest.param(b"\0\xff\xff\xff\xff", id="4 GiB"),
    ],
)
def test_an_answer_that_is_none_of_the_lab_is_refused(answering, answer):
    with answering(answer) as (path, _), pytest.raises(SourceError):
        QuotingServiceSource(path).quote(REPORT_DATA)


def test_a_lab_that_answers_another_request_is_refused(answering, quote):
    answer = b"\0" + struct.pack(">I", len(quote)) + quote
    with answering(answer) as (path, _), pytest.raises(SourceError, match="other report data"):
        QuotingServiceSource(path).quote(bytes(64))


def test_a_lab_that_stalls_costs_the_deadline_and_no_more(answering):
    with answering(b"\0", stall=True) as (path, _), pytest.raises(NetworkError):
        QuotingServiceSource(path, timeout=0.5).quote(REPORT_DATA)


def test_no_lab_at_all_says_how_to_start_one(tmp_path):
    with pytest.raises(SourceError, match="no quoting service") as caught:
        QuotingServiceSource(tmp_path / "qe.sock").quote(REPORT_DATA)
    assert "sealserve lab qe" in caught.value.hint


def test_sources_have_names():
    assert isinstance(parse_source("gramine"), GramineSource)
    assert isinstance(parse_source("lab:/run/qe.sock"), QuotingServiceSource)


@pytest.mark.parametrize("text", ["", "lab", "lab:", "Gramine", "sgx", "/dev/attestation"])
def test_other_names_of_sources_are_usage_errors(text):
    with pytest.raises(UsageError):
        parse_source(text)


def test_two_threads_do_not_mix_their_report_data(tmp_path):
    """user_report_data is one value for the process; here the quote follows it, as in Gramine."""
    world = World.create(now=datetime.now(UTC))

    class Device(GramineSource):
        def _read(self, name: str, limit: int) -> bytes:
            if name == "attestation_type":
                return b"dcap"
            data = (tmp_path / "user_report_data").read_bytes()
            return world.quote(replace(REPORT, report_data=data))

    source, errors = Device(tmp_path), []

    def ask(byte: int) -> None:
        try:
            for _ in range(5):
                source.quote(bytes([byte]) * 64)
        except SourceError as error:
            errors.append(error)

    threads = [threading.Thread(target=ask, args=(byte,)) for byte in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
