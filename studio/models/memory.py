"""What fits: how much memory a picture needs beside the model, how much is free, and which precision a model takes.

The estimates are simple: the autoencoder's decoder at full size outweighs the denoiser, and that everything else.
Measured on a CPU in single precision, as what one run added to the process at its peak, next to the estimate:

    painter at 512, 1024 and 1536 px       0.17, 0.69, 1.59 GB     0.20, 0.81, 1.81 GB
    Stable Diffusion's decoder at 512 px               1.01 GB                 1.07 GB
    its U-Net at 512 px, guided                        0.33 GB                 0.25 GB

They are meant to refuse what would surely fail, with words, before it fails without.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.errors import OutOfMemory

if TYPE_CHECKING:
    import torch

RESERVE = 256 * 1024 * 1024  # bytes left to the rest of the system
_DECODER_TENSORS = 4.0  # feature maps that a decoder holds at once at its widest place
_DENOISER_TENSORS = 24.0  # feature maps of a denoiser's first level that live at once, skip connections among them
_WHOLE_BYTES = 1e9  # GB, as people count them


def free_bytes(device: Any) -> int:
    """Memory that is free on a device: on the CPU what the system, or the container it runs in, still has."""
    import torch

    kind = torch.device(device)
    if kind.type == "cuda":
        return int(torch.cuda.mem_get_info(kind)[0])
    import psutil

    free = int(psutil.virtual_memory().available)
    limit = _container_free()
    return free if limit is None else min(free, limit)


def choose_device() -> str:
    """The device to run on: a CUDA or Apple GPU if there is one, else the CPU."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if torch.backends.mps.is_available():
        return "mps"
    return "cpu"


def settle_threads() -> None:
    """One thread per physical core, unless the environment says otherwise: more of them would wait for each other."""
    import psutil
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(psutil.cpu_count(logical=False) or 1, torch.get_num_threads()))


def choose_dtype(device: str, pipeline: str) -> torch.dtype:
    """The precision to hold a model in: float32 on the CPU, half elsewhere.

    Convolutional models were trained for float16, transformers overflow in it and take bfloat16.
    """
    import torch

    if device == "cpu":
        return torch.float32
    if pipeline.startswith(("StableDiffusionPipeline", "StableDiffusionXL", "Kolors", "LatentConsistency")):
        return torch.float16
    return torch.bfloat16


def check_weights_fit(name: str, parameters: int, dtype: torch.dtype, device: str) -> None:
    """Raises OutOfMemory if the weights alone would not fit into main memory, where every model is read first."""
    need = parameters * dtype.itemsize
    free = free_bytes("cpu")
    if need + RESERVE > free:
        raise OutOfMemory(
            f"{name} needs {_gigabytes(need)} for its weights and {_gigabytes(free, False)} are free. Close "
            "something, or choose a smaller model."
        )


def place(pipe: Any, device: str) -> None:
    """Moves a loaded pipeline to its device; one that does not fit there stays in main memory and visits in parts."""
    if device == "cpu":
        return
    need = sum(_module_bytes(module) for module in pipe.components.values())
    if device.startswith("cuda") and need * 1.2 + RESERVE > free_bytes(device):
        try:
            pipe.enable_model_cpu_offload(device=device)
        except ImportError as problem:
            raise OutOfMemory(
                f"This model needs {_gigabytes(need)} and the GPU has "
                f"{_gigabytes(free_bytes(device), False)} free. Install the package accelerate, so that it "
                "can be held in main memory, or choose a smaller model."
            ) from problem
        return
    pipe.to(device)


def picture_bytes(pipe: Any, width: int, height: int) -> int:
    """Bytes that painting one picture of this size takes at its peak, beside the weights."""
    vae, core = getattr(pipe, "vae", None), denoiser(pipe)
    guided = 2  # classifier-free guidance runs the model on two samples at once
    peak = 0
    if vae is not None:
        channels = _widest_full_size_channels(vae)
        peak = int(width * height * channels * _itemsize(vae) * _DECODER_TENSORS)
    if core is not None:
        factor = int(getattr(pipe, "vae_scale_factor", 8) or 8)
        positions = (width // factor) * (height // factor)
        peak = max(peak, int(guided * positions * _core_channels(core) * _itemsize(core) * _DENOISER_TENSORS))
    return peak


def check_fits(pipe: Any, width: int, height: int) -> None:
    """Raises OutOfMemory, naming a size that would fit, if a picture of this size would surely not."""
    device = getattr(pipe, "_execution_device", "cpu")
    free = free_bytes(device) - RESERVE
    need = picture_bytes(pipe, width, height)
    if need <= free:
        return
    smaller = largest_that_fits(width, height, lambda w, h: picture_bytes(pipe, w, h) <= free)
    advice = f"{smaller[0]} × {smaller[1]} would fit." if smaller else "Close something that uses memory."
    raise OutOfMemory(
        f"{width} × {height} needs {_gigabytes(need)} and {_gigabytes(max(free, 0), False)} are free. {advice}"
    )


def largest_that_fits(width: int, height: int, fits: Callable[[int, int], bool]) -> tuple[int, int] | None:
    """The largest size of these proportions, in multiples of 64 (then 16) pixels, that `fits`; None if none does."""
    longest = max(width, height)
    for multiple in (64, 16):
        for side in range((longest - 1) // multiple * multiple, 63, -multiple):
            size = tuple(max(64, round(length * side / longest / 16) * 16) for length in (width, height))
            if fits(size[0], size[1]):
                return size[0], size[1]
    return None


def denoiser(pipe: Any) -> Any:
    """The network that the steps run: the pipeline's unet or transformer, or None."""
    return getattr(pipe, "unet", None) or getattr(pipe, "transformer", None)


def _container_free() -> int | None:
    """What a memory limit of the container leaves, or None where there is no limit (cgroup v2 and v1)."""
    for folder, limit, used, cached in (
        (Path("/sys/fs/cgroup"), "memory.max", "memory.current", "inactive_file"),
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            most, held = (int((folder / name).read_text()) for name in (limit, used))
            facts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):
            continue  # not there, or "max"
        # files that were read are counted as used, and are given up as soon as somebody needs the room
        return max(0, most - held + int(facts.get(cached, 0)))
    return None


def _module_bytes(module: Any) -> int:
    if not hasattr(module, "parameters"):
        return 0
    return sum(parameter.numel() * parameter.element_size() for parameter in module.parameters())


def _itemsize(module: Any) -> int:
    return next((int(parameter.element_size()) for parameter in module.parameters()), 4)


def _widest_full_size_channels(vae: Any) -> int:
    """Channels of the decoder's feature maps at the size of the picture: those that enter its last level."""
    config = vae.config
    blocks = (
        getattr(config, "decoder_block_out_channels", None) or getattr(config, "block_out_channels", None) or (128,)
    )
    return int(max(blocks[:2]))


def _core_channels(core: Any) -> int:
    config = core.config
    if blocks := getattr(config, "block_out_channels", None):
        return int(blocks[0])
    heads, size = getattr(config, "num_attention_heads", None), getattr(config, "attention_head_dim", None)
    return int(heads * size) if heads and size else 1024


def _gigabytes(count: float, with_unit: bool = True) -> str:
    value = count / _WHOLE_BYTES
    number = f"{value:.0f}" if value >= 9.95 else f"{value:.1f}".removesuffix(".0")
    return f"{number} GB" if with_unit else number
