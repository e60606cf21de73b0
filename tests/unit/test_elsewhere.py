"""Going on with another solver or number of steps where the run itself begins in the middle of its list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import tiny_transformers as dits
import torch
from tiny_calls import picture
from tiny_families import FAMILIES, Family
from torch import Tensor
from toy_pipeline import SD_NOISE, SHAPE, InterruptibleToyPipeline, ToyPipeline, fresh

from studio.diffusion.observe import Cancelled, Run, observe
from studio.diffusion.run_file import load_recording
from studio.diffusion.start import start_at
from studio.diffusion.steps import Step
from studio.errors import StudioError

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

SOLVERS = {  # some are told where the pipeline begins, some are not; Heun evaluates twice in a step
    "DPM++ 2M": ("DPMSolverMultistepScheduler", {}),
    "DDIM": ("DDIMScheduler", {"clip_sample": False}),
    "Heun": ("HeunDiscreteScheduler", {}),
}


class Unslicing(ToyPipeline):
    """Moves the part of the list that it goes through to its device, as many pipelines do before they slice it."""

    def loop(self, timesteps: Tensor, x: Tensor, generator: torch.Generator | None) -> Tensor:
        return super().loop(timesteps.to("cpu")[:], x, generator)


def paint(pipe: ToyPipeline, steps: int, strength: float, **further: Any) -> tuple[Tensor, Run]:
    torch.manual_seed(0)
    with observe(pipe, **further) as run:
        return pipe(steps, torch.Generator().manual_seed(7), strength=strength), run


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("kind", [ToyPipeline, Unslicing, InterruptibleToyPipeline])
@pytest.mark.parametrize(("steps", "strength"), [(12, 0.5), (6, 0.5), (9, 2 / 3), (8, 0.25), (10, 1.0)])
def test_a_weakened_run_goes_on_with_other_steps_in_its_own_counting(
    kind: type[ToyPipeline], solver: str, steps: int, strength: float, tmp_path: Path
) -> None:
    name, config = SOLVERS[solver]
    pipe = kind(fresh(name, **config))
    _, run = paint(pipe, 6, 0.5)
    order = run.steps[0].order
    old = run.steps[order]
    point = run.at(order).elsewhere()
    _, weakened = paint(pipe, steps, strength)
    painted, branch = paint(pipe, steps, strength, resume=point)
    first = branch.steps[0]
    # at the nearest level of those that the pipeline itself would make
    at_starts = [step for step in weakened.steps if step.index % order == 0]
    nearest = min(at_starts, key=lambda step: abs(step.noise_level - old.noise_level))
    assert (first.index, first.timestep) == (nearest.index, nearest.timestep)
    assert old.n_hat is not None and old.denoised is not None
    torch.testing.assert_close(first.x, first.signal * old.denoised + first.noise * old.n_hat)
    assert [(s.index, s.total) for s in branch.steps] == [(s.index, s.total) for s in weakened.steps[nearest.index :]]
    assert branch.recording.facts.begin_index == weakened.recording.facts.begin_index
    branch.save(tmp_path / "branch.safetensors")
    again = load_recording(tmp_path / "branch.safetensors")
    last = again.steps[-1].index - again.steps[-1].index % order
    assert torch.equal(paint(pipe, steps, strength, resume=again.at(last))[0], painted)
    with pytest.raises(Cancelled):
        paint(pipe, steps, strength, resume=point, until=first.number)


def test_a_branch_of_a_weakened_run_can_be_stopped() -> None:
    pipe = InterruptibleToyPipeline(fresh("DDIMScheduler", clip_sample=False))
    _, run = paint(pipe, 6, 0.5)
    made: list[Step] = []

    def stop(step: Step) -> None:
        made.append(step)
        branch.cancel()

    with pytest.raises(Cancelled), observe(pipe, on_step=stop, resume=run.at(1).elsewhere()) as branch:
        pipe(12, strength=0.5)
    assert [(step.index, step.total) for step in made] == [(3, 6)]


@pytest.mark.parametrize("name", ["sd-inpaint-0.6", "sd-img2img"])
def test_real_pipelines_that_begin_in_the_middle_go_on_elsewhere(name: str, tmp_path: Path) -> None:
    family = FAMILIES[name]
    pipe = family.make()
    with observe(pipe) as run:
        family.run(pipe)
    assert run.recording.facts.begin_index > 0
    point = run.at(run.steps[0].order).elsewhere()
    with observe(pipe, resume=point) as branch, torch.inference_mode():
        made = family.call(pipe, torch.Generator().manual_seed(0), 2 * family.steps)
    assert torch.isfinite(made).all()
    assert branch.steps[-1].index == branch.steps[-1].total - 1
    assert all(0 <= step.index < step.total for step in branch.steps)
    assert abs(branch.steps[0].noise_level - point.step.noise_level) < 0.1
    branch.save(tmp_path / "branch.safetensors")
    assert len(load_recording(tmp_path / "branch.safetensors").steps) == len(branch.steps)


def test_sana_sprint_goes_on_from_a_picture_too() -> None:
    """Unlike the pipeline that starts from noise, this one does not scale what it has prepared once more."""
    size = {"height": 32, "width": 32, "use_resolution_binning": False, "intermediate_timesteps": None}
    call = dits.call_masked(8, image=picture(32), strength=0.6, **size)
    build = dits.sana("SanaSprintImg2ImgPipeline", sprint=True)
    family = Family("sana-sprint-img2img", build, call, (1, 4, 16, 16), steps=10)
    pipe = family.make()
    with observe(pipe) as run:
        whole = family.run(pipe)
    with observe(pipe, resume=run.at(3)):
        assert torch.equal(family.run(pipe, outside=99), whole)


def test_solvers_that_take_what_they_do_not_remember_for_zero_are_refused() -> None:
    """LMS reckons by the place in the schedule how many derivatives it has."""
    multistep = type("LMSDiscreteScheduler", (diffusers.EulerDiscreteScheduler,), {})  # the real one wants scipy
    pipe, zero = ToyPipeline(fresh("EulerDiscreteScheduler")), torch.zeros(SHAPE)
    _, run = paint(pipe, 6, 1.0)
    pipe.scheduler = multistep(**SD_NOISE)
    for resume in (run.at(2).elsewhere(), start_at(2, zero, zero)):
        with pytest.raises(StudioError, match="LMSDiscreteScheduler cannot start in the middle"):
            paint(pipe, 6, 1.0, resume=resume)
