"""Many pictures at a glance: `python -m studio.painter.sheet OUT.png` paints seeds, with captions, on one sheet."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import cv2
from PIL import Image, ImageDraw

from studio.painter.paint import CHOICES, Painting, paint


def write_sheet(paintings: Sequence[Painting], path: Path, columns: int = 9) -> None:
    """Write pictures with their captions below them as one PNG."""
    size = paintings[0].pixels.shape[0]
    text_height = 64
    rows = -(-len(paintings) // columns)
    sheet = Image.new("RGB", (columns * (size + 4), rows * (size + text_height + 4)), "white")
    draw = ImageDraw.Draw(sheet)
    for index, painting in enumerate(paintings):
        x, y = (index % columns) * (size + 4), (index // columns) * (size + text_height + 4)
        sheet.paste(Image.fromarray(painting.pixels), (x, y))
        lines = textwrap.wrap(painting.caption, max(10, int(size / 5.6)))[:5]
        draw.multiline_text((x, y + size + 1), "\n".join(lines), fill="black", spacing=0)
    sheet.save(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a sheet of pictures with captions."""
    parser = argparse.ArgumentParser(prog="python -m studio.painter.sheet", description=main.__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=36)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--columns", type=int, default=9)
    for field, names in CHOICES.items():
        parser.add_argument(f"--{field}", choices=names)
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    chosen = {field: getattr(options, field) for field in CHOICES}
    paintings = [paint(options.seed + index, options.size, **chosen) for index in range(options.count)]
    write_sheet(paintings, options.out, min(options.columns, options.count))
    return 0


if __name__ == "__main__":
    sys.exit(main())
