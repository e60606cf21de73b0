"""Start a new denoiser from an older painter: the same UNet, and the words that both tokenizers know."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from studio.errors import StudioError

_TOKENS = "token_embedding.weight"
_POSITIONS = "position_embedding.weight"
_COUNTS = "position_ids"


@torch.no_grad()
def warm_start(text_encoder: CLIPTextModel, unet: UNet2DConditionModel, tokenizer: CLIPTokenizer, folder: Path) -> int:
    """Copies the weights of the pipeline in `folder` and returns how many tokens of `tokenizer` it knew.

    Tokens are matched by their text; the others keep their random vectors. Raises StudioError if the networks
    differ in anything but their vocabulary and their longest prompt.
    """
    old_tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    old_unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32)
    old_text = CLIPTextModel.from_pretrained(folder / "text_encoder", torch_dtype=torch.float32)
    try:
        unet.load_state_dict(old_unet.state_dict())
    except RuntimeError as problem:
        raise StudioError(f"The UNet in {folder} has other sizes than the preset: {problem}") from problem

    known, state = 0, text_encoder.state_dict()
    for name, old in old_text.state_dict().items():
        new = state[name]
        if name.endswith(_TOKENS):
            known = _copy_tokens(new, old, tokenizer.get_vocab(), old_tokenizer.get_vocab())
        elif name.endswith(_POSITIONS):
            count = min(len(new), len(old))
            new[:count] = old[:count]
        elif name.endswith(_COUNTS):
            continue
        elif new.shape == old.shape:
            new.copy_(old)
        else:
            raise StudioError(f"{name} in {folder} is {tuple(old.shape)}; the preset wants {tuple(new.shape)}.")
    return known


def _copy_tokens(new: Tensor, old: Tensor, vocabulary: dict[str, int], old_vocabulary: dict[str, int]) -> int:
    shared = [(vocabulary[token], old_vocabulary[token]) for token in vocabulary if token in old_vocabulary]
    # random vectors have another length than learned ones: draw them as long as those
    new.mul_(old.std() / new.std().clamp_min(1e-6))
    new[[row for row, _ in shared]] = old[[row for _, row in shared]]
    return len(shared)
