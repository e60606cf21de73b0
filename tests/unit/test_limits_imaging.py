"""What a picture or words may cost: small files and long words that would keep a decoder busy are refused or cut."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from studio.errors import UnreadablePicture
from studio.imaging import png as pictures
from studio.imaging import sheet
from studio.imaging.geometry import Extent
from studio.imaging.plain_png import plain_extent, read_plain, write_plain
from studio.imaging.png import MAX_SCANS, MAX_SEGMENTS, read_picture

SEGMENT = b"\xff\xfe\x00\x04ab"


def _progressive() -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(3).integers(0, 256, (48, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "JPEG", progressive=True, quality=95)
    return file.getvalue()


def _with_scans(more: int) -> bytes:
    """The picture of `_progressive` with its last scan painted `more` times again."""
    data = _progressive()
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * more + b"\xff\xd9"


def _no_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("the decoder was asked")

    monkeypatch.setattr(JpegImagePlugin, "JpegImageFile", never)


def test_a_jpeg_of_many_scans_is_refused_before_its_decoder_sees_it(monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = _with_scans(MAX_SCANS)
    _no_decoder(monkeypatch)
    with pytest.raises(UnreadablePicture, match="more than 100 scans"):
        read_picture(hostile)


@pytest.mark.parametrize("between", [b"\xff" * 9, b"junk \xff\x00\xff\xd3", b"\xff\x02\xff\xff", b"\xff\x01", SEGMENT])
def test_scans_are_found_behind_whatever_a_decoder_skips(between: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    data = _progressive()
    last = data.rindex(b"\xff\xda")
    hostile = data[:-2] + (between + data[last:-2]) * MAX_SCANS + b"\xff\xd9"
    _no_decoder(monkeypatch)
    with pytest.raises(UnreadablePicture, match="scans"):
        read_picture(hostile)


def test_scans_do_not_hide_in_the_head_of_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """A component may be called 0xFF: with the byte after it, that looks like a segment of 8,000 bytes."""
    hidden = bytes((0xFF, 0xDA, 0, 8, 1, 0xFF, 0xE0, 0x20, 0x3F, 0))
    hostile = _progressive()[:-2] + hidden * (MAX_SCANS + 1) + b"\xff\xd9"
    _no_decoder(monkeypatch)
    with pytest.raises(UnreadablePicture, match="scans"):
        read_picture(hostile)


def test_a_jpeg_with_some_scans_more_is_read() -> None:
    plain = read_picture(_progressive())
    assert plain.shape == (48, 40, 3)
    pictures._check_scans(_with_scans(80))


def test_bytes_in_its_notes_and_behind_its_end_are_no_scans() -> None:
    data = _progressive()
    note = b"\xff\xda" * 30_000
    noted = data[:2] + b"\xff\xfe" + struct.pack(">H", len(note) + 2) + note + data[2:] + b"\xff\xda" * 500
    assert np.array_equal(read_picture(noted), read_picture(data))


def test_a_jpeg_of_very_many_pieces_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = _progressive()
    _no_decoder(monkeypatch)
    with pytest.raises(UnreadablePicture, match="pieces"):
        read_picture(data[:2] + SEGMENT * MAX_SEGMENTS + data[2:])


# -- PNG --------------------------------------------------------------------------------------------------------------


def test_pixels_are_read_whatever_a_png_says_beside_them() -> None:
    pixels = np.arange(96, dtype=np.uint8).reshape(4, 6, 4)
    data = write_plain(pixels)
    body = b"Comment\0\0" + zlib.compress(b"\0" * 80_000_000)  # more than Pillow unpacks
    chunk = struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))
    told = data[:33] + chunk + data[33:]
    assert plain_extent(told) == plain_extent(data)
    assert np.array_equal(read_plain(told), pixels)


def test_what_a_decoder_stumbles_over_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def stumbles(*_: object, **__: object) -> None:
        raise ValueError("Decompressed data too large")

    monkeypatch.setattr(Image, "open", stumbles)
    with pytest.raises(UnreadablePicture, match="damaged"):
        read_plain(write_plain(np.zeros((2, 2), np.uint8)))


# -- words on a sheet -------------------------------------------------------------------------------------------------


class _Ruler:
    """A font of 7 px a character that counts what it measures."""

    def __init__(self) -> None:
        self.measured = 0

    def getlength(self, text: str) -> float:
        self.measured += len(text)
        return 7.0 * len(text)


@pytest.mark.parametrize("length", [1, 13, 14, 15, 28, 29, 1000, 20_000])
def test_a_long_word_is_broken_in_steps_that_grow_with_it(length: int) -> None:
    ruler, word = _Ruler(), "".join(chr(97 + k % 26) for k in range(length))
    lines = sheet._wrapped(word, ruler, 100.0)  # type: ignore[arg-type]
    assert "".join(lines) == word
    assert [len(line) for line in lines[:-1]] == [14] * ((length - 1) // 14)
    assert ruler.measured <= 12 * length + 100


@pytest.mark.parametrize("fitting", range(1, 20))
def test_a_line_takes_all_that_fits(fitting: int) -> None:
    lines = sheet._wrapped("x" * 100, _Ruler(), 7.0 * fitting + 3)  # type: ignore[arg-type]
    assert [len(line) for line in lines[:-1]] == [fitting] * ((100 - 1) // fitting)


def test_a_word_that_never_fits_is_broken_into_single_characters() -> None:
    assert sheet._wrapped("abc", _Ruler(), 1.0) == ["a", "b", "c"]  # type: ignore[arg-type]


def test_words_beyond_their_limits_are_left_out() -> None:
    def drawn(words: str, foot: str) -> np.ndarray:
        return sheet.draw_sheet(sheet.Sheet(words, (words,), (words,), foot), Extent(16, 16), lambda *_: None)

    most = drawn("w" * (sheet.LABEL_LIMIT - 1) + "…", "f" * (sheet.FOOT_LIMIT - 1) + "…")
    assert np.array_equal(drawn("w" * 100_000, "f" * 100_000), most)
