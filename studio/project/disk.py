"""Room on the disk: what stays free of it, and the words where something could not be kept.

Words for a visitor never tell where on the server things stand: that goes to the log.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from studio.errors import StudioError, human_bytes

FREE_FLOOR = 1024**3  # bytes that nobody's work may take: a full disk would stop everybody at once
FLOOR_SHARE = 50  # of a small disk, one part in so many stays free
OWNER_SHARE = 8  # one part in so many of the disk is the most that one person's pictures, runs or documents take
BLOCK = 4096  # bytes that the smallest file takes

log = logging.getLogger(__name__)


def at_most(budget: int, folder: Path) -> int:
    """`budget` bytes for one kind of one person's things below `folder`, or less where its disk is small."""
    disk = _disk_of(folder)
    return budget if disk is None else min(budget, disk[0] // OWNER_SHARE)


def check_free(folder: Path, more: int = 0) -> None:
    """Raises StudioError if `more` bytes below `folder`, which need not be there yet, would fill its disk too far."""
    disk = _disk_of(folder)
    if disk is None:
        return
    total, free = disk
    floor = min(FREE_FLOOR, total // FLOOR_SHARE)
    if free - more < floor:
        log.warning("The disk of %s is almost full: %s are free", folder, human_bytes(free))
        raise StudioError(
            f"The studio's disk is almost full: {human_bytes(free)} are free, and {human_bytes(floor)} stay so. "
            "Make room there, or start with --data and another folder."
        )


def _disk_of(folder: Path) -> tuple[int, int] | None:
    """Its bytes, all and those that are free; None where nobody can tell: whoever writes there says what is wrong."""
    here = folder
    while not here.exists() and here != here.parent:
        here = here.parent
    try:
        disk = shutil.disk_usage(here)
    except OSError:
        return None
    return disk.total, disk.free


def taken(size: int) -> int:
    """Bytes that a file of `size` bytes takes on the disk, and at least one block."""
    return max(1, -(-size // BLOCK)) * BLOCK


def not_kept(what: str, folder: Path, problem: OSError) -> StudioError:
    """What to raise where `what` ("The picture") could not be kept below `folder`."""
    log.warning("%s could not be kept in %s: %s", what, folder, problem)
    return StudioError(
        f"{what} could not be kept: {problem.strerror or 'the disk does not take it'}. Make room on the studio's "
        "disk, or start with --data and another folder."
    )
