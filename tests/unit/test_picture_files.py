"""Pictures of strangers opened for the canvas: converted, with words on what was, or refused in words."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import AvifImagePlugin, Image, ImageCms

from studio.errors import InvalidRequest, StudioError, UnreadablePicture
from studio.imaging.masks import mask_of
from studio.imaging.picture_files import open_picture
from studio.imaging.plain_png import read_plain, write_plain

needs_avif = pytest.mark.skipif(not AvifImagePlugin.SUPPORTED, reason="this Pillow was built without AVIF")


def noise(*shape: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def file_of(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True, "exact": True})])
def test_plain_pictures_come_as_they_are_and_nothing_is_said(kind: str, options: Any, channels: int) -> None:
    pixels = noise(5, 7, channels)
    opened = open_picture(file_of(Image.fromarray(pixels), kind, **options))
    assert opened.pixels.shape == (5, 7, 4)
    np.testing.assert_array_equal(opened.pixels[..., :channels], pixels)
    assert channels == 4 or (opened.pixels[..., 3] == 255).all()
    assert opened.notes == ()
    np.testing.assert_array_equal(read_plain(write_plain(opened.pixels)), opened.pixels)


def test_a_picture_of_one_pixel_is_opened() -> None:
    assert open_picture(file_of(Image.new("RGB", (1, 1), (1, 2, 3)), "PNG")).pixels.tolist() == [[[1, 2, 3, 255]]]


@needs_avif
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_avif_is_read(mode: str) -> None:
    picture = Image.new(mode, (40, 30), (200, 90, 30, 128)[: len(mode)])
    opened = open_picture(file_of(picture, "AVIF", quality=95))
    assert opened.pixels.shape == (30, 40, 4)
    np.testing.assert_allclose(opened.pixels[15, 20], [200, 90, 30, 128 if mode == "RGBA" else 255], atol=4)


@needs_avif
def test_an_avif_that_is_broken_or_huge_is_refused() -> None:
    data = file_of(Image.fromarray(noise(64, 64, 3)), "AVIF")
    for length in range(0, len(data) - 1, 97):
        with pytest.raises(UnreadablePicture):
            open_picture(data[:length])
    at = data.index(b"ispe") + 8  # the size, as the box of the picture's properties says it
    huge = data[:at] + struct.pack(">II", 30_000, 30_000) + data[at + 8 :]
    with pytest.raises(UnreadablePicture):
        open_picture(huge)


def test_an_animation_gives_its_first_frame_and_says_so() -> None:
    frames = [Image.new("RGB", (8, 8), (80 * k, 0, 0)) for k in range(3)]
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})):
        opened = open_picture(file_of(frames[0], kind, save_all=True, append_images=frames[1:], **options))
        assert opened.pixels[0, 0].tolist() == [0, 0, 0, 255]
        assert opened.notes == (f"Only its first {'page' if kind == 'TIFF' else 'frame'} was taken.",)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
def test_a_turned_picture_is_put_upright_and_says_so(kind: str) -> None:
    if kind == "AVIF" and not AvifImagePlugin.SUPPORTED:
        pytest.skip("this Pillow was built without AVIF")
    stored = Image.new("RGB", (48, 32), "black")
    stored.paste((255, 255, 255), (0, 0, 16, 16))  # top left; the camera was held so that it is top right
    exif = Image.Exif()
    exif[0x0112] = 6
    opened = open_picture(file_of(stored, kind, exif=exif))
    assert opened.pixels.shape == (48, 32, 4)
    assert opened.pixels[8, 24, 0] > 240
    assert opened.pixels[8, 8, 0] < 15
    assert opened.notes == ("It was turned upright, as its camera says.",)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_become_eight_and_say_so(kind: str) -> None:
    opened = open_picture(file_of(Image.fromarray(np.array([[0, 32896, 65535]], np.uint16)), kind))
    assert opened.pixels[0, :, 0].tolist() == [0, 128, 255]
    assert opened.notes == ("Its 16 bits per channel became 8.",)


def test_sixteen_bits_of_colour_become_eight_and_say_so() -> None:
    row = b"\0" + struct.pack(">6H", 0, 0x1234, 0xFFFF, 0x8000, 0x00FF, 0xFF00)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND")
    opened = open_picture(data)
    assert np.abs(opened.pixels[0, :, :3].astype(int) - [[0, 0x12, 255], [0x80, 0, 255]]).max() <= 1
    assert opened.notes == ("Its 16 bits per channel became 8.",)


def test_a_palette_becomes_colours_and_says_so() -> None:
    flat = Image.new("P", (2, 1))
    flat.putpalette([255, 0, 0, 0, 0, 255])
    flat.putpixel((1, 0), 1)
    opened = open_picture(file_of(flat, "PNG", transparency=1))
    assert opened.pixels.tolist() == [[[255, 0, 0, 255], [0, 0, 255, 0]]]
    assert opened.notes == ("Its palette became full colours.",)


def test_cmyk_without_a_profile_is_converted_and_says_so() -> None:
    opened = open_picture(file_of(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG"))
    np.testing.assert_allclose(opened.pixels[8, 8], [255, 0, 0, 255], atol=4)
    assert opened.notes == ("Its CMYK colours became sRGB without a profile, so that they may look different.",)


def wide_profile() -> bytes:
    """A profile of RGB with other primaries: sRGB's with the columns of red and green exchanged."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = int.from_bytes(profile[128:132], "big")
    places = {bytes(profile[132 + 12 * k : 136 + 12 * k]): 132 + 12 * k for k in range(count)}
    red, green = places[b"rXYZ"], places[b"gXYZ"]
    profile[red + 4 : red + 12], profile[green + 4 : green + 12] = (
        profile[green + 4 : green + 12],
        profile[red + 4 : red + 12],
    )
    name = profile.index("sRGB".encode("utf-16-be"))
    profile[name : name + 8] = "Swap".encode("utf-16-be")
    return bytes(profile)


