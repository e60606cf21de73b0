"""True captions of the recipe's own scenes, without painting them: prompts for measurements."""

from __future__ import annotations

import numpy as np

from studio.painter.captions import caption
from studio.painter.scene import decide, is_held_out

FIRST = 20_000_000  # where the prompts of the scores begin, far above any training seed


def true_captions(count: int, first: int = FIRST) -> list[str]:
    """The captions of the pictures that `render` paints from the seeds `first` on, less the held-out scenes."""
    captions: list[str] = []
    seed = first
    while len(captions) < count:
        # as in `paint`: the first of three independent streams decides the scene
        scene = decide(np.random.default_rng(np.random.SeedSequence(seed).spawn(3)[0]), {})
        if not is_held_out(scene):
            captions.append(caption(scene))
        seed += 1
    return captions
