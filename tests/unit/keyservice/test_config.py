"""The configuration: what is not said is careful, what is wrong is named."""

from __future__ import annotations

import pytest

from sealserve.errors import ConfigError
from sealserve.hosts import ListenAddress
from sealserve.keyservice.config import load_config

SOUND = """
policy = "policy.toml"
audit = "audit.jsonl"
[tls]
certificate = "server.pem"
private_key = "server.key"
[attestation]
collateral_service = "https://pccs.example:8081"
[secrets]
digits = "keys/digits.key"
"""


def load(folder, text=SOUND):
    path = folder / "keyservice.toml"
    path.write_text(text)
    return load_config(path)


def test_what_is_not_said_is_the_careful_choice(tmp_path):
    config = load(tmp_path)
    assert config.listen == ListenAddress("127.0.0.1", 4433)
    assert config.attestation.trust_root is None  # Intel's
    assert config.limits.handshake_seconds <= config.limits.session_seconds
    assert config.limits.max_sessions > 0


def test_the_cache_is_beside_the_audit_log_unless_it_is_named(tmp_path):
    assert load(tmp_path).collateral_cache == tmp_path / "collateral-cache"
    text = SOUND.replace("audit.jsonl", "log/audit.jsonl")
    assert load(tmp_path, text).collateral_cache == tmp_path / "log" / "collateral-cache"
    text = SOUND.replace("[secrets]", 'collateral_cache = "cache"\n[secrets]')
    assert load(tmp_path, text).collateral_cache == tmp_path / "cache"


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
    assert config.policy == tmp_path / "policy.toml"
    assert config.secrets["digits"] == tmp_path / "keys" / "digits.key"


def test_absolute_paths_stay(tmp_path):
    config = load(tmp_path, SOUND.replace("policy.toml", "/etc/sealserve/policy.toml"))
    assert str(config.policy) == "/etc/sealserve/policy.toml"


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


def replaced(old, new):
    assert old in SOUND
    return SOUND.replace(old, new)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param("listen_on = 'x'" + SOUND, "unknown key listen_on", id="unknown key"),
        pytest.param(
            replaced("private_key", "privat_key"), "nearest that exists is private_key", id="typo"
        ),
        pytest.param(replaced('audit = "audit.jsonl"', ""), "audit is missing", id="no audit log"),
        pytest.param(replaced("[secrets]", "[secret]"), "secrets is missing", id="no secrets"),
        pytest.param('listen = "4433"' + SOUND, "127.0.0.1:4433", id="no host"),
        pytest.param('listen = "a:65536"' + SOUND, "127.0.0.1:4433", id="port out of range"),
        pytest.param('listen = "a:-1"' + SOUND, "127.0.0.1:4433", id="negative port"),
        pytest.param("listen = 4433" + SOUND, "127.0.0.1:4433", id="a number"),
        pytest.param(
            replaced("[secrets]", 'collateral_dir = "c"\n[secrets]'), "name one of", id="two places"
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
            replaced("[secrets]", 'collateral_update = "late"\n[secrets]'),
            "collateral_update",
            id="another edition",
        ),
        pytest.param(SOUND + "[limits]\nmax_sessions = 0", "max_sessions", id="no session"),
        pytest.param(SOUND + "[limits]\nidle_seconds = 0", "idle_seconds", id="no time"),
        pytest.param(SOUND + "[limits]\nidle_seconds = inf", "idle_seconds", id="for ever"),
        pytest.param(SOUND + "[limits]\nidle_seconds = true", "idle_seconds", id="a truth value"),
        pytest.param(replaced('"keys/digits.key"', '""'), "name of a file", id="empty path"),
        pytest.param(replaced("digits =", '"../digits" ='), "secrets", id="name with a path"),
        pytest.param("policy = ", "not TOML", id="not TOML"),
    ],
)  # fmt: skip
def test_a_wrong_configuration_names_its_fault(tmp_path, text, complaint):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert complaint in str(caught.value)


def test_a_value_in_place_of_a_file_name_is_not_echoed(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, replaced('"keys/digits.key"', '{ value = "5ea15e4ce0ff1cea" }'))
    assert "5ea15e4ce0ff1cea" not in str(caught.value)


def test_a_file_that_is_not_there_is_a_configuration_error(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        load_config(tmp_path / "none.toml")
