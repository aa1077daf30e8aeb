"""Steps 1 to 4 of the demo: a simulated platform, a model, its TLS, and both sealed.

Every step is a function that takes the stage. Nothing here decides: a command does, and a check
says whether it did what it must.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sealserve.demo.stage import CLIENT, DOMAIN, MODEL, Stage
from sealserve.endorsements.collateral import Collateral
from sealserve.errors import VerificationError
from sealserve.lab.folder import LabFolder
from sealserve.sealing import MAGIC
from sealserve.verifier import verify
from sealserve.verifier.roots import INTEL_SGX_ROOT_CA


def make_lab(stage: Stage) -> str:
    """1: the simulated world, its collateral service and its quoting enclave; the PCCS's URL."""
    stage.tell.step(
        f"The lab: a small Intel-shaped world stands in for {stage.tee} hardware (SIMULATED)"
    )
    stage.do(["lab", "init", "lab"], folder=stage.platform)
    pccs = stage.start(
        "pccs", ["lab", "pccs", "lab", "--listen", "127.0.0.1:0"], folder=stage.platform
    )
    url = pccs.wait_ready(r"listens at (\S+)").group(1)
    stage.start("qe", ["lab", "qe", "lab"], folder=stage.platform).wait_ready(
        r"listens at \S+|ready"
    )
    made = sorted(file.name for file in (stage.platform / "lab").iterdir() if file.is_file())
    stage.tell.say(f"collateral service at {url}; in platform/lab: {', '.join(made)}")
    said = ["--mr-enclave", "00" * 32] if stage.tee == "SGX" else ["--mr-td", "00" * 48]
    sample = ["lab", "quote", "lab", *said, "--out", "sample.quote"]
    stage.do(sample, folder=stage.platform, quiet=True)
    own = (stage.platform / "lab" / "root_ca.pem").read_bytes()
    stage.tell.check(
        _holds(stage, own) and not _holds(stage, INTEL_SGX_ROOT_CA),
        "a quote of the lab verifies under the lab's own root CA, and not under Intel's",
    )
    return url


def _holds(stage: Stage, trust_root: bytes) -> bool:
    """Whether the lab's sample quote verifies under this root."""
    folder = LabFolder(stage.platform / "lab").collateral_of(stage.tee, "standard")
    collateral = Collateral.from_files({file.name: file.read_bytes() for file in folder.iterdir()})
    quote = (stage.platform / "sample.quote").read_bytes()
    try:
        verify(quote, collateral, trust_root=trust_root, now=datetime.now(UTC))
    except VerificationError:
        return False
    return True


def make_model(stage: Stage) -> None:
    """2: the digit classifier as a SavedModel."""
    stage.tell.step("The model: a classifier of handwritten digits, as a TensorFlow SavedModel")
    stage.do(["model", "digits", "--out", f"plain/models/{MODEL}"], folder=stage.owner)
    shown = stage.do(["model", "inspect", f"plain/models/{MODEL}", "--json"], folder=stage.owner)
    file = stage.owner / "plain" / "models" / MODEL / "1" / "saved_model.pb"
    stage.tell.say(f"{stage.path(file)}: {file.stat().st_size} bytes")
    stage.tell.check(
        "serving_default" in shown, "its signature serving_default takes `input`, gives `predict`"
    )


def make_tls(stage: Stage, *, mutual: bool) -> None:
    """3: the service's certificates and ssl.cfg; the client gets its part."""
    kind = "mutual TLS" if mutual else "one-way TLS"
    stage.tell.step(f"TLS: certificates and ssl.cfg of the service ({kind})")
    words = ["tls", "twoway", DOMAIN, CLIENT] if mutual else ["tls", "oneway", DOMAIN]
    stage.do(words, folder=stage.owner)
    made = stage.owner / "ssl_configure"
    wanted = ["ca_cert.pem", "client/cert.pem", "client/key.pem"] if mutual else ["server/cert.pem"]
    for name in wanted:
        target = stage.client / name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes((made / name).read_bytes())
        target.chmod(0o600)
    stage.tell.say(f"the client is given {', '.join(wanted)}")
    verify = "client_verify: true" in (made / "ssl.cfg").read_text()
    stage.tell.check(verify == mutual, f"ssl.cfg says client_verify: {str(mutual).lower()}")


def seal(stage: Stage) -> None:
    """4: model and ssl.cfg become protected files on the platform."""
    stage.tell.step("Seal: model and ssl.cfg become Gramine protected files")
    stage.do(["key", "new", "wrap.key"], folder=stage.owner)
    (stage.owner / "plain" / "monitoring.cfg").write_text("prometheus_config { enable: true }\n")
    for source, target in (
        ("plain/models", "models"),
        ("ssl_configure/ssl.cfg", "ssl.cfg"),
        ("plain/monitoring.cfg", "monitoring.cfg"),
    ):
        stage.do(
            ["seal", "-w", "../owner/wrap.key", "-i", f"../owner/{source}", "-o", target],
            folder=stage.platform,
        )
    sealed = [
        stage.platform / "models" / MODEL / "1" / "saved_model.pb",
        stage.platform / "ssl.cfg",
    ]
    for file in sealed:
        stage.tell.say(f"{stage.path(file)}: {file.stat().st_size} bytes")
        stage.tell.check(
            file.read_bytes().startswith(MAGIC), f"{stage.path(file)} is a protected file"
        )
