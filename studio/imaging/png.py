"""Picture files: our own lossless PNGs with their request inside, and a wary reading of strangers' files.

Every limit is checked before the bytes that it is about are decoded. Whatever is wrong with a file ends in
UnreadablePicture, in words. Nothing here knows what the text in a file means, loads a model or opens a
connection.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
from PIL import (
    AvifImagePlugin,
    Image,
    ImageCms,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from studio.errors import UnreadablePicture, shown
from studio.imaging.png_chunks import SIGNATURE, chunks

Pixels: TypeAlias = "np.ndarray[Any, np.dtype[np.uint8]]"

REQUEST_KEY = "wavebrush"  # the iTXt key of the request that a picture was made from

MAX_FILE = 64 * 1024 * 1024  # bytes of a file that is read at all
MAX_CHUNKS = 50_000  # of a PNG; encoders with the smallest habits write 8 kB each
MAX_TEXTS = 256  # text chunks of a PNG
MAX_TEXT = 1024 * 1024  # bytes of one text, packed or unpacked
MAX_TEXT_TOTAL = 4 * 1024 * 1024  # bytes of all texts, unpacked
MAX_PIECE = 1024 * 1024  # bytes of a private chunk that is written: libpng refuses whole files for one of 8 million
MAX_PIXELS = 50_000_000
MAX_SIDE = 16_384
MAX_SCANS = 100  # of a JPEG, as many as libtiff allows; encoders with the largest habits write a dozen
MAX_SEGMENTS = 20_000  # of a JPEG
MAX_PROFILE = 4 * 1024 * 1024  # bytes of a colour profile; larger ones are ignored

# Bits per channel that PNG knows, by its colour types.
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_PRIVATE = re.compile(rb"[a-z][a-z][A-Z][A-Za-z]")
_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
_AVIF = (b"avif", b"avis", b"mif1", b"msf1")  # what the file says that it is; its decoder looks closer
# What ends a run of packed pixels in a JPEG. Fill bytes, stuffed bytes and restarts do not.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_SCAN, _END_OF_JPEG = 0xDA, 0xD9
# Segments that say how long they are, and that every decoder passes by that length.
_LONG = frozenset((*range(0xC0, 0xD0), _SCAN, 0xDB, 0xDC, 0xDD, 0xDE, 0xDF, *range(0xE0, 0xF0), 0xFE))
_TILE_WIDTH, _TILE_LENGTH, _BITS = 322, 323, 258  # TIFF tags
_ORIENTATION = 0x0112  # EXIF tag
_UPRIGHT = "It was turned upright, as its camera says."
_TURNS = {  # EXIF orientation -> what makes the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def write_png(
    pixels: Pixels, text: Mapping[str, str] | None = None, private: Mapping[bytes, bytes] | None = None
) -> bytes:
    """uint8 (H, W, 3) or (H, W, 4) -> a lossless PNG with every entry of `text` as an iTXt chunk.

    `private` are chunks of our own, by their kind, behind the pixels; see `read_png_chunks`. The same pixels, text
    and chunks give the same bytes. Raises ValueError for other pixels, for a key that PNG does
    not allow (1 to 79 printable Latin-1 characters, no spaces at its ends or in pairs), for a text that
    `read_png_text` would not take back, and for a kind that is not ancillary and private.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (3, 4) or 0 in pixels.shape:
        raise ValueError(f"A PNG is written from uint8 (H, W, 3) or (H, W, 4), not {pixels.dtype} {pixels.shape}.")
    notes = PngImagePlugin.PngInfo()
    total = 0
    for key, value in (text or {}).items():
        if not _is_keyword(key.encode("latin-1", "replace")) or not _is_latin1(key):
            raise ValueError(f"'{key}' cannot be a key in a PNG.")
        size = len(value.encode("utf-8"))
        total += size
        if "\0" in value or size > MAX_TEXT // 2 or total > MAX_TEXT_TOTAL:
            raise ValueError(f"The text of '{key}' cannot be kept in a PNG: {size:,} bytes, or with a NUL in it.")
        notes.add_itxt(key, value)
    for kind, body in (private or {}).items():
        if not _PRIVATE.fullmatch(kind):
            raise ValueError(f"{kind!r} is not the kind of a private chunk.")
        for start in range(0, len(body), MAX_PIECE):
            notes.add(kind, body[start : start + MAX_PIECE], after_idat=True)
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG", pnginfo=notes, compress_level=6)
    return file.getvalue()


