"""The clean estimate of every scheduler class, against a model whose clean estimate is known in closed form.

The pictures are Gaussian, N(mean, spread²), so the best guess of the clean picture at x = signal * clean + noise * n
is mean + gain * (x - signal * mean), gain = signal * spread² / (signal² spread² + noise²). From it follows what a
model of each kind puts out, and the solver must lead the seam back to the guess.
"""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from studio.diffusion.baselines import EpsilonScaling
from studio.diffusion.correction import Correction
from studio.diffusion.denoised import prediction
from studio.diffusion.edits import BandLock
from studio.diffusion.observe import observe
from studio.diffusion.steps import Step
from studio.diffusion.strengths import BEFORE, Strengths
from studio.errors import StudioError
from studio.models.solvers import FLOW_SOLVERS, make_scheduler
from studio.requests import SOLVERS

MEAN, SPREAD = 0.4, 0.6
SD_NOISE = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


def _config(**changed: Any) -> dict[str, Any]:
    """What the configuration file of a Stable Diffusion scheduler says."""
    return {"_class_name": "DDIMScheduler", **SD_NOISE, "prediction_type": "epsilon", **changed}


def _clean_guess(x: Tensor, signal: float, noise: float) -> Tensor:
    gain = signal * SPREAD**2 / (signal**2 * SPREAD**2 + noise**2)
    return MEAN + gain * (x - signal * MEAN)


def _model_output(kind: str, x: Tensor, signal: float, noise: float) -> Tensor:
    clean = _clean_guess(x, signal, noise)
    guessed_noise = (x - signal * clean) / noise
    return {
        "epsilon": guessed_noise,
        "v_prediction": signal * guessed_noise - noise * clean,
        "sample": clean,
        "flow": guessed_noise - clean,  # velocity of x = (1 - s) clean + s noise
    }[kind]


def _walk(scheduler: Any, kind: str, steps: int = 12) -> list[tuple[Step, Tensor]]:
    """Runs the Gaussian model, as a pipeline would; each step with the true guess at the point it was computed at."""
    pipe = SimpleNamespace(scheduler=scheduler)
    truths: list[Tensor] = []
    generator = torch.Generator().manual_seed(0)
    with observe(pipe) as run:
        scheduler = pipe.scheduler
        scheduler.set_timesteps(steps)
        alphas = getattr(scheduler, "alphas_cumprod", None)
        x = torch.randn(2, 4, 6, 5, generator=generator, dtype=torch.float32)
        x = x * float(getattr(scheduler, "init_noise_sigma", 1.0))
        in_sigmas = float(getattr(scheduler, "init_noise_sigma", 1.0)) > 1.01
        for t in scheduler.timesteps:
            if kind == "flow":
                noise = float(t) / scheduler.config.num_train_timesteps
                signal = 1 - noise
                seen = x
            else:
                assert alphas is not None
                # timesteps may lie between training levels (Karras-like spacing); here none does
                alpha = float(alphas[round(float(t))])
                signal, noise = alpha**0.5, (1 - alpha) ** 0.5
                seen = x * signal if in_sigmas else x  # sigma-style solvers hold x = clean + sigma * noise
            truths.append(_clean_guess(seen, signal, noise))
            output = _model_output(kind, seen, signal, noise)
            extra = {"generator": generator} if "generator" in scheduler.step.__code__.co_varnames else {}
            x = scheduler.step(output, t, x, return_dict=False, **extra)[0]
    return list(zip(run.steps, truths, strict=True))


def _check(walk: list[tuple[Step, Tensor]], atol: float) -> None:
    for step, truth in walk:
        assert step.denoised is not None
        torch.testing.assert_close(
            step.denoised, truth, atol=atol, rtol=1e-3, msg=lambda m, n=step.index: f"step {n}: {m}"
        )  # type: ignore[misc]


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_clean_estimate_is_the_closed_form_for_every_solver(solver: str, kind: str) -> None:
    walk = _walk(make_scheduler(solver, _config(prediction_type=kind)), kind)
    if solver == "LCM":  # its boundary condition scales the guess by c_out and adds c_skip * x
        for step, truth in walk:
            assert step.denoised is not None
            scaled = step.timestep * 10.0
            c_skip = 0.25 / (scaled**2 + 0.25)
            c_out = scaled / (scaled**2 + 0.25) ** 0.5
            torch.testing.assert_close(step.denoised, c_out * truth + c_skip * step.x, atol=2e-4, rtol=1e-3)
    else:
        # float32, with a guess that divides by a signal of 0.07 at the first step
        _check(walk, atol=5e-4)


@pytest.mark.parametrize("solver", FLOW_SOLVERS)
def test_clean_estimate_is_the_closed_form_for_every_flow_solver(solver: str) -> None:
    walk = _walk(make_scheduler(solver, {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}), "flow")
    _check(walk, atol=5e-4)


