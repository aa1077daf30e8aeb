"""The same manifest for a test under gramine-direct, which has no SGX: what is weakened, and why.

gramine-direct runs a program in Gramine's LibOS without an enclave: nothing is protected, and there
are no quotes. So the key cannot come by attestation; all else stays, that the test is of something.
Every override is listed, with its reason and the linter's code for it. What comes out has another
name, begins with a banner, and is of a debug enclave without attestation: signed by mistake, no
policy takes it, and no description verifies it.
Source: Gramine 1.9, `Documentation/manifest-syntax.rst`, "Encrypted files"; `devel/debugging.rst`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from sealserve.deploy.description.model import Description
from sealserve.deploy.gramine.render import SOUND, Choice, Rendered, render_choice
from sealserve.deploy.gramine.servers import ATTESTING, PROVISIONING, Program, program

TESTING_KEY: Final = b"NOT A SECRET KEY"
KEY_FILE: Final = "testing/wrap-key"
SUFFIX: Final = "dangerously-for-testing"
_MARK: Final = "SEALSERVE_DANGEROUSLY_FOR_TESTING"
_BANNER: Final = (
    "DANGEROUS: for a test under gramine-direct, without SGX. Nothing here is protected, and",
    "everybody has the key. Never sign it. What differs from the manifest that is meant:",
)


@dataclass(frozen=True, slots=True)
class Override:
    """One weakening: the key, its value as TOML has it, what stands there otherwise, and why.

    `code` is what the linter finds at that key.
    """

    key: str
    value: str
    instead_of: str
    reason: str
    code: str

    def as_dict(self) -> dict[str, str]:
        """The override as a JSON object."""
        return {name: getattr(self, name) for name in self.__slots__}


def overrides(description: Description) -> tuple[Override, ...]:
    """All weakenings of the description's manifest, in the order of the banner."""
    return (
        Override(
            "sgx.debug",
            "true",
            SOUND["sgx.debug"],
            "signed by mistake, it is a debug enclave, which no policy takes",
            "gramine.debug-enclave",
        ),
        Override(
            "sgx.remote_attestation",
            '"none"',
            SOUND["sgx.remote_attestation"],
            "gramine-direct has no quotes",
            "gramine.no-attestation",
        ),
        Override(
            f"loader.env.{_MARK}",
            '"1"',
            "nothing",
            "whoever finds it, or the program's environment, sees what it is",
            "gramine.for-testing",
        ),
        *_key(description),
    )


def _key(description: Description) -> Iterator[Override]:
    if description.server.kind == "tensorflow-serving":
        yield Override(
            f'fs.insecure__keys."{description.key}"',
            f'"{TESTING_KEY.hex()}"',
            f"{', '.join(PROVISIONING)} in loader.env",
            "without quotes no key service releases a key",
            "gramine.key-in-manifest",
        )
        return
    yield Override(
        "loader.argv",
        f'"--dangerously_use_key_file={KEY_FILE}"',
        f"{', '.join(ATTESTING)}",
        "without quotes no key service releases a key",
        "gramine.dangerous-argument",
    )
    yield Override(
        "sgx.trusted_files",
        f'"file:{KEY_FILE}"',
        "nothing",
        "the server reads the key there",
        "gramine.trusted-secret",
    )


def render_for_testing(description: Description) -> Rendered:
    """The manifest with its overrides; the key is TESTING_KEY, for ours in KEY_FILE (0600)."""
    found = overrides(description)
    width = max(len(each.key) for each in found)
    banner = (
        *_BANNER,
        *(f"  {each.key:<{width}}  {each.value}: {each.reason}" for each in found),
    )
    server = _program(program(description))
    named = ("sgx.", "fs.insecure__keys.")
    decided = {each.key: each.value for each in found if each.key.startswith(named)}
    decided.pop("sgx.trusted_files", None)
    return render_choice(description, Choice(server, {**SOUND, **decided}, banner))


def _program(server: Program) -> Program:
    ours = server.name == "sealserve"
    arguments = [each for each in server.arguments if not _names(each, ATTESTING)]
    environment = [each for each in server.environment if each[0] not in PROVISIONING]
    if ours:
        arguments.append(f"--dangerously_use_key_file={KEY_FILE}")
    return replace(
        server,
        name=f"{server.name}.{SUFFIX}",
        arguments=tuple(arguments),
        environment=(*environment, (_MARK, "1")),
        trusted=(*server.trusted, *((KEY_FILE,) if ours else ())),
    )


def _names(argument: str, flags: tuple[str, ...]) -> bool:
    return argument.partition("=")[0] in flags
