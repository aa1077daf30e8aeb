"""Cases of security versions: every component, PCESVN, and the order of the levels.

Mostly the platform stays as it is, and TCB info asks one more of one component: then the first
level is missed, and where it is the only one, every level is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from sealserve.lab import levels
from sealserve.lab.vectors.case import Accepted, Case
from sealserve.lab.vectors.extensions import platform, with_extensions
from sealserve.lab.vectors.original import Edit, Original
from sealserve.verifier import Code, TcbStatus

_GROUP = "svns"
_COMPONENTS = 16
_MOST = 0xFF
_SECOND_LEVEL = Accepted(TcbStatus.SW_HARDENING_NEEDED, levels.SW_HARDENING_NEEDED.advisories)
_OUTDATED = Accepted(TcbStatus.OUT_OF_DATE, levels.OUT_OF_DATE.advisories)


def cases(original: Original) -> Iterator[Case]:
    """Of one form of quote."""
    yield from _components(original, "sgx", levels.UP_TO_DATE.component_svns, 0)
    if original.tee == "TDX":  # the first two are the module's version: see `tdx`
        yield from _components(original, "tdx", levels.UP_TO_DATE.tdx_component_svns, 2)
    yield from _pce_svn(original)
    yield from _platforms(original)
    yield from _level_lists(original)


def _components(original: Original, kind: str, svns: bytes, start: int) -> Iterator[Case]:
    for index in range(start, _COMPONENTS):
        words = f"{kind.upper()} component {index + 1}"
        name = f"{kind}-component-{index + 1:02}"
        if svns[index] < _MOST:
            edit = _asking(f"{kind}tcbcomponents", index, svns[index] + 1)
            yield from _asked_more(original, name, words, svns[index], edit)
        else:
            yield _platform_below(original, name, words, index)


def _asking(member: str, index: int, svn: int) -> Edit:
    def edit(info: dict[str, Any]) -> None:
        info["tcbLevels"][0]["tcb"][member][index]["svn"] = svn

    return edit


def _asked_more(
    original: Original, name: str, words: str, found: int, edit: Edit
) -> Iterator[Case]:
    def edit_alone(info: dict[str, Any]) -> None:
        edit(info)
        del info["tcbLevels"][1:]

    yield original.accept(
        _GROUP,
        f"{name}-below-first",
        f"The first level asks {found + 1} of {words}; the platform has {found}.",
        original.restated("tcb_info", edit),
        _SECOND_LEVEL,
    )
    yield original.reject(
        _GROUP,
        f"{name}-below-all",
        f"The only level asks {found + 1} of {words}; the platform has {found}.",
        Code.TCB_NOT_SUPPORTED,
        original.restated("tcb_info", edit_alone),
    )


def _platform_below(original: Original, name: str, words: str, index: int) -> Case:
    """Where the level asks the most that there is, the platform must have less."""
    said = platform(original)
    svns = bytearray(said.component_svns)
    svns[index] -= 1
    return original.reject(
        _GROUP,
        f"{name}-below-good",
        f"The platform has {svns[index]} of {words}; every level but Revoked asks {_MOST}.",
        Code.TCB_REVOKED,
        with_extensions(original, replace(said, component_svns=bytes(svns), cpu_svn=bytes(svns))),
    )


def _pce_svn(original: Original) -> Iterator[Case]:
    found = levels.UP_TO_DATE.pce_svn
    yield from _asked_more(
        original, "pcesvn", "PCESVN", found, lambda it: _first_tcb(it).update(pcesvn=found + 1)
    )
    high = 0x100 + found
    yield original.accept(
        _GROUP,
        "pcesvn-high-byte",
        f"The first level asks PCESVN {high}, of two bytes; the platform has {found}.",
        original.restated("tcb_info", lambda it: _first_tcb(it).update(pcesvn=high)),
        _SECOND_LEVEL,
    )


def _first_tcb(info: dict[str, Any]) -> dict[str, Any]:
    tcb: dict[str, Any] = info["tcbLevels"][0]["tcb"]
    return tcb


def _platforms(original: Original) -> Iterator[Case]:
    """The platform has other versions, in a certificate that its CA issued."""
    said = platform(original)
    best = said.component_svns
    uneven = bytes((best[0] - 1,)) + b"\xff" * 15
    for name, change, svns, pce_svn, expected in (
        ("newer", "newer versions than any level asks", b"\xff" * 16, 0xFFFF, Accepted()),
        (
            "uneven",
            "one version too low, and all others as high as can be",
            uneven,
            0xFFFF,
            _OUTDATED,
        ),
        (
            "hardening",
            "the versions of the second level",
            *_versions(levels.SW_HARDENING_NEEDED),
            _SECOND_LEVEL,
        ),
        ("outdated", "the versions of the third level", *_versions(levels.OUT_OF_DATE), _OUTDATED),
        (
            "revoked",
            "the versions of the level Revoked",
            *_versions(levels.REVOKED),
            Code.TCB_REVOKED,
        ),
        (
            "ancient",
            "versions below every level",
            *_versions(levels.BELOW_ALL_LEVELS),
            Code.TCB_NOT_SUPPORTED,
        ),
    ):
        extensions = replace(said, component_svns=svns, cpu_svn=svns, pce_svn=pce_svn)
        evidence = with_extensions(original, extensions)
        sentence = f"The platform has {change}."
        if isinstance(expected, Accepted):
            yield original.accept(_GROUP, f"platform-{name}", sentence, evidence, expected)
        else:
            yield original.reject(_GROUP, f"platform-{name}", sentence, expected, evidence)


def _versions(level: levels.TcbLevel) -> tuple[bytes, int]:
    return level.component_svns, level.pce_svn


def _level_lists(original: Original) -> Iterator[Case]:
    yield original.reject(
        _GROUP,
        "levels-none",
        "TCB info has an empty list of levels.",
        Code.TCB_NOT_SUPPORTED,
        original.with_members("tcb_info", tcbLevels=[]),
    )
    yield original.reject(
        _GROUP,
        "levels-reversed",
        "The levels stand in reverse order, and the first that is reached is Revoked.",
        Code.TCB_REVOKED,
        original.restated("tcb_info", lambda it: it["tcbLevels"].reverse()),
        "A verifier may sort the levels.",
    )
