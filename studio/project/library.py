"""All pictures of a person, to be searched: the index over their files, favourites, and the bin.

The files are the truth and carry their requests; what stands in the index is made again from them where it is lost.
Only favourites and the bin are known to the database alone.
"""

from __future__ import annotations

import datetime
import heapq
import json
import sqlite3
import threading
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from studio.errors import InvalidRequest, NotFound, UnreadablePicture
from studio.project.database import Database
from studio.project.document_rows import now, searched
from studio.project.run_index import RunFacts, RunIndex
from studio.project.runs import RunStore
from studio.project.store import KeptPicture, PictureStore, picture_in, request_in

PAGE_LIMIT = 500  # pictures that are told of at once
_INLINE = 80  # pictures that are read while somebody waits, the newest; the others are read beside
_FEW = 2000  # pictures up to which their runs are looked at while somebody waits, too
_BATCH = 100  # pictures that are written into the index at once
_TERMS = 16  # words of a search
_INSERT = "INSERT OR REPLACE INTO pictures VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_JOINED = "pictures LEFT JOIN marks USING (owner, id) LEFT JOIN runs USING (owner, id)"
_KINDS = {  # of pictures, as they are counted
    "all": "binned_at IS NULL",
    "favourite": "binned_at IS NULL AND favourite IS 1",
    "fills": "binned_at IS NULL AND fill IS 1",
    "steps": "binned_at IS NULL AND open IS 1",
    "bin": "binned_at IS NOT NULL",
}


@dataclass(frozen=True)
class Wanted:
    """What is looked for: pictures that fit everything which is given. Times are milliseconds since 1970."""

    query: str = ""  # words of the prompt, the model, the seed or the date
    model: str = ""
    made_from: int | None = None
    made_to: int | None = None
    favourite: bool = False
    binned: bool = False
    document: str = ""  # that a picture stands in
    fills: bool = False  # only those that fill a region of another picture
    with_steps: bool = False  # only those whose every step can still be opened


@dataclass(frozen=True)
class Counts:
    """How many pictures fit what is looked for and, whatever kind is looked for, how many of each fit the rest."""

    found: int
    all: int
    favourite: int
    fills: int
    steps: int
    bin: int


@dataclass(frozen=True)
class LibraryEntry:
    """A picture as the gallery lists it."""

    id: str
    made_at: int
    request: dict[str, Any]
    stopped_at: int | None
    favourite: bool
    binned_at: int | None
    bytes: int
    documents: tuple[str, ...]  # in whose history it stands
    fill: bool  # whether it fills a region of another picture
    run: RunFacts  # what is told of its steps