def read_png_text(data: bytes) -> dict[str, str]:
    """The texts (tEXt, zTXt, iTXt) of a stranger's PNG, by key; where a key stands twice, the first.

    Pixels are never decoded. Raises UnreadablePicture if the file is no PNG, is cut short, has a wrong
    checksum, holds text that is not in the encoding it names, or goes beyond the limits above.
    """
    texts: dict[str, str] = {}
    count = total = 0
    for kind, body in _chunks(data):
        if kind not in (b"tEXt", b"zTXt", b"iTXt"):
            continue
        count += 1
        if count > MAX_TEXTS:
            raise UnreadablePicture(f"This PNG holds more than {MAX_TEXTS} texts.")
        if len(body) > MAX_TEXT:
            raise UnreadablePicture(f"This PNG holds a text of {len(body):,} bytes. At most {MAX_TEXT:,} are read.")
        key, value = _entry(kind, body)
        total += len(value)
        if total > MAX_TEXT_TOTAL:
            raise UnreadablePicture(f"This PNG holds more than {MAX_TEXT_TOTAL:,} characters of text.")
        texts.setdefault(key, value)
    return texts


def read_png_chunks(data: bytes, kinds: Collection[bytes], most: int) -> dict[bytes, bytes]:
    """The bodies of the private chunks of these kinds, by kind; those of one kind are the pieces of one body.

    Pixels are never decoded. Raises UnreadablePicture as `read_png_text` does, and beyond `most` bytes of all kinds.
    """
    pieces: dict[bytes, list[memoryview]] = {}
    total = 0
    for kind, body in _chunks(data):
        if kind in kinds:
            total += len(body)
            if total > most:
                raise UnreadablePicture(f"This PNG carries more than {most:,} bytes beside its picture.")
            pieces.setdefault(kind, []).append(body)
    return {kind: b"".join(bodies) for kind, bodies in pieces.items()}


def read_picture(data: bytes, max_pixels: int = MAX_PIXELS, notes: list[str] | None = None) -> Pixels:
    """A stranger's PNG, JPEG, WebP, AVIF or TIFF -> uint8 (H, W, 3), or (H, W, 4) if it has transparency.

    Upright (EXIF), in sRGB where it brings another colour profile, 16 bits rounded to 8, palettes and CMYK as
    RGB; of an animation the first frame. What was converted is added to `notes`, a sentence each. Raises
    UnreadablePicture for anything else, and for pictures beyond the limits above or `max_pixels`.
    """
    said = notes if notes is not None else []
    if not data:
        raise UnreadablePicture("This file is empty.")
    if len(data) > MAX_FILE:
        raise UnreadablePicture(
            f"This file is {len(data) / 2**20:.0f} MB. Pictures of up to {MAX_FILE >> 20} MB are read."
        )
    try:
        with _opened(data) as picture:
            _check_extent(*picture.size, max_pixels)
            _check_tiles(picture)
            _note_kind(picture, data, said)
            picture.load()
            upright = _turned(_as_rgb(picture, said), picture, said)
            return np.array(upright, dtype=np.uint8)
    except UnreadablePicture:
        raise
    except MemoryError as problem:
        raise UnreadablePicture("This picture does not fit into the memory that is free.") from problem
    except Exception as problem:  # broken files raise whatever their decoder stumbles over
        raise UnreadablePicture("This picture is broken or cut short: it cannot be read.") from problem


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """(kind, body) of every chunk up to IEND, each with its checksum verified."""
    if len(data) > MAX_FILE:
        raise UnreadablePicture(
            f"This file is {len(data) / 2**20:.0f} MB. PNGs of up to {MAX_FILE >> 20} MB are read."
        )
    if data[:8] != SIGNATURE:
        raise UnreadablePicture("This file is not a PNG.")
    begun = False
    for kind, body, _ in chunks(data, MAX_CHUNKS):
        if not begun:
            _check_header(kind, body)
        begun = True
        if kind != b"IEND":
            yield kind, body


def _check_header(kind: bytes, body: memoryview) -> None:
    if kind != b"IHDR" or len(body) != 13:
        raise UnreadablePicture("This PNG is damaged: it does not begin with its size.")
    width, height, depth, colour, compression, filtering, interlace = struct.unpack(">IIBBBBB", body)
    fits = depth in _DEPTHS.get(colour, ()) and not compression and not filtering and interlace in (0, 1)
    if not fits or not 0 < width < 2**31 or not 0 < height < 2**31:
        raise UnreadablePicture("This PNG is damaged: its header makes no sense.")


