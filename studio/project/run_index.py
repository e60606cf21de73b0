"""What the gallery tells of recorded runs: the index over their files, made again from them where it is lost.

The files are the truth. The index knows whether every step of a run can still be opened, so that pictures can be
searched by it without a look at the disk.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from studio.project.database import Database
from studio.project.runs import KeptRun, RunStore

_BATCH = 100  # runs that are written into the index at once


@dataclass(frozen=True)
class RunFacts:
    """What is told of the run of a picture. No run is there if it has no steps."""

    steps: int = 0  # that it made, with those that it shares
    seconds: float | None = None
    open: bool = False  # whether every step can still be opened
    bytes: int = 0  # of its own recording
    branch_of: str | None = None
    branches: int = 0  # runs that go on from it


@dataclass(frozen=True)
class _Line:
    parent: str | None
    branch_at: int | None
    is_open: bool


class RunIndex:
    """The runs of everybody, as rows. Safe to call from several threads."""

    def __init__(self, database: Database, runs: RunStore) -> None:
        self._database = database
        self._runs = runs
        self._changing = threading.Lock()
        runs.tell(self._changed)

    def sync(self, owner: str) -> None:
        """Compares the rows with the files: takes in what is new, forgets what is gone, and which can be opened."""
        if new := self._look(owner):
            self._read(owner, new)
            self._look(owner)

    def facts(self, rows: sqlite3.Connection, owner: str, ids: Iterable[str]) -> dict[str, RunFacts]:
        """What is known of the runs of these pictures."""
        wanted = list(ids)
        marks = ",".join("?" * len(wanted))
        branches: dict[str, int] = {
            row[0]: row[1]
            for row in rows.execute(
                f"SELECT parent, count(*) FROM runs WHERE owner = ? AND parent IN ({marks}) GROUP BY parent",
                (owner, *wanted),
            )
        }
        found = rows.execute(f"SELECT * FROM runs WHERE owner = ? AND id IN ({marks})", (owner, *wanted))
        return {
            row["id"]: RunFacts(
                row["steps"],
                row["seconds"],
                bool(row["open"]),
                row["bytes"],
                row["parent"],
                branches.get(row["id"], 0),
            )
            for row in found
        }

    # -- inside -------------------------------------------------------------------------------------------------------

    def _changed(self, owner: str, ids: frozenset[str]) -> None:
        """These runs came, went, or gave up their latents: so their branches may be open no longer, too."""
        with self._changing:  # the disk is looked at outside of transactions: what was seen later is written later
            found = {run_id: self._runs.get(owner, run_id) for run_id in ids}
            sizes = {run_id: _size(self._runs.latents(owner, run_id)) for run_id in ids}
            with self._database.write() as rows:
                for run_id, run in found.items():
                    if run is None:
                        rows.execute("DELETE FROM runs WHERE owner = ? AND id = ?", (owner, run_id))
                    else:
                        _insert(rows, owner, run, sizes[run_id])
            marks = ",".join("?" * len(ids))
            with self._database.read() as rows:
                lines = rows.execute(
                    f"""
                    WITH RECURSIVE after (id) AS (
                        SELECT id FROM runs WHERE owner = ? AND id IN ({marks})
                        UNION SELECT runs.id FROM runs JOIN after ON runs.parent = after.id WHERE runs.owner = ?
                    ) SELECT runs.id, open FROM runs JOIN after USING (id) WHERE owner = ?
                    """,
                    (owner, *ids, owner, owner),
                ).fetchall()
            now = {run_id: self._runs.is_open(owner, run_id) for run_id, _ in lines}
            with self._database.write() as rows:
                for run_id, was in lines:
                    if now[run_id] != bool(was):
                        _open(rows, owner, run_id, now[run_id])

    def _look(self, owner: str) -> list[str]:
        """Corrects which runs can be opened, and forgets rows without files; returns the ids of runs without a row."""
        with self._changing:  # nobody tells of a change between the look at the disk and the writing
            with self._database.read() as rows:
                lines = {
                    row["id"]: _Line(row["parent"], row["branch_at"], bool(row["open"]))
                    for row in rows.execute("SELECT id, parent, branch_at, open FROM runs WHERE owner = ?", (owner,))
                }
            held = self._runs.on_disk(owner)  # only now: whatever stands in the index has its files by now
            gone = lines.keys() - held.keys()
            now = {run_id: _is_open(run_id, lines, held) for run_id in lines.keys() & held.keys()}
            wrong = [(run_id, is_open) for run_id, is_open in now.items() if is_open != lines[run_id].is_open]
            if gone or wrong:
                with self._database.write() as rows:
                    rows.executemany("DELETE FROM runs WHERE owner = ? AND id = ?", [(owner, each) for each in gone])
                    for run_id, is_open in wrong:
                        _open(rows, owner, run_id, is_open)
        return sorted(held.keys() - lines.keys(), reverse=True)

    def _read(self, owner: str, ids: Sequence[str]) -> None:
        held = self._runs.on_disk(owner)
        for start in range(0, len(ids), _BATCH):
            found = [self._runs.told(owner, run_id) for run_id in ids[start : start + _BATCH]]
            with self._database.write() as rows:
                for run in found:
                    if run is not None:
                        _insert(rows, owner, run, held.get(run.id, 0))


def _is_open(run_id: str, lines: Mapping[str, _Line], held: Mapping[str, int]) -> bool:
    """Whether the latents of a run are there, and those of all whose steps it shares."""
    seen: set[str] = set()
    while run_id in lines and run_id not in seen and held.get(run_id):
        seen.add(run_id)
        line = lines[run_id]
        if not line.branch_at or line.parent is None:
            return True
        run_id = line.parent
    return False


def _size(file: Any) -> int:
    try:
        return int(file.stat().st_size) if file is not None else 0
    except OSError:  # given up just now
        return 0


def _insert(rows: sqlite3.Connection, owner: str, run: KeptRun, size: int) -> None:
    """A row, which is open only once somebody has looked."""
    rows.execute(
        "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, 0, ?)",
        (owner, run.id, run.parent, run.branch_at, len(run.steps), run.seconds, size),
    )


def _open(rows: sqlite3.Connection, owner: str, run_id: str, is_open: bool) -> None:
    rows.execute("UPDATE runs SET open = ? WHERE owner = ? AND id = ?", (int(is_open), owner, run_id))
