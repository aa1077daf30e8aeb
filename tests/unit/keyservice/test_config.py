"""The configuration: what is not said is careful, what is wrong is named."""

from __future__ import annotations

import pytest

from sealserve.errors import ConfigError
from sealserve.hosts import ListenAddress
from sealserve.keyservice.config import load_config

SOUND = """
database = "keyservice.db"
state = "state"
[wrapping]
kind = "file"
key = "keys/kek"
[tls]
certificate = "server.pem"
private_key = "server.key"
[attestation]
collateral_service = "https://pccs.example:8081"
[limits]
"""
ADMIN = """
[admin]
certificate = "admin.pem"
private_key = "admin.key"
client_ca = "people.pem"
"""


def load(folder, text=SOUND):
    path = folder / "keyservice.toml"
    path.write_text(text)
    return load_config(path)


def replaced(old, new):
    assert old in SOUND
    return SOUND.replace(old, new)


def test_what_is_not_said_is_the_careful_choice(tmp_path):
    config = load(tmp_path)
    assert config.listen == ListenAddress("127.0.0.1", 4433)
    assert config.attestation.trust_root is None  # Intel's
    assert config.limits.handshake_seconds <= config.limits.session_seconds
    assert config.limits.max_sessions > 0
    assert config.workers == 1
    assert (config.key_domain, config.proxies) == (None, ())
    assert (config.admin, config.watch) == (None, None)


def test_the_cache_is_in_the_folder_of_this_copy_unless_it_is_named(tmp_path):
    assert load(tmp_path).collateral_cache == tmp_path / "state" / "collateral-cache"
    text = replaced("[limits]", 'collateral_cache = "cache"\n[limits]')
    assert load(tmp_path, text).collateral_cache == tmp_path / "cache"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("data/keys.db", "sqlite:///{folder}/data/keys.db"),
        ("/var/lib/keys.db", "sqlite:////var/lib/keys.db"),
        ("postgresql://sealserve@db.example.com/keys", None),
        ("postgres://sealserve@db.example.com:5433/keys", None),
        ("postgresql://sealserve@/keys?host=%2Frun%2Fpostgresql", None),
    ],
)
def test_a_database_is_a_file_or_a_url(tmp_path, written, shown):
    config = load(tmp_path, replaced('"keyservice.db"', f'"{written}"'))
    url = config.database.render_as_string(hide_password=False)
    rest = written.partition("://")[2]
    assert url == (shown or f"postgresql+psycopg://{rest}").format(folder=tmp_path)


@pytest.mark.parametrize(
    "written",
    [
        "postgresql://sealserve:hunter2@db.example.com/keys",
        "postgresql://sealserve@db.example.com/keys?password=hunter2",
        "postgresql://sealserve:hunter2@[db.example.com/keys",
    ],
)
def test_a_password_in_the_url_is_refused_and_not_echoed(tmp_path, written):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, replaced('"keyservice.db"', f'"{written}"'))
    assert "database" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_password_of_the_database_is_a_file(tmp_path):
    url = replaced('"keyservice.db"', '"postgresql://sealserve@db.example.com/keys"')
    config = load(tmp_path, 'database_password = "db.password"\n' + url)
    assert config.database_password == tmp_path / "db.password"


def test_the_domain_of_secrets_is_a_host_name_in_lower_case(tmp_path):
    assert load(tmp_path, 'key_domain = "Keys.Example.com"' + SOUND).key_domain == (
        "keys.example.com"
    )


def test_proxies_are_addresses_and_networks(tmp_path):
    config = load(tmp_path, 'proxies = ["10.0.0.7", "fd00::/64"]' + SOUND)
    assert list(map(str, config.proxies)) == ["10.0.0.7/32", "fd00::/64"]


@pytest.mark.parametrize("key", ["policy", "audit", "secrets"])
def test_what_is_in_the_database_now_is_refused_with_the_command_to_use(tmp_path, key):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f'{key} = "x"' + SOUND)
    assert f"`{key}` is no longer in the configuration" in caught.value.message
    assert f"--config {tmp_path / 'keyservice.toml'}" in caught.value.hint


AZURE = 'verifier = "maa"\nmaa_url = "https://a.weu.attest.azure.net"'
SERVICE = 'collateral_service = "https://pccs.example:8081"'


def test_azure_attestation_needs_its_url_and_nothing_of_collateral(tmp_path):
    attestation = load(tmp_path, SOUND.replace(SERVICE, AZURE)).attestation
    assert attestation.maa_url == "https://a.weu.attest.azure.net"
    assert attestation.maa_ca is None


@pytest.mark.parametrize(
    ("attestation", "complaint"),
    [
        pytest.param('verifier = "maa"', "needs maa_url", id="no instance"),
        pytest.param(f"{AZURE}\n{SERVICE}", "collateral_service is of no use", id="a service"),
        pytest.param(f'{AZURE}\ncollateral_dir = "c"', "collateral_dir is of no use", id="a dir"),
        pytest.param(f'{AZURE}\ntrust_root = "r"', "trust_root is of no use", id="a root"),
        pytest.param(
            f"{AZURE}\ncollateral_max_age_seconds = 3600",
            "collateral_max_age_seconds is of no use",
            id="a default, said",
        ),
        pytest.param(f'{SERVICE}\nmaa_url = "https://a"', "maa_url is of no use", id="an instance"),
        pytest.param(f'{SERVICE}\nmaa_ca = "ca.pem"', "maa_ca is of no use", id="a CA"),
        pytest.param(f'{SERVICE}\nverifier = "azure"', "verifier", id="another verifier"),
    ],
)
def test_settings_of_the_other_verifier_are_errors(tmp_path, attestation, complaint):
    with pytest.raises(ConfigError, match=complaint):
        load(tmp_path, SOUND.replace(SERVICE, attestation))


