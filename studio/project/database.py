"""The one SQLite database of a data folder: facts about documents and pictures. Pixels and latents are files.

Write-ahead log, and every commit is on the disk before it is reported. A process that is killed leaves what was
committed. One writer at a time, readers beside it. This module knows tables, not what they mean to a person.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from studio.errors import StudioError

FILE = "studio.sqlite3"
VERSION = 3

log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE documents (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    words TEXT NOT NULL,          -- the name as it is searched
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    head TEXT NOT NULL,           -- the node that is shown
    made_at INTEGER NOT NULL,     -- milliseconds since 1970, here and below
    changed_at INTEGER NOT NULL,
    used_at INTEGER NOT NULL,
    binned_at INTEGER,
    bytes INTEGER NOT NULL,       -- of its history
    stale INTEGER NOT NULL DEFAULT 0, -- whether `refs` may name more than the nodes do
    settings TEXT NOT NULL DEFAULT '{}'  -- JSON: what a person has set beside it
) WITHOUT ROWID;
CREATE INDEX documents_of ON documents (owner, used_at);

CREATE TABLE nodes (
    document TEXT NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    parent TEXT,
    number INTEGER NOT NULL,      -- in the order of making
    label TEXT NOT NULL,
    at INTEGER NOT NULL,
    bytes INTEGER NOT NULL,       -- of its state and of the pixels that its parent does not have
    state BLOB NOT NULL,          -- JSON, packed by zlib
    PRIMARY KEY (document, id)
);
CREATE INDEX nodes_in_order ON nodes (document, number);

CREATE TABLE refs (               -- everything that some node of a document refers to
    document TEXT NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,           -- pixels, run
    id TEXT NOT NULL,
    PRIMARY KEY (document, kind, id)
) WITHOUT ROWID;
CREATE INDEX refs_to ON refs (kind, id);

CREATE TABLE arriving (           -- runs that are being taken in with a document, which is not there yet
    owner TEXT NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (owner, id)
) WITHOUT ROWID;

CREATE TABLE pictures (           -- what the files say, to be searched. Made again from them where it is lost
    owner TEXT NOT NULL,
    id TEXT NOT NULL,
    made_at INTEGER NOT NULL,
    words TEXT NOT NULL,          -- what is searched
    model TEXT NOT NULL,
    seed INTEGER NOT NULL,
    request TEXT NOT NULL,        -- JSON
    stopped_at INTEGER,
    bytes INTEGER NOT NULL,
    fill INTEGER,                 -- whether it fills a region of another picture, NULL where nobody has looked yet
    PRIMARY KEY (owner, id)
) WITHOUT ROWID;

CREATE INDEX pictures_by_model ON pictures (owner, model);

CREATE TABLE runs (               -- what the files of runs say. Made again from them where it is lost
    owner TEXT NOT NULL,
    id TEXT NOT NULL,             -- of its picture
    parent TEXT,                  -- the run that it goes on from
    branch_at INTEGER,
    steps INTEGER NOT NULL,       -- with those that it shares
    seconds REAL,
    open INTEGER NOT NULL,        -- whether every step of it can still be opened
    bytes INTEGER NOT NULL,       -- of its own recording
    PRIMARY KEY (owner, id)
) WITHOUT ROWID;

CREATE INDEX runs_from ON runs (owner, parent);

CREATE TABLE marks (              -- what a person said of a picture, which its file does not tell
    owner TEXT NOT NULL,
    id TEXT NOT NULL,
    favourite INTEGER NOT NULL DEFAULT 0,
    binned_at INTEGER,
    PRIMARY KEY (owner, id)
) WITHOUT ROWID;
"""

_RUNS = _SCHEMA[_SCHEMA.index("CREATE TABLE runs") : _SCHEMA.index("CREATE TABLE marks")]
_UPGRADES = {  # from each version to the one after it
    1: f"ALTER TABLE pictures ADD COLUMN fill INTEGER; {_RUNS}",
    2: "ALTER TABLE documents ADD COLUMN settings TEXT NOT NULL DEFAULT '{}'",
}


