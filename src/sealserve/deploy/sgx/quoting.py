"""What makes and verifies quotes besides the processor: AESM, Intel's configuration, the clock.

Sources: Gramine 1.9, `pal/src/host/linux-sgx/host_platform.c` (AESM's two sockets); systemd,
timedatectl(1) (`NTPSynchronized`), systemd-timesyncd.service(8) (the file that it touches); the
configuration's faults are `deploy.clouds.qcnl_lint`'s.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

from sealserve.deploy.clouds.machine import lint_qcnl_file, qcnl_path
from sealserve.deploy.finding import Finding, command_output, hardware
from sealserve.deploy.sgx.machine import Machine

CONNECT_SECONDS = 1.0
LARGEST_SKEW = 300.0  # seconds: collateral is dated, and just issued when it comes fresh

_AESM = "var/run/aesmd/aesm.socket"
_ABSTRACT = "\0sgx_aesm_socket_base"
_SYNCHRONIZED = "run/systemd/timesync/synchronized"


def aesm(machine: Machine) -> Finding:
    """Whether the service that makes quotes answers."""
    addresses = [str(machine.path(_AESM)), *([_ABSTRACT] if machine.is_here else [])]
    good = any(_answers(address) for address in addresses)
    if machine.exists(_AESM):
        mend = "systemctl restart aesmd; its log says more: journalctl -u aesmd"
    elif machine.container:
        mend = "give the container the folder /var/run/aesmd of the host, where aesmd runs"
    else:
        mend = (
            "it makes the quotes: packages sgx-aesm-service, libsgx-aesm-ecdsa-plugin, "
            "libsgx-aesm-quote-ex-plugin, libsgx-dcap-default-qpl"
        )
    return hardware(
        "AESM",
        good,
        "answers" if good else f"does not answer on /{_AESM}",
        expected=f"aesmd answers on /{_AESM}",
        mend=mend,
    )


def _answers(address: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(CONNECT_SECONDS)
        try:
            probe.connect(address)
        except OSError:
            return False
        return True


def provider(machine: Machine) -> Iterator[Finding]:
    """The faults of the quote provider's configuration, by which PCK certificates are asked for."""
    name, expected = "quote provider's configuration", "no fault, with TLS verified"
    path = qcnl_path(machine.root)
    try:
        faults = lint_qcnl_file(path)
    except OSError as error:
        yield hardware(
            name,
            False,
            f"{path}: {error.strerror}",
            expected=expected,
            mend="sealserve cloud qcnl renders it; a container with aesmd outside needs none",
            needed=machine.container is None,
        )
        return
    for fault in faults:
        found = f"{fault.found}: {fault.consequence}"
        yield hardware(
            name, False, found, expected=expected, mend=fault.cure, needed=fault.is_error
        )
    if not faults:
        yield hardware(name, True, f"{path}: verifies TLS", expected=expected, mend="")


def clock(machine: Machine, skew: float | None) -> Finding:
    """Whether the time is right: what is verified by it is dated.

    `skew` is in seconds, how far this machine is ahead of a service that told its time.
    """
    synchronized = _synchronized(machine)
    expected = f"within {LARGEST_SKEW:.0f} s of the collateral service, and kept so"
    mend = "systemctl enable --now systemd-timesyncd, or chrony; in a container, on its host"
    if skew is not None and abs(skew) > LARGEST_SKEW:
        found = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the collateral service"
        return hardware("clock", False, found, expected=expected, mend=mend)
    near = "" if skew is None else f"within {LARGEST_SKEW:.0f} s of the collateral service; "
    words = {True: "synchronized", False: "not synchronized", None: "not told whether synchronized"}
    good = synchronized is not False
    found = near + words[synchronized]
    return hardware("clock", good, found, expected=expected, mend=mend, needed=False)


def _synchronized(machine: Machine) -> bool | None:
    if machine.exists(_SYNCHRONIZED):
        return True
    told = command_output("timedatectl", "show", "--property=NTPSynchronized", "--value")
    return {"yes": True, "no": False}.get((told or "").strip())
