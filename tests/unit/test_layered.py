"""PSD and OpenRaster: what other readers find in the files is what was put in."""

from __future__ import annotations

import io
import zipfile
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from psd_tools import PSDImage

from studio.imaging.compositing import Layer, flatten, over
from studio.imaging.geometry import Extent
from studio.imaging.layered import write_ora, write_psd

CANVAS = Extent(50, 40)


def noise(*shape: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(1, 256, shape, dtype=np.uint8)


LAYERS = [
    Layer(noise(40, 50, 4), 0, 0, 100, True, "Background"),
    Layer(noise(30, 20, 4, seed=1), -5, 17, 37, False, "møte 雪 🌊"),
    Layer(noise(3, 4, 4, seed=2), 48, 39, 0, True, "a\0b <&\"'>"),
    Layer(noise(20, 20, 4, seed=3), 3, 3, 50, True, ""),
]
NAMES = ["Background", "møte 雪 🌊", "a b <&\"'>", "Layer"]


def test_psd_layers_are_read_back_as_they_were() -> None:
    document = PSDImage.open(io.BytesIO(write_psd(LAYERS, CANVAS)))
    assert (document.width, document.height, document.depth) == (50, 40, 8)
    found = list(document)
    assert [layer.name for layer in found] == NAMES
    for layer, wanted in zip(found, LAYERS, strict=True):
        assert (layer.left, layer.top) == (wanted.x, wanted.y)
        assert layer.visible == wanted.visible
        assert layer.opacity == (wanted.opacity * 255 + 50) // 100
        np.testing.assert_array_equal(np.asarray(layer.topil()), wanted.pixels)


def test_a_psd_shows_the_flattened_picture_to_programs_without_layers() -> None:
    data = write_psd(LAYERS, CANVAS)
    flat = flatten(LAYERS, CANVAS)
    merged = PSDImage.open(io.BytesIO(data)).numpy("shape")
    np.testing.assert_array_equal(np.rint(merged[..., 0] * 255).astype(np.uint8), flat[..., 3])
    plain = np.asarray(Image.open(io.BytesIO(data)))  # Pillow reads the flattened picture alone
    np.testing.assert_array_equal(plain[..., :3], over(np.full_like(flat, 255), flat)[..., :3])


def ora(layers: list[Layer], canvas: Extent = CANVAS) -> tuple[zipfile.ZipFile, ElementTree.Element]:
    archive = zipfile.ZipFile(io.BytesIO(write_ora(layers, canvas)))
    assert archive.testzip() is None
    return archive, ElementTree.fromstring(archive.read("stack.xml"))


def test_an_openraster_file_begins_with_its_kind_unpacked() -> None:
    data = write_ora(LAYERS, CANVAS)
    assert data[:4] == b"PK\x03\x04"
    assert data[30:54] == b"mimetypeimage/openraster"
    first = zipfile.ZipFile(io.BytesIO(data)).infolist()[0]
    assert (first.filename, first.compress_type) == ("mimetype", zipfile.ZIP_STORED)


def test_openraster_layers_are_read_back_as_they_were() -> None:
    archive, image = ora(LAYERS)
    assert (image.tag, image.get("w"), image.get("h")) == ("image", "50", "40")
    found = image.findall("./stack/layer")[::-1]  # the file has the topmost first
    assert [layer.get("name") for layer in found] == NAMES
    for layer, wanted in zip(found, LAYERS, strict=True):
        assert (int(layer.get("x", "")), int(layer.get("y", ""))) == (wanted.x, wanted.y)
        assert float(layer.get("opacity", "")) == wanted.opacity / 100
        assert layer.get("visibility") == ("visible" if wanted.visible else "hidden")
        assert layer.get("composite-op") == "svg:src-over"
        pixels = np.asarray(Image.open(io.BytesIO(archive.read(layer.get("src", "")))))
        np.testing.assert_array_equal(pixels, wanted.pixels)


def test_an_openraster_file_holds_the_flattened_picture_and_a_thumbnail() -> None:
    archive, _ = ora([Layer(noise(300, 600, 4))], Extent(600, 300))
    merged = np.asarray(Image.open(io.BytesIO(archive.read("mergedimage.png"))))
    np.testing.assert_array_equal(merged, flatten([Layer(noise(300, 600, 4))], Extent(600, 300)))
    assert Image.open(io.BytesIO(archive.read("Thumbnails/thumbnail.png"))).size == (256, 128)


def test_empty_borders_are_left_out() -> None:
    pixels = np.zeros((40, 50, 4), np.uint8)
    pixels[10:14, 20:29] = noise(4, 9, 4)
    pixels[5, 20] = (9, 0, 0, 0)  # a hidden colour counts as something
    (layer,) = PSDImage.open(io.BytesIO(write_psd([Layer(pixels, 1, 2)], CANVAS)))
    assert (layer.left, layer.top, layer.width, layer.height) == (21, 7, 9, 9)
    np.testing.assert_array_equal(np.asarray(layer.topil()), pixels[5:14, 20:29])


def test_files_do_not_tell_when_they_were_written() -> None:
    archive, _ = ora(LAYERS)
    assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


@pytest.mark.parametrize("write", [write_psd, write_ora])
def test_the_same_layers_give_the_same_bytes(write: Any) -> None:
    assert write(LAYERS, CANVAS) == write(LAYERS, CANVAS)


def test_documents_without_layers_or_with_empty_ones_are_files_too() -> None:
    empty = Layer(np.zeros((40, 50, 4), np.uint8), name="x" * 500)
    assert list(PSDImage.open(io.BytesIO(write_psd([], CANVAS)))) == []
    (layer,) = PSDImage.open(io.BytesIO(write_psd([empty], CANVAS)))
    assert layer.name == "x" * 120
    _, image = ora([])
    assert image.findall("./stack/layer") == []
    _, image = ora([empty])
    assert len(image.findall("./stack/layer")) == 1
