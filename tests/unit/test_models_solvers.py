"""Every solver, on every kind of model, at every number of steps: against a model that is known in closed form.

The pictures are Gaussian, each position with its own mean and the same spread, so the best clean estimate, and with it
what a perfectly trained model of each kind puts out, is a formula. Where a solver should end follows from the noise it
begins with.
"""

from __future__ import annotations

import inspect
import json
import math
from types import SimpleNamespace
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from torch import Tensor

from studio.errors import InvalidRequest
from studio.models.schedulers import trailing_timesteps
from studio.models.solvers import FLOW_SOLVERS, make_scheduler, solvers_for
from studio.requests import SOLVERS, STEPS_RANGE

SPREAD = 0.3
MEAN = torch.linspace(-1, 1, 16, dtype=torch.float64).view(1, 1, 1, 16)
STOCHASTIC = ("DPM++ 2M SDE", "Euler a", "DDPM", "LCM")

STABLE_DIFFUSION = {
    "_class_name": "PNDMScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
}
PAINTER = {
    "_class_name": "DDIMScheduler",
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",
}
VARIANCE_PRESERVING = {
    "epsilon": STABLE_DIFFUSION,
    "v": {**STABLE_DIFFUSION, "prediction_type": "v_prediction"},
    "sample": {**STABLE_DIFFUSION, "_class_name": "DDPMScheduler", "prediction_type": "sample"},
    "zero-snr": {**STABLE_DIFFUSION, "prediction_type": "v_prediction", "rescale_betas_zero_snr": True},
    "cosine": PAINTER,
}
FLOW = {
    "sd3": {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0},
    "flux": {
        "_class_name": "FlowMatchEulerDiscreteScheduler",
        "shift": 3.0,
        "use_dynamic_shifting": True,
        "base_shift": 0.5,
        "max_shift": 1.15,
    },
    "terminal": {
        "_class_name": "FlowMatchEulerDiscreteScheduler",
        "shift": 1.0,
        "use_dynamic_shifting": True,
        "shift_terminal": 0.02,
    },
    "sana": {
        "_class_name": "DPMSolverMultistepScheduler",
        "prediction_type": "flow_prediction",
        "use_flow_sigmas": True,
        "flow_shift": 3.0,
    },
}
KINDS = {**VARIANCE_PRESERVING, **FLOW}
PAIRS = [(kind, solver) for kind, config in KINDS.items() for solver in solvers_for(config)]


def noise(shape: tuple[int, ...] = (1, 4, 16, 16)) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def model(config: dict[str, Any], x: Tensor, timestep: Tensor) -> Tensor:
    """What a perfect model of this kind puts out at `x`, given with unit variance (or, for a flow, as it is)."""
    x = x.double()
    if config["_class_name"].startswith("Flow") or config.get("use_flow_sigmas"):
        level = float(timestep) / 1000
        signal, level = 1 - level, max(level, 1e-9)
    else:
        alphas = reference_alphas(config)
        alpha = float(np.interp(float(timestep), np.arange(1000), alphas))
        signal, level = math.sqrt(alpha), math.sqrt(1 - alpha)
    gain = signal * SPREAD**2 / (signal**2 * SPREAD**2 + level**2)
    clean = MEAN + gain * (x - signal * MEAN)
    guessed_noise = (x - signal * clean) / level
    kind = config.get("prediction_type", "epsilon")
    if config["_class_name"].startswith("Flow") or kind == "flow_prediction":
        return (guessed_noise - clean).float()
    if kind == "v_prediction":
        return (signal * guessed_noise - level * clean).float()
    return (clean if kind == "sample" else guessed_noise).float()


def reference_alphas(config: dict[str, Any]) -> np.ndarray[Any, Any]:
    names = ("beta_start", "beta_end", "beta_schedule", "rescale_betas_zero_snr")
    plain = diffusers.DDIMScheduler(**{name: config[name] for name in names if name in config})
    return np.array(plain.alphas_cumprod.tolist())