def test_relative_paths_count_from_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    config = load(tmp_path)
    assert config.state == tmp_path / "state"
    assert config.wrapping.key == tmp_path / "keys" / "kek"
    assert config.database.database == str(tmp_path / "keyservice.db")


def test_absolute_paths_stay(tmp_path):
    config = load(tmp_path, SOUND.replace('"state"', '"/var/lib/sealserve"'))
    assert str(config.state) == "/var/lib/sealserve"


@pytest.mark.parametrize(
    ("text", "address", "shown"),
    [
        ("0.0.0.0:4433", ListenAddress("0.0.0.0", 4433), "0.0.0.0:4433"),
        ("[::1]:0", ListenAddress("::1", 0), "[::1]:0"),
        ("localhost:1", ListenAddress("localhost", 1), "localhost:1"),
    ],
)
def test_addresses_are_host_and_port(tmp_path, text, address, shown):
    config = load(tmp_path, f'listen = "{text}"' + SOUND)
    assert config.listen == address
    assert str(config.listen) == shown


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param("listen_on = 'x'" + SOUND, "unknown key listen_on", id="unknown key"),
        pytest.param(
            replaced("private_key", "privat_key"), "nearest that exists is private_key", id="typo"
        ),
        pytest.param(replaced('state = "state"', ""), "state is missing", id="no folder"),
        pytest.param(
            replaced('database = "keyservice.db"', ""), "database is missing", id="no database"
        ),
        pytest.param(
            replaced('"keyservice.db"', '"mysql://a@b/c"'), "postgresql://", id="another database"
        ),
        pytest.param(
            replaced('"keyservice.db"', '"postgresql://a@b"'), "postgresql://", id="a server alone"
        ),
        pytest.param(replaced('"keyservice.db"', '""'), "postgresql://", id="no name"),
        pytest.param(
            'database_password = "x"' + SOUND, "of no use with a file", id="a password for a file"
        ),
        pytest.param('key_domain = "a b"' + SOUND, "key_domain", id="no host name"),
        pytest.param('proxies = ["10.0.0.1/8"]' + SOUND, "proxies", id="an address in a network"),
        pytest.param("workers = 0" + SOUND, "workers", id="no worker"),
        pytest.param("workers = 65" + SOUND, "workers", id="too many workers"),
        pytest.param(replaced('kind = "file"', 'kind = "plain"'), "wrapping", id="no wrapping"),
        pytest.param(replaced('key = "keys/kek"', ""), "key", id="no wrapping key"),
        pytest.param(
            SOUND + ADMIN + '[admin.roles]\nowner = ["a"]\nauditor = ["a"]',
            "two roles",
            id="a person of two roles",
        ),
        pytest.param(
            SOUND + ADMIN + '[admin.roles]\nowner = ["a b"]', "owner", id="no name of a person"
        ),
        pytest.param(
            SOUND + ADMIN + '[admin.roles]\nowner = ["local:root"]',
            "local:",
            id="a person who is called as those at the database are",
        ),
        pytest.param(SOUND + ADMIN, "roles", id="an admin API for nobody named"),
        pytest.param('listen = "4433"' + SOUND, "127.0.0.1:4433", id="no host"),
        pytest.param('listen = "a:65536"' + SOUND, "127.0.0.1:4433", id="port out of range"),
        pytest.param('listen = "a:-1"' + SOUND, "127.0.0.1:4433", id="negative port"),
        pytest.param("listen = 4433" + SOUND, "127.0.0.1:4433", id="a number"),
        pytest.param(
            replaced("[limits]", 'collateral_dir = "c"\n[limits]'), "name one of", id="two places"
        ),
        pytest.param(
            replaced('collateral_service = "https://pccs.example:8081"', ""),
            "name one of",
            id="none",
        ),
        pytest.param(
            replaced('collateral_service = "https://pccs.example:8081"',
                     'collateral_dir = "c"\ncollateral_ca = "x.pem"'),
            "belongs to collateral_service",
            id="a CA for a folder",
        ),
        pytest.param(
            replaced('collateral_service = "https://pccs.example:8081"',
                     'collateral_dir = "c"\ncollateral_subscription_key = "x"'),
            "belongs to collateral_service",
            id="a key for a folder",
        ),
        pytest.param(replaced("//pccs", "// pccs"), "collateral_service", id="a space in a URL"),
        pytest.param(
            replaced("[limits]", 'collateral_update = "late"\n[limits]'),
            "collateral_update",
            id="another edition",
        ),
        pytest.param(SOUND + "max_sessions = 0", "max_sessions", id="no session"),
        pytest.param(SOUND + "idle_seconds = 0", "idle_seconds", id="no time"),
        pytest.param(SOUND + "idle_seconds = inf", "idle_seconds", id="for ever"),
        pytest.param(SOUND + "idle_seconds = true", "idle_seconds", id="a truth value"),
        pytest.param(replaced('"keys/kek"', '""'), "name of a file", id="empty path"),
        pytest.param("listen = ", "not TOML", id="not TOML"),
    ],
)  # fmt: skip
def test_a_wrong_configuration_names_its_fault(tmp_path, text, complaint):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert complaint in str(caught.value)


def test_a_value_in_place_of_a_file_name_is_not_echoed(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, replaced('"keys/kek"', '{ value = "5ea15e4ce0ff1cea" }'))
    assert "5ea15e4ce0ff1cea" not in str(caught.value)


def test_a_file_that_is_not_there_is_a_configuration_error(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        load_config(tmp_path / "none.toml")
