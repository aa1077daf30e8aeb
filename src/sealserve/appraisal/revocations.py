"""What its owner has revoked: builds, signers and machines that get no secret any more.

Revocations are data and no part of a policy: they are judged before it, no rule and no exception
carries what is revoked, and who keeps them (the key service, in its database) hands over those in
force. What a verifier does not state cannot be shown not to be revoked: where a machine is, a
target whose platform nobody names is denied with it. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from sealserve.appraisal.conditions import Condition, PolicyCode, judged
from sealserve.errors import FormatError
from sealserve.verifier.claims import Claims, DcapStanding, SgxEnclave

MEASUREMENTS: Final = "revoked.measurements"
SIGNERS: Final = "revoked.signers"
PLATFORMS: Final = "revoked.platforms"
_SUBJECT: Final = "revoked"
_SIZES: Final = {"measurements": (32, 48), "signers": (32,), "platforms": (16,)}


@dataclass(frozen=True, slots=True)
class Revocations:
    """Everything that is revoked, as the hardware states it."""

    measurements: frozenset[bytes] = frozenset()
    """MRENCLAVE, 32 bytes; MRTD or an RTMR, 48 bytes."""
    signers: frozenset[bytes] = frozenset()
    """MRSIGNER, 32 bytes."""
    platforms: frozenset[bytes] = frozenset()
    """PPIDs or platform instance ids, 16 bytes."""

    def as_dict(self) -> dict[str, list[str]]:
        """The revocations as a JSON object: sorted lists of hex digits."""
        return {
            "measurements": sorted(each.hex() for each in self.measurements),
            "signers": sorted(each.hex() for each in self.signers),
            "platforms": sorted(each.hex() for each in self.platforms),
        }

    @classmethod
    def from_dict(cls, written: object) -> Revocations:
        """What `as_dict` wrote; raises FormatError (`revocations`) for anything else."""
        if not isinstance(written, Mapping) or set(written) != set(_SIZES):
            raise _wrong(f"the revocations are no object of {', '.join(_SIZES)}")
        return cls(**{key: _values(key, written[key]) for key in _SIZES})


NOTHING_REVOKED: Final = Revocations()


class _Stated(NamedTuple):
    """What evidence states where something may be revoked: nothing, or any of these values."""

    subject: str
    word: str
    found: tuple[bytes, ...]
    revoked: frozenset[bytes]
    fix: str


def of_revocations(claims: Claims, revoked: Revocations) -> Iterator[Condition]:
    """Whether nothing in `claims` is revoked; no condition where nothing at all is."""
    if revoked == NOTHING_REVOKED:
        return
    failed = next(filter(_fails, _stated(claims, revoked)), None)
    yield judged(
        PolicyCode.REVOKED,
        failed.subject if failed else _SUBJECT,
        failed is None,
        found=_found(failed) if failed else "nothing that is revoked",
        expected=f"a {failed.word} that is not revoked" if failed else "nothing that is revoked",
        fix=failed.fix if failed else "",
    )


def _stated(claims: Claims, revoked: Revocations) -> Iterator[_Stated]:
    target, standing = claims.target, claims.standing
    enclave = isinstance(target, SgxEnclave)
    yield _Stated(
        MEASUREMENTS,
        "MRENCLAVE" if enclave else "MRTD or RTMR",
        (target.mr_enclave,) if isinstance(target, SgxEnclave) else (target.mr_td, *target.rtmrs),
        revoked.measurements,
        "run a build that is not revoked",
    )
    if isinstance(target, SgxEnclave):
        yield _Stated(
            SIGNERS,
            "MRSIGNER",
            (target.mr_signer,),
            revoked.signers,
            "run a build that is signed with a key that is not revoked",
        )
    if isinstance(standing, DcapStanding):
        ids = tuple(
            each for each in (standing.ppid, standing.platform_instance_id) if each is not None
        )
        fix = "run it on a machine that is not revoked"
    else:
        ids, fix = (), "verify the quote itself, as a token does not say where it was made"
    yield _Stated(PLATFORMS, "platform", ids, revoked.platforms, fix)


def _fails(each: _Stated) -> bool:
    if not each.found:
        return bool(each.revoked)
    return not each.revoked.isdisjoint(each.found)


def _found(each: _Stated) -> str:
    named = [value.hex() for value in each.found if value in each.revoked]
    if not named:
        return "nothing: the verifier does not say, and machines are revoked"
    return f"the revoked {each.word} {named[0]}"


def _values(key: str, written: object) -> frozenset[bytes]:
    if not isinstance(written, list):
        raise _wrong(f"the revoked {key} are no list")
    return frozenset(_value(key, each) for each in written)


def _value(key: str, written: object) -> bytes:
    sizes = _SIZES[key]
    expected = " or ".join(str(2 * size) for size in sizes)
    try:
        value = bytes.fromhex(written) if isinstance(written, str) else b""
    except ValueError:
        value = b""
    if len(value) not in sizes or value.hex() != written:
        raise _wrong(
            f"in the revoked {key}: found {written!r:.80}, expected {expected} hex digits, in "
            "lower case"
        )
    return value


def _wrong(message: str) -> FormatError:
    return FormatError(message, code="revocations", hint="write what `as_dict` wrote, unchanged")
