"""Pixels of documents: exact, kept once, whole or not at all, each owner's own, swept only when nothing needs them."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import struct
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from studio.errors import InvalidRequest, StudioError, UnreadablePicture
from studio.imaging.plain_png import PlainExtent, plain_extent, read_plain, write_plain
from studio.project.pixels_store import PixelStore
from studio.web.routes_pixels import parts_of

RANDOM = np.random.default_rng(5)
SHAPES = [(1, 1), (1, 1, 3), (1, 1, 4), (7, 5), (5, 7, 3), (256, 256, 4), (300, 2, 4)]


def _pixels(*shape: int) -> np.ndarray:
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png(*between: bytes, raw: bytes | None = None, header: bytes | None = None, end: bytes = b"") -> bytes:
    """A PNG of 2 x 2 grey pixels made by hand, with its parts to be broken."""
    body = raw if raw is not None else zlib.compress(b"\0\1\2\0\3\4")
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", header if header is not None else struct.pack(">IIBBBBB", 2, 2, 8, 0, 0, 0, 0)),
            *between,
            _chunk(b"IDAT", body),
            _chunk(b"IEND", b""),
            end,
        )
    )


@pytest.fixture
def store(tmp_path: Path) -> PixelStore:
    store = PixelStore(tmp_path)
    store.prepare()
    return store


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


# -- the files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_pixels_come_back_exactly_transparent_ones_too(shape: tuple[int, ...]) -> None:
    pixels = _pixels(*shape)
    if len(shape) == 3 and shape[2] == 4:
        pixels[..., 3] = RANDOM.choice([0, 1, 255], shape[:2])
    png = write_plain(pixels)
    assert np.array_equal(read_plain(png), pixels)
    assert plain_extent(png) == PlainExtent(shape[1], shape[0], shape[2] if len(shape) == 3 else 1)


@pytest.mark.parametrize("level", [1, 6, 9])
def test_pixels_in_one_chunk_or_in_many_are_the_same(level: int) -> None:
    pixels = _pixels(700, 900, 3)  # more than a piece is unpacked at a time
    png = write_plain(pixels, level)
    assert plain_extent(png) == PlainExtent(900, 700, 3)
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in pixels), level)
    header = struct.pack(">IIBBBBB", 900, 700, 8, 2, 0, 0, 0)
    parts = [_chunk(b"IDAT", packed[k : k + 1000]) for k in range(0, len(packed), 1000)]
    split = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + b"".join(parts) + _chunk(b"IEND", b"")
    assert np.array_equal(read_plain(split), pixels)


def test_what_changes_no_sample_may_stand_in_the_file() -> None:
    assert read_plain(_png(_chunk(b"tEXt", b"k\0v"), _chunk(b"sRGB", b"\0"))).tolist() == [[1, 2], [3, 4]]


def _saved(mode: str, **how: object) -> bytes:
    file = io.BytesIO()
    Image.new(mode, (8, 8)).save(file, "PNG", **how)
    return file.getvalue()


@pytest.mark.parametrize(
    "png",
    [
        b"",
        b"\xff\xd8\xff no png",
        _png()[:-1],
        _png()[:40],
        _png(end=b"more"),
        _png().replace(b"IDAT", b"IDAX"),
        _png(_chunk(b"gAMA", struct.pack(">I", 100_000))),
        _png(_chunk(b"tRNS", b"\0\1")),
        _png(_chunk(b"eXIf", b"MM\0*\0\0\0\x08")),
        _png(_chunk(b"acTL", b"\0" * 8)),
        _png(_chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 8, 0, 0, 0, 0))),
        _png(_chunk(b"IDAT", zlib.compress(b"\0\1\2")), _chunk(b"tEXt", b"k\0v")),
        _png(raw=b""),
        _png(raw=zlib.compress(b"\0\1\2\0\3")),
        _png(raw=zlib.compress(b"\0\1\2\0\3\4\5")),
        _png(raw=zlib.compress(b"\0" * 80_000_000)),
        _png(raw=zlib.compress(b"\0\1\2\0\3\4") + b"more"),
        _png(raw=zlib.compress(b"\0\1\2\0\3\4")[:-2]),
        _png(raw=zlib.compress(b"\0\1\2\5\3\4")),
        _png(raw=b"not packed"),
        _png(header=struct.pack(">IIBBBBB", 0, 2, 8, 0, 0, 0, 0)),
        _png(header=struct.pack(">IIBBBBB", 4097, 2, 8, 0, 0, 0, 0)),
        _png(header=struct.pack(">IIBBBBB", 2, 2, 16, 0, 0, 0, 0)),
        _png(header=struct.pack(">IIBBBBB", 2, 2, 8, 4, 0, 0, 0)),
        _png(header=struct.pack(">IIBBBBB", 2, 2, 8, 0, 0, 0, 1)),
        _saved("P"),
        _saved("1"),
        _saved("LA"),
        _saved("I;16"),
        _saved("RGB", icc_profile=b"profile"),
    ],
    ids=lambda png: f"{len(png)} bytes",
)
def test_anything_but_plain_pixels_is_refused_in_words(store: PixelStore, tmp_path: Path, png: bytes) -> None:
    with pytest.raises(UnreadablePicture) as refused:
        store.add("me", png)
    assert str(refused.value).isprintable()
    assert _files(tmp_path) == []


def test_every_cut_and_every_flipped_byte_is_noticed() -> None:
    png = write_plain(_pixels(6, 5, 4))
    for cut in range(len(png)):
        with pytest.raises(UnreadablePicture):
            plain_extent(png[:cut])
    for position in range(len(png)):
        with pytest.raises(UnreadablePicture):
            plain_extent(png[:position] + bytes([png[position] ^ 0x11]) + png[position + 1 :])


@pytest.mark.parametrize("pixels", [_pixels(4, 4, 2), _pixels(4), _pixels(4, 0), np.zeros((4, 4))], ids=str)
def test_only_plain_pixels_are_written(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="Plain pixels"):
        write_plain(pixels)


# -- the store --------------------------------------------------------------------------------------------------------


def test_pixels_are_found_again_by_the_digest_of_their_bytes(store: PixelStore, tmp_path: Path) -> None:
    pixels = _pixels(9, 4, 4)
    png = write_plain(pixels)
    pixels_id, width, height = store.add("me", png)
    assert (pixels_id, width, height) == (hashlib.sha256(png).hexdigest()[:32], 4, 9)
    again = PixelStore(tmp_path)
    assert again.png("me", pixels_id) == png
    found = again.pixels("me", pixels_id)
    assert found is not None
    assert np.array_equal(found, pixels)


def test_the_same_bytes_are_kept_once_per_owner(store: PixelStore, tmp_path: Path) -> None:
    png = write_plain(_pixels(9, 4))
    assert len(set(store.add_many("me", [png, png])) | {store.add("me", png)[0]}) == 1
    assert len(_files(tmp_path)) == 1
    assert store.used("me") == PixelStore(tmp_path).used("me") == 4096, "what it takes on the disk"
    store.add("you", png)
    assert len(_files(tmp_path)) == 2


def test_a_bundle_with_one_bad_part_keeps_nothing(store: PixelStore, tmp_path: Path) -> None:
    good = [write_plain(_pixels(3, 3)) for _ in range(3)]
    with pytest.raises(UnreadablePicture):
        store.add_many("me", [*good, b"bad"])
    assert _files(tmp_path) == []
    ids = store.add_many("me", good)
    assert [store.png("me", pixels_id) for pixels_id in ids] == good


def test_nobody_sees_the_pixels_of_another(store: PixelStore) -> None:
    pixels_id, *_ = store.add("me", write_plain(_pixels(3, 3)))
    assert store.png("you", pixels_id) is None
    assert store.pixels("you", pixels_id) is None
    assert store.extents("you", [pixels_id]) == {}
    assert store.sweep("you", [], rest=-1) == 0


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "0" * 31, "0" * 33, "A" * 32, "0" * 32 + "\n", "/" * 32])
def test_only_ids_of_ours_are_names(store: PixelStore, name: str) -> None:
    store.add("me", write_plain(_pixels(3, 3)))
    assert store.png("me", name) is None
    assert store.extents("me", [name]) == {}


def test_a_link_in_the_place_of_pixels_leads_nowhere(store: PixelStore, tmp_path: Path) -> None:
    png = write_plain(_pixels(3, 3))
    pixels_id, *_ = store.add("me", png)
    (file,) = _files(tmp_path)
    (tmp_path / "secret.png").write_bytes(png)
    file.unlink()
    file.symlink_to(tmp_path / "secret.png")
    assert store.png("me", pixels_id) is None
    assert store.extents("me", [pixels_id]) == {}


def test_pixels_that_were_damaged_on_the_disk_are_healed_by_adding_them_again(
    store: PixelStore, tmp_path: Path
) -> None:
    png = write_plain(_pixels(3, 3))
    pixels_id, *_ = store.add("me", png)
    (file,) = _files(tmp_path)
    file.write_bytes(png[:-5])
    with pytest.raises(UnreadablePicture):
        store.pixels("me", pixels_id)
    store.add("me", png)
    assert store.png("me", pixels_id) == png


def test_only_what_rested_and_nobody_refers_to_is_swept(store: PixelStore, tmp_path: Path) -> None:
    ids = store.add_many("me", [write_plain(_pixels(3, 3)) for _ in range(4)])
    long_ago = time.time() - 1000
    for file in _files(tmp_path):
        os.utime(file, (long_ago, long_ago))
    (tmp_path / "pixels" / "mine.png").write_bytes(b"mine")
    assert store.extents("me", ids[1:2]) == {ids[1]: PlainExtent(3, 3, 1)}  # used just now
    pngs = [store.png("me", ids[2])]
    store.add("me", pngs[0] or b"")  # added again
    assert store.sweep("me", [ids[0]], rest=500) == 1
    assert [store.png("me", pixels_id) is not None for pixels_id in ids] == [True, True, True, False]
    assert store.used("me") == 3 * 4096, "what they take on the disk"
    assert (tmp_path / "pixels" / "mine.png").exists()


def test_what_a_killed_process_left_half_written_is_swept_at_the_start(store: PixelStore, tmp_path: Path) -> None:
    store.add("me", write_plain(_pixels(3, 3)))
    (home,) = (tmp_path / "pixels").iterdir()
    (home / f".{'0' * 32}.abcd0123.part").write_bytes(b"half")
    PixelStore(tmp_path).prepare()
    assert [file.suffix for file in _files(tmp_path)] == [".png"]


def test_a_full_disk_is_said_in_words_and_leaves_nothing_behind(
    store: PixelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    pngs = [write_plain(_pixels(3, 3)) for _ in range(3)]
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StudioError, match="No space left on device"):
            store.add_many("me", pngs)
    assert _files(tmp_path) == []
    assert len(store.add_many("me", pngs)) == 3


def test_a_person_has_so_much_room_and_no_more(tmp_path: Path) -> None:
    png = write_plain(_pixels(9, 9))
    store = PixelStore(tmp_path, budget=4096 + 1)
    store.add("me", png)
    with pytest.raises(StudioError, match="limit"):
        store.add("me", write_plain(_pixels(9, 9)))
    store.add("you", write_plain(_pixels(9, 9)))


def test_many_at_once_keep_the_count(store: PixelStore, tmp_path: Path) -> None:
    pngs = [write_plain(_pixels(3, 3)) for _ in range(12)]
    threads = [threading.Thread(target=store.add_many, args=("me", pngs[k % 3 :])) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(_files(tmp_path)) == 12
    assert store.used("me") == PixelStore(tmp_path).used("me")


# -- bundles ----------------------------------------------------------------------------------------------------------


def test_a_bundle_is_taken_apart_where_its_lengths_say() -> None:
    parts = [b"one", b"", b"three"]
    bundle = b"".join(struct.pack(">I", len(part)) + part for part in parts)
    assert parts_of(bundle) == parts
    assert len(parts_of(struct.pack(">I", 0) * 512)) == 512


@pytest.mark.parametrize(
    "bundle", [b"", b"\0", b"\0\0\0", b"\0\0\0\4abc", b"\xff\xff\xff\xff", struct.pack(">I", 0) * 513]
)
def test_a_bundle_that_does_not_add_up_is_refused(bundle: bytes) -> None:
    with pytest.raises(InvalidRequest, match="bundle"):
        parts_of(bundle)