class Library:
    """The pictures of everybody who uses this studio. Safe to call from several threads."""

    def __init__(self, database: Database, pictures: PictureStore, runs: RunStore) -> None:
        self._database = database
        self._pictures = pictures
        self._runs = runs
        self._index = RunIndex(database, runs)
        self._synced: dict[str, threading.Thread | None] = {}  # owners whose files were compared with the index
        self._lock = threading.Lock()
        pictures.tell(self._note, self._hidden)

    def find(
        self, owner: str, wanted: Wanted, limit: int = 60, before: str | None = None
    ) -> tuple[list[LibraryEntry], str | None]:
        """The newest pictures that fit, at most `limit`, and where to go on (`before`) if there are more."""
        self.sync(owner)
        conditions, values = _conditions(owner, wanted)
        if before:
            conditions.append("pictures.id < ?")
            values.append(before)
        with self._database.read() as rows:
            found = rows.execute(
                f"SELECT pictures.*, favourite, binned_at FROM {_JOINED} WHERE {' AND '.join(conditions)} "
                "ORDER BY pictures.id DESC LIMIT ?",
                (*values, limit + 1),
            ).fetchall()
            shown = found[:limit]
            documents = _documents_with(rows, owner, [row["id"] for row in shown])
            runs = self._index.facts(rows, owner, [row["id"] for row in shown])
        entries = [
            LibraryEntry(
                row["id"],
                row["made_at"],
                json.loads(row["request"]),
                row["stopped_at"],
                bool(row["favourite"]),
                row["binned_at"],
                row["bytes"],
                tuple(documents.get(row["id"], ())),
                bool(row["fill"]),
                runs.get(row["id"], RunFacts()),
            )
            for row in shown
        ]
        return entries, (entries[-1].id if len(found) > limit else None)

    def counts(self, owner: str, wanted: Wanted) -> Counts:
        """How many pictures fit, and how many of each kind fit the words, the model, the times and the document."""
        conditions, values = _fitting(owner, wanted)
        kinds = {"found": " AND ".join(_kind(wanted)), **_KINDS}
        with self._database.read() as rows:
            found = rows.execute(
                f"SELECT {', '.join(f'coalesce(sum({kind}), 0)' for kind in kinds.values())} "
                f"FROM {_JOINED} WHERE {' AND '.join(conditions)}",
                values,
            ).fetchone()
        return Counts(**dict(zip(kinds, found, strict=True)))

    def models(self, owner: str) -> list[str]:
        """The names of all models that pictures of this owner were made with."""
        with self._database.read() as rows:
            found = rows.execute("SELECT DISTINCT model FROM pictures WHERE owner = ? ORDER BY model", (owner,))
            return [row[0] for row in found]

    def mark(self, owner: str, picture_id: str, favourite: bool) -> None:
        """Makes a picture a favourite, or none any more. Raises NotFound."""
        self._set(owner, picture_id, "favourite", int(favourite))

    def delete(self, owner: str, picture_id: str) -> None:
        """Puts a picture into the bin, from where `restore` brings it back. Raises NotFound."""
        self._set(owner, picture_id, "binned_at", now())

    def restore(self, owner: str, picture_id: str) -> None:
        """Takes a picture out of the bin. Raises NotFound."""
        self._set(owner, picture_id, "binned_at", None)

    def empty_bin(self, owner: str | None = None, older_than_days: float = 0) -> int:
        """Deletes for good what is in the bin (of everybody if `owner` is None), with its runs; returns how many.

        What stands in a document, or what another run goes on from, is left in the bin.
        """
        before = now() - int(older_than_days * 86_400_000)
        with self._database.read() as rows:
            found = rows.execute(
                "SELECT owner, id FROM marks WHERE binned_at <= ? AND (? IS NULL OR owner = ?)",
                (before, owner, owner),
            ).fetchall()
            free = [
                (row["owner"], row["id"])
                for row in found
                if not _documents_with(rows, row["owner"], [row["id"]], True)
            ]
        gone = 0
        for whose, picture_id in free:
            run = self._runs.get(whose, picture_id)
            if run is not None and any(other.parent == run.id for other in self._runs.family(whose, run)):
                continue
            self._runs.discard(whose, picture_id)
            self._pictures.discard(whose, picture_id)
            with self._database.write() as rows:
                for table in ("pictures", "marks"):
                    rows.execute(f"DELETE FROM {table} WHERE owner = ? AND id = ?", (whose, picture_id))
            gone += 1
        return gone

    def same_file(self, owner: str, file: bytes) -> str | None:
        """The id of the picture whose file this is, byte for byte; None for any other file.

        Of several, painted alike, it is the newest that is not in the bin, or else the newest.
        """
        try:
            request, _ = request_in(file)
        except (UnreadablePicture, InvalidRequest):
            return None
        self.sync(owner)
        with self._database.read() as rows:
            found = rows.execute(
                "SELECT pictures.id FROM pictures LEFT JOIN marks USING (owner, id) "
                "WHERE pictures.owner = ? AND bytes = ? AND seed = ? ORDER BY binned_at IS NOT NULL, pictures.id DESC",
                (owner, len(file), request.seed),
            ).fetchall()
        return next((row["id"] for row in found if self._pictures.png(owner, row["id"]) == file), None)

    def used(self, owner: str) -> tuple[int, int]:
        """How many pictures there are, the bin included, and their bytes on disk."""
        self.sync(owner)
        with self._database.read() as rows:
            found = rows.execute(
                "SELECT count(*), coalesce(sum(bytes), 0) FROM pictures WHERE owner = ?", (owner,)
            ).fetchone()
        return int(found[0]), int(found[1])

    def sync(self, owner: str, wait: bool = False) -> None:
        """Compares the index with the files, once per process.

        Nobody waits for many files: the newest are in the index when this returns, the others are looked at beside,
        unless told to `wait`.
        """
        with self._lock:
            if owner not in self._synced:
                files = self._pictures.ids(owner)
                self._read(owner, self._missing(owner, heapq.nlargest(_INLINE, files)))
                if len(files) <= _FEW and len(self._missing(owner, files)) <= _INLINE:
                    self._synced[owner] = None
                    self._compare(owner)
                else:
                    beside = threading.Thread(target=self._compare, args=(owner,), name="studio-library", daemon=True)
                    self._synced[owner] = beside
                    beside.start()
            running = self._synced[owner]
        if wait and running is not None:
            running.join()

    # -- inside -------------------------------------------------------------------------------------------------------

    def _compare(self, owner: str) -> None:
        """Takes what is new into the index, and forgets entries without their files."""
        with self._database.read() as rows:
            known = {row[0] for row in rows.execute("SELECT id FROM pictures WHERE owner = ?", (owner,))}
        files = self._pictures.ids(owner)  # only now: whatever stands in the index has its file by now
        if gone := known - files:
            with self._database.write() as rows:
                rows.executemany("DELETE FROM pictures WHERE owner = ? AND id = ?", [(owner, each) for each in gone])
        self._read(owner, self._missing(owner, files))
        self._index.sync(owner)

    def _missing(self, owner: str, ids: Collection[str]) -> list[str]:
        """Those of these pictures that are not in the index, or not whole; the newest first."""
        with self._database.read() as rows:
            if len(ids) > _INLINE:
                found = rows.execute("SELECT id FROM pictures WHERE owner = ? AND fill IS NOT NULL", (owner,))
            else:
                marks = ",".join("?" * len(ids))
                found = rows.execute(
                    f"SELECT id FROM pictures WHERE owner = ? AND fill IS NOT NULL AND id IN ({marks})", (owner, *ids)
                )
            return sorted({*ids}.difference(row[0] for row in found), reverse=True)

    def _read(self, owner: str, ids: Sequence[str]) -> None:
        for start in range(0, len(ids), _BATCH):
            found = []
            for picture_id in ids[start : start + _BATCH]:
                png = self._pictures.png(owner, picture_id)
                kept = picture_in(picture_id, png) if png is not None else None
                if png is not None and kept is not None:
                    found.append(_row(owner, kept, len(png)))
            with self._database.write() as rows:
                rows.executemany(_INSERT, found)

    def _note(self, owner: str, kept: KeptPicture, size: int) -> None:
        """A picture was just kept. If this fails, its file is found at the next start."""
        with self._database.write() as rows:
            rows.execute(_INSERT, _row(owner, kept, size))

    def _hidden(self, owner: str) -> frozenset[str]:
        with self._database.read() as rows:
            found = rows.execute("SELECT id FROM marks WHERE owner = ? AND binned_at IS NOT NULL", (owner,))
            return frozenset(row[0] for row in found)

    def _set(self, owner: str, picture_id: str, column: str, value: int | None) -> None:
        if not self._pictures.has(owner, picture_id):
            raise NotFound("There is no such picture here. It may have been deleted for good.")
        with self._database.write() as rows:
            rows.execute("INSERT OR IGNORE INTO marks (owner, id) VALUES (?, ?)", (owner, picture_id))
            rows.execute(f"UPDATE marks SET {column} = ? WHERE owner = ? AND id = ?", (value, owner, picture_id))


