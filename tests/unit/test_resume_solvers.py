"""Every solver on every kind of model: resumed runs are the same bits, and clean estimates the closed form."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from toy_pipeline import InterruptibleToyPipeline, ToyPipeline, cases, fresh

from studio.diffusion.observe import Run, observe
from studio.diffusion.steps import Step

# set_timesteps of some classes hands a tensor to numpy in a way that numpy 2 complains about
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

STEPS = 6
CASES = list(cases())
IDS = [f"{name[:-9]}-{kind}-{'-'.join(map(str, config.values()))}" for name, kind, config in CASES]
matrix = pytest.mark.parametrize(("name", "kind", "config"), CASES, ids=IDS)


def _call(pipe: ToyPipeline, world: int = 0, **options: Any) -> Tensor:
    """One run. `world` is the state of the global generator, that a resumed run finds in disorder."""
    torch.manual_seed(world)
    return pipe(STEPS, torch.Generator().manual_seed(7), **options)


def _recorded(pipe: ToyPipeline, **options: Any) -> tuple[Tensor, Run]:
    with observe(pipe) as run:
        return _call(pipe, **options), run


@matrix
def test_a_resumed_run_is_the_same_bits(name: str, kind: str, config: dict[str, Any]) -> None:
    _check_resuming(ToyPipeline, name, kind, config)


@pytest.mark.parametrize(("name", "kind", "config"), CASES[:10] + CASES[-6:], ids=IDS[:10] + IDS[-6:])
def test_a_run_whose_loop_counts_is_resumed_by_passing_over_its_turns(
    name: str, kind: str, config: dict[str, Any]
) -> None:
    _check_resuming(InterruptibleToyPipeline, name, kind, config)


def _check_resuming(pipeline: type[ToyPipeline], name: str, kind: str, config: dict[str, Any]) -> None:
    """Watches a run and resumes it at four places, with fresh schedulers and other random numbers around."""
    pipe = pipeline(fresh(name, **config), kind)
    plain = _call(pipe)
    pipe.scheduler = fresh(name, **config)
    full, run = _recorded(pipe)
    assert torch.equal(plain, full), "watching changes nothing"
    order, total = run.steps[0].order, run.steps[0].total
    assert len(run.steps) == total
    for index in (0, 2, total // 2 // order * order, (total - 1) // order * order):
        pipe.scheduler = fresh(name, **config)
        with observe(pipe, resume=run.at(index)) as branch:
            resumed = _call(pipe, world=1234 + index)
        assert torch.equal(resumed, full), f"step {index}"
        assert [step.index for step in branch.steps] == list(range(index, total))
        for step, before in zip(branch.steps, run.steps[index:], strict=True):
            assert torch.equal(step.x, before.x)
            assert step.noise_level == before.noise_level


@pytest.mark.parametrize("kind_of_loop", [ToyPipeline, InterruptibleToyPipeline], ids=["trim", "skip"])
@pytest.mark.parametrize("name", ["DDIMScheduler", "DPMSolverMultistepScheduler", "HeunDiscreteScheduler"])
def test_a_weakened_run_is_resumed_in_its_own_counting(name: str, kind_of_loop: type[ToyPipeline]) -> None:
    pipe = kind_of_loop(fresh(name), "epsilon")
    full, run = _recorded(pipe, strength=0.67)
    order = run.steps[0].order
    assert run.steps[0].index == 0
    assert run.steps[0].noise_level < 0.99
    assert len(run.steps) == run.steps[0].total == 4 * order - (order - 1)
    with observe(pipe, resume=run.at(2 * order)):
        assert torch.equal(_call(pipe, world=5, strength=0.67), full)


@pytest.mark.parametrize(
    "name", ["UniPCMultistepScheduler", "EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler"]
)
def test_a_resumed_run_can_be_resumed_again(name: str) -> None:
    pipe = InterruptibleToyPipeline(fresh(name), "epsilon")
    full, run = _recorded(pipe)
    with observe(pipe, resume=run.at(2)) as branch:
        _call(pipe, world=1)
    with observe(pipe, resume=branch.at(4)):
        assert torch.equal(_call(pipe, world=2), full)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", ["EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "LCMScheduler"])
def test_resuming_keeps_every_dtype(name: str, dtype: torch.dtype) -> None:
    pipe = ToyPipeline(fresh(name), "epsilon")
    pipe.unet.to(dtype)
    full, run = _recorded(pipe, dtype=dtype)
    assert full.dtype == dtype
    with observe(pipe, resume=run.at(3)):
        assert torch.equal(_call(pipe, world=1, dtype=dtype), full)


def _in_own_levels(step: Step, truth: Tensor, name: str) -> Tensor:
    """What the solver's clean estimate should be: LCM's boundary condition adds some of the sample to it."""
    if name != "LCMScheduler":
        return truth
    scaled = step.timestep * 10.0
    return scaled / (scaled**2 + 0.25) ** 0.5 * truth + 0.25 / (scaled**2 + 0.25) * step.x


def _tolerance(config: dict[str, Any]) -> dict[str, float]:
    """float32, with a guess that divides by a signal of 0.07 at the first step; UniPC and DPM++ round the timesteps of
    a flow to integers, so that the model sees a level that is up to 5e-4 off."""
    return {"atol": 1e-2, "rtol": 1e-2} if config.get("use_flow_sigmas") else {"atol": 2e-3, "rtol": 2e-3}


@matrix
def test_clean_estimates_and_implied_noise_are_the_closed_form(name: str, kind: str, config: dict[str, Any]) -> None:
    pipe = ToyPipeline(fresh(name, **config), kind)
    _, run = _recorded(pipe)
    levels = [step.noise_level for step in run.steps[:: run.steps[0].order]]
    assert all(0 <= level <= 1 for level in levels)
    if name != "PNDMScheduler":  # which looks twice at its first levels
        assert levels == sorted(levels, reverse=True)
    for step, truth in zip(run.steps, pipe.truths, strict=True):
        assert step.denoised is not None
        torch.testing.assert_close(step.denoised, _in_own_levels(step, truth, name), **_tolerance(config))
        assert step.signal is not None and step.noise is not None and step.n_hat is not None
        torch.testing.assert_close(step.signal * step.denoised + step.noise * step.n_hat, step.x, atol=1e-4, rtol=1e-4)


class _Halve:
    """A hook that lets the solver use half of the clean estimate, and leaves what the solver makes of it alone."""

    def __init__(self) -> None:
        self.told: list[Tensor] = []

    def before(self, step: Step) -> Tensor:
        assert step.denoised is not None
        assert step.x_next is step.x
        self.told.append(step.denoised)
        return step.denoised * 0.5

    def __call__(self, step: Step) -> Tensor:
        return step.x_next


@matrix
def test_a_clean_estimate_changed_before_the_step_is_what_the_solver_uses(
    name: str, kind: str, config: dict[str, Any]
) -> None:
    pipe, hook = ToyPipeline(fresh(name, **config), kind), _Halve()
    with observe(pipe, hooks=[hook]) as run:
        _call(pipe)
    assert len(hook.told) == len(run.steps)
    for step, told, truth in zip(run.steps, hook.told, pipe.truths, strict=True):
        torch.testing.assert_close(told, _in_own_levels(step, truth, name), **_tolerance(config))
        assert step.denoised is not None
        torch.testing.assert_close(step.denoised, told * 0.5, atol=2e-3, rtol=2e-3)


@matrix
def test_a_hook_that_leaves_the_estimate_alone_changes_no_bit(name: str, kind: str, config: dict[str, Any]) -> None:
    class Look(_Halve):
        def before(self, step: Step) -> Tensor:
            assert step.denoised is not None
            return step.denoised

    pipe = ToyPipeline(fresh(name, **config), kind)
    plain = _call(pipe)
    pipe.scheduler = fresh(name, **config)
    with observe(pipe, hooks=[Look()]):
        assert torch.equal(_call(pipe), plain)


@pytest.mark.parametrize("level", [0, 5, -1])
def test_all_solvers_of_one_model_agree_on_how_noisy_a_timestep_is(level: int) -> None:
    found = set()
    for name in ("DDIMScheduler", "EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "HeunDiscreteScheduler"):
        _, run = _recorded(ToyPipeline(fresh(name, timestep_spacing="trailing"), "epsilon"))
        first_halves = run.steps[:: run.steps[0].order]
        found.add((first_halves[level].timestep, round(first_halves[level].noise_level, 5)))
    assert len(found) == 1


def test_estimates_of_a_sample_prediction_are_what_the_model_says() -> None:
    for name in ("DDIMScheduler", "DPMSolverMultistepScheduler", "HeunDiscreteScheduler", "UniPCMultistepScheduler"):
        pipe, hook = ToyPipeline(fresh(name, prediction_type="sample"), "sample"), _Halve()
        with observe(pipe, hooks=[hook]) as run:
            _call(pipe)
        for step, told, truth in zip(run.steps, hook.told, pipe.truths, strict=True):
            torch.testing.assert_close(told, truth)
            torch.testing.assert_close(step.denoised, truth * 0.5, atol=1e-5, rtol=1e-4)
