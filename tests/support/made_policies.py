"""Policies for tests: one rule for one identity, and whatever a test adds to them.

pytest has this on its path (`pythonpath` in pyproject.toml). The identities here are those of the
plain targets of `made_claims`.
"""

from __future__ import annotations

from sealserve.appraisal import Policy, parse_policy

SGX = f'mr_enclave = ["{bytes(32).hex()}"]'
TDX = (
    f'tee = "TDX"\nmr_td = ["{bytes(48).hex()}"]\n'
    'rtmr0 = "any"\nrtmr1 = "any"\nrtmr2 = "any"\nrtmr3 = "any"'
)
REASON = "the firmware is updated in the spring"


def exception(text: str, *, name: str = "for a while", expires: str = "2026-12-31") -> str:
    """An entry of [[exceptions]] with `text` in it."""
    return f'[[exceptions]]\nname = "{name}"\nreason = "{REASON}"\nexpires = {expires}\n{text}\n'


def policy_text(identity: str = SGX, *, head: str = "", rule: str = "", more: str = "") -> str:
    """A policy that grants `secret` to `identity`; `head` and `more` come before and after."""
    return (
        f"version = 2\n{head}\n"
        f'[[identities]]\nname = "target"\n{identity}\n'
        f'[[rules]]\nname = "rule"\nidentities = ["target"]\nsecret = "secret"\n{rule}\n'
        f"{more}"
    )


def policy(identity: str = SGX, *, head: str = "", rule: str = "", more: str = "") -> Policy:
    """The same, parsed."""
    return parse_policy(policy_text(identity, head=head, rule=rule, more=more))
