"""Recipes: the same request gives the same bytes, and each fact and each gap in it is told."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from sealserve.deploy.images.families import FAMILIES, find_family
from sealserve.deploy.images.recipe import Request, recipe_arguments, render_recipe
from sealserve.deploy.images.roles import ROLES, USER_ID, find_role
from sealserve.errors import UsageError

GOLDEN = Path(__file__).parents[3] / "golden" / "images"
DIGEST = "sha256:" + 64 * "0"
BASE = {"BASE": f"debian@{DIGEST}"}
UNSIGNED = "sealserve-tensorflow:0.1.0-unsigned"
KINDS = {
    "keyservice": {},
    "client": {},
    "server": {},
    "server-in-gramine": {"gramine": True},
    "tensorflow": {},
    "tensorflow-signed": {"unsigned": UNSIGNED},
    "proxy": {},
}
EVERY = [(family, kind) for family in FAMILIES for kind in KINDS]


def request(family: str, kind: str, **more: object) -> Request:
    role = find_role(kind.partition("-")[0])
    return Request(role, find_family(family), **{**KINDS[kind], **more})  # type: ignore[arg-type]


def rendered(family: str, kind: str) -> str:
    return render_recipe(request(family, kind), complete=False)


@pytest.mark.parametrize(("family", "kind"), EVERY)
def test_a_recipe_is_the_reviewed_one(family: str, kind: str) -> None:
    """With REWRITE_GOLDEN=1 the files are written anew, for `git diff` to show."""
    file = GOLDEN / family / f"{kind}.containerfile"
    if os.environ.get("REWRITE_GOLDEN"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(rendered(family, kind))
    assert rendered(family, kind) == file.read_text()


@pytest.mark.parametrize(("family", "kind"), EVERY)
def test_a_recipe_keeps_to_what_images_must_be(family: str, kind: str) -> None:
    text = rendered(family, kind)
    assert "@" not in re.sub(r"@sha256:", "", re.sub(r"^#.*$", "", text, flags=re.MULTILINE))
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == [f"{USER_ID}:{USER_ID}"]
    assert not re.search(
        r"^ADD |:latest|trusted=yes|--nogpgcheck|curl|wget|sudo", text, re.MULTILINE
    )
    for line in re.findall(r"^deb .*|\"deb .*", text, re.MULTILINE):
        assert "signed-by=" in line
    for packages in re.findall(r"(?:apt-get|dnf) install .*?(?: && |\Z)", text, re.DOTALL):
        wanted = re.findall(r'"([^"]+)"', packages)
        assert wanted and all(re.search(r"\*$", each) for each in wanted), packages
    assert text.count("apt-get update") == 0 or "/var/lib/apt/lists/*" in text


@pytest.mark.parametrize(("family", "kind"), EVERY)
def test_every_argument_says_where_its_value_is_from(family: str, kind: str) -> None:
    text = rendered(family, kind)
    for argument in recipe_arguments(request(family, kind)):
        before, found, _ = text.partition(f"\nARG {argument.name}")
        assert found and before.rsplit("\n", 1)[-1].startswith("# ")
        default = f'ARG {argument.name}="{argument.default}"'
        assert (default in text) == (argument.default is not None)


def test_an_argument_that_nobody_can_know_here_is_asked_for_with_where_to_get_it() -> None:
    with pytest.raises(UsageError, match="BASE is not given") as told:
        render_recipe(request("debian", "proxy"))
    assert "skopeo inspect" in str(told.value.hint)
    with pytest.raises(UsageError, match="TFSERVING is not given"):
        render_recipe(request("debian", "tensorflow", arguments=BASE))
    with pytest.raises(UsageError, match="PYTHON_VERSION is not given"):
        render_recipe(request("anolis", "server", arguments=BASE))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"BASE": "debian"}, "BASE: found 'debian', expected IMAGE@sha256:DIGEST"),
        ({"BASE": "debian:bookworm-slim"}, "expected IMAGE@sha256:DIGEST"),
        ({"BASE": f"debian@{DIGEST[:-1]}"}, "expected IMAGE@sha256:DIGEST"),
        ({"BASE": f"debian@{DIGEST}\nRUN x"}, "expected IMAGE@sha256:DIGEST"),
        (
            {**BASE, "NGINX_VERSION": "1.22; x"},
            "NGINX_VERSION: found '1.22; x', expected a version",
        ),
        ({**BASE, "NGINX_VERSION": "$(x)"}, "expected a version"),
        ({**BASE, "NGINX_VERSION": ""}, "expected a version"),
        ({**BASE, "PYTHON": "3.11"}, "the recipe has no argument 'PYTHON'"),
    ],
)
def test_a_wrong_argument_has_one_clear_message(given: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError) as told:
        render_recipe(request("debian", "proxy", arguments=given))
    assert message in told.value.message
    assert told.value.hint


def test_what_is_no_role_family_or_enclave_is_refused_with_what_there_is() -> None:
    with pytest.raises(UsageError, match="no image has the role 'redis'") as told:
        find_role("redis")
    assert told.value.hint == f"known: {', '.join(ROLES)}"
    with pytest.raises(UsageError, match="no images are made on 'alpine'"):
        find_family("alpine")
    with pytest.raises(UsageError, match="the image proxy has nothing that runs in an enclave"):
        Request(ROLES["proxy"], FAMILIES["debian"], gramine=True)
    with pytest.raises(UsageError, match="the label x cannot be"):
        Request(ROLES["proxy"], FAMILIES["debian"], labels={"x": 'a"\nRUN x'})
    with pytest.raises(UsageError, match="is no name of an image"):
        render_recipe(request("debian", "tensorflow-signed", unsigned="a\nRUN x"))
