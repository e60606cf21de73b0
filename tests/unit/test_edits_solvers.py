"""An edit at step k is carried on by every solver as if it had been there from the beginning."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from studio.diffusion.edits import edited, renoised
from studio.diffusion.levels import read_ladder
from studio.diffusion.observe import observe
from studio.diffusion.parallel import Change

# the schedulers' own, on numpy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

SHAPE = (1, 2, 6, 6)
STEPS = 8


class Toy:
    """A pipeline without a network: its clean estimate is a smooth function of the sample, moved by `shift`.

    The estimate of the moved run is that of the plain run at the sample that the plain run would have there: hence a
    run that is moved at one step should stay parallel to the plain one at all later steps.
    """

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler
        self.shift = Change()

    def prepare_latents(self, generator: torch.Generator) -> Tensor:
        ladder = read_ladder(self.scheduler)
        _, noise = ladder.level(0) or (0.0, 1.0)
        return noise * torch.randn(SHAPE, generator=generator, dtype=torch.float64)

    def __call__(self, seed: int = 3, steps: int = STEPS) -> Tensor:
        scheduler = self.scheduler
        scheduler.set_timesteps(steps)
        ladder = read_ladder(scheduler)
        torch.manual_seed(seed)  # for solvers that draw
        x = self.prepare_latents(torch.Generator().manual_seed(seed))
        for t in scheduler.timesteps:
            if hasattr(scheduler, "scale_model_input"):
                scheduler.scale_model_input(x, t)
            level = ladder.level(ladder.place(scheduler, t, 0))
            assert level is not None
            x = scheduler.step(self._output(x, level), t, x, return_dict=False)[0]
        return x

    def _output(self, x: Tensor, level: tuple[float, float]) -> Tensor:
        signal, noise = level
        change = self.shift.of_sample(level)
        plain = x if change is None else x - change
        clean = torch.tanh(signal * plain / (signal**2 + noise**2)) + 0.1 * plain.roll(1, -1) / (1 + noise)
        if self.shift.clean is not None:
            clean = clean + self.shift.clean
        kind = self.scheduler.config.get("prediction_type", "flow_prediction")
        if kind == "sample":
            return clean
        if kind == "flow_prediction":
            return (x - clean) / noise
        implied = (x - signal * clean) / noise
        if kind == "epsilon":
            return implied
        power = (signal**2 + noise**2) ** 0.5  # solvers that keep samples as clean + sigma * n scale v down
        return (signal * implied - noise * clean) / power


NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def solver(name: str, **options: Any) -> Callable[[], Any]:
    options = options if name.startswith("Flow") else NOISE | options
    return lambda: getattr(diffusers, name)(**options)


FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 2.0}
SOLVERS: dict[str, Callable[[], Any]] = {
    "euler": solver("EulerDiscreteScheduler"),
    "euler a": solver("EulerAncestralDiscreteScheduler"),
    "heun": solver("HeunDiscreteScheduler"),
    "ddim": solver("DDIMScheduler", clip_sample=False, timestep_spacing="trailing"),
    "ddim v": solver("DDIMScheduler", clip_sample=False, timestep_spacing="trailing", prediction_type="v_prediction"),
    "pndm": solver("PNDMScheduler", skip_prk_steps=True, steps_offset=1),
    "dpm++ 2m": solver("DPMSolverMultistepScheduler"),
    "dpm++ 2m v": solver("DPMSolverMultistepScheduler", prediction_type="v_prediction"),
    "dpm++ 2m flow": solver("DPMSolverMultistepScheduler", **FLOW),
    "dpm++ 3m": solver("DPMSolverMultistepScheduler", solver_order=3),
    "dpm++ 2m sde": solver("DPMSolverMultistepScheduler", algorithm_type="sde-dpmsolver++"),
    "dpm++ 2s": solver("DPMSolverSinglestepScheduler", lower_order_final=True),
    "dpm++ 3s": solver("DPMSolverSinglestepScheduler", solver_order=3, lower_order_final=True),
    "deis": solver("DEISMultistepScheduler"),
    "unipc": solver("UniPCMultistepScheduler"),
    "unipc 3": solver("UniPCMultistepScheduler", solver_order=3),
    "unipc eps": solver("UniPCMultistepScheduler", predict_x0=False, final_sigmas_type="sigma_min"),
    "unipc flow": solver("UniPCMultistepScheduler", **FLOW),
    "sa": solver("SASolverScheduler"),
    "flow euler": solver("FlowMatchEulerDiscreteScheduler", shift=2.0),
    "flow heun": solver("FlowMatchHeunDiscreteScheduler", shift=2.0),
}


# these exchange a part of the noise at every step, so that a change of it fades
STOCHASTIC = {"euler a", "dpm++ 2m sde", "sa"}


@pytest.mark.parametrize("k", [2, 3, 5])
@pytest.mark.parametrize(
    ("part", "name"),
    [("clean", name) for name in SOLVERS] + [("noise", name) for name in SOLVERS if name not in STOCHASTIC],
)
def test_moved_run_stays_parallel_to_the_plain_one(name: str, k: int, part: str) -> None:
    """Tolerance: schedulers keep their levels in float32, which third-order coefficients multiply by up to 100."""
    pipe = Toy(SOLVERS[name]())
    with observe(pipe) as run:
        plain_end = pipe()
    order = run.steps[0].order
    step = run.steps[k * order]
    by = torch.randn(SHAPE, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    if part == "clean":
        change = Change(clean=by)
        point = edited(run.at(step.index), step.denoised + by)
    else:
        change = Change(noise=by)
        point = renoised(run.at(step.index), step.n_hat + by)
    pipe.shift = change
    with observe(pipe, resume=point) as branch:
        end = pipe()
    assert [moved.index for moved in branch.steps] == [plain.index for plain in run.steps[step.index :]]
    for moved, plain in zip(branch.steps, run.steps[step.index :], strict=True):
        expected = change.of_sample((plain.signal, plain.noise))
        torch.testing.assert_close(moved.x - plain.x, expected, atol=2e-4, rtol=0)
    last = run.steps[-1]
    expected = change.of_sample((last.signal_next, last.noise_next))
    torch.testing.assert_close(
        end - plain_end, torch.zeros(SHAPE, dtype=torch.float64) if expected is None else expected, atol=2e-4, rtol=0
    )


def test_pndm_with_v_keeps_an_edit_nearly() -> None:
    """It adds up v of different levels, so that no constant change of the past is exactly that of the present."""
    pipe = Toy(solver("PNDMScheduler", skip_prk_steps=True, steps_offset=1, prediction_type="v_prediction")())
    with observe(pipe) as run:
        plain_end = pipe()
    point = edited(run.at(4), run.steps[4].denoised + 1.0)
    pipe.shift = Change(clean=torch.ones(SHAPE, dtype=torch.float64))
    with observe(pipe, resume=point):
        kept = pipe() - plain_end
    assert 0.88 < float(kept.min()) <= float(kept.max()) < 1.02


@pytest.mark.parametrize(("name", "kept_share"), [("dpm++ 2m", 1.16), ("unipc", 0.60), ("unipc flow", 0.71)])
def test_with_the_sample_alone_the_solver_would_change_the_edit(name: str, kept_share: float) -> None:
    """What the memory is moved for: one solver overshoots, the other's corrector takes back. Measured, to 0.02."""
    pipe = Toy(SOLVERS[name]())
    with observe(pipe) as run:
        pipe()
    step = run.steps[4]
    whole = edited(run.at(4), step.denoised + 1.0)
    alone = dataclasses.replace(whole, moment=dataclasses.replace(run.at(4).moment, x=whole.moment.x))
    pipe.shift = Change(clean=torch.ones(SHAPE, dtype=torch.float64))
    with observe(pipe, resume=alone) as branch:
        pipe()
    kept = (branch.steps[1].x - run.steps[5].x) / run.steps[5].signal  # 1 would be right
    assert float(kept.mean()) == pytest.approx(kept_share, abs=0.02)
