"""Weights on words, for pipelines whose text encoders are CLIP's: Stable Diffusion 1 and 2, XL, LCM, the painter.

The encoder gives one vector per token. A token of weight w gets e + (w - 1)(e - e0), where e0 is what the encoder says
at that place of an empty prompt: 1 leaves it alone, 0 takes its meaning away, more goes on in its direction. That is
how ComfyUI weighs words; it needs no correction of the mean.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor

from studio.errors import InvalidRequest
from studio.prompts.emphasis import Piece, parse, plain

_ENCODERS = (("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2"))


def can_weigh(pipe: Any) -> bool:
    """Whether this pipeline's encoders give one vector per token, in a way that is known here."""
    encoders = _encoders(pipe)
    return (
        bool(encoders)
        and getattr(pipe, "unet", None) is not None
        and getattr(pipe, "text_encoder_3", None) is None
        and "prompt_embeds" in inspect.signature(type(pipe).__call__).parameters
        and all(getattr(encoder.config, "model_type", "") == "clip_text_model" for _, encoder in encoders)
    )


@torch.inference_mode()
def arguments(pipe: Any, prompt: str, negative_prompt: str) -> dict[str, Any]:
    """What the pipeline's call is given in the place of `prompt` and `negative_prompt`, whose brackets weigh words.

    Prompts in which every word counts 1 are given as text, so they lead to the same bytes as ever.
    Raises InvalidRequest if this pipeline's encoder cannot weigh words.
    """
    pieces, negative = parse(prompt), parse(negative_prompt)
    if all(piece.weight == 1 for piece in (*pieces, *negative)):
        words = {"prompt": plain(prompt)}
        return {**words, "negative_prompt": plain(negative_prompt)} if negative else words
    if not can_weigh(pipe):
        raise InvalidRequest(
            "This model's text encoder cannot weigh words. Take the brackets out of the prompt, or put a \\ before "
            "each of them.",
            "prompt",
        )
    accepted = inspect.signature(type(pipe).__call__).parameters
    device = pipe._execution_device
    given = pipe.encode_prompt(plain(prompt), device=device, **_usual(pipe, plain(negative_prompt)))
    names = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
    found = dict(zip(names, given, strict=False))
    empty = pipe.encode_prompt("", device=device, **_usual(pipe, ""))[0]
    found["prompt_embeds"] = weighed(pipe, found["prompt_embeds"], empty, pieces)
    if negative:  # without words to leave out, some pipelines put zeros there
        found["negative_prompt_embeds"] = weighed(pipe, found["negative_prompt_embeds"], empty, negative)
    return {name: value for name, value in found.items() if name in accepted and value is not None}


def weighed(pipe: Any, embeddings: Tensor, empty: Tensor, pieces: tuple[Piece, ...]) -> Tensor:
    """Token embeddings (1, L, D) of the pieces' text, each moved away from `empty`'s as its weight says.

    Where a pipeline joins the vectors of two encoders, each half follows its own tokenizer.
    """
    factors = torch.ones_like(embeddings)
    column = 0
    for tokenizer, encoder in _encoders(pipe):
        width = encoder.config.hidden_size
        rows = torch.tensor(token_weights(tokenizer, pieces, embeddings.shape[1]))
        factors[..., column : column + width] = rows[:, None].to(factors)
        column += width
    if column != embeddings.shape[-1]:
        raise InvalidRequest("This model joins its text encoders in a way whose words cannot be weighed.", "prompt")
    return torch.lerp(empty, embeddings, factors)  # which is `embeddings` to the bit where the weight is 1


def token_weights(tokenizer: Any, pieces: tuple[Piece, ...], length: int) -> list[float]:
    """The weight of each of `length` tokens, as the pipeline cuts and pads the pieces' text; special ones count 1."""
    text = "".join(piece.text for piece in pieces)
    per_character = [piece.weight for piece in pieces for _ in piece.text]
    cut = tokenizer(text, padding="max_length", max_length=length, truncation=True, return_offsets_mapping=True)
    return [per_character[start] if start < end else 1.0 for start, end in cut["offset_mapping"]]


def _usual(pipe: Any, negative_prompt: str) -> dict[str, Any]:
    return {
        "num_images_per_prompt": 1,
        "do_classifier_free_guidance": True,
        "negative_prompt": negative_prompt or None,
    }


def _encoders(pipe: Any) -> list[tuple[Any, Any]]:
    """(tokenizer, text encoder) of each that the pipeline has, in the order in which it joins their vectors."""
    pairs = [(getattr(pipe, tokenizer, None), getattr(pipe, encoder, None)) for tokenizer, encoder in _ENCODERS]
    return [(tokenizer, encoder) for tokenizer, encoder in pairs if tokenizer is not None and encoder is not None]
