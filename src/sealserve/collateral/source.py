"""Where collateral comes from: a folder, one file, or a service.

What comes is bytes that nobody has verified. Folders and files are read each time and answer for
every platform alike: the verifier says whether the answer was for this one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sealserve.endorsements.collateral import FILE_NAMES, ONE_FILE_LIMIT, PART_LIMIT, Collateral
from sealserve.endorsements.pccs import DEFAULT_TIMEOUT, PccsClient, Update, service
from sealserve.endorsements.pccs.presets import PRESETS
from sealserve.errors import CollateralError, ConfigError, UsageError
from sealserve.files import read_file
from sealserve.verifier import Platform

_CRLS = (FILE_NAMES["pck_crl"], FILE_NAMES["root_ca_crl"])


class CollateralSource(Protocol):
    """One place that collateral comes from. Safe to share between threads."""

    @property
    def name(self) -> str:
        """A path or a host, for people."""
        ...

    @property
    def is_local(self) -> bool:
        """Whether reading costs nothing, so that nobody has to share what was read."""
        ...

    @property
    def remarks(self) -> tuple[str, ...]:
        """What whoever chose this source should be told."""
        ...

    def collateral(self, platform: Platform) -> Collateral:
        """The collateral for `platform`; may block, raises CollateralError."""
        ...


@dataclass(frozen=True, slots=True)
class CollateralFolder:
    """The files of a folder, under the names of `endorsements.collateral.FILE_NAMES`."""

    folder: Path
    is_local = True
    remarks = ()

    @property
    def name(self) -> str:
        """The folder."""
        return str(self.folder)

    def missing(self) -> list[str]:
        """The files that are not there."""
        return [name for name in FILE_NAMES.values() if not (self.folder / name).exists()]

    def read(self) -> Collateral:
        """What is in the folder now; raises CollateralError for a file that is not there.

        A CRL that is not there is empty: the verifier decides about that, because evidence may be
        so old that its CRLs are nowhere to be had.
        """
        missing = [name for name in self.missing() if name not in _CRLS]
        if missing:
            raise CollateralError(
                f"{self.folder} is no whole collateral: {', '.join(missing)} missing",
                hint=f"the folder needs {', '.join(FILE_NAMES.values())}",
            )
        return Collateral.from_files({name: self._read(name) for name in FILE_NAMES.values()})

    def collateral(self, platform: Platform) -> Collateral:
        """The same for any platform."""
        return self.read()

    def _read(self, name: str) -> bytes:
        path = self.folder / name
        if name in _CRLS and not path.exists():
            return b""
        return _read(path, PART_LIMIT)


@dataclass(frozen=True, slots=True)
class CollateralFile:
    """The one-file form that DCAP tools exchange (`Collateral.from_json`)."""

    file: Path
    is_local = True
    remarks = ()

    @property
    def name(self) -> str:
        """The file."""
        return str(self.file)

    def read(self) -> Collateral:
        """What is in the file now; raises CollateralError, or FormatError for what is no such."""
        return Collateral.from_json(_read(self.file, ONE_FILE_LIMIT))

    def collateral(self, platform: Platform) -> Collateral:
        """The same for any platform."""
        return self.read()


class CollateralService:
    """A service that speaks Intel's PCS or PCCS interface."""

    is_local = False

    def __init__(
        self,
        name_or_url: str,
        *,
        update: Update = "standard",
        ca_file: Path | None = None,
        subscription_key_file: Path | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        """As `endorsements.pccs.service`, which says what each is; raises ConfigError."""
        chosen = service(
            name_or_url,
            update=update,
            ca_file=ca_file,
            subscription_key_file=subscription_key_file,
            timeout=timeout,
        )
        self.name = name_or_url
        self.remarks = chosen.remarks
        self._client = PccsClient(chosen)

    def collateral(self, platform: Platform) -> Collateral:
        """What the service has for `platform`, within the timeout; raises CollateralError."""
        return self._client.collateral(platform.fmspc, platform.ca, platform.tee)


def parse_source(
    text: str,
    *,
    update: Update = "standard",
    ca_file: Path | None = None,
    subscription_key_file: Path | None = None,
    timeout: float = DEFAULT_TIMEOUT,
) -> CollateralSource:
    """The source that `text` names: a URL, a service by its name, a folder or a file.

    A name of a service wins over a file of that name, which is then written `./intel`. The options
    are for services: raises UsageError where they are given for files, ConfigError where they
    cannot be, CollateralError where nothing has this name.
    """
    if "://" in text or text.partition(":")[0] in PRESETS:
        return CollateralService(
            text,
            update=update,
            ca_file=ca_file,
            subscription_key_file=subscription_key_file,
            timeout=timeout,
        )
    if ca_file is not None or subscription_key_file is not None:
        raise UsageError(
            f"{text} is no service, and certificates and keys are for services alone",
            hint="leave them out, or name a URL or a service",
        )
    path = Path(text)
    if path.is_dir():
        return CollateralFolder(path)
    if path.exists():
        return CollateralFile(path)
    raise CollateralError(
        f"no collateral from {text!r}: there is no such folder, file or service",
        hint=f"a URL begins with https://; services known by name are {', '.join(PRESETS)}",
    )


def _read(path: Path, limit: int) -> bytes:
    try:
        return read_file(path, limit=limit)
    except ConfigError as error:
        raise CollateralError(error.message, hint=error.hint) from error
