"""A disk that fills up while somebody works: words, nothing lost, and it goes on once there is room."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import driver
import httpx
import pytest
from document_room import node_id, room
from drawing_page import Page, strokes_are_there
from served import Served, served

from studio.errors import StudioError
from studio.project.disk import FLOOR_SHARE

SIZE = 4 * 1024**2  # bytes of the disk
SERVED = 64 * 1024**2  # bytes of a server's, of which a person may take an eighth, ...
LEFT = 2 * 1024**2  # ... and of which so many are left when a page begins to draw
MOST = 3000  # things that are done until it must be full
LARGEST = 1024**2  # bytes of one file, where no small disk can be had

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a small disk, or limits of a process")


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


def _says_make_room(said: str | None, *reasons: str) -> None:
    assert said is not None
    assert any(reason in said for reason in reasons), said
    assert "Make room" in said
    assert said.isprintable()


@pytest.mark.parametrize("small_disk", [SIZE], indirect=True)
def test_a_full_disk_is_said_and_nothing_is_lost(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studio.project.disk.OWNER_SHARE", 1)  # else what one person may take is taken first
    told = driver.Told()
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"\0" * (SIZE // 4))
    _work_until_full(small_disk / "data", tmp_path / "journal", tmp_path / "words")
    _says_make_room((tmp_path / "words").read_text(), "No space left", "full")
    ballast.unlink()  # room again
    told.read(tmp_path / "journal")
    assert told.count > 20
    made = driver.examine(small_disk / "data", told)
    with contextlib.closing(made.database):
        driver.goes_on(made, tmp_path / "after", 1)


def _drawn_until_refused(page: Page) -> tuple[int, str, str]:
    """The number and the node of the stroke that was refused, and the words."""
    for number in itertools.count(len(page.confirmed)):
        node = node_id()
        words = page.draw(number, node)
        if words is not None:
            return number, node, words
        assert number < MOST
    raise AssertionError


@contextlib.contextmanager
def _stays_alive(studio: Served) -> Iterator[Page]:
    """A page of a server; where that ends, what it said last is told, as its log is gone with the disk."""
    try:
        yield Page(studio.client)
    except httpx.TransportError as gone:
        said = studio.log.read_text()[-2000:]
        raise AssertionError(f"the server ended with {studio.process.wait(30)}:\n{said}") from gone


@pytest.mark.parametrize("small_disk", [SERVED], indirect=True)
def test_a_page_that_draws_on_a_full_disk_is_told_and_loses_nothing(small_disk: Path) -> None:
    data, ballast = small_disk / "data", small_disk / "ballast"
    data.mkdir()
    with served(data) as studio, _stays_alive(studio) as page:
        other = Page(studio.client)
        other.create()
        page.create()
        disk = shutil.disk_usage(small_disk)
        ballast.write_bytes(b"\0" * (disk.free - disk.total // FLOOR_SHARE - LEFT))
        number, node, words = _drawn_until_refused(page)
        assert len(page.confirmed) > 20
        _says_make_room(words, "almost full")
        assert str(small_disk) not in words, "it is not told where on the server things stand"
        strokes_are_there(studio, page)
        assert studio.client.delete(f"/studio/documents/{other.document}").status_code == 200, "what makes room goes"
        with ballast.open("ab", buffering=0) as rest, contextlib.suppress(OSError):
            while rest.write(b"\0" * 4096):  # now not even what stays free is there
                pass
        _says_make_room(page.draw(number, node), "almost full", "No space left")
        strokes_are_there(studio, page)
        for path in ("", "studio/session", "studio/documents", "studio/library", "studio/wordbook"):
            assert studio.client.get(f"/{path}").status_code == 200, f"{path} can be looked at"
        ballast.unlink()
        assert page.draw(number, node) is None, "the same stroke, once there is room"
        assert page.draw(number + 1, node_id()) is None
        strokes_are_there(studio, page)
        assert [kept for kept, _ in page.confirmed][-2] == node
    with served(data) as again, _stays_alive(again):
        page.client = again.client
        strokes_are_there(again, page)
        assert page.draw(number + 2, node_id()) is None
    with room(data) as made:
        assert made.database.check() == []
        assert not list(data.rglob("*.part"))


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
    _says_make_room((tmp_path / "words").read_text(), "full", "I/O error", "too large")
    told = driver.Told()
    told.read(tmp_path / "journal")
    assert told.count > 20
    made = driver.examine(tmp_path / "data", told)
    with contextlib.closing(made.database):
        driver.goes_on(made, tmp_path / "after", 1)
