"""`sealserve keyservice backup`, `restore` and `rewrap`, beside services that run.

What the file may hold is tried in `tests/unit/keyservice/administration/test_backup_format.py`.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pty
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import psycopg
import pytest

from key_site import MEASUREMENT, Enclave, Site, start_service
from sealserve.attester.ratls import make_certificate
from sealserve.attester.secrets import fetch_secret
from sealserve.errors import DeniedError, IntegrityError, UsageError
from sealserve.files import write_file
from sealserve.keyservice.administration.opening import open_store
from sealserve.keyservice.administration.values import Target, TargetKind
from sealserve.keyservice.config import load_config
from sealserve.keyservice.store.log import Leaf
from sealserve.transparency.checkpoint import LogVerifier, read_checkpoint
from softhsm import softhsm
from stores import postgres_server

SEALSERVE = [sys.executable, "-m", "sealserve"]
SECONDS = 120
OTHER = sha256(b"another build").digest()
WORDS = "correct horse battery staple\n"


def command(*words: object, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SEALSERVE, *map(str, words)],
        capture_output=True, text=True, timeout=SECONDS, check=False, **options,
    )  # fmt: skip


def backed_up(site: Site, name: str = "keys.backup") -> Path:
    target = site.folder / name
    done = command("keyservice", "backup", "--config", site.config, "--out", target)
    assert done.returncode == 0, done.stderr
    return target


def restored(config: Path, source: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return command("keyservice", "restore", "--config", config, "--in", source, *more)


def elsewhere(site: Site, folder: Path, *, database: str = "keyservice.db", top: str = "") -> Site:
    """The service's files on another machine, all but its database and what it remembers."""
    folder.mkdir()
    for name in ("ca.pem", "server.pem", "server.key", "kek"):
        shutil.copy(site.folder / name, folder)
    shutil.copytree(site.folder / "lab", folder / "lab")
    other = object.__new__(Site)
    other.__dict__.update(site.__dict__)
    other.folder, other.database, other.top = folder, database, top
    other.ca_file, other.config = folder / "ca.pem", folder / "keyservice.toml"
    other.write_config()
    return other


def fetch(running, site: Site, measurement: bytes = MEASUREMENT) -> bytes:
    report = replace(site.report, mr_enclave=measurement)
    return fetch_secret(
        running.servers,
        ca_file=site.ca_file,
        identity=make_certificate(Enclave(site.world, report)),
        timeout=60,
    )


def in_use(site: Site) -> Site:
    """A site with a revoked build, a second secret, decisions on record."""
    both = f'mr_enclave = ["{MEASUREMENT.hex()}", "{OTHER.hex()}"]'
    site.write_policy(both)
    with site.administration() as administration:
        administration.add_secret("letters", b"the value of letters")
        administration.retire_secret("letters")
        administration.revoke(Target(TargetKind.MEASUREMENT, OTHER.hex()), "a bug in its parser")
    with start_service(site) as running:
        assert fetch(running, site) == site.secret
        with pytest.raises(DeniedError):
            fetch(running, site, OTHER)
    return site


def serves_as_before(site: Site, checkpoint: Path, log_key: Path) -> None:
    """It releases, refuses and remembers as the one that was backed up, and its log goes on."""
    with start_service(site) as running:
        assert fetch(running, site) == site.secret
        with pytest.raises(DeniedError):
            fetch(running, site, OTHER)
    first, second = site.records()[-2:]
    assert (first["outcome"], second["outcome"]) == ("released", "denied")
    assert [each.state for each in facts(site, "letters")] == ["retired"]
    config = ["--config", site.config, "--log-key", log_key, "--since", checkpoint]
    verified = command("audit", "verify", *config)
    assert verified.returncode == 0, verified.stderr


def facts(site: Site, name: str):
    with site.administration() as administration:
        return administration.secret(name)


def keep_checkpoint(site: Site, folder: Path) -> tuple[Path, Path]:
    """What an auditor has: an older checkpoint, and the log's key."""
    with site.administration() as administration:
        note, key = administration.checkpoint(), administration.log_key()
    (folder / "checkpoint").write_text(note)
    (folder / "log.key").write_text(key + "\n")
    return folder / "checkpoint", folder / "log.key"


@dataclass(frozen=True)
class Postgres:
    """A database on a server, and how a site names it."""

    url: str
    password: str

    def of(self, site: Site, folder: Path) -> Site:
        other = elsewhere(site, folder, database=self.url, top='database_password = "db.password"')
        write_file(folder / "db.password", f"{self.password}\n".encode())
        return other


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with postgres_server() as server:
        yield Postgres(server.url, server.password)


