"""The backup's file: what is written is what comes back, and nothing else does.

Whoever alters a file can compute its digest anew, but has not the data key for its MAC. Whoever had
altered the database before it was backed up has the MAC as well: then it is what the rows say that
gives him away.
"""

from __future__ import annotations

import hashlib
import io
import json
import tracemalloc
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import URL

from sealserve.errors import (
    AuditError,
    ConfigError,
    FormatError,
    IntegrityError,
    SealServeError,
    StoreError,
)
from sealserve.keyservice.administration import backup
from sealserve.keyservice.administration.values import Target, TargetKind
from sealserve.keyservice.store.schema import TABLES
from sealserve.keyservice.store.store import Store
from sealserve.keyservice.wrapping.file import FileKey
from stores import KEK, NOW, OWNER, Place, audited, closing_place, leaf, owner, write

VALUES = (bytes(range(32)), b"\xa5" * 16, b"the value of faces, of another length")
RECORDS = 300  # so that a node of the tree's is stored
POLICY = 'version = 2\n# \N{GREEK SMALL LETTER ALPHA}\n[[identities]]\nname = "server"\n'
POLICY += f'mr_enclave = ["{"9f" * 32}"]\n[[rules]]\nname = "digits"\nidentities = ["server"]\n'
POLICY += 'secret = "digits"\n'
TAKEN = NOW.isoformat()


def accept(*_shown: object) -> None:
    """A copy that remembers nothing."""


def fill(store: Store) -> None:
    administration = owner(store)
    administration.add_secret("digits", VALUES[0])
    administration.rotate_secret("digits", VALUES[1])
    administration.add_secret("faces", VALUES[2])
    administration.retire_secret("faces")
    administration.apply_policy(POLICY, administration.try_policy(POLICY).token)
    administration.revoke(Target(TargetKind.SECRET, "digits@1"), "for a test")
    evidence = hashlib.sha256(b"a quote").hexdigest()
    asked = "a name that \udcff nobody has, with \0 and \N{GREEK SMALL LETTER ALPHA}"
    write(store, leaf(0, secret="digits", evidence_sha256=evidence), leaf(1, asked_for=asked))
    write(store, *(leaf(number) for number in range(2, RECORDS)))


def taken(store: Store) -> bytes:
    sink = io.BytesIO()
    backup.write(store, sink, now=NOW, advance=lambda _bytes: None)
    return sink.getvalue()


def put_back(place: Place, data: bytes, kek: FileKey = KEK) -> backup.Summary:
    database = place.database(create=True)
    try:
        database.migrate()
        return backup.restore(
            database,
            kek,
            io.BytesIO(data),
            actor=OWNER,
            now=NOW,
            advance=lambda _bytes: None,
            prove=accept,
        )
    finally:
        database.close()


def is_empty(place: Place) -> bool:
    return all(place.sql(f'SELECT count(*) FROM "{t.name}"') == [(0,)] for t in TABLES)


@dataclass(frozen=True)
class Taken:
    """A backup, and what its owner could do to it."""

    data: bytes
    store: Store

    @property
    def lines(self) -> list[dict]:
        return [json.loads(line) for line in self.data.splitlines()]

    def signed(self, lines: list[dict]) -> bytes:
        """The lines with an end whose digest and MAC are right."""
        data, rows = joined(lines)
        digest = hashlib.sha256(data)
        mac = self.store.key.mac(digest.digest(), backup._context(rows))
        end = {"end": digest.hexdigest(), "rows": rows, "mac": b64encode(mac).decode()}
        return data + json.dumps(end).encode() + b"\n"


def joined(lines: list[dict]) -> tuple[bytes, int]:
    """All but the end, and how many rows they are."""
    body = [line for line in lines if "end" not in line]
    data = b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in body)
    return data, sum("row" in line for line in body)


