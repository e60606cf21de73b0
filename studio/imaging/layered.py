"""Layers as files that other programs open: PSD (Photoshop) and OpenRaster (Krita, GIMP, MyPaint). Writes only.

Layers keep their names, places, visibility, opacity and every pixel; empty borders are left out. Both kinds hold the
flattened picture as well, for programs that show no layers. The same layers give the same bytes.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from studio.imaging.compositing import Layer, flatten, over
from studio.imaging.geometry import Bounds, Extent
from studio.imaging.masks import bounds
from studio.imaging.png import Pixels, write_png

THUMBNAIL = 256  # px, as OpenRaster has it
NAME_LIMIT = 120  # characters of a layer's name; PSD's older field holds 255 bytes
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest moment of a ZIP file: files do not tell when they were written
_UNNAMED = "Layer"


def write_psd(layers: Sequence[Layer], canvas: Extent) -> bytes:
    """A PSD file of the layers, from bottom to top. RGB with transparency, 8 bits.

    Opacities are rounded to 255 parts, as the format has them and as they are laid over each other here.
    """
    from psd_tools import PSDImage
    from psd_tools.constants import ColorMode, Compression
    from psd_tools.psd import PSD
    from psd_tools.psd.header import FileHeader
    from psd_tools.psd.image_data import ImageData
    from psd_tools.psd.image_resources import ImageResources

    header = FileHeader(
        version=1, channels=4, height=canvas.height, width=canvas.width, depth=8, color_mode=ColorMode.RGB
    )
    flat = flatten(layers, canvas)
    merged = ImageData(compression=Compression.RLE)
    white = np.full_like(flat, 255)
    planes = [*np.moveaxis(over(white, flat)[..., :3], 2, 0), flat[..., 3]]  # PSD has its flattened colours over white
    merged.set_data([plane.tobytes() for plane in planes], header)
    # held on to, because a PSDImage that saves itself would flatten the layers anew, by another formula
    record = PSD(header=header, image_data=merged, image_resources=ImageResources.new())
    document = PSDImage(record)
    for layer in map(_trimmed, layers):
        written = document.create_pixel_layer(
            Image.fromarray(layer.pixels),
            top=layer.y,
            left=layer.x,
            compression=Compression.RLE,
            opacity=(layer.opacity * 255 + 50) // 100,
        )
        written.name = _name(layer)  # in Unicode as well, which a name from the start would not be
        written.visible = layer.visible
    info = record.layer_and_mask_information.layer_info
    if info is not None:
        info.layer_count = -abs(info.layer_count)  # says that the flattened picture's fourth channel is its alpha
    file = io.BytesIO()
    record.write(file)
    return file.getvalue()


def write_ora(layers: Sequence[Layer], canvas: Extent) -> bytes:
    """An OpenRaster file of the layers, from bottom to top: https://www.openraster.org/baseline/file-layout-spec.html"""
    image = ElementTree.Element("image", version="0.0.3", w=str(canvas.width), h=str(canvas.height))
    stack = ElementTree.SubElement(image, "stack")
    files: dict[str, bytes] = {}
    for number, layer in reversed(list(enumerate(map(_trimmed, layers)))):  # the topmost comes first
        source = f"data/layer{number:03d}.png"
        files[source] = write_png(layer.pixels)
        ElementTree.SubElement(
            stack,
            "layer",
            {
                "name": _name(layer),
                "src": source,
                "x": str(layer.x),
                "y": str(layer.y),
                "opacity": f"{layer.opacity / 100:g}",
                "visibility": "visible" if layer.visible else "hidden",
                "composite-op": "svg:src-over",
            },
        )
    flat = flatten(layers, canvas)
    files["mergedimage.png"] = write_png(flat)
    files["Thumbnails/thumbnail.png"] = write_png(_thumbnail(flat))
    files["stack.xml"] = ElementTree.tostring(image, encoding="UTF-8", xml_declaration=True)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(_entry("mimetype"), b"image/openraster")  # first and not packed: programs look for it there
        for name, data in files.items():
            way = zipfile.ZIP_DEFLATED if name.endswith(".xml") else zipfile.ZIP_STORED  # PNGs are packed already
            archive.writestr(_entry(name), data, compress_type=way)
    return packed.getvalue()


def _trimmed(layer: Layer) -> Layer:
    """The layer without rows and columns at its borders that hold nothing at all, but of at least one pixel."""
    spot = bounds(layer.pixels.max(axis=2)) or Bounds(0, 0, 1, 1)
    return replace(layer, pixels=layer.pixels[spot.slices], x=layer.x + spot.x, y=layer.y + spot.y)


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.external_attr = 0o644 << 16
    return entry


def _name(layer: Layer) -> str:
    """The layer's name without what XML and other programs stumble over."""
    clean = "".join(c if c.isprintable() else " " for c in layer.name).strip()
    return clean[:NAME_LIMIT] or _UNNAMED


def _thumbnail(flat: Pixels) -> Pixels:
    small = Extent(flat.shape[1], flat.shape[0]).fitted(THUMBNAIL)
    return np.array(Image.fromarray(flat).resize((small.width, small.height), Image.Resampling.BOX))
