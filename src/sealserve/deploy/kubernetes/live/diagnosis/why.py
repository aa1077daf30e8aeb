"""Why pods do not serve, as an error in the family of its cause."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sealserve.deploy.kubernetes.live.diagnosis.causes.catalogue import Finding
from sealserve.deploy.kubernetes.live.diagnosis.diagnosing import findings, stuck
from sealserve.deploy.kubernetes.live.fields import Object, name
from sealserve.deploy.kubernetes.live.service import Service
from sealserve.errors import NetworkError, SealServeError, family

_OTHERS: Final = 4  # findings in one error, beside the first


def check_pods(service: Service, pods: Sequence[Object]) -> None:
    """Raise what keeps one of these pods from serving and will not pass by waiting."""
    names = {name(pod) for pod in pods}
    lasting = [each for each in stuck(service) if names & set(each.pods)] if names else []
    if lasting:
        raise as_error(_better(service, lasting[0], names))


def explained(service: Service, error: NetworkError) -> SealServeError:
    """A better error than that time is over, if one is known: the first cause, and others."""
    found = [each for each in findings(service) if each.exit_code]
    if not found:
        return error
    first, *others = found
    more = "".join(f"\n  {each.what} [{each.code}]" for each in others[:_OTHERS])
    made = as_error(first)
    made.message = f"{error.message}: {made.message}{more}"
    return made


def as_error(finding: Finding) -> SealServeError:
    """A finding in the family of its cause."""
    return family(finding.exit_code)(finding.what, code=finding.code, hint=finding.cure)


def _better(service: Service, found: Finding, names: set[str]) -> Finding:
    """The same with what the key service's records say of it, where they are to be had."""
    whole = [each for each in findings(service) if each.exit_code and names & set(each.pods)]
    return whole[0] if whole else found
