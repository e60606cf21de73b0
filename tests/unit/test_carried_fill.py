"""What the PNG of a fill carries: the region comes back as it was, or the file is not believed."""

from __future__ import annotations

import dataclasses
import io
import json
import random
import struct
import time
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from studio import picture as picture_module
from studio.errors import StudioError, UnreadablePicture
from studio.filling import Filling
from studio.imaging.geometry import Bounds
from studio.imaging.plain_png import write_plain
from studio.imaging.png import MAX_PIECE, REQUEST_KEY, read_picture, read_png_chunks, read_png_text, write_png
from studio.models import catalogue
from studio.picture import Picture
from studio.project import carried_fill
from studio.project.carried_fill import (
    CHUNKS,
    KEPT_BACK,
    LEFT_OUT,
    MAX_CARRIED,
    TAKING_AWAY,
    Region,
    fill_of,
    region_in,
)
from studio.project.kept_fill import MASK, SOURCE
from studio.project.settings_in import settings_in
from studio.project.store import note_in
from studio.requests import Fill, TextToImage
from studio.verifying import carried_filling, picture_before

KINDS = tuple(CHUNKS.values())
PATIENCE = 2.0  # seconds that any file may take of this thread
MUTATIONS = 200


def noise(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture(scope="module")
def filling() -> Filling:
    mask = np.zeros((90, 140), np.uint8)
    mask[20:50, 40:80] = 255
    fill = Fill(TextToImage("a lighthouse", num_inference_steps=4), grow=2, margin=6)
    return Filling.of(fill, noise(90, 140, 4, seed=2), mask, catalogue.find("painter"))


@pytest.fixture(scope="module")
def made(filling: Filling) -> Picture:
    """What an engine might have made of it."""
    working = filling.working
    return filling.finished(Picture(noise(working.height, working.width, 3), filling.painting, 0.1)).picture


def with_private(png: bytes, private: dict[bytes, bytes], **note: Any) -> bytes:
    text = read_png_text(png)
    text[REQUEST_KEY] = json.dumps(note_in(png) | note)
    return write_png(read_picture(png), text, private)


def read_back(png: bytes) -> Filling | None:
    return carried_filling(png, TextToImage.from_dict(note_in(png)["request"]))


def test_a_fill_comes_back_from_its_png_as_it_was(filling: Filling, made: Picture) -> None:
    png = made.to_png()
    found = read_back(png)
    assert found is not None
    assert (found.fill, found.frame, found.picture) == (filling.fill, filling.frame, filling.picture)
    assert (found.source_digest, found.mask_digest) == (filling.source_digest, filling.mask_digest)
    for name in ("source", "mask", "free"):
        np.testing.assert_array_equal(getattr(found, name), getattr(filling, name))
    assert made.to_png() == png
    assert found.note() == note_in(png)["fill"] == filling.note()


def test_other_programs_see_the_picture_and_pass_the_rest_by(made: Picture) -> None:
    """Ancillary, private, reserved as PNG wants it, and not safe to copy: bit 5 of each letter."""
    png = made.to_png()
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), made.pixels)
    np.testing.assert_array_equal(read_picture(png), made.pixels)
    for kind in KINDS:
        assert [letter & 32 for letter in kind] == [32, 32, 0, 0]
        assert png.index(kind) > png.index(b"IDAT")
    again = io.BytesIO()
    Image.open(io.BytesIO(png)).save(again, "PNG")
    assert not read_png_chunks(again.getvalue(), KINDS, MAX_CARRIED)


def test_large_chunks_are_written_in_pieces_that_every_viewer_takes() -> None:
    body = bytes(noise(2 * MAX_PIECE + 5))
    png = write_png(noise(4, 4, 3), private={b"wbSR": body, b"wbMA": b""})
    assert png.count(b"wbSR") == 3
    assert read_png_chunks(png, KINDS, len(body)) == {b"wbSR": body}
    with pytest.raises(UnreadablePicture, match="carries more than"):
        read_png_chunks(png, KINDS, len(body) - 1)


@pytest.mark.parametrize("kind", [b"IDAT", b"tEXt", b"abcd", b"abC", b"ab1D"])
def test_chunks_that_others_give_a_meaning_to_are_not_written(kind: bytes) -> None:
    with pytest.raises(ValueError, match="private"):
        write_png(noise(4, 4, 3), private={kind: b"x"})


