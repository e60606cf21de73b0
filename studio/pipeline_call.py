"""A request as a call of its pipeline, and what comes of it as pixels. Knows no loaded model, no lock and no steps."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.errors import InvalidRequest, StudioError
from studio.imaging.png import Pixels
from studio.requests import TextToImage


class NotFinite(StudioError):
    """A picture of values that are no numbers."""


def arguments(pipe: Any, request: TextToImage, fills: bool) -> dict[str, Any]:
    """The keyword arguments of the pipeline's call. Raises InvalidRequest for what this pipeline cannot do."""
    accepted = inspect.signature(type(pipe).__call__).parameters
    if "mask_image" in accepted and not fills:
        raise InvalidRequest("This model only fills regions of a picture. Use it in the Fill tab.", "model")
    values: dict[str, Any] = {
        "prompt": request.prompt,
        "num_inference_steps": request.num_inference_steps,
        "guidance_scale": request.guidance_scale,
        "width": request.width,
        "height": request.height,
        "output_type": "np",
        "use_resolution_binning": False,  # PixArt and Sana would paint another size and stretch it
    }
    if request.negative_prompt:
        # Flux takes such words, but looks at them only when a second kind of guidance is on
        second = accepted.get("true_cfg_scale")
        if "negative_prompt" not in accepted or (second is not None and second.default <= 1):
            raise InvalidRequest("This model cannot leave words out. Empty that field.", "negative_prompt")
        values["negative_prompt"] = request.negative_prompt
    if request.weighted:
        from studio.models import weighting

        values.pop("negative_prompt", None)
        values.pop("prompt")
        values.update(weighting.arguments(pipe, request.prompt, request.negative_prompt))
    return {name: value for name, value in values.items() if name in accepted}


def finished(images: Any, request: TextToImage) -> Pixels:
    """The first of a pipeline's pictures, float (B, H, W, 3) in [0, 1], as uint8 (H, W, 3)."""
    import torch

    from studio.imaging.pixels import to_uint8

    first = np.asarray(images[0])
    check_finite(first, request)
    pixels: Pixels = to_uint8(torch.from_numpy(first).movedim(-1, 0)[None] * 2 - 1)[0]
    return pixels


def check_finite(picture: NDArray[np.floating], request: TextToImage) -> None:
    """Raises NotFinite if the model gave no numbers."""
    if not np.isfinite(picture).all():
        raise NotFinite(
            f"The model lost its way: {request.solver} at {request.num_inference_steps} steps and guidance "
            f"{request.guidance_scale:g} gave values that are no numbers. Try more steps or less guidance."
        )


def hooks(request: TextToImage, mask: NDArray[np.float32] | None) -> tuple[Any, ...]:
    """What the request wants done to every step."""
    if request.correction is None:
        return ()
    import torch

    from studio.diffusion.correction import Correction

    region = torch.from_numpy(np.ascontiguousarray(mask)) if mask is not None else None
    return (Correction(strengths=request.correction, mask=region),)


def surroundings(pipe: Any) -> dict[str, str]:
    """What a run's bytes depend on beside software and weights: the device, how exact its numbers are, its threads."""
    import torch

    device = torch.device(getattr(pipe, "_execution_device", None) or pipe.device)
    name = f"{device.type}: {torch.cuda.get_device_name(device)}" if device.type == "cuda" else device.type
    return {"device": name, "dtype": str(pipe.dtype).removeprefix("torch."), "threads": str(torch.get_num_threads())}
