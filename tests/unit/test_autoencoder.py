"""Pixels to latents and back by autoencoders that overflow in half precision or wait on another device."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from torch import Tensor, nn

from studio.diffusion.layout import PLANE
from studio.models.encode import encode
from studio.models.layouts import decode, upcasts


class Autoencoder(nn.Module):
    """Says in which precision and on which device it was asked. What it holds overflows in float16, as XL's does."""

    def __init__(self, force_upcast: bool, dtype: torch.dtype, device: str = "cpu") -> None:
        super().__init__()
        self.large = nn.Parameter(torch.full((1,), 60_000.0, dtype=dtype, device=device), requires_grad=False)
        self.config = SimpleNamespace(force_upcast=force_upcast, scaling_factor=1.0, latent_channels=4)
        self.asked: list[tuple[torch.dtype, torch.device]] = []
        self.broken = False

    @property
    def dtype(self) -> torch.dtype:
        return self.large.dtype

    @property
    def device(self) -> torch.device:
        return self.large.device

    def _through(self, x: Tensor, channels: int) -> Tensor:
        assert x.dtype == self.dtype
        self.asked.append((x.dtype, x.device))
        if self.broken:
            raise RuntimeError("broken")
        if x.device != self.device:  # its hook brings it there
            return x[:, :1].expand(-1, channels, -1, -1)
        return (x * self.large + self.large)[:, :1].expand(-1, channels, -1, -1) / 60_000.0

    def encode(self, x: Tensor, return_dict: bool) -> tuple[Tensor]:
        return (self._through(x, 4)[..., ::8, ::8],)

    def decode(self, x: Tensor, return_dict: bool) -> tuple[Tensor]:
        return (self._through(x, 3),)


class Pipe:
    def __init__(self, vae: Autoencoder, device: str = "cpu") -> None:
        self.vae = vae
        self.scheduler = DDIMScheduler()
        self._execution_device = torch.device(device)
        self.freed = 0

    def maybe_free_model_hooks(self) -> None:
        self.freed += 1


def through(pipe: Pipe) -> tuple[Any, Any]:
    like = torch.zeros(1, 4, 8, 8)
    found = encode(pipe, torch.ones(1, 3, 64, 64), PLANE, like)
    return found, decode(pipe, like, 64, 64)


def test_what_overflows_in_half_precision_is_worked_in_full_and_kept_in_half() -> None:
    pipe = Pipe(Autoencoder(True, torch.float16))
    assert upcasts(pipe.vae)
    latents, pixels = through(pipe)
    assert torch.isfinite(latents).all() and torch.isfinite(pixels).all()
    assert [dtype for dtype, _ in pipe.vae.asked] == [torch.float32] * 2
    assert pipe.vae.dtype == torch.float16
    assert pipe.freed == 0  # nothing waits elsewhere


def test_it_is_in_half_precision_again_also_where_it_fails() -> None:
    pipe = Pipe(Autoencoder(True, torch.float16))
    pipe.vae.broken = True
    with pytest.raises(RuntimeError, match="broken"):
        through(pipe)
    assert pipe.vae.dtype == torch.float16


@pytest.mark.parametrize(
    ("force", "dtype"), [(False, torch.float16), (True, torch.bfloat16), (True, torch.float32), (False, torch.float32)]
)
def test_others_are_left_as_they_are(force: bool, dtype: torch.dtype) -> None:
    pipe = Pipe(Autoencoder(force, dtype))
    assert not upcasts(pipe.vae)
    through(pipe)
    assert [asked for asked, _ in pipe.vae.asked] == [dtype] * 2


def test_one_that_waits_on_another_device_is_asked_where_it_works_and_then_makes_room() -> None:
    """`meta` is for the accelerator: no pixels there, but a place."""
    pipe = Pipe(Autoencoder(False, torch.float32), "meta")
    pipe.vae._hf_hook = object()  # what an offloaded module has
    pixels, like = torch.ones(1, 3, 64, 64), torch.zeros(1, 4, 8, 8, device="meta")
    encode(pipe, pixels, PLANE, like)
    assert pipe.vae.asked == [(torch.float32, torch.device("meta"))]
    assert pipe.freed == 1
    pipe.vae.asked.clear()
    with pytest.raises(NotImplementedError):  # the pixels are wanted on the CPU, where `meta` has none to give
        decode(pipe, like, 64, 64)
    assert pipe.vae.asked == [(torch.float32, torch.device("meta"))]
    assert pipe.freed == 1  # in the middle of a run, only the run makes room
