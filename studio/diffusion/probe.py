"""What a pipeline's scheduler will be handed, before anything is computed: to lay out known latents accordingly."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from torch import Tensor

from studio.diffusion.layout import Layout
from studio.diffusion.observed import watched_methods
from studio.diffusion.run import Run
from studio.errors import StudioError


class _Prepared(Exception):
    """Leaves the pipeline's call once its latents are prepared."""


class _Probe(Run):
    """A run that ends before it begins."""

    latents: Tensor | None = None

    def prepared(self, latents: Any) -> Any:
        self.latents = latents if isinstance(latents, Tensor) else latents[0]
        raise _Prepared


def sample_of(pipe: Any, call: Callable[[], object]) -> tuple[Tensor, Layout]:
    """Latents as `call`, which calls `pipe`, would begin with, and how they lie.

    The call is left when its latents are prepared: it encodes the prompt and draws, but evaluates no model. Give it a
    generator of its own. Raises StudioError for pipelines that prepare none in the usual way.
    """
    probe = _Probe(pipe, (), None, False, None, None)
    try:
        with watched_methods(pipe, probe), contextlib.suppress(_Prepared):
            call()
    finally:  # the call did not come to its end, where it would have done so
        if hasattr(pipe, "maybe_free_model_hooks"):
            pipe.maybe_free_model_hooks()
    if probe.latents is None:
        raise StudioError(f"{type(pipe).__name__} prepares no latents that could be looked at.")
    return probe.latents, probe.layout_of(probe.latents)
