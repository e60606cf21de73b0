"""The inpainting that a model brings itself: a pipeline that takes a picture and a mask, made of the model's parts.

Some models are made for it and see the mask; of others diffusers has a pipeline that keeps the known part while the
rest is painted.
"""

from __future__ import annotations

import copy
import inspect
import warnings
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from studio.errors import InvalidRequest


def only_fills(pipe: Any) -> bool:
    """Whether this model's own pipeline always wants a picture and a mask."""
    return "mask_image" in inspect.signature(type(pipe).__call__).parameters


def own_pipeline(pipe: Any) -> Any:
    """The pipeline that fills with the parts of `pipe`; `pipe` itself if it is one. No weights are loaded or
    copied.

    Raises InvalidRequest for families of which there is none.
    """
    if only_fills(pipe):
        return pipe
    from diffusers import AutoPipelineForInpainting

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of settings that older models were saved with
            # with a scheduler of its own: some pipelines mend the settings of theirs
            own = AutoPipelineForInpainting.from_pipe(pipe, scheduler=copy.deepcopy(pipe.scheduler))
    except ValueError as problem:
        raise InvalidRequest(
            f"There is no inpainting of its own for a {type(pipe).__name__}. Use the method that holds what is known; "
            "it works with any model.",
            "method",
        ) from problem
    own.set_progress_bar_config(disable=True)
    return own


def arguments(
    pipe: Any, picture: NDArray[np.uint8], mask: NDArray[np.float32], start: int, steps: int
) -> dict[str, Any]:
    """What an inpainting pipeline's call takes beside words and size.

    `picture` is (H, W, 3), `mask` (H, W) in [0, 1], 1 where something new comes; pipelines cut it to yes or no at a
    half. `start` steps of `steps` are left out at the beginning. Raises InvalidRequest where that is not possible.
    """
    found: dict[str, Any] = {
        "image": Image.fromarray(np.ascontiguousarray(picture)),
        "mask_image": Image.fromarray(np.rint(mask * 255).astype(np.uint8)),
    }
    accepted = inspect.signature(type(pipe).__call__).parameters
    if "strength" in accepted:
        # exact: of steps * strength, some pipelines round the product down and some what it leaves
        found["strength"] = Fraction(steps - start, steps) if start else 1.0
    elif start:
        raise InvalidRequest("This model's own inpainting always begins in noise. Start at the first step.", "start")
    return found
