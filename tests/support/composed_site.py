"""A description with sealed files, a lab, and the folder of a key service that knows its server."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import ssl
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner

from sealserve.cli import cli
from sealserve.cli.output import Run

SEALSERVE = (sys.executable, "-m", "sealserve")
DOMAIN = "grpc.example.com"
SECONDS = 110


@dataclass(frozen=True)
class ComposedSite:
    """`platform` has the description and the lab, `owner` the key service and all that is plain."""

    folder: Path

    @property
    def platform(self) -> Path:
        return self.folder / "platform"

    @property
    def owner(self) -> Path:
        return self.folder / "owner"

    @property
    def description(self) -> Path:
        return self.platform / "sealserve.toml"

    @property
    def state(self) -> Path:
        return self.platform / ".sealserve.up"

    def run(self, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
        """A command in a process of its own, in the platform's folder."""
        return subprocess.run(
            [*SEALSERVE, *words],
            cwd=self.platform,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            **options,  # type: ignore[call-overload]
        )

    def predict(self, target: str) -> subprocess.CompletedProcess[str]:
        words = ["predict", "--target", target, "--server-name", DOMAIN, "--model", "digits"]
        ca = str(self.owner / "ssl_configure" / "server" / "cert.pem")
        return self.run(*words, "--ca", ca, "--random", "1,8,8,1")

    def redescribe(self, before: str, after: str) -> None:
        text = self.description.read_text()
        assert before in text
        self.description.write_text(text.replace(before, after))


def here(folder: Path, *words: str) -> str:
    """A command in this process, which must succeed; its standard output."""
    with contextlib.chdir(folder):
        ended = CliRunner().invoke(cli, words, obj=Run(), standalone_mode=False)
    if ended.exception is not None:
        raise ended.exception
    return ended.stdout


def make_site(folder: Path, *, keys: str, listen: str) -> ComposedSite:
    """All but the policy; the key service listens at `listen` and is asked at `keys`."""
    site = ComposedSite(folder)
    site.platform.mkdir()
    site.owner.mkdir()
    here(site.platform, "lab", "init", "lab")
    here(site.owner, "model", "digits", "--out", "plain/models/digits")
    here(site.owner, "tls", "oneway", DOMAIN)
    here(site.owner, "tls", "oneway", keys.partition(":")[0], "--out", "tls")
    here(site.owner, "key", "new", "wrap.key")
    for source, target in (("plain/models", "models"), ("ssl_configure/ssl.cfg", "ssl.cfg")):
        words = ("seal", "-w", "../owner/wrap.key", "-i", f"../owner/{source}", "-o", target)
        here(site.platform, *words)
    shutil.copy(site.owner / "tls" / "server" / "cert.pem", site.platform / "key-service-ca.pem")
    shutil.copy(site.platform / "lab" / "root_ca.pem", site.owner)
    shutil.copytree(site.platform / "lab" / "collateral", site.owner / "collateral")
    words = ("deploy", "init", "--yes", "--kind", "sealserve", "--key-service", keys)
    here(site.platform, *words, "--size", "1M")
    site.redescribe("threads = 4", "threads = 1")
    (site.owner / "keyservice.toml").write_text(
        f'listen = "{listen}"\ndatabase = "keyservice.db"\nstate = "state"\n'
        '[wrapping]\nkind = "file"\nkey = "kek"\n'
        '[tls]\ncertificate = "tls/server/cert.pem"\nprivate_key = "tls/server/key.pem"\n'
        '[attestation]\ntrust_root = "root_ca.pem"\ncollateral_dir = "collateral"\n'
    )
    return site


def admit(site: ComposedSite, mr_enclave: str) -> None:
    """Make the key service, with a policy that releases the key to this enclave alone."""
    der = ssl.PEM_cert_to_DER_cert((site.owner / "root_ca.pem").read_text())
    (site.owner / "policy.toml").write_text(
        f'version = 2\ntrust_root = "{hashlib.sha256(der).hexdigest()}"\n'
        f'[[identities]]\nname = "ours"\nmr_enclave = ["{mr_enclave}"]\n'
        '[[rules]]\nname = "digits"\nidentities = ["ours"]\nsecret = "digits"\n'
    )
    config = ("--config", "keyservice.toml")
    here(site.owner, "keyservice", "init", *config, "--policy", "policy.toml")
    here(site.owner, "secret", "add", "digits", "--from", "wrap.key", *config)


def measured(site: ComposedSite) -> str:
    """What the lab measures of the description's server, on this very machine."""
    words = here(site.platform, "compose", "arguments").split()
    facts = json.loads(here(site.platform, "lab", "measure", "lab", "--json", "--", *words))
    return str(facts["mr_enclave"])