@pytest.mark.parametrize("limit", ["carried", "file"])
def test_a_region_that_is_too_large_is_left_out_and_the_note_says_so(
    made: Picture, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    assert made.region is not None
    size = sum(map(len, made.region.files.values()))
    if limit == "carried":
        monkeypatch.setattr(carried_fill, "MAX_CARRIED", size - 1)
    else:
        monkeypatch.setattr(picture_module, "MAX_FILE", len(made.to_png()) - 1)
    png = made.to_png()
    assert note_in(png)["carried"] == LEFT_OUT
    assert not read_png_chunks(png, KINDS, MAX_CARRIED)
    assert read_back(png) is None


@pytest.mark.parametrize("intent", sorted(TAKING_AWAY))
def test_what_was_to_be_taken_away_is_not_in_the_file(made: Picture, intent: str) -> None:
    assert made.region is not None and made.fill is not None
    png = dataclasses.replace(made, fill={**made.fill, "intent": intent}).to_png()
    assert note_in(png)["carried"] == KEPT_BACK
    assert not read_png_chunks(png, KINDS, MAX_CARRIED)
    assert read_back(png) is None
    assert len(png) < len(made.to_png()) - sum(map(len, made.region.files.values())) + 200


def test_a_region_with_longer_sides_than_are_read_is_left_out() -> None:
    mask = np.full((4097, 1), 255, np.uint8)
    assert not Region(np.zeros((4097, 1, 4), np.uint8), mask, mask).chunks()
    assert Region(np.zeros((4096, 1, 4), np.uint8), mask[1:], mask[1:]).chunks()


@pytest.mark.parametrize("lost", [{}, {"carried": None}, {"carried": LEFT_OUT}, {"carried": "x"}])
def test_a_png_whose_chunks_were_dropped_carries_nothing(made: Picture, lost: dict[str, Any]) -> None:
    assert read_back(with_private(made.to_png(), {}, **lost)) is None


def bomb(width: int, height: int, megabytes: int) -> bytes:
    """A mask that says that it has this size, and unpacks to so much."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(bytes(megabytes * 2**20), 9))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


def test_what_is_damaged_or_swollen_or_of_another_fill_is_not_believed(filling: Filling, made: Picture) -> None:
    png = made.to_png()
    private = read_png_chunks(png, KINDS, MAX_CARRIED)
    source, masks = CHUNKS[SOURCE], CHUNKS[MASK]
    height, width = filling.mask.shape
    frame = filling.frame
    blank = write_plain(np.zeros((height, width, 3), np.uint8))
    nothing = Region(filling.source, np.zeros_like(filling.mask), np.zeros_like(filling.free))
    for changed, note in (
        ({source: private[source]}, {}),
        ({masks: private[masks]}, {}),
        ({**private, masks: bomb(30_000, 30_000, 1)}, {}),
        ({**private, masks: bomb(width, height, 64)}, {}),
        ({**private, masks: blank}, {}),
        ({**private, masks: blank}, {"carried": nothing.digests()}),
        ({**private, masks: private[masks][:-20]}, {}),
        ({source: private[masks], masks: private[source]}, {}),
        ({**private, source: write_plain(noise(height, width, 4))}, {}),
        (private, {"carried": {}}),
        (private, {"carried": {**note_in(png)["carried"], "free": "0" * 32}}),
    ):
        begun = time.thread_time()
        with pytest.raises(UnreadablePicture, match=r"was changed|damaged|cut short|not a PNG|at most"):
            read_back(with_private(png, changed, **note))
        assert time.thread_time() - begun < PATIENCE
    fill = note_in(png)["fill"]
    for wrong in (
        {**fill, "context": None},
        {**fill, "picture": {"width": frame.right - 1, "height": 90}},
        {**fill, "picture": [1, 2]},
        {**fill, "source": 5},
        {**fill, "more": 1},
        {**fill, "context": {"x": 0, "y": 0, "width": 4, "height": 4}},
    ):
        with pytest.raises(StudioError):
            read_back(with_private(png, private, fill=wrong))
    assert fill_of({"fill": "x"}, filling.painting) is None


def test_the_picture_before_is_found_from_what_came_of_it(filling: Filling, made: Picture) -> None:
    before = noise(90, 140, 4, seed=2)
    after = before.copy()
    after[filling.frame.slices] ^= 255
    found = read_back(made.to_png())
    assert found is not None
    np.testing.assert_array_equal(picture_before(found, after), before)
    after[0, 0, 0] ^= 1
    assert filling.frame.x > 0
    assert picture_before(found, after) is None
    assert picture_before(found, after[1:]) is None


def test_a_fill_that_is_laid_out_again_is_the_same_to_the_byte(filling: Filling, made: Picture) -> None:
    """As a page would ask for it: the frame is the picture, and where the model may paint is the mask."""
    card = catalogue.find("painter")
    found = settings_in(made.to_png(), card.request(), card.max_side)
    assert found.fill is not None
    assert (found.fill.exact, found.fill.notes) == (True, ())
    assert not found.exact
    assert any("Dropped in Fill" in note for note in found.notes)
    again = Filling.of(Fill.from_dict(found.fill.request), filling.source, filling.free, card)
    assert again.frame == Bounds(0, 0, filling.frame.width, filling.frame.height)
    assert again.painting == filling.painting
    for name in ("source", "mask", "free", "seen", "opening"):
        np.testing.assert_array_equal(getattr(again, name), getattr(filling, name))
    layer, before = again.finished(made).layer, filling.finished(made).layer
    np.testing.assert_array_equal(layer.pixels, before.pixels)


def test_an_expansion_is_laid_out_with_what_was_not_known_transparent() -> None:
    """As the page asks for it: the picture on its larger ground, and the mask over what is new with an overlap."""
    card = catalogue.find("painter")
    source = np.zeros((80, 120, 4), np.uint8)
    source[:, :80] = noise(80, 80, 4, seed=3)
    source[:, :80, 3] = 255
    mask = np.zeros((80, 120), np.uint8)
    mask[:, 70:] = 255
    painting = TextToImage("hills", num_inference_steps=4, seed=9)
    filling = Filling.of(Fill(painting, intent="expand", feather=10), source, mask, card)
    made = filling.finished(Picture(noise(filling.working.height, filling.working.width, 3), filling.painting, 0.1))
    found = settings_in(made.picture.to_png(), card.request(), card.max_side).fill
    assert found is not None
    assert found.exact
    assert (found.request["intent"], found.request["painting"]["seed"]) == ("expand", 9)
    again = Filling.of(Fill.from_dict(found.request), filling.source, filling.free, card)
    assert not filling.source[:, 80:].any()
    assert again.painting == filling.painting
    for name in ("source", "mask", "free", "seen", "opening"):
        np.testing.assert_array_equal(getattr(again, name), getattr(filling, name))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"request": {"solver": "Heun"}}, "with Heun"),
        ({"request": {"model": "another"}}, "by 'another'"),
        ({"request": {"width": 64}}, "worked at 64 × "),
        ({"stopped_at": 2}, "stopped at step 2"),
        ({"branch": {"parent": "x", "from": 2}}, "left another run"),
        ({"fill": {"feather": 9}}, "mask was cut off"),
    ],
)
def test_what_would_come_out_otherwise_is_said(made: Picture, changes: dict[str, Any], words: str) -> None:
    note = note_in(made.to_png())
    for name, value in changes.items():
        note[name] = {**note[name], **value} if name in note else value
    assert made.region is not None
    card = catalogue.find("painter")
    found = settings_in(with_private(made.to_png(), made.region.chunks(), **note), card.request(), card.max_side).fill
    assert found is not None
    assert not found.exact
    assert words in " ".join(found.notes)


def test_a_fill_that_cannot_be_believed_or_laid_out_brings_its_words_alone(made: Picture) -> None:
    png, card = made.to_png(), catalogue.find("painter")
    assert made.region is not None
    chunks, fill = made.region.chunks(), note_in(png)["fill"]
    for other in (
        with_private(png, {}),
        with_private(png, chunks, carried={}),
        with_private(png, chunks, carried=LEFT_OUT),
        with_private(png, chunks, fill={**fill, "picture": None}),
    ):
        found = settings_in(other, card.request(), card.max_side)
        assert found.fill is None
        assert found.request.prompt == "a lighthouse"
        assert any("from its words alone" in note for note in found.notes)


def mutated(png: bytes, chance: random.Random) -> bytes:
    """A byte of a chunk changed, with a checksum that fits; or chunks dropped, doubled, swapped or renamed."""
    chunks, place = [], 8
    while place < len(png):
        length = int.from_bytes(png[place : place + 4], "big")
        chunks.append((png[place + 4 : place + 8], bytearray(png[place + 8 : place + 8 + length])))
        place += 12 + length
    ours = [at for at, (kind, _) in enumerate(chunks) if kind in KINDS]
    at = chance.choice(ours)
    how = chance.choice(["byte", "byte", "byte", "cut", "drop", "double", "swap", "rename"])
    kind, body = chunks[at]
    if how == "byte":
        body[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
    elif how == "cut":
        del body[chance.randrange(len(body)) :]
    elif how == "drop":
        del chunks[at]
    elif how == "double":
        chunks.insert(at, (kind, body))
    else:
        other = chance.choice(ours)
        chunks[at] = (chunks[other][0], body) if how == "rename" else chunks[other]
    return png[:8] + b"".join(
        struct.pack(">I", len(body)) + kind + bytes(body) + struct.pack(">I", zlib.crc32(kind + bytes(body)))
        for kind, body in chunks
    )


def test_mutated_regions_are_the_same_or_not_believed(filling: Filling, made: Picture) -> None:
    png = made.to_png()
    outcomes = {"the same": 0, "refused": 0}
    for number in range(MUTATIONS):
        changed = mutated(png, random.Random(number))
        np.testing.assert_array_equal(read_picture(changed), made.pixels)
        begun = time.thread_time()
        try:
            region = region_in(changed, note_in(changed), filling.frame.extent)
        except UnreadablePicture as refused:
            assert str(refused)
            outcomes["refused"] += 1
        else:
            assert region is not None
            for name in ("source", "mask", "free"):
                np.testing.assert_array_equal(getattr(region, name), getattr(filling, name))
            outcomes["the same"] += 1
        assert time.thread_time() - begun < PATIENCE, f"mutation {number}"
    assert outcomes["refused"] > MUTATIONS // 2
    assert outcomes["the same"] > 0
