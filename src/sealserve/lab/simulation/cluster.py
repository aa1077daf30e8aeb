"""The nodes of the simulation: room for pods, cores, one quoting enclave each, the image.

A pod is placed where the scheduler's counted resources allow it, on the node with the most room
left. EPC is one of them (`sgx.intel.com/epc`); a node that is lost has none. The quoting enclave
is one a node, and serial: it signs one quote after the other. kubelet pulls one image at a time
(serializeImagePulls, pkg/kubelet/apis/config/v1beta1/defaults.go), and all nodes share what the
registry sends.
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
        self.has_image = False
        self.pulling: list[tuple[Call, tuple[object, ...]]] = []
        """Who waits for the image."""
        self.boot()

    def boot(self) -> None:
        """Up, with nothing running."""
        self.is_up = True
        self.cores = Shared(self._clock, self._parameters.node_cpus)
        self.quotes = Line(self._clock, 1)


class Cluster:
    """All nodes."""

    def __init__(self, clock: Clock, parameters: Parameters, nodes: int) -> None:
        self._clock = clock
        self._parameters = parameters
        self.nodes = [Node(clock, parameters, number) for number in range(nodes)]
        self._roomy = [(-node.room, node.number) for node in self.nodes]
        each = parameters.node_pull_bytes_per_second
        self._registry = Line(clock, max(1, int(parameters.registry_bytes_per_second // each)))
        self._pull_seconds = parameters.image_bytes / each
        each = parameters.volume_reader_bytes_per_second
        self.volume = Line(clock, max(1, int(parameters.volume_bytes_per_second // each)))
        self.read_seconds = parameters.model_bytes / each

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

    def bring_back(self, node: Node) -> None:
        """It boots; its pods are still its own, and its image is on its disk."""
        node.boot()
        self._offer(node)

    def pull(self, node: Node, call: Call, *arguments: object) -> None:
        """Call `call(*arguments)` once the image is there."""
        if node.has_image:
            call(*arguments)
            return
        node.pulling.append((call, arguments))
        if len(node.pulling) == 1:
            self._registry.serve(self._pull_seconds, self._pulled, node)

    def _pulled(self, node: Node) -> None:
        node.has_image = True
        waiting, node.pulling = node.pulling, []
        for call, arguments in waiting:
            call(*arguments)

    def _offer(self, node: Node) -> None:
        if node.is_up and node.room:
            heapq.heappush(self._roomy, (-node.room, node.number))
