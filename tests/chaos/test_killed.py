"""Killed at random moments: what was confirmed is there, nothing lies about, and the next change works.

`CHAOS_MOMENTS` sets how many moments there are, `CHAOS_SEED` which.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import sys
import time
from pathlib import Path

import driver
import pytest
from document_room import room

MOMENTS = int(os.environ.get("CHAOS_MOMENTS", "48"))
SEED = int(os.environ.get("CHAOS_SEED", "1"))
PATIENCE = 60.0  # seconds until a process begins to work, on a machine that has other things to do
PART = 8  # moments in one folder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are forked, which Windows does not do")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A document with a fill, its run and its picture, to be taken in."""
    folder = tmp_path_factory.mktemp("archive")
    with room(folder / "data") as made:
        person = driver.Person(made, folder / "journal", 1, None)
        person.create()
        for _ in range(3):
            person.stroke()
        person.fill()
        person.close()
        (document,) = made.documents.listed(driver.OWNER)
        made.archive.write(driver.OWNER, document.id, folder / "document.wavebrush")
    return folder / "document.wavebrush"


def _at_work(journal: Path, with_a_fill: bool) -> bool:
    """Whether a process has begun; or, in every folder once, whether it has confirmed a fill."""
    return journal.exists() and (not with_a_fill or '"fill":' in journal.read_text())


@pytest.mark.parametrize("part", range(-(-MOMENTS // PART)))
def test_a_process_killed_at_any_moment_loses_nothing_that_was_confirmed(
    part: int, archive: Path, tmp_path: Path
) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["driver"])  # what is imported once is there in every process
    chance = random.Random(f"{SEED} {part}")
    told = driver.Told()
    data = tmp_path / "data"
    for moment in range(min(PART, MOMENTS - part * PART)):
        journal = tmp_path / f"journal-{moment}"
        process = context.Process(
            target=driver.live, args=(str(data), str(journal), chance.randrange(10**9), str(archive)), daemon=True
        )
        process.start()
        deadline = time.monotonic() + PATIENCE
        while not _at_work(journal, moment == 0) and process.is_alive() and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.25) if moment else chance.uniform(0, 1.0))
        assert process.is_alive(), "it ended by itself"
        process.kill()
        process.join(PATIENCE)
        assert process.exitcode == -9
        process.close()
        told.read(journal)
        made = driver.examine(data, told)
        try:
            driver.goes_on(made, tmp_path / f"after-{moment}", moment)
        finally:
            made.database.close()
        told.read(tmp_path / f"after-{moment}")
        assert told.fills, "it was killed before it had confirmed a fill"
    assert told.count > 8, "too slow a machine to have confirmed anything"
