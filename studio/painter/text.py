"""The painter's own tokenizer, trained on captions, and its small CLIP text encoder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import torch
from tokenizers.pre_tokenizers import ByteLevel
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from studio.painter.preset import Preset
from studio.painter.progress import write_folder

START, END, WORD_END = "<|startoftext|>", "<|endoftext|>", "</w>"


def train_tokenizer(sentences: Iterable[str], preset: Preset, folder: Path) -> CLIPTokenizer:
    """Learn byte pairs from sentences and save the tokenizer to `folder`.

    Every byte is a token, inside a word and at its end, so nothing is unknown. The same sentences give the same
    tokenizer: equally frequent pairs are merged in alphabetical order.
    """
    letters = sorted(ByteLevel.alphabet())
    tokens = [START, END, *letters, *(letter + WORD_END for letter in letters)]
    merges = learn_merges(_count_words(sentences), preset.vocabulary - len(tokens))
    vocabulary = {token: number for number, token in enumerate(tokens + ["".join(pair) for pair in merges])}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=preset.text_length)

    def write(beside: Path) -> None:
        tokenizer.save_pretrained(beside)

    write_folder(folder, write)
    return load_tokenizer(folder)


def _count_words(sentences: Iterable[str]) -> dict[str, int]:
    """How often each word occurs, as CLIP cuts sentences: lower case, letters, digits and signs apart."""
    cut = CLIPTokenizer(vocab={START: 0, END: 1}, merges=[]).backend_tokenizer
    words: Counter[str] = Counter()
    for sentence, times in Counter(sentences).items():
        for word, _ in cut.pre_tokenizer.pre_tokenize_str(cut.normalizer.normalize_str(sentence)):
            words[word] += times
    return words


def learn_merges(words: Mapping[str, int], most: int) -> list[tuple[str, str]]:
    """At most `most` pairs of neighbouring pieces, the most frequent first, each merged before the next is counted.

    Source: Sennrich et al. 2016 (arXiv:1508.07909), Algorithm 1.
    """
    pieces = {word: (*word[:-1], word[-1] + WORD_END) for word in words}
    merges: list[tuple[str, str]] = []
    while len(merges) < most:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, parts in pieces.items():
            for pair in pairwise(parts):
                pairs[pair] += words[word]
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        pieces = {word: _merged(parts, best) for word, parts in pieces.items()}
    return merges


def _merged(parts: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    out: list[str] = []
    place = 0
    while place < len(parts):
        together = parts[place : place + 2] == pair
        out.append("".join(pair) if together else parts[place])
        place += 2 if together else 1
    return tuple(out)


def load_tokenizer(folder: Path) -> CLIPTokenizer:
    tokenizer: CLIPTokenizer = CLIPTokenizer.from_pretrained(folder)
    return tokenizer


def build_text_encoder(preset: Preset, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """An untrained text encoder of the preset's size."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=preset.text_width,
            intermediate_size=4 * preset.text_width,
            num_hidden_layers=preset.text_layers,
            num_attention_heads=preset.text_heads,
            max_position_embeddings=preset.text_length,
            projection_dim=preset.text_width,
            hidden_act="gelu",
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def tokenize(tokenizer: CLIPTokenizer, sentences: Sequence[str]) -> Tensor:
    """Token numbers, int16 (N, L), cut and padded to the tokenizer's length as a pipeline does it."""
    rows = []
    for start in range(0, len(sentences), 8192):
        some = list(sentences[start : start + 8192])
        ids = tokenizer(some, padding="max_length", max_length=tokenizer.model_max_length, truncation=True)[
            "input_ids"
        ]
        rows.append(torch.tensor(ids, dtype=torch.int16))
    return torch.cat(rows)
