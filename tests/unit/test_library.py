"""The index over all pictures: what it says is what the files say, whatever happened to it."""

from __future__ import annotations

import collections
import contextlib
import datetime
import json
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from document_room import DocumentRoom, room

from studio.errors import NotFound, StudioError
from studio.imaging.png import REQUEST_KEY, write_png
from studio.project.document_values import Layer, State
from studio.project.housekeeping import Housekeeping
from studio.project.library import Counts, Library, Wanted
from studio.project.runs import KeptRun, KeptStep
from studio.project.store import PictureStore
from studio.project.thumbnails import ThumbnailCache
from studio.requests import TextToImage

NOON = 1_700_000_000_000


def _png(**request: Any) -> bytes:
    note = {"format": 1, "request": TextToImage(**{"prompt": "a lake", **request}).to_dict()}
    return write_png(np.zeros((4, 4, 3), np.uint8), {REQUEST_KEY: json.dumps(note)})


@pytest.fixture
def made(tmp_path: Path) -> Iterator[DocumentRoom]:
    with room(tmp_path) as found:
        yield found


@pytest.fixture
def library(made: DocumentRoom) -> Library:
    return Library(made.database, made.pictures, made.runs)


def _found(library: Library, owner: str = "me", **wanted: Any) -> list[str]:
    return [entry.id for entry in library.find(owner, Wanted(**wanted))[0]]


def test_a_new_picture_is_found_at_once(made: DocumentRoom, library: Library) -> None:
    assert _found(library) == []
    picture = made.pictures.add("me", _png(prompt="A Lake at dawn", seed=7), NOON)
    ((entry,), cursor) = library.find("me", Wanted())
    assert (entry.id, entry.made_at, entry.request["prompt"]) == (picture, NOON, "A Lake at dawn")
    assert (entry.favourite, entry.binned_at, entry.documents, cursor) == (False, None, (), None)
    assert entry.bytes == len(_png(prompt="A Lake at dawn", seed=7))
    assert _found(library, "you") == []


def test_the_index_is_made_again_from_the_files(made: DocumentRoom, library: Library) -> None:
    ids = [made.pictures.add("me", _png(seed=k), NOON + k) for k in range(60)]
    library.mark("me", ids[3], True)
    with made.database.write() as rows:
        rows.execute("DELETE FROM pictures")
    again = Library(made.database, made.pictures, made.runs)
    again.sync("me", wait=True)
    assert _found(again) == ids[::-1]
    assert _found(again, favourite=True) == [ids[3]]


def test_files_that_came_or_went_behind_our_back_are_noticed_at_the_next_start(
    made: DocumentRoom, library: Library
) -> None:
    ids = [made.pictures.add("me", _png(seed=k), NOON + k) for k in range(3)]
    (home,) = (made.folder / "pictures").iterdir()
    (home / f"{ids[0]}.png").unlink()
    (home / f"{NOON + 9}-{'0' * 16}.png").write_bytes(_png(seed=9))
    (home / "holiday.png").write_bytes(b"mine")
    (home / f"{NOON + 8}-{'0' * 16}.png").write_bytes(b"no picture")
    again = Library(made.database, made.pictures, made.runs)
    assert _found(again) == [f"{NOON + 9}-{'0' * 16}", ids[2], ids[1]]
    assert (home / "holiday.png").exists()