class Database:
    """Connections to the database below `folder`, which is made if it is not there. Safe to call from several threads.

    Raises StudioError, in words, if it cannot be used: no room, damage, or made by a later version.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._writing = threading.RLock()
        self._idle: list[sqlite3.Connection] = []
        self._guard = threading.Lock()
        self._closed = False
        self._began = False  # only who starts the studio is told where the file lies
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._writer = self._connected()
            with self._said():
                self._prepare()
            self._began = True
        except OSError as problem:
            raise self._words(problem.strerror or str(problem)) from problem

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all that happens inside is there afterwards, or nothing of it. May be nested."""
        with self._writing, self._said():
            if self._closed:
                raise StudioError("The studio is closing: this change is not kept.")
            if self._writer.in_transaction:  # nested: the outer one ends it
                yield self._writer
                return
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees what is committed, all of it as at one moment."""
        with self._said():
            with self._guard:
                connection = self._idle.pop() if self._idle else None
            connection = connection or self._connected()
            try:
                connection.execute("BEGIN")
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                with self._guard:
                    if self._closed or len(self._idle) >= 8:
                        connection.close()
                    else:
                        self._idle.append(connection)

    def check(self) -> list[str]:
        """What SQLite's own examination finds wrong; nothing, normally."""
        with self.read() as rows:
            found = [str(row[0]) for row in rows.execute("PRAGMA integrity_check")]
            found += [f"foreign key: {tuple(row)}" for row in rows.execute("PRAGMA foreign_key_check")]
        return [line for line in found if line != "ok"]

    def close(self) -> None:
        """Ends the use of the database. May be called again."""
        with self._writing, self._guard:
            self._closed = True
            for connection in (*self._idle, self._writer):
                connection.close()
            self._idle.clear()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()

    def _connected(self) -> sqlite3.Connection:
        with self._said():
            connection = sqlite3.connect(self.path, timeout=30, isolation_level=None, check_same_thread=False)
            connection.row_factory = sqlite3.Row
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY"):
                connection.execute(f"PRAGMA {pragma}")
            return connection

    def _prepare(self) -> None:
        found = int(self._writer.execute("PRAGMA user_version").fetchone()[0])
        if found > VERSION:
            raise StudioError(
                f"{self.path} was written by a later version of the studio (format {found}; this one reads up to "
                f"{VERSION}). Install the newer version again, or choose another folder with --data."
            )
        if found < VERSION:
            with self.write() as rows:
                for script in (_UPGRADES[step] for step in range(found, VERSION)) if found else (_SCHEMA,):
                    for statement in script.split(";"):
                        if statement.strip():
                            rows.execute(statement)
                rows.execute(f"PRAGMA user_version = {VERSION}")

    @contextlib.contextmanager
    def _said(self) -> Iterator[None]:
        """Says in words what SQLite could not do."""
        try:
            yield
        except (sqlite3.OperationalError, sqlite3.DatabaseError) as problem:
            if isinstance(problem, (sqlite3.IntegrityError, sqlite3.ProgrammingError)):
                raise  # ours, not the disk's
            raise self._words(str(problem)) from problem

    def _words(self, reason: str) -> StudioError:
        hint = "Make room there, or start with --data and another folder."
        if "malformed" in reason or "not a database" in reason:
            hint = "Move this file away to start with an empty list of documents; pictures are files of their own."
        if self._began:
            log.warning("%s cannot be used: %s", self.path, reason)
            if "Move" in hint:
                hint = "Whoever runs the studio finds in its log where they lie."
            return StudioError(f"The studio's documents cannot be used: {reason}. {hint}")
        return StudioError(f"The documents in {self.path} cannot be used: {reason}. {hint}")
