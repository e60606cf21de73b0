"""From a model's name to a pipeline in memory, safely: safetensors only, no code of the model's own, no surprise
network.

Everything that could do harm is refused before anything is loaded (see `safety`). A model that is on this computer is
loaded without a single connection; one on the hub is fetched only because a person named it (see `hub`).
"""

from __future__ import annotations

import functools
import gc
import hashlib
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.errors import ModelNotFound, OutOfMemory, StudioError
from studio.models import catalogue, hub, memory, safety, single_file
from studio.models.catalogue import ModelCard
from studio.models.weights import check_weights, shown

if TYPE_CHECKING:
    import torch

DIGEST_LENGTH = 16  # hexadecimal digits

_ESSENTIAL = frozenset({"scheduler", "text_encoder", "tokenizer", "transformer", "unet", "vae"})
# Stable Diffusion runs without its checker, Stable Diffusion 3 without its largest text encoder
_DISPENSABLE = ("feature_extractor", "image_encoder", "safety_checker", "text_encoder_3", "tokenizer_3")


def load_pipeline(
    source: str | Path | ModelCard, *, dtype: torch.dtype | None = None, device: str | None = None
) -> Any:
    """The diffusers pipeline of a model, ready to be called.

    `source` is a card, or whatever `catalogue.find` understands. `dtype` and `device` default to what suits the
    machine: float32 on the CPU, half precision on a GPU. Raises StudioError, with words for the person: ModelNotFound,
    UnsafeModel, OutOfMemory. Nothing stays behind in memory then.
    """
    card = source if isinstance(source, ModelCard) else catalogue.find(str(source))
    device = device or memory.choose_device()
    path = _on_this_computer(card)
    _silence()
    load = _load_folder if path.is_dir() else _load_file
    pipe = load(card, path, dtype, device)
    pipe.set_progress_bar_config(disable=True)
    memory.place(pipe, device)
    return pipe


def weights_digest(source: str | Path | ModelCard) -> str:
    """Hexadecimal digits that stand for a model's weights: equal for equal files, wherever they lie.

    Raises StudioError if the model is not on this computer.
    """
    card = source if isinstance(source, ModelCard) else catalogue.find(str(source))
    path = _on_this_computer(card, fetch=False)
    if path.is_file():
        files = {path.name: path}
    else:
        files = {w.path.relative_to(path).as_posix(): w.path for w in safety.check_folder(path).weights}
    whole = hashlib.sha256()
    for name, file in sorted(files.items()):
        status = file.stat()
        content = _file_digest(str(file.resolve()), status.st_mtime_ns, status.st_size)
        whole.update(f"{name if path.is_dir() else ''}\0{content}\n".encode())
    return whole.hexdigest()[:DIGEST_LENGTH]


def _on_this_computer(card: ModelCard, fetch: bool = True) -> Path:
    if isinstance(card.source, Path):
        return card.source
    held = hub.fetch(card.source) if fetch else hub.cached(card.source)
    if held is None:
        raise ModelNotFound(f"`{card.source}` is not on this computer.")
    return held


def _load_folder(card: ModelCard, folder: Path, dtype: torch.dtype | None, device: str) -> Any:
    model = safety.check_folder(folder)
    safety.check_classes(model)
    dtype = dtype or memory.choose_dtype(device, model.pipeline)
    memory.check_weights_fit(card.title, model.parameters, dtype, device)
    import diffusers

    pipeline = getattr(diffusers, model.pipeline)
    return _loaded(
        card,
        pipeline.from_pretrained,
        str(folder),
        **_absent_parts(model, pipeline),
        dtype=dtype,
        variant=model.variant,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
    )


def _absent_parts(model: safety.ModelFolder, pipeline: Any) -> dict[str, None]:
    """The parts that the pipeline can do without and the folder does not have, each as None.

    Raises ModelNotFound for a part that it cannot do without.
    """
    expected, _ = pipeline._get_signature_keys(pipeline)
    absent = set(expected) - {component.name for component in model.components}
    # what an index lists as absent was left out on purpose, unless nothing works without it
    essential = absent - {*pipeline._optional_components, *_DISPENSABLE} - (model.left_out - _ESSENTIAL)
    if essential:
        raise ModelNotFound(
            f"`{shown(model.path.name)}` is not a whole {model.pipeline}: it has no `{min(essential)}`. "
            "Fetch it again."
        )
    return dict.fromkeys(sorted(absent))


def _load_file(card: ModelCard, path: Path, dtype: torch.dtype | None, device: str) -> Any:
    weights = check_weights(path)
    family = single_file.family_of(path)
    dtype = dtype or memory.choose_dtype(device, family.pipeline)
    memory.check_weights_fit(card.title, weights.parameters, dtype, device)
    import diffusers

    with single_file.configuration(family) as folder:
        safety.check_classes(safety.check_configuration(folder))
        return _loaded(
            card,
            getattr(diffusers, family.pipeline).from_single_file,
            str(path),
            config=str(folder),
            dtype=dtype,
            local_files_only=True,
        )


def _loaded(card: ModelCard, load: Any, *args: Any, **kwargs: Any) -> Any:
    """Calls one of diffusers' loaders, and puts what it raises into words."""
    try:
        with warnings.catch_warnings():
            # the two libraries warn of what they do to themselves, such as passing arguments under old names
            warnings.simplefilter("ignore")
            return load(*args, **kwargs)
    except MemoryError as problem:
        gc.collect()
        raise OutOfMemory(f"{card.title} did not fit into memory. Choose a smaller model.") from problem
    except StudioError:
        raise
    except Exception as problem:
        # whatever a broken or unusual model makes the two libraries raise, the person's way out is the same
        gc.collect()
        reason = shown(str(problem).strip().splitlines()[0] if str(problem).strip() else repr(problem), 200)
        raise StudioError(
            f"{shown(card.title)} could not be loaded: {reason.rstrip('.')}. It may be incomplete, or made "
            "for a newer diffusers. Choose another model."
        ) from problem


def _silence() -> None:
    """Keeps the two libraries from writing notes for programmers to a person's terminal, from here on.

    Whoever wants to read them sets the libraries' own variables, DIFFUSERS_VERBOSITY and TRANSFORMERS_VERBOSITY.
    """
    import diffusers
    import transformers

    for name, log in (("DIFFUSERS", diffusers.utils.logging), ("TRANSFORMERS", transformers.utils.logging)):
        log.disable_progress_bar()
        if f"{name}_VERBOSITY" not in os.environ:
            log.set_verbosity_error()


@functools.lru_cache(maxsize=256)
def _file_digest(path: str, modified: int, size: int) -> str:
    """The SHA-256 of a file; its time and size are there to notice a change."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