def test_nobody_waits_for_many_pictures_and_the_newest_are_there(
    made: DocumentRoom, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [made.pictures.add("me", _png(seed=k), NOON + k) for k in range(12)]
    with made.database.write() as rows:
        rows.execute("DELETE FROM pictures")
    monkeypatch.setattr("studio.project.library._FEW", 10)
    monkeypatch.setattr("studio.project.library._INLINE", 4)
    go_on = threading.Event()
    compare = Library._compare
    monkeypatch.setattr(Library, "_compare", lambda self, owner: (go_on.wait(30), compare(self, owner)))
    again = Library(made.database, made.pictures, made.runs)
    assert _found(again) == ids[:-5:-1]
    go_on.set()
    again.sync("me", wait=True)
    assert _found(again) == ids[::-1]


def test_a_picture_that_is_made_while_files_are_compared_stays(
    made: DocumentRoom, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = made.pictures.add("me", _png(seed=0), NOON)
    added = []
    ids = made.pictures.ids

    def meanwhile(owner: str) -> set[str]:
        found = ids(owner)
        added.append(made.pictures.add("me", _png(seed=1), NOON + 1 + len(added)))
        return found

    again = Library(made.database, made.pictures, made.runs)
    monkeypatch.setattr(made.pictures, "ids", meanwhile)
    assert _found(again) == [*added[::-1], first]
    assert len(added) > 1


def test_search_by_prompt_model_seed_and_date(made: DocumentRoom, library: Library) -> None:
    lake = made.pictures.add("me", _png(prompt="A LAKE at dawn", seed=1234567), NOON)
    house = made.pictures.add(
        "me", _png(prompt="eine Straße", negative_prompt="people", model="other"), NOON + 90_000_000
    )
    day = datetime.datetime.fromtimestamp(NOON / 1000).astimezone().date().isoformat()
    for wanted, found in [
        ({"query": "dawn lake"}, [lake]),
        ({"query": "1234567"}, [lake]),
        ({"query": day}, [lake]),
        ({"query": "STRASSE people"}, [house]),
        ({"query": "%"}, []),
        ({"model": "other"}, [house]),
        ({"model": "oth"}, []),
        ({"made_from": NOON + 1}, [house]),
        ({"made_to": NOON + 1}, [lake]),
        ({"favourite": True}, []),
        ({}, [house, lake]),
    ]:
        assert _found(library, **wanted) == found, wanted
        assert library.counts("me", Wanted(**wanted)).found == len(found)
    assert library.models("me") == ["other", "painter"]


def test_pages_follow_each_other_without_gap_or_overlap(made: DocumentRoom, library: Library) -> None:
    ids = [made.pictures.add("me", _png(seed=k), NOON + k) for k in range(7)]
    found, before = [], None
    for size in (3, 3, 1):
        entries, before = library.find("me", Wanted(), 3, before)
        assert len(entries) == size
        found += [entry.id for entry in entries]
        made.pictures.add("me", _png(), NOON + 1000)  # new ones come on top and move nothing
    assert (found, before) == (ids[::-1], None)


def test_the_bin_hides_a_picture_and_gives_it_back(made: DocumentRoom, library: Library) -> None:
    ids = [made.pictures.add("me", _png(seed=k), NOON + k) for k in range(3)]
    library.delete("me", ids[1])
    assert _found(library) == [ids[2], ids[0]]
    assert _found(library, binned=True) == [ids[1]]
    assert [kept.id for kept in made.pictures.newest("me")] == [ids[2], ids[0]]
    library.restore("me", ids[1])
    assert _found(library) == ids[::-1]
    library.delete("me", ids[0])
    assert library.empty_bin("you") == library.empty_bin("me", older_than_days=1) == 0
    assert library.empty_bin("me") == 1
    assert made.pictures.png("me", ids[0]) is None
    for change in (lambda: library.restore("me", ids[0]), lambda: library.mark("you", ids[1], True)):
        with pytest.raises(NotFound):
            change()


def test_what_a_document_needs_stays_in_the_bin(made: DocumentRoom, library: Library) -> None:
    picture = made.pictures.add("me", _png(), NOON)
    run = KeptRun(picture, TextToImage("a lake"), NOON, 1, 1, (KeptStep(1.0, None, 1.0),))
    made.runs.add("me", run, None, None)
    branch = made.pictures.add("me", _png(seed=1), NOON + 1)
    made.runs.add("me", replace(run, id=branch, parent=picture, root=picture, branch_at=0), None, None)
    layer = Layer("a", "A", "picture", 0, 0, True, 100, {(0, 0): made.tile(1)}, {"picture": branch, "run": branch})
    document, _ = made.documents.create("me", "x", State(9, 9, (layer,)))
    assert [entry.documents for entry in library.find("me", Wanted())[0]] == [(document,), ()]
    assert _found(library, document=document) == [branch]
    library.delete("me", branch)
    library.delete("me", picture)
    assert library.empty_bin("me") == 0, "one stands in a document, the other is what it goes on from"
    made.documents.delete("me", document)
    assert library.empty_bin("me") == 0
    made.documents.empty_bin("me")
    assert library.empty_bin("me") + library.empty_bin("me") == 2
    assert made.runs.newest("me") == []
    assert library.used("me") == (0, 0)


def test_a_picture_is_safe_even_if_the_index_cannot_be_written(
    made: DocumentRoom, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StudioError("The documents cannot be used: database or disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(made.database, "write", full)
        picture = made.pictures.add("me", _png(), NOON)
    assert _found(Library(made.database, made.pictures, made.runs)) == [picture]


def test_tidying_takes_only_what_nothing_needs(made: DocumentRoom, library: Library) -> None:
    document, first = made.documents.create("me", "x", made.state(1))
    kept = made.documents.state("me", document).pixels()
    loose = {made.tile(5), made.tile(6, "you")}
    housekeeping = Housekeeping(made.documents, made.pixels, library, ThumbnailCache(made.folder))
    assert housekeeping.sweep().pixels == 0, "they may still be about to be used"
    assert housekeeping.sweep(rest=-1).pixels == len(loose)
    assert made.pixels.extents("me", kept).keys() == kept
    made.append(document, first, 1)
    housekeeping.start()
    housekeeping.stop()


def test_small_pictures_are_made_once_and_the_oldest_go_first(tmp_path: Path) -> None:
    cache = ThumbnailCache(tmp_path, budget=250)
    calls: list[str] = []

    def make(name: str) -> bytes:
        calls.append(name)
        return name.encode() * 50

    for name in ("aa", "bb", "aa"):
        assert cache.get("me", name, lambda name=name: make(name)) == name.encode() * 50
    assert calls == ["aa", "bb"]
    cache.get("you", "aa", lambda: make("cc"))
    assert cache.size() == 300
    assert cache.sweep() == 1
    assert cache.size() == 200
    with pytest.raises(StudioError):
        cache.get("me", "dd", lambda: (_ for _ in ()).throw(StudioError("no")))


def test_small_pictures_leave_an_almost_full_disk_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = ThumbnailCache(tmp_path)
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 0, 10**9))
    assert cache.get("me", "aa", lambda: b"webp") == b"webp"
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 0, 10**10))
    assert cache.get("me", "aa", lambda: b"webp") == b"webp"
    assert cache.size() == 4


