"""Conditions on the target: that the enclave or trust domain is the one that an identity names.

What an identity does not name must be as in the plainest target: no debugging, no configuration of
the loader's or the host's, no service TD, the attributes of `attributes.py`. A field that the
verifier does not state fails where it is named and is passed over where it is not; but for the
service TDs of a TD that they may migrate, which must be stated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sealserve.appraisal import attributes
from sealserve.appraisal.conditions import Condition, Cover, PolicyCode, any_of, judged
from sealserve.appraisal.identities import Identity, SgxIdentity, TdxIdentity
from sealserve.verifier.claims import SgxEnclave, TrustDomain

_NOT_STATED = "nothing: the verifier does not say"
_RTMR_CODES = (PolicyCode.RTMR0, PolicyCode.RTMR1, PolicyCode.RTMR2, PolicyCode.RTMR3)


def of_identity(target: SgxEnclave | TrustDomain, wanted: Identity) -> Iterator[Condition]:
    """Whether `target` is what `wanted` names; nothing more is said of one of the other kind."""
    yield judged(
        PolicyCode.TEE,
        "tee",
        target.tee == wanted.tee,
        found=target.tee,
        expected=wanted.tee,
        fix=f'add an identity with tee = "{target.tee}", if this target is meant',
    )
    if isinstance(target, SgxEnclave) and isinstance(wanted, SgxIdentity):
        yield from _enclave(target, wanted)
    elif isinstance(target, TrustDomain) and isinstance(wanted, TdxIdentity):
        yield from _trust_domain(target, wanted)


def debug(target: SgxEnclave | TrustDomain) -> Condition:
    """Whether nobody can look into the target."""
    if isinstance(target, SgxEnclave):
        return judged(
            PolicyCode.DEBUG,
            "debug",
            not target.debug,
            found="a debug enclave" if target.debug else "a production enclave",
            expected="a production enclave: a debugger can read the memory of a debug one",
            fix="build it without debug (sgx.debug = false in Gramine's manifest)",
        )
    under_debug = attributes.td_under_debug(target.td_attributes)
    names = attributes.td_names(under_debug)
    return judged(
        PolicyCode.DEBUG,
        "debug",
        not any(under_debug),
        found=f"a TD under debug ({names})" if any(under_debug) else "a production TD",
        expected="a production TD: its host can read or profile one under debug",
        fix="start it without these attributes",
    )


def debug_unless_excepted(target: SgxEnclave | TrustDomain, cover: Cover) -> Condition:
    """The same, unless an exception dangerously allows it."""
    return cover.carry(debug(target), lambda each: each.dangerously_allow_debug)


def _enclave(target: SgxEnclave, wanted: SgxIdentity) -> Iterator[Condition]:
    if wanted.mr_enclave is not None:
        yield _is_one_of(
            PolicyCode.MEASUREMENT, "mr_enclave", target.mr_enclave, wanted.mr_enclave, wanted
        )
    if wanted.mr_signer is not None and wanted.minimum_isv_svn is not None:
        yield _is_one_of(
            PolicyCode.SIGNER, "mr_signer", target.mr_signer, (wanted.mr_signer,), wanted
        )
        yield judged(
            PolicyCode.PRODUCT,
            "isv_prod_id",
            target.isv_prod_id == wanted.isv_prod_id,
            found=str(target.isv_prod_id),
            expected=str(wanted.isv_prod_id),
            fix="this is another product of the same signer: run the one that is named",
        )
        yield judged(
            PolicyCode.SVN,
            "minimum_isv_svn",
            target.isv_svn >= wanted.minimum_isv_svn,
            found=str(target.isv_svn),
            expected=f"{wanted.minimum_isv_svn} or more",
            fix="deploy a newer release",
        )
    if wanted.maximum_isv_svn is not None:
        yield judged(
            PolicyCode.SVN_ABOVE,
            "maximum_isv_svn",
            target.isv_svn <= wanted.maximum_isv_svn,
            found=str(target.isv_svn),
            expected=f"{wanted.maximum_isv_svn} or less",
            fix="raise maximum_isv_svn in the identity, or remove it, if newer releases are meant",
        )
    yield from _bits(
        PolicyCode.ATTRIBUTES,
        "attributes",
        target.attributes,
        attributes.SILENT_SGX.pinned(wanted.attributes, wanted.attributes_mask),
        named=wanted.attributes is not None,
        names=attributes.sgx_names,
    )
    yield from _bits(
        PolicyCode.MISC_SELECT,
        "misc_select",
        None if target.misc_select is None else attributes.misc_select_bytes(target.misc_select),
        attributes.SILENT_MISC_SELECT.pinned(*wanted.misc_select_bytes),
        named=wanted.misc_select is not None,
        names=attributes.misc_select_names,
    )
    for code, key in (
        (PolicyCode.CONFIG_ID, "config_id"),
        (PolicyCode.EXT_PRODUCT, "isv_ext_prod_id"),
        (PolicyCode.FAMILY, "isv_family_id"),
    ):
        yield from _named_or_zero(code, key, getattr(target, key), getattr(wanted, key), wanted)
    yield from _config_svn(target.config_svn, wanted.minimum_config_svn)


def _trust_domain(target: TrustDomain, wanted: TdxIdentity) -> Iterator[Condition]:
    yield _is_one_of(PolicyCode.MR_TD, "mr_td", target.mr_td, wanted.mr_td, wanted)
    for number, (found, accepted) in enumerate(zip(target.rtmrs, wanted.rtmrs, strict=True)):
        if accepted is not None:
            yield _is_one_of(_RTMR_CODES[number], f"rtmr{number}", found, accepted, wanted)
    yield from _bits(
        PolicyCode.TD_ATTRIBUTES,
        "td_attributes",
        target.td_attributes,
        attributes.SILENT_TD.pinned(wanted.td_attributes, wanted.td_attributes_mask),
        named=wanted.td_attributes is not None,
        names=attributes.td_names,
    )
    if wanted.xfam is not None:
        yield _is_one_of(PolicyCode.XFAM, "xfam", target.xfam, (wanted.xfam,), wanted)
    if wanted.mr_seam is not None:
        yield _is_one_of(PolicyCode.MR_SEAM, "mr_seam", target.mr_seam, wanted.mr_seam, wanted)
    for code, key in (
        (PolicyCode.MR_SIGNER_SEAM, "mr_signer_seam"),
        (PolicyCode.MR_CONFIG_ID, "mr_config_id"),
        (PolicyCode.MR_OWNER, "mr_owner"),
        (PolicyCode.MR_OWNER_CONFIG, "mr_owner_config"),
    ):
        yield from _named_or_zero(code, key, getattr(target, key), getattr(wanted, key), wanted)
    yield from _service_tds(target, wanted)
    yield judged(
        PolicyCode.SEAM_ATTRIBUTES,
        "seam_attributes",
        not any(target.seam_attributes),
        found=target.seam_attributes.hex(),
        expected="zero: a production TDX module",
        fix="load a production TDX module on the platform",
    )


def _is_one_of(
    code: PolicyCode, key: str, found: bytes, accepted: tuple[bytes, ...], wanted: Identity
) -> Condition:
    return judged(
        code,
        key,
        found in accepted,
        found=found.hex(),
        expected=any_of(each.hex() for each in accepted),
        fix=f"find out what is running; if it is meant, name it in {key} of identity "
        f"{wanted.name!r}",
    )


def _named_or_zero(
    code: PolicyCode, key: str, found: bytes | None, named: bytes | None, wanted: Identity
) -> Iterator[Condition]:
    if found is None and named is None:
        return
    yield judged(
        code,
        key,
        found is not None and (not any(found) if named is None else found == named),
        found=_NOT_STATED if found is None else found.hex() if any(found) else "zero",
        expected="zero, as it is not named" if named is None else named.hex(),
        fix=f"find out who set it, and what it changes; if it is meant, name it in {key} of "
        f"identity {wanted.name!r}",
    )


def _service_tds(target: TrustDomain, wanted: TdxIdentity) -> Iterator[Condition]:
    """Of a TD that service TDs may move, silence about them is no answer."""
    named, code, key = wanted.mr_service_td, PolicyCode.MR_SERVICE_TD, "mr_service_td"
    if target.mr_service_td is not None:
        yield from _named_or_zero(code, key, target.mr_service_td, named, wanted)
    elif named is not None or attributes.td_migratable(target.td_attributes):
        yield judged(
            code,
            key,
            False,
            found=_NOT_STATED,
            expected="zero, as it is not named" if named is None else named.hex(),
            fix="quote it in version 5, on TDX 1.5 or later: other quotes do not say which service "
            "TDs are bound to it",
        )


def _bits(
    code: PolicyCode,
    key: str,
    found: bytes | None,
    bits: attributes.Bits,
    *,
    named: bool,
    names: Callable[[bytes], str],
) -> Iterator[Condition]:
    if found is None and not named:
        return
    wrong = b"" if found is None else bits.wrong(found)
    yield judged(
        code,
        key,
        found is not None and not any(wrong),
        found=_NOT_STATED if found is None else f"{found.hex()} ({names(found)})",
        expected=str(bits),
        fix=f"turn {names(wrong)} the other way where it is built or started; or, if it is meant, "
        f"name {key} and {key}_mask in the identity",
    )


def _config_svn(found: int | None, minimum: int | None) -> Iterator[Condition]:
    if found is None and minimum is None:
        return
    yield judged(
        PolicyCode.CONFIG_SVN,
        "minimum_config_svn",
        found is not None and (found == 0 if minimum is None else found >= minimum),
        found=_NOT_STATED if found is None else str(found),
        expected="0, as it is not named" if minimum is None else f"{minimum} or more",
        fix="load it with the configuration that is meant; or name minimum_config_svn in the "
        "identity",
    )
