"""Weights act on real pipelines, and where there are none nothing changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import tiny

from studio.engine import Engine
from studio.errors import InvalidRequest
from studio.models import weighting
from studio.models.counting import WordCounter
from studio.prompts.emphasis import parse
from studio.requests import TextToImage

PROMPT = "an oil painting of a lake at sunset"


@pytest.fixture(scope="module", params=["sd", "sdxl"])
def pipe(request: pytest.FixtureRequest) -> Any:
    return tiny(request.param)


def test_words_that_all_count_one_are_handed_on_as_text(pipe: Any) -> None:
    assert weighting.arguments(pipe, r"a (lake:1.0) \(x\)", "") == {"prompt": "a lake (x)"}
    assert weighting.arguments(pipe, "a", r"\[b\]") == {"prompt": "a", "negative_prompt": "[b]"}


def test_weight_one_leaves_every_vector_and_others_move_only_their_tokens(pipe: Any) -> None:
    with torch.inference_mode():
        usual = {"device": pipe.device, "num_images_per_prompt": 1, "do_classifier_free_guidance": False}
        plain = pipe.encode_prompt(PROMPT, **usual)[0]
        empty = pipe.encode_prompt("", **usual)[0]
        same = weighting.weighed(pipe, plain, empty, parse(PROMPT))
        twice = weighting.weighed(pipe, plain, empty, parse(PROMPT.replace("lake", "(lake:2)")))
        none = weighting.weighed(pipe, plain, empty, parse(PROMPT.replace("lake", "(lake:0)")))
    assert torch.equal(same, plain)
    weights = weighting.token_weights(pipe.tokenizer, parse(PROMPT.replace("lake", "(lake:2)")), plain.shape[1])
    moved = torch.tensor(weights) == 2
    assert 0 < moved.sum() < 8
    assert torch.equal(twice[:, ~moved], plain[:, ~moved])
    torch.testing.assert_close(twice[:, moved], 2 * plain[:, moved] - empty[:, moved], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(none[:, moved], empty[:, moved], atol=1e-6, rtol=1e-6)


def test_encoding_keeps_no_graph(pipe: Any) -> None:
    """Which would hold every activation of the text encoders for as long as the run takes."""
    given = weighting.arguments(pipe, "a (lake:1.5)", "(fog:1.5)")
    tensors = [value for value in given.values() if isinstance(value, torch.Tensor)]
    assert len(tensors) >= 2
    assert not any(value.requires_grad for value in tensors)


def test_pooled_vectors_and_the_words_to_leave_out_come_along(pipe: Any) -> None:
    with torch.inference_mode():
        given = weighting.arguments(pipe, "a (lake:1.5)", "(fog:1.5)")
        without = weighting.arguments(pipe, "a (lake:1.5)", "")
    assert given["prompt_embeds"].shape == given["negative_prompt_embeds"].shape
    assert not torch.equal(given["negative_prompt_embeds"], without["negative_prompt_embeds"])
    assert ("pooled_prompt_embeds" in given) == hasattr(pipe, "text_encoder_2")


def test_a_heavier_word_moves_the_picture_further(tiny_model: Any) -> None:
    engine = Engine(str(tiny_model))

    def painted(prompt: str, weighted: bool = True) -> np.ndarray:
        request = TextToImage(
            prompt, width=64, height=64, num_inference_steps=3, model=engine.default_model, weighted=weighted
        )
        return engine.run(request).pixels.astype(int)

    plain = painted(PROMPT, weighted=False)
    assert (painted(PROMPT) == plain).all()
    assert (painted(r"an oil painting of a (lake:1.0) at sunset") == plain).all()
    apart = [np.abs(painted(f"an oil painting of a (lake:{w}) at sunset") - plain).mean() for w in (1.2, 2, 4)]
    assert 0 < apart[0] < apart[1] < apart[2]


@pytest.mark.parametrize("family", ["sd3", "flux", "pixart"])
def test_encoders_that_cannot_weigh_say_so(family: str) -> None:
    pipe = tiny(family)
    assert not weighting.can_weigh(pipe)
    with pytest.raises(InvalidRequest, match="cannot weigh words") as caught:
        weighting.arguments(pipe, "a (lake)", "")
    assert caught.value.field == "prompt"
    assert weighting.arguments(pipe, r"a \(lake\)", "") == {"prompt": "a (lake)"}


def test_tokens_are_counted_as_the_encoder_cuts_them(pipe: Any) -> None:
    counter = WordCounter.of(pipe)
    assert counter is not None
    words = " ".join(["lake"] * 200)
    found = counter.count(words)
    assert found.limit == pipe.tokenizer.model_max_length - 2
    assert found.cut_at is not None
    read, beyond = words[: found.cut_at], words[found.cut_at :]
    cut = pipe.tokenizer(words, truncation=True, max_length=pipe.tokenizer.model_max_length)["input_ids"]
    assert pipe.tokenizer(read.strip())["input_ids"] == cut
    assert beyond
    assert counter.count("lake").cut_at is None
    assert counter.count("").tokens == 0


def test_the_counter_leaves_the_pipelines_tokenizer_alone(pipe: Any) -> None:
    counter = WordCounter.of(pipe)
    assert counter is not None
    before = pipe.tokenizer("a lake", padding="max_length", max_length=12, truncation=True)["input_ids"]
    counter.count("word " * 500)
    assert pipe.tokenizer("a lake", padding="max_length", max_length=12, truncation=True)["input_ids"] == before
