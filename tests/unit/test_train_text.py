"""The painter's tokenizer and text encoder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import CLIPTokenizer

from studio.painter.preset import PRESETS
from studio.painter.text import build_text_encoder, load_tokenizer, tokenize, train_tokenizer

PRESET = PRESETS["smoke"]
SENTENCES = ["an oil painting of a lake at dawn", "a watercolor painting of the sea with a sailboat"] * 4


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> CLIPTokenizer:
    return train_tokenizer(SENTENCES, PRESET, tmp_path_factory.mktemp("text") / "tokenizer")


def test_known_words_are_one_token_each_between_start_and_end(tokenizer: CLIPTokenizer) -> None:
    ids = tokenizer("a lake at dawn").input_ids
    assert tokenizer.convert_ids_to_tokens(ids) == [
        "<|startoftext|>", "a</w>", "lake</w>", "at</w>", "dawn</w>", "<|endoftext|>",
    ]  # fmt: skip


@pytest.mark.parametrize("words", ["zebra", "Über den Wolken", "湖と山", "🦄 <|weird|> \x1f", ""])
def test_unknown_words_and_scripts_are_spelled_in_bytes(tokenizer: CLIPTokenizer, words: str) -> None:
    ids = tokenizer(words).input_ids
    assert tokenizer.unk_token_id not in ids[1:-1]
    assert max(ids) < len(tokenizer)


def test_case_does_not_matter(tokenizer: CLIPTokenizer) -> None:
    assert tokenizer("A LAKE").input_ids == tokenizer("a lake").input_ids


def test_the_same_sentences_give_the_same_tokenizer(tokenizer: CLIPTokenizer, tmp_path: Path) -> None:
    again = train_tokenizer(SENTENCES, PRESET, tmp_path / "tokenizer")
    assert again.get_vocab() == tokenizer.get_vocab()
    assert load_tokenizer(tmp_path / "tokenizer")("a sailboat").input_ids == tokenizer("a sailboat").input_ids


def test_rows_are_cut_and_padded_as_a_pipeline_does_it(tokenizer: CLIPTokenizer) -> None:
    long = "a lake " * 100
    rows = tokenize(tokenizer, ["a lake", long, ""])
    assert rows.shape == (3, PRESET.text_length)
    for row, sentence in zip(rows, ["a lake", long, ""], strict=True):
        expected = tokenizer(
            sentence,
            padding="max_length",
            max_length=PRESET.text_length,
            truncation=True,
            return_tensors="pt",
        ).input_ids[0]
        assert row.tolist() == expected.tolist()
    assert rows[1, -1] == tokenizer.eos_token_id


def test_text_encoder_reads_the_longest_prompt(tokenizer: CLIPTokenizer) -> None:
    tokens = tokenize(tokenizer, ["a lake " * 100]).long()
    hidden = build_text_encoder(PRESET, tokenizer)(tokens).last_hidden_state
    assert hidden.shape == (1, PRESET.text_length, PRESET.text_width)
    assert torch.isfinite(hidden).all()
