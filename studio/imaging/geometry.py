"""Sizes and rectangles, in whole pixels. Knows no pixels."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Extent:
    """Width and height in pixels, both at least 1.

    Raises ValueError for a side below 1.
    """

    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"An extent has sides of at least 1 pixel, not {self.width} × {self.height}.")

    @property
    def area(self) -> int:
        return self.width * self.height

    def fitted(self, longest: int) -> Extent:
        """The same shape with no side beyond `longest` pixels: smaller or unchanged, never larger."""
        side = max(self.width, self.height)
        if side <= longest:
            return self
        return Extent(_scaled(self.width, longest, side), _scaled(self.height, longest, side))


@dataclass(frozen=True)
class Bounds:
    """A rectangle of pixels: columns x to x + width - 1, rows y to y + height - 1.

    Raises ValueError for a side below 1.
    """

    x: int
    y: int
    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"A rectangle has sides of at least 1 pixel, not {self.width} × {self.height}.")

    @property
    def right(self) -> int:
        """The first column beyond the rectangle."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """The first row beyond the rectangle."""
        return self.y + self.height

    @property
    def extent(self) -> Extent:
        return Extent(self.width, self.height)

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, to index an array (H, W, ...). Only for rectangles that start at 0 or later."""
        if self.x < 0 or self.y < 0:
            raise ValueError(f"A rectangle at {self.x}, {self.y} reaches out of the picture.")
        return slice(self.y, self.bottom), slice(self.x, self.right)

    def intersection(self, other: Bounds) -> Bounds | None:
        """The pixels that are in both, or None."""
        x, y = max(self.x, other.x), max(self.y, other.y)
        right, bottom = min(self.right, other.right), min(self.bottom, other.bottom)
        return Bounds(x, y, right - x, bottom - y) if right > x and bottom > y else None


def _scaled(side: int, numerator: int, denominator: int) -> int:
    """side * numerator / denominator, rounded half up, at least 1."""
    return max(1, (2 * side * numerator + denominator) // (2 * denominator))