def test_another_machine_goes_on_from_a_backup_with_the_same_secrets_and_log(site, tmp_path):
    in_use(site)
    checkpoint = keep_checkpoint(site, tmp_path)
    source = backed_up(site)
    assert source.stat().st_mode & 0o777 == 0o600
    other = elsewhere(site, tmp_path / "other")
    done = restored(other.config, source)
    assert done.returncode == 0, done.stderr
    serves_as_before(other, *checkpoint)
    assert other.check_log() == site.check_log() + 3  # the restore, and two decisions
    assert [each["what"] for each in other.log("change")][-1] == "restore"


def test_a_backup_goes_into_postgresql_and_back_into_a_file(site, tmp_path, postgres):
    in_use(site)
    checkpoint = keep_checkpoint(site, tmp_path)
    server = postgres.of(site, tmp_path / "server")
    done = restored(server.config, backed_up(site))
    assert done.returncode == 0, done.stderr
    serves_as_before(server, *checkpoint)
    last = elsewhere(site, tmp_path / "last")
    done = restored(last.config, backed_up(server))
    assert done.returncode == 0, done.stderr
    serves_as_before(last, *checkpoint)
    with psycopg.connect(postgres.url, password=postgres.password) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")


def test_a_backup_that_is_taken_while_secrets_are_released_is_of_one_moment(site, tmp_path):
    stop = threading.Event()
    released: list[bytes] = []
    with start_service(site) as running:

        def ask() -> None:
            while not stop.is_set():
                released.append(fetch(running, site))

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            sources = [backed_up(site, f"{number}.backup") for number in range(3)]
        finally:
            stop.set()
            thread.join()
        key = LogVerifier.parse(str(running.loaded.store.log.key.verifier))
    assert set(released) == {site.secret}
    sizes = []
    for source in sources:
        head = json.loads(source.read_bytes().splitlines()[0])
        said = read_checkpoint(head["checkpoint"], key)
        other = elsewhere(site, tmp_path / source.stem)
        done = restored(other.config, source, "--json")
        assert json.loads(done.stdout)["log_size"] == said.size, done.stderr
        assert other.check_log() == said.size + 1
        sizes.append(said.size)
    assert sizes == sorted(sizes)
    assert sizes[-1] > 2  # the secret and the policy: at least one release is in it


def test_no_backup_is_written_over_a_file_and_none_is_left_where_it_fails(site):
    source = backed_up(site)
    before = source.read_bytes()
    again = command("keyservice", "backup", "--config", site.config, "--out", source)
    assert again.returncode == UsageError.exit_code
    assert source.read_bytes() == before

    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    grow(site, 2000)
    listed = sorted(site.folder.iterdir())
    full = command(
        "keyservice", "backup", "--config", site.config, "--out", site.folder / "second.backup",
        preexec_fn=little_room,
    )  # fmt: skip
    assert full.returncode == UsageError.exit_code
    assert "cannot write" in full.stderr
    assert "Traceback" not in full.stderr
    assert {path.name for path in site.folder.iterdir()} - {path.name for path in listed} <= {
        "keyservice.db-wal", "keyservice.db-shm",
    }  # fmt: skip


def grow(site: Site, count: int) -> None:
    """Put `count` records into the log, as one batch."""
    store = open_store(load_config(site.config))
    try:
        leaves = [
            Leaf.of("decision", datetime.now(UTC), {"outcome": "denied", "number": number})
            for number in range(count)
        ]
        with store.database.writing() as connection:
            store.log.append(connection, store.log.lock(connection), leaves)
    finally:
        store.close()


def is_empty(site: Site) -> bool:
    """Whether the next restore would find nothing there."""
    from sealserve.keyservice.administration.opening import open_tables

    with open_tables(load_config(site.config)) as database:
        return database.has_no_keys()


def test_a_database_in_use_another_key_and_no_backup_are_refused(site, tmp_path):
    source = backed_up(site)
    here = restored(site.config, source)
    assert here.returncode == UsageError.exit_code
    assert "database-in-use" in here.stderr
    other = elsewhere(site, tmp_path / "other")
    (other.folder / "kek").unlink()
    write_file(other.folder / "kek", bytes(32))
    wrong = restored(other.config, source)
    assert wrong.returncode == IntegrityError.exit_code
    assert "wrapping.key" in wrong.stderr
    for name, code in ((other.config, 2), (other.folder / "nothing", 1), (other.folder, 1)):
        assert restored(other.config, name).returncode == code
    assert is_empty(other)
    shutil.copy(site.folder / "kek", other.folder)
    assert restored(other.config, source).returncode == 0


