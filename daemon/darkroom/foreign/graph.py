"""Graphs of nodes, as ComfyUI and InvokeAI have them: which node takes what from which."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

#: How many nodes of a graph are looked at.
MOST_NODES = 10_000


@dataclass(frozen=True, slots=True)
class Node:
    """A node: its own values, and from where it takes others."""

    key: str
    kind: str  #: its class or type
    values: Mapping[str, Any] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)  #: input → the key of the node that it comes from

    @property
    def name(self) -> str:
        """As it is told: by id and class."""
        return f"{self.key} {self.kind}"


@dataclass(frozen=True, slots=True)
class Graph:
    """All nodes by their keys. What arrives may go round in circles, or lead nowhere."""

    nodes: Mapping[str, Node]

    def above(self, start: str, taken: Callable[[Node], Iterable[str]] | None = None) -> Iterator[Node]:
        """The node and all that it is made from, the nearest first; `taken` says from which nodes a node takes."""
        todo, seen = [start], {start}
        for key in todo:
            node = self.nodes.get(key)
            if node is None:
                continue
            yield node
            new = dict.fromkeys(each for each in (taken(node) if taken else node.links.values()) if each not in seen)
            seen.update(new)
            todo += new

    def behind(self, node: Node, key: str) -> Node | None:
        """The node that an input comes from."""
        return self.nodes.get(node.links.get(key, ""))

    def value(self, node: Node, key: str) -> tuple[Any, Node | None]:
        """What an input is: its own value, or that of a node which has but one; and this node. None: can't be told."""
        if key in node.values:
            return node.values[key], None
        source = self.behind(node, key)
        for _ in range(MOST_NODES):
            if source is None or len(source.links) != 1 or source.values:
                break
            source = self.nodes.get(next(iter(source.links.values())))  # it hands on what it gets
        plain = (
            [] if source is None else [each for each in source.values.values() if isinstance(each, str | int | float)]
        )
        return (plain[0], source) if len(plain) == 1 else (None, source)

    def first(self, nodes: Collection[Node], *keys: str) -> tuple[Node, str] | None:
        """The first of these nodes that has an input of one of these names."""
        return next(((node, key) for node in nodes for key in keys if key in node.values or key in node.links), None)
