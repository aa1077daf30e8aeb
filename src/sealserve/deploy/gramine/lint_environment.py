"""Environment and arguments of a manifest: what the host sets, secrets in them, provisioning.

Sources: `manifest-syntax.rst` of Gramine 1.9, "Environment variables"; `attestation.rst`, RA-TLS
and secret provisioning libraries; TensorFlow Serving's flags.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from sealserve.deploy.gramine.jinja import is_open
from sealserve.deploy.gramine.lint_files import shown
from sealserve.deploy.gramine.manifest import Manifest, Variable
from sealserve.deploy.gramine.rule import Found, error, note, warning
from sealserve.policies.places import Path

PASSED_DECISIVE: Final = error(
    "passed-decisive",
    "the host sets it, and with it what code runs inside, whom the enclave trusts or where keys "
    "come from",
    'set it: loader.env.NAME = "…"',
)
PASSED: Final = warning(
    "passed-through",
    "the host sets this variable",
    'set it: loader.env.NAME = "…"; if the host must choose it, check it inside',
)
SECRET_IN_ENVIRONMENT: Final = error(
    "secret-in-environment",
    "the manifest is no secret: the host reads it there",
    "remove it, and let a key service release it to the enclave",
)
SECRET_IN_ARGUMENTS: Final = error(
    "secret-in-arguments",
    "the manifest is no secret: the host reads it there",
    "remove it, and let a key service release it to the enclave",
)
LENIENT_VERIFIER: Final = error(
    "lenient-verifier",
    "the RA-TLS verifier inside accepts peers on outdated platforms, or debug enclaves that their "
    "hosts can read",
    "remove it",
)
ANY_PEER: Final = error(
    "any-peer",
    "the RA-TLS verifier inside accepts every enclave as its peer",
    "write the measurement or the signer that is expected",
)
NO_CA: Final = error(
    "provisioning-without-ca",
    "the enclave cannot tell the owner's key service from the host's",
    "SECRET_PROVISION_CA_CHAIN_PATH, to a trusted file",
)
UNTRUSTED_CA: Final = error(
    "provisioning-ca-untrusted",
    "the host puts its own CA there, and its own key service behind it",
    "list the CA's file in sgx.trusted_files, and not in sgx.allowed_files",
)
KEY_IN_ENVIRONMENT: Final = warning(
    "provisioned-into-environment",
    "the released secret stands in the environment of every process that is started inside",
    'SECRET_PROVISION_SET_KEY = "default"',
)
ARGUMENTS_FILE: Final = error(
    "host-arguments-file",
    "the host writes the arguments or variables into the file: it chooses them",
    "list the file in sgx.trusted_files, or write loader.argv and loader.env",
)
PLAIN_GRPC: Final = error(
    "plain-grpc",
    "requests and answers go through the host in plaintext",
    "--ssl_config_file, to a file in an encrypted mount",
)
PLAIN_REST: Final = error(
    "plain-rest",
    "tensorflow_model_server speaks REST without TLS: the host reads requests and answers",
    "--rest_api_port=0, or serve with `sealserve serve`, whose REST is under TLS",
)
DANGEROUS_ARGUMENT: Final = error(
    "dangerous-argument",
    "the server does without a protection: the key's attestation, sealed models or TLS",
    "remove the argument, and what it stands for",
)
FOR_TESTING: Final = error(
    "for-testing",
    "it was rendered for a test without SGX: its key is known to everybody",
    "sealserve gramine render, without --dangerously-for-testing",
)
NO_ARGUMENTS: Final = note(
    "no-arguments", "the program starts without arguments", "loader.argv = [ … ]"
)
RULES: Final = (
    *(PASSED_DECISIVE, PASSED, SECRET_IN_ENVIRONMENT, SECRET_IN_ARGUMENTS, LENIENT_VERIFIER),
    *(ANY_PEER, NO_CA, UNTRUSTED_CA, KEY_IN_ENVIRONMENT, ARGUMENTS_FILE, PLAIN_GRPC, PLAIN_REST),
    *(DANGEROUS_ARGUMENT, FOR_TESTING, NO_ARGUMENTS),
)

_DECISIVE: Final = re.compile(r"LD_|PYTHON|SECRET_PROVISION_|RA_TLS_|SSL_|PATH$|GLIBC_|MALLOC_")
_LENIENT: Final = re.compile(r"RA_TLS_ALLOW_\w+_INSECURE\Z")
_ANY: Final = frozenset({"RA_TLS_MRENCLAVE", "RA_TLS_MRSIGNER"})
_SECRET_NAME: Final = re.compile(r"(?:^|_)(?:KEY|SECRET|PASSWORD|PASSWD|TOKEN|PASSPHRASE)(?:_|$)")
_NO_SECRET_NAME: Final = re.compile(r"SECRET_PROVISION_(?!SECRET_STRING)|_(?:PATH|FILE|URL|NAME)$")
_SECRET_VALUE: Final = re.compile(r"(?<![0-9A-Fa-f])[0-9A-Fa-f]{32}(?![0-9A-Fa-f])|PRIVATE KEY-")
_FOR_TESTING: Final = "SEALSERVE_DANGEROUSLY_FOR_TESTING"
_TF_SERVING: Final = "tensorflow_model_server"


def found_in_environment(manifest: Manifest) -> Iterator[Found]:
    """What is wrong with variables, arguments and the files that they come from."""
    for variable in manifest.environment():
        yield from _variable(variable)
    yield from _provisioning(manifest)
    allowed = tuple(each.file for each in manifest.listed("sgx.allowed_files"))
    for name in ("loader.argv_src_file", "loader.env_src_file"):
        uri = manifest.get(name)
        if isinstance(uri, str) and _covered(uri.removeprefix("file:"), allowed):
            text = f"{name} is an allowed file, {shown(uri)}"
            yield Found(ARGUMENTS_FILE, tuple(name.split(".")), text)
    yield from _arguments(manifest)


def _variable(variable: Variable) -> Iterator[Found]:
    name, place = shown(variable.name), variable.place
    if variable.name == _FOR_TESTING:
        yield Found(FOR_TESTING, place, f"{name} is set")
    elif variable.value is None:
        rule = PASSED_DECISIVE if _DECISIVE.search(variable.name) else PASSED
        yield Found(rule, place, f"{name} is the host's")
    elif _LENIENT.match(variable.name) and variable.value != "0":
        yield Found(LENIENT_VERIFIER, place, f"{name} is set")
    elif variable.name in _ANY and variable.value == "any":
        yield Found(ANY_PEER, place, f"{name} is any")
    elif _is_secret(variable.name, variable.value):
        yield Found(SECRET_IN_ENVIRONMENT, place, f"{name} seems to hold a secret")


def _is_secret(name: str, value: str) -> bool:
    if _SECRET_VALUE.search(value):
        return True
    named = _SECRET_NAME.search(name.upper()) and not _NO_SECRET_NAME.search(name.upper())
    return (
        bool(named) and bool(value) and not value.startswith(("/", "file:")) and not is_open(value)
    )


def _provisioning(manifest: Manifest) -> Iterator[Found]:
    place: Path = ("loader", "env", "SECRET_PROVISION_CONSTRUCTOR")
    if manifest.variable("SECRET_PROVISION_CONSTRUCTOR") is None:
        return
    ca = manifest.variable("SECRET_PROVISION_CA_CHAIN_PATH")
    if ca is None:
        yield Found(
            NO_CA, place, "secrets are fetched, and no SECRET_PROVISION_CA_CHAIN_PATH is set"
        )
    elif _covered(ca, tuple(each.file for each in manifest.listed("sgx.allowed_files"))):
        text = f"the key service's CA, {shown(ca)}, is an allowed file"
        yield Found(UNTRUSTED_CA, ("loader", "env", "SECRET_PROVISION_CA_CHAIN_PATH"), text)
    names = ("SECRET_PROVISION_SET_KEY", "SECRET_PROVISION_SET_PF_KEY")
    if all(manifest.variable(name) is None for name in names):
        yield Found(KEY_IN_ENVIRONMENT, place, "secrets are fetched, and no key is set with them")


def _covered(file: str, files: tuple[str, ...]) -> bool:
    """One of the files is this one, or a folder around it; `/x` and `x` may be the same."""
    wanted = file.lstrip("/")
    return any(
        wanted == (other := each.lstrip("/")) or (other.endswith("/") and wanted.startswith(other))
        for each in files
    )


def _arguments(manifest: Manifest) -> Iterator[Found]:
    place: Path = ("loader", "argv")
    arguments = manifest.arguments()
    if arguments is None:
        others = ("loader.argv_src_file", "loader.insecure__use_cmdline_argv")
        if all(manifest.get(name) is None for name in others):
            yield Found(NO_ARGUMENTS, ("libos", "entrypoint"), "there is no loader.argv")
        return
    for index, argument in enumerate(arguments):
        if _SECRET_VALUE.search(argument):
            yield Found(SECRET_IN_ARGUMENTS, place, f"argument {index} seems to hold a secret")
        if argument.startswith(("--dangerously_", "--dangerously-")):
            text = f"argument {index} is {shown(argument.partition('=')[0])}"
            yield Found(DANGEROUS_ARGUMENT, (*place, index), text)
    entrypoint = manifest.get("libos.entrypoint")
    if not isinstance(entrypoint, str) or not entrypoint.endswith(_TF_SERVING):
        return
    flags = dict(each.lstrip("-").partition("=")[::2] for each in arguments)
    if not flags.get("ssl_config_file"):
        yield Found(PLAIN_GRPC, place, f"{_TF_SERVING} has no --ssl_config_file")
    if flags.get("rest_api_port", "0") != "0":
        yield Found(PLAIN_REST, place, f"{_TF_SERVING} has a --rest_api_port")
