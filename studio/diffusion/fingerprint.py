"""Which model a pipeline denoises with, in a few characters: to tell that a recorded run belongs to another one."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import torch

_DENOISERS = ("transformer", "transformer_2", "unet", "prior", "decoder")
_SAMPLES = 32  # matrices that are looked into: enough to meet some of those that a merged LoRA has changed
_VALUES = 16  # values of each


def fingerprint(pipe: Any) -> str:
    """`structure:weights`: a digest of class, configuration, names, shapes and dtypes, and one of some of the values.

    The second is `-` where weights are not in memory (sequential offload). Pipelines without a denoiser of a known
    name give `-:-`.
    """
    structure, weights = hashlib.sha256(), hashlib.sha256()
    found = readable = False
    for name in _DENOISERS:
        model = getattr(pipe, name, None)
        if not isinstance(model, torch.nn.Module):
            continue
        found = True
        parameters = list(model.named_parameters())
        shapes = "".join(f"{key}{tuple(value.shape)}{value.dtype}" for key, value in parameters)
        structure.update(f"{name}{type(model).__name__}{_configuration(model)}{shapes}".encode())
        matrices = [value for _, value in parameters if value.ndim > 1] or [value for _, value in parameters]
        for value in matrices[:: max(len(matrices) // _SAMPLES, 1)]:
            values = _first_values(value)
            readable = readable or bool(values)
            weights.update(values)
    return f"{structure.hexdigest()[:32] if found else '-'}:{weights.hexdigest()[:32] if readable else '-'}"


def same_model(one: str, other: str) -> bool:
    """Whether two fingerprints can be of one model."""
    return all(a == b or "-" in (a, b) for a, b in zip(one.split(":"), other.split(":"), strict=True))


def as_json(config: Mapping[str, Any]) -> dict[str, Any]:
    """A component's configuration in values that strict JSON has, without the notes that diffusers keeps in it."""
    return {str(key): _as_json(value) for key, value in config.items() if not str(key).startswith("_")}


def _configuration(model: Any) -> str:
    return json.dumps(as_json(getattr(model, "config", {})), sort_keys=True)


def _as_json(value: Any) -> Any:
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(key): _as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(item) for item in value]
    return _as_json(value.tolist()) if hasattr(value, "tolist") else str(value)


def _first_values(value: torch.Tensor) -> bytes:
    """The first values as bytes; none where they are not in memory, or packed in a way that cannot be looked into."""
    if value.device.type == "meta":
        return b""
    try:
        few = value.detach().flatten()[:_VALUES].cpu().contiguous()
        return few.view(torch.uint8).numpy().tobytes()
    except (NotImplementedError, RuntimeError, TypeError):  # some quantised weights
        return b""
