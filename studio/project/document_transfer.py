"""Documents on their way into a file, and out of one: whole histories at once, and the runs that came with them."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from studio.errors import StudioError
from studio.project.disk import not_kept
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
from studio.project.document_values import Settings, State
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
    settings: Settings | None = None,
) -> str:
    """Keeps a new document with this history, parents before their children; returns its id.

    `runs`, announced before, have arrived with it. Nothing is kept if `nodes` raises. Raises InvalidRequest if pixels
    are not there, StudioError without room.
    """
    folder = documents.database.path.parent
    try:
        with tempfile.TemporaryFile(dir=folder) as spool:  # all is checked and packed before anybody has to wait
            packed = [_packed(documents, owner, spool, *each) for each in _with_news(nodes)]
            return _insert(documents, owner, name.strip() or UNTITLED, head, packed, spool, runs, settings)
    except OSError as problem:
        raise not_kept("The document", folder, problem) from problem


@dataclass(frozen=True)
class _Packed:
    """A node as it will stand in the database; its packed state is `length` bytes of the spool from `start` on."""

    node: Node
    width: int
    height: int
    size: int
    start: int
    length: int
    pixels: frozenset[str]  # that none before it refers to
    runs: frozenset[str]


def _with_news(nodes: Iterable[tuple[Node, State]]) -> Iterator[tuple[Node, State, frozenset[str], frozenset[str]]]:
    """Every node with the pixels and runs that none before it refers to."""
    pixels: set[str] = set()
    runs: set[str] = set()
    for node, state in nodes:
        yield node, state, state.pixels() - pixels, state.runs() - runs
        pixels |= state.pixels()
        runs |= state.runs()


def _packed(
    documents: DocumentStore,
    owner: str,
    spool: IO[bytes],
    node: Node,
    state: State,
    pixels: frozenset[str],
    runs: frozenset[str],
) -> _Packed:
    check_pixels(documents.pixels, owner, state, state.pixels() - pixels)
    data = packed_state(state)
    start = spool.tell()
    spool.write(data)
    size = len(data) + documents.pixels.size(owner, pixels)
    return _Packed(node, state.width, state.height, size, start, len(data), pixels, runs)


def _insert(
    documents: DocumentStore,
    owner: str,
    name: str,
    head: str,
    nodes: Sequence[_Packed],
    spool: IO[bytes],
    runs: Sequence[str],
    settings: Settings | None,
) -> str:
    shown = next((each for each in nodes if each.node.id == head), None)
    if shown is None:
        raise StudioError("The head of this document is not in its history.")
    document, made, total = secrets.token_hex(16), now(), sum(each.size for each in nodes)
    with documents.database.write() as rows:
        documents.check_room(rows, owner, total, 1)
        insert_document(
            rows,
            owner,
            DocumentFacts(document, name, shown.width, shown.height, head, made, made, made, None, total),
            settings,
        )
        for number, each in enumerate(nodes, start=1):
            spool.seek(each.start)
            insert_node(rows, document, each.node, number, each.size, spool.read(each.length))
            refer(rows, document, "pixels", each.pixels)
            refer(rows, document, "run", each.runs)
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
