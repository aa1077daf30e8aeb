"""The whole of SealServe on one machine, step by step.

`play` is the director: it sets the stage, tells the story, and says whether all of it held. The
commands are the real ones and so is every part but the hardware, which the lab stands in for.
"""

from __future__ import annotations

from pathlib import Path

from sealserve.demo.asking import ask, look_at_the_wire, save_image
from sealserve.demo.logged import verify_log
from sealserve.demo.narrator import Narrator
from sealserve.demo.preparing import make_lab, make_model, make_tls, seal
from sealserve.demo.refusals import refuse
from sealserve.demo.running import start_edge, start_key_service, start_replicas
from sealserve.demo.stage import Stage
from sealserve.endorsements.collateral import Tee


def play(folder: Path, narrator: Narrator, *, mutual: bool, tee: Tee = "SGX") -> None:
    """All ten steps in `folder`, which must be empty; nothing of it runs on afterwards.

    With `tee="TDX"` the servers are trust domains in place of enclaves.

    Raises SealServeError where a step cannot be made at all; what does not hold is the narrator's
    to tell.
    """
    stage = Stage(folder, narrator, tee)
    try:
        pccs = make_lab(stage)
        make_model(stage)
        make_tls(stage, mutual=mutual)
        seal(stage)
        key_service_port = start_key_service(stage, pccs)
        replicas = start_replicas(stage, key_service_port)
        edge = start_edge(stage, replicas)
        save_image(stage)
        look_at_the_wire(stage, edge, mutual=mutual)
        ask(stage, edge, replicas, mutual=mutual)
        refuse(stage, edge, key_service_port, mutual=mutual)
        verify_log(stage)
    finally:
        stage.close()
