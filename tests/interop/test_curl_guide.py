"""The curl commands of TensorFlow Serving's REST guide, as they stand there but for TLS.

What TLS takes (https, the authority, the client's certificate) comes from curl's configuration
file; a command's words after the port are the guide's.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from exported_models import export_half_plus
from served_site import PATIENCE, Site, served

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("default")]

CONFIGURATION = """
cacert = "tls/ca_cert.pem"
cert = "tls/client/cert.pem"
key = "tls/client/key.pem"
silent
"""
REGRESS = (
    """curl -d '{"signature_name": "tensorflow/serving/regress", """
    """"examples": [{"x": 1.0}, {"x": 2.0}]}' """
    """-X POST https://HOST/v1/models/half_plus_three:regress"""
)
COMMANDS: dict[str, tuple[str, Any]] = {
    "predict, half plus two": (
        """curl -d '{"instances": [1.0, 2.0, 5.0]}' """
        """-X POST https://HOST/v1/models/half_plus_two:predict""",
        {"predictions": [2.5, 3.0, 4.5]},
    ),
    "predict, half plus three": (
        """curl -d '{"instances": [1.0,2.0,5.0]}' """
        """-X POST https://HOST/v1/models/half_plus_three:predict""",
        {"predictions": [3.5, 4.0, 5.5]},
    ),
    "status": (
        "curl https://HOST/v1/models/half_plus_three",
        {
            "model_version_status": [
                {
                    "version": "123",
                    "state": "AVAILABLE",
                    "status": {"error_code": "OK", "error_message": ""},
                }
            ]
        },
    ),
    "an unknown model": (
        """curl -d '{"instances": [1.0,5.0]}' -X POST https://HOST/v1/models/half:predict""",
        {"error": "Servable not found for request: Latest(half)"},
    ),
}


@pytest.fixture(scope="module", params=["openvino", "tensorflow"])
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    tf = pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
    folder = tmp_path_factory.mktemp("guide")
    for name, addend in (("half_plus_two", 2.0), ("half_plus_three", 3.0)):
        (folder / name).mkdir()
        export_half_plus(tf, folder / name / "123", addend)
    (folder / "models.config").write_text(
        'model_config_list { config { name: "half_plus_two" base_path: "half_plus_two" }'
        ' config { name: "half_plus_three" base_path: "half_plus_three" } }'
    )
    (folder / "curlrc").write_text(CONFIGURATION)
    flags = ("--model_config_file=models.config", f"--engine={request.param}")
    with served(folder, *flags) as site:
        yield site


def curl(command: str, site: Site) -> Any:
    assert shutil.which("curl"), "curl is missing"
    name, *words = shlex.split(command.replace("HOST", site.rest))
    done = subprocess.run(
        [name, "--config", "curlrc", *words],
        cwd=site.folder,
        check=True,
        capture_output=True,
        timeout=PATIENCE,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize(("command", "answer"), COMMANDS.values(), ids=COMMANDS.keys())
def test_the_guides_command_is_answered_as_the_guide_says(
    command: str, answer: Any, site: Site
) -> None:
    assert curl(command, site) == answer


def test_the_guides_regression_is_answered_where_the_engine_reads_examples(
    site: Site, request: pytest.FixtureRequest
) -> None:
    answer = curl(REGRESS, site)
    if request.node.callspec.params["site"] == "tensorflow":
        assert answer == {"results": [3.5, 4.0]}
    else:
        assert "--engine=tensorflow" in answer["error"]
