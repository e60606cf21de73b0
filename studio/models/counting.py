"""How many tokens a prompt takes, and where a model's text encoder would cut it off.

Tokens are counted on a copy of the model's tokenizer, since a pipeline changes its own while it runs.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

_PARTS = ("tokenizer", "tokenizer_2", "tokenizer_3")
_UNBOUNDED = 100_000  # tokenizers without a limit of their own say some huge number


@dataclass(frozen=True)
class Count:
    """The tokens of a text, and what the encoder can read. `cut_at` is the first character that is not read."""

    tokens: int
    limit: int
    cut_at: int | None = None


class WordCounter:
    """Counts for one model; where it has several text encoders, for the one that reads furthest."""

    def __init__(self, tokenizer: Any, limit: int) -> None:
        self._tokenizer = tokenizer
        self.limit = limit

    @classmethod
    def of(cls, pipe: Any) -> WordCounter | None:
        """The counter of a pipeline, or None where it has no tokenizer that tells its tokens' places."""
        found = [counter for part in _PARTS if (counter := _counter(pipe, getattr(pipe, part, None))) is not None]
        return max(found, key=lambda counter: counter.limit) if found else None

    def count(self, text: str) -> Count:
        spans = self._tokenizer.encode(text, add_special_tokens=False).offsets
        cut_at = spans[self.limit][0] if len(spans) > self.limit else None
        return Count(len(spans), self.limit, cut_at)


def _counter(pipe: Any, tokenizer: Any) -> WordCounter | None:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    from tokenizers import Tokenizer

    own = Tokenizer.from_str(backend.to_str())
    own.no_truncation()
    own.no_padding()
    longest = tokenizer.model_max_length
    if not type(tokenizer).__name__.startswith("CLIP"):  # the others are cut where the pipeline says
        called = inspect.signature(type(pipe).__call__).parameters.get("max_sequence_length")
        said = called.default if called is not None and isinstance(called.default, int) else None
        longest = said or getattr(pipe, "tokenizer_max_length", longest)
    if not 1 < longest < _UNBOUNDED:
        return None
    return WordCounter(own, longest - len(own.encode("").ids))