def forged(lines: list[dict]) -> bytes:
    """The lines with an end whose digest is right, by somebody who has no key."""
    data, rows = joined(lines)
    end = {**lines[-1], "end": hashlib.sha256(data).hexdigest(), "rows": rows}
    return data + json.dumps(end).encode() + b"\n"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Taken]:
    folder = tmp_path_factory.mktemp("original")
    url = URL.create("sqlite", database=str(folder / "keys.db"))
    with closing_place(Place(url, folder)) as place:
        store = place.new()
        fill(store)
        yield Taken(taken(store), store)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A database that every refused restore has to leave empty, for the next one."""
    folder = tmp_path_factory.mktemp("empty")
    url = URL.create("sqlite", database=str(folder / "keys.db"))
    with closing_place(Place(url, folder)) as place:
        place.database(create=True).migrate()
        yield place


def test_what_is_backed_up_comes_back_into_either_database(original, place):
    summary = put_back(place, original.data)
    assert summary.log_size == RECORDS + 6
    store = place.reopen()
    digits, faces = owner(store).secret("digits"), owner(store).secret("faces")
    assert digits == owner(original.store).secret("digits")
    assert faces == owner(original.store).secret("faces")
    assert store.refresh().secret("digits").open(store.key)[0].reveal() == VALUES[1]
    assert store.refresh().rules == original.store.refresh().rules
    records = audited(place)
    assert len(records) == summary.log_size + 1
    assert records[-1]["what"] == "restore"
    assert records[-1]["restored_size"] == summary.log_size
    owner(store).lift(Target(TargetKind.SECRET, "digits@1"), "the log and the rules go on")
    assert len(audited(place)) == summary.log_size + 2


def test_a_backup_of_what_was_restored_holds_the_same_rows(original, place):
    put_back(place, original.data)
    again = [json.loads(line) for line in taken(place.reopen()).splitlines()]
    rows = [json.dumps(line) for line in original.lines if "row" in line]
    kept = {json.dumps(line) for line in again if "row" in line}
    assert [row for row in rows if row not in kept] == rows[-1:]  # the head, which has gone on


def test_the_head_of_the_file_has_the_checkpoint_of_the_log_in_it(original):
    first, *_, last = original.lines
    assert first["format"] == "sealserve-keyservice-backup/1"
    assert first["time"] == TAKEN
    said = original.store.log.checkpoint(first["checkpoint"])
    assert said.size == len([line for line in original.lines if len(line.get("row", "")) == 8])
    assert set(last) == {"end", "rows", "mac"}


def test_no_secret_is_in_the_file_in_any_encoding(original):
    key = original.store.key._key
    held = b"".join(
        b64decode(value)
        for line in original.lines
        for value in line.get("row", [])
        if isinstance(value, str) and len(value) % 4 == 0 and value.isascii() and " " not in value
        if _is_base64(value)
    )
    assert b"digits" in held
    for value in (*VALUES, key, original.store.log.key.seed, bytes(range(32))):
        for at in range(3):  # base64 at each of its offsets
            for coded in (b64encode, urlsafe_b64encode):
                assert coded(bytes(at) + value)[4:-4] not in original.data
        for shape in (value, value.hex().encode(), value.hex().upper().encode(), value[::-1]):
            assert shape not in original.data
            assert shape not in held


def _is_base64(text: str) -> bool:
    try:
        b64decode(text, validate=True)
    except ValueError:
        return False
    return True


def test_a_database_in_use_takes_no_backup(original, place):
    store = place.new()
    owner(store).add_secret("mine", b"a value of mine")
    with pytest.raises(ConfigError, match="is in use") as refused:
        put_back(place, original.data)
    assert refused.value.code == "database-in-use"
    assert [each.name for each in owner(place.reopen()).secrets()] == ["mine"]


def test_another_key_encryption_key_restores_nothing(original, empty):
    with pytest.raises(IntegrityError) as refused:
        put_back(empty, original.data, FileKey(b"\x01" * 32))
    assert refused.value.code == "wrapping.key"
    assert is_empty(empty)


def row_of(lines: list[dict], table: str, number: int = 0) -> list:
    """The values of a row, to be changed in place."""
    return lines[place_of(lines, table) + 1 + number]["row"]


def place_of(lines: list[dict], table: str) -> int:
    return next(at for at, line in enumerate(lines) if line.get("table") == table)


def flipped(value: str) -> str:
    """Base64 with one bit of what it stands for turned."""
    data = bytearray(b64decode(value))
    data[len(data) // 2] ^= 1
    return b64encode(data).decode()


def a_bit_of(table: str, column: int, number: int = 0) -> Callable[[list[dict]], None]:
    def alter(lines: list[dict]) -> None:
        row = row_of(lines, table, number)
        row[column] = flipped(row[column])

    return alter


def a_value_in(table: str, column: int, value: object) -> Callable[[list[dict]], None]:
    def alter(lines: list[dict]) -> None:
        row_of(lines, table)[column] = value

    return alter


def a_row_less_of(table: str, number: int = 0) -> Callable[[list[dict]], None]:
    def alter(lines: list[dict]) -> None:
        del lines[place_of(lines, table) + 1 + number]

    return alter


def a_row_twice(table: str) -> Callable[[list[dict]], None]:
    def alter(lines: list[dict]) -> None:
        at = place_of(lines, table) + 1
        lines.insert(at, lines[at])

    return alter


def two_keys_swapped(table: str, column: int) -> Callable[[list[dict]], None]:
    def alter(lines: list[dict]) -> None:
        one, other = row_of(lines, table), row_of(lines, table, 1)
        one[column], other[column] = other[column], one[column]

    return alter


def another_first_line(**fields: object) -> Callable[[list[dict]], None]:
    def alter(lines: list[dict]) -> None:
        lines[0].update(fields)

    return alter


def a_row_of_another_table(lines: list[dict]) -> None:
    lines.insert(place_of(lines, "secrets") + 1, {"row": row_of(lines, "records")})


def two_tables_exchanged(lines: list[dict]) -> None:
    at, of = place_of(lines, "rules"), place_of(lines, "secrets")
    end = place_of(lines, "records")
    lines[at:end] = lines[of:end] + lines[at:of]


def a_table_twice(lines: list[dict]) -> None:
    lines.insert(-1, lines[place_of(lines, "head")])


def a_table_of_none_of_ours(lines: list[dict]) -> None:
    lines.insert(-1, {"table": "alembic_version", "columns": ["version_num"]})
    lines.insert(-1, {"row": ["0"]})


def a_column_more(lines: list[dict]) -> None:
    lines[place_of(lines, "secrets")]["columns"].append("note")


def a_table_whose_name_is_none(lines: list[dict]) -> None:
    lines[place_of(lines, "secrets")]["table"] = ["secrets"]


def a_row_before_any_table(lines: list[dict]) -> None:
    lines.insert(1, {"row": ["data_key", ""]})


def a_line_of_another_kind(lines: list[dict]) -> None:
    lines.insert(2, {"note": "take this, too"})


def rules_to_come(lines: list[dict]) -> None:
    row = row_of(lines, "rules")
    lines.insert(place_of(lines, "secrets"), {"row": [3, *row[1:]]})


def older_rules_in_force(lines: list[dict]) -> None:
    before, now = row_of(lines, "rules", 1), row_of(lines, "rules", 2)
    now[1:] = before[1:]


def a_node_to_come(lines: list[dict]) -> None:
    lines.insert(place_of(lines, "head"), {"row": [8, 1, b64encode(bytes(32)).decode()]})


def far_too_much_of_meta(lines: list[dict]) -> None:
    lines[2:2] = [{"row": [f"name {number}", ""]} for number in range(1000)]


def the_log_of_another_time(lines: list[dict]) -> None:
    size = row_of(lines, "head")[1]
    del lines[place_of(lines, "nodes") - 1]
    row_of(lines, "head")[1] = size - 1


# Made by somebody who can alter the database, and then backed up: digest and MAC are right.
UNSOUND = {
    "a bit of the wrapped data key": a_bit_of("meta", 1, 0),
    "a bit of the sealed log key": a_bit_of("meta", 1, 1),
    "a bit of the log's name": a_bit_of("meta", 1, 2),
    "no data key": a_row_less_of("meta", 0),
    "no log key": a_row_less_of("meta", 1),
    "no name of the log": a_row_less_of("meta", 2),
    "a bit of the rules in force": a_bit_of("rules", 1, 2),
    "a bit of their MAC": a_bit_of("rules", 2, 2),
    "no rules in force": a_row_less_of("rules", 2),
    "older rules in the place of those in force": older_rules_in_force,
    "rules that are not in force yet": rules_to_come,
    "a bit of a secret's facts": a_bit_of("secrets", 2),
    "a bit of a sealed secret": a_bit_of("secrets", 3),
    "a bit of its MAC": a_bit_of("secrets", 4),
    "a secret under another name": a_value_in("secrets", 0, "digitz"),
    "a secret of another version": a_value_in("secrets", 1, 7),
    "two secrets' values swapped": two_keys_swapped("secrets", 3),
    "two versions swapped": two_keys_swapped("secrets", 1),
    "a bit of a record": a_bit_of("records", 2, 7),
    "a bit of a leaf's hash": a_bit_of("records", 1, 7),
    "a record less": a_row_less_of("records", 7),
    "the last record less": a_row_less_of("records", RECORDS + 5),
    "two records swapped": two_keys_swapped("records", 0),
    "a record found at another time": a_value_in("records", 3, 1),
    "a record found as another kind": a_value_in("records", 4, "decision"),
    "a record found by another outcome": a_value_in("records", 5, "released"),
    "a record not found by its secret": a_value_in("records", 6, None),
    "a record found by another's evidence": a_value_in("records", 7, b64encode(b"e").decode()),
    "a bit of a node": a_bit_of("nodes", 2),
    "a node less": a_row_less_of("nodes"),
    "a node of another level": a_value_in("nodes", 0, 16),
    "a node that is not complete yet": a_node_to_come,
    "a bit of the frontier": a_bit_of("head", 2),
    "another size": a_value_in("head", 1, 5),
    "a shorter log under the same checkpoint": the_log_of_another_time,
    "a checkpoint that nobody signed": a_value_in("head", 3, "keys.example.com/test\n0\n"),
    "no head": a_row_less_of("head"),
    "a second head": a_row_twice("head"),
    "a head of another number": a_value_in("head", 0, 2),
    "the checkpoint of another log in the first line": another_first_line(checkpoint="x"),
    "no checkpoint in the first line": another_first_line(checkpoint=None),
    "another format": another_first_line(format="sealserve-keyservice-backup/2"),
    "a row twice": a_row_twice("secrets"),
    "a record twice": a_row_twice("records"),
    "a row of another table": a_row_of_another_table,
    "two tables exchanged": two_tables_exchanged,
    "a table twice": a_table_twice,
    "a table of none of ours": a_table_of_none_of_ours,
    "a column more": a_column_more,
    "a table whose name is none": a_table_whose_name_is_none,
    "a row before any table": a_row_before_any_table,
    "a line of another kind": a_line_of_another_kind,
    "far too much of meta": far_too_much_of_meta,
    "text for a number": a_value_in("secrets", 1, "1"),
    "a fraction for a number": a_value_in("secrets", 1, 1.0),
    "a truth value for a number": a_value_in("secrets", 1, True),
    "a number that no column holds": a_value_in("secrets", 1, 1 << 31),
    "a number that no database holds": a_value_in("records", 3, 1 << 63),
    "a number of many digits": a_value_in("records", 3, 10**4000),
    "a number for bytes": a_value_in("secrets", 2, 4),
    "no base64": a_value_in("secrets", 2, "?"),
    "base64 with letters of others": a_value_in("secrets", 2, "\N{GREEK SMALL LETTER ALPHA}==="),
    "nothing for bytes": a_value_in("secrets", 2, None),
    "a list for text": a_value_in("secrets", 0, ["digits"]),
    "an object for text": a_value_in("records", 5, {"a": 1}),
    "half of a surrogate pair": a_value_in("records", 5, "\udcff"),
}  # fmt: skip


@pytest.mark.parametrize("alter", UNSOUND.values(), ids=UNSOUND)
def test_what_is_not_sound_is_refused_whoever_wrote_it_together(original, empty, alter):
    lines = original.lines
    alter(lines)
    for data in (original.signed(lines), forged(lines)):
        with pytest.raises((FormatError, IntegrityError)) as refused:
            put_back(empty, data)
        assert not isinstance(refused.value, StoreError)
        assert is_empty(empty)


def a_secret_less(lines: list[dict]) -> None:
    del lines[place_of(lines, "secrets") + 1]


def an_older_rule_less(lines: list[dict]) -> None:
    del lines[place_of(lines, "rules") + 1]


def a_later_date(lines: list[dict]) -> None:
    lines[0]["time"] = "2999-01-01T00:00:00+00:00"


def an_older_state_of_a_secret(lines: list[dict]) -> None:
    lines[place_of(lines, "secrets") + 2]["row"] = OLDER["digits"]


OLDER: dict[str, list] = {}

# Each row of these is authentic by itself, so that the MAC over all of them alone tells.
PUT_TOGETHER = [a_secret_less, an_older_rule_less, a_later_date, an_older_state_of_a_secret]


@pytest.mark.parametrize("alter", PUT_TOGETHER, ids=lambda alter: alter.__name__)
def test_authentic_rows_that_one_of_ours_did_not_write_together_are_refused(
    original, empty, tmp_path, alter
):
    url = URL.create("sqlite", database=str(tmp_path / "keys.db"))
    with closing_place(Place(url, tmp_path)) as place:
        put_back(place, original.data)
        store = place.reopen()
        before = [json.loads(line) for line in taken(store).splitlines()]
        OLDER["digits"] = row_of(before, "secrets", 1)
        owner(store).retire_secret("digits", 2)
        owner(store).rotate_secret("faces", b"another value of it")
        lines = [json.loads(line) for line in taken(store).splitlines()]
    alter(lines)
    with pytest.raises(IntegrityError, match="proof of the data key") as refused:
        put_back(empty, forged(lines))
    assert refused.value.code == "backup"
    assert is_empty(empty)


@pytest.mark.parametrize(
    "end", [{"mac": "AAAA"}, {"mac": None}, {"mac": "?"}, {"rows": 1}, {"end": 1}]
)
def test_an_end_that_is_not_the_backups_own_is_refused(original, empty, end):
    body = original.data[: original.data[:-1].rindex(b"\n") + 1]
    last = {**original.lines[-1], **end}
    with pytest.raises((FormatError, IntegrityError)):
        put_back(empty, body + json.dumps(last).encode() + b"\n")
    assert is_empty(empty)


def test_a_backup_that_is_cut_off_anywhere_is_refused(original, empty):
    lines = original.data.splitlines(keepends=True)
    ends = [sum(map(len, lines[:count])) for count in range(len(lines))]
    chosen = [*ends[:20], *ends[20:-8:50], *ends[-8:], len(original.data) - 1, ends[-1] + 9]
    for end in chosen:
        with pytest.raises(FormatError):
            put_back(empty, original.data[:end])
        assert is_empty(empty)


DEEP = b'{"row":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n"
LINES = {
    "nothing": b"",
    "an empty line": b"\n",
    "no JSON": b"row\n",
    "no object": b"[]\n",
    "not UTF-8": b'{"row":["\xff"]}\n',
    "deep JSON": DEEP,
    "a number that Python would not read": b'{"row":[' + b"9" * 5000 + b"]}\n",
    "a huge line": b'{"row":["' + b"A" * (backup.LINE_LIMIT + 1) + b'"]}\n',
    "two objects": b'{"row":[]}{"row":[]}\n',
}


@pytest.mark.parametrize("bad", LINES.values(), ids=LINES)
def test_a_line_that_is_none_of_a_backup_is_refused_wherever_it_stands(original, empty, bad):
    lines = original.data.splitlines(keepends=True)
    made = [bad, bad + original.data, *(b"".join([*lines[:at], bad, *lines[at:]]) for at in (1, 5))]
    made.append(original.data + (bad or lines[-1]))
    for data in made:
        if data == original.data:
            continue
        with pytest.raises(FormatError):
            put_back(empty, data)
        assert is_empty(empty)


def test_a_huge_line_is_not_read_as_a_whole(empty):
    class Endless(io.RawIOBase):
        asked = 0

        def readable(self) -> bool:
            return True

        def readinto(self, buffer) -> int:
            buffer[:] = b"x" * len(buffer)
            self.asked += len(buffer)
            return len(buffer)

    endless = Endless()
    with pytest.raises(FormatError, match="a line of over"):
        backup.restore(
            empty.database(), KEK, io.BufferedReader(endless), actor=OWNER, now=NOW,
            advance=lambda _bytes: None, prove=accept,
        )  # fmt: skip
    assert endless.asked < 2 * backup.LINE_LIMIT
    assert is_empty(empty)


def test_what_a_copy_refuses_of_the_log_leaves_nothing(original, empty):
    def refuse(_connection, log, head) -> None:
        assert log.checkpoint(head.note).size == head.size
        raise AuditError("it had a longer one")

    with pytest.raises(AuditError, match="a longer one"):
        backup.restore(
            empty.database(), KEK, io.BytesIO(original.data), actor=OWNER, now=NOW,
            advance=lambda _bytes: None, prove=refuse,
        )  # fmt: skip
    assert is_empty(empty)


def test_a_row_that_no_restore_would_read_is_not_backed_up(original, monkeypatch):
    monkeypatch.setattr(backup, "LINE_LIMIT", 300)
    with pytest.raises(ConfigError, match="300 are read"):
        taken(original.store)


def test_the_longest_policy_and_thousands_of_revocations_come_back(place, tmp_path_factory):
    store = place.new()
    rules = replace(
        store.refresh().rules,
        policy="version = 2\n#" + "\N{GREEK SMALL LETTER ALPHA}" * (95 << 10),
        revoked=replace(
            store.refresh().rules.revoked,
            measurements=frozenset(number.to_bytes(32, "big") for number in range(20_000)),
        ),
    )
    from sealserve.keyservice.store.rules import write_rules

    with store.database.writing() as connection:
        head = store.log.lock(connection)
        write_rules(connection, rules, 1, store.key)
        store.log.append(connection, head, [leaf()], revision=1, rules=1)
    data = taken(store)
    folder = tmp_path_factory.mktemp("other")
    url = URL.create("sqlite", database=str(folder / "keys.db"))
    with closing_place(Place(url, folder)) as other:
        put_back(other, data)
        assert other.reopen().refresh().rules == rules


def edited(data: bytes, at: int, gone: int, new: bytes, right: bool) -> bytes:
    """Some bytes replaced, removed or put in; the end made `right`, but for its MAC, or left."""
    at %= len(data)
    made = data[:at] + new + data[at + gone :]
    if not right:
        return made
    body = made.rstrip(b"\n").rpartition(b"\n")[0] + b"\n"
    rows = sum(line.startswith(b'{"row"') for line in body.splitlines())
    mac = json.loads(data.splitlines()[-1])["mac"]
    end = {"end": hashlib.sha256(body).hexdigest(), "rows": rows, "mac": mac}
    return body + json.dumps(end).encode() + b"\n"


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
WORDS = st.sampled_from(["format", "table", "columns", "row", "end", "rows", "mac", "checkpoint"])
LINE = st.dictionaries(WORDS, VALUE, max_size=3)


def test_whatever_is_in_a_file_only_our_errors_escape_and_nothing_stays(original, empty):
    @settings(max_examples=200, deadline=None)
    @given(
        st.integers(0, len(original.data)),
        st.integers(0, 40),
        st.binary(max_size=20),
        st.booleans(),
    )
    @example(0, 1 << 30, b"null\n", False)
    def by_bytes(at: int, gone: int, new: bytes, right: bool) -> None:
        refused(edited(original.data, at, gone, new, right))

    @settings(max_examples=150, deadline=None)
    @given(st.integers(0, 12), st.lists(LINE, min_size=1, max_size=4))
    def by_lines(at: int, made: list[dict]) -> None:
        refused(joined_with(original, at, made))

    def refused(data: bytes) -> None:
        if data.splitlines()[:-1] == original.data.splitlines()[:-1]:
            return  # an end may be written in more than one way
        with pytest.raises(SealServeError):
            put_back(empty, data)
        assert is_empty(empty)

    by_bytes()
    by_lines()


def joined_with(original: Taken, at: int, made: list[dict]) -> bytes:
    lines = original.lines
    lines[at:at] = made
    return original.signed(lines)


def test_the_memory_for_a_backup_does_not_grow_with_the_log(sqlite_place, tmp_path_factory):
    folder = tmp_path_factory.mktemp("other")
    store = sqlite_place.new()
    peaks = []
    for number in range(2):
        write(store, *(leaf(each, why="w" * 500) for each in range(3000 if number else 1000)))
        with (folder / f"backup-{number}").open("w+b") as stream:
            peaks.append(peak(lambda stream=stream: backup.write(
                store, stream, now=NOW, advance=lambda _bytes: None)))  # fmt: skip
            size = stream.tell()
            stream.seek(0)
            url = URL.create("sqlite", database=str(folder / f"{number}.db"))
            with closing_place(Place(url, folder)) as other:
                database = other.database(create=True)
                database.migrate()
                peaks.append(peak(lambda stream=stream, database=database: backup.restore(
                    database, KEK, stream, actor=OWNER, now=NOW,
                    advance=lambda _bytes: None, prove=accept)))  # fmt: skip
    assert size > 3 << 20
    assert max(peaks) < 2 << 20, peaks


def peak(work: Callable[[], object]) -> int:
    """The most bytes that Python had at once for it."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
