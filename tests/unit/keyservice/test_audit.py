"""The audit log: durable before it returns, chained, one writer, and honest about damage."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime

import pytest

from sealserve.errors import AuditError, ConfigError
from sealserve.keyservice.audit import GENESIS, AuditLog, check_chain

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.jsonl"


def write(path, *records):
    with AuditLog.open(path, now=NOW) as audit:
        return [audit.append(record) for record in records]


def test_each_record_names_the_digest_of_the_line_before_it(path):
    receipts = write(path, {"kind": "a"}, {"kind": "b"})
    lines = path.read_bytes().splitlines()
    assert json.loads(lines[0]) == {"number": 1, "previous": GENESIS, "kind": "a"}
    assert json.loads(lines[1])["previous"] == hashlib.sha256(lines[0]).hexdigest()
    assert receipts[1].digest == hashlib.sha256(lines[1]).hexdigest()


def test_a_log_goes_on_where_it_ended(path):
    write(path, {"kind": "a"})
    (receipt,) = write(path, {"kind": "b"})
    assert receipt.number == 2
    assert check_chain(path).head == receipt


def test_whoever_checks_a_log_may_read_its_records_on_the_way(path):
    receipts = write(path, {"kind": "a"}, {"kind": "b"})
    seen = []
    check_chain(path, seen.append)
    assert [link.receipt for link in seen] == receipts
    assert [link.record["kind"] for link in seen] == ["a", "b"]
    assert sum(link.size for link in seen) == path.stat().st_size


def test_the_log_is_readable_by_its_owner_alone(path):
    path.touch(mode=0o644)
    write(path, {"kind": "a"})
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_record_stays_on_one_line_whatever_it_holds(path):
    write(path, {"text": 'line\nbreak \u2028 "quote" \x1b[31m'})
    assert len(path.read_bytes().splitlines()) == 1
    assert path.read_bytes().isascii()


def edit(lines):
    lines[1] = lines[1].replace(b"denied", b"released")


def remove(lines):
    del lines[1]


def swap(lines):
    lines[0], lines[1] = lines[1], lines[0]


def insert(lines):
    lines.insert(1, lines[0])


def blank(lines):
    lines.insert(1, b"")


def garble(lines):
    lines[1] = b"not json"


def oversize(lines):
    lines[1] = b"x" * (65 << 10)


def other_type(lines):
    lines[1] = b"[]"


def nested(lines):
    lines[1] = b"[" * 60000


@pytest.mark.parametrize(
    "tamper",
    [edit, remove, swap, insert, blank, garble, oversize, other_type, nested],
    ids=lambda function: function.__name__,
)
def test_an_altered_log_is_not_opened(path, tamper):
    write(path, *({"number_of": n, "outcome": "denied"} for n in range(4)))
    lines = path.read_bytes().splitlines()
    tamper(lines)
    altered = b"\n".join(lines) + b"\n"
    path.write_bytes(altered)
    with pytest.raises(AuditError, match="is not as it was written"), AuditLog.open(path, now=NOW):
        pass
    assert path.read_bytes() == altered  # evidence of the damage is kept


def test_a_record_that_a_crash_cut_short_is_put_aside_and_told(path):
    write(path, {"kind": "a"}, {"kind": "b"})
    whole = path.read_bytes()
    first = whole.splitlines(keepends=True)[0]
    torn = whole[len(first) : -5]
    path.write_bytes(first + torn)
    with AuditLog.open(path, now=NOW):
        repair = json.loads(path.read_bytes().splitlines()[1])
    assert repair["kind"] == "repair"
    assert repair["torn_bytes"] == len(torn)
    assert repair["torn_sha256"] == hashlib.sha256(torn).hexdigest()
    assert (path.parent / "audit.jsonl.torn-2").read_bytes() == torn
    assert check_chain(path).head.number == 2


def test_the_end_of_a_log_that_lacks_records_shows_in_a_receipt_only(path):
    receipts = write(path, {"kind": "a"}, {"kind": "b"})
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    assert check_chain(path).head == receipts[0] != receipts[1]


def test_two_writers_are_refused(path):
    program = (
        "import sys; from datetime import datetime, UTC; from pathlib import Path\n"
        "from sealserve.keyservice.audit import AuditLog\n"
        "from sealserve.errors import ConfigError\n"
        "try:\n"
        "    with AuditLog.open(Path(sys.argv[1]), now=datetime.now(UTC)): pass\n"
        "except ConfigError as error: sys.exit(str(error))\n"
    )
    with AuditLog.open(path, now=NOW):
        other = subprocess.run(
            [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False
        )
    assert other.returncode == 1
    assert "alone" in other.stderr


def test_threads_append_without_losing_or_mixing_lines(path):
    with AuditLog.open(path, now=NOW) as audit:
        threads = [
            threading.Thread(target=lambda n=n: [audit.append({"thread": n}) for _ in range(20)])
            for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert check_chain(path).head.number == 80


def test_a_record_that_was_half_written_is_cut_off_again(path, monkeypatch):
    with AuditLog.open(path, now=NOW) as audit:
        audit.append({"kind": "a"})
        real = os.write

        def full_disk(handle, data):
            if len(data) > 10:
                return real(handle, data[:10])
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "write", full_disk)
        with pytest.raises(AuditError, match="No space left") as caught:
            audit.append({"kind": "lost", "text": "x" * 5})
        assert caught.value.code == "audit-unavailable"
        monkeypatch.undo()
        audit.append({"kind": "b"})
    assert [json.loads(line)["kind"] for line in path.read_bytes().splitlines()] == ["a", "b"]


def test_after_a_failed_sync_nothing_is_recorded_any_more(path, monkeypatch):
    with AuditLog.open(path, now=NOW) as audit:

        def broken(handle):
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(os, "fdatasync", broken)
        with pytest.raises(AuditError, match="Input/output error"):
            audit.append({"kind": "a"})
        monkeypatch.undo()
        with pytest.raises(AuditError, match="unknown state"):
            audit.append({"kind": "b"})


def test_an_oversized_record_is_refused_and_leaves_no_trace(path):
    with AuditLog.open(path, now=NOW) as audit:
        with pytest.raises(AuditError, match="over the limit"):
            audit.append({"text": "x" * (64 << 10)})
        audit.append({"kind": "a"})
    assert check_chain(path).head.number == 1


def test_a_log_in_a_folder_that_is_not_there_is_a_configuration_error(tmp_path):
    with (
        pytest.raises(ConfigError, match="cannot open"),
        AuditLog.open(tmp_path / "none" / "audit.jsonl", now=NOW),
    ):
        pass
