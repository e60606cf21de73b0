"""Strangers' files: limits before anything is decoded, and UnreadablePicture for whatever is wrong."""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from studio.errors import UnreadablePicture
from studio.imaging import png
from studio.imaging.png import MAX_TEXT, read_picture, read_png_text, write_png

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PATIENCE = 2.0  # seconds that any file may take of this thread, whatever else the machine does


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def header(width: int = 1, height: int = 1, depth: int = 8, colour: int = 2) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))


def png_with(*chunks: bytes, size: tuple[int, int] = (1, 1)) -> bytes:
    rows = chunk(b"IDAT", zlib.compress(b"\0\0\0\0"))
    return SIGNATURE + header(*size) + b"".join(chunks) + rows + chunk(b"IEND")


def text(key: bytes, value: bytes) -> bytes:
    return chunk(b"tEXt", key + b"\0" + value)


def packed(key: bytes, value: bytes) -> bytes:
    return chunk(b"zTXt", key + b"\0\0" + zlib.compress(value, 9))


def international(key: bytes, value: bytes, pack: bool = False) -> bytes:
    flag, value = (b"\1", zlib.compress(value, 9)) if pack else (b"\0", value)
    return chunk(b"iTXt", key + b"\0" + flag + b"\0en\0translated\0" + value)