def test_an_older_backup_is_refused_by_a_copy_that_remembers_more_until_it_is_told(site, tmp_path):
    source = backed_up(site)
    with site.administration() as administration:
        administration.revoke(Target(TargetKind.MEASUREMENT, MEASUREMENT.hex()), "a bug in it")
    for path in site.folder.glob("keyservice.db*"):
        path.unlink()
    refused = restored(site.config, source)
    assert refused.returncode == IntegrityError.exit_code
    assert "audit.rolled-back" in refused.stderr
    assert is_empty(site)
    accepted = restored(site.config, source, "--dangerously-accept-older-log")
    assert accepted.returncode == 0, accepted.stderr
    assert "DANGEROUS" in accepted.stderr
    with start_service(site) as running:
        assert fetch(running, site) == site.secret


def test_a_damaged_backup_makes_no_copy_forget_what_it_remembers(site):
    source = backed_up(site)
    data = source.read_bytes()
    with site.administration() as administration:
        administration.add_secret("later", b"the value of later")
    source.write_bytes(data[:-20])
    for path in site.folder.glob("keyservice.db*"):
        path.unlink()
    damaged = restored(site.config, source, "--dangerously-accept-older-log")
    assert damaged.returncode == 2
    source.write_bytes(data)
    assert "audit.rolled-back" in restored(site.config, source).stderr


