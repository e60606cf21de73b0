"""Memory: estimates against what real runs took, and words for what does not fit."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_models import tiny

from studio.errors import OutOfMemory
from studio.models import memory


@pytest.fixture(scope="module")
def pipe() -> Any:
    return tiny("sd")


def with_free(monkeypatch: pytest.MonkeyPatch, count: float) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: int(count))


def test_free_memory_is_read_from_the_system() -> None:
    assert 2**26 < memory.free_bytes("cpu") < 2**45


def test_picture_that_fits_passes(pipe: Any) -> None:
    memory.check_fits(pipe, 64, 64)


def test_picture_that_does_not_fit_is_refused_with_a_size_that_would(
    pipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    need = memory.picture_bytes(pipe, 512, 512)
    with_free(monkeypatch, memory.RESERVE + need)
    memory.check_fits(pipe, 512, 512)
    with pytest.raises(OutOfMemory) as refusal:
        memory.check_fits(pipe, 2048, 1024)
    words = str(refusal.value)
    assert words.startswith("2048 × 1024 needs ")
    assert words.endswith(" are free. 704 × 352 would fit.")
    memory.check_fits(pipe, 704, 352)
    with pytest.raises(OutOfMemory):
        memory.check_fits(pipe, 768, 384)


def test_nothing_fits_when_nothing_is_free(pipe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with_free(monkeypatch, 0)
    with pytest.raises(OutOfMemory, match=r"64 × 64 needs .* GB and 0 are free\. Close something that uses memory\."):
        memory.check_fits(pipe, 64, 64)


@pytest.mark.parametrize(("width", "height"), [(64, 64), (2048, 64), (640, 480), (2048, 2048)])
@pytest.mark.parametrize("limit", [10**3, 10**5, 10**6])
def test_size_that_would_fit_is_smaller_keeps_proportions_and_is_nearly_the_largest(
    width: int, height: int, limit: int
) -> None:
    fitting = memory.largest_that_fits(width, height, lambda w, h: w * h <= limit)
    if fitting is None:
        assert min(width, 64) * min(height, 64) > limit or width == height == 64
        return
    found_width, found_height = fitting
    assert found_width * found_height <= limit
    assert found_width % 16 == found_height % 16 == 0
    assert (found_width, found_height) != (width, height)
    if min(fitting) > 64:
        assert math.isclose(found_width / found_height, width / height, rel_tol=0.15)


def test_need_grows_with_the_picture_and_the_precision(pipe: Any) -> None:
    small, large = memory.picture_bytes(pipe, 256, 256), memory.picture_bytes(pipe, 512, 512)
    assert large == 4 * small
    half = tiny("sd").to(dtype=torch.float16)
    assert memory.picture_bytes(half, 256, 256) == small // 2


@pytest.mark.parametrize(("side", "measured"), [(512, 0.170e9), (1024, 0.690e9), (1536, 1.586e9)])
def test_estimate_for_the_painters_autoencoder_is_near_what_runs_took(side: int, measured: float) -> None:
    """`measured` is what a run added to the process, read from the system every 3 ms."""
    from diffusers import AutoencoderTiny

    with torch.device("meta"):
        vae = AutoencoderTiny(encoder_block_out_channels=(48,) * 4, decoder_block_out_channels=(48,) * 4)
    estimate = memory.picture_bytes(SimpleNamespace(vae=vae), side, side)
    assert measured < estimate < 1.25 * measured


def test_estimate_for_stable_diffusions_decoder_is_near_what_a_run_took() -> None:
    from diffusers import AutoencoderKL

    with torch.device("meta"):
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
        )
    estimate = memory.picture_bytes(SimpleNamespace(vae=vae), 512, 512)
    assert 1.014e9 < estimate < 1.25 * 1.014e9


@pytest.mark.parametrize("family", ["painter", "sdxl", "sd3", "flux", "pixart"])
def test_every_family_can_be_estimated(family: str) -> None:
    assert memory.picture_bytes(tiny(family), 256, 256) > 256 * 256 * 3


@pytest.mark.parametrize(
    ("device", "pipeline", "dtype"),
    [
        ("cpu", "StableDiffusionPipeline", torch.float32),
        ("cpu", "FluxPipeline", torch.float32),
        ("cuda", "StableDiffusionPipeline", torch.float16),
        ("cuda:1", "StableDiffusionXLPipeline", torch.float16),
        ("cuda", "StableDiffusion3Pipeline", torch.bfloat16),
        ("cuda", "FluxPipeline", torch.bfloat16),
        ("cuda", "SanaPipeline", torch.bfloat16),
    ],
)
def test_precision_suits_device_and_family(device: str, pipeline: str, dtype: torch.dtype) -> None:
    assert memory.choose_dtype(device, pipeline) is dtype


def test_weights_that_do_not_fit_are_refused_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with_free(monkeypatch, 6e9)
    memory.check_weights_fit("Lake", 10**9, torch.float32, "cpu")
    with pytest.raises(OutOfMemory, match=r"Lake needs 48 GB for its weights and 6 are free\."):
        memory.check_weights_fit("Lake", 12 * 10**9, torch.float32, "cpu")


def test_model_too_large_for_the_gpu_stays_in_main_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    moves: list[str] = []
    big = SimpleNamespace(
        components={"unet": torch.nn.Linear(1000, 1000)},
        to=lambda device: moves.append(f"to {device}"),
        enable_model_cpu_offload=lambda device: moves.append(f"offload {device}"),
    )
    with_free(monkeypatch, memory.RESERVE + 10**7)
    memory.place(big, "cuda")
    with_free(monkeypatch, memory.RESERVE + 10**6)
    memory.place(big, "cuda")
    memory.place(big, "cpu")
    assert moves == ["to cuda", "offload cuda"]


def test_offload_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(device: str) -> None:
        raise ImportError("`enable_model_cpu_offload` requires `accelerate`")

    big = SimpleNamespace(components={"unet": torch.nn.Linear(1000, 1000)}, enable_model_cpu_offload=missing)
    with_free(monkeypatch, memory.RESERVE)
    with pytest.raises(OutOfMemory, match="Install the package accelerate"):
        memory.place(big, "cuda")