def run(
    config: dict[str, Any], scheduler: Any, steps: int, seed: int = 1, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, int]:
    """The picture that a solver ends with, and how often it asked the model."""
    dynamic = {"mu": 1.15} if config.get("use_dynamic_shifting") else {}
    scheduler.set_timesteps(steps, **dynamic)
    generator = torch.Generator().manual_seed(seed)
    takes_generator = "generator" in inspect.signature(scheduler.step).parameters
    options = {"generator": generator} if takes_generator else {}
    x = (noise() * getattr(scheduler, "init_noise_sigma", 1.0)).to(dtype)
    for timestep in scheduler.timesteps:
        entering = scheduler.scale_model_input(x, timestep) if hasattr(scheduler, "scale_model_input") else x
        output = model(config, entering, timestep).to(dtype)
        x = scheduler.step(output, timestep, x, return_dict=False, **options)[0]
    return x, len(scheduler.timesteps)


def exact(config: dict[str, Any]) -> Tensor:
    """Where the probability flow leads from `noise`: along it, positions keep their quantile."""
    if config["_class_name"].startswith("Flow") or config.get("use_flow_sigmas"):
        return MEAN + SPREAD * noise().double()
    alpha = max(float(reference_alphas(config)[-1]), 2.0**-24)
    spread_there = math.sqrt(alpha * SPREAD**2 + 1 - alpha)
    return MEAN + SPREAD * (noise().double() - math.sqrt(alpha) * MEAN) / spread_there


def test_all_ten_run_on_variance_preserving_models_and_five_on_flows() -> None:
    assert all(solvers_for(VARIANCE_PRESERVING[kind]) == SOLVERS for kind in ("epsilon", "v", "zero-snr", "cosine"))
    assert all(solvers_for(config) == FLOW_SOLVERS for config in FLOW.values())


@pytest.mark.parametrize(("kind", "solver"), PAIRS)
def test_picture_is_sane_at_every_number_of_steps(kind: str, solver: str) -> None:
    config = KINDS[kind]
    for steps in (1, 2, 3, 5, 8, 20, 61, 122):
        scheduler = make_scheduler(solver, config)
        picture, evaluations = run(config, scheduler, steps)
        assert evaluations == (2 * steps - 1 if solver == "Heun" else steps), steps
        assert torch.isfinite(picture).all(), steps
        distance = picture - MEAN
        assert distance.std() < 1.5 * SPREAD, steps
        assert distance.abs().max() < 7 * SPREAD, steps


@pytest.mark.parametrize(("kind", "solver"), [pair for pair in PAIRS if pair[1] not in STOCHASTIC])
def test_deterministic_solver_converges_to_the_probability_flow(kind: str, solver: str) -> None:
    """At 200 steps within 3 % of the pictures' spread, 5 % for first order.

    Most of that is the last step, from the lowest level walked to none: about 2 % on Stable Diffusion's schedule.
    """
    config = KINDS[kind]
    picture, _ = run(config, make_scheduler(solver, config), 200)
    error = ((picture - exact(config)).square().mean().sqrt() / SPREAD).item()
    assert error < (0.05 if solver in ("Euler", "DDIM") else 0.03)


@pytest.mark.parametrize(
    ("kind", "solver"),
    [p for p in PAIRS if p[0] in VARIANCE_PRESERVING and p[1] in ("DPM++ 2M SDE", "Euler a", "DDPM")],
)
def test_stochastic_solver_ends_in_the_pictures_distribution(kind: str, solver: str) -> None:
    config = VARIANCE_PRESERVING[kind]
    picture, _ = run(config, make_scheduler(solver, config), 200)
    distance = picture - MEAN  # 1024 samples: the mean is known to 0.01, the spread to 0.007
    assert abs(distance.mean().item()) < 0.04
    assert distance.std().item() == pytest.approx(SPREAD, abs=0.03)


@pytest.mark.parametrize("solver", ["DPM++ 2M", "UniPC", "Heun"])
def test_second_order_solver_beats_euler_at_twenty_steps(solver: str) -> None:
    errors = {
        name: (run(PAINTER, make_scheduler(name, PAINTER), 20)[0] - exact(PAINTER)).square().mean().item()
        for name in ("Euler", solver)
    }
    assert errors[solver] < 0.3 * errors["Euler"]


