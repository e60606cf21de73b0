"""The shape of a document's history: a tree of nodes, and which of them can be let go to make room."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

UNDO = 64  # steps that can be undone, or redone, whatever the budget


@dataclass(frozen=True)
class Node:
    """One moment in a history: what was done (`label`) to `parent`, and when (milliseconds since 1970)."""

    id: str
    parent: str | None
    label: str
    at: int


def superfluous(nodes: Sequence[tuple[str, str | None, int]], head: str, budget: int, limit: int) -> list[str]:
    """The nodes to let go, in this order, so that the others have at most `budget` bytes and are at most `limit`.

    `nodes` are (id, parent, bytes), oldest first. The oldest leaves go first; where there are none left to take, the
    beginning goes. The head stays, with UNDO steps before it and all that lies within UNDO steps after it, even if
    that is beyond the budget.
    """
    parents = {node: parent for node, parent, _ in nodes}
    sizes = {node: size for node, _, size in nodes}
    kept = _protected(parents, head)
    total, count = sum(sizes.values()), len(nodes)
    gone: list[str] = []

    def too_much() -> bool:
        return total > budget or count > limit

    children = Counter(parent for parent in parents.values() if parent is not None)
    order = [node for node, _, _ in nodes]
    while too_much():
        # one sweep takes leaves from the oldest on; a leaf's parent may be the next one
        taken = next((node for node in order if node not in kept and not children[node]), None)
        if taken is None:
            first = order[0]
            if first in kept or children[first] != 1:
                break
            taken = first
        order.remove(taken)
        parent = parents[taken]
        if parent is not None:
            children[parent] -= 1
        for node, of in parents.items():
            if of == taken:
                parents[node] = None
        total -= sizes[taken]
        count -= 1
        gone.append(taken)
    return gone


def _protected(parents: dict[str, str | None], head: str) -> set[str]:
    """The head, UNDO ancestors of it, and its descendants for UNDO steps."""
    kept = {head}
    here = parents.get(head)
    for _ in range(UNDO):
        if here is None:
            break
        kept.add(here)
        here = parents.get(here)
    edge = {head}
    for _ in range(UNDO):
        edge = {node for node, parent in parents.items() if parent in edge} - kept
        if not edge:
            break
        kept |= edge
    return kept