# -- what is told of runs ---------------------------------------------------------------------------------------------

LATENTS = b"latents" * 100


def _run(made: DocumentRoom, number: int, parent: str | None = None, at: int = 0, latents: bool = True) -> str:
    """A picture with its run, which shares the first `at` steps of its parent."""
    picture = made.pictures.add("me", _png(seed=number), NOON + number)
    steps = (KeptStep(1.0, None, 1.0), KeptStep(0.5, None, 0.5))
    line = {"parent": parent, "root": parent, "branch_at": at} if parent is not None else {}
    run = KeptRun(picture, TextToImage("a lake"), NOON, 2, 1, steps, seconds=number / 4, **line)
    made.runs.add("me", run, None, None)
    if latents:  # as big files come: their content is none of the index's business
        path = made.folder / "passing"
        path.write_bytes(LATENTS)
        made.runs.adopt("me", run, {".safetensors": path})
    return picture


def _facts(library: Library) -> dict[str, tuple[object, ...]]:
    entries, _ = library.find("me", Wanted(), 500)
    return {
        each.id: (
            each.run.steps,
            each.run.seconds,
            each.run.open,
            each.run.bytes,
            each.run.branch_of,
            each.run.branches,
        )
        for each in entries
    }


def test_the_gallery_tells_of_steps_seconds_and_branches(made: DocumentRoom, library: Library) -> None:
    first = _run(made, 1)
    second, third = _run(made, 2, first, 1), _run(made, 3, first, 0, latents=False)
    bare = made.pictures.add("me", _png(seed=9), NOON + 9)
    size = len(LATENTS)
    expected = {
        bare: (0, None, False, 0, None, 0),
        third: (2, 0.75, False, 0, first, 0),
        second: (2, 0.5, True, size, first, 0),
        first: (2, 0.25, True, size, None, 2),
    }
    assert _facts(library) == expected
    assert _found(library, with_steps=True) == [second, first]
    with made.database.write() as rows:
        rows.execute("DELETE FROM runs")
    again = Library(made.database, made.pictures, made.runs)
    assert _facts(again) == expected, "made again from the files"
    assert again.counts("me", Wanted()).steps == 2


def test_runs_that_gave_up_their_latents_take_their_branches_with_them(made: DocumentRoom, library: Library) -> None:
    first = _run(made, 1)
    second, third = _run(made, 2, first, 1), _run(made, 3, first, 0)
    assert _found(library, with_steps=True) == [third, second, first]
    made.runs._budget = 3 * len(LATENTS)
    fourth = _run(made, 4)
    assert _found(library, with_steps=True) == [fourth, third], "the second goes on from the first, the third does not"
    (file,) = (made.folder / "runs").rglob(f"{fourth}.safetensors")
    file.unlink()
    again = Library(made.database, made.pictures, made.runs)
    assert _found(again, with_steps=True) == [third], "noticed at the next start"
    made.runs.discard("me", third)
    assert _found(again, with_steps=True) == []
    assert _facts(again)[third] == (0, None, False, 0, None, 0)


