"""Documents as rows of the database: what `DocumentStore` and files of documents share."""

from __future__ import annotations

import logging
import re
import sqlite3
import time
import zlib
from dataclasses import dataclass

from studio.errors import InvalidRequest, NotFound
from studio.project.document_values import STATE_LIMIT, TILE, Settings, State
from studio.project.history import Node
from studio.project.pixels_store import PixelStore

DOCUMENT_ID = re.compile(r"[0-9a-f]{32}")  # of a document, and of a node of its history

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DocumentFacts:
    """One line of the list of documents. Times are milliseconds since 1970."""

    id: str
    name: str
    width: int
    height: int
    head: str
    made_at: int
    changed_at: int
    used_at: int
    binned_at: int | None
    bytes: int  # of its history


def my_row(rows: sqlite3.Connection, owner: str, document: str) -> sqlite3.Row:
    """The row of a document of this owner. Raises NotFound."""
    found: sqlite3.Row | None = None
    if DOCUMENT_ID.fullmatch(document):
        found = rows.execute("SELECT * FROM documents WHERE id = ? AND owner = ?", (document, owner)).fetchone()
    if found is None:
        raise NotFound("There is no such document here. It may have been deleted for good.")
    return found


def facts_in(row: sqlite3.Row) -> DocumentFacts:
    return DocumentFacts(**{name: row[name] for name in DocumentFacts.__dataclass_fields__})


def insert_document(
    rows: sqlite3.Connection, owner: str, facts: DocumentFacts, settings: Settings | None = None
) -> None:
    rows.execute(
        "INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, ?, 0, ?)",
        (
            facts.id,
            owner,
            facts.name,
            searched(facts.name),
            facts.width,
            facts.height,
            facts.head,
            facts.made_at,
            facts.changed_at,
            facts.used_at,
            facts.bytes,
            (settings or Settings()).to_json(),
        ),
    )


def insert_node(rows: sqlite3.Connection, document: str, node: Node, number: int, size: int, packed: bytes) -> None:
    rows.execute(
        "INSERT INTO nodes VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (document, node.id, node.parent, number, node.label, node.at, size, packed),
    )


def settings_in(row: sqlite3.Row) -> Settings:
    """What is set beside a document; nothing where that cannot be read, which keeps nobody from the document."""
    try:
        return Settings.from_json(row["settings"])
    except InvalidRequest as problem:
        log.warning("The settings of document %s cannot be read: %s", row["id"], problem)
        return Settings()


def nodes_in(rows: sqlite3.Connection, document: str) -> tuple[Node, ...]:
    """The history of a document, oldest first."""
    found = rows.execute("SELECT id, parent, label, at FROM nodes WHERE document = ? ORDER BY number", (document,))
    return tuple(Node(*row) for row in found)


def refer(rows: sqlite3.Connection, document: str, kind: str, ids: frozenset[str]) -> None:
    """Says that some node of a document refers to these pixels, or runs."""
    rows.executemany("INSERT OR IGNORE INTO refs VALUES (?, ?, ?)", [(document, kind, each) for each in sorted(ids)])


def packed_state(state: State) -> bytes:
    """Equal states have equal bytes. Raises InvalidRequest for one that is too large."""
    text = state.to_json()
    if len(text) > STATE_LIMIT:
        raise InvalidRequest(f"This document has more than {STATE_LIMIT >> 20} MB of layers. Merge some.", "state")
    return zlib.compress(text, 6)


def unpacked_state(packed: bytes) -> State:
    return State.from_json(zlib.decompress(packed))


def check_pixels(pixels: PixelStore, owner: str, state: State, known: frozenset[str]) -> None:
    """Holds the pixels of a state for a while, those in `known` left out.

    Raises InvalidRequest unless all tiles are there, and are tiles of their kind.
    """
    pixels.extents(owner, state.told_pixels() - known)
    for all_, channels, name in ((state.colour_tiles(), 4, "RGBA"), (state.mask_tiles(), 1, "grey")):
        wanted = sorted(all_ - known)
        found = pixels.extents(owner, wanted)
        for pixels_id in wanted:
            extent = found.get(pixels_id)
            if extent is None:
                raise InvalidRequest(
                    f"The pixels {pixels_id} are not here (any more). Send them again, then this change.", "state"
                )
            if (extent.width, extent.height, extent.channels) != (TILE, TILE, channels):
                raise InvalidRequest(
                    f"The pixels {pixels_id} are no tile of {TILE} × {TILE} pixels in {name}.", "state"
                )


def searched(text: str) -> str:
    """A text as it is compared with what somebody looks for."""
    return text.casefold()


def now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000
