"""An upgrade on paper: from which template to which, what the policy takes at each moment."""

from __future__ import annotations

import copy
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealserve.appraisal.policy import parse_policy
from sealserve.deploy.description.reading import check_description
from sealserve.deploy.description.writing import Answers, describe
from sealserve.deploy.kubernetes.live.service import Service
from sealserve.deploy.kubernetes.live.upgrade.enforcing import check_same, put_in_force
from sealserve.deploy.kubernetes.live.upgrade.measuring import measuring_pod
from sealserve.deploy.kubernetes.live.upgrade.model_changes import changed_since, polls
from sealserve.deploy.kubernetes.live.upgrade.plan import (
    At,
    Change,
    Journal,
    find_back,
    holds,
    sides,
)
from sealserve.deploy.kubernetes.live.upgrade.policy_steps import PolicySteps
from sealserve.deploy.kubernetes.live.upgrade.revisions import (
    FAILED,
    HASH,
    MEASUREMENT,
    current,
    former,
    plain,
    revisions,
    with_template,
)
from sealserve.deploy.kubernetes.live.upgrade.start import Start, Wish, change_of, rendered
from sealserve.deploy.kubernetes.plan import DIGEST
from sealserve.deploy.kubernetes.render import plan_for
from sealserve.deploy.kubernetes.server import server_objects
from sealserve.deploy.kubernetes.targets import LAB, find_target
from sealserve.errors import ConfigError, UsageError
from sealserve.policies.editing import Reference
from sealserve.policies.succession import Successor, measurements

OLD, NEW, THIRD = (bytes([number]) * 32 for number in (0x1A, 0x2B, 0x3C))


def plan(target=LAB, **answers):
    found = check_description(describe(Answers(**answers))).description
    assert found is not None
    return plan_for(found, target)


def template(image):
    return {
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "server", "image": image}]},
    }


def replica_set(image, number, measured=None, owner="u1", *, failed=False):
    held = template(image)
    held["metadata"] |= {"labels": {"a": "b", HASH: f"h-{image}"}, "creationTimestamp": None}
    annotations = {"deployment.kubernetes.io/revision": str(number)}
    if failed:
        annotations[FAILED] = "true"
    if measured is not None:
        annotations[MEASUREMENT] = measured if isinstance(measured, str) else measured.hex()
    return {
        "metadata": {
            "name": f"server-{image}",
            "labels": {HASH: f"h-{image}"},
            "annotations": annotations,
            "ownerReferences": [{"uid": owner}],
        },
        "spec": {"template": held},
    }


def deployment(image):
    return {"metadata": {"uid": "u1"}, "spec": {"template": template(image)}}


HISTORY = [
    replica_set("a", 2, OLD),
    replica_set("b", 10, NEW),
    replica_set("c", 9, "no hex"),
    replica_set("d", 99, owner="u2"),
]


def test_revisions_are_the_deployment_s_own_newest_first():
    found = revisions(deployment("b"), HISTORY)
    assert [(each.number, each.measurement) for each in found] == [(10, NEW), (9, None), (2, OLD)]


def test_the_current_one_is_the_one_that_is_asked_for_and_not_the_newest():
    found = revisions(deployment("a"), HISTORY)
    now = current(deployment("a"), found)
    assert now is not None
    assert (now.replica_set, now.hash) == ("server-a", "h-a")
    assert now.has({"metadata": {"labels": {HASH: "h-a"}}})
    assert not now.has({"metadata": {}})
    before = former(found, now)
    assert before is not None
    assert before.replica_set == "server-b"


def test_a_template_that_no_controller_has_seen_has_no_revision():
    assert current(deployment("new"), revisions(deployment("new"), HISTORY)) is None


def test_what_is_given_is_not_changed():
    given = replica_set("a", 1)["spec"]["template"]
    before = copy.deepcopy(given)
    assert plain(given) == template("a")
    assert given == before


