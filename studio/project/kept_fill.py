"""What is kept of a fill beside its run: enough to go on with it, and to put it into its picture once more.

The frame's pixels and masks are two PNGs beside the run; what was asked for, and of which picture, is in its facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.imaging.geometry import Bounds, Extent
from studio.imaging.plain_png import read_plain, write_plain
from studio.requests import Fill, TextToImage

SOURCE, MASK = ".source.png", ".mask.png"  # how the names of the two files end
_LEVEL = 3  # of zlib: these files are written while a person waits


@dataclass(frozen=True)
class KeptFill:
    """A fill in the facts of its run. Its painting is the run's own request."""

    fill: Fill
    picture: Extent  # the size of the whole picture that it is a part of
    source: str  # digests of that picture's pixels, and of the mask's
    mask: str

    @property
    def frame(self) -> Bounds:
        """Of the picture: what the model saw."""
        assert self.fill.context is not None  # `from_dict` and `Filling` know no other
        return self.fill.context

    def to_dict(self) -> dict[str, Any]:
        values = self.fill.to_dict()
        del values["painting"]
        return {
            "request": values,
            "picture": {"width": self.picture.width, "height": self.picture.height},
            "source": self.source,
            "mask": self.mask,
        }

    @classmethod
    def from_dict(cls, values: object, painting: TextToImage) -> KeptFill:
        """Reads what `to_dict` wrote. Raises ValueError, KeyError, TypeError or StudioError for anything else."""
        if not isinstance(values, Mapping) or set(values) != {"request", "picture", "source", "mask"}:
            raise ValueError("A fill has a request, and tells of which picture.")
        digests = values["source"], values["mask"]
        if not all(isinstance(d, str) and len(d) <= 64 and d.isalnum() for d in digests):
            raise ValueError("The digests of a fill are hexadecimal digits.")
        size = values["picture"]
        if not all(type(size[side]) is int and size[side] < 2**31 for side in ("width", "height")):
            raise ValueError("A picture's sides are whole numbers.")
        fill = Fill.from_dict({**values["request"], "painting": painting.to_dict()})
        if fill.context is None:
            raise ValueError("A fill that was made has a frame.")
        return cls(fill, Extent(size["width"], size["height"]), *digests)


def files_of(source: NDArray[np.uint8], mask: NDArray[np.uint8], free: NDArray[np.uint8]) -> dict[str, bytes]:
    """The two PNGs of a frame, by how their names end: `source` (h, w, 4); both masks (h, w) share the other one."""
    masks = np.stack([mask, free, np.zeros_like(mask)], axis=2)
    return {SOURCE: write_plain(source, _LEVEL), MASK: write_plain(masks, _LEVEL)}


def read_files(source: bytes, masks: bytes) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]] | None:
    """What `files_of` was given; None for files that do not fit. Raises UnreadablePicture where one is damaged."""
    pixels, both = read_plain(source), read_plain(masks)
    if pixels.ndim != 3 or pixels.shape[2] != 4 or both.shape != (*pixels.shape[:2], 3):
        return None
    return pixels, np.ascontiguousarray(both[..., 0]), np.ascontiguousarray(both[..., 1])