def test_another_profile_is_converted_to_srgb_and_named() -> None:
    picture = Image.new("RGBA", (4, 4), (255, 0, 0, 77))
    opened = open_picture(file_of(picture, "PNG", icc_profile=wide_profile()))
    np.testing.assert_allclose(opened.pixels[0, 0], [0, 255, 0, 77], atol=2)
    (note,) = opened.notes
    assert note.startswith("Its colours were converted from 'Swap")
    assert note.endswith("' to sRGB.")


def test_srgb_itself_needs_no_words_and_a_broken_profile_does() -> None:
    picture = Image.fromarray(noise(4, 4, 3))
    same = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert open_picture(file_of(picture, "PNG", icc_profile=same)).notes == ()
    opened = open_picture(file_of(picture, "PNG", icc_profile=b"no profile"))
    assert opened.notes == ("Its colour profile cannot be used: its colours are taken as sRGB.",)
    np.testing.assert_array_equal(opened.pixels[..., :3], np.asarray(picture))


def test_a_large_picture_is_opened_smaller_if_that_is_asked_for() -> None:
    pixels = np.zeros((20, 30, 4), np.uint8)
    pixels[:, :15] = (250, 120, 10, 255)
    pixels[:, 15:] = (0, 0, 255, 0)  # a colour that nobody sees
    data = file_of(Image.fromarray(pixels), "PNG")
    with pytest.raises(
        InvalidRequest, match=r"30 × 20 pixels; documents have at most 12 a side\. .*at 12 × 8"
    ) as problem:
        open_picture(data, max_side=12)
    assert problem.value.field == "fit"
    opened = open_picture(data, fit=True, max_side=12)
    assert opened.pixels.shape == (8, 12, 4)
    assert opened.notes == ("Its 30 × 20 pixels were reduced to 12 × 8.",)
    seen = opened.pixels[opened.pixels[..., 3] > 20]
    np.testing.assert_allclose(seen[:, :3], np.broadcast_to([250, 120, 10], seen[:, :3].shape), atol=8)
    assert open_picture(data, fit=True, max_side=30).notes == ()


def test_a_picture_that_is_made_smaller_is_averaged() -> None:
    fine = np.indices((64, 64)).sum(axis=0) % 2 * 200
    opened = open_picture(file_of(Image.fromarray(fine.astype(np.uint8)), "PNG"), fit=True, max_side=16)
    assert np.abs(opened.pixels[2:-2, 2:-2, 0].astype(int) - 100).max() <= 10


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"\0", "not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
        (b"\x89PNG\r\n\x1a\n", "broken or cut short"),
        (
            b"\x89PNG\r\n\x1a\n"
            + chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 6, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(b"\0" * 9999)),
            "30000 × 30000 pixels. At most 50 million",
        ),
        (file_of(Image.fromarray(noise(40, 40, 3)), "PNG")[:-200], "broken or cut short"),
        (file_of(Image.fromarray(noise(40, 40, 3)), "JPEG")[:300], "broken or cut short"),
        (file_of(Image.fromarray(noise(40, 40, 3)), "GIF"), "Use a PNG, JPEG, WebP, AVIF or TIFF"),
    ],
)
def test_what_cannot_be_opened_is_refused_in_words(data: bytes, words: str) -> None:
    for fit in (False, True):
        with pytest.raises(UnreadablePicture, match=words):
            open_picture(data, fit)


SAMPLES = {
    kind: file_of(Image.fromarray(noise(24, 24, 4 if kind in ("PNG", "WEBP") else 3)), kind)
    for kind in ("PNG", "JPEG", "WEBP", "TIFF", *(["AVIF"] if AvifImagePlugin.SUPPORTED else []))
}


@pytest.mark.parametrize("kind", SAMPLES)
@given(data=st.data())
@settings(max_examples=30, deadline=None, derandomize=True)
def test_a_mutated_file_is_opened_or_refused(kind: str, data: Any) -> None:
    mutated = bytearray(SAMPLES[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    try:
        opened = open_picture(bytes(mutated), fit=True)
    except StudioError:
        return
    assert opened.pixels.dtype == np.uint8
    assert opened.pixels.shape[2] == 4


def test_a_mask_goes_out_as_grey_and_comes_back_as_it_was() -> None:
    mask = noise(9, 11)
    np.testing.assert_array_equal(mask_of(open_picture(write_plain(mask)).pixels), mask)
