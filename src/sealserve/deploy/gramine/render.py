"""A manifest template from a description: the same description gives the same bytes.

The result goes to `gramine-manifest`, which fills in Jinja's tags, then to `gramine-sgx-sign`. It
pins arguments and environment, allows no file, and is never of a debug enclave. Source: Gramine,
`Documentation/manifest-syntax.rst` at 1.5 to 1.9: until 1.7 `loader.entrypoint` is a text and must
be there, and is a trusted file; from 1.8 it is left out (9d7c3c5c2, 72668bb39).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from sealserve.deploy.description.model import Description
from sealserve.deploy.gramine.servers import BINARY, Program, program
from sealserve.deploy.gramine.sizing import STACK_MIB, Sizing, sizing

SOUND: Final[Mapping[str, str]] = {"sgx.debug": "false", "sgx.remote_attestation": '"dcap"'}
"""What decides whether the enclave protects anything, each key with its value in TOML."""

_NAMES_ITS_LIBOS = ("1.5", "1.6", "1.7")
_LIBOS = "file:{{ gramine.libos }}"
SYS_PATH_LOOP: Final = "{% for path in python.get_sys_path(entrypoint) %}"
PACKAGES_LOOP: Final = "{% for path in (packages | default('')).split(':') if path %}"
LIBRARIES_LOOP: Final = (
    "{{% for file in (gramine.pkglibdir / {}).glob('*.so*') | sort if file.is_file() %}}"
)
"""Around a folder's shared libraries: `pkglibdir` is a path, and an absolute one behind / stays."""
LIBRARY_FOLDERS: Final = ("arch_libdir", "('/usr' + arch_libdir)")
END: Final = "{% endfor %}"


@dataclass(frozen=True, slots=True)
class Choice:
    """What goes into a manifest beyond the description: the program, and what is decided for it.

    `banner` are lines of comment in front of all others.
    """

    program: Program
    decided: Mapping[str, str] = field(default_factory=lambda: SOUND)
    banner: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rendered:
    """The files to write, by name, and what was reckoned."""

    manifest: str
    files: dict[str, bytes]
    sizing: Sizing
    to_seal: tuple[str, ...]


def render(description: Description) -> Rendered:
    """Everything that `gramine-manifest` and the server need; ConfigError if it is too large."""
    return render_choice(description, Choice(program(description)))


def render_choice(description: Description, choice: Choice) -> Rendered:
    """The same for a choice of one's own, which is not looked at here."""
    size = sizing(description)
    server = choice.program
    name = f"{server.name}.manifest.template"
    sealed = {path: f"to-seal/{path}" for path in server.to_seal}
    files = {name: _manifest(description, choice, size).encode()}
    files |= {sealed.get(path, path): text.encode() for path, text in server.texts}
    return Rendered(name, files, size, tuple(sealed.values()))


def _manifest(description: Description, choice: Choice, size: Sizing) -> str:
    server = choice.program
    lines = [
        *(f"# {line}" for line in choice.banner),
        f"# {description.cluster}, made by SealServe for Gramine {description.gramine.version}.",
        f"# Description: sha256 {description.digest}",
        *(f"# {line}" for line in size.reasoning),
        "",
        *_loader(description, server),
        "",
        *_mounts(description, server),
        "",
        "sys.enable_extra_runtime_domain_names_conf = true",
        "sys.enable_sigterm_injection = true",
        "sys.disallow_subprocesses = true",
        f'sys.stack.size = "{STACK_MIB}M"',
        "",
        *(f"{name} = {value}" for name, value in choice.decided.items()),
        *_sgx(description, size),
        "",
        *_trusted(description, server),
    ]
    return "\n".join(lines) + "\n"


def _loader(description: Description, server: Program) -> Iterable[str]:
    if description.gramine.version in _NAMES_ITS_LIBOS:
        yield f'loader.entrypoint = "{_LIBOS}"'
    yield f'libos.entrypoint = "{server.entrypoint}"'
    yield 'loader.log_level = "error"'
    yield "loader.argv = ["
    yield from (f'  "{argument}",' for argument in server.arguments)
    yield "]"
    yield from (f'loader.env.{name} = "{value}"' for name, value in server.environment)


def _mounts(description: Description, server: Program) -> Iterable[str]:
    yield "fs.mounts = ["
    yield _mount("/lib", "{{ gramine.runtimedir() }}")
    yield _mount("{{ arch_libdir }}", "{{ arch_libdir }}")
    yield _mount("/usr{{ arch_libdir }}", "/usr{{ arch_libdir }}")
    yield _mount(server.entrypoint, server.entrypoint)
    yield '  { type = "tmpfs", path = "/tmp" },'
    if server.entrypoint != BINARY:
        for loop in (SYS_PATH_LOOP, PACKAGES_LOOP):
            yield loop
            yield _mount("{{ path }}", "{{ path }}")
            yield END
    yield from (_mount(f"/{each}".rstrip("/"), each.rstrip("/")) for each in server.trusted)
    for each in server.encrypted:
        path = each.rstrip("/")
        yield (
            f'  {{ type = "encrypted", path = "/{path}", uri = "file:{path}", '
            f'key_name = "{description.key}" }},'
        )
    yield "]"


def _mount(path: str, host: str) -> str:
    return f'  {{ path = "{path}", uri = "file:{host}" }},'


def _sgx(description: Description, size: Sizing) -> Iterable[str]:
    gramine = description.gramine
    yield f"sgx.edmm_enable = {str(gramine.edmm).lower()}"
    yield f'sgx.enclave_size = "{size.size}"'
    yield f"sgx.max_threads = {size.threads}"
    yield f"sgx.isvprodid = {gramine.product}"
    yield f"sgx.isvsvn = {gramine.svn}"
    yield 'sgx.file_check_policy = "strict"'


def _trusted(description: Description, server: Program) -> Iterable[str]:
    yield "sgx.trusted_files = ["
    if description.gramine.version in _NAMES_ITS_LIBOS:
        yield f'  "{_LIBOS}",'
    yield from (f'  "file:{each}",' for each in (server.entrypoint, "{{ gramine.runtimedir() }}/"))
    for folder in LIBRARY_FOLDERS:
        yield LIBRARIES_LOOP.format(folder)
        yield '  "file:{{ file }}",'
        yield END
    if server.entrypoint != BINARY:
        yield SYS_PATH_LOOP
        yield "  \"file:{{ path }}{{ '/' if path.is_dir() else '' }}\","
        yield END
        yield PACKAGES_LOOP
        yield '  "file:{{ path }}/",'
        yield END
    yield from (f'  "file:{each}",' for each in server.trusted)
    yield "]"
