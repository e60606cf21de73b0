"""A disk that fills up while somebody works: words, nothing lost, and it goes on once there is room."""

from __future__ import annotations

import contextlib
import multiprocessing
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import driver
import pytest
from document_room import room

from studio.errors import StudioError

SIZE = 4 * 1024**2  # bytes of the disk
MOST = 3000  # things that are done until it must be full
LARGEST = 1024**2  # bytes of one file, where no small disk can be had

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a small disk, or limits of a process")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk in memory that holds SIZE bytes. Skips where none may be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(disk)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def _work_until_full(data: Path, journal: Path, words: Path) -> None:
    """Works until something is refused; the words go to a file."""
    with room(data, **driver.LIMITS) as made:
        person = driver.Person(made, journal, 5, None)
        try:
            for _ in range(MOST):
                person.work()
        except StudioError as problem:
            words.write_text(str(problem))
        finally:
            person.close()


def _check(words: Path, *reasons: str) -> None:
    said = words.read_text()
    assert any(reason in said for reason in reasons), said
    assert "Make room" in said
    assert said.isprintable()


def test_a_full_disk_is_said_and_nothing_is_lost(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studio.project.disk.OWNER_SHARE", 1)  # else what one person may take is taken first
    told = driver.Told()
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"\0" * (SIZE // 4))
    _work_until_full(small_disk / "data", tmp_path / "journal", tmp_path / "words")
    _check(tmp_path / "words", "No space left", "full")
    ballast.unlink()  # room again
    told.read(tmp_path / "journal")
    assert told.count > 20
    made = driver.examine(small_disk / "data", told)
    with contextlib.closing(made.database):
        driver.goes_on(made, tmp_path / "after", 1)


def _limited(data: str, journal: str, words: str) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST, LARGEST))
    _work_until_full(Path(data), Path(journal), Path(words))


def test_a_file_that_may_not_grow_is_said_and_nothing_is_lost(tmp_path: Path) -> None:
    process = multiprocessing.get_context("forkserver").Process(
        target=_limited, args=tuple(str(tmp_path / name) for name in ("data", "journal", "words"))
    )
    process.start()
    process.join(300)
    assert process.exitcode == 0
    process.close()
    _check(tmp_path / "words", "full", "I/O error", "too large")
    told = driver.Told()
    told.read(tmp_path / "journal")
    assert told.count > 20
    made = driver.examine(tmp_path / "data", told)
    with contextlib.closing(made.database):
        driver.goes_on(made, tmp_path / "after", 1)
