"""Which platforms were seen: their security versions by kind, for forecasts. Never who they are.

Whenever the key service has verified a quote, the versions that decide the platform's TCB level are
noted here, with the day. No PPID, no certificate, no measurement: two machines of one kind at the
same versions are one line. What is here is no evidence of anything, and nothing is decided by it.

    DIR/<SHA-256 of the trust root>/platforms.json
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeAlias

from sealserve.collateral.attempts import TIME_FORMAT
from sealserve.collateral.key import CollateralKey
from sealserve.collateral.private_folder import locked
from sealserve.endorsements.chain import Role, parse_chain
from sealserve.endorsements.pck import COMPONENTS
from sealserve.endorsements.signed_json import Members, read_object
from sealserve.errors import ConfigError, FormatError, SealServeError
from sealserve.evidence.quote import parse_quote
from sealserve.evidence.td_report import TdReport
from sealserve.files import read_file, write_file
from sealserve.logline import line
from sealserve.verifier import Claims, Platform
from sealserve.verifier.claims import DcapStanding
from sealserve.verifier.evidence import read_pck_extensions

FILE_NAME: Final = "platforms.json"
FORMAT: Final = "sealserve platforms 1"
MAX_PLATFORMS: Final = 1000  # lines; what was not seen for longest goes first
LOCK_TIMEOUT: Final = 1.0  # seconds
_LIMIT = 4 << 20  # bytes
_Seen: TypeAlias = dict["PlatformTcb", datetime]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PlatformTcb:
    """The security versions at which some platforms of one kind stand."""

    platform: Platform
    component_svns: bytes
    """16 bytes, one SVN each."""
    pce_svn: int
    qe_isv_svn: int
    tee_tcb_svns: tuple[bytes, ...]
    """16 bytes each: for TDX the module's versions at launch and, from TD 1.5 on, today's."""


class Sightings:
    """What was seen, in one folder. Safe to share between threads and processes."""

    def __init__(self, folder: Path) -> None:
        """`folder` is there, and private."""
        self.path = folder / FILE_NAME
        self._lock = folder / f"{FILE_NAME}.lock"
        self._noted: set[tuple[object, ...]] = set()

    def saw(self, quote: bytes, claims: Claims) -> None:
        """Note the platform of `quote`, which was verified to be what `claims` say.

        Once a day for each platform; what cannot be noted is logged, and no more.
        """
        standing = claims.standing
        if not isinstance(standing, DcapStanding):
            return
        # What `claims` tell apart of the versions; a platform that they do not is noted with it.
        today = claims.verified_at.astimezone(UTC).replace(
            hour=0, minute=0, second=0, microsecond=0
        )
        module = getattr(claims.target, "tee_tcb_svn", None)
        platform = (claims.target.tee, standing.fmspc, standing.cpu_svn, standing.pce_svn)
        mark = (today, platform, standing.qe_tcb_status, module)
        if mark in self._noted:
            return
        try:
            self._note(tcb_of(quote), today)
        except SealServeError as error:
            log.warning(line("platform_not_noted", code=error.code, reason=error.message))
            return
        if len(self._noted) >= MAX_PLATFORMS:
            self._noted.clear()
        self._noted.add(mark)

    def all(self) -> dict[PlatformTcb, datetime]:
        """Every platform, and the day on which it was seen last; raises ConfigError."""
        if not self.path.exists():
            return {}
        try:
            return _decode(read_file(self.path, limit=_LIMIT))
        except FormatError as error:
            raise ConfigError(
                f"{self.path} is no list of platforms: {error.message}",
                hint="delete it: it fills again as quotes are verified",
            ) from error

    def _note(self, tcb: PlatformTcb, today: datetime) -> None:
        with locked(self._lock, timeout=LOCK_TIMEOUT):
            try:
                seen = self.all()
            except ConfigError as error:
                log.warning(line("platforms_forgotten", reason=error.message))
                seen = {}
            if seen.get(tcb) == today:
                return
            seen[tcb] = today
            latest = sorted(seen, key=lambda each: seen[each], reverse=True)[:MAX_PLATFORMS]
            try:
                write_file(self.path, _encode({each: seen[each] for each in latest}))
            except OSError as error:
                raise ConfigError(f"cannot write {self.path}: {error.strerror}") from error


def tcb_of(quote: bytes) -> PlatformTcb:
    """The security versions behind a quote, as it says itself; raises a RejectedError."""
    parsed = parse_quote(quote)
    # By role: a chain verifies in any order.
    chain = {each.role: each for each in parse_chain(parsed.certification_data)}
    if Role.PCK not in chain:
        raise FormatError("the quote has no PCK certificate")
    extensions = read_pck_extensions(chain[Role.PCK])
    body = parsed.body
    is_td = isinstance(body, TdReport)
    svns = (body.tee_tcb_svn, body.tee_tcb_svn_2) if isinstance(body, TdReport) else ()
    return PlatformTcb(
        platform=Platform(
            tee="TDX" if is_td else "SGX",
            fmspc=extensions.fmspc,
            ca="platform" if Role.PLATFORM_CA in chain else "processor",
        ),
        component_svns=extensions.component_svns,
        pce_svn=extensions.pce_svn,
        qe_isv_svn=parsed.qe_report.isv_svn,
        tee_tcb_svns=tuple(svn for svn in svns if svn is not None),
    )


def _encode(seen: _Seen) -> bytes:
    platforms = [
        {
            "platform": CollateralKey.of(tcb.platform, "standard").name,
            "component_svns": tcb.component_svns.hex(),
            "pce_svn": tcb.pce_svn,
            "qe_isv_svn": tcb.qe_isv_svn,
            "tee_tcb_svns": [svn.hex() for svn in tcb.tee_tcb_svns],
            "last_seen": day.strftime(TIME_FORMAT),
        }
        for tcb, day in seen.items()
    ]
    return json.dumps({"format": FORMAT, "platforms": platforms}, indent=1).encode() + b"\n"


def _decode(data: bytes) -> _Seen:
    members = read_object(data, FILE_NAME)
    if members.text("format") != FORMAT:
        raise FormatError(f"expected the format {FORMAT!r}")
    return dict(_row(row) for row in members.tables("platforms", MAX_PLATFORMS))


def _row(row: Members) -> tuple[PlatformTcb, datetime]:
    key = CollateralKey.parse(row.text("platform"))
    if key is None:
        raise FormatError(f"{row.text('platform')!r} is no kind of platform")
    tcb = PlatformTcb(
        platform=key.platform,
        component_svns=row.hexadecimal("component_svns", COMPONENTS),
        pce_svn=row.number("pce_svn", 0xFFFF),
        qe_isv_svn=row.number("qe_isv_svn", 0xFFFF),
        tee_tcb_svns=tuple(map(_svns, row.texts("tee_tcb_svns", 2))),
    )
    return tcb, row.date("last_seen")


def _svns(text: str) -> bytes:
    try:
        svns = bytes.fromhex(text)
    except ValueError:
        svns = b""
    if len(svns) != COMPONENTS:
        raise FormatError(f"tee_tcb_svns: found {text!r}, expected {2 * COMPONENTS} hex digits")
    return svns
