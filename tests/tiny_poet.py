"""A language model of a few thousand random weights that knows single letters."""

from __future__ import annotations

from pathlib import Path


def save_poet(path: Path) -> Path:
    """Writes a GPT-2 with its tokenizer into a new folder, which it returns."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    letters = [chr(code) for code in range(32, 127)]
    core = Tokenizer(models.BPE({letter: k for k, letter in enumerate([*letters, "<|end|>"])}, []))
    core.pre_tokenizer, core.decoder = pre_tokenizers.Split("", "isolated"), decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<|end|>")
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(letters) + 1, n_positions=400, n_embd=16, n_layer=1, n_head=2, eos_token_id=95, bos_token_id=95
    )
    model = GPT2LMHeadModel(config)
    tokenizer.save_pretrained(path)
    model.save_pretrained(path)
    return path
