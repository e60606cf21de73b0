"""A list of timesteps that passes over those that are done, in pipelines that look at their `interrupt` flag."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor


class SkippedTimesteps(torch.Tensor):
    """Timesteps that, while a loop goes through them, set the flag before each one that comes before `place`.

    Its slices are of its kind and know where they begin in the whole list; everything computed from it is plain.
    """

    # results of operations are plain tensors
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    _begin: int
    _place: int
    _flag: Callable[[bool], None]

    @staticmethod
    def of(timesteps: Tensor, place: int, flag: Callable[[bool], None], begin: int = 0) -> SkippedTimesteps:
        skipped = timesteps.as_subclass(SkippedTimesteps)
        skipped._begin, skipped._place, skipped._flag = begin, place, flag
        return skipped

    def plain(self) -> Tensor:
        return self.as_subclass(torch.Tensor)

    def __iter__(self) -> Iterator[Tensor]:
        for here, timestep in enumerate(self.plain().unbind(0), self._begin):
            if here <= self._place:  # later the flag is the pipeline's own again
                self._flag(here < self._place)
            yield timestep

    def __getitem__(self, index: Any) -> Tensor:
        part = self.plain()[index]
        if not isinstance(index, slice):
            return part
        start, _, stride = index.indices(len(self))
        if stride != 1:
            return part
        return SkippedTimesteps.of(part, self._place, self._flag, self._begin + start)

    def to(self, *args: Any, **kwargs: Any) -> Tensor:
        return SkippedTimesteps.of(self.plain().to(*args, **kwargs), self._place, self._flag, self._begin)
