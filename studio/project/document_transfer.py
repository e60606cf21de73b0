"""Documents on their way into a file, and out of one: whole histories at once, and the runs that came with them."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence

from studio.errors import StudioError
from studio.project.document_rows import (
    DocumentFacts,
    check_pixels,
    insert_document,
    insert_node,
    my_row,
    now,
    packed_state,
    refer,
    unpacked_state,
)
from studio.project.document_values import State
from studio.project.documents import UNTITLED, DocumentStore
from studio.project.history import Node


def each_node(documents: DocumentStore, owner: str, document: str) -> Iterator[tuple[Node, State]]:
    """The history, oldest first, each moment with its state. Raises NotFound."""
    with documents.database.read() as rows:
        my_row(rows, owner, document)
        found = rows.execute("SELECT number FROM nodes WHERE document = ? ORDER BY number", (document,))
        numbers = [row[0] for row in found]
    for number in numbers:
        with documents.database.read() as rows:
            node = rows.execute(
                "SELECT id, parent, label, at, state FROM nodes WHERE document = ? AND number = ?", (document, number)
            ).fetchone()
        if node is not None:  # else it was let go just now
            yield Node(*node[:4]), unpacked_state(node["state"])


def take_in(
    documents: DocumentStore,
    owner: str,
    name: str,
    head: str,
    nodes: Iterable[tuple[Node, State]],
    runs: Sequence[str] = (),
) -> str:
    """Keeps a new document with this history, parents before their children; returns its id.

    `runs`, announced before, have arrived with it. Nothing is kept if `nodes` raises. Raises InvalidRequest if pixels
    are not there, StudioError without room.
    """
    document, made = secrets.token_hex(16), now()
    with documents.database.write() as rows:
        documents.check_count(rows, owner)
        insert_document(
            rows, owner, DocumentFacts(document, name.strip() or UNTITLED, 1, 1, head, made, made, made, None, 0)
        )
        known: frozenset[str] = frozenset()
        total = 0
        for number, (node, state) in enumerate(nodes, start=1):
            check_pixels(documents.pixels, owner, state, known)
            new = state.pixels() - known
            packed = packed_state(state)
            size = len(packed) + documents.pixels.size(owner, new)
            insert_node(rows, document, node, number, size, packed)
            refer(rows, document, "pixels", new)
            refer(rows, document, "run", state.runs())
            if node.id == head:
                rows.execute(
                    "UPDATE documents SET width = ?, height = ? WHERE id = ?", (state.width, state.height, document)
                )
            known |= new
            total += size
        there = rows.execute("SELECT 1 FROM nodes WHERE document = ? AND id = ?", (document, head)).fetchone()
        if there is None:
            raise StudioError("The head of this document is not in its history.")
        rows.execute("UPDATE documents SET bytes = ? WHERE id = ?", (total, document))
        documents.keep_to_budget(rows, document, head)
        rows.executemany("DELETE FROM arriving WHERE owner = ? AND id = ?", [(owner, run) for run in runs])
    return document


def announce(documents: DocumentStore, owner: str, runs: Sequence[str]) -> None:
    """Says that these runs are about to be kept, for a document that is not there yet."""
    with documents.database.write() as rows:
        rows.executemany("INSERT OR IGNORE INTO arriving VALUES (?, ?)", [(owner, run) for run in runs])


def arrived(documents: DocumentStore, owner: str, runs: Sequence[str]) -> None:
    """Forgets what `announce` said."""
    with documents.database.write() as rows:
        rows.executemany("DELETE FROM arriving WHERE owner = ? AND id = ?", [(owner, run) for run in runs])


def arriving(documents: DocumentStore) -> list[tuple[str, str]]:
    """(owner, run) of everything that was announced and has not arrived: the process was killed in between."""
    with documents.database.read() as rows:
        return [(row[0], row[1]) for row in rows.execute("SELECT owner, id FROM arriving")]
