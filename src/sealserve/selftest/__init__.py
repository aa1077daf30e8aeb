"""What nobody can prove without the hardware, tried in numbered steps; or the same in the lab.

    1. source        there is hardware that gives evidence
    2. quote         it quotes the 64 bytes that we chose, as we chose them
    3. certificate   an RA-TLS certificate is made, whose quotes bind its key
    4. verification  quotes verify up to the trust root, with collateral from where it is configured
    5. measurement   what was measured is what was predicted
    6. policy        a policy made from the measurement accepts it, and one of another denies it
    7. release       a key service on this machine releases the key to the server, and records it
    8. serving       the server opens its sealed model and sealed ssl.cfg, and is ready
    9. prediction    a prediction, over TLS that ends in the server, is right

What is measured runs on the hardware: the enclave or the guest. The owner's side, the key service
and the client, runs beside it, so that one machine is enough. With the lab every step is the same
code, and only the source of evidence differs: what passes there says nothing of any hardware.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sealserve.deploy.description.model import Description
from sealserve.selftest.evidence import evidence_tasks
from sealserve.selftest.facts import platform_facts
from sealserve.selftest.platform import Platform
from sealserve.selftest.report import Report, Step
from sealserve.selftest.running import run_tasks
from sealserve.selftest.service import Owner, service_tasks

__all__ = ["Platform", "Report", "Step", "play"]


def play(
    folder: Path, platform: Platform, description: Description, tell: Callable[[Step], None]
) -> Report:
    """All steps in `folder`, which must be empty; nothing of it runs on afterwards.

    `description` is of the service that is tried. `tell` hears of each step as it ends. What fails
    is in the report, and raised nowhere.
    """
    owner = Owner(folder, platform, description)
    report = Report.begin(platform)
    try:
        found, tasks = evidence_tasks(platform, owner.site)
        steps = run_tasks([*tasks, *service_tasks(owner, found)], tell)
    finally:
        owner.close()
        platform.close()
    return report.ended(steps, platform_facts(found))