def _conditions(owner: str, wanted: Wanted) -> tuple[list[str], list[Any]]:
    conditions, values = _fitting(owner, wanted)
    return [*conditions, *_kind(wanted)], values


def _kind(wanted: Wanted) -> list[str]:
    """Conditions that do, and that need no values."""
    asked = (wanted.favourite, "favourite IS 1"), (wanted.fills, "fill IS 1"), (wanted.with_steps, "open IS 1")
    return [
        f"binned_at IS {'NOT ' if wanted.binned else ''}NULL",
        *(condition for is_asked, condition in asked if is_asked),
    ]


def _fitting(owner: str, wanted: Wanted) -> tuple[list[str], list[Any]]:
    """Conditions that do not ask what kind of picture it is."""
    conditions = ["pictures.owner = ?"]
    values: list[Any] = [owner]
    for word in searched(wanted.query).split()[:_TERMS]:
        conditions.append("instr(words, ?) > 0")
        values.append(word)
    for condition, value in (
        ("model = ?", wanted.model or None),
        ("made_at >= ?", wanted.made_from),
        ("made_at < ?", wanted.made_to),
    ):
        if value is not None:
            conditions.append(condition)
            values.append(value)
    if wanted.document:
        conditions.append("pictures.id IN (SELECT id FROM refs WHERE kind = 'run' AND document = ?)")
        values.append(wanted.document)
    return conditions, values


def _documents_with(
    rows: sqlite3.Connection, owner: str, ids: Iterable[str], binned: bool = False
) -> dict[str, list[str]]:
    """The documents of this owner in whose history these pictures stand, those in the bin only if `binned`."""
    wanted = list(ids)
    found = rows.execute(
        "SELECT refs.id, document FROM refs JOIN documents ON documents.id = document "
        f"WHERE kind = 'run' AND refs.id IN ({','.join('?' * len(wanted))}) AND owner = ? "
        f"{'' if binned else 'AND binned_at IS NULL'} ORDER BY used_at DESC",
        (*wanted, owner),
    )
    documents: dict[str, list[str]] = {}
    for picture_id, document in found:
        documents.setdefault(picture_id, []).append(document)
    return documents


def _row(owner: str, kept: KeptPicture, size: int) -> tuple[Any, ...]:
    request = kept.request
    day = datetime.datetime.fromtimestamp(kept.made_at / 1000).astimezone().date().isoformat()
    words = searched("\n".join((request.prompt, request.negative_prompt, request.model, str(request.seed), day)))
    return (
        owner,
        kept.id,
        kept.made_at,
        words,
        request.model,
        request.seed,
        json.dumps(request.to_dict(), ensure_ascii=False),
        kept.stopped_at,
        size,
        int(kept.fill),
    )
