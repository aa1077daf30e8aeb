"""The policy's part of an upgrade: to take the new enclave, to let go of the old one, or back.

Each step reads what is in force and edits that, so nobody else's change is lost.
"""

from __future__ import annotations

from sealserve.deploy.kubernetes.live.rollout import Tell
from sealserve.deploy.kubernetes.live.upgrade.enforcing import put_in_force
from sealserve.deploy.kubernetes.live.upgrade.plan import At, Change, Journal, owner_must
from sealserve.deploy.kubernetes.live.upgrade.start import Wish
from sealserve.errors import UsageError
from sealserve.policies.succession import Successor, admit, measurements, retire


class PolicySteps:
    """What is done to the policy in one upgrade."""

    def __init__(self, wish: Wish, journal: Journal, tell: Tell) -> None:
        self._wish = wish
        self._journal = journal
        self._tell = tell
        self._texts: tuple[str, str] | None = None  # the policy before, and as it was changed

    def admit(self, change: Change, successor: Successor | None) -> None:
        """Have the policy take the new enclave; UsageError where its owner must do it."""
        policy = self._wish.policy
        if policy is not None and change.by_signer and successor is not None:
            found = admit(policy.read(), successor.mr_enclave, successor)
            self._tell(f"the policy: {found.done}")
            return
        if not change.of_policy or change.old is None or successor is None:
            self._tell("the policy stays: the enclave is the same")
            return
        if policy is None:
            if not self._wish.accepted:
                raise UsageError(
                    "the key service is not in this cluster, and its policy must take the new "
                    f"enclave before a server asks: {successor.mr_enclave.hex()}",
                    code="policy-elsewhere",
                    hint=owner_must(change.old, successor.mr_enclave),
                )
            return
        before = policy.read()
        edited = admit(before, change.old, successor)
        if edited.changed:
            self._journal.at = At.ADMITTING
            put_in_force(policy, edited.text, before)
            self._texts = (before, edited.text)
        self._tell(f"the policy: {edited.done}")

    def retire(self, change: Change) -> bool:
        """Have it let go of the old one; whether nothing of it takes that any more."""
        policy = self._wish.policy
        if not change.of_policy or change.old is None or change.new is None:
            return False
        if policy is None or self._wish.keep_old:
            self._tell(f"no server runs {change.old.hex()} any more; the policy still takes it")
            return False
        before = policy.read()
        edited = retire(before, change.old, change.new)
        if edited.changed:
            self._journal.at = At.RETIRING
            put_in_force(policy, edited.text, before)
        self._tell(f"the policy: {edited.done}")
        return change.old not in measurements(edited.text)

    def withdraw(self, change: Change) -> None:
        """Have it as it was before the new one; what others changed meanwhile stays."""
        policy = self._wish.policy
        if policy is None or not change.of_policy or change.old is None or change.new is None:
            return
        text = policy.read()
        if self._texts is not None and text == self._texts[1]:
            put_in_force(policy, self._texts[0], text)
        elif self._texts is not None or not change.rolls:  # or it was there before us
            edited = retire(text, change.new, change.old)
            if edited.changed:
                put_in_force(policy, edited.text, text)
