"""Lists of timesteps that lead a loop to a place, in whatever part of the list the pipeline goes through.

A pipeline that begins in the middle (a weakened image-to-image) takes a slice of the list. Where a slice begins is
where the run begins: `begins_at` is told, and says the place to enter at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

BeginsAt = Callable[[int], int]
"""Is told that the run begins at this place in the list, and says at which one to enter it."""


class SkippedTimesteps(torch.Tensor):
    """Timesteps that, while a loop goes through them, set the flag before each one that comes before `place`.

    For pipelines that look at their `interrupt` flag. Slices are of this kind and know where they begin in the whole
    list; everything computed from it is plain.
    """

    # results of operations are plain tensors
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    _begin: int
    _place: int
    _flag: Callable[[bool], None]
    _begins_at: BeginsAt

    @staticmethod
    def of(
        timesteps: Tensor, place: int, flag: Callable[[bool], None], begins_at: BeginsAt, begin: int = 0
    ) -> SkippedTimesteps:
        skipped = timesteps.as_subclass(SkippedTimesteps)
        skipped._begin, skipped._place, skipped._flag, skipped._begins_at = begin, place, flag, begins_at
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
        begin = _begin_of(index, len(self))
        if begin is None:
            return part
        place = self._begins_at(self._begin + begin) if begin and len(part) else self._place
        return SkippedTimesteps.of(part, place, self._flag, self._begins_at, self._begin + begin)

    def to(self, *args: Any, **kwargs: Any) -> Tensor:
        return SkippedTimesteps.of(
            self.plain().to(*args, **kwargs), self._place, self._flag, self._begins_at, self._begin
        )


class TrimmedTimesteps(torch.Tensor):
    """Timesteps from a place on, of which a slice from `begin` on is that of the whole list, from the place on.

    For pipelines whose loop cannot pass over turns, where it is not known yet which part they will go through.
    """

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    _whole: Tensor
    _begins_at: BeginsAt

    @staticmethod
    def of(timesteps: Tensor, place: int, begins_at: BeginsAt) -> TrimmedTimesteps:
        trimmed = timesteps[place:].as_subclass(TrimmedTimesteps)
        trimmed._whole, trimmed._begins_at = timesteps, begins_at
        return trimmed

    def __getitem__(self, index: Any) -> Tensor:
        begin = _begin_of(index, len(self._whole))
        if not begin:
            return self.as_subclass(torch.Tensor)[index]
        return self._whole[self._begins_at(begin) : index.stop]

    def to(self, *args: Any, **kwargs: Any) -> Tensor:
        whole = self._whole.to(*args, **kwargs)
        return TrimmedTimesteps.of(whole, len(whole) - len(self), self._begins_at)


def _begin_of(index: Any, length: int) -> int | None:
    """Where a slice begins in a list of this length; None for what is no slice of neighbours."""
    if not isinstance(index, slice):
        return None
    begin, _, stride = index.indices(length)
    return begin if stride == 1 else None
