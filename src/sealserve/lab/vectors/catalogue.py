"""All cases: which groups are made for which forms of quote.

What reads the quote itself is tried on every form; what reads certificates and collateral on one of
SGX, and on one of TDX where its collateral is another.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from types import MappingProxyType

from sealserve.errors import UsageError
from sealserve.lab.vectors import (
    chain,
    dates,
    enclaves,
    extensions,
    genuine,
    quote_form,
    revocation,
    roles,
    signatures,
    statement_forms,
    statement_signers,
    svns,
    tdx_modules,
    tdx_standing,
)
from sealserve.lab.vectors.case import Case
from sealserve.lab.vectors.original import Original
from sealserve.lab.vectors.originals import make_originals

_Group = Callable[[Original], Iterator[Case]]

_OF_EVERY_QUOTE: tuple[_Group, ...] = (
    genuine.cases,
    quote_form.cases,
    signatures.quote_cases,
)
_OF_SGX_PLATFORMS: tuple[_Group, ...] = (
    signatures.qe_report_cases,
    genuine.status_cases,
    genuine.form_cases,
    chain.cases,
    roles.cases,
    extensions.cases,
    dates.cases,
    revocation.cases,
    statement_signers.cases,
    statement_forms.cases,
    enclaves.cases,
    svns.cases,
)
_OF_TDX_PLATFORMS: tuple[_Group, ...] = (
    signatures.qe_report_cases,
    genuine.status_cases,
    genuine.form_cases,
    dates.statement_cases,
    statement_signers.cases,
    statement_forms.cases,
    enclaves.cases,
    svns.cases,
    tdx_modules.cases,
    tdx_standing.cases,
)

_GROUPS: Mapping[str, tuple[_Group, ...]] = MappingProxyType(
    {
        "sgx-v3": (*_OF_EVERY_QUOTE, *_OF_SGX_PLATFORMS),
        "sgx-v4": _OF_EVERY_QUOTE,
        "sgx-v5": _OF_EVERY_QUOTE,
        "tdx-v4": (*_OF_EVERY_QUOTE, *_OF_TDX_PLATFORMS),
        "tdx-v5-td10": _OF_EVERY_QUOTE,
        "tdx-v5-td15": (
            *_OF_EVERY_QUOTE,
            tdx_modules.cases,
            tdx_standing.cases,
            tdx_standing.relaunch_cases,
        ),
        "tdx-v5-td15ex": (*_OF_EVERY_QUOTE, tdx_standing.relaunch_cases),
    }
)


FORMS = tuple(_GROUPS)


def all_cases(forms: Collection[str] = FORMS) -> tuple[Case, ...]:
    """Every case of these forms, of one world that is made for them.

    Ids are unique, and the same each time. Raises UsageError for a form that there is not.
    """
    for form in forms:
        if form not in _GROUPS:
            raise UsageError(f"{form!r} is no form of quote", hint=f"one of {', '.join(FORMS)}")
    originals = make_originals()
    return tuple(
        case
        for form, groups in _GROUPS.items()
        if form in forms
        for group in groups
        for case in group(originals[form])
    )
