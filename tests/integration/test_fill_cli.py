"""`fill` on the command line: files in, one file out, and words for everything that cannot be."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from studio.__main__ import main
from studio.imaging.plain_png import digest_of
from studio.imaging.png import read_picture, write_png
from studio.project.store import note_in, request_in
from studio.requests import Fill, TextToImage

SIDE = 80


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """A folder with a picture and a mask of one size."""
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    (tmp_path / "coast.png").write_bytes(write_png(pixels))
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[20:50, 24:60] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    return tmp_path


def fill(room: Path, model: Path, *options: str, image: str = "coast.png", mask: str = "mask.png") -> int:
    where = [str(room / image), str(room / mask)]
    usual = ["--model", str(model), "--steps", "3", "--out", str(room / "out.png")]
    words = options[:1] if options and not options[0].startswith("--") else ()
    return main(["fill", *where, *words, *usual, *options[len(words) :]])


def pixels_of(path: Path) -> np.ndarray:
    return read_picture(path.read_bytes())


def test_a_file_is_filled_and_carries_its_request(
    room: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fill(room, tiny_model, "a lighthouse", "--seed", "4", "--feather", "2", "--context", "10,0,64x64") == 0
    before, after = pixels_of(room / "coast.png"), pixels_of(room / "out.png")
    mask = np.asarray(Image.open(room / "mask.png"))
    np.testing.assert_array_equal(after[mask == 0], before[mask == 0])
    changed = int((after != before).any(axis=2).sum())
    said = capsys.readouterr().out
    assert f"{changed:,} pixels filled" in said and f"{int((mask == 0).sum()):,} untouched" in said
    png = (room / "out.png").read_bytes()
    request, _ = request_in(png)
    note = dict(note_in(png)["fill"])
    assert (note.pop("source"), note.pop("mask")) == (digest_of(before), digest_of(mask))
    assert note.pop("picture") == {"width": SIDE, "height": SIDE}
    made = Fill.from_dict({**note, "painting": request.to_dict()})
    assert (made.painting.prompt, made.seed, made.feather) == ("a lighthouse", 4, 2)


def test_the_same_command_gives_the_same_bytes(room: Path, tiny_model: Path) -> None:
    assert fill(room, tiny_model, "--intent", "remove") == 0
    first = (room / "out.png").read_bytes()
    assert fill(room, tiny_model, "--intent", "remove") == 0
    assert (room / "out.png").read_bytes() == first


def test_variations_go_into_a_folder_and_are_told_of(
    room: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = room / "new"
    options = ("a lighthouse", "--count", "2", "--json", "--out", str(out))
    assert fill(room, tiny_model, *options) == 0
    told = json.loads(capsys.readouterr().out)
    assert [entry["file"] for entry in told] == [str(out / "0.png"), str(out / "1.png")]
    assert all(entry["count"]["outside_changed"] == 0 for entry in told)
    assert not np.array_equal(pixels_of(out / "0.png"), pixels_of(out / "1.png"))
    assert (
        Fill.from_dict(
            {k: v for k, v in told[0]["fill"].items() if k not in ("source", "mask", "picture")}
            | {"painting": TextToImage.from_dict(told[0]["request"]).to_dict()}
        ).intent
        == "fill"
    )


def test_transparent_surroundings_are_expanded_into(room: Path, tiny_model: Path) -> None:
    wide = np.zeros((SIDE, 120, 4), np.uint8)
    wide[:, :SIDE] = 255
    wide[:, :SIDE, :3] = pixels_of(room / "coast.png")
    mask = np.zeros((SIDE, 120), np.uint8)
    mask[:, SIDE - 8 :] = 255
    (room / "wide.png").write_bytes(write_png(wide))
    Image.fromarray(mask).save(room / "wide-mask.png")
    assert fill(room, tiny_model, "--intent", "expand", image="wide.png", mask="wide-mask.png") == 0
    after = pixels_of(room / "out.png")
    assert after.shape == wide.shape and (after[:, SIDE:, 3] == 255).all()
    np.testing.assert_array_equal(after[:, : SIDE - 8], wide[:, : SIDE - 8])


def _bomb() -> bytes:
    """The header of a PNG of 30,000 × 30,000 pixels, and next to nothing behind it."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


def _animated() -> bytes:
    file = io.BytesIO()
    frames = [Image.new("RGB", (SIDE, SIDE), (shade, 0, 0)) for shade in (10, 200)]
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "picture"),
        (write_png(np.zeros((SIDE, SIDE, 3), np.uint8))[:60], "cut short"),
        (_bomb(), "30000 × 30000"),
        (write_png(np.zeros((1, 1, 3), np.uint8)), "1 × 1"),
        (b"hello", "PNG, JPEG"),
    ],
    ids=["empty", "truncated", "bomb", "one pixel", "text"],
)
def test_a_file_that_is_no_picture_to_fill_is_told_in_one_line(
    room: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str], data: bytes, words: str
) -> None:
    (room / "odd.png").write_bytes(data)
    assert fill(room, tiny_model, "a lighthouse", image="odd.png") == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert not (room / "out.png").exists()


def test_palettes_and_the_first_frame_of_an_animation_are_filled(room: Path, tiny_model: Path) -> None:
    Image.open(room / "coast.png").quantize(16).save(room / "palette.png")
    (room / "moving.webp").write_bytes(_animated())
    for image in ("palette.png", "moving.webp"):
        assert fill(room, tiny_model, "a lighthouse", image=image) == 0
        before, after = pixels_of(room / image), pixels_of(room / "out.png")
        np.testing.assert_array_equal(after[:20], before[:20])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "Say what should be there"),
        (("a lighthouse", "--intent", "paint"), "not an intent"),
        (("a lighthouse", "--context", "1,2"), "no rectangle"),
        (("a lighthouse", "--start", "3"), "0 to 2"),
        (("a lighthouse", "--size", "256x64"), "another shape"),
        (("a lighthouse", "--method", "best"), "not a method"),
    ],
)
def test_a_wish_that_cannot_be_is_told_in_one_line(
    room: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], words: str
) -> None:
    assert fill(room, tiny_model, *options) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_an_empty_mask_and_one_of_another_size_are_told(
    room: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for size, words in ((SIDE, "empty"), (SIDE + 8, "88 × 88")):
        Image.new("L", (size, size), 0 if size == SIDE else 255).save(room / "other.png")
        assert fill(room, tiny_model, "a lighthouse", mask="other.png") == 2
        assert words in capsys.readouterr().err
