"""The cache folder: what is read from it is whole and ours, whoever else writes or dies."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from sealserve.collateral.attempts import FIRST_PAUSE, LONGEST_PAUSE
from sealserve.collateral.disk import MAX_ENTRIES, CacheFolder, Entry, decode, encode
from sealserve.collateral.key import CollateralKey
from sealserve.endorsements.collateral import Collateral
from sealserve.errors import CollateralError, ConfigError, FormatError, VerificationError

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
KEY = CollateralKey("SGX", bytes.fromhex("00606a000000"), "platform", "standard")
ROOT = bytes(range(32))


def collateral(filling: bytes = b"x") -> Collateral:
    return Collateral(*(filling * 1000 for _ in range(7)))


def entry(filling: bytes = b"x", fetched_at: datetime = NOW) -> Entry:
    return Entry(collateral(filling), fetched_at, "https://pccs.example")


@pytest.fixture
def folder(tmp_path):
    made = CacheFolder(tmp_path / "cache", ROOT)
    made.make()
    return made


def file_of(folder, key=KEY):
    return folder.path / "collateral" / f"{key.name}.json"


def test_what_is_written_is_read(folder):
    folder.write(KEY, entry())
    assert folder.read(KEY) == entry()
    assert folder.kept() == [KEY]


def test_a_second_write_takes_the_place_of_the_first(folder):
    folder.write(KEY, entry(b"a"))
    folder.write(KEY, entry(b"b"))
    assert folder.read(KEY) == entry(b"b")


def test_keys_differ_by_tee_fmspc_ca_and_edition(folder):
    keys = [
        CollateralKey(tee, fmspc, ca, update)
        for tee in ("SGX", "TDX")
        for fmspc in (bytes(6), b"\xff" * 6)
        for ca in ("platform", "processor")
        for update in ("standard", "early")
    ]
    for number, key in enumerate(keys):
        folder.write(key, entry(bytes((number,))))
    assert [folder.read(key) for key in keys] == [entry(bytes((n,))) for n in range(len(keys))]
    assert folder.kept() == sorted(keys)


def test_another_trust_root_sees_nothing_of_it(folder, tmp_path):
    folder.write(KEY, entry())
    other = CacheFolder(tmp_path / "cache", bytes(32))
    other.make()
    assert other.read(KEY) is None


def test_the_folders_and_files_are_the_users_alone(folder, tmp_path):
    folder.write(KEY, entry())
    with folder.locked(KEY, timeout=1):
        pass
    for path in [tmp_path / "cache", *(tmp_path / "cache").rglob("*")]:
        expected = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == expected, path


@pytest.mark.parametrize("mode", [0o750, 0o701, 0o777])
def test_a_folder_that_others_may_use_is_refused(tmp_path, mode):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(mode)
    with pytest.raises(ConfigError, match="others may use it") as caught:
        CacheFolder(tmp_path / "cache", ROOT).make()
    assert caught.value.hint.startswith("chmod 700")


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "cache").write_text("")
    with pytest.raises(ConfigError, match="cannot make"):
        CacheFolder(tmp_path / "cache", ROOT).make()


def member(name, value):
    return lambda data: json.dumps(json.loads(data) | {name: value}).encode()


def parts(change):
    return lambda data: json.dumps(
        json.loads(data) | {"parts": change(json.loads(data)["parts"])}
    ).encode()


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda data: b"", id="empty"),
        pytest.param(lambda data: data[: len(data) // 2], id="torn"),
        pytest.param(lambda data: data[:-2], id="a byte short"),
        pytest.param(lambda data: data + data, id="twice"),
        pytest.param(lambda data: b"\xff" * 100, id="not text"),
        pytest.param(lambda data: b"[" * 100000, id="deep"),
        pytest.param(lambda data: b"[]", id="a list"),
        pytest.param(member("format", "sealserve collateral 0"), id="another format"),
        pytest.param(member("key", "SGX-000000000000-platform-standard"), id="another key"),
        pytest.param(member("fetched_at", "yesterday"), id="no time"),
        pytest.param(member("fetched_at", "2026-06-01T12:00:00"), id="no zone"),
        pytest.param(member("parts", 7), id="no parts"),
        pytest.param(parts(lambda p: {k: v for k, v in p.items() if k != "pck_crl"}), id="a part"),
        pytest.param(parts(lambda p: p | {"pck_crl": "*"}), id="not base64"),
        pytest.param(parts(lambda p: p | {"pck_crl": "AAAA" * 400000}), id="a part too large"),
    ],
)
def test_a_torn_or_foreign_file_is_no_entry_and_the_next_write_mends_it(folder, spoil):
    folder.write(KEY, entry())
    path = file_of(folder)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(FormatError):
        folder.read(KEY)
    folder.write(KEY, entry(b"new"))
    assert folder.read(KEY) == entry(b"new")


def test_a_file_without_end_is_not_read_to_its_end(folder):
    path = file_of(folder)
    with path.open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(FormatError, match="larger"):
        folder.read(KEY)


def test_an_entry_says_when_it_came_to_the_second_and_in_any_zone():
    zone = datetime.fromisoformat("2026-06-01T14:00:00.5+02:00")
    assert decode(encode(KEY, entry(fetched_at=zone)), KEY).fetched_at == NOW


@pytest.mark.parametrize(
    "name",
    [
        "SGX-00606A000000-platform-standard",
        "SGX-00606a0000-platform-standard",
        "sgx-00606a000000-platform-standard",
        "SGX-00606a000000-platform-late",
        "SGX-00606a000000-platform-standard.json",
        "../SGX-00606a000000-platform-standard",
        "",
    ],
)
def test_what_is_no_key_is_not_taken_for_one(name):
    assert CollateralKey.parse(name) is None


def test_the_number_of_entries_is_bounded_and_the_oldest_go_first(folder):
    keys = [CollateralKey("SGX", n.to_bytes(6), "platform", "standard") for n in range(MAX_ENTRIES)]
    for age, key in enumerate(reversed(keys)):
        file_of(folder, key).write_bytes(encode(key, entry()))
        os.utime(file_of(folder, key), (1_700_000_000 - age, 1_700_000_000 - age))
    with folder.locked(keys[0], timeout=1):
        pass
    folder.write(KEY, entry())
    assert folder.kept() == [*keys[1:], KEY]
    assert list((folder.path / "locks").iterdir()) == []


def test_what_a_kill_left_half_written_is_swept_away_and_other_files_are_left_alone(folder):
    entries = folder.path / "collateral"
    for name, age in ((".old.part", 7200), (".young.part", 0), ("notes.txt", 7200)):
        (entries / name).write_text("")
        when = datetime.now(UTC).timestamp() - age
        os.utime(entries / name, (when, when))
    folder.write(KEY, entry())
    left = {path.name for path in entries.iterdir()}
    assert left == {".young.part", "notes.txt", f"{KEY.name}.json"}


def test_a_folder_that_takes_no_file_is_told(folder):
    file_of(folder).mkdir()
    with pytest.raises(CollateralError, match="cannot keep"):
        folder.write(KEY, entry())


PROGRAM = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from sealserve.collateral.disk import CacheFolder, Entry
from sealserve.collateral.key import CollateralKey
from sealserve.endorsements.collateral import Collateral
from sealserve.errors import CollateralError

folder = CacheFolder(Path(sys.argv[1]), bytes(range(32)))
key = CollateralKey.parse("SGX-00606a000000-platform-standard")
now = datetime(2026, 6, 1, 12, tzinfo=UTC)
"""
WRITE_FOR_EVER = """
number = 0
while True:
    number = (number + 1) % 250
    collateral = Collateral(*(bytes((number,)) * 1000 for _ in range(7)))
    with folder.locked(key, timeout=10) as attempts:
        attempts.failed("source", now, CollateralError("x" * 900))
        folder.write(key, Entry(collateral, now, "https://pccs.example"))
        attempts.succeeded()
"""
HOLD = """
with folder.locked(key, timeout=10):
    print("locked", flush=True)
    sys.stdin.read()
"""


