"""The store: pictures appear whole or not at all, belong to one owner, and are found by our own ids alone."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.errors import InvalidRequest, StudioError, UnreadablePicture
from studio.imaging.png import REQUEST_KEY, write_png
from studio.project.store import PictureStore, request_in
from studio.requests import TextToImage

PIXELS = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
NOON = 1_700_000_000_000  # milliseconds since 1970


def _png(note: Any = None, **changed: Any) -> bytes:
    whole = {"format": 1, "request": TextToImage("a lake", seed=7).to_dict(), "made_with": {}} | changed
    text = note if isinstance(note, str) else json.dumps(whole)
    return write_png(PIXELS, {REQUEST_KEY: text})


@pytest.fixture
def store(tmp_path: Path) -> PictureStore:
    return PictureStore(tmp_path)


def test_a_picture_comes_back_byte_for_byte_with_its_facts(store: PictureStore) -> None:
    png = _png()
    picture_id = store.add("me", png, NOON, 3.5)
    assert store.png("me", picture_id) == png
    (kept,) = store.newest("me")
    assert kept.id == picture_id
    assert kept.request == TextToImage("a lake", seed=7)
    assert (kept.made_at, kept.seconds, kept.stopped_at) == (NOON, 3.5, None)


def test_a_new_store_on_the_same_folder_finds_what_was_kept(store: PictureStore, tmp_path: Path) -> None:
    picture_id = store.add("me", _png(stopped_at=4), NOON, 3.5)
    (kept,) = PictureStore(tmp_path).newest("me")
    assert (kept.id, kept.made_at, kept.stopped_at) == (picture_id, NOON, 4)
    assert kept.seconds is None, "how long it took is not in the file"


def test_newest_first_and_no_more_than_asked_for(store: PictureStore) -> None:
    ids = [store.add("me", _png(), NOON + k) for k in range(5)]
    assert [kept.id for kept in store.newest("me", limit=3)] == ids[:1:-1]


def test_pictures_made_in_the_same_millisecond_are_all_kept(store: PictureStore) -> None:
    assert len({store.add("me", _png(), NOON) for _ in range(20)}) == 20
    assert len(store.newest("me")) == 20


def test_another_owner_sees_nothing(store: PictureStore) -> None:
    picture_id = store.add("me", _png(), NOON)
    assert store.png("you", picture_id) is None
    assert store.newest("you") == []


@pytest.mark.parametrize("owner", ["../../etc", "a/b", "", "name\0", ".", "C:\\x", "x" * 5000, "ünïcödé"])
def test_an_owner_is_a_label_and_never_a_path(store: PictureStore, tmp_path: Path, owner: str) -> None:
    picture_id = store.add(owner, _png(), NOON)
    (file,) = tmp_path.rglob("*.png")
    assert file.parent.parent == tmp_path / "pictures"
    assert store.png(owner, picture_id) is not None


@pytest.mark.parametrize(
    "name",
    [
        "",
        "..",
        "../secret",
        "..%2fsecret",
        "/etc/passwd",
        "secret",
        "C:secret",
        "1700000000000-0123456789abcde",
        "1700000000000-0123456789abcdeg",
        "1700000000000-0123456789ABCDEF",
        "1700000000000-0123456789abcdef\n",
        "1700000000000-0123456789abcdef\0",
        "1700000000000-0123456789abcdef/../x",
        "１700000000000-0123456789abcdef",
    ],
)
def test_a_name_that_is_not_an_id_of_ours_finds_nothing(store: PictureStore, tmp_path: Path, name: str) -> None:
    store.add("me", _png(), NOON)
    (tmp_path / "secret.png").write_bytes(_png())
    home = next((tmp_path / "pictures").iterdir())
    (home / "secret.png").write_bytes(_png())
    assert store.png("me", name) is None


def test_files_that_are_not_ours_are_left_alone(store: PictureStore, tmp_path: Path) -> None:
    kept = store.add("me", _png(), NOON)
    home = next((tmp_path / "pictures").iterdir())
    (home / "holiday.png").write_bytes(b"mine")
    (home / "notes.txt").write_text("mine")
    (home / f"{NOON + 1}-{'0' * 16}.png").write_bytes(b"no png at all")
    (home / f"{NOON + 2}-{'0' * 16}.png").write_bytes(write_png(PIXELS))
    assert [found.id for found in store.newest("me")] == [kept]
    assert len(list(home.iterdir())) == 5


def test_a_full_disk_is_said_in_words_and_leaves_nothing_behind(
    store: PictureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StudioError, match="No space left on device"):
            store.add("me", _png(), NOON)
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []
    assert store.newest("me") == []
    store.add("me", _png(), NOON)
    assert len(store.newest("me")) == 1


def test_a_folder_that_is_a_file_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("I am in the way")
    with pytest.raises(StudioError, match="--data"):
        PictureStore(tmp_path / "data").add("me", _png(), NOON)


def test_a_folder_where_nothing_can_be_kept_is_known_at_the_start(tmp_path: Path) -> None:
    PictureStore(tmp_path / "new" / "deep").prepare()
    assert list((tmp_path / "new" / "deep" / "pictures").iterdir()) == []
    (tmp_path / "data").write_text("I am in the way")
    with pytest.raises(StudioError, match="--data"):
        PictureStore(tmp_path / "data").prepare()


def test_a_half_written_picture_is_never_seen(
    store: PictureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    fsync = os.fsync

    def look(descriptor: int) -> None:
        seen.append(len(store.newest("me")))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    store.add("me", _png(), NOON)
    assert seen == [0, 1], "first its bytes are on the disk, then its name"
    assert len(store.newest("me")) == 1
    assert [file.suffix for file in tmp_path.rglob("*") if file.is_file()] == [".png"]


# -- the request inside a stranger's PNG ------------------------------------------------------------------------------


def test_the_request_comes_back() -> None:
    assert request_in(_png()) == (TextToImage("a lake", seed=7), None)
    assert request_in(_png(stopped_at=3)) == (TextToImage("a lake", seed=7), 3)


@pytest.mark.parametrize(
    "png",
    [
        b"",
        b"no png",
        write_png(PIXELS),
        _png()[:-20],
        _png(note="{"),
        _png(note="[]"),
        _png(note="null"),
        _png(note='{"format": 1}'),
        _png(note='{"format": 1, "request": []}'),
        _png(note='{"format": NaN, "request": {}}'),
        _png(note='{"format": 1, "format": 1, "request": {}}'),
        _png(note="[" * 5000),
        _png(format=2),
        _png(format="1"),
        _png(format={"a": 1}),
    ],
    ids=lambda png: f"{len(png)} bytes",
)
def test_a_png_without_a_readable_request_is_refused(png: bytes) -> None:
    with pytest.raises(UnreadablePicture) as refused:
        request_in(png)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    "request_",
    [{"seed": -1}, {"width": 7}, {"colour": "red"}, {"prompt": "a\0b"}, {"prompt": "x" * 5000}, {"seed": True}],
    ids=str,
)
def test_a_request_that_is_not_valid_is_refused_with_its_reason(request_: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        request_in(_png(request=request_))


@pytest.mark.parametrize("stopped_at", ["4", 4.5, [4], {"a": 1}, True, -3])
def test_a_strange_step_of_stopping_is_not_believed(stopped_at: Any) -> None:
    assert request_in(_png(stopped_at=stopped_at)) == (TextToImage("a lake", seed=7), None)
