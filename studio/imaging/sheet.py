"""Sheets: pictures in rows and columns with words beside them, as one picture. Pixels and words only."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from studio.imaging.geometry import Extent
from studio.imaging.png import Pixels

LABEL_LIMIT, FOOT_LIMIT = 400, 2000  # characters of a name or title, and of the foot; the rest is left out
SIDE_LIMIT = 6144  # px of the pictures of a sheet, on either side; larger ones are made smaller together
PAPER, INK, FAINT, HOLE = (246, 246, 246), (26, 26, 26), (84, 84, 84), (226, 226, 226)

_FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "Arial.ttf", "Helvetica.ttc")


@dataclass(frozen=True)
class Sheet:
    """What is written on a sheet: a title above, names of the columns and rows, and words at its foot."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    foot: str


def draw_sheet(sheet: Sheet, cell: Extent, picture: Callable[[int, int], Pixels | None]) -> Pixels:
    """The sheet as uint8 (H, W, 3).

    `cell` is the extent of the largest picture; `picture(row, column)` gives one after another, uint8 (H, W, 3), or
    None where there is none. Words are broken into as many lines as they need, up to the limits above.
    """
    sheet = _bounded(sheet)
    columns, rows = len(sheet.columns), len(sheet.rows)
    scale = min(1.0, SIDE_LIMIT / (cell.width * columns), SIDE_LIMIT / (cell.height * rows))
    width, height = max(1, round(cell.width * scale)), max(1, round(cell.height * scale))
    size = min(30, max(13, width // 14))
    font = _font(size)
    gap, line = max(4, size // 3), round(size * 1.35)
    beside = _beside(sheet.rows, font, max(width, 12 * size))
    step = max(width, 4 * size) + gap  # a column is never too narrow for its words
    heads = [_wrapped(words, font, step - gap) for words in sheet.columns]
    sides = [_wrapped(words, font, beside - gap) if beside else [] for words in sheet.rows]
    tall = [max(height, len(lines) * line) for lines in sides]
    whole = 2 * size + beside + columns * step
    title = _wrapped(sheet.title, font, whole - 2 * size)
    foot = _wrapped(sheet.foot, font, whole - 2 * size)
    top = size + len(title) * line + gap
    first = top + max(len(lines) for lines in heads) * line + gap
    end = first + sum(tall) + gap * rows
    canvas = Image.new("RGB", (whole, end + gap + len(foot) * line + size), PAPER)
    pen = ImageDraw.Draw(canvas)

    def write(lines: Sequence[str], x: int, y: int, ink: tuple[int, int, int]) -> None:
        for k, words in enumerate(lines):
            pen.text((x, y + k * line), words, font=font, fill=ink)

    write(title, size, size, INK)
    write(foot, size, end + gap, FAINT)
    for column, lines in enumerate(heads):
        write(lines, size + beside + column * step, top, INK)
    y = first
    for row in range(rows):
        write(sides[row], size, y, INK)
        for column in range(columns):
            x = size + beside + column * step
            pixels = picture(row, column)
            if pixels is None:
                pen.rectangle((x, y, x + width - 1, y + height - 1), fill=HOLE)
                continue
            image = Image.fromarray(np.ascontiguousarray(pixels[..., :3]))
            if scale < 1:
                own = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
                image = image.resize(own, Image.Resampling.LANCZOS)
            canvas.paste(image, (x, y))
        y += tall[row] + gap
    return np.asarray(canvas)


def _bounded(sheet: Sheet) -> Sheet:
    """The sheet with its words cut at their limits, which "…" says."""

    def cut(words: str, limit: int = LABEL_LIMIT) -> str:
        return words if len(words) <= limit else f"{words[: limit - 1]}…"

    return Sheet(
        cut(sheet.title), tuple(map(cut, sheet.columns)), tuple(map(cut, sheet.rows)), cut(sheet.foot, FOOT_LIMIT)
    )


def _beside(rows: Sequence[str], font: ImageFont.FreeTypeFont | ImageFont.ImageFont, most: int) -> int:
    """The room for the names of rows: as wide as the longest, but not wider than `most`; 0 if they have no names."""
    longest = max((font.getlength(words) for words in rows), default=0.0)
    return min(most, round(longest) + 12) if longest else 0


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> list[str]:
    """The text in lines that are at most `width` px wide; a word that is wider alone is broken where it has to be."""
    lines: list[str] = []
    for paragraph in text.splitlines():
        current = ""
        for word in paragraph.split():
            if current and font.getlength(f"{current} {word}") <= width:
                current = f"{current} {word}"
                continue
            if current:
                lines.append(current)
            while (fits := _fitting(word, font, width)) < len(word):
                lines.append(word[:fits])
                word = word[fits:]
            current = word
        if current:
            lines.append(current)
    return lines


def _fitting(word: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> int:
    """How many characters of a word fit into `width` px, at least one.

    It is measured in pieces that double, then halve: the whole of a very long word would be measured for every line.
    """
    most = 1
    while most < len(word) and font.getlength(word[: 2 * most]) <= width:
        most *= 2
    most = min(most, len(word))
    low, high = most, min(2 * most, len(word) + 1)  # `low` characters fit, `high` do not
    while high - low > 1:
        middle = (low + high) // 2
        if font.getlength(word[:middle]) <= width:
            low = middle
        else:
            high = middle
    return low


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A font of this computer that knows many scripts, or the small one that travels with Pillow."""
    for name in _FONTS:
        with contextlib.suppress(OSError):
            return ImageFont.truetype(name, size)
    return ImageFont.load_default(size)
