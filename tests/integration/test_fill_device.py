"""Fills on an accelerator: in half precision, and with parts that wait on the CPU. Where there is none, skipped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import tiny

from studio.diffusion.known import KeepKnown
from studio.diffusion.observe import observe
from studio.imaging.geometry import Extent
from studio.imaging.pixels import to_float
from studio.models import inpaint
from studio.models.encode import clean_latents
from studio.models.layouts import decode

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no accelerator here")

SIDE = 64


def known_of(pipe: Any) -> tuple[torch.Tensor, np.ndarray]:
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    found = clean_latents(pipe, to_float(pixels), Extent(SIDE, SIDE))
    assert found is not None
    return found[0], pixels


def filled(pipe: Any, known: torch.Tensor) -> torch.Tensor:
    mask = torch.zeros(SIDE, SIDE)
    mask[:, SIDE // 2 :] = 1
    with torch.inference_mode(), observe(pipe, [KeepKnown(known, mask, 3)]) as run:
        pipe("a lake", width=SIDE, height=SIDE, num_inference_steps=4, generator=torch.Generator().manual_seed(0))
    return run.recording.steps[-1].x_next


@pytest.mark.parametrize("family", ["sd", "sdxl", "flux"])
@pytest.mark.parametrize("offloaded", [False, True])
def test_what_is_known_is_held_on_an_accelerator(family: str, offloaded: bool) -> None:
    pipe = tiny(family).to(torch.float16)
    if offloaded:
        pipe.enable_model_cpu_offload()
    else:
        pipe.to("cuda")
    known, _ = known_of(pipe)
    assert torch.isfinite(known).all()
    if offloaded:
        assert pipe.vae.device.type == "cpu"  # it makes room for the run
    last = filled(pipe, known)
    assert last.device.type == "cuda"
    assert torch.isfinite(last).all()
    if family != "flux":
        half = last.shape[-1] // 2
        torch.testing.assert_close(last[..., :half].cpu(), known[..., :half].cpu().to(last.dtype), rtol=0, atol=1e-3)


def test_xl_s_autoencoder_goes_through_float32_and_comes_back() -> None:
    pipe = tiny("sdxl").to("cuda", torch.float16)
    pipe.vae.register_to_config(force_upcast=True)
    known, _ = known_of(pipe)
    pixels = decode(pipe, known, SIDE, SIDE)
    assert pixels is not None and torch.isfinite(pixels).all()
    assert pipe.vae.dtype == torch.float16


def test_inpainting_of_its_own_gives_its_parts_back() -> None:
    pipe = tiny("sd").to(torch.float16)
    pipe.enable_model_cpu_offload()
    own = inpaint.own_pipeline(pipe)
    picture, mask = np.zeros((SIDE, SIDE, 3), np.uint8), np.ones((SIDE, SIDE), np.float32)
    own("a lake", **inpaint.arguments(own, picture, mask, 0, 2), width=SIDE, height=SIDE, num_inference_steps=2)
    pipe.maybe_free_model_hooks()  # as the engine does
    assert {part.device.type for part in (pipe.unet, pipe.vae, pipe.text_encoder)} == {"cpu"}