@pytest.mark.parametrize(
    ("solver", "original", "options"),
    [
        ("DPM++ 2M", diffusers.DPMSolverMultistepScheduler, {}),
        ("UniPC", diffusers.UniPCMultistepScheduler, {}),
        ("DEIS", diffusers.DEISMultistepScheduler, {}),
        ("Euler", diffusers.EulerDiscreteScheduler, {}),
        ("Euler a", diffusers.EulerAncestralDiscreteScheduler, {}),
        ("DDIM", diffusers.DDIMScheduler, {"clip_sample": False}),
        ("DDPM", diffusers.DDPMScheduler, {"clip_sample": False}),
        ("DPM++ 2M SDE", diffusers.DPMSolverMultistepScheduler, {"algorithm_type": "sde-dpmsolver++"}),
    ],
)
@pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")  # the originals', on numpy 2
def test_where_the_original_is_right_ours_equals_it(solver: str, original: Any, options: dict[str, Any]) -> None:
    """On the usual schedule, 20 steps divide 1000 and no level is extreme: nothing needed mending there."""
    trained = {name: STABLE_DIFFUSION[name] for name in ("beta_start", "beta_end", "beta_schedule")}
    theirs, _ = run(STABLE_DIFFUSION, original(**trained, timestep_spacing="trailing", **options), 20)
    ours, _ = run(STABLE_DIFFUSION, make_scheduler(solver, STABLE_DIFFUSION), 20)
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=0)  # sums of 20 steps in single precision


@pytest.mark.parametrize("steps", range(STEPS_RANGE[0], STEPS_RANGE[1] + 1))
def test_timesteps_are_as_many_as_asked_for_falling_and_begin_at_the_noisiest(steps: int) -> None:
    timesteps = trailing_timesteps(steps, 1000)
    assert len(timesteps) == steps
    assert timesteps[0] == 999
    assert timesteps[-1] >= 0
    assert (np.diff(timesteps) < 0).all()


def test_more_steps_than_training_levels_are_refused_in_words() -> None:
    config = {**PAINTER, "num_train_timesteps": 100}
    for solver in SOLVERS:
        with pytest.raises(InvalidRequest, match=r"at most, not 101\.") as refusal:
            make_scheduler(solver, config).set_timesteps(101)
        assert refusal.value.field == "num_inference_steps"
        make_scheduler(solver, config).set_timesteps(100)


@pytest.mark.parametrize("steps", [1, 4, 50, 51, 101, 126, 200])
def test_lcm_begins_at_the_noisiest_level_however_many_steps(steps: int) -> None:
    scheduler = make_scheduler("LCM", STABLE_DIFFUSION)
    scheduler.set_timesteps(steps)
    assert int(scheduler.timesteps[0]) == 999
    assert len(scheduler.timesteps) == steps


def test_lcm_keeps_the_ladder_that_its_model_was_distilled_on() -> None:
    distilled = {**STABLE_DIFFUSION, "_class_name": "LCMScheduler", "original_inference_steps": 50}
    scheduler = make_scheduler("LCM", distilled)
    scheduler.set_timesteps(4)
    original = diffusers.LCMScheduler(original_inference_steps=50)
    original.set_timesteps(4)
    assert scheduler.timesteps.tolist() == original.timesteps.tolist()


