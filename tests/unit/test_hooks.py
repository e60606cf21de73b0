"""Hooks where the step is unusual: estimates that the pipeline makes itself, tokens without noise, units of noise."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import diffusers
import pytest
import torch
from toy_pipeline import SHAPE

from studio.diffusion.denoised import Prediction
from studio.diffusion.gap import _Renoise, _Watch
from studio.diffusion.hooks import EarlyHook, in_order
from studio.diffusion.known import KeepKnown
from studio.diffusion.observe import observe
from studio.diffusion.steps import Step

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")


class Halving:
    """Halves the clean estimate that the solver uses."""

    def __call__(self, step: Step) -> torch.Tensor:
        return step.x_next

    def before(self, step: Step) -> torch.Tensor:
        assert step.denoised is not None
        return step.denoised / 2


def test_hooks_run_in_their_order_and_firm_ones_last() -> None:
    keep = KeepKnown(torch.zeros(SHAPE), torch.zeros(SHAPE[-2:]))
    other, halving = (lambda step: step.x_next), Halving()
    assert in_order([keep, other, halving]) == (other, halving, keep)
    assert isinstance(halving, EarlyHook) and isinstance(keep, EarlyHook)
    assert not isinstance(other, EarlyHook)


def test_an_estimate_that_the_pipeline_makes_itself_is_changed_where_the_solver_takes_it_from() -> None:
    """Cosmos hands EDM Euler its own; the model's output is then not looked at."""

    def paint(hooks: list[Any], share: float) -> torch.Tensor:
        pipe = SimpleNamespace(scheduler=diffusers.EDMEulerScheduler())
        with observe(pipe, hooks) as run:
            pipe.scheduler.set_timesteps(4)
            x = torch.ones(SHAPE)
            for t in pipe.scheduler.timesteps:
                clean = share * pipe.scheduler.scale_model_input(x, t).cos()
                x = pipe.scheduler.step(clean, t, x, return_dict=False, pred_original_sample=clean)[0]
                assert run.steps[-1].denoised is not None
        return x

    torch.testing.assert_close(paint([Halving()], 1.0), paint([], 0.5))
    assert not torch.allclose(paint([], 1.0), paint([], 0.5))


def test_tokens_without_noise_stay_what_they_are() -> None:
    """LTX conditions by tokens at noise level 0, of which the model's output says nothing."""
    known = Prediction(1.0, torch.tensor([0.0, 0.5, 1.0])[None, :, None])
    x, output = torch.randn(1, 3, 4), torch.randn(1, 3, 4)
    change = torch.ones(1, 3, 4)
    moved = known.output_for(change, output)
    torch.testing.assert_close(moved[:, 0], output[:, 0])
    torch.testing.assert_close(known.clean(x, moved)[:, 1:], known.clean(x, output)[:, 1:] + 1)


def test_the_gap_is_measured_against_noise_of_the_schedule_s_own_unit() -> None:
    clean, watch = torch.randn(1, 4, 8, 8), _Watch("haar", 1, 1)
    x = torch.zeros(1, 4, 8, 8)
    given = {"signal": 0.6, "noise": 0.8, "signal_next": 0.8, "noise_next": 0.6}
    one, half = (
        _Renoise(clean, [0], watch)(Step(3, 10, 1, 500.0, None, x, x, x, **given, deviation=deviation))
        for deviation in (1.0, 0.5)
    )
    torch.testing.assert_close(half - 0.8 * clean, 0.5 * (one - 0.8 * clean))