def file_of(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def gradient(width: int = 8, height: int = 6) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Every pixel different, left darker than right, top darker than bottom."""
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    return np.stack([columns * 30, rows * 40, columns * 10 + rows * 20], axis=-1).astype(np.uint8)


# ---- text ----


def test_all_three_kinds_of_text_are_read() -> None:
    data = png_with(
        text(b"Author", "Zoë".encode("latin-1")),
        packed(b"Comment", b"long " * 100),
        international(b"Title", "雪".encode()),
        international(b"parameters", "夜".encode(), pack=True),
    )
    assert read_png_text(data) == {
        "Author": "Zoë",
        "Comment": "long " * 100,
        "Title": "雪",
        "parameters": "夜",
    }


def test_text_after_the_pixels_is_read_and_what_follows_the_end_is_not() -> None:
    whole = png_with()
    data = whole[:-12] + text(b"late", b"yes") + chunk(b"IEND") + text(b"beyond", b"no") + b"junk"
    assert read_png_text(data) == {"late": "yes"}


def test_of_two_texts_with_one_key_the_first_counts() -> None:
    assert read_png_text(png_with(text(b"k", b"first"), international(b"k", b"second"))) == {"k": "first"}


def test_pixels_are_never_decoded() -> None:
    data = SIGNATURE + header(2**31 - 1, 2**31 - 1) + text(b"k", b"v") + chunk(b"IDAT", b"no zlib") + chunk(b"IEND")
    assert read_png_text(data) == {"k": "v"}


def test_markup_and_templates_are_only_text() -> None:
    hostile = "${alert(1)} {{7*7}} <img src=x onerror=alert(1)> `id`"
    assert read_png_text(png_with(text(b"k", hostile.encode())))["k"] == hostile


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a PNG"),
        (b"GIF89a" + b"\0" * 50, "not a PNG"),
        (SIGNATURE, "cut short"),
        (png_with()[:-1], "cut short"),
        (png_with()[:-12], "cut short"),
        (png_with(text(b"k", b"v"))[:60], "cut short"),
        (SIGNATURE + struct.pack(">I", 2**32 - 1) + b"tEXt" + b"x" * 100, "cut short"),
        (png_with()[:-1] + b"\0", "checksum"),
        (png_with(text(b"k", b"value")).replace(b"value", b"other"), "checksum"),
        (SIGNATURE + text(b"k", b"v") + header() + chunk(b"IEND"), "begin with its size"),
        (SIGNATURE + chunk(b"IHDR", b"\0" * 12) + chunk(b"IEND"), "begin with its size"),
        (SIGNATURE + header(0, 5) + chunk(b"IEND"), "makes no sense"),
        (SIGNATURE + header(5, 2**31) + chunk(b"IEND"), "makes no sense"),
        (SIGNATURE + header(depth=7) + chunk(b"IEND"), "makes no sense"),
        (SIGNATURE + header(colour=1) + chunk(b"IEND"), "makes no sense"),
        (png_with(chunk(b"tEXt", b"no separator")), "no proper name"),
        (png_with(text(b"", b"v")), "no proper name"),
        (png_with(text(b"k" * 80, b"v")), "no proper name"),
        (png_with(text(b"a\nb", b"v")), "no proper name"),
        (png_with(text(b"k", b"a\0b")), "NUL"),
        (png_with(international(b"k", b"\xff\xfe")), "not UTF-8"),
        (png_with(international(b"k", b"\xed\xa0\x80")), "not UTF-8"),
        (png_with(international(b"k", b"\xc0\x80", pack=True)), "not UTF-8"),
        (png_with(chunk(b"iTXt", b"k\0\0\0en\0no second separator")), "damaged"),
        (png_with(chunk(b"iTXt", b"k\0\2\0\0\0value")), "unknown way"),
        (png_with(chunk(b"iTXt", b"k\0\1\7\0\0value")), "unknown way"),
        (png_with(chunk(b"zTXt", b"k\0\1" + zlib.compress(b"v"))), "unknown way"),
        (png_with(chunk(b"zTXt", b"k\0\0no zlib at all")), "packed and damaged"),
        (png_with(chunk(b"zTXt", b"k\0\0" + zlib.compress(b"v" * 99)[:-6])), "packed and cut short"),
        (png_with(chunk(b"zTXt", b"k\0\0")), "packed and cut short"),
    ],
)
def test_a_broken_file_is_refused_in_words(data: bytes, words: str) -> None:
    with pytest.raises(UnreadablePicture, match=words):
        read_png_text(data)


@pytest.mark.parametrize("pack", [packed, lambda key, value: international(key, value, pack=True)])
def test_a_packed_bomb_is_refused_before_it_is_unpacked(pack: Any) -> None:
    bomb = png_with(pack(b"k", b"\x20" * 200_000_000))
    assert len(bomb) < 300_000
    tracemalloc.start()
    begun = time.thread_time()
    with pytest.raises(UnreadablePicture, match="unpacks to more than"):
        read_png_text(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert time.thread_time() - begun < PATIENCE
    assert peak < 8 * MAX_TEXT  # bytes


def test_many_small_bombs_are_refused_together() -> None:
    bombs = [packed(b"k%d" % number, b"\x20" * (MAX_TEXT - 1)) for number in range(20)]
    with pytest.raises(UnreadablePicture, match="characters of text"):
        read_png_text(png_with(*bombs))


def test_a_text_that_is_too_long_is_refused() -> None:
    with pytest.raises(UnreadablePicture, match="At most"):
        read_png_text(png_with(text(b"k", b"x" * (MAX_TEXT + 1))))


def test_too_many_texts_are_refused() -> None:
    with pytest.raises(UnreadablePicture, match="more than 256 texts"):
        read_png_text(png_with(*(text(b"k", b"v") for _ in range(257))))


def test_too_many_pieces_are_refused() -> None:
    with pytest.raises(UnreadablePicture, match="pieces"):
        read_png_text(png_with(*([chunk(b"prVt")] * 60_000)))


def test_a_file_that_is_too_large_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png, "MAX_FILE", 3 << 20)
    for read in (read_png_text, read_picture):
        with pytest.raises(UnreadablePicture, match="This file is 4 MB"):
            read(SIGNATURE + b"\0" * (4 << 20))


# ---- any bytes at all ----

VALID = png_with(text(b"a", b"text"), packed(b"b", b"text" * 20), international(b"c", "雪".encode(), pack=True))
NOISE = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)
SAMPLES = {
    "png": write_png(NOISE, {"wavebrush": "{}"}),
    "apng": file_of(Image.fromarray(NOISE), "PNG", save_all=True, append_images=[Image.fromarray(NOISE[::-1])]),
    "jpeg": file_of(Image.fromarray(NOISE), "JPEG"),
    "webp": file_of(Image.fromarray(NOISE), "WEBP", lossless=True),
    "lossy webp": file_of(Image.fromarray(NOISE), "WEBP"),
    "tiff": file_of(Image.fromarray(NOISE), "TIFF"),
    "packed tiff": file_of(Image.fromarray(NOISE), "TIFF", compression="tiff_lzw"),
}

mutations = st.lists(
    st.tuples(st.sampled_from(["set", "cut", "insert", "double"]), st.integers(0, 2**16), st.binary(max_size=8)),
    min_size=1,
    max_size=6,
)


def mutated(data: bytes, changes: list[tuple[str, int, bytes]]) -> bytes:
    for how, place, new in changes:
        at = place % (len(data) + 1)
        if how == "set":
            data = data[:at] + new + data[at + len(new) :]
        elif how == "cut":
            data = data[:at] + data[at + len(new) * 7 :]
        elif how == "insert":
            data = data[:at] + new + data[at:]
        else:
            data = data[:at] + data[max(0, at - 40) :]
    return data


def with_right_checksums(data: bytes) -> bytes:
    """The same chunks, their checksums put right: so that a mutation gets beyond them."""
    result, position = data[:8], 8
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        if position + 12 + length > len(data):
            break
        result += chunk(data[position + 4 : position + 8], data[position + 8 : position + 8 + length])
        position += 12 + length
    return result + data[position:]


def read_or_refuse(read: Any, data: bytes) -> None:
    begun = time.thread_time()
    try:
        read(data)
    except UnreadablePicture as refusal:
        assert str(refusal)
    assert time.thread_time() - begun < PATIENCE


@given(st.binary(max_size=300), st.booleans())
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_read_or_refused(data: bytes, signed: bool) -> None:
    for read in (read_png_text, read_picture):
        read_or_refuse(read, SIGNATURE + data if signed else data)


@given(mutations, st.booleans())
@example([("set", 33, b"\xff\xff\xff\xff")], True)
@settings(max_examples=400, deadline=None)
def test_a_mutated_png_has_its_text_read_or_is_refused(changes: list[tuple[str, int, bytes]], repair: bool) -> None:
    data = mutated(VALID, changes)
    read_or_refuse(read_png_text, with_right_checksums(data) if repair else data)


@pytest.mark.parametrize("kind", SAMPLES)
@given(changes=mutations, repair=st.booleans())
@settings(max_examples=80, deadline=None)
def test_a_mutated_picture_is_read_or_refused(kind: str, changes: list[tuple[str, int, bytes]], repair: bool) -> None:
    data = mutated(SAMPLES[kind], changes)
    read_or_refuse(read_picture, with_right_checksums(data) if repair and kind.endswith("png") else data)


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_picture_cut_anywhere_is_read_or_refused_and_never_half_read(kind: str) -> None:
    data = SAMPLES[kind]
    for length in range(0, len(data) - 40, 37):
        try:
            pixels = read_picture(data[:length])
        except UnreadablePicture:
            continue
        assert pixels.shape == NOISE.shape


# ---- pictures ----


@pytest.mark.parametrize(("kind", "tolerance"), [("PNG", 0), ("TIFF", 0), ("WEBP", 12), ("JPEG", 12)])
def test_the_four_formats_are_read(kind: str, tolerance: int) -> None:
    pixels = read_picture(file_of(Image.fromarray(gradient()), kind, **({} if kind != "JPEG" else {"quality": 98})))
    assert np.abs(pixels.astype(int) - gradient()).mean() <= tolerance


@pytest.mark.parametrize("kind", ["GIF", "BMP", "PPM", "ICO"])
def test_other_formats_are_refused_with_those_that_work(kind: str) -> None:
    with pytest.raises(UnreadablePicture, match="Use a PNG, JPEG, WebP, AVIF or TIFF"):
        read_picture(file_of(Image.fromarray(gradient(16, 16)), kind))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_undone(kind: str, orientation: int) -> None:
    upright = Image.fromarray(np.kron(np.array([[0, 90, 180], [30, 120, 255]], np.uint8), np.ones((16, 16), np.uint8)))
    turn_back = {
        2: 0,
        3: 3,
        4: 1,
        5: 5,
        6: 2,
        7: 6,
        8: 4,
    }  # orientation -> transpose that makes the stored picture
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(turn_back[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = read_picture(file_of(stored.convert("RGB"), kind, exif=exif))
    assert pixels.shape == (32, 48, 3)
    np.testing.assert_allclose(pixels[8::16, 8::16, 0], [[0, 90, 180], [30, 120, 255]], atol=6)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_rounded_to_eight(kind: str) -> None:
    levels = np.array([[0, 1, 128, 129, 257, 32767, 32768, 65278, 65407, 65535]], dtype=np.uint16)
    pixels = read_picture(file_of(Image.fromarray(levels), kind))
    np.testing.assert_array_equal(pixels[..., 0], np.rint(levels / 257))
    assert pixels.shape == (1, 10, 3)


def test_sixteen_bit_colour_keeps_its_upper_eight() -> None:
    row = b"\0" + struct.pack(">6H", 0, 0x1234, 0xFFFF, 0x8000, 0x00FF, 0xFF00)
    data = SIGNATURE + header(2, 1, 16, 2) + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND")
    assert np.abs(read_picture(data).astype(int) - [[[0, 0x12, 255], [0x80, 0, 255]]]).max() <= 1


def test_a_palette_becomes_colour_and_its_transparency_alpha() -> None:
    flat = Image.new("P", (2, 1))
    flat.putpalette([255, 0, 0, 0, 0, 255])
    flat.putpixel((1, 0), 1)
    assert read_picture(file_of(flat, "PNG")).tolist() == [[[255, 0, 0], [0, 0, 255]]]
    see_through = read_picture(file_of(flat, "PNG", transparency=1))
    assert see_through.tolist() == [[[255, 0, 0, 255], [0, 0, 255, 0]]]


def test_grey_with_alpha_and_colour_with_a_transparent_level_keep_them() -> None:
    assert read_picture(file_of(Image.new("LA", (1, 1), (7, 9)), "PNG")).tolist() == [[[7, 7, 7, 9]]]
    keyed = read_picture(file_of(Image.new("RGB", (1, 1), (1, 2, 3)), "PNG", transparency=(1, 2, 3)))
    assert keyed.tolist() == [[[1, 2, 3, 0]]]


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(kind: str) -> None:
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    pixels = read_picture(file_of(red, kind))
    assert pixels.shape == (16, 16, 3)
    np.testing.assert_allclose(pixels[8, 8], [255, 0, 0], atol=4)


def test_black_and_white_becomes_grey_levels() -> None:
    assert read_picture(file_of(Image.new("1", (2, 2), 1), "PNG")).tolist() == [[[255] * 3] * 2] * 2


@pytest.mark.parametrize(("kind", "frames"), [("PNG", 3), ("WEBP", 3), ("TIFF", 2)])
def test_of_an_animation_the_first_frame_is_read(kind: str, frames: int) -> None:
    pictures = [Image.new("RGB", (16, 16), (200 * (k == 0), 80 * k, 0)) for k in range(frames)]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = file_of(pictures[0], kind, save_all=True, append_images=pictures[1:], **options)
    assert getattr(Image.open(io.BytesIO(data)), "n_frames", 1) == frames
    np.testing.assert_array_equal(read_picture(data)[0, 0, :3], [200, 0, 0])


def test_another_colour_profile_becomes_srgb() -> None:
    lab = ImageCms.createProfile("LAB")
    odd = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels = gradient()
    same = read_picture(file_of(Image.fromarray(pixels), "PNG", icc_profile=odd))
    assert np.abs(same.astype(int) - pixels).max() <= 1  # sRGB to sRGB, but for rounding
    for wrong in (ImageCms.ImageCmsProfile(lab).tobytes(), b"no profile", b"\0" * 200):
        np.testing.assert_array_equal(read_picture(file_of(Image.fromarray(pixels), "PNG", icc_profile=wrong)), pixels)


def test_float_pixels_are_refused_with_what_would_work() -> None:
    with pytest.raises(UnreadablePicture, match="8 or 16 bits"):
        read_picture(file_of(Image.new("F", (2, 2)), "TIFF"))


def huge_webp(width: int, height: int) -> bytes:
    body = b"\0\0\0\0" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    chunks = b"VP8X" + struct.pack("<I", 10) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def huge_jpeg() -> bytes:
    data = SAMPLES["jpeg"]
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", 60_000, 60_000) + data[at + 4 :]


def huge_tiff(tag: int, value: int) -> bytes:
    """A one-pixel TIFF one of whose numbers is `value`."""
    tags = {256: 1, 257: 1, 258: 8, 259: 1, 262: 1, 277: 1, 322: 16, 323: 16, 324: 8, 325: 256}
    tags[tag] = value
    entries = b"".join(struct.pack("<HHII", name, 4, 1, number) for name, number in sorted(tags.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + b"\0" * 300


@pytest.mark.parametrize(
    "data",
    [
        SIGNATURE + header(50_000, 50_000) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND"),
        SIGNATURE + header(8_000, 8_000) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND"),
        SIGNATURE + header(20_000, 1) + chunk(b"IDAT", zlib.compress(b"\0" * 60_001)) + chunk(b"IEND"),
        huge_webp(16_384, 16_384),
        huge_jpeg(),
        huge_tiff(256, 100_000),
        huge_tiff(322, 65_536),
    ],
    ids=["png", "64 million pixels", "long png", "webp", "jpeg", "tiff", "tiff tile"],
)
def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(data: bytes) -> None:
    tracemalloc.start()
    begun = time.thread_time()
    with pytest.raises(UnreadablePicture, match="At most 50 million pixels"):
        read_picture(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert time.thread_time() - begun < PATIENCE
    assert peak < 4 << 20  # bytes
