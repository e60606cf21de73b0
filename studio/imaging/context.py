"""What a model gets to see around a mask: a frame of the picture, and the size at which it is worked on.

Whole pixels throughout, and doubles only where both sides of the wire round them alike: the page's script repeats this
rule to draw the frame before anything is computed. `tests/data/context.json` holds cases that both are tested with.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from studio.imaging.geometry import Bounds, Extent

LEAST_MARGIN = 32  # px on each side, where the picture is that large
MARGIN_PART = 4  # ... and at least this part of the mask's longer side
SLIMMEST = 2  # a frame is at most this many times as long as it is wide, where the picture is that large
WHOLE = (9, 4)  # a picture of at most this many times the model's best area is seen whole
MULTIPLE = 16  # px; sides of the working size
WORKING_RANGE = (64, 2048)  # px; sides of the working size


@dataclass(frozen=True)
class Context:
    """`frame` is in pixels of the picture, `working` is what the model paints it at."""

    frame: Bounds
    working: Extent


def context_around(
    mask: Bounds, picture: Extent, best: Extent, margin: int | None = None, chosen: Bounds | None = None
) -> Context:
    """The context for a mask with these bounds, in a picture of this size, for a model whose best size is `best`.

    `chosen` is a frame that a person drew: it is taken as it is, within the picture, but never without the whole mask.
    `margin` is a margin that a person gave. Without either:

    0. A picture of at most 9 / 4 of the area of `best` that is not slimmer than 1 : 2 is the frame as a whole: the
       model sees the composition, and little or nothing is resampled. The working size is as in 5.
    1. The margin is a quarter of the longer side of the bounds, rounded up, and at least 32 px.
    2. The frame is the bounds and the margin on each side, clipped to the picture.
    3. A side below half of the model's best one is widened to it: no more than twofold enlargement, and something
       around small masks that tells the model what they are part of. (Not if the margin is given.)
    4. A side below half of the other is widened to it.
    5. The working size has the frame's shape and the area of `best`; its sides are multiples of 16 from 64 to 2048.
    6. The frame is widened to the shape that the rounding in 5 left, so that scaling is the same in both directions.

    Widening never goes beyond the picture. It adds the same on both sides (an odd pixel on the right or at the bottom)
    and then moves the frame back into the picture.

    Raises ValueError for bounds that reach out of the picture or a negative margin.
    """
    whole = Bounds(0, 0, picture.width, picture.height)
    if mask.intersection(whole) != mask:
        raise ValueError(f"The mask's bounds {mask} reach out of a picture of {picture.width} × {picture.height}.")
    if chosen is not None:
        frame = _hull(chosen.intersection(whole) or mask, mask)
        return Context(frame, working_size(frame.extent, best))
    if margin is None and _is_seen_whole(picture, best):
        return Context(whole, working_size(picture, best))
    if margin is None:
        room = max(LEAST_MARGIN, -(-max(mask.width, mask.height) // MARGIN_PART))
    elif margin < 0:
        raise ValueError(f"A margin is at least 0 pixels, not {margin}.")
    else:
        room = margin
    grown = Bounds(mask.x - room, mask.y - room, mask.width + 2 * room, mask.height + 2 * room)
    frame = grown.intersection(whole) or mask
    if margin is None:
        frame = _widened(frame, best.width // 2, best.height // 2, picture)
    frame = _widened(frame, -(-frame.height // SLIMMEST), -(-frame.width // SLIMMEST), picture)
    working = working_size(frame.extent, best)
    width = -(-frame.height * working.width // working.height)
    height = -(-frame.width * working.height // working.width)
    return Context(_widened(frame, width, height, picture), working)


def working_size(frame: Extent, best: Extent) -> Extent:
    """The shape of `frame` at the area of `best`, with sides that a model takes.

    scale = sqrt(best.width * best.height / (frame.width * frame.height)), raised until the shorter side is 64, then
    lowered until the longer one is 2048; each side is 16 * floor(side * scale / 16 + 0.5), and at least 64.
    """
    low, high = WORKING_RANGE
    scale = math.sqrt(best.area / frame.area)
    scale = max(scale, low / min(frame.width, frame.height))
    scale = min(scale, high / max(frame.width, frame.height))

    def side(length: int) -> int:
        return min(max(MULTIPLE * math.floor(length * scale / MULTIPLE + 0.5), low), high)

    return Extent(side(frame.width), side(frame.height))


def _is_seen_whole(picture: Extent, best: Extent) -> bool:
    slim = max(picture.width, picture.height) > SLIMMEST * min(picture.width, picture.height)
    return not slim and picture.area * WHOLE[1] <= best.area * WHOLE[0]


def _widened(frame: Bounds, width: int, height: int, picture: Extent) -> Bounds:
    """The frame at least so wide and high, as far as the picture reaches."""
    x, wide = _spread(frame.x, frame.width, width, picture.width)
    y, high = _spread(frame.y, frame.height, height, picture.height)
    return Bounds(x, y, wide, high)


def _spread(start: int, length: int, wanted: int, limit: int) -> tuple[int, int]:
    longer = min(max(length, wanted), limit)
    start -= (longer - length) // 2
    return min(max(start, 0), limit - longer), longer


def _hull(first: Bounds, second: Bounds) -> Bounds:
    x, y = min(first.x, second.x), min(first.y, second.y)
    return Bounds(x, y, max(first.right, second.right) - x, max(first.bottom, second.bottom) - y)
