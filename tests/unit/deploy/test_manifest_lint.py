"""The manifest linter: each fault is named on its line, and a sound manifest has none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealserve.deploy.gramine.lint import RULES, lint_manifest
from sealserve.deploy.gramine.manifest import MANIFEST_LIMIT, Manifest
from sealserve.deploy.gramine.schema import KEYS, VERSIONS, parse_version
from sealserve.deploy.weakness import Severity
from sealserve.errors import ConfigError

PAGE = Path(__file__).parents[3] / "docs" / "gramine.md"
NEWEST = (1, 9)
SOUND = """\
libos.entrypoint = "/usr/bin/server"
loader.argv = ["server", "--port=8500"]
loader.log_level = "error"
loader.env.LD_LIBRARY_PATH = "/lib"
loader.env.SECRET_PROVISION_CONSTRUCTOR = "1"
loader.env.SECRET_PROVISION_SET_KEY = "default"
loader.env.SECRET_PROVISION_CA_CHAIN_PATH = "/ca.crt"
fs.mounts = [
  { path = "/lib", uri = "file:{{ gramine.runtimedir() }}" },
  { type = "encrypted", path = "/models", uri = "file:models", key_name = "default" },
]
sgx.debug = false
sgx.remote_attestation = "dcap"
sgx.enclave_size = "4G"
sgx.max_threads = 64
sgx.isvsvn = 1
sgx.trusted_files = ["file:{{ gramine.runtimedir() }}/", "file:ca.crt"]
"""
# The faults of the published solution's manifest, written anew.
PUBLISHED = """\
loader.entrypoint = "file:{{ gramine.libos }}"
libos.entrypoint = "tensorflow_model_server"
loader.log_level = "{{ log_level }}"
loader.insecure__use_cmdline_argv = true
fs.mounts = [
  { path = "/lib", uri = "file:{{ gramine.runtimedir() }}" },
  { path = "/etc", uri = "file:/etc" },
  { type = "encrypted", path = "/models/m/1/m.pb", uri = "file:models/m/1/m.pb" },
]
sgx.thread_num = 400
sgx.nonpie_binary = true
sgx.enclave_size = "4G"
sgx.remote_attestation = "{{ ra_type }}"
sgx.trusted_files = ["file:{{ python.get_path('stdlib', vars={'a': \"/usr\"}) }}/"]
sgx.allowed_files = [
  "file:/etc/hosts",
  "file:/etc/resolv.conf",
  "file:ssl.cfg",
]
"""


def found(text: str, version: tuple[int, int] = NEWEST) -> set[tuple[str, int]]:
    return {(each.code, each.line) for each in lint_manifest(text, version)}


def codes(text: str, version: tuple[int, int] = NEWEST) -> set[str]:
    return {code for code, _ in found(text, version)}


def test_a_sound_manifest_has_no_findings() -> None:
    assert found(SOUND) == set()


def test_the_faults_of_the_published_manifest_are_named_on_their_lines() -> None:
    assert found(PUBLISHED) >= {
        ("gramine.host-arguments", 4),
        ("gramine.host-etc", 7),
        ("gramine.threads-gone", 10),
        ("gramine.key-gone", 11),
        ("gramine.allowed-names", 16),
        ("gramine.allowed-names", 17),
        ("gramine.allowed-tls", 18),
        ("gramine.old-form", 1),
        ("gramine.undecided", 3),
    }


def test_a_finding_says_what_follows_and_what_to_write() -> None:
    (debug,) = lint_manifest(SOUND.replace("debug = false", "debug = true"), NEWEST)
    assert debug.severity is Severity.ERROR
    assert "memory" in debug.consequence
    assert "sgx.debug = false" in debug.cure


SLIPS = [
    ("host-environment", "loader.insecure__use_host_env = true"),
    ("all-files-allowed", 'sgx.file_check_policy = "allow_all_but_log"'),
    ("key-in-manifest", 'fs.insecure__keys.default = "00112233445566778899aabbccddeeff"'),
    ("no-aslr", "loader.insecure__disable_aslr = true"),
    ("memory-faults", "sgx.insecure__allow_memfaults_without_exinfo = true"),
    ("rpc-threads", "sgx.insecure__rpc_thread_num = 4"),
    ("profiling", 'sgx.profile.enable = "main"'),
    ("profiling", "sgx.enable_stats = true"),
    ("profiling", "sgx.vtune_profile = true"),
    ("mocked-calls", 'sys.debug__mock_syscalls = [{ name = "flock" }]'),
    ("host-eventfd", "sys.insecure__allow_eventfd = true"),
    ("unfinished-flock", "sys.experimental__enable_flock = true"),
    ("allowed-ioctls", "sys.allowed_ioctls = [{ request_code = 1 }]"),
    ("host-sigterm", "sys.enable_sigterm_injection = true"),
    ("host-names", "sys.enable_extra_runtime_domain_names_conf = true"),
    ("allowed-tls", 'sgx.allowed_files = ["file:/conf/server/key.pem"]'),
    ("allowed-names", 'sgx.allowed_files = ["file:/etc/hosts"]'),
    ("allowed-content", 'sgx.allowed_files = ["file:libpreload.so"]'),
    ("allowed-folder", 'sgx.allowed_files = ["file:/tmp"]'),
    ("allowed-file", 'sgx.allowed_files = ["file:notes.txt"]'),
    ("allowed-device", 'sgx.allowed_files = ["dev:/dev/kmsg"]'),
    ("passed-decisive", "loader.env.LD_PRELOAD = { passthrough = true }"),
    ("passed-through", "loader.env.COLOUR = { passthrough = true }"),
    ("secret-in-environment", 'loader.env.WRAP_KEY = "open sesame"'),
    ("secret-in-environment", 'loader.env.X = { value = "00112233445566778899aabbccddeeff" }'),
    ("lenient-verifier", 'loader.env.RA_TLS_ALLOW_OUTDATED_TCB_INSECURE = "1"'),
    ("lenient-verifier", 'loader.env.RA_TLS_ALLOW_DEBUG_ENCLAVE_INSECURE = "1"'),
    ("any-peer", 'loader.env.RA_TLS_MRENCLAVE = "any"'),
    ("for-testing", 'loader.env.SEALSERVE_DANGEROUSLY_FOR_TESTING = "0"'),
    ("preheated-edmm", "sgx.edmm_enable = true\nsgx.preheat_enclave = true"),
    ("undecided", "loader.insecure__use_host_env = {{ host_env }}"),
    ("unknown-key", 'sgx.remote_atestation = "dcap"'),
    ("unknown-insecure", "sys.insecure__trust_the_host = true"),
    ("wrong-type", 'sgx.edmm_enable = "false"'),
    ("wrong-value", 'sgx.file_check_policy = "lax"'),
    ("key-gone", 'sgx.ra_client_spid = ""'),
    ("key-gone", 'fs.mount.lib.type = "chroot"'),
    ("key-gone", 'sgx.protected_files = ["file:models/"]'),
    ("threads-gone", "sgx.thread_num = 8"),
    ("old-form", 'loader.entrypoint = "file:x"'),
    ("old-form", 'loader.env.SECRET_PROVISION_SET_PF_KEY = "1"'),
    ("old-form", 'sgx.allowed_files.a = "file:a"'),
    (
        "host-arguments-file",
        'loader.env_src_file = "file:envs"\nsgx.allowed_files = ["file:envs"]',
    ),
]


@pytest.mark.parametrize(("code", "slip"), SLIPS, ids=lambda value: value[:50])
def test_a_slip_is_found_in_a_sound_manifest(code: str, slip: str) -> None:
    first = len(SOUND.splitlines()) + 1
    assert {line >= first for rule, line in found(SOUND + slip) if rule == f"gramine.{code}"} == {
        True
    }


CHANGES = [
    ("debug-enclave", "sgx.debug = false", "sgx.debug = true"),
    ("verbose-log", '"error"', '"trace"'),
    ("no-attestation", 'sgx.remote_attestation = "dcap"', ""),
    ("no-attestation", '"dcap"', '"none"'),
    ("old-form", '"dcap"', '"epid"'),
    ("old-form", '"dcap"', "true"),
    ("no-svn", "sgx.isvsvn = 1", ""),
    ("bad-size", '"4G"', '"3G"'),
    ("bad-size", '"4G"', '"large"'),
    ("default-size", 'sgx.enclave_size = "4G"', ""),
    ("huge-size", '"4G"', '"128G"'),
    ("default-threads", "sgx.max_threads = 64", ""),
    ("few-threads", "max_threads = 64", "max_threads = 2"),
    ("threads-take-all", "max_threads = 64", "max_threads = 9000"),
    ("no-entrypoint", 'libos.entrypoint = "/usr/bin/server"', ""),
    ("no-arguments", 'loader.argv = ["server", "--port=8500"]', ""),
    ("dangerous-argument", "--port=8500", "--dangerously-serve-plaintext=true"),
    ("secret-in-arguments", "--port=8500", "--key=00112233445566778899aabbccddeeff"),
    ("plain-grpc", "/usr/bin/server", "tensorflow_model_server"),
    ("nothing-encrypted", 'type = "encrypted", ', ""),
    ("plain-models", 'type = "encrypted", ', ""),
    ("shared-memory", 'type = "encrypted"', 'type = "untrusted_shm"'),
    ("host-etc", '"/lib", uri = "file:{{ gramine.runtimedir() }}"', '"/e", uri = "file:/etc"'),
    ("provisioning-without-ca", "SECRET_PROVISION_CA_CHAIN_PATH", "CA"),
    ("provisioned-into-environment", "SECRET_PROVISION_SET_KEY", "OTHER"),
    ("provisioning-ca-untrusted", ', "file:ca.crt"]', ']\nsgx.allowed_files = ["file:ca.crt"]'),
    ("trusted-names", '"file:ca.crt"', '"file:/etc/hosts"'),
    ("trusted-secret", '"file:ca.crt"', '"file:ssl/server/key.pem"'),
    ("host-arguments", "loader.argv", "loader.insecure__use_cmdline_argv = true\nloader.argv"),
]


@pytest.mark.parametrize(("code", "old", "new"), CHANGES, ids=lambda value: value[:30])
def test_a_change_of_a_sound_manifest_is_found(code: str, old: str, new: str) -> None:
    assert old in SOUND
    assert f"gramine.{code}" in codes(SOUND.replace(old, new))


def test_rest_of_tensorflow_serving_is_plain() -> None:
    text = SOUND.replace("/usr/bin/server", "/tensorflow_model_server").replace(
        '"--port=8500"', '"--ssl_config_file=/ssl.cfg", "--rest_api_port=8501"'
    )
    assert codes(text) == {"gramine.plain-rest"}


def test_every_rule_but_those_of_versions_is_tried() -> None:
    tried = {f"gramine.{each[0]}" for each in (*SLIPS, *CHANGES)}
    assert {rule.code for rule in RULES} - tried == {"gramine.plain-rest", "gramine.key-too-new"}


def test_a_secret_is_never_repeated() -> None:
    secret = "00112233445566778899aabbccddeeff"
    text = (
        f'fs.insecure__keys.k = "{secret}"\nloader.env.KEY = "{secret}"\nloader.argv = ["{secret}"]'
    )
    assert not any(secret in str(each.as_dict()) for each in lint_manifest(text, NEWEST))


OLD = """\
loader.preload = "file:libsysdb.so"
libos.entrypoint = "/server"
loader.insecure__use_cmdline_argv = true
fs.mount.etc.type = "chroot"
fs.mount.etc.path = "/etc"
fs.mount.etc.uri = "file:/etc"
sgx.thread_num = 64
sgx.enclave_size = "4G"
sgx.remote_attestation = true
sgx.isvsvn = 1
sgx.allowed_files.ssl = "file:ssl.cfg"
sgx.protected_files.model = "file:models/saved_model.pb"
"""


def test_old_forms_are_read_and_are_faults_only_where_they_are_gone() -> None:
    old = {"gramine.host-arguments", "gramine.host-etc", "gramine.allowed-tls"}
    assert codes(OLD, (1, 0)) == old
    assert codes(OLD, (1, 1)) == old
    assert codes(OLD, (1, 9)) == old | {
        *(
            "gramine.key-gone",
            "gramine.threads-gone",
            "gramine.old-form",
            "gramine.default-threads",
        ),
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_a_key_is_a_fault_before_it_came_and_after_it_went(version: str) -> None:
    at = parse_version(version)
    for name, key in KEYS.items():
        value = {bool: "true", int: "8", str: '"x"', list: "[]", dict: "{}"}[key.kinds[0]]
        here = {each.code for each in lint_manifest(f"{name} = {value}\n", at) if each.line == 1}
        assert ("gramine.key-too-new" in here) == (at < key.since), name
        gone = key.gone is not None and at >= key.gone
        assert bool(here & {"gramine.key-gone", "gramine.threads-gone"}) == gone, name


def test_templates_keep_their_lines() -> None:
    text = (
        "{# a comment\n of two lines #}\n{% for path in paths %}\n"
        'loader.env.A = "{{ env.get("A", \'b\') }}"\n{% endfor %}\n'
        "sgx.max_threads = {{ threads }}  # {{ why }}\nsgx.debug = true\n"
    )
    manifest = Manifest(text)
    assert manifest.line(("sgx", "debug")) == 7
    assert manifest.line(("loader", "env", "A")) == 4
    assert "threads" in manifest.get("sgx.max_threads")


@pytest.mark.parametrize(
    "text",
    [
        "loader.preload = file:libsysdb.so",
        "sgx.debug = {{ debug",
        "{% if x %}\nsgx.debug = true\n{% else %}\nsgx.debug = false\n{% endif %}",
        "a = " + "[" * 5000,
        "a." * 200 + "b = 1",
        "#" * (MANIFEST_LIMIT + 1),
        "a = [" + "1," * 20_000 + "]",
    ],
    ids=["no TOML", "open tag", "both branches", "nested", "dotted", "too long", "too many"],
)
def test_what_cannot_be_read_is_an_error_that_says_what_to_do(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        lint_manifest(text, NEWEST)
    assert refused.value.hint


names = st.sampled_from([*KEYS, "sgx", "fs", "loader.env.X", "fs.mounts.a", "sgx.trusted_files.a"])
values = st.recursive(
    st.sampled_from(["true", "0", "-1", '"4G"', '"file:/tmp"', "{{ x }}", '"{{ x }}"', '"é"']),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda each: f"[{', '.join(each)}]"),
        inner.map(lambda each: f"{{ path = {each}, uri = {each}, type = {each} }}"),
        inner.map(lambda each: f"{{ value = {each} }}"),
    ),
    max_leaves=5,
)
manifests = st.lists(st.tuples(names, values), max_size=6).map(
    lambda lines: "\n".join(f"{name} = {value}" for name, value in lines)
)


@given(st.one_of(manifests, st.text(), st.text(alphabet="{}%#\"'\\[]=.\n ax1")))
def test_whatever_it_reads_it_answers_or_refuses(text: str) -> None:
    for version in ((1, 0), NEWEST):
        try:
            found = lint_manifest(text, version)
        except ConfigError:
            continue
        assert all(1 <= each.line <= text.count("\n") + 1 for each in found)


def test_the_page_lists_every_rule_with_its_severity() -> None:
    listed = re.findall(r"^\| `(gramine\.[a-z-]+)` \| (\w+) \|", PAGE.read_text(), re.MULTILINE)
    assert sorted(listed) == sorted((rule.code, str(rule.severity)) for rule in RULES)
