"""The nodes of the simulation: room for pods, cores, one quoting enclave each, the image.

A pod is placed where the scheduler's counted resources allow it, on the node with the most room
left. EPC is one of them (`sgx.intel.com/epc`); a node that is lost has none. The quoting enclave
is one a node, and serial: it signs one quote after the other. The image comes from a registry, and
models from a volume, to each node once: kubelet pulls an image one time (serializeImagePulls,
pkg/kubelet/apis/config/v1beta1/defaults.go), and what one enclave has read its neighbours have from
the kernel's page cache, until the node is lost. All nodes share what either can send.
"""

from __future__ import annotations

import heapq

from sealserve.lab.simulation.capacity import enclaves_per_node
from sealserve.lab.simulation.engine import Call, Clock, Line, Shared
from sealserve.lab.simulation.parameters import Parameters


class Node:
    """A machine. What it did and held when it was lost is gone."""

    def __init__(self, clock: Clock, parameters: Parameters, number: int) -> None:
        self._clock = clock
        self._parameters = parameters
        self.number = number
        self.zone = number % parameters.zones
        self.platform = number % parameters.platform_kinds
        self.room = enclaves_per_node(parameters)
        self.boot()

    def boot(self) -> None:
        """Up, with nothing running."""
        self.is_up = True
        self.cores = Shared(self._clock, self._parameters.node_cpus)
        self.quotes = Line(self._clock, 1)


class Supply:
    """Something that each node gets once, from one place that serves a few at full speed."""

    def __init__(self, clock: Clock, size: float, of_one: float, of_all: float) -> None:
        """`size` in bytes, the others in bytes per second."""
        self._line = Line(clock, max(1, int(of_all // of_one)))
        self._seconds = size / of_one
        self._there: set[int] = set()
        self._waiting: dict[int, list[tuple[Call, tuple[object, ...]]]] = {}

    def bring(self, node: Node, call: Call, *arguments: object) -> None:
        """Call `call(*arguments)` once the node has it."""
        if node.number in self._there:
            call(*arguments)
            return
        waiting = self._waiting.setdefault(node.number, [])
        waiting.append((call, arguments))
        if len(waiting) == 1:
            self._line.serve(self._seconds, self._brought, node)

    def hold(self, node: Node) -> None:
        """The node has it."""
        self._there.add(node.number)

    def drop(self, node: Node) -> None:
        """The node has it no more."""
        self._there.discard(node.number)

    def _brought(self, node: Node) -> None:
        self.hold(node)
        for call, arguments in self._waiting.pop(node.number, ()):
            call(*arguments)


class Cluster:
    """All nodes."""

    def __init__(self, clock: Clock, parameters: Parameters, nodes: int) -> None:
        self.nodes = [Node(clock, parameters, number) for number in range(nodes)]
        self._roomy = [(-node.room, node.number) for node in self.nodes]
        self.images = Supply(
            clock,
            parameters.image_bytes,
            parameters.node_pull_bytes_per_second,
            parameters.registry_bytes_per_second,
        )
        self.models = Supply(
            clock,
            parameters.model_bytes,
            parameters.volume_reader_bytes_per_second,
            parameters.volume_bytes_per_second,
        )

    def place(self) -> Node | None:
        """A node that has room for one more, which is taken by this; None where none has."""
        while self._roomy:
            room, number = heapq.heappop(self._roomy)
            node = self.nodes[number]
            if not node.is_up or -room != node.room or not node.room:
                continue  # an entry of the past: there is another, or no room
            node.room -= 1
            self._offer(node)
            return node
        return None

    def free(self, node: Node) -> None:
        """One of its pods is gone."""
        node.room += 1
        self._offer(node)

    def lose(self, node: Node) -> None:
        """Nothing of it runs any more."""
        node.is_up = False
        self.models.drop(node)

    def bring_back(self, node: Node) -> None:
        """It boots; its pods are still its own, and its image is on its disk."""
        node.boot()
        self._offer(node)

    def _offer(self, node: Node) -> None:
        if node.is_up and node.room:
            heapq.heappush(self._roomy, (-node.room, node.number))
