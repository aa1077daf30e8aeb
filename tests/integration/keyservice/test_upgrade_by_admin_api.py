"""An upgrade whose key service is elsewhere: its policy is changed by the real admin API."""

from __future__ import annotations

from pathlib import Path

import pytest

from administered import POLICY, Served, Site, new_store, serving
from sealserve.cli.administration_options import Access
from sealserve.cli.k8s_upgrade_options import AdminPolicy
from sealserve.deploy.kubernetes.live.upgrade.plan import Change, Journal
from sealserve.deploy.kubernetes.live.upgrade.policy_steps import PolicySteps
from sealserve.deploy.kubernetes.live.upgrade.start import Wish
from sealserve.errors import ConfigError, DeniedError
from sealserve.keyservice.administration.values import Role
from sealserve.policies.succession import Successor

OLD = bytes.fromhex("9f3c1a7be04d25681122334455667788990a0b0c0d0e0f101112131415161718")
NEW = bytes.fromhex("1b" * 32)
CHANGE = Change(OLD, NEW, True, {})


def put_in_force_first(served: Served) -> None:
    access = Access(None, served.url, served.site.ca, *served.site.files(Role.OWNER))
    with access.open() as admin:
        admin.apply_policy(POLICY, admin.try_policy(POLICY).token)


def test_the_policy_takes_both_and_then_the_new_one_alone(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    with serving(Site(tmp_path), store) as served:
        place = AdminPolicy(
            Access(None, served.url, served.site.ca, *served.site.files(Role.OWNER))
        )
        with pytest.raises(ConfigError, match="no policy is in force"):
            place.read()
        put_in_force_first(served)
        told: list[str] = []
        steps = PolicySteps(
            Wish(None, None, None, False, 1.0, place, False, None), Journal(), told.append
        )
        steps.admit(CHANGE, Successor(NEW, "the second"))
        both = f'["{OLD.hex()}", "{NEW.hex()}"]'
        assert place.read() == POLICY.replace(f'["{OLD.hex()}"]', both)
        assert steps.retire(CHANGE)
        assert place.read() == POLICY.replace(OLD.hex(), NEW.hex())
    store.close()
    assert len(told) == 2


def test_an_auditor_s_certificate_changes_nothing(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    with serving(Site(tmp_path), store) as served:
        site = served.site
        put_in_force_first(served)
        place = AdminPolicy(Access(None, served.url, site.ca, *site.files(Role.AUDITOR)))
        wish = Wish(None, None, None, False, 1.0, place, False, None)
        with pytest.raises(DeniedError, match="is for owner"):
            PolicySteps(wish, Journal(), lambda _: None).admit(CHANGE, Successor(NEW, "x"))
        assert place.read() == POLICY
    store.close()


def test_what_somebody_else_put_in_force_meanwhile_is_not_lost(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    with serving(Site(tmp_path), store) as served:
        put_in_force_first(served)
        place = AdminPolicy(
            Access(None, served.url, served.site.ca, *served.site.files(Role.OWNER))
        )
        with pytest.raises(ConfigError, match="somebody else"):
            place.apply(POLICY + "# mine", POLICY + "# what was in force")
        assert place.read() == POLICY
    store.close()
