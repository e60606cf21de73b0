"""The index over all pictures: what it says is what the files say, whatever happened to it."""

from __future__ import annotations

import datetime
import json
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
from studio.project.library import Library, Wanted
from studio.project.runs import KeptRun, KeptStep
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
        assert library.count("me", Wanted(**wanted)) == len(found)
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
