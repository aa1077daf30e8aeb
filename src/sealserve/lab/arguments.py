"""Which of a server's arguments decide what it is, and which are the platform's to choose.

SGX measures what an enclave is at launch; Gramine puts the arguments into the manifest for it. The
lab does the same with the argument vector, in a form in which both spellings of a flag,
`--flag=value` and `--flag value`, are one:

1. a token that begins with `--` is a flag, and the token after it is its value unless that begins
   with `-` (a lone `-` is a value);
2. tokens that are neither stand before the first flag, as the words of a command do;
3. a flag and its value are joined with `=`;
4. flags of `UNMEASURED` go to the end, behind everything that is measured.

The enclave is started with exactly these joined tokens, measured ones first. So however its parser
reads them, the platform cannot make a measured flag swallow another, or hide one as the value of a
flag that is not measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from sealserve.errors import UsageError

# Flag (with underscores) -> why its value is not measured.
UNMEASURED: Mapping[str, str] = MappingProxyType(
    {
        "port": "where to listen is the platform's choice; whom it serves, TLS decides",
        "host": "where to listen is the platform's choice",
        "rest_api_port": "where to listen is the platform's choice",
        # Also between Gramine, configfs-tsm and the lab: a quote that is accepted is of what the
        # policy names and over this process' own key, whoever carried it.
        "evidence_source": "where the hardware is reached; a false one gives no valid quote",
    }
)

# Flag -> why the content of the file, and not its path, is measured.
TRUSTED_FILES: Mapping[str, str] = MappingProxyType(
    {
        "key_service_ca": "decides from whom keys are accepted",
        "batching_parameters_file": "decides what the server does",
        "monitoring_config_file": "decides what the server tells",
        "model_config_file": "decides what is served",
        "trace_ca": "decides who is told of each request",
    }
)
# Every other flag is measured as it stands. So are the paths of protected files
# (`--ssl_config_file`, `--model_base_path`): their content authenticates itself, for the path that
# is sealed into it.


@dataclass(frozen=True, slots=True)
class TrustedFile:
    """A measured token that names a file: `index` in `Arguments.measured`, and the two parts."""

    index: int
    flag: str
    path: str


@dataclass(frozen=True, slots=True)
class Arguments:
    """An argument vector in its one form."""

    measured: tuple[str, ...]
    """As started, before the content of trusted files takes the place of their paths."""
    trusted_files: tuple[TrustedFile, ...]
    unmeasured: tuple[str, ...]

    @property
    def launched(self) -> tuple[str, ...]:
        """The vector with which the enclave is started."""
        return self.measured + self.unmeasured


def normalize(arguments: Sequence[str]) -> Arguments:
    """The one form of a `sealserve` command line; raises UsageError for what has none."""
    measured: list[str] = []
    unmeasured: list[str] = []
    trusted: list[TrustedFile] = []
    for flag, value in _tokens(arguments):
        name = flag[2:].replace("-", "_") if flag.startswith("--") else ""
        token = flag if value is None else f"{flag}={value}"
        if name not in UNMEASURED and name not in TRUSTED_FILES:
            measured.append(token)
        elif value is None:
            raise UsageError(f"{flag} needs a value", hint=f"write {flag}=VALUE")
        elif name in TRUSTED_FILES and not value:
            measured.append(token)  # no file, as TensorFlow Serving understands it
        elif name in UNMEASURED:
            unmeasured.append(token)
        else:
            trusted.append(TrustedFile(len(measured), flag, value))
            measured.append(token)
    return Arguments(tuple(measured), tuple(trusted), tuple(unmeasured))


def _tokens(arguments: Sequence[str]) -> list[tuple[str, str | None]]:
    """Flags with their values; what is no flag, with None."""
    tokens: list[tuple[str, str | None]] = []
    open_flag = False  # the last token is a flag that may still get its value
    for argument in arguments:
        if argument.startswith("--") and argument != "--":
            flag, equals, value = argument.partition("=")
            tokens.append((flag, value if equals else None))
            open_flag = not equals
        elif open_flag and (argument == "-" or not argument.startswith("-")):
            tokens[-1] = (tokens[-1][0], argument)
            open_flag = False
        elif argument != "--" and not any(flag.startswith("--") for flag, _ in tokens):
            tokens.append((argument, None))
        else:
            raise UsageError(
                f"{argument!r} among an enclave's arguments is neither a flag nor a flag's value",
                hint="words stand before the flags; a value that begins with - is --FLAG=VALUE",
            )
    return tokens