def test_a_template_that_comes_back_says_which_description_it_is_from():
    found = next(each for each in server_objects(plan()) if each["kind"] == "Deployment")
    back = with_template(found, template("a"), "old")
    assert back["spec"]["template"] == template("a")
    assert back["metadata"]["annotations"][DIGEST] == "old"
    assert {**back["spec"], "template": 0} == {**found["spec"], "template": 0}


def test_an_upgrade_comes_from_what_runs_or_from_what_ran_before_it_was_begun():
    found = revisions(deployment("b"), HISTORY)
    now = current(deployment("b"), found)
    assert now is not None
    before, runs = sides(found, now, rolls=True)
    assert before == runs
    assert runs.measurement == NEW
    before, runs = sides(found, now, rolls=False)
    assert before is not None
    assert (before.template, runs.measurement) == (template("c"), NEW)
    assert sides([now], now, rolls=False)[0] is None


def test_the_way_back_is_to_the_one_before_or_to_one_by_its_hash():
    found = revisions(deployment("b"), HISTORY)
    now = current(deployment("b"), found)
    assert now is not None
    assert find_back(found, now, "").hash == "h-c"
    assert find_back(found, now, "h-a").hash == "h-a"
    failed = replica_set("z", 11, failed=True)
    found = revisions(deployment("b"), [*HISTORY, failed])
    assert find_back(found, now, "").hash == "h-c"
    assert find_back(found, now, "h-z").hash == "h-z"
    for kept, wanted in ((found, "h-x"), ([now], "")):
        with pytest.raises(UsageError, match="no such former template"):
            find_back(kept, now, wanted)


@pytest.mark.parametrize("at", At)
def test_what_holds_names_both_enclaves_only_where_the_policy_changes(at):
    said = holds(at, Change(OLD, NEW, True, None))
    assert "{" not in said
    alone = {At.NOTHING: (False, False), At.RETURNED: (False, False), At.DONE: (False, True)}
    assert (OLD.hex() in said, NEW.hex() in said) == alone.get(at, (True, True))
    for change in (None, Change(OLD, OLD, True, None), Change(None, NEW, False, None)):
        said = holds(at, change)
        assert "{" not in said
        assert "policy" not in said


class InForce:
    """A policy in memory, and all that was ever in force."""

    def __init__(self, text):
        self.texts = [text]

    def read(self):
        return self.texts[-1]

    def apply(self, text, before):
        check_same(self.read(), before)
        self.texts.append(text)

    def takes(self, measurement):
        return [measurement in measurements(text) for text in self.texts]


def steps(policy, *, accepted=False, keep_old=False):
    wish = Wish(None, None, None, keep_old, 1.0, policy, accepted, None)
    return PolicySteps(wish, Journal(), lambda _: None)


def text_of(*listed):
    bodies = [", ".join(f'"{each.hex()}"' for each in values) for values in listed]
    tables = [
        f'[[identities]]\nname = "i{n}"\nmr_enclave = [{body}]  # {n}\n'
        for n, body in enumerate(bodies)
    ]
    return "version = 2\n" + "".join(tables)


policies = st.lists(
    st.lists(st.sampled_from([OLD, NEW, THIRD]), min_size=1, max_size=3, unique=True),
    min_size=1,
    max_size=3,
).filter(lambda listed: any(OLD in each for each in listed))


@settings(deadline=None)  # a loaded machine is no failure
@given(policies, st.booleans())
def test_at_every_moment_who_runs_is_taken(listed, keep_old):
    policy = InForce(text_of(*listed))
    change = Change(OLD, NEW, True, {})
    forth = steps(policy, keep_old=keep_old)
    forth.admit(change, Successor(NEW, "x"))
    assert all(policy.takes(OLD))
    admitted = len(policy.texts) - 1
    assert policy.takes(NEW)[-1]
    retired = forth.retire(change)
    assert all(policy.takes(NEW)[admitted:])
    assert retired is (not keep_old)
    assert policy.takes(OLD)[-1] is keep_old
    assert all(parse_policy(text) for text in policy.texts)


