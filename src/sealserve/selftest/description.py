"""The service that a self-test describes: one small model, one-way TLS, all on this machine."""

from __future__ import annotations

import re
from typing import Final

from sealserve.deploy.description.model import GRAMINE_VERSIONS, Description
from sealserve.deploy.finding import command_output
from sealserve.selftest.policy import SECRET

MODEL: Final = "digits"
DOMAIN: Final = "selftest.example.com"
CA: Final = "key-service-ca.pem"
SSL_CFG: Final = "ssl.cfg"
BASE_PATH: Final = f"models/{MODEL}"
THREADS: Final = 2
_VERSION: Final = re.compile(r"[0-9]{1,4}\.[0-9]{1,4}")


def describe_service(*, port: int, key_service_port: int) -> Description:
    """The description, for the Gramine that is installed here."""
    return Description.model_validate(
        {
            "cluster": "selftest",
            "domain": DOMAIN,
            "models": [{"name": MODEL, "base_path": BASE_PATH, "key": SECRET, "size": "1M"}],
            "server": {"kind": "sealserve", "port": port, "threads": THREADS},
            "tls": {"mode": "oneway", "config": SSL_CFG},
            "key_service": {"address": f"localhost:{key_service_port}", "ca": CA},
            "gramine": {"version": installed_gramine()},
        }
    )


def installed_gramine() -> str:
    """The version that is installed here, the newest where none is, or one that is not known."""
    told = _VERSION.search(command_output("gramine-sgx", "--version") or "")
    newest = GRAMINE_VERSIONS[-1]
    return told[0] if told and told[0] in GRAMINE_VERSIONS else newest
