"""Carries out a start in the middle: makes the sample at the level of the step and brings a pipeline's loop there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from studio.diffusion.elsewhere import check_start
from studio.diffusion.entrance import Entrance
from studio.diffusion.levels import Ladder
from studio.diffusion.memory import seed_random
from studio.diffusion.start import Start, noised
from studio.errors import StudioError


class Starting(Entrance):
    """One start of one pipeline's call. Raises StudioError where it cannot start at that step."""

    _source = "a whole run"

    def __init__(self, pipe: Any, start: Start) -> None:
        super().__init__(pipe)
        self._start = start
        self._x = start.clean  # until the levels are known

    def set_generators(self, generators: Sequence[torch.Generator]) -> None:
        """Seeds the generators that have come to light, each with a number of its own."""
        if self._start.reseed is not None:
            for place in range(self._generators_set, len(generators)):
                generators[place].manual_seed(self._start.reseed + place)
        self._generators_set = max(self._generators_set, len(generators))

    def _entering(self, like: Tensor) -> Tensor:
        return self._x.to(like.device, like.dtype)

    def _find(self, scheduler: Any, ladder: Ladder, begin: int) -> None:
        start, order = self._start, int(getattr(scheduler, "order", 1))
        count = (len(ladder.timesteps) - 1) // order + 1
        if start.step >= count:
            raise StudioError(f"This run has {count} steps, 0 to {count - 1}, so it cannot start at {start.step}.")
        self._place = start.step * order
        level, name = ladder.level(self._place), type(scheduler).__name__
        if level is None:
            raise StudioError(f"The noise levels of {name} are not known here. Choose another solver to start with.")
        if self._place:
            check_start(scheduler, ladder, self._place)
        signal, noise = level
        exact = torch.promote_types(torch.promote_types(start.clean.dtype, start.noise.dtype), torch.float32)
        clean, drawn = (tensor.to(start.clean.device, exact) for tensor in (start.clean, start.noise))
        self._x = noised(clean, drawn, signal, noise * ladder.deviation)

    def _restore(self, scheduler: Any, device: torch.device) -> None:
        if self._place and hasattr(scheduler, "_step_index"):
            scheduler._step_index = self._place
        if self._start.reseed is not None:
            self._remember_random(device)
            seed_random(self._start.reseed, device)

    def _refuse(self, obstacle: str) -> None:
        if self._place:
            raise StudioError(f"This pipeline cannot start in the middle of its steps: {obstacle}")
