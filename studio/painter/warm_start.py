"""Start from an older painter: its autoencoder and its UNet, with layers added where the new ones have more, and the
words that both tokenizers know.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import torch
from diffusers import AutoencoderTiny, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from studio.errors import StudioError

_TOKENS = "token_embedding.weight"
_POSITIONS = "position_embedding.weight"
_COUNTS = "position_ids"
# zero in an added layer: the last part of every residual branch, and the bias of a shortcut
_SILENT = ("conv2.weight", "conv2.bias", "proj_out.weight", "proj_out.bias", "conv_shortcut.bias")


@torch.no_grad()
def warm_start(text_encoder: CLIPTextModel, unet: UNet2DConditionModel, tokenizer: CLIPTokenizer, folder: Path) -> int:
    """Copies the weights of the pipeline in `folder` and returns how many tokens of `tokenizer` it knew.

    Tokens are matched by their text; the others keep their random vectors. Layers that only the new UNet has
    start as the identity, so that it begins with the old one's answers. Raises StudioError if the networks differ
    in anything but the vocabulary, the longest prompt and the number of layers per resolution.
    """
    old_tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    old_unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32)
    old_text = CLIPTextModel.from_pretrained(folder / "text_encoder", torch_dtype=torch.float32)
    try:
        unet.load_state_dict(grown(old_unet, unet))
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


def grown(old: UNet2DConditionModel, new: UNet2DConditionModel) -> dict[str, Tensor]:
    """Weights for `new` that make it answer as `old` does, where `new` has as many or more layers per block.

    Added layers come last on the way down and, as each of them sends a skip connection, after the first layer on
    the way up. A residual branch whose last convolution is zero adds nothing: Net2Net's identity layers, Chen et
    al. 2016 (arXiv:1511.05641).
    """
    state: dict[str, Tensor] = new.state_dict()
    for name, fresh in state.items():
        if name.endswith(_SILENT):
            fresh.zero_()
        elif name.endswith("conv_shortcut.weight"):  # (out, out + skip, 1, 1): what came, without the skip
            fresh.zero_()[:, : len(fresh), 0, 0].fill_diagonal_(1.0)
    for name, known in old.state_dict().items():
        state[_grown_name(name, old, new)] = known
    return state


def _grown_name(name: str, old: UNet2DConditionModel, new: UNet2DConditionModel) -> str:
    """Where a weight of `old` belongs in `new`."""
    found = re.match(r"up_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.", name)
    if found is None or found[3] == "0":
        return name
    block = int(found[1])
    added = len(new.up_blocks[block].resnets) - len(old.up_blocks[block].resnets)
    return f"up_blocks.{block}.{found[2]}.{int(found[3]) + added}.{name[found.end() :]}"


def _copy_tokens(new: Tensor, old: Tensor, vocabulary: dict[str, int], old_vocabulary: dict[str, int]) -> int:
    shared = [(vocabulary[token], old_vocabulary[token]) for token in vocabulary if token in old_vocabulary]
    # random vectors have another length than learned ones: draw them as long as those
    new.mul_(old.std() / new.std().clamp_min(1e-6))
    new[[row for row, _ in shared]] = old[[row for _, row in shared]]
    return len(shared)


@torch.no_grad()
def grow_autoencoder(old: AutoencoderTiny, new: AutoencoderTiny) -> None:
    """Copies `old` into `new`, whose decoder may have more blocks per resolution.

    The last convolution of an added block is zero, so that it only rectifies. Raises StudioError for other sizes.
    """
    state = new.decoder.layers.state_dict()
    for name, fresh in state.items():
        if name.endswith(("conv.4.weight", "conv.4.bias")):
            fresh.zero_()
    places = {place: index for index, place in enumerate(_places(new))}
    try:
        for name, known in old.decoder.layers.state_dict().items():
            index, rest = name.split(".", 1)
            state[f"{places[_places(old)[int(index)]]}.{rest}"] = known
        new.decoder.layers.load_state_dict(state)
        new.encoder.load_state_dict(old.encoder.state_dict())
    except (KeyError, RuntimeError) as problem:
        raise StudioError(f"The autoencoder to start from has other sizes than the preset: {problem}") from problem


def _places(autoencoder: AutoencoderTiny) -> list[tuple[str, int, int]]:
    """What each layer of the decoder is: its class, the halvings undone before it, and which of those it is."""
    places: list[tuple[str, int, int]] = []
    doubled, seen = 0, Counter[str]()
    for layer in autoencoder.decoder.layers:
        kind = type(layer).__name__
        places.append((kind, doubled, seen[kind]))
        seen[kind] += 1
        if isinstance(layer, nn.Upsample):
            doubled, seen = doubled + 1, Counter[str]()
    return places
