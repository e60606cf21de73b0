"""Fills in half precision and with parts that wait on the CPU: on an accelerator where there is one, else on the CPU
as far as it goes.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import tiny

from studio.diffusion.known import KeepKnown
from studio.diffusion.layout import Layout
from studio.diffusion.observe import Run, observe
from studio.diffusion.start import seeded_noise, start_at
from studio.imaging.geometry import Extent
from studio.imaging.pixels import to_float
from studio.models import inpaint
from studio.models.encode import clean_latents
from studio.models.layouts import decode

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CARD = pytest.mark.skipif(not torch.cuda.is_available(), reason="no accelerator here")
SIDE = 64
PLACES = [  # device, precision, whether parts wait elsewhere for their turn
    pytest.param("cpu", torch.bfloat16, False, id="cpu-bfloat16"),
    pytest.param("cuda", torch.float16, False, id="cuda-float16", marks=CARD),
    pytest.param("cuda", torch.bfloat16, False, id="cuda-bfloat16", marks=CARD),
    pytest.param("cuda", torch.float16, True, id="offloaded-float16", marks=CARD),
]


def placed(family: str, device: str, dtype: torch.dtype, offloaded: bool) -> Any:
    pipe = tiny(family).to(dtype)
    if offloaded:
        pipe.enable_model_cpu_offload()
    else:
        pipe.to(device)
    return pipe


def known_of(pipe: Any) -> tuple[torch.Tensor, Layout]:
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    found = clean_latents(pipe, to_float(pixels), Extent(SIDE, SIDE))
    assert found is not None
    return found


def filled(pipe: Any, known: torch.Tensor, resume: Any = None) -> Run:
    """A run that paints the right half."""
    mask = torch.zeros(SIDE, SIDE)
    mask[:, SIDE // 2 :] = 1
    with torch.inference_mode(), observe(pipe, [KeepKnown(known, mask, 3)], resume=resume) as run:
        pipe("a lake", width=SIDE, height=SIDE, num_inference_steps=4, generator=torch.Generator().manual_seed(0))
    return run


@pytest.mark.parametrize("family", ["sd", "sdxl", "flux"])
@pytest.mark.parametrize(("device", "dtype", "offloaded"), PLACES)
def test_what_is_known_is_held_in_half_precision_and_goes_on_to_the_bit(
    family: str, device: str, dtype: torch.dtype, offloaded: bool
) -> None:
    pipe = placed(family, device, dtype, offloaded)
    known, layout = known_of(pipe)
    assert torch.isfinite(known).all()
    if offloaded:
        assert pipe.vae.device.type == "cpu"  # it makes room for the run
    run = filled(pipe, known)
    last = run.steps[-1].x_next
    assert (last.device.type, last.dtype) == (device, dtype)
    assert torch.isfinite(last).all()
    assert run.steps[-1].layout == layout
    ended, wanted = layout.to_space(last), layout.to_space(known.to(last))
    half = ended.shape[-1] // 2
    assert torch.equal(ended[..., :half], wanted[..., :half])
    assert not torch.isclose(ended[..., half:], wanted[..., half:]).all()
    again = filled(pipe, known, run.at(2))
    assert len(again.steps) == 2
    assert torch.equal(again.steps[-1].x_next, last)


@pytest.mark.parametrize("family", ["sd", "flux"])
@pytest.mark.parametrize(("device", "dtype", "offloaded"), PLACES)
def test_a_run_starts_in_the_middle_in_half_precision(
    family: str, device: str, dtype: torch.dtype, offloaded: bool
) -> None:
    pipe = placed(family, device, dtype, offloaded)
    known, layout = known_of(pipe)
    noise = seeded_noise(known, 3, layout)
    run = filled(pipe, known, start_at(2, known, noise))
    first = run.steps[0]
    assert (first.index, first.x.dtype) == (2, dtype)
    assert first.signal is not None and first.noise is not None
    made = (first.signal * known.float() + first.noise * noise.float()).to(first.x)
    assert torch.equal(first.x, made)


def test_an_encoder_that_runs_out_of_memory_gives_its_room_back() -> None:
    freed: list[bool] = []
    vae = tiny("sd").vae
    vae._hf_hook = object()

    def encode(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError

    vae.encode = encode
    pipe = SimpleNamespace(
        vae=vae, _execution_device=torch.device("cpu"), maybe_free_model_hooks=lambda: freed.append(True)
    )
    with pytest.raises(torch.OutOfMemoryError):
        clean_latents(pipe, torch.zeros(1, 3, SIDE, SIDE), Extent(SIDE, SIDE))
    assert freed == [True]


@CARD
def test_xl_s_autoencoder_goes_through_float32_and_comes_back() -> None:
    pipe = tiny("sdxl").to("cuda", torch.float16)
    pipe.vae.register_to_config(force_upcast=True)
    known, _ = known_of(pipe)
    pixels = decode(pipe, known, SIDE, SIDE)
    assert pixels is not None and torch.isfinite(pixels).all()
    assert pipe.vae.dtype == torch.float16


@CARD
def test_inpainting_of_its_own_gives_its_parts_back() -> None:
    pipe = tiny("sd").to(torch.float16)
    pipe.enable_model_cpu_offload()
    own = inpaint.own_pipeline(pipe)
    picture, mask = np.zeros((SIDE, SIDE, 3), np.uint8), np.ones((SIDE, SIDE), np.float32)
    own("a lake", **inpaint.arguments(own, picture, mask, 0, 2), width=SIDE, height=SIDE, num_inference_steps=2)
    pipe.maybe_free_model_hooks()  # as the engine does
    assert {part.device.type for part in (pipe.unet, pipe.vae, pipe.text_encoder)} == {"cpu"}
