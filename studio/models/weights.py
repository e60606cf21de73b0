"""Weight files of models: what one holds, read from its header alone, or the reason why it is not loaded.

No tensor is read here. What makes a header sound is `studio.tensor_file`'s to say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from studio.errors import ModelNotFound, UnsafeModel
from studio.errors import human_bytes as human_bytes  # models and their tests know both under this name
from studio.errors import shown as shown
from studio.tensor_file import HEADER_LIMIT as HEADER_LIMIT
from studio.tensor_file import EndsEarly, NotTensors, TensorHeader, UnsoundFile, read_header

PICKLE_SUFFIXES = frozenset(
    {".bin", ".ckpt", ".h5", ".joblib", ".msgpack", ".npy", ".npz", ".pickle", ".pkl", ".pt", ".pth"}
)


@dataclass(frozen=True)
class Weights:
    """A safetensors file whose header holds: its size, and how many numbers lie in it."""

    path: Path
    size: int  # bytes
    parameters: int


def check_weights(path: Path) -> Weights:
    """Reads the header of a safetensors file, and nothing else of it.

    Raises ModelNotFound if there is no such file, UnsafeModel if it is no safetensors file, or one that lies about
    itself.
    """
    header = _header(path)
    parameters = sum(math.prod(tensor.shape) for tensor in header.tensors)
    return Weights(path, header.size, parameters)


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors in a safetensors file. Raises as `check_weights` does."""
    return {tensor.name: tensor.shape for tensor in _header(path).tensors}


def _header(path: Path) -> TensorHeader:
    if path.suffix.lower() in PICKLE_SUFFIXES:
        raise UnsafeModel(
            f"`{shown(path.name)}` may hold pickled weights, which can run code when they are opened. "
            "Choose a .safetensors file of the same model."
        )
    if not path.is_file():
        raise ModelNotFound(f"There is no file `{shown(path.name)}`. Check its name and folder.")
    try:
        with path.open("rb") as file:
            return read_header(file, path.name, path.stat().st_size)
    except NotTensors as problem:
        raise UnsafeModel(str(problem)) from None
    except EndsEarly as problem:
        raise UnsafeModel(f"{problem} Fetch it again, or choose another model.") from None
    except UnsoundFile as problem:
        raise UnsafeModel(f"{problem} Fetch it again.") from None