@settings(deadline=None)  # a loaded machine is no failure
@given(policies)
def test_after_the_way_back_the_policy_is_byte_for_byte_what_it_was(listed):
    before = text_of(*listed)
    policy = InForce(before)
    change = Change(OLD, NEW, True, {})
    forth = steps(policy)
    forth.admit(change, Successor(NEW, "x"))
    forth.withdraw(change)
    assert policy.read() == before
    assert all(policy.takes(OLD))


def test_who_goes_on_with_an_interrupted_upgrade_can_still_go_back():
    policy = InForce(text_of([OLD]))
    steps(policy).admit(Change(OLD, NEW, True, {}), Successor(NEW, "x"))
    again = Change(OLD, NEW, False, {})
    other = steps(policy)
    other.admit(again, Successor(NEW, ""))
    other.withdraw(again)
    assert policy.read() == text_of([OLD])


def test_what_others_changed_meanwhile_stays_on_the_way_back():
    policy = InForce(text_of([OLD]))
    change = Change(OLD, NEW, True, {})
    forth = steps(policy)
    forth.admit(change, Successor(NEW, "x"))
    policy.texts.append(policy.read() + "# and this\n")
    forth.withdraw(change)
    assert policy.read() == text_of([OLD]) + "# and this\n"


def test_a_policy_elsewhere_is_never_touched_and_its_owner_is_told():
    change = Change(OLD, NEW, True, {})
    with pytest.raises(UsageError) as said:
        steps(None).admit(change, Successor(NEW, "x"))
    assert OLD.hex() in str(said.value.hint)
    believed = steps(None, accepted=True)
    believed.admit(change, Successor(NEW, "x"))
    assert not believed.retire(change)
    believed.withdraw(change)


@pytest.mark.parametrize("svn", [4, 6])
def test_a_policy_by_signer_is_asked_whether_it_takes_the_new_one_and_not_changed(svn):
    text = (
        f'version = 2\n[[identities]]\nname = "s"\nmr_signer = "{THIRD.hex()}"\n'
        "isv_prod_id = 3\nminimum_isv_svn = 5\n"
    )
    policy = InForce(text)
    change = Change(None, NEW, True, {})
    forth = steps(policy)
    new = Successor(NEW, "x", Reference(NEW, THIRD, 3, svn, "x"))
    if svn < 5:
        with pytest.raises(ConfigError, match="by its signer"):
            forth.admit(change, new)
    else:
        forth.admit(change, new)
    assert not forth.retire(change)
    forth.withdraw(change)
    assert policy.texts == [text]


def test_a_policy_with_errors_is_not_put_in_force():
    policy = InForce(text_of([OLD]))
    with pytest.raises(ConfigError, match="would have errors"):
        put_in_force(policy, text_of([OLD]) + 'wrong = "key"\n', policy.read())
    assert len(policy.texts) == 1


def test_what_somebody_else_puts_in_force_meanwhile_is_not_lost():
    policy = InForce(text_of([OLD]))
    policy.texts.append(text_of([OLD, THIRD]))
    with pytest.raises(ConfigError, match="somebody else"):
        put_in_force(policy, text_of([OLD, NEW]), policy.texts[0])
    assert policy.read() == text_of([OLD, THIRD])


HARDWARE = Service(plan(find_target("generic")), None)


def start_of(history, runs, wanted=None, *, settled=True):
    found = tuple(revisions(deployment(runs), history))
    now = current(deployment(runs), found)
    planned = template(wanted or runs)
    return Start(found, now, {}, planned, planned != now.template, settled)


def changed(start, *, new=None, running=None, policy=None):
    successor = None if new is None else Successor(new, "x")
    wish = Wish(successor, running, None, False, 1.0, policy, False, None)
    return change_of(HARDWARE, wish, start, lambda _: None)[0]