def test_a_restore_that_is_killed_leaves_a_database_to_restore_into(site, tmp_path):
    grow(site, 20_000)
    source = backed_up(site)
    other = elsewhere(site, tmp_path / "other")
    for written in (0, 1 << 19, 2 << 20):  # bytes, of over four MiB once it is committed
        process = subprocess.Popen(
            [*SEALSERVE, "keyservice", "restore", "--config", other.config, "--in", source],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wal = other.folder / "keyservice.db-wal"
        end = time.monotonic() + SECONDS
        while not (wal.exists() and wal.stat().st_size > written) and time.monotonic() < end:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait(SECONDS) == -signal.SIGKILL
        assert is_empty(other)
    done = restored(other.config, source)
    assert done.returncode == 0, done.stderr
    assert other.check_log() == site.check_log() + 1


@pytest.mark.long
def test_a_hundred_thousand_records_need_no_more_memory_than_a_few(site, tmp_path):
    few = backed_up(site, "few.backup")
    small = elsewhere(site, tmp_path / "small")
    need = [memory_of("restore", small.config, "--in", few)]
    need.append(memory_of("backup", small.config, "--out", tmp_path / "0.backup"))
    grow(site, 100_000)
    many = backed_up(site, "many.backup")
    large = elsewhere(site, tmp_path / "large")
    need.append(memory_of("restore", large.config, "--in", many))
    need.append(memory_of("backup", large.config, "--out", tmp_path / "1.backup"))
    assert max(need[2:]) - min(need[:2]) < 24 << 10, need  # KiB, with SQLite's caches
    assert many.stat().st_size > 20 << 20


# Of this process alone: what getrusage(2) says begins with what its parent had.
MEASURE = """import re, sys
from pathlib import Path
from sealserve.cli import main
try:
    main(sys.argv[1:])
finally:
    status = Path("/proc/self/status").read_text()
    print(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1], file=sys.stderr)
"""


def memory_of(name: str, config: Path, *words: object) -> int:
    """The most KiB that the command had at once."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, "keyservice", name, "--config", config, *words],
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return int(done.stderr.split()[-1])


def wrapped_by(site: Site, name: str, wrapping: str) -> Path:
    """The configuration with another [wrapping]."""
    path = site.folder / name
    text = site.config.read_text().replace('[wrapping]\nkind = "file"\nkey = "kek"\n', wrapping)
    assert "[wrapping]" in text
    path.write_text(text)
    return path


@pytest.fixture
def wrappings(site, tmp_path, monkeypatch) -> Iterator[list[Path]]:
    """Configurations by a file, a passphrase and a token."""
    write_file(site.folder / "passphrase", WORDS.encode())
    folder = tmp_path / "hsm"
    folder.mkdir()
    with softhsm(folder, monkeypatch) as hsm:
        hsm.make_token("models")
        token = hsm.wrapping()
        yield [
            site.config,
            wrapped_by(
                site,
                "passphrase.toml",
                '[wrapping]\nkind = "passphrase"\npassphrase = "passphrase"\n',
            ),
            wrapped_by(
                site,
                "token.toml",
                f'[wrapping]\nkind = "pkcs11"\nmodule = "{token.module}"\n'
                f'token = "models"\nkey = "kek"\npin = "{token.pin}"\n',
            ),
        ]


def rewrapped(old: Path, new: Path) -> None:
    done = command("keyservice", "rewrap", "--config", old, "--new-config", new)
    assert done.returncode == 0, done.stderr


def opens(config: Path) -> bool:
    return command("keyservice", "check", "--config", config).returncode == 0


@pytest.mark.long
def test_the_data_key_goes_from_file_to_passphrase_to_token_and_back_while_a_copy_runs(
    site, wrappings
):
    file, passphrase, token = wrappings
    with start_service(site) as running:
        for old, new in ((file, passphrase), (passphrase, token), (token, file)):
            rewrapped(old, new)
            assert [opens(each) for each in wrappings] == [each == new for each in wrappings]
            assert fetch(running, site) == site.secret  # the copy that runs goes on
    with start_service(site) as running:
        assert fetch(running, site) == site.secret


def test_a_backup_restores_under_the_passphrase_or_the_token_that_it_was_made_under(
    site, wrappings, tmp_path
):
    for old, new in itertools.pairwise(wrappings):
        rewrapped(old, new)
        site.config = new
        source = backed_up(site, f"{new.stem}.backup")
        for path in site.folder.glob("keyservice.db*"):
            path.unlink()
        refused = restored(old, source)
        assert refused.returncode == IntegrityError.exit_code
        assert "wrapping.key" in refused.stderr
        done = restored(new, source)
        assert done.returncode == 0, done.stderr
        with start_service(site, new) as running:
            assert fetch(running, site) == site.secret


def typed(answers: list[str], *words: object) -> tuple[int, str]:
    """The exit code and what a terminal shows of a command that is answered so."""
    process, terminal = pty.fork()
    if process == 0:
        os.execv(sys.executable, [*SEALSERVE, *map(str, words)])
    shown = b""
    waiting = list(answers)
    with contextlib.suppress(OSError), os.fdopen(terminal, "r+b", buffering=0) as stream:
        while data := stream.read(1000):
            shown += data
            if data.rstrip(b" ").endswith(b":") and waiting:
                stream.write(f"{waiting.pop(0)}\n".encode())
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), shown.decode()


def test_a_new_passphrase_is_typed_twice_and_one_that_was_mistyped_takes_nothing_away(site):
    new = wrapped_by(site, "typed.toml", '[wrapping]\nkind = "passphrase"\n')
    words = ["keyservice", "rewrap", "--config", site.config, "--new-config", new]
    code, shown = typed(["one that is long enough", "and another", "\x03"], *words)
    assert code != 0, shown
    assert opens(site.config)
    code, shown = typed(["one that is long enough", "one that is long enough"], *words)
    assert code == 0, shown
    assert "long enough" not in shown
    assert not opens(site.config)
    code, shown = typed(["one that is long enough"], "keyservice", "check", "--config", new)
    assert code == 0, shown


def test_init_asks_twice_for_a_new_passphrase_and_once_for_one_that_is_there(site):
    config = wrapped_by(site, "typed.toml", '[wrapping]\nkind = "passphrase"\n')
    text = config.read_text().replace("keyservice.db", "typed.db")
    config.write_text(text.replace('state = "state"', 'state = "typed-state"'))
    words = ["keyservice", "init", "--config", config]
    code, shown = typed(["one that is long enough", "one that is long enough"], *words)
    assert code == 0, shown
    assert "long enough" not in shown
    code, shown = typed(["one that is long enough"], *words)
    assert code == 0, shown


def test_nothing_is_rewrapped_for_another_database_or_under_a_key_that_is_not_to_be_had(site):
    other = site.folder / "other.toml"
    other.write_text(site.config.read_text().replace("keyservice.db", "another.db"))
    missing = wrapped_by(
        site, "missing.toml", '[wrapping]\nkind = "passphrase"\npassphrase = "missing"\n'
    )
    for new in (other, missing):
        done = command("keyservice", "rewrap", "--config", site.config, "--new-config", new)
        assert done.returncode == UsageError.exit_code
    assert not (site.folder / "another.db").exists()
    assert opens(site.config)


def test_what_does_not_open_makes_no_new_key(site):
    new = site.folder / "new.toml"
    new.write_text(site.config.read_text().replace('"kek"', '"kek-2"'))
    (site.folder / "kek").unlink()
    write_file(site.folder / "kek", bytes(32))
    done = command("keyservice", "rewrap", "--config", site.config, "--new-config", new)
    assert done.returncode == IntegrityError.exit_code
    assert not (site.folder / "kek-2").exists()