def test_fills_are_known_by_their_files_and_counted(made: DocumentRoom, library: Library) -> None:
    note = {"format": 1, "request": TextToImage("a boat").to_dict(), "fill": {"intent": "fill"}}
    png = write_png(np.zeros((4, 4, 3), np.uint8), {REQUEST_KEY: json.dumps(note)})
    fill = made.pictures.add("me", png, NOON)
    lake, star, binned = (made.pictures.add("me", _png(seed=k), NOON + k) for k in (1, 2, 3))
    library.mark("me", star, True)
    library.mark("me", binned, True)
    library.delete("me", binned)
    assert _found(library, fills=True) == [fill]
    assert [entry.fill for entry in library.find("me", Wanted())[0]] == [False, False, True]
    assert library.counts("me", Wanted()) == Counts(found=3, all=3, favourite=1, fills=1, steps=0, bin=1)
    assert library.counts("me", Wanted(query="boat", favourite=True)) == Counts(0, 1, 0, 1, 0, 0)
    assert library.counts("you", Wanted()) == Counts(0, 0, 0, 0, 0, 0)
    assert lake in _found(library)


def test_an_index_of_the_version_before_upgrades_itself(tmp_path: Path) -> None:
    note = {"format": 1, "request": TextToImage("a boat").to_dict(), "fill": {"intent": "fill"}}
    png = write_png(np.zeros((4, 4, 3), np.uint8), {REQUEST_KEY: json.dumps(note)})
    with room(tmp_path) as made:
        library = Library(made.database, made.pictures, made.runs)
        fill = made.pictures.add("me", png, NOON)
        run = _run(made, 1)
        library.mark("me", fill, True)
        with made.database.write() as rows:
            for column in ("pictures DROP COLUMN fill", "documents DROP COLUMN settings"):
                rows.execute(f"ALTER TABLE {column}")
            for statement in ("DROP TABLE runs", "PRAGMA user_version = 1"):
                rows.execute(statement)
    with room(tmp_path) as made:
        library = Library(made.database, made.pictures, made.runs)
        assert _found(library, fills=True, favourite=True) == [fill]
        assert _found(library, with_steps=True) == [run]
        assert made.database.check() == []
        with made.database.read() as rows:
            schema = "SELECT name, sql FROM sqlite_master WHERE name LIKE '%runs%' ORDER BY name"
            upgraded = [tuple(row) for row in rows.execute(schema)]
    with room(tmp_path / "new") as made, made.database.read() as rows:
        assert [tuple(row) for row in rows.execute(schema)] == upgraded


def test_the_file_of_a_picture_is_known_again(made: DocumentRoom, library: Library) -> None:
    file = _png(seed=7)
    assert library.same_file("me", file) is None
    older, newer = (made.pictures.add("me", file, NOON + k) for k in range(2))
    alike = _png(seed=7, prompt="a cake")
    assert len(alike) == len(file)
    made.pictures.add("me", alike, NOON + 2)
    assert library.same_file("me", file) == newer
    library.delete("me", newer)
    assert library.same_file("me", file) == older
    library.delete("me", older)
    assert library.same_file("me", file) == newer
    assert library.same_file("you", file) is None
    assert library.same_file("me", file[:-1] + b"x") is None
    assert library.same_file("me", write_png(np.zeros((4, 4, 3), np.uint8))) is None
    assert library.same_file("me", b"no picture") is None


def test_a_database_of_version_1_opens(tmp_path: Path) -> None:
    """As a studio of that version wrote it: a document, and a picture that is a favourite and a fill."""
    picture = "1700000000000-0123456789abcdef"
    with contextlib.closing(sqlite3.connect(tmp_path / "studio.sqlite3")) as file:
        file.executescript((Path(__file__).parents[1] / "data" / "version1.sql").read_text())
    note = {"format": 1, "request": TextToImage("a boat", seed=5).to_dict(), "fill": {"intent": "fill"}}
    png = write_png(np.zeros((4, 4, 3), np.uint8), {REQUEST_KEY: json.dumps(note)})
    PictureStore(tmp_path).adopt("me", picture, png)
    with room(tmp_path) as made:
        assert made.documents.open("me", "0" * 31 + "1").facts.name == "Version 1"
        library = Library(made.database, made.pictures, made.runs)
        assert _found(library, fills=True, favourite=True, query="boat 5") == [picture]
        assert made.database.check() == []