UNMARKED = [replica_set("a", 1), replica_set("b", 2, NEW)]
KNOWN = {
    "both by their ReplicaSets, on the way back": (
        (start_of(HISTORY, "b", "a"), {}),
        Change(NEW, OLD, True, template("b")),
    ),
    "the new one as it is named": (
        (start_of(HISTORY, "b", "z"), {"new": THIRD}),
        Change(NEW, THIRD, True, template("b")),
    ),
    "the old one by the policy, which has no other": (
        (start_of(UNMARKED, "a", "z"), {"new": NEW, "policy": [[OLD]]}),
        Change(OLD, NEW, True, template("a")),
    ),
    "the old one as it is named": (
        (start_of(UNMARKED, "a", "z"), {"new": NEW, "running": THIRD}),
        Change(THIRD, NEW, True, template("a")),
    ),
    "the old one by nothing, since the policy goes by its signer": (
        (start_of(UNMARKED, "a", "z"), {"new": NEW, "policy": []}),
        Change(None, NEW, True, template("a")),
    ),
    "nothing to do": (
        (start_of([replica_set("b", 2, NEW)], "b"), {}),
        Change(None, NEW, False, None),
    ),
    "begun by an earlier run": (
        (start_of([replica_set("a", 1, OLD), *UNMARKED[1:]], "b", settled=False), {}),
        Change(OLD, NEW, False, template("a")),
    ),
}


@pytest.mark.parametrize(("given_", "change"), KNOWN.values(), ids=KNOWN)
def test_both_enclaves_are_known_by_what_is_on_record(given_, change):
    start, more = given_
    if "policy" in more:
        more = {**more, "policy": InForce(text_of(*more["policy"]))}
    assert changed(start, **more) == change


UNKNOWN = {
    "the new one": (start_of(HISTORY, "b", "z"), {}, "--sigstruct IMAGE"),
    "the old one": (start_of(UNMARKED, "a", "z"), {"new": NEW}, "--running-measurement"),
    "which of two the old one is": (
        start_of(UNMARKED, "a", "z"),
        {"new": NEW, "policy": [[OLD, THIRD]]},
        "--running-measurement",
    ),
    "an image under the tag of another": (start_of(HISTORY, "b"), {"new": THIRD}, "another tag"),
}


@pytest.mark.parametrize(("start", "more", "hint"), UNKNOWN.values(), ids=UNKNOWN)
def test_what_is_not_known_is_asked_for_before_anything_changes(start, more, hint):
    if "policy" in more:
        more = {**more, "policy": InForce(text_of(*more["policy"]))}
    with pytest.raises(UsageError) as said:
        changed(start, **more)
    assert hint in str(said.value.hint)


def test_the_pod_that_measures_is_like_the_server_but_serves_nobody():
    held = rendered(Service(plan(), None))["spec"]["template"]
    server = held["spec"]["containers"][0]
    pod = measuring_pod(held, "digits-measure", "1f")
    (measuring,) = pod["spec"]["containers"]
    arguments = server["args"]
    assert measuring["args"][:2] == ["lab", "measure"]
    assert measuring["args"][5:] == arguments[arguments.index("--") + 1 :]
    assert (measuring["image"], measuring["command"]) == (server["image"], server["command"])
    assert measuring["securityContext"] == server["securityContext"]
    assert pod["spec"]["securityContext"] == held["spec"]["securityContext"]
    assert not {"ports", "readinessProbe", "lifecycle"} & set(measuring)
    selected = held["metadata"]["labels"].items()
    assert not selected <= pod["metadata"]["labels"].items()


def test_servers_of_ours_look_for_models_only_as_they_start():
    stock = find_target("generic")
    assert not polls(plan())
    assert not polls(plan(stock, kind="sealserve"))
    assert polls(plan(stock, kind="tensorflow-serving"))


def test_models_changed_if_any_server_is_older():
    def server(started):
        state = {"running": {"startedAt": started}}
        return {"status": {"containerStatuses": [{"name": "server", "state": state}]}}

    pods = [server("2026-05-01T00:00:10Z"), server("2026-05-01T00:00:30Z"), {}]
    second = int(datetime(2026, 5, 1, tzinfo=UTC).timestamp())
    assert changed_since([second + 5, second + 20], pods)
    assert not changed_since([second + 5], pods)
    assert not changed_since([], pods)
    assert not changed_since([second], [])