def _entry(kind: bytes, body: memoryview) -> tuple[str, str]:
    """Key and text of one text chunk."""
    keyword, separator, rest = bytes(body).partition(b"\0")
    if not separator or not _is_keyword(keyword):
        raise UnreadablePicture("This PNG is damaged: a text in it has no proper name.")
    key = keyword.decode("latin-1")
    if kind == b"tEXt":
        return key, _text(key, rest, "latin-1")
    if kind == b"zTXt":
        if rest[:1] != b"\0":
            raise UnreadablePicture(f"The text {key!r} in this PNG is packed in an unknown way.")
        return key, _text(key, _inflated(key, rest[1:]), "latin-1")
    packed, method, rest = rest[:1], rest[1:2], rest[2:]
    _language, first, rest = rest.partition(b"\0")
    _translated, second, value = rest.partition(b"\0")
    if not first or not second or packed not in (b"\0", b"\1") or method != b"\0":
        raise UnreadablePicture(f"The text {key!r} in this PNG is damaged or packed in an unknown way.")
    return key, _text(key, _inflated(key, value) if packed == b"\1" else value, "utf-8")


def _inflated(key: str, packed: bytes) -> bytes:
    """Unpacks at most MAX_TEXT bytes: what is longer is refused without being unpacked further."""
    unpacker = zlib.decompressobj()
    try:
        value = unpacker.decompress(packed, MAX_TEXT + 1)
    except zlib.error:
        raise UnreadablePicture(f"The text {key!r} in this PNG is packed and damaged.") from None
    if len(value) > MAX_TEXT:
        raise UnreadablePicture(f"The text {key!r} in this PNG unpacks to more than {MAX_TEXT:,} bytes.")
    if not unpacker.eof:
        raise UnreadablePicture(f"The text {key!r} in this PNG is packed and cut short.")
    return value


def _text(key: str, value: bytes, encoding: str) -> str:
    if b"\0" in value:
        raise UnreadablePicture(f"The text {key!r} in this PNG holds a NUL.")
    try:
        return value.decode(encoding)
    except UnicodeDecodeError:
        raise UnreadablePicture(f"The text {key!r} in this PNG is not UTF-8.") from None


def _is_keyword(keyword: bytes) -> bool:
    printable = all(32 <= byte <= 126 or byte >= 161 for byte in keyword)
    return 1 <= len(keyword) <= 79 and printable and keyword == keyword.strip(b" ") and b"  " not in keyword


def _is_latin1(text: str) -> bool:
    return all(ord(character) < 256 for character in text)


def _opened(data: bytes) -> Image.Image:
    """The picture with its size known and nothing decoded. Its first bytes tell the format."""
    file = io.BytesIO(data)
    if data[:8] == SIGNATURE:
        return PngImagePlugin.PngImageFile(file)
    if data[:3] == b"\xff\xd8\xff":
        _check_scans(data)
        return JpegImagePlugin.JpegImageFile(file)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        _check_extent(*_webp_extent(data))  # its decoder makes room for the canvas when it opens the file
        return WebPImagePlugin.WebPImageFile(file)
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return TiffImagePlugin.TiffImageFile(file)
    if data[4:8] == b"ftyp" and data[8:12] in _AVIF and AvifImagePlugin.SUPPORTED:
        return AvifImagePlugin.AvifImageFile(file)
    raise UnreadablePicture("This is not a picture that can be read here. Use a PNG, JPEG, WebP, AVIF or TIFF.")


def _check_scans(data: bytes) -> None:
    """A JPEG may paint its pixels over and over: a scan of a few bytes costs as much as decoding the whole picture."""
    scans = position = 0
    for _ in range(MAX_SEGMENTS):
        found = _MARKER.search(data, position)
        if found is None or data[found.end() - 1] == _END_OF_JPEG:
            return
        position, kind = found.end(), data[found.end() - 1]
        scans += kind == _SCAN
        if scans > MAX_SCANS:
            raise UnreadablePicture(f"This JPEG paints itself in more than {MAX_SCANS} scans. Save it plainly.")
        if kind in _LONG:
            position += max(2, int.from_bytes(data[position : position + 2], "big"))
    raise UnreadablePicture(f"This JPEG is split into more than {MAX_SEGMENTS:,} pieces.")


