"""The REST faces beside their own OpenAPI description, as Schemathesis finds cases for it."""

from __future__ import annotations

import re
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from sealserve.models.digits import export_digits
from sealserve.serving.faces.openapi import PATH, description
from served_site import PATIENCE, Site, served

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("default")]

# Half the cases ask for the model that is there; of the others, names are made up.
CONFIGURATION = """
generation.max-examples = 40
generation.deterministic = true
request-timeout = 20.0
parameters = { %s }

[checks.not_a_server_error]
expected-statuses = ["2xx", "4xx", "501"]
"""
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_schema_conformance"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("described")
    export_digits(folder / "models" / "digits")
    with served(folder, "--model_name=digits", "--model_base_path=models/digits") as site:
        yield site


@pytest.mark.parametrize("names", ["", 'name = "digits", version = "1"'], ids=["any", "digits"])
def test_every_case_that_the_description_allows_is_answered_as_it_says(
    names: str, site: Site
) -> None:
    configuration = site.folder / "schemathesis.toml"
    configuration.write_text(CONFIGURATION % names)
    tls = site.folder / "tls"
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "--no-color"),
        *("--config-file", str(configuration), "run", f"https://{site.rest}{PATH}"),
        *("--tls-verify", str(tls / "ca_cert.pem"), "--checks", CHECKS),
        *("--request-cert", str(tls / "client/cert.pem")),
        *("--request-cert-key", str(tls / "client/key.pem")),
        *("--phases", "examples,coverage,fuzzing", "--warnings", "off"),
    ]
    done = subprocess.run(
        command, cwd=site.folder, capture_output=True, text=True, timeout=2 * PATIENCE
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert passed is not None and passed[1] == passed[2] and int(passed[1]) > 1000


def test_the_description_that_is_served_is_the_one_in_the_package(site: Site) -> None:
    tls = site.folder / "tls"
    answer = httpx.get(f"https://{site.rest}{PATH}", verify=_context(tls))
    assert answer.json() == description()


def _context(tls: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls / "ca_cert.pem")
    context.load_cert_chain(tls / "client/cert.pem", tls / "client/key.pem")
    return context