@pytest.mark.parametrize("solver", STOCHASTIC)
def test_noise_comes_from_the_generator_given(solver: str) -> None:
    state = torch.random.get_rng_state()
    first, again, other = (
        run(STABLE_DIFFUSION, make_scheduler(solver, STABLE_DIFFUSION), 8, seed)[0] for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("kind", FLOW)
def test_on_a_flow_the_noise_comes_from_the_generator_bound_when_the_scheduler_was_made(kind: str) -> None:
    """Pipelines of flow-matching models give `step` no generator."""
    state = torch.random.get_rng_state()

    def paint(seed: int) -> Tensor:
        config = FLOW[kind]
        scheduler = make_scheduler("DPM++ 2M SDE", config, torch.Generator().manual_seed(seed))
        scheduler.set_timesteps(8, **({"mu": 1.15} if config.get("use_dynamic_shifting") else {}))
        x = noise()
        for timestep in scheduler.timesteps:
            x = scheduler.step(model(config, x, timestep), timestep, x, return_dict=False)[0]
        return x

    assert torch.equal(paint(1), paint(1))
    assert not torch.equal(paint(1), paint(2))
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("solver", [name for name in FLOW_SOLVERS if name != "Euler"])
@pytest.mark.parametrize("kind", FLOW)
def test_all_solvers_of_a_flow_shift_their_levels_as_the_models_own(solver: str, kind: str) -> None:
    config = FLOW[kind]
    dynamic = {"mu": 0.8} if config.get("use_dynamic_shifting") else {}
    own, given, alone = (make_scheduler(name, config) for name in ("Euler", solver, solver))
    own.set_timesteps(sigmas=np.linspace(1, 1 / 7, 7), **dynamic)
    given.set_timesteps(sigmas=np.linspace(1, 1 / 7, 7), **dynamic)
    alone.set_timesteps(7, **dynamic)
    for ours in (given, alone):
        walked = ours.timesteps[[0, *range(1, 13, 2)]] if solver == "Heun" else ours.timesteps
        torch.testing.assert_close(walked, own.timesteps)
        assert ours.timesteps.is_floating_point()


@pytest.mark.parametrize("solver", [name for name in SOLVERS if name not in FLOW_SOLVERS])
def test_solver_that_a_flow_does_not_support_is_refused_naming_those_that_work(solver: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        make_scheduler(solver, FLOW["sd3"])
    assert str(refusal.value) == (f"{solver} does not work with this model. These do: {', '.join(FLOW_SOLVERS)}.")
    assert refusal.value.field == "solver"


def test_unknown_solver_is_refused_naming_the_known() -> None:
    with pytest.raises(InvalidRequest, match=r"'PLMS' is not a solver\. Choose one of DPM\+\+ 2M, "):
        make_scheduler("PLMS", STABLE_DIFFUSION)


@pytest.mark.parametrize(
    "config",
    [
        {"_class_name": "SCMScheduler", "prediction_type": "trigflow"},
        {"_class_name": "EDMEulerScheduler", "prediction_type": "epsilon"},
        {"_class_name": "EulerDiscreteScheduler", "prediction_type": "v_prediction", "timestep_type": "continuous"},
        {"_class_name": "FlowMatchEulerDiscreteScheduler", "invert_sigmas": True},
        {"_class_name": "DDIMScheduler", "prediction_type": "trigflow"},
        dict(diffusers.CogVideoXDDIMScheduler().config),  # nameless, and like DDIM but for a setting of its own
        {},
    ],
)
def test_model_with_its_own_kind_of_noise_is_refused_rather_than_painted_wrong(config: dict[str, Any]) -> None:
    assert solvers_for(config) == ()
    with pytest.raises(InvalidRequest, match="only works with its own kind of solver"):
        make_scheduler("Euler", config)


@pytest.mark.parametrize(("kind", "solver"), PAIRS)
def test_configuration_survives_json_and_makes_the_same_scheduler_again(kind: str, solver: str) -> None:
    """A pipeline saved with our scheduler can be loaded with the class of the same name in diffusers."""
    scheduler = make_scheduler(solver, KINDS[kind])
    config = json.loads(scheduler.to_json_string())
    assert hasattr(diffusers, config["_class_name"])
    again = make_scheduler(solver, config)
    first, second = (run(KINDS[kind], each, 5)[0] for each in (scheduler, again))
    torch.testing.assert_close(first, second, atol=1e-3, rtol=0)  # levels are written down as betas, and rounded


@pytest.mark.parametrize("solver", SOLVERS)
def test_scheduler_can_be_given_as_such_or_inside_a_pipeline(solver: str) -> None:
    scheduler = diffusers.DDIMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")
    for given in (
        scheduler,
        scheduler.config,  # which does not say whose it is
        {"_class_name": "DDIMScheduler", **scheduler.config},
        SimpleNamespace(scheduler=scheduler),
    ):
        assert make_scheduler(solver, given).config.prediction_type == "v_prediction"


def test_scheduler_of_a_class_made_for_a_run_counts_as_the_class_it_was_made_from() -> None:
    observed = type("Observed", (diffusers.EulerDiscreteScheduler,), {})
    assert make_scheduler("Heun", observed(prediction_type="v_prediction")).config.prediction_type == "v_prediction"


@pytest.mark.parametrize("solver", SOLVERS)
def test_half_precision_survives_the_noisiest_level(solver: str) -> None:
    """Signal below 2^-24 would need noise beyond what float16 holds. Rounding is coarse: only sanity is asked."""
    config = VARIANCE_PRESERVING["zero-snr"]
    picture, _ = run(config, make_scheduler(solver, config), 20, dtype=torch.float16)
    assert torch.isfinite(picture).all()
    assert (picture.double() - MEAN).std() < 1.5 * SPREAD
