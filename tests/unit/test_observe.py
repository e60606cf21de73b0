"""The seam: watching changes nothing, hooks change exactly what they say, and everything is as before afterwards."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from tiny_models import FLOW_FAMILIES, tiny
from torch import Tensor

from studio.diffusion.layout import Line
from studio.diffusion.observe import Cancelled, Observed, observe
from studio.diffusion.steps import Step
from studio.errors import StudioError
from studio.models.solvers import FLOW_SOLVERS, make_scheduler
from studio.requests import SOLVERS

STEPS = 6
SD = {
    "_class_name": "DDIMScheduler",
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "clip_sample": False,
}


@pytest.fixture(scope="module")
def pipe() -> Any:
    return tiny("sd")


@pytest.fixture(scope="module", params=FLOW_FAMILIES)
def flow_pipe(request: pytest.FixtureRequest) -> Any:
    return tiny(request.param)


def _call(pipe: Any, seed: int = 0, **further: Any) -> np.ndarray:
    """One picture (1, H, W, 3). It depends on the seed alone."""
    torch.manual_seed(99)  # what draws from the global generator shall not depend on what ran before
    with torch.inference_mode():
        return pipe(
            "a lake at sunset",
            width=64,
            height=64,
            num_inference_steps=STEPS,
            generator=torch.Generator().manual_seed(seed),
            output_type="np",
            **further,
        ).images


# -- watching changes nothing -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", SOLVERS)
def test_observing_changes_no_bit(pipe: Any, solver: str) -> None:
    pipe.scheduler = make_scheduler(solver, SD)
    plain = _call(pipe)
    with observe(pipe) as run:
        watched = _call(pipe)
    np.testing.assert_array_equal(plain, watched)
    assert len(run.steps) == run.steps[0].total == run.steps[0].order * (STEPS - 1) + 1
    assert [step.index for step in run.steps] == list(range(len(run.steps)))


@pytest.mark.parametrize("solver", FLOW_SOLVERS)
def test_observing_a_flow_changes_no_bit(flow_pipe: Any, solver: str) -> None:
    own = dict(flow_pipe.scheduler.config) | {"_class_name": "FlowMatchEulerDiscreteScheduler"}
    flow_pipe.scheduler = make_scheduler(solver, own, torch.Generator().manual_seed(1))
    plain = _call(flow_pipe)
    flow_pipe.scheduler = make_scheduler(solver, own, torch.Generator().manual_seed(1))
    with observe(flow_pipe) as run:
        watched = _call(flow_pipe)
    np.testing.assert_array_equal(plain, watched)
    assert len(run.steps) == run.steps[0].total
    last = run.steps[-1]
    assert last.denoised is not None
    torch.testing.assert_close(last.denoised, last.x_next, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", ["sd-v", "sdxl", "pixart"])
def test_observing_other_families_changes_no_bit(family: str) -> None:
    pipe = tiny(family)
    pipe.scheduler = make_scheduler(
        "DPM++ 2M", SD | {"prediction_type": "v_prediction" if family == "sd-v" else "epsilon"}
    )
    exact_size = {"use_resolution_binning": False} if family == "pixart" else {}
    plain = _call(pipe, **exact_size)
    with observe(pipe) as run:
        np.testing.assert_array_equal(plain, _call(pipe, **exact_size))
    assert [step.index for step in run.steps] == list(range(run.steps[0].total))


@pytest.mark.parametrize("solver", [s for s in SOLVERS if s not in ("DEIS", "LCM")])
def test_last_clean_estimate_decodes_to_the_picture(pipe: Any, solver: str) -> None:
    pipe.scheduler = make_scheduler(solver, SD)
    with observe(pipe) as run, torch.inference_mode():
        picture = _call(pipe)
        decoded = pipe.vae.decode(run.steps[-1].denoised / pipe.vae.config.scaling_factor).sample
    shown = (decoded / 2 + 0.5).clamp(0, 1).movedim(1, -1).numpy()
    np.testing.assert_allclose(shown, picture, atol=1e-4)


def test_what_leaves_a_step_enters_the_next(pipe: Any) -> None:
    pipe.scheduler = make_scheduler("DPM++ 2M", SD)
    with observe(pipe) as run:
        _call(pipe)
    for step, following in zip(run.steps, run.steps[1:], strict=False):
        assert torch.equal(step.x_next, following.x)
        assert step.sigma is not None
        assert following.sigma is not None
        assert step.sigma > following.sigma > 0


def test_steps_are_counted_as_the_request_counts_them(pipe: Any) -> None:
    pipe.scheduler = make_scheduler("Heun", SD)
    with observe(pipe) as run:
        _call(pipe)
    assert [step.number for step in run.steps] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6]
    assert {step.count for step in run.steps} == {STEPS}


def test_counting_starts_over_with_every_run_inside_the_block(pipe: Any) -> None:
    pipe.scheduler = make_scheduler("Euler", SD)
    with observe(pipe) as run:
        _call(pipe)
        _call(pipe)
    assert [step.index for step in run.steps] == [*range(STEPS), *range(STEPS)]


def test_without_a_record_only_the_newest_step_is_kept(pipe: Any) -> None:
    seen: list[int] = []
    pipe.scheduler = make_scheduler("DDIM", SD)
    with observe(pipe, on_step=lambda step: seen.append(step.index), record=False) as run:
        _call(pipe)
    assert seen == list(range(STEPS))
    assert [step.index for step in run.steps] == [STEPS - 1]


def test_steps_given_as_output_objects_are_seen_too() -> None:
    pipe = SimpleNamespace(scheduler=diffusers.DDIMScheduler())
    plain = diffusers.DDIMScheduler()
    x = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    plain.set_timesteps(3)
    with observe(pipe) as run:
        pipe.scheduler.set_timesteps(3)
        output = pipe.scheduler.step(x, pipe.scheduler.timesteps[0], x)
    expected = plain.step(x, plain.timesteps[0], x)
    assert type(output) is type(expected)
    assert torch.equal(output.prev_sample, expected.prev_sample)
    assert torch.equal(output.pred_original_sample, expected.pred_original_sample)
    assert len(run.steps) == 1


def test_the_entering_sample_is_kept_where_a_pipeline_overwrites_it() -> None:
    pipe = SimpleNamespace(scheduler=make_scheduler("Euler", SD))
    with observe(pipe) as run:
        pipe.scheduler.set_timesteps(3)
        x = torch.ones(1, 1, 2, 2)
        x[:] = pipe.scheduler.step(torch.ones_like(x), pipe.scheduler.timesteps[0], x, return_dict=False)[0]
    assert torch.equal(run.steps[0].x, torch.ones(1, 1, 2, 2))


# -- hooks ------------------------------------------------------------------------------------------------------------


def test_hooks_that_return_what_they_got_change_no_bit(pipe: Any) -> None:
    pipe.scheduler = make_scheduler("UniPC", SD)
    plain = _call(pipe)
    with observe(pipe, hooks=[lambda step: step.x_next, lambda step: step.x_next]):
        np.testing.assert_array_equal(plain, _call(pipe))


def test_hooks_run_in_order_and_what_they_return_goes_on(pipe: Any) -> None:
    def add(value: float) -> Callable[[Step], Tensor]:
        return lambda step: step.x_next * 0 + value if step.index == 0 else step.x_next

    pipe.scheduler = make_scheduler("DDIM", SD)
    with observe(pipe, hooks=[add(3.0), lambda step: step.x_next + 1.0 if step.index == 0 else step.x_next]) as run:
        _call(pipe)
    assert torch.equal(run.steps[0].x_next, torch.full_like(run.steps[0].x_next, 4.0))
    assert torch.equal(run.steps[1].x, run.steps[0].x_next)


def test_a_hook_cannot_change_the_dtype_of_the_sample() -> None:
    pipe = SimpleNamespace(scheduler=diffusers.DDIMScheduler())
    with observe(pipe, hooks=[lambda step: step.x_next.double() * 2]):
        pipe.scheduler.set_timesteps(3)
        x = torch.randn(1, 3, 4, 4)
        assert pipe.scheduler.step(x, pipe.scheduler.timesteps[0], x, return_dict=False)[0].dtype == torch.float32


# -- cancelling and failing -------------------------------------------------------------------------------------------


def test_cancel_ends_the_run_with_the_step_that_is_being_computed(pipe: Any) -> None:
    pipe.scheduler = original = make_scheduler("DPM++ 2M", SD)
    with (
        pytest.raises(Cancelled),
        observe(pipe, on_step=lambda step: run.cancel() if step.index == 2 else None) as run,
    ):
        _call(pipe)
    assert [step.index for step in run.steps] == [0, 1, 2]
    assert run.steps[-1].denoised is not None
    assert run.cancelled
    assert pipe.scheduler is original


def test_cancel_from_another_thread_ends_within_one_step(pipe: Any) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def wait_at_the_second(step: Step) -> None:
        if step.index == 1:
            reached.set()
            assert go_on.wait(20)

    def stop() -> None:
        assert reached.wait(20)
        run.cancel()
        go_on.set()

    pipe.scheduler = make_scheduler("Euler", SD)
    with observe(pipe, on_step=wait_at_the_second) as run:
        stopper = threading.Thread(target=stop)
        stopper.start()
        with pytest.raises(Cancelled):
            _call(pipe)
        stopper.join()
    assert len(run.steps) == 2


def test_a_cancelled_pipeline_runs_again_as_if_nothing_had_been(pipe: Any) -> None:
    pipe.scheduler = make_scheduler("DPM++ 2M", SD)
    plain = _call(pipe)
    with pytest.raises(Cancelled), observe(pipe, on_step=lambda step: run.cancel()) as run:
        _call(pipe)
    np.testing.assert_array_equal(plain, _call(pipe))


def test_a_cancelled_pipeline_gives_offloaded_models_back() -> None:
    freed: list[bool] = []
    pipe = SimpleNamespace(scheduler=diffusers.DDIMScheduler(), maybe_free_model_hooks=lambda: freed.append(True))
    x = torch.zeros(1, 1, 2, 2)
    with pytest.raises(Cancelled), observe(pipe) as run:
        pipe.scheduler.set_timesteps(2)
        run.cancel()
        pipe.scheduler.step(x, pipe.scheduler.timesteps[0], x)
    assert freed == [True]


def test_a_pipeline_that_fails_gives_offloaded_models_back() -> None:
    """Else what ran out of memory would still be there when somebody tries a smaller picture."""
    freed: list[bool] = []
    pipe = SimpleNamespace(scheduler=diffusers.DDIMScheduler(), maybe_free_model_hooks=lambda: freed.append(True))
    with pytest.raises(MemoryError), observe(pipe):
        pipe.scheduler.set_timesteps(2)
        raise MemoryError
    assert freed == [True]


@pytest.mark.parametrize("where", ["in the model", "in a hook", "in on_step"])
def test_the_scheduler_is_restored_after_an_exception(pipe: Any, where: str) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError(where)

    pipe.scheduler = original = make_scheduler("Euler", SD)
    unet = pipe.unet
    if where == "in the model":
        pipe.unet = copy.copy(unet)
        pipe.unet.forward = fail
    hooks = [fail] if where == "in a hook" else []
    try:
        with pytest.raises(ZeroDivisionError), observe(pipe, hooks, fail if where == "in on_step" else None):
            _call(pipe)
    finally:
        pipe.unet = unet
    assert pipe.scheduler is original
    assert not isinstance(pipe.scheduler, Observed)


def test_a_pipeline_that_is_observed_already_is_refused(pipe: Any) -> None:
    pipe.scheduler = original = make_scheduler("Euler", SD)
    with observe(pipe):
        with pytest.raises(StudioError, match="already"), observe(pipe):
            pass
        assert isinstance(pipe.scheduler, Observed), "the first block still watches"
    assert pipe.scheduler is original


# -- what a pipeline inspects is as before ----------------------------------------------------------------------------


@pytest.mark.parametrize("solver", SOLVERS)
def test_everything_that_pipelines_inspect_is_as_before(solver: str, tmp_path: Path) -> None:
    plain = make_scheduler(solver, SD)
    pipe = SimpleNamespace(scheduler=plain)
    with observe(pipe):
        watched = pipe.scheduler
        assert isinstance(watched, type(plain))
        assert isinstance(watched, diffusers.SchedulerMixin)
        assert type(watched).__name__ == type(plain).__name__
        assert type(watched).__module__ == type(plain).__module__
        for method in ("step", "set_timesteps"):
            assert inspect.signature(getattr(watched, method)) == inspect.signature(getattr(plain, method))
        assert dict(watched.config) == dict(plain.config)
        assert {c.__name__ for c in watched.compatibles} == {c.__name__ for c in plain.compatibles}
        watched.save_pretrained(tmp_path / "watched")
    plain.save_pretrained(tmp_path / "plain")
    saved = [json.loads((tmp_path / name / "scheduler_config.json").read_text()) for name in ("watched", "plain")]
    assert saved[0] == saved[1]


def test_a_pipeline_saved_while_it_is_watched_loads_again(pipe: Any, tmp_path: Path) -> None:
    pipe.scheduler = diffusers.EulerDiscreteScheduler(**{k: v for k, v in SD.items() if k[0] == "b"})
    with observe(pipe):
        pipe.scheduler.save_pretrained(tmp_path)
    assert type(diffusers.EulerDiscreteScheduler.from_pretrained(tmp_path)) is diffusers.EulerDiscreteScheduler


def test_a_deep_copy_is_plain_and_steps_for_itself() -> None:
    pipe = SimpleNamespace(scheduler=make_scheduler("Euler", SD))
    plain = type(pipe.scheduler)
    with observe(pipe) as run:
        pipe.scheduler.set_timesteps(3)
        twin = copy.deepcopy(pipe.scheduler)
        x = torch.ones(1, 1, 2, 2)
        twin.step(x, twin.timesteps[0], x)
        assert run.steps == []
        assert type(twin) is plain
        assert pickle.loads(pickle.dumps(twin)).config == twin.config
    assert len(twin.timesteps) == 3


def test_watching_leaves_no_trace_in_the_original_scheduler() -> None:
    original = diffusers.DDIMScheduler()
    before = set(vars(original))
    pipe = SimpleNamespace(scheduler=original)
    with observe(pipe):
        pipe.scheduler.set_timesteps(3)
    assert set(vars(original)) == before
    assert original.num_inference_steps is None


# -- what cannot be watched -------------------------------------------------------------------------------------------


def test_a_pipeline_that_calls_other_pipelines_names_the_one_to_watch(pipe: Any) -> None:
    combined = SimpleNamespace(scheduler=diffusers.DDIMScheduler(), prior_pipe=pipe, decoder_pipe=pipe)
    with pytest.raises(StudioError, match=r"observe\(pipe\.decoder_pipe\)"), observe(combined):
        pass


# -- levels and counting ----------------------------------------------------------------------------------------------


def test_a_run_that_ends_early_counts_the_steps_that_it_makes() -> None:
    pipe = tiny("sdxl")
    pipe.scheduler = make_scheduler("Euler", SD)
    with observe(pipe) as run:
        _call(pipe, denoising_end=0.7)
    assert {step.total for step in run.steps} == {len(run.steps)} == {5}
    with observe(pipe, resume=run.at(2)) as branch:
        _call(pipe, denoising_end=0.7)
    assert [(step.index, step.total) for step in branch.steps] == [(2, 5), (3, 5), (4, 5)]


def test_stable_cascades_scheduler_has_levels_and_estimates() -> None:
    scheduler = diffusers.DDPMWuerstchenScheduler()
    pipe = SimpleNamespace(scheduler=scheduler)
    clean = torch.full((1, 2, 4, 4), 0.3)
    with observe(pipe) as run:
        pipe.scheduler.set_timesteps(6)
        for t in pipe.scheduler.timesteps[:-1]:
            alpha = scheduler._alpha_cumprod(t[None], torch.device("cpu"))
            x = alpha.sqrt() * clean + (1 - alpha).sqrt() * torch.ones_like(clean)
            pipe.scheduler.step(model_output=torch.ones_like(clean), timestep=t[None], sample=x, return_dict=False)
    assert [step.total for step in run.steps] == [6] * 6
    for step in run.steps:
        torch.testing.assert_close(step.denoised, clean, atol=2e-4, rtol=0)
    levels = [step.noise_level for step in run.steps]
    assert levels == sorted(levels, reverse=True)


def test_latents_without_a_known_space_are_watched_and_say_so_when_space_is_asked_for() -> None:
    pipe = SimpleNamespace(scheduler=diffusers.DDIMScheduler())
    with observe(pipe) as run:
        pipe.scheduler.set_timesteps(3)
        x = torch.ones(1, 7)
        pipe.scheduler.step(x, pipe.scheduler.timesteps[0], x, return_dict=False)
    with pytest.raises(StudioError, match="no space"):
        run.steps[0].layout.to_space(run.steps[0].x)


def test_the_layout_of_packed_latents_is_found_and_can_be_given() -> None:
    pipe = tiny("flux")
    with observe(pipe) as run:
        _call(pipe)
    assert run.steps[0].layout.to_space(run.steps[0].x).shape[-2:] == (8, 8)
    given = Line()
    with observe(pipe, layout=given) as run:
        _call(pipe)
    assert run.steps[0].layout is given


def test_a_scheduler_copied_with_all_its_attributes_copies_no_pipeline(pipe: Any) -> None:
    pipe.scheduler = make_scheduler("Euler", SD)
    with observe(pipe) as run:
        attributes = copy.deepcopy(pipe.scheduler.__dict__)  # panorama pipelines keep one such lot for every view
    assert run in attributes.values()


def test_public_names_are_found_and_cost_nothing_until_they_are_used() -> None:
    import studio

    assert studio.observe is observe
    assert {"Correction", "Engine", "TextToImage"} <= set(dir(studio))
    with pytest.raises(AttributeError, match="nothing"):
        studio.nothing  # noqa: B018
    light = "import studio, sys; sys.exit('torch' in sys.modules or 'gradio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", light], check=False).returncode == 0
