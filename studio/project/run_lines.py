"""What is always known of every run, and a file that tells it again after a start.

The facts of a run are about 20 kB of JSON: reading those of 20,000 runs takes half a minute, in which nobody could
open one. So their lines are kept in one file beside them, each with the size and time of the facts that it was read
from; a line whose facts have changed is read anew. The file may be lost, stale or damaged at any time.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from dataclasses import dataclass, fields
from itertools import product
from operator import attrgetter
from pathlib import Path
from typing import Any

from studio.errors import StudioError
from studio.project.kept_run import RUN_ID, KeptRun, is_plain_file, read_facts
from studio.project.run_files import FACTS, LINES
from studio.whole_file import write_whole

LINES_LIMIT = 256 * 1024**2  # bytes
FORMAT = 1
_READ_ANEW = 16  # lines from which on the file is written again

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunLine:
    """What is always known of a run: where it stands among the others, and what a list or a tree says of it."""

    id: str
    family: str
    parent: str | None
    branch_at: int | None
    label: str
    made_at: int  # milliseconds since 1970
    recorded: int  # steps
    count: int  # steps that the whole run was to make
    stopped_at: int | None

    @classmethod
    def of(cls, run: KeptRun) -> RunLine:
        return cls(
            run.id,
            run.family,
            run.parent,
            run.branch_at,
            run.label,
            run.made_at,
            len(run.steps),
            run.count,
            run.stopped_at,
        )


_values = attrgetter(*(field.name for field in fields(RunLine)))
_NONE = type(None)
# what the values of a line may be, in order: looked up whole, since there may be tens of thousands of lines
_TYPES = frozenset(product((str,), (str,), (str, _NONE), (int, _NONE), (str,), (int,), (int,), (int,), (int, _NONE)))


def read_lines(home: Path) -> dict[str, RunLine]:
    """The runs in an owner's folder by id. Files that are not ours are left alone."""
    remembered = _remembered(home / LINES)
    lines: dict[str, RunLine] = {}
    stamps: dict[str, tuple[int, int]] = {}
    anew = 0
    with contextlib.suppress(OSError):
        for entry in os.scandir(home):
            run_id, dot, ending = entry.name.partition(".")
            if dot + ending != FACTS or not RUN_ID.fullmatch(run_id) or not entry.is_file(follow_symlinks=False):
                continue
            status = entry.stat(follow_symlinks=False)
            stamp = status.st_size, status.st_mtime_ns
            known_stamp, line = remembered.get(run_id, (None, None))
            if line is None or known_stamp != stamp:
                run = read_facts(Path(entry.path))
                if run is None:
                    continue
                line, anew = RunLine.of(run), anew + 1
            lines[run_id], stamps[run_id] = line, stamp
    if anew >= _READ_ANEW:
        told = [[*stamps[run_id], *_values(line)] for run_id, line in lines.items()]
        try:
            write_whole(home / LINES, json.dumps({"format": FORMAT, "lines": told}, ensure_ascii=False).encode())
        except (StudioError, ValueError) as problem:  # they are read once more then
            log.warning("The lines of runs cannot be kept: %s", problem)
    return lines


def _remembered(file: Path) -> dict[str, tuple[tuple[int, int], RunLine]]:
    """Lines by id, each with size and time of the facts that it was read from. Nothing where the file is no good."""
    try:
        if not is_plain_file(file, LINES_LIMIT):
            return {}
        value = json.loads(file.read_bytes())
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            return {}
        return {run_id: ((size, time), _line_of([run_id, *rest])) for size, time, run_id, *rest in value["lines"]}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return {}


def _line_of(values: list[Any]) -> RunLine:
    if tuple(map(type, values)) not in _TYPES:
        raise TypeError("Not a line.")
    return RunLine(*values)
