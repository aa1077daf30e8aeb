"""How many threads and how much memory an enclave is given, with the reasoning.

A reckoning from the description alone, so that the same description gives the same enclave: no
part of it was measured on SGX hardware, and no rule is published. What Gramine says: four threads
beyond the program's are its own (manifest-syntax.rst, "Number of threads"), a thread slot takes 360
KiB (pal_linux_defs.h), a size is a power of two (host_main.c).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sealserve.deploy.description.fields import COPIES
from sealserve.deploy.description.model import AUTOMATIC, Description, size_in_mib
from sealserve.errors import ConfigError

UNMEASURED: Final = "reckoned, not measured on SGX hardware: watch memory there, and correct it"
STACK_MIB: Final = 2
LARGEST_MIB: Final = 512 << 10
_SLOT_KIB: Final = 360
_HELPERS: Final = 4
_RUNTIME_MIB: Final = {"tensorflow-serving": 1024, "sealserve": 1024}
_REQUEST_MIB: Final = 64  # the largest that our server takes; the stock server is given as much
_SPARE: Final = 16


@dataclass(frozen=True, slots=True)
class Sizing:
    """`size` as Gramine writes it; `reasoning` a line for each part of the sums."""

    threads: int
    size: str
    reasoning: tuple[str, ...]


def grpc_threads(description: Description) -> int:
    """Threads in which the stock server takes requests."""
    return 4 * description.server.threads


def sizing(description: Description) -> Sizing:
    """Threads and memory of the enclave; ConfigError where no enclave is large enough."""
    threads, counted = _threads(description)
    size, summed = _memory(description, threads)
    return Sizing(threads, size, (*counted, *summed, UNMEASURED))


def _threads(description: Description) -> tuple[int, list[str]]:
    computing = description.server.threads
    stock = description.server.kind == "tensorflow-serving"
    parts = [("the program's first", 1), ("Gramine's own", _HELPERS)]
    if stock:
        parts += [
            ("computing, within one operation", computing),
            ("computing, operations side by side", computing),
            ("gRPC, taking requests", grpc_threads(description)),
            ("loading, unloading, looking for versions", 3),
        ]
    else:
        parts += [("computing", computing), ("beside the event loop: files, engine", computing + 4)]
    if description.server.batching:
        parts.append(("batches", computing))
    parts.append(("spare, for libraries", _SPARE))
    total = sum(count for _, count in parts)
    rounded = -(-total // 8) * 8
    return rounded, [
        *(f"threads: {count:>4}  {what}" for what, count in parts),
        f"threads: {rounded:>4}  max_threads, to the next multiple of 8",
    ]


def _memory(description: Description, threads: int) -> tuple[str, list[str]]:
    models = sum(size_in_mib(model.size) for model in description.models)
    kind = description.server.kind
    parts = [
        (f"{kind}, its libraries and heap", _RUNTIME_MIB[kind]),
        ("models: file, graph and working memory, old and new version", COPIES * models),
        (f"stacks of {STACK_MIB} MiB and slots of {threads} threads", _stacks(threads)),
        ("requests and answers under way", 2 * _REQUEST_MIB * description.server.threads),
    ]
    total = sum(size for _, size in parts)
    chosen = 1 << (total - 1).bit_length()
    if description.server.enclave_size != AUTOMATIC:
        chosen = size_in_mib(description.server.enclave_size)
        last = "the description's own enclave_size"
    else:
        last = "enclave_size, to the next power of two"
    if chosen > LARGEST_MIB:
        raise ConfigError(
            f"{total} MiB are needed for these models, more than any enclave is given here",
            hint="describe them as several services",
        )
    return spell(chosen), [
        *(f"MiB: {size:>7}  {what}" for what, size in parts),
        f"MiB: {chosen:>7}  {last}",
    ]


def _stacks(threads: int) -> int:
    return threads * STACK_MIB + -(-threads * _SLOT_KIB // 1024)


def spell(mib: int) -> str:
    """A size as Gramine writes it: `4G`, `512M`."""
    return f"{mib >> 10}G" if mib % 1024 == 0 else f"{mib}M"