ORIGINALS: list[tuple[str, dict[str, Any]]] = [
    ("DDIMScheduler", {"clip_sample": False}),
    ("DDPMScheduler", {"clip_sample": False}),
    ("DEISMultistepScheduler", {}),
    ("DPMSolverMultistepScheduler", {}),
    ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"}),
    ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    ("DPMSolverSinglestepScheduler", {}),
    ("EulerDiscreteScheduler", {}),
    ("EulerAncestralDiscreteScheduler", {}),
    ("HeunDiscreteScheduler", {}),
    ("PNDMScheduler", {"skip_prk_steps": True}),
    ("SASolverScheduler", {}),
    ("TCDScheduler", {}),
    ("UniPCMultistepScheduler", {}),
    ("UniPCMultistepScheduler", {"predict_x0": False}),
]


@pytest.mark.parametrize(
    ("name", "config"), ORIGINALS, ids=[f"{n[:-9]}-{'-'.join(map(str, c.values()))}" for n, c in ORIGINALS]
)
def test_clean_estimate_is_the_closed_form_for_the_schedulers_that_models_bring(
    name: str, config: dict[str, Any]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # their own constructors warn of numpy 2
        spacing = {} if name == "DPMSolverSinglestepScheduler" else {"timestep_spacing": "trailing"}
        scheduler = getattr(diffusers, name)(**SD_NOISE, **config, **spacing)
        if name == "PNDMScheduler":
            scheduler.set_timesteps(4)
        walk = _walk(scheduler, "epsilon", steps=10)
    if name == "PNDMScheduler":
        walk = walk[:1] + walk[2:]  # its second evaluation looks again at the first level, from the first sample
    _check(walk, atol=2e-3)


@pytest.mark.parametrize("inverted", [False, True])
def test_flow_schedulers_that_walk_from_zero_to_one_end_at_their_estimate(inverted: bool) -> None:
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(invert_sigmas=inverted)
    pipe = SimpleNamespace(scheduler=scheduler)
    with observe(pipe) as run:
        pipe.scheduler.set_timesteps(5)
        x = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(0))
        for t in pipe.scheduler.timesteps:
            x = pipe.scheduler.step(torch.ones_like(x) * 0.3, t, x, return_dict=False)[0]
    for step in run.steps:
        # a constant velocity leads from every point straight to the same end
        torch.testing.assert_close(step.denoised, x, atol=1e-5, rtol=0)


@pytest.mark.parametrize("solver", [s for s in SOLVERS if s != "DEIS"])
def test_last_clean_estimate_is_the_final_sample(solver: str) -> None:
    step, _ = _walk(make_scheduler(solver, _config()), "epsilon")[-1]
    assert step.denoised is not None
    torch.testing.assert_close(step.denoised, step.x_next, atol=1e-5, rtol=1e-5)


def test_deis_ends_at_the_lowest_trained_level_close_to_its_last_estimate() -> None:
    step, _ = _walk(make_scheduler("DEIS", _config()), "epsilon")[-1]
    assert step.denoised is not None
    # the noise that is left: sqrt((1 - a) / a) at a = 1 - 0.00085 is 0.029, for noise within ±4
    torch.testing.assert_close(step.denoised, step.x_next, atol=0.12, rtol=0)


def test_a_scheduler_without_a_known_formula_has_no_clean_estimate() -> None:
    class Strange(diffusers.FlowMatchEulerDiscreteScheduler):  # type: ignore[misc]
        pass

    pipe = SimpleNamespace(scheduler=Strange())
    with observe(pipe) as run:
        pipe.scheduler.set_timesteps(2)
        x = torch.zeros(1, 1, 2, 2)
        pipe.scheduler.step(x, pipe.scheduler.timesteps[0], x)
    assert run.steps[0].denoised is None


@pytest.mark.parametrize(
    "hook", [Correction(strengths=Strengths.low(0.1, variant=BEFORE)), EpsilonScaling(), BandLock([0], torch.zeros(1))]
)
def test_hooks_that_need_an_estimate_say_so_where_none_is_known(hook: Any) -> None:
    class Strange(diffusers.FlowMatchEulerDiscreteScheduler):  # type: ignore[misc]
        pass

    pipe = SimpleNamespace(scheduler=Strange())
    x = torch.zeros(1, 1, 2, 2)
    with observe(pipe, hooks=[hook]), pytest.raises(StudioError, match="scheduler"):
        pipe.scheduler.set_timesteps(2)
        pipe.scheduler.step(x, pipe.scheduler.timesteps[0], x)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_half_precision_estimates_are_computed_in_single_for_hooks_that_change_them(kind: str) -> None:
    """Where SD begins, x0 is the difference of numbers 15 times its size: in float16 it would be off by 1e-2."""
    level = (0.0683, 0.99766)
    known = prediction(diffusers.DDIMScheduler(prediction_type=kind), level, 999, None)
    assert known is not None
    generator = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, 1, 4, 8, 8, generator=generator, dtype=torch.float64)
    x = (level[0] * clean + level[1] * noise).half()
    output = (noise if kind == "epsilon" else level[0] * noise - level[1] * clean).half()
    exact = known.of_sample * x.double() + known.of_output * output.double()
    estimate = known.clean(x, output)
    assert estimate.dtype == torch.float32
    torch.testing.assert_close(estimate.double(), exact, rtol=0, atol=1e-5)  # of float32, at numbers around 50
