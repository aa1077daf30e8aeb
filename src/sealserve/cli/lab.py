"""`sealserve lab`: the simulated platform and its services; enclaves are in `cli.lab_enclave`."""

from __future__ import annotations

import json
import logging
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
from cryptography.hazmat.primitives import hashes

from sealserve.cli.lab_capacity import capacity
from sealserve.cli.lab_enclave import enclave, measure, selfquote
from sealserve.cli.lab_quote import DIRECTORY, quote
from sealserve.cli.lab_simulate import simulate
from sealserve.cli.lab_vectors import check_vectors, vectors
from sealserve.cli.output import json_option, note, print_json, print_table
from sealserve.errors import UsageError
from sealserve.hosts import parse_listen_address
from sealserve.lab.faults import FAULTS_BY_NAME, parse_faults
from sealserve.lab.folder import LabFolder
from sealserve.lab.identity import create_signing_key, read_mr_signer
from sealserve.lab.quoting import quoting_service
from sealserve.lab.world import FMSPC, World


@click.group()
def lab() -> None:
    """A SIMULATED platform, to try everything without SGX hardware.

    It stands in for the hardware and for Intel only: certificates, collateral, a quoting enclave
    that measures and launches enclaves as processes. Everything else that you run is the real
    thing. Its quotes verify under DIR/root_ca.pem and under no other trust root.

    \b
    Example:
      sealserve lab init lab
      sealserve lab qe lab &
      sealserve lab enclave lab -- lab selfquote --evidence_source=lab:lab/qe.sock
    """


@lab.command()
@DIRECTORY
@click.option(
    "--with",
    "faults",
    multiple=True,
    type=click.Choice(list(FAULTS_BY_NAME)),
    help="Make the world wrong in this way; may be given again.",
)
@json_option
def init(directory: Path, faults: Sequence[str], as_json: bool) -> None:
    """Make a SIMULATED platform in DIR: authorities, PCK certificate, collateral, keys.

    \b
    Example:
      sealserve lab init lab
      sealserve lab init broken --with revoked-pck --with outdated-tcb
    """
    world = World.create(now=datetime.now(UTC), faults=parse_faults(faults))
    folder = LabFolder(directory)
    world.save(directory)
    create_signing_key(folder.enclave_signing_key)
    _show(folder, world, as_json=as_json)


@lab.command()
@DIRECTORY
@json_option
def renew(directory: Path, as_json: bool) -> None:
    """Issue the SIMULATED collateral of DIR again, for thirty more days.

    \b
    Example:
      sealserve lab renew lab
    """
    world = World.load(directory).renew(now=datetime.now(UTC))
    world.publish(directory)
    _show(LabFolder(directory), world, as_json=as_json)


def _show(folder: LabFolder, world: World, *, as_json: bool) -> None:
    certificate = world.authorities.root_ca.certificate
    facts = {
        "simulated": True,
        "trust_root": str(folder.root_ca),
        "trust_root_sha256": certificate.fingerprint(hashes.SHA256()).hex(),
        "fmspc": FMSPC.hex(),
        "mr_signer": read_mr_signer(folder.enclave_signing_key).hex(),
        "collateral": str(folder.collateral),
        "tdx_collateral": str(folder.collateral_of("TDX", "standard")),
        "collateral_next_update": json.loads(world.collateral().tcb_info)["tcbInfo"]["nextUpdate"],
        "faults": world.faults.names,
    }
    if as_json:
        print_json(facts)
    else:
        print_table("SIMULATED platform", list(facts.items()))


@lab.command()
@DIRECTORY
@click.option(
    "--run",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="FOLDER",
    help="Have socket and lock in FOLDER, and only read DIR.",
)
def qe(directory: Path, run: Path | None) -> None:
    """Run the SIMULATED quoting enclave of DIR, on the Unix socket DIR/qe.sock.

    It launches enclaves for `sealserve lab enclave`, measuring them first, and gives quotes to
    these processes and nobody else. When it stops, they are ended.

    \b
    Example:
      sealserve lab qe lab
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    stop = threading.Event()
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with quoting_service(LabFolder(directory, run)):
        stop.wait()


@lab.command()
@DIRECTORY
@click.option(
    "--listen",
    default="127.0.0.1:8081",
    show_default=True,
    metavar="HOST:PORT",
    help="Where to listen; port 0 takes a free one.",
)
def pccs(directory: Path, listen: str) -> None:
    """Serve the SIMULATED collateral of DIR as a PCCS does, over HTTP.

    Collateral is public and signed; the service holds no key.

    \b
    Example:
      sealserve lab pccs lab --listen 127.0.0.1:8081
      curl 'http://127.0.0.1:8081/sgx/certification/v4/qe/identity'
    """
    import uvicorn  # only here: enclaves load this module, too, and need no HTTP server

    from sealserve.lab.pccs import BASE, create_app

    folder = LabFolder(directory)
    folder.read_issued()  # now, rather than at the first request
    with _bind(listen) as listener:
        host, port = listener.getsockname()[:2]
        note(f"SIMULATED PCCS listens at http://{host}:{port}{BASE}")
        config = uvicorn.Config(create_app(folder), log_level="warning", server_header=False)
        # uvicorn stops at a signal, and then sends it once more to whoever had it before.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        uvicorn.Server(config).run(sockets=[listener])


def _bind(listen: str) -> socket.socket:
    address = parse_listen_address(listen)
    try:
        return socket.create_server((address.host, address.port))
    except OSError as error:
        raise UsageError(f"cannot listen at {listen}: {error.strerror}") from error


for command in (
    enclave, measure, selfquote, quote, vectors, check_vectors, capacity, simulate,
):  # fmt: skip
    lab.add_command(command)
