"""The correction and its baseline in whole runs, with real schedulers and a denoiser in closed form."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
)
from torch import Tensor

from studio import observe
from studio.diffusion.baselines import EpsilonScaling
from studio.diffusion.correction import Correction
from studio.diffusion.steps import Step
from studio.diffusion.strengths import Schedule, Strengths
from studio.errors import StudioError

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")  # the schedulers' own, on numpy 2

SPREAD = 0.5  # standard deviation of the data, whose mean is 0
SHAPE = (1, 2, 8, 8)
STEPS = 6

CASES = [
    pytest.param(DDIMScheduler, {"prediction_type": prediction, "clip_sample": False}, id=f"DDIM {prediction}")
    for prediction in ("epsilon", "v_prediction", "sample")
]
CASES += [
    pytest.param(EulerDiscreteScheduler, {"prediction_type": prediction}, id=f"Euler {prediction}")
    for prediction in ("epsilon", "v_prediction")
]
CASES += [
    pytest.param(DPMSolverMultistepScheduler, {"prediction_type": "epsilon"}, id="DPM++ epsilon"),
    pytest.param(HeunDiscreteScheduler, {"prediction_type": "v_prediction"}, id="Heun v_prediction"),
    pytest.param(FlowMatchEulerDiscreteScheduler, {}, id="flow"),
]


class Gaussian:
    """As much of a pipeline as the seam needs. Its model knows the best clean estimate of Gaussian data."""

    def __init__(self, scheduler: Any, epsilon_divided_by: float = 1.0) -> None:
        self.scheduler = scheduler
        self.divisor = epsilon_divided_by

    def __call__(self) -> Tensor:
        scheduler = self.scheduler
        scheduler.set_timesteps(STEPS)
        x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
        x = x * getattr(scheduler, "init_noise_sigma", 1.0)
        for timestep in scheduler.timesteps:
            x = scheduler.step(self.model(x, timestep), timestep, x, return_dict=False)[0]
        return x

    def model(self, x: Tensor, timestep: Tensor) -> Tensor:
        signal, noise = self.level(timestep)
        clean = signal * SPREAD**2 / (signal**2 * SPREAD**2 + noise**2) * x
        kind = self.scheduler.config.get("prediction_type", "flow")
        implied = (x - signal * clean) / noise / self.divisor
        if kind == "epsilon":
            return implied
        if kind == "flow":
            return implied - clean
        if kind == "sample":
            return clean
        scale = (signal**2 + noise**2) ** 0.5
        return (signal * implied - noise * clean) / scale if signal != 1 else (x / scale - clean * scale) / noise

    def level(self, timestep: Tensor) -> tuple[float, float]:
        scheduler = self.scheduler
        if isinstance(scheduler, FlowMatchEulerDiscreteScheduler):
            sigma = float(timestep) / 1000
            return 1 - sigma, sigma
        if isinstance(scheduler, (EulerDiscreteScheduler, HeunDiscreteScheduler)):
            if scheduler.step_index is None:
                scheduler._init_step_index(timestep)
            return 1.0, float(scheduler.sigmas[scheduler.step_index])
        if isinstance(scheduler, DPMSolverMultistepScheduler) and scheduler.step_index is None:
            scheduler._init_step_index(timestep)
        kept = float(scheduler.alphas_cumprod[int(timestep)])
        return kept**0.5, (1 - kept) ** 0.5


def _run(pipe: Gaussian, *hooks: Any) -> tuple[Tensor, list[Step]]:
    with observe(pipe, hooks=hooks) as run:
        made = pipe()
    return made, run.steps


@pytest.mark.parametrize(("kind", "config"), CASES)
def test_zero_correction_leaves_the_run_untouched(kind: Any, config: dict[str, Any]) -> None:
    bare = Gaussian(kind(**config))()
    masked_out = Correction(0.1, 0.1, mask=torch.zeros(8, 8))
    before = Correction(strengths=Strengths.double(0.0, 0.0, variant="before step"))
    for hook in (Correction(), masked_out, before, EpsilonScaling(1.0)):
        assert torch.equal(_run(Gaussian(kind(**config)), hook)[0], bare)


@pytest.mark.parametrize(("kind", "config"), CASES)
def test_the_sample_of_every_step_moves_along_its_difference_to_the_estimate(
    kind: Any, config: dict[str, Any]
) -> None:
    first = Schedule.first(1)
    hook = Correction(strengths=Strengths.double(0.1, -0.05, low_schedule=first, high_schedule=first))
    _, plain = _run(Gaussian(kind(**config)))
    _, steps = _run(Gaussian(kind(**config)), hook)
    last = steps[0].order - 1  # the evaluation that ends the first step
    assert torch.equal(steps[last].x, plain[last].x)
    expected = hook(plain[last])
    assert expected is not plain[last].x_next
    torch.testing.assert_close(steps[last].x_next, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("kind", "config"), CASES)
def test_the_solver_is_given_the_estimate_that_was_corrected_before_the_step(
    kind: Any, config: dict[str, Any]
) -> None:
    hook = Correction(strengths=Strengths.double(0.1, -0.05, variant="before step"))
    _, plain = _run(Gaussian(kind(**config)))
    _, steps = _run(Gaussian(kind(**config)), hook)
    expected = hook.before(plain[0])
    assert expected is not plain[0].denoised
    assert steps[0].denoised is not None
    torch.testing.assert_close(steps[0].denoised, expected, rtol=1e-4, atol=1e-4)
    assert not torch.equal(steps[0].x_next, plain[0].x_next)


@pytest.mark.parametrize(
    ("kind", "config"), [case for case in CASES if "epsilon" in str(case.id)], ids=["DDIM", "Euler", "DPM++"]
)
def test_epsilon_scaling_is_a_model_whose_epsilon_is_divided(kind: Any, config: dict[str, Any]) -> None:
    factor = 1.05
    divided = Gaussian(kind(**config), epsilon_divided_by=factor)()
    scaled, _ = _run(Gaussian(kind(**config)), EpsilonScaling(factor))
    torch.testing.assert_close(scaled, divided, rtol=1e-3, atol=1e-4)
    assert (scaled - Gaussian(kind(**config))()).abs().max() > 1e-2


def test_epsilon_scaling_keeps_sample_noise_and_estimate_in_agreement() -> None:
    x, clean = torch.randn(2, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    step = Step(3, 10, 1, 500.0, 0.5, x, clean, x, signal=0.6, noise=0.8)
    scaled = EpsilonScaling(1.25).before(step)
    implied = (x - 0.6 * clean) / 0.8
    torch.testing.assert_close(0.6 * scaled + 0.8 * implied / 1.25, x)
    assert EpsilonScaling(1.25)(step) is step.x_next


def test_epsilon_scaling_leaves_pure_noise_alone_and_names_what_it_needs() -> None:
    x = torch.ones(SHAPE)
    assert EpsilonScaling().before(Step(0, 10, 1, 999.0, 1.0, x, x, x, signal=0.0, noise=1.0)) is x
    with pytest.raises(StudioError, match="Choose another solver"):
        EpsilonScaling().before(Step(0, 10, 1, 999.0, 1.0, x, None, x, signal=0.5, noise=1.0))
    with pytest.raises(StudioError, match="Choose another solver"):
        EpsilonScaling().before(Step(0, 10, 1, 999.0, None, x, x, x))


@pytest.mark.parametrize(
    ("signal", "noise", "scaled"),
    [
        (4.9e-5, 1.0, False),  # a cosine schedule's first step
        (0.0063, 0.99998, True),  # where DDPM's linear schedule begins
        (1.0, 20_300.0, False),  # the same two, where samples explode
        (1.0, 158.0, True),
        (0.0, 1.0, False),
    ],
)
def test_epsilon_scaling_never_moves_an_estimate_by_more_than_the_noise(
    signal: float, noise: float, scaled: bool
) -> None:
    clean, implied = torch.randn(2, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    x = signal * clean + noise * implied
    changed = EpsilonScaling().before(Step(0, 10, 1, 999.0, None, x, clean, x, signal=signal, noise=noise))
    assert (changed is not clean) == scaled
    assert ((changed - clean).abs() <= implied.abs()).all()


def test_epsilon_scaling_keeps_its_head_in_a_first_step_without_signal() -> None:
    """The cosine schedule with v-prediction: at a signal of 5e-5, dividing epsilon by 1.005 would move x0 by 100."""
    config = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction", "timestep_spacing": "trailing"}
    pipe = Gaussian(DDIMScheduler(**config, clip_sample=False))
    bare = pipe()
    moved, (first, *_) = _run(pipe, EpsilonScaling())
    assert first.signal < 1e-4
    assert 0 < (moved - bare).abs().max() < 0.02
    wild, _ = _run(pipe, EpsilonScaling(least_signal=0.0))
    assert (wild - bare).abs().max() > 10 * (moved - bare).abs().max()


@pytest.mark.parametrize("least", [-0.1, 1.5, float("nan"), "0.005", True])
def test_the_least_signal_is_a_share(least: Any) -> None:
    with pytest.raises(StudioError, match="share of signal from 0 to 1"):
        EpsilonScaling(least_signal=least)


@pytest.mark.parametrize("factor", [0, -1.0, float("nan"), float("inf"), "1.005", True])
def test_epsilon_is_divided_by_positive_numbers_only(factor: Any) -> None:
    with pytest.raises(StudioError, match="Epsilon scaling divides by"):
        EpsilonScaling(factor)


def test_a_correction_that_does_not_fit_leaves_the_pipeline_unharmed() -> None:
    pipe = Gaussian(DDIMScheduler(clip_sample=False))
    scheduler = pipe.scheduler
    bare = pipe()
    with (
        pytest.raises(StudioError, match="does not fit latents"),
        observe(pipe, hooks=[Correction(0.1, mask=torch.eye(9))]),
    ):
        pipe()
    assert pipe.scheduler is scheduler
    assert torch.equal(pipe(), bare)
