"""Documents on disk: what a person works on, with its whole history as a tree.

Every node of the tree is a full state, so that undo is a move of the head and nothing is ever worked out again. What
was confirmed to a page is on the disk. Pixels stand in `PixelStore`; a state that refers to pixels which are not there
is refused, and what any node still refers to is never swept. Beyond a budget the oldest leaves of a history go first,
then its beginning; never the head, and nothing that a person can still undo or redo within `UNDO` steps.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from studio.errors import InvalidRequest, NotFound, StudioError, human_bytes, shown_value
from studio.project.database import Database
from studio.project.disk import at_most, check_free
from studio.project.document_rows import (
    DOCUMENT_ID,
    DocumentFacts,
    check_pixels,
    facts_in,
    insert_document,
    insert_node,
    my_row,
    nodes_in,
    now,
    packed_state,
    refer,
    searched,
    settings_in,
    unpacked_state,
)
from studio.project.document_values import Settings, State, checked_name
from studio.project.history import Node, superfluous
from studio.project.pixels_store import PixelStore

HISTORY_BUDGET = 2 * 1024**3  # bytes per document: states, and pixels that came with them
OWNER_BUDGET = 64 * 1024**3  # bytes of all documents of one person, the bin included
NODES_LIMIT = 4000  # of one document
DOCUMENTS_LIMIT = 10_000  # of one person, the bin included
BIN_DAYS = 30  # after which what is in the bin is deleted
COPY_LIMIT = 256 * 1024**2  # bytes of states that are copied in one go
BATCH = 100  # steps of histories that are deleted in one go
UNTITLED = "Untitled"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OpenDocument:
    """A document with its present state, its history, oldest first, and what is set beside it."""

    facts: DocumentFacts
    state: State
    history: tuple[Node, ...]
    settings: Settings


class DocumentStore:
    """The documents of everybody who uses this studio. Safe to call from several threads."""

    def __init__(
        self,
        database: Database,
        pixels: PixelStore,
        budget: int = HISTORY_BUDGET,
        nodes_limit: int = NODES_LIMIT,
        documents_limit: int = DOCUMENTS_LIMIT,
        owner_budget: int = OWNER_BUDGET,
    ) -> None:
        self.database = database
        self.pixels = pixels
        self._budget = budget
        self._nodes_limit = nodes_limit
        self._documents_limit = documents_limit
        self._owner_budget = owner_budget

    # -- making and changing ------------------------------------------------------------------------------------------

    def create(
        self, owner: str, name: str, state: State, label: str = "New", document_id: str | None = None
    ) -> tuple[str, str]:
        """Keeps a new document; returns its id and that of its first node.

        A page may choose the id, so that it can ask again without making a second one. Raises InvalidRequest for a
        state whose pixels are not there, StudioError without room.
        """
        name = checked_name(name).strip() or UNTITLED
        label = checked_name(label, "label")
        document = document_id or secrets.token_hex(16)
        if not DOCUMENT_ID.fullmatch(document):
            raise InvalidRequest("The id of a document is 32 hexadecimal digits.", "id")
        check_pixels(self.pixels, owner, state, frozenset())
        node_id, made = secrets.token_hex(16), now()
        packed = packed_state(state)
        size = len(packed) + self.pixels.size(owner, state.pixels())
        with self.database.write() as rows:
            found = rows.execute("SELECT * FROM documents WHERE id = ?", (document,)).fetchone()
            if found is not None:
                first = rows.execute(
                    "SELECT * FROM nodes WHERE document = ? ORDER BY number LIMIT 1", (document,)
                ).fetchone()
                if found["owner"] != owner or unpacked_state(first["state"]) != state:
                    raise InvalidRequest("There is another document with this id already.", "id")
                return document, str(first["id"])
            self.check_room(rows, owner, size, 1)
            insert_document(
                rows,
                owner,
                DocumentFacts(document, name, state.width, state.height, node_id, made, made, made, None, size),
            )
            insert_node(rows, document, Node(node_id, None, label, made), 1, size, packed)
            refer(rows, document, "pixels", state.pixels())
            refer(rows, document, "run", state.runs())
        return document, node_id

    def append(self, owner: str, document: str, node_id: str, parent: str, label: str, state: State) -> str:
        """Adds a node below `parent` and makes it the head; returns the head.

        Asked again with the same values, it changes nothing. Raises NotFound, and InvalidRequest for a parent that is
        not there, pixels that are not there, or an id that is taken.
        """
        if not DOCUMENT_ID.fullmatch(node_id):
            raise InvalidRequest("The id of a step in the history is 32 hexadecimal digits.", "id")
        label = checked_name(label, "label")
        before = self._state(owner, document, parent)
        check_pixels(self.pixels, owner, state, before.pixels())
        packed = packed_state(state)
        size = len(packed) + self.pixels.size(owner, state.pixels() - before.pixels())
        with self.database.write() as rows:
            head = str(my_row(rows, owner, document)["head"])
            there = rows.execute("SELECT * FROM nodes WHERE document = ? AND id = ?", (document, node_id)).fetchone()
            if there is not None:
                if (there["parent"], there["label"]) != (parent, label) or unpacked_state(there["state"]) != state:
                    raise InvalidRequest("Another step of this history has this id already.", "id")
                return head
            found = rows.execute("SELECT 1 FROM nodes WHERE document = ? AND id = ?", (document, parent)).fetchone()
            if found is None:
                _no_parent(parent)
            self.check_room(rows, owner, size)
            made = now()
            (number,) = rows.execute("SELECT max(number) + 1 FROM nodes WHERE document = ?", (document,)).fetchone()
            insert_node(rows, document, Node(node_id, parent, label, made), number, size, packed)
            refer(rows, document, "pixels", state.pixels() - before.pixels())
            refer(rows, document, "run", state.runs() - before.runs())
            rows.execute(
                "UPDATE documents SET head = ?, width = ?, height = ?, changed_at = ?, used_at = ?, bytes = bytes + ? "
                "WHERE id = ?",
                (node_id, state.width, state.height, made, made, size, document),
            )
            self.keep_to_budget(rows, document, node_id)
        return node_id

    def move_head(self, owner: str, document: str, node_id: str) -> None:
        """Undo and redo: makes another node the head. Raises NotFound without such a document or node."""
        state = self._state(owner, document, node_id, "node")
        with self.database.write() as rows:
            my_row(rows, owner, document)
            moved = now()
            rows.execute(
                "UPDATE documents SET head = ?, width = ?, height = ?, changed_at = ?, used_at = ? WHERE id = ? "
                "AND EXISTS (SELECT 1 FROM nodes WHERE document = ? AND id = ?)",
                (node_id, state.width, state.height, moved, moved, document, document, node_id),
            )

    def rename(self, owner: str, document: str, name: str) -> None:
        """Gives the document another name. Raises NotFound, InvalidRequest."""
        name = checked_name(name).strip() or UNTITLED
        with self.database.write() as rows:
            my_row(rows, owner, document)
            rows.execute(
                "UPDATE documents SET name = ?, words = ?, changed_at = ? WHERE id = ?",
                (name, searched(name), now(), document),
            )

    def keep_settings(self, owner: str, document: str, settings: Settings) -> None:
        """Keeps what is set beside the document, instead of what was. Raises NotFound, StudioError without room."""
        text = settings.to_json()
        with self.database.write() as rows:
            if my_row(rows, owner, document)["settings"] == text:
                return
            self.check_room(rows, owner, len(text))
            rows.execute("UPDATE documents SET settings = ?, changed_at = ? WHERE id = ?", (text, now(), document))

    def change(
        self, owner: str, document: str, name: str | None = None, settings: Settings | None = None
    ) -> DocumentFacts:
        """Gives it another name, other settings or both, all or nothing. Raises as `rename` and `keep_settings` do."""
        with self.database.write():
            if name is not None:
                self.rename(owner, document, name)
            if settings is not None:
                self.keep_settings(owner, document, settings)
        return self.facts(owner, document)

    def duplicate(self, owner: str, document: str) -> str:
        """A second document with the same history; returns its id. Raises NotFound, StudioError without room."""
        copy, made = secrets.token_hex(16), now()
        with self.database.write() as rows:
            found = my_row(rows, owner, document)
            (size,) = rows.execute(
                "SELECT coalesce(sum(length(state)), 0) FROM nodes WHERE document = ?", (document,)
            ).fetchone()
            if size > COPY_LIMIT:  # nobody else's documents are written meanwhile
                raise StudioError(
                    f"The history of this document is {human_bytes(size)}, and at most {human_bytes(COPY_LIMIT)} are "
                    "copied. Download the document without its history and open that file instead."
                )
            self.check_room(rows, owner, int(found["bytes"]), 1)
            name = f"{found['name'][:190]} copy"
            rows.execute(
                "INSERT INTO documents SELECT ?, owner, ?, ?, width, height, head, ?, ?, ?, NULL, bytes, stale, "
                "settings FROM documents WHERE id = ?",
                (copy, name, searched(name), made, made, made, document),
            )
            rows.execute(
                "INSERT INTO nodes SELECT ?, id, parent, number, label, at, bytes, state FROM nodes "
                "WHERE document = ?",
                (copy, document),
            )
            rows.execute("INSERT INTO refs SELECT ?, kind, id FROM refs WHERE document = ?", (copy, document))
        return copy

    def delete(self, owner: str, document: str) -> None:
        """Puts the document into the bin, from where `restore` brings it back. Raises NotFound."""
        with self.database.write() as rows:
            my_row(rows, owner, document)
            rows.execute("UPDATE documents SET binned_at = coalesce(binned_at, ?) WHERE id = ?", (now(), document))

    def restore(self, owner: str, document: str) -> None:
        """Takes the document out of the bin. Raises NotFound."""
        with self.database.write() as rows:
            my_row(rows, owner, document)
            rows.execute(
                "UPDATE documents SET binned_at = NULL, used_at = ? WHERE id = ?",
                (now(), document),
            )

    def empty_bin(self, owner: str | None = None, older_than_days: float = 0) -> int:
        """Deletes for good what is in the bin (of everybody if `owner` is None); returns how many documents."""
        before = now() - int(older_than_days * 86_400_000)
        with self.database.write() as rows:  # from here on they are nobody's
            count = rows.execute(
                "UPDATE documents SET owner = '' WHERE binned_at <= ? AND owner <> '' AND (? IS NULL OR owner = ?)",
                (before, owner, owner),
            ).rowcount
        gone = 1
        while gone:  # a few at a time, so that others may write between; where this ends early, the next time goes on
            with self.database.write() as rows:
                gone = rows.execute(
                    "DELETE FROM nodes WHERE rowid IN (SELECT nodes.rowid FROM nodes "
                    "JOIN documents ON documents.id = document WHERE owner = '' LIMIT ?)",
                    (BATCH,),
                ).rowcount
                if not gone:
                    rows.execute("DELETE FROM documents WHERE owner = ''")
        return count

    # -- reading ------------------------------------------------------------------------------------------------------

    def listed(
        self,
        owner: str,
        query: str = "",
        limit: int = 60,
        offset: int = 0,
        binned: bool = False,
        runs: Sequence[str] = (),
    ) -> list[DocumentFacts]:
        """The owner's documents, the one used last first; with `query`, those whose names hold all of its words.

        With `runs`, those in whose history a layer came of one of these runs.
        """
        condition, values = _fitting(owner, query, binned, runs)
        with self.database.read() as rows:
            found = rows.execute(
                f"SELECT * FROM documents WHERE {condition} ORDER BY used_at DESC, id LIMIT ? OFFSET ?",
                (*values, limit, offset),
            ).fetchall()
        return [facts_in(row) for row in found]

    def found(self, owner: str, query: str = "", binned: bool = False, runs: Sequence[str] = ()) -> int:
        """How many documents `listed` would list without its limit."""
        condition, values = _fitting(owner, query, binned, runs)
        with self.database.read() as rows:
            (count,) = rows.execute(f"SELECT count(*) FROM documents WHERE {condition}", values).fetchone()
        return int(count)

    def count(self, owner: str) -> tuple[int, int]:
        """How many documents there are, and how many more lie in the bin."""
        with self.database.read() as rows:
            (all_, binned) = rows.execute(
                "SELECT count(*), count(binned_at) FROM documents WHERE owner = ?", (owner,)
            ).fetchone()
        return all_ - binned, binned

    def facts(self, owner: str, document: str) -> DocumentFacts:
        """One line about a document. Raises NotFound."""
        with self.database.read() as rows:
            return facts_in(my_row(rows, owner, document))

    def open(self, owner: str, document: str) -> OpenDocument:
        """A document as a page opens it; it comes first in the list from now on. Raises NotFound."""
        with contextlib.suppress(StudioError), self.database.write() as rows:  # a full disk keeps nobody from looking
            rows.execute("UPDATE documents SET used_at = ? WHERE id = ? AND owner = ?", (now(), document, owner))
        with self.database.read() as rows:
            found = my_row(rows, owner, document)
            history = nodes_in(rows, document)
            (packed,) = rows.execute(
                "SELECT state FROM nodes WHERE document = ? AND id = ?", (document, found["head"])
            ).fetchone()
        return OpenDocument(facts_in(found), unpacked_state(packed), history, settings_in(found))

    def history(self, owner: str, document: str) -> tuple[str, tuple[Node, ...]]:
        """The head, and all steps, oldest first. Raises NotFound."""
        with self.database.read() as rows:
            return str(my_row(rows, owner, document)["head"]), nodes_in(rows, document)

    def settings(self, owner: str, document: str) -> Settings:
        """What is set beside a document. Raises NotFound."""
        with self.database.read() as rows:
            return settings_in(my_row(rows, owner, document))

    def state(self, owner: str, document: str, node_id: str | None = None) -> State:
        """The state of a node, or of the head. Raises NotFound."""
        return self._state(owner, document, node_id, "node")

    # -- what the sweep needs -----------------------------------------------------------------------------------------

    def owners(self) -> list[str]:
        """Everybody who has documents, the bin included."""
        with self.database.read() as rows:
            return [row[0] for row in rows.execute("SELECT DISTINCT owner FROM documents")]

    def references(self, owner: str, kind: str) -> frozenset[str]:
        """The ids of all pixels (or runs) that some node of some document of this owner refers to."""
        with self.database.read() as rows:
            found = rows.execute(
                "SELECT DISTINCT refs.id FROM refs JOIN documents ON documents.id = document "
                "WHERE owner = ? AND kind = ?",
                (owner, kind),
            )
            return frozenset(row[0] for row in found)

    def documents_with(self, owner: str, run: str) -> list[str]:
        """The ids of the documents, the bin left out, in whose history this run or picture stands."""
        with self.database.read() as rows:
            found = rows.execute(
                "SELECT documents.id FROM refs JOIN documents ON documents.id = document "
                "WHERE kind = 'run' AND refs.id = ? AND owner = ? AND binned_at IS NULL",
                (run, owner),
            )
            return [row[0] for row in found]

    def freshen(self) -> None:
        """Forgets references of nodes that were let go, so that a sweep finds what only they needed."""
        with self.database.read() as rows:
            stale = [row[0] for row in rows.execute("SELECT id FROM documents WHERE stale")]
        for document in stale:
            try:
                self._freshen(document)
            except InvalidRequest as problem:  # damaged: what it may refer to stays
                log.warning("The history of document %s cannot be read: %s", document, problem)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _freshen(self, document: str) -> None:
        """State after state, while others may write. A history that changes meanwhile waits for the next time."""
        with self.database.read() as rows:
            before = _shape(rows, document)
            found = rows.execute("SELECT id FROM nodes WHERE document = ? ORDER BY number", (document,))
            nodes = [str(row[0]) for row in found]
        needed: dict[str, set[str]] = {"pixels": set(), "run": set()}
        for node_id in nodes:
            with self.database.read() as rows:
                row = rows.execute(
                    "SELECT state FROM nodes WHERE document = ? AND id = ?", (document, node_id)
                ).fetchone()
            if row is None:
                return
            state = unpacked_state(row[0])
            needed["pixels"] |= state.pixels()
            needed["run"] |= state.runs()
        with self.database.write() as rows:
            if _shape(rows, document) != before:
                return
            for kind, ids in needed.items():
                told = rows.execute("SELECT id FROM refs WHERE document = ? AND kind = ?", (document, kind))
                gone = {str(row[0]) for row in told} - ids
                rows.executemany(
                    "DELETE FROM refs WHERE document = ? AND kind = ? AND id = ?",
                    [(document, kind, each) for each in sorted(gone)],
                )
            rows.execute("UPDATE documents SET stale = 0 WHERE id = ?", (document,))

    def _state(self, owner: str, document: str, node_id: str | None, field: str = "parent") -> State:
        with self.database.read() as rows:
            head = my_row(rows, owner, document)["head"]
            found = rows.execute(
                "SELECT state FROM nodes WHERE document = ? AND id = ?",
                (document, head if node_id is None else node_id),
            ).fetchone()
        if found is None and field == "parent":
            _no_parent(str(node_id))
        if found is None:
            raise NotFound("There is no such step in the history of this document.")
        return unpacked_state(found[0])

    def check_room(self, rows: sqlite3.Connection, owner: str, more: int, documents: int = 0) -> None:
        """Raises StudioError if there is no place for `more` bytes of history in so many new documents."""
        count, used = rows.execute(
            "SELECT count(*), coalesce(sum(bytes), 0) FROM documents WHERE owner = ?", (owner,)
        ).fetchone()
        if count + documents > self._documents_limit:
            raise StudioError(f"You have {count:,} documents, which is the limit. Delete some for good in the bin.")
        budget = at_most(self._owner_budget, self.database.path.parent)
        if used + more > budget:
            raise StudioError(
                f"The histories of your documents use {human_bytes(used)}, and {human_bytes(budget)} are "
                "the limit. Delete documents that you no longer need, and empty the bin."
            )
        check_free(self.database.path.parent, more)

    def keep_to_budget(self, rows: sqlite3.Connection, document: str, head: str) -> None:
        """Lets go of old history inside of a transaction."""
        (size,) = rows.execute("SELECT bytes FROM documents WHERE id = ?", (document,)).fetchone()
        (count,) = rows.execute("SELECT count(*) FROM nodes WHERE document = ?", (document,)).fetchone()
        if size <= self._budget and count <= self._nodes_limit:
            return
        nodes = rows.execute(
            "SELECT id, parent, bytes FROM nodes WHERE document = ? ORDER BY number", (document,)
        ).fetchall()
        # a tenth more than needed, so that it is not looked at again with every stroke
        gone = superfluous([tuple(row) for row in nodes], head, self._budget * 9 // 10, self._nodes_limit * 9 // 10)
        freed = sum(row["bytes"] for row in nodes if row["id"] in gone)
        for node_id in gone:
            rows.execute("DELETE FROM nodes WHERE document = ? AND id = ?", (document, node_id))
        if gone:
            rows.execute(
                "UPDATE nodes SET parent = NULL WHERE document = ? AND parent IS NOT NULL "
                "AND parent NOT IN (SELECT id FROM nodes WHERE document = ?)",
                (document, document),
            )
            rows.execute("UPDATE documents SET bytes = bytes - ?, stale = 1 WHERE id = ?", (freed, document))


def _fitting(owner: str, query: str, binned: bool, runs: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """A condition on documents, and its values."""
    words = searched(query).split()[:16]
    conditions = ["owner = ?", f"binned_at IS {'NOT ' if binned else ''}NULL"]
    conditions += ["instr(words, ?) > 0"] * len(words)
    if runs:
        marks = ", ".join("?" * len(runs))
        conditions.append(f"id IN (SELECT document FROM refs WHERE kind = 'run' AND refs.id IN ({marks}))")
    return " AND ".join(conditions), (owner, *words, *runs)


def _shape(rows: sqlite3.Connection, document: str) -> tuple[object, ...]:
    """Changes whenever nodes come, which have higher numbers then, or go."""
    return tuple(rows.execute("SELECT max(number), count(*) FROM nodes WHERE document = ?", (document,)).fetchone())


def _no_parent(parent: str) -> NoReturn:
    raise InvalidRequest(
        f"The step {shown_value(parent)} is not in the history of this document. Open it again.", "parent"
    )
