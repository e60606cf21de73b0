"""A local language model that turns a short prompt into a richer one. Off unless a folder is named.

The folder is a transformers model: safetensors only, no code of its own, nothing fetched. What it writes is a proposal
that a person reads and changes; it is never painted by itself.
"""

from __future__ import annotations

import re
import threading
import warnings
from pathlib import Path
from typing import Any

from studio.errors import Busy, StudioError, shown
from studio.models import safety
from studio.requests import PROMPT_LIMIT

ASK = (
    "Rewrite this short description of a picture as one rich sentence that says what is there, its light, its colours "
    "and how it is painted. Answer with the sentence alone.\n\n"
)
PLAIN = "Short: {prompt}\nRich:"  # for models that know no conversation
NEW_TOKENS = 120
PATIENCE = 60.0  # seconds after which what is there has to do


class Rewriter:
    """Loads its model when it is first asked, on the CPU, and answers one question at a time.

    Raises StudioError (ModelNotFound, UnsafeModel) for a folder that may not be loaded.
    """

    def __init__(self, folder: Path) -> None:
        safety.check_language_model(folder)
        self.name = folder.resolve().name
        self._folder = folder
        self._loaded: tuple[Any, Any] | None = None
        self._turn = threading.Lock()

    def rewrite(self, prompt: str) -> str:
        """A richer prompt: the same words from the same model every time. Raises StudioError, Busy."""
        if not prompt.strip():
            raise StudioError("Write a few words first: they say what the picture is about.")
        if not self._turn.acquire(blocking=False):
            raise Busy("The words of someone else are being rewritten. Try again in a moment.")
        try:
            return self._written(prompt.strip())
        finally:
            self._turn.release()

    def _written(self, prompt: str) -> str:
        import torch

        tokenizer, model = self._ensure()
        if getattr(tokenizer, "chat_template", None):
            talk = [{"role": "user", "content": ASK + prompt}]
            text = tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=True)
            asked = tokenizer(text, return_tensors="pt", add_special_tokens=False)
        else:
            asked = tokenizer(PLAIN.format(prompt=prompt), return_tensors="pt")
        length = asked["input_ids"].shape[1]
        room = getattr(model.config, "max_position_embeddings", None) or 4096
        if length + 8 > room:
            raise StudioError(f"These words are too many for {self.name}: it reads {room} tokens.")
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about settings of its own that are not used here
            out = model.generate(
                input_ids=asked["input_ids"],
                attention_mask=asked["attention_mask"],
                max_new_tokens=min(NEW_TOKENS, room - length),
                max_time=PATIENCE,
                do_sample=False,
                num_beams=1,
                pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id,
            )
        words = tidied(tokenizer.decode(out[0, length:], skip_special_tokens=True))
        if not words:
            raise StudioError(f"{self.name} found no words. Write a little more, or another way.")
        return words

    def _ensure(self) -> tuple[Any, Any]:
        if self._loaded is None:
            import transformers

            safety.check_language_model(self._folder)  # it may have been changed since the start
            options = {"local_files_only": True, "trust_remote_code": False}
            try:
                tokenizer = transformers.AutoTokenizer.from_pretrained(str(self._folder), **options)
                model = transformers.AutoModelForCausalLM.from_pretrained(
                    str(self._folder), use_safetensors=True, **options
                )
            except Exception as problem:  # whatever a broken or unusual model makes the library raise
                reason = shown(str(problem).strip().splitlines()[0] if str(problem).strip() else repr(problem), 200)
                raise StudioError(f"{self.name} could not be loaded: {reason}") from problem
            self._loaded = tokenizer, model.eval()
        return self._loaded


def tidied(text: str) -> str:
    """The first paragraph of what a model wrote, without quotes and titles around it, as one line of a prompt."""
    paragraphs = [part.strip() for part in re.split(r"\n\s*\n|\n", text) if part.strip()]
    first = paragraphs[0] if paragraphs else ""
    first = re.sub(r"^(?:rich|prompt|answer|rewritten prompt)\s*:\s*", "", first, flags=re.IGNORECASE)
    clean = "".join(c if c.isprintable() else " " for c in first)
    return " ".join(clean.split()).strip("\"'“”*` ")[:PROMPT_LIMIT]