def _webp_extent(data: bytes) -> tuple[int, int]:
    kind, body = data[12:16], data[20:30]
    if len(body) == 10 and kind == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if len(body) == 10 and kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if len(body) == 10 and kind == b"VP8 ":
        width, height = struct.unpack("<HH", body[6:10])
        return width & 0x3FFF, height & 0x3FFF
    raise UnreadablePicture("This WebP is broken or cut short.")


def _check_extent(width: int, height: int, max_pixels: int = MAX_PIXELS) -> None:
    if width < 1 or height < 1:
        raise UnreadablePicture("This picture has no pixels.")
    if width > MAX_SIDE or height > MAX_SIDE or width * height > max_pixels:
        raise UnreadablePicture(
            f"This picture is {width} × {height} pixels. At most {max_pixels // 10**6} million pixels and "
            f"{MAX_SIDE:,} a side are read."
        )


def _check_tiles(picture: Image.Image) -> None:
    """A TIFF may name tiles larger than itself, and its decoder makes room for a whole tile."""
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        _check_extent(int(picture.tag_v2.get(_TILE_WIDTH, 1)), int(picture.tag_v2.get(_TILE_LENGTH, 1)))


def _note_kind(picture: Image.Image, data: bytes, said: list[str]) -> None:
    """Says what the file has that pixels of 8 bits have not; before anything is decoded."""
    if getattr(picture, "is_animated", False):
        of_what = "page" if isinstance(picture, TiffImagePlugin.TiffImageFile) else "frame"
        said.append(f"Only its first {of_what} was taken.")
    bits = 16 if picture.mode in _SIXTEEN_BITS else 8
    if isinstance(picture, PngImagePlugin.PngImageFile):
        bits = data[24]
    elif isinstance(picture, TiffImagePlugin.TiffImageFile):
        found = picture.tag_v2.get(_BITS, 8)
        bits = max(found) if isinstance(found, tuple) else found
        if picture.tag_v2.get(_ORIENTATION, 1) in _TURNS:
            said.append(_UPRIGHT)
    if bits == 16:
        said.append("Its 16 bits per channel became 8.")
    if picture.mode in ("P", "PA"):
        said.append("Its palette became full colours.")


def _as_rgb(picture: Image.Image, said: list[str]) -> Image.Image:
    """Any mode -> RGB, or RGBA if the picture has transparency; colours in sRGB."""
    if picture.mode in _SIXTEEN_BITS:
        levels = np.asarray(picture).astype(np.uint32)
        grey = ((levels * 255 + 32_767) // 65_535).astype(np.uint8)  # 65535 = 257 * 255: exact, to nearest
        return Image.fromarray(grey).convert("RGB")
    if picture.mode in ("I", "F"):
        raise UnreadablePicture("This picture has 32 bits per channel. Save it with 8 or 16 bits.")
    profile = picture.info.get("icc_profile")
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        colour = _in_srgb(rgba.convert("RGB"), profile, said)
        colour.putalpha(rgba.getchannel("A"))
        return colour
    if picture.mode == "CMYK":
        return _in_srgb(picture, profile, said)
    return _in_srgb(picture.convert("RGB"), profile, said)


def _in_srgb(picture: Image.Image, profile: object, said: list[str]) -> Image.Image:
    """The picture as RGB; a profile that is broken, too large or for other colours is passed over."""
    kind = "CMYK colours" if picture.mode == "CMYK" else "colours"
    if isinstance(profile, bytes) and 0 < len(profile) <= MAX_PROFILE:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            name = shown(ImageCms.getProfileDescription(source).strip(), 60)
            converted = ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):
            converted = None
        if converted is not None:
            if "srgb" not in name.lower():
                said.append(f"Its {kind} were converted from '{name}' to sRGB.")
            return converted
    if picture.mode == "CMYK":
        said.append("Its CMYK colours became sRGB without a profile, so that they may look different.")
    elif profile:
        said.append("Its colour profile cannot be used: its colours are taken as sRGB.")
    return picture.convert("RGB")


def _turned(upright: Image.Image, picture: Image.Image, said: list[str]) -> Image.Image:
    """`upright` turned as the EXIF data of `picture` say; TIFFs are turned by their reader already."""
    turn = _TURNS.get(picture.getexif().get(_ORIENTATION, 1))
    if turn is None:
        return upright
    said.append(_UPRIGHT)
    return upright.transpose(turn)
