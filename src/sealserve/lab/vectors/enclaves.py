"""Cases of the quoting enclave: each field by which its identity knows it, under each mask."""

from __future__ import annotations

from collections.abc import Iterator

from sealserve.lab import levels
from sealserve.lab.quoting_enclave import QE_REPORT_ATTRIBUTES
from sealserve.lab.statements import QE_ATTRIBUTES, QE_ISV_PROD_IDS
from sealserve.lab.vectors.case import Accepted, Case
from sealserve.lab.vectors.original import Original, flipped
from sealserve.verifier import Code, TcbStatus

_GROUP = "enclaves"
_INIT, _DEBUG, _MODE64, _PROVISION_KEY, _EINITTOKEN_KEY = 0, 1, 2, 4, 5  # bits of ATTRIBUTES
_OUTDATED = Accepted(TcbStatus.OUT_OF_DATE, levels.QE_OUT_OF_DATE.advisories)


def cases(original: Original) -> Iterator[Case]:
    """Of one form of quote."""
    yield from _other_enclaves(original)
    yield from _other_identities(original)
    yield from _open_bits(original)
    yield from _versions(original)


def _other_enclaves(original: Original) -> Iterator[Case]:
    report = original.quote.qe_report
    other = QE_ISV_PROD_IDS["TDX" if original.tee == "SGX" else "SGX"]
    for name, change, fields in (
        (
            "signer-first-byte",
            "another first byte of MRSIGNER",
            {"mr_signer": flipped(report.mr_signer, 0)},
        ),
        (
            "signer-last-byte",
            "another last byte of MRSIGNER",
            {"mr_signer": flipped(report.mr_signer, -1)},
        ),
        (
            "product-of-other",
            "the product id of the quoting enclave for the other TEE",
            {"isv_prod_id": other},
        ),
        (
            "product-high-byte",
            "another high byte of the product id",
            {"isv_prod_id": report.isv_prod_id | 0x100},
        ),
        ("misc-select-low", "the lowest bit of MISCSELECT set", {"misc_select": 1}),
        ("misc-select-high", "the highest bit of MISCSELECT set", {"misc_select": 1 << 31}),
        ("debug", "the attribute DEBUG", _attributes(_DEBUG)),
        ("not-initialised", "no attribute INIT", _attributes(_INIT)),
        ("no-provision-key", "no attribute PROVISION_KEY", _attributes(_PROVISION_KEY)),
        ("launch-key", "the attribute EINITTOKEN_KEY", _attributes(_EINITTOKEN_KEY)),
        ("flag-63", "the last of the flags set", _attributes(63)),
    ):
        yield original.reject(
            _GROUP,
            f"qe-{name}",
            f"The quoting enclave has {change}.",
            Code.QE_IDENTITY_MISMATCH,
            original.with_qe_report(**fields),
        )


def _other_identities(original: Original) -> Iterator[Case]:
    """The same differences from the other side: the enclave is as it was."""
    value = QE_ATTRIBUTES.hex()
    backwards = QE_ATTRIBUTES[:8][::-1].hex() + "00" * 8
    for name, change, members in (
        ("signer", "another MRSIGNER", {"mrsigner": "00" * 32}),
        ("product", "another product id", {"isvprodid": 99}),
        ("misc-select", "another MISCSELECT", {"miscselect": "00000001"}),
        ("attributes", "an attribute more", {"attributes": "31" + value[2:]}),
        ("attributes-backwards", "its flags in the other byte order", {"attributes": backwards}),
        (
            "outside-mask",
            "an attribute set that its mask leaves open",
            {"attributes": "15" + value[2:]},
        ),
        ("id", "an unknown name", {"id": "OTHER_QE"}),
    ):
        yield original.reject(
            _GROUP,
            f"qe-identity-{name}",
            f"The QE identity has {change}.",
            Code.QE_IDENTITY_MISMATCH,
            original.with_members("qe_identity", **members),
            "A verifier may put the value under the mask, too." if name == "outside-mask" else None,
        )


def _open_bits(original: Original) -> Iterator[Case]:
    """What the mask leaves open may be as it likes."""
    for name, change, fields in (
        ("mode64-off", "no attribute MODE64, which the mask leaves open", _attributes(_MODE64)),
        (
            "other-xfrm",
            "another XFRM, which the mask leaves open",
            {"attributes": QE_REPORT_ATTRIBUTES[:8] + bytes.fromhex("0300000000000000")},
        ),
        (
            "other-measurement",
            "another MRENCLAVE, which no identity names",
            {"mr_enclave": b"\x09" * 32},
        ),
        ("other-cpusvn", "another CPUSVN, which nothing compares", {"cpu_svn": bytes(16)}),
    ):
        yield original.accept(
            _GROUP,
            f"qe-{name}",
            f"The quoting enclave has {change}.",
            original.with_qe_report(**fields),
        )
    evidence = original.restated(
        "qe_identity", lambda it: it.update(miscselectMask="00000000", miscselect="00000000")
    )
    change = "The QE identity's mask leaves all of MISCSELECT open."
    yield original.accept(_GROUP, "qe-identity-open-mask", change, evidence)


def _versions(original: Original) -> Iterator[Case]:
    """ISVSVN: each level's own, one above it and one below."""
    best, worst = levels.QE_UP_TO_DATE.isv_svn, levels.QE_OUT_OF_DATE.isv_svn
    for name, isv_svn, expected in (
        ("above-best", best + 1, Accepted()),
        ("high-byte", 0x100, Accepted()),
        ("below-best", best - 1, _OUTDATED),
        ("worst", worst, _OUTDATED),
    ):
        evidence = original.with_qe_report(isv_svn=isv_svn)
        change = f"The quoting enclave has ISVSVN {isv_svn}; levels are {best} and {worst}."
        yield original.accept(_GROUP, f"qe-svn-{name}", change, evidence, expected)
    for name, isv_svn in (("below-worst", worst - 1), ("zero", 0)):
        yield original.reject(
            _GROUP,
            f"qe-svn-{name}",
            f"The quoting enclave has ISVSVN {isv_svn}, below every level.",
            Code.QE_TCB_NOT_SUPPORTED,
            original.with_qe_report(isv_svn=isv_svn),
        )
    yield original.reject(
        _GROUP,
        "qe-identity-no-levels",
        "The QE identity has an empty list of levels.",
        Code.QE_TCB_NOT_SUPPORTED,
        original.with_members("qe_identity", tcbLevels=[]),
    )
    evidence = original.restated(
        "qe_identity", lambda it: it["tcbLevels"][0].update(tcbStatus="Revoked")
    )
    change = "The quoting enclave's level is Revoked."
    yield original.reject(_GROUP, "qe-revoked", change, Code.TCB_REVOKED, evidence)


def _attributes(flag: int) -> dict[str, object]:
    """The quoting enclave's attributes with one flag changed."""
    return {"attributes": flipped(QE_REPORT_ATTRIBUTES, flag // 8, flag % 8)}
