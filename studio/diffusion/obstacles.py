"""Which pipelines can go on from the middle of a run, and how. By class name: nothing of diffusers is imported.

Two ways lead to step k. *Skip*: the loop runs from its beginning, but passes over the first k turns, because the
pipeline looks at its own `interrupt` flag; the loop's counter is then as in the whole run. *Trim*: the list of
timesteps is cut, for pipelines without that flag; the counter then starts at 0.
"""

from __future__ import annotations

import inspect
from typing import Any

SKIP, TRIM = "skip", "trim"

_COUNTS = (
    "its loop counts its own steps to decide what to do, and has no way to pass over the ones that are done. "
    "Run it anew."
)
# neither `interrupt` nor a loop that may start its counter at 0
_COUNTING = frozenset(
    {
        "AnyFlowFARPipeline",
        "AudioDiffusionPipeline",
        "HeliosPyramidPipeline",
        "LEditsPPPipelineStableDiffusion",
        "LEditsPPPipelineStableDiffusionXL",
        "SemanticStableDiffusionPipeline",
        "SpectrogramDiffusionPipeline",
        "StableDiffusionAttendAndExcitePipeline",
        "StableDiffusionControlNetPAGInpaintPipeline",
        "StableDiffusionControlNetPAGPipeline",
        "StableDiffusionControlNetXSPipeline",
        "StableDiffusionDiffEditPipeline",
        "StableDiffusionGLIGENPipeline",
        "StableDiffusionLatentUpscalePipeline",
        "StableDiffusionPipelineSafe",
        "StableDiffusionXLAdapterPipeline",
        "StableDiffusionXLControlNetPAGImg2ImgPipeline",
        "StableDiffusionXLControlNetPAGPipeline",
        "StableDiffusionXLControlNetXSPipeline",
    }
)
_FIRST_TURN = ("Flux2KleinKV", "QwenImage21")  # cache their reference pictures at the first turn of the loop


def way_of(pipe: Any) -> str:
    """SKIP or TRIM. Some pipelines have the flag, but their loop does not look at it."""
    if not callable(pipe):
        return TRIM
    loop = inspect.unwrap(type(pipe).__call__)
    return SKIP if "interrupt" in loop.__code__.co_names else TRIM


def obstacle_of(pipe: Any) -> str | None:
    """Why runs of this pipeline, as it was called last, cannot be resumed exactly; None if they can."""
    name = type(pipe).__name__
    if name in _COUNTING:
        return _COUNTS
    if name.startswith(_FIRST_TURN):
        return "it keeps what its first step read from the reference pictures, which is not recorded."
    if name.startswith("AceStep") and getattr(pipe, "do_classifier_free_guidance", False):
        return "its guidance has a momentum that it keeps to itself. Call it with guidance_scale=1.0."
    if name.startswith("Lumina2") and way_of(pipe) == TRIM and _truncates(pipe):
        return "it leaves guidance out by counting its own steps (cfg_trunc_ratio below 1)."
    return _momentum(pipe) or _cache(pipe)


def _truncates(pipe: Any) -> bool:
    """Whether the call under way was given a ratio below 1.

    The pipeline keeps that argument nowhere but in a local variable of its call, so the frames above this one are
    walked until one is the call's. Should the name ever change, the run counts as one that can be resumed.
    """
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_locals.get("self") is pipe and "cfg_trunc_ratio" in frame.f_locals:
            return float(frame.f_locals["cfg_trunc_ratio"]) < 1.0
        frame = frame.f_back
    return False


def _momentum(pipe: Any) -> str | None:
    guiders = [g for g in (getattr(pipe, name, None) for name in ("guider", "ocr_guider")) if g is not None]
    if any(getattr(guider, "adaptive_projected_guidance_momentum", None) is not None for guider in guiders):
        return "its guider has a momentum that it keeps to itself."
    return "its guider counts the steps itself." if guiders and way_of(pipe) == TRIM else None


def _cache(pipe: Any) -> str | None:
    for name in ("transformer", "transformer_2", "unet"):
        if getattr(getattr(pipe, name, None), "is_cache_enabled", False):
            return f"its {name} keeps a cache from step to step. Turn it off with pipe.{name}.disable_cache()."
    return None