def start(path, what, **pipes):
    return subprocess.Popen([sys.executable, "-c", PROGRAM + what, str(path)], text=True, **pipes)


def test_a_kill_while_writing_leaves_a_usable_cache(folder, tmp_path):
    """Several writers at once, killed at any moment: what is there is whole, and no lock stays."""
    for _ in range(3):
        writers = [start(tmp_path / "cache", WRITE_FOR_EVER) for _ in range(2)]
        while folder.read(KEY) is None:
            assert all(writer.poll() is None for writer in writers)
        seen = set()
        while len(seen) < 20:  # while they write, and for long enough to meet every stage
            found = folder.read(KEY)
            assert found == entry(found.collateral.pck_crl[:1])
            seen.add(found.collateral.pck_crl[:1])
        for writer in writers:
            writer.send_signal(signal.SIGKILL)
            writer.wait()
        assert folder.read(KEY) is not None
        with folder.locked(KEY, timeout=5) as attempts:
            attempts.succeeded()
        folder.write(KEY, entry(b"after"))
        assert folder.read(KEY) == entry(b"after")
        file_of(folder).unlink()


def test_a_lock_is_waited_for_no_longer_than_its_deadline_and_others_are_free(folder, tmp_path):
    holder = start(tmp_path / "cache", HOLD, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with holder:
        assert holder.stdout.readline() == "locked\n"
        with (
            pytest.raises(CollateralError, match="does not let go"),
            folder.locked(KEY, timeout=0.1),
        ):
            raise AssertionError("two hold one lock")
        other = CollateralKey("TDX", KEY.fmspc, KEY.ca, KEY.update)
        with folder.locked(other, timeout=0.1):
            pass
        holder.stdin.close()
        with folder.locked(KEY, timeout=10):
            pass


class TestAttempts:
    """What one process tells the others about a failure."""

    SOURCE = "https://pccs.example"

    def fail(self, folder, at=NOW, error=None):
        with folder.locked(KEY, timeout=1) as attempts:
            return attempts.failed(self.SOURCE, at, error or CollateralError("down"))

    def known(self, folder, at, source=SOURCE):
        with folder.locked(KEY, timeout=1) as attempts:
            return attempts.failure(source, at)

    def test_a_failure_is_known_until_it_is_time_to_ask_again(self, folder):
        failure = self.fail(folder)
        assert failure.retry_at == NOW + FIRST_PAUSE
        assert self.known(folder, NOW) == failure
        assert self.known(folder, NOW + FIRST_PAUSE - timedelta(seconds=1)) == failure
        assert self.known(folder, NOW + FIRST_PAUSE) is None

    def test_pauses_grow_with_each_failure_up_to_the_longest(self, folder):
        pauses = [self.fail(folder).retry_at - NOW for _ in range(12)]
        assert pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
        assert pauses[-1] == LONGEST_PAUSE

    def test_a_success_ends_the_row(self, folder):
        self.fail(folder)
        with folder.locked(KEY, timeout=1) as attempts:
            attempts.succeeded()
        assert self.known(folder, NOW) is None
        assert self.fail(folder).in_a_row == 1

    def test_a_failure_of_another_source_or_of_the_future_is_nobodys(self, folder):
        self.fail(folder)
        assert self.known(folder, NOW, "https://other.example") is None
        assert self.known(folder, NOW - timedelta(seconds=1)) is None

    def test_those_who_come_later_are_told_the_same_error(self, folder):
        self.fail(folder, error=CollateralError("nobody there"))
        assert isinstance(self.known(folder, NOW).error(), CollateralError)
        self.fail(folder, error=VerificationError("not signed", code="TCB_INFO_SIGNATURE"))
        error = self.known(folder, NOW).error()
        assert isinstance(error, VerificationError)
        assert (error.code, error.message) == ("TCB_INFO_SIGNATURE", "not signed")

    @pytest.mark.parametrize("data", [b"{", b"\0" * 50, b'{"source":1}'], ids=repr)
    def test_a_record_that_cannot_be_read_is_forgotten(self, folder, data):
        (folder.path / "locks" / KEY.name).write_bytes(data)
        assert self.known(folder, NOW) is None
        assert self.fail(folder).in_a_row == 1
