"""Calling a pipeline several times for one run: what is recorded of it, and what is not computed again."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from toy_pipeline import SHAPE, ToyPipeline, fresh

from studio.diffusion.harmonise import Rewind, harmonising
from studio.diffusion.known import KeepKnown
from studio.passage import Going

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

STEPS = 12


class Worded(ToyPipeline):
    """Reads its words as diffusers' pipelines do."""

    read: list[Any]

    def encode_prompt(self, prompt: str, device: Any = None, embeds: Tensor | None = None) -> tuple[Tensor, None]:
        self.read.append(prompt)
        return torch.full((2,), float(len(prompt))), None

    def __call__(self, prompt: str, **arguments: Any) -> Tensor:
        found, _ = self.encode_prompt(prompt, device=torch.device("cpu"))
        assert float(found[0]) == len(prompt)
        return super().__call__(STEPS, torch.Generator().manual_seed(7))


@pytest.fixture
def pipe() -> Worded:
    pipe = Worded(fresh("EulerDiscreteScheduler"))
    pipe.read = []
    return pipe


def going(pipe: Worded, record: bool) -> tuple[Going, Rewind, Tensor]:
    mask = torch.zeros(SHAPE[-2:])
    mask[:, 3:] = 1
    keep = KeepKnown(torch.zeros(SHAPE), mask, 3)
    made = Going(pipe, (keep,), lambda step, run: None, record)
    rewind = Rewind(harmonising(STEPS, 2, 2), seed=5, whole=record)
    return made, rewind, made.again_and_again({"prompt": "a red boat"}, rewind)


def test_words_are_read_once_for_all_turns(pipe: Worded) -> None:
    _, rewind, _ = going(pipe, True)
    assert len(rewind.plan.passes) > 10
    assert pipe.read == ["a red boat"]
    assert "encode_prompt" not in vars(pipe)
    going(pipe, True)
    assert pipe.read == ["a red boat"] * 2  # not remembered beyond the run


def test_other_words_are_read_anew_and_a_failure_leaves_the_pipeline_as_it_was(pipe: Worded) -> None:
    from studio.passage import _encoding_once

    embeds = torch.zeros(2)
    with pytest.raises(ZeroDivisionError), _encoding_once(pipe):
        for words in ("a", "b", "a"):
            pipe.encode_prompt(words)
        pipe.encode_prompt("a", embeds=embeds)
        pipe.encode_prompt("a", embeds=embeds)
        pipe.encode_prompt("a", embeds=embeds.clone())
        1 / 0  # noqa: B018
    assert pipe.read == ["a", "b", "a", "a"]
    assert "encode_prompt" not in vars(pipe)


def test_a_pipeline_s_own_way_of_reading_words_stays_its_own(pipe: Worded) -> None:
    """One that a person has put on this instance, and that is not its class's."""
    own, usual = [], pipe.encode_prompt

    def encode_prompt(prompt: str, **further: Any) -> Any:
        own.append(prompt)
        return usual(prompt, **further)

    vars(pipe)["encode_prompt"] = encode_prompt
    going(pipe, True)
    assert own == ["a red boat"]
    assert vars(pipe)["encode_prompt"] is encode_prompt


def test_a_run_that_nobody_looks_at_keeps_few_of_its_steps(pipe: Worded) -> None:
    recorded, whole, painted = going(pipe, True)
    assert recorded.recording is whole.recording and len(whole.recording.steps) == STEPS
    plain, rewind, same = going(pipe, False)
    assert plain.recording is None
    assert len(rewind.recording.steps) <= 4  # of the newest turn
    assert torch.equal(same, painted)
