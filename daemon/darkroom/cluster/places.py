"""From the nodes of a cluster to seats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

Node = Mapping[str, Any]  #: as `ray.nodes()` tells of one

#: More than any machine has: an amount that a node gives itself is no reason to start processes without end.
MOST_OF_A_NODE = 64


def places_of(nodes: Iterable[Node], resources: Mapping[str, float]) -> dict[str, str]:
    """Name of a seat ("gpu1/0") → id of its node; as many seats on each as it has room for `resources`."""
    alive = [node for node in nodes if node["Alive"]]
    known = Counter(map(_label, alive))
    found = {}
    for node in sorted(alive, key=lambda each: str(each["NodeID"])):
        label = _label(node) if known[_label(node)] == 1 else f"{_label(node)}-{node['NodeID'][:6]}"
        for index in range(_room_on(node, resources)):
            found[f"{label}/{index}"] = str(node["NodeID"])
    return found


def _label(node: Node) -> str:
    """What its operator has called it; a node that nobody named is called by its address, which its host name beats."""
    name, address = str(node.get("NodeName") or ""), str(node.get("NodeManagerAddress") or "")
    return name if name and name != address else str(node.get("NodeManagerHostname") or address)


def _room_on(node: Node, resources: Mapping[str, float]) -> int:
    there = node.get("Resources") or {}
    return min(MOST_OF_A_NODE, *(int(there.get(name, 0.0) / amount) for name, amount in resources.items()))
