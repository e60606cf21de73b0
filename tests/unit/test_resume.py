"""Going on from a recorded step: with real pipelines, with changes, elsewhere, and what is refused."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from tiny_models import tiny
from torch import Tensor
from toy_pipeline import SHAPE, InterruptibleToyPipeline, ToyPipeline, fresh

from studio.diffusion.fingerprint import fingerprint, same_model
from studio.diffusion.observe import Cancelled, Run, observe
from studio.diffusion.obstacles import _COUNTING
from studio.diffusion.recording import Moment
from studio.diffusion.steps import Step
from studio.errors import StudioError
from studio.models.solvers import make_scheduler

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

STEPS = 5
PICTURES = {
    "sd": ("Euler a", "DPM++ 2M SDE", "UniPC", "LCM"),
    "sd-v": ("DEIS",),
    "sdxl": ("DPM++ 2M", "Heun"),
    "sd3": ("Heun", "Euler"),
    "flux": ("DPM++ 2M SDE", "UniPC"),
    "pixart": ("DDPM", "DPM++ 2M"),
}


@pytest.fixture(scope="module")
def sd() -> Any:
    return tiny("sd")


@pytest.fixture
def toy() -> Iterator[ToyPipeline]:
    """A pipeline, and the check that it is afterwards as it was."""
    pipe = InterruptibleToyPipeline(fresh("DPMSolverMultistepScheduler"))
    before = dict(vars(pipe))
    yield pipe
    after = vars(pipe)
    for name in ("truths", "_interrupt"):
        before.pop(name, None)
        after.pop(name, None)
    assert before == after


def _paint(pipe: Any, prompt: str = "a lake at sunset", steps: int = STEPS, world: int = 0, **further: Any) -> Any:
    """One picture. `world` is the state of the global generator."""
    torch.manual_seed(world)
    with torch.inference_mode():
        return pipe(
            prompt,
            width=64,
            height=64,
            num_inference_steps=steps,
            generator=torch.Generator().manual_seed(3),
            output_type="np",
            **further,
        ).images


def _call(pipe: ToyPipeline, steps: int = STEPS, world: int = 0, **further: Any) -> Tensor:
    torch.manual_seed(world)
    return pipe(steps, torch.Generator().manual_seed(7), **further)


def _recorded(pipe: ToyPipeline, **further: Any) -> tuple[Tensor, Run]:
    with observe(pipe) as run:
        return _call(pipe, **further), run


# -- real pipelines --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", PICTURES)
def test_a_resumed_picture_is_the_same_bits(family: str) -> None:
    pipe = tiny(family)
    own = pipe.scheduler
    options = {"use_resolution_binning": False, "clean_caption": False} if family == "pixart" else {}
    for solver in PICTURES[family]:

        def solver_again(name: str = solver) -> Any:
            return make_scheduler(name, own, torch.Generator().manual_seed(5))

        pipe.scheduler = solver_again()
        with observe(pipe) as run:
            full = _paint(pipe, **options)
        order = run.steps[0].order
        for index in (0, 2 * order, (STEPS - 1) * order):
            pipe.scheduler = solver_again()
            with observe(pipe, resume=run.at(index)) as branch:
                resumed = _paint(pipe, world=100 + index, **options)
            np.testing.assert_array_equal(resumed, full, err_msg=f"{solver} at {index}")
            assert len(branch.steps) == len(run.steps) - index


def test_noise_from_the_global_generator_is_drawn_again() -> None:
    pipe = tiny("flux")
    pipe.scheduler.register_to_config(stochastic_sampling=True)  # flow pipelines hand no generator to the solver
    with observe(pipe) as run:
        full = _paint(pipe, world=1)
    with observe(pipe, resume=run.at(2)):
        np.testing.assert_array_equal(_paint(pipe, world=2), full)


def test_every_generator_of_a_list_goes_on_where_it_was(sd: Any) -> None:
    def paint(world: int) -> Any:
        torch.manual_seed(world)
        both = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
        with torch.inference_mode():
            return sd(
                ["a lake", "a boat"], width=64, height=64, num_inference_steps=STEPS, generator=both, output_type="np"
            ).images

    sd.scheduler = make_scheduler("Euler a", sd.scheduler)
    with observe(sd) as run:
        full = paint(0)
    with observe(sd, resume=run.at(3)):
        np.testing.assert_array_equal(paint(1), full)


def test_another_prompt_takes_over_from_the_step_on(sd: Any) -> None:
    sd.scheduler = make_scheduler("DPM++ 2M", sd.scheduler)
    with observe(sd) as run:
        full = _paint(sd)
    with observe(sd, resume=run.at(3)) as branch:
        other = _paint(sd, "an oil painting of a red boat")
    assert torch.equal(branch.steps[0].x, run.steps[3].x)
    assert not torch.equal(branch.steps[0].denoised, run.steps[3].denoised)
    assert np.abs(other - full).max() > 0


def test_a_cancelled_run_can_be_finished(sd: Any) -> None:
    sd.scheduler = make_scheduler("UniPC", sd.scheduler)
    full = _paint(sd)
    with pytest.raises(Cancelled), observe(sd, on_step=lambda s: run.cancel() if s.index == 2 else None) as run:
        _paint(sd)
    with observe(sd, resume=run.at(2)):
        np.testing.assert_array_equal(_paint(sd, world=9), full)


def test_a_callback_can_still_interrupt_a_resumed_run(sd: Any) -> None:
    def interrupt(pipe: Any, index: int, timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
        pipe._interrupt = index == 3
        return values

    sd.scheduler = make_scheduler("DDIM", sd.scheduler)
    with observe(sd) as run:
        _paint(sd)
    with observe(sd, resume=run.at(2)) as branch:
        _paint(sd, callback_on_step_end=interrupt)
    assert [step.index for step in branch.steps] == [2, 3]


def test_a_pipeline_whose_weights_lie_elsewhere_is_watched_and_resumed() -> None:
    pipe, offloaded = tiny("sd"), tiny("sd")
    for component in (offloaded.unet, offloaded.text_encoder, offloaded.vae):
        from accelerate import cpu_offload

        cpu_offload(component, torch.device("cpu"))  # as enable_sequential_cpu_offload does on a GPU
    pipe.scheduler = make_scheduler("Euler", pipe.scheduler)
    offloaded.scheduler = make_scheduler("Euler", offloaded.scheduler)
    with observe(pipe) as run:
        full = _paint(pipe)
    assert next(offloaded.unet.parameters()).device.type == "meta"
    with observe(offloaded, resume=run.at(2)):
        np.testing.assert_array_equal(_paint(offloaded, world=4), full)


@pytest.mark.parametrize(("family", "solver", "steps"), [("sd", "LCM", 3), ("pixart", "DPM++ 2M", 1)])
def test_what_a_hook_changes_at_the_last_step_is_seen_in_the_picture(family: str, solver: str, steps: int) -> None:
    pipe = tiny(family)
    pipe.scheduler = make_scheduler(solver, pipe.scheduler)
    options = {"use_resolution_binning": False, "clean_caption": False} if family == "pixart" else {}
    with observe(pipe) as run:
        plain = _paint(pipe, steps=steps, **options)
    last = run.steps[-1]
    with observe(pipe, hooks=[lambda s: s.x_next + 1 if s.index == steps - 1 else s.x_next]) as changed:
        moved = _paint(pipe, steps=steps, **options)
    assert last.index == steps - 1
    torch.testing.assert_close(changed.steps[-1].x_next, last.x_next + 1)
    assert np.abs(moved - plain).max() > 1e-4


def test_the_second_element_of_the_last_step_follows_the_hooks() -> None:
    # latent consistency pipelines decode it, and not the sample
    pipe = ToyPipeline(fresh("LCMScheduler"))
    with observe(pipe, hooks=[lambda step: step.x_next + 1]) as run:
        pipe.scheduler.set_timesteps(2)
        x = torch.ones(SHAPE)
        for t in pipe.scheduler.timesteps:
            before = x
            x, clean = pipe.scheduler.step(before * 0.1, t, before, return_dict=False)
            assert torch.equal(x, run.steps[-1].x_next)
            expected = x if run.steps[-1].index == 1 else run.steps[-1].denoised
            assert torch.equal(clean, expected)
        pipe.scheduler.set_timesteps(1)
        output = pipe.scheduler.step(x, pipe.scheduler.timesteps[0], x)
        assert torch.equal(output.denoised, output.prev_sample)
        assert torch.equal(output.denoised, run.steps[-1].x_next)


# -- what a point carries ---------------------------------------------------------------------------------------------


def test_a_changed_sample_is_what_enters(toy: ToyPipeline) -> None:
    full, run = _recorded(toy)
    point = run.at(2)
    moved = replace(point, moment=replace(point.moment, x=point.moment.x + 0.5))
    with observe(toy, resume=moved) as branch:
        assert not torch.equal(_call(toy), full)
    assert torch.equal(branch.steps[0].x, run.steps[2].x + 0.5)


def test_the_hooks_of_a_point_run_after_those_of_the_person(toy: ToyPipeline) -> None:
    _, run = _recorded(toy)
    point = replace(run.at(2), hooks=(lambda step: step.x_next * 0 + 2,))
    with observe(toy, hooks=[lambda step: step.x_next * 0 + 1], resume=point) as branch:
        _call(toy)
    assert all(torch.equal(step.x_next, torch.full(SHAPE, 2.0)) for step in branch.steps)


def test_resuming_leaves_the_recording_as_it_was(toy: ToyPipeline) -> None:
    _, run = _recorded(toy)
    before = copy.deepcopy([(step.x, step.denoised, step.x_next) for step in run.steps])

    def spoil(step: Step) -> Tensor:
        return step.x_next.mul_(3)

    with observe(toy, resume=run.at(1), hooks=[spoil]):
        _call(toy)
    for step, (x, denoised, x_next) in zip(run.steps, before, strict=True):
        assert torch.equal(step.x, x)
        assert torch.equal(step.denoised, denoised)
        assert torch.equal(step.x_next, x_next)


def test_a_point_knows_its_step_and_its_run(toy: ToyPipeline) -> None:
    _, run = _recorded(toy)
    point = run.at(3)
    assert point.step is run.steps[3]
    assert point.facts.total == STEPS
    assert run.recording.moments[3] is point.moment


@pytest.mark.parametrize("name", ["scale_model_input", "compatibles", "from_config"])
def test_memory_that_names_a_part_of_the_solver_is_refused(toy: ToyPipeline, name: str) -> None:
    _, run = _recorded(toy)
    point = run.at(3)
    hostile = replace(point, moment=replace(point.moment, memory={**point.moment.memory, name: 1.0}))
    with pytest.raises(StudioError, match=f"names `{name}`, which is a part of"), observe(toy, resume=hostile):
        _call(toy)


def test_the_last_call_in_a_block_is_the_one_that_is_resumed(toy: ToyPipeline) -> None:
    with observe(toy) as run:
        _call(toy, steps=3)
        full = _call(toy)
    with observe(toy, resume=run.at(4)):
        assert torch.equal(_call(toy, world=3), full)


def test_a_block_resumes_every_call_in_it(toy: ToyPipeline) -> None:
    full, run = _recorded(toy)
    with observe(toy, resume=run.at(2)) as branch:
        for world in (1, 2):
            assert torch.equal(_call(toy, world=world), full)
    assert [step.index for step in branch.steps] == [2, 3, 4, 2, 3, 4]


# -- elsewhere --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pipeline", [ToyPipeline, InterruptibleToyPipeline], ids=["trim", "skip"])
@pytest.mark.parametrize(
    "name",
    ["EulerDiscreteScheduler", "HeunDiscreteScheduler", "UniPCMultistepScheduler", "DPMSolverSinglestepScheduler"],
)
def test_another_solver_goes_on_at_the_nearest_level_with_the_same_noise(
    name: str, pipeline: type[ToyPipeline]
) -> None:
    pipe = pipeline(fresh("DDIMScheduler", timestep_spacing="trailing", clip_sample=False))
    full, run = _recorded(pipe, steps=60)
    pipe.scheduler = fresh(name) if "Single" in name else fresh(name, timestep_spacing="trailing")
    with observe(pipe, resume=run.at(24).elsewhere()) as branch:
        finished = _call(pipe, steps=90, world=1)
    old, new = run.steps[24], branch.steps[0]
    assert abs(old.noise_level - new.noise_level) < 0.05
    assert new.index % new.order == 0
    assert new.n_hat is not None and old.n_hat is not None and new.denoised is not None
    # in the new representation, the same picture under the same noise
    made = new.signal * old.denoised + new.noise * old.n_hat
    torch.testing.assert_close(new.x, made)
    # all solvers follow the same flow, up to what its steps of 17 and 11 timesteps leave out
    if not hasattr(pipe, "interrupt"):
        torch.testing.assert_close(finished, full, atol=0.06, rtol=0)


def test_elsewhere_with_nothing_else_changed_is_the_same_run_where_solvers_have_no_memory() -> None:
    pipe = ToyPipeline(fresh("EulerAncestralDiscreteScheduler"))
    full, run = _recorded(pipe)
    with observe(pipe, resume=run.at(2).elsewhere()):
        assert torch.equal(_call(pipe, world=1), full)


def test_elsewhere_works_where_latents_are_prepared_before_the_timesteps() -> None:
    pipe = tiny("flux")
    with observe(pipe) as run:
        _paint(pipe)
    pipe.scheduler = make_scheduler("UniPC", pipe.scheduler)
    with observe(pipe, resume=run.at(2).elsewhere()) as branch:
        picture = _paint(pipe, steps=9)
    assert np.isfinite(picture).all()
    assert abs(branch.steps[0].noise_level - run.steps[2].noise_level) < 0.1
    assert branch.steps[0].index > 2


def test_a_solver_that_cannot_start_in_the_middle_is_refused(toy: ToyPipeline) -> None:
    _, run = _recorded(toy)
    original, toy.scheduler = toy.scheduler, fresh("PNDMScheduler", skip_prk_steps=True)
    with pytest.raises(StudioError, match="PNDM"), observe(toy, resume=run.at(2).elsewhere()):
        _call(toy)
    toy.scheduler = original


# -- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [-1, STEPS, 99, True, 2.0, "2", None])
def test_a_step_that_is_not_there_is_refused(toy: ToyPipeline, index: Any) -> None:
    _, run = _recorded(toy)
    with pytest.raises(StudioError, match="not recorded: this run has steps 0 to 4"):
        run.at(index)


def test_a_second_half_of_a_step_is_refused() -> None:
    _, run = _recorded(ToyPipeline(fresh("HeunDiscreteScheduler")))
    with pytest.raises(StudioError, match=r"second half of a step.*Resume at 2 or 4"):
        run.at(3)


def test_nothing_recorded_is_said(toy: ToyPipeline) -> None:
    with observe(toy, record=False) as unrecorded:
        _call(toy)
    with observe(toy) as not_run:
        pass
    for run in (unrecorded, not_run):
        with pytest.raises(StudioError, match="Nothing is recorded"):
            run.at(0)


def _refused(pipe: ToyPipeline, run: Run, match: str, steps: int = STEPS, **further: Any) -> None:
    with pytest.raises(StudioError, match=match), observe(pipe, resume=run.at(2)):
        _call(pipe, steps=steps, **further)


def test_another_model_is_refused(toy: ToyPipeline) -> None:
    _, run = _recorded(toy)
    _refused(InterruptibleToyPipeline(fresh("DPMSolverMultistepScheduler"), mean=0.1), run, "another model")
    _refused(ToyPipeline(fresh("DPMSolverMultistepScheduler")), run, "InterruptibleToyPipeline, not with a ToyPipe")


def test_attention_weights_that_a_lora_was_merged_into_make_another_model() -> None:
    """A UNet built like Stable Diffusion's, of whose many weights the merge changes queries and values alone."""
    unet = diffusers.UNet2DConditionModel(
        block_out_channels=(8, 8, 8, 8), norm_num_groups=4, cross_attention_dim=8, attention_head_dim=2
    )
    before = fingerprint(SimpleNamespace(unet=unet))
    with torch.no_grad():
        for name, weight in unet.named_parameters():
            if ".to_q." in name or ".to_v." in name:
                weight.add_(1e-3)
    assert not same_model(before, fingerprint(SimpleNamespace(unet=unet)))


def test_another_solver_is_refused(toy: ToyPipeline) -> None:
    _, run = _recorded(toy)
    _refused(InterruptibleToyPipeline(fresh("DDIMScheduler")), run, r"DPMSolverMulti.*DDIM.*elsewhere\(\)")
    other = fresh("DPMSolverMultistepScheduler", solver_order=3)
    _refused(InterruptibleToyPipeline(other), run, r"solver_order=2.*has 3.*elsewhere\(\)")


def test_another_number_of_steps_is_refused(toy: ToyPipeline) -> None:
    _, run = _recorded(toy)
    _refused(toy, run, r"had 5 steps, not 7.*num_inference_steps=5.*elsewhere\(\)", steps=7)


def test_another_strength_is_refused(toy: ToyPipeline) -> None:
    _, run = _recorded(toy)
    _refused(toy, run, "went on at timestep.*same strength", strength=0.2)


def test_another_size_is_refused(sd: Any) -> None:
    with observe(sd) as run:
        _paint(sd)
    with pytest.raises(StudioError, match=r"\(1, 4, 8, 8\).*prepares \(2, 4, 8, 8\)"), observe(sd, resume=run.at(1)):
        _paint(sd, num_images_per_prompt=2)
    assert "prepare_latents" not in vars(sd)
    assert "maybe_free_model_hooks" not in vars(sd)


def test_a_pipeline_without_a_scheduler_is_refused() -> None:
    with pytest.raises(StudioError, match="no scheduler"), observe(object()):
        pass


def test_a_generator_of_another_kind_is_refused(toy: ToyPipeline) -> None:
    _, run = _recorded(toy)
    point = run.at(2)
    other = replace(point.moment, generator_states=(torch.zeros(16, dtype=torch.uint8),))  # as long as one of a GPU
    with (
        pytest.raises(StudioError, match="random generator does not fit"),
        observe(toy, resume=replace(point, moment=other)),
    ):
        _call(toy)


class _Twice(ToyPipeline):
    """Goes through its timesteps twice in one call, as FreeInit does."""

    def loop(self, timesteps: Tensor, x: Tensor, generator: torch.Generator | None) -> Tensor:
        x = super().loop(timesteps, x, generator)
        self.scheduler.set_timesteps(STEPS)
        return super().loop(self.scheduler.timesteps, x, generator)


class _Lanes(ToyPipeline):
    """Steps a copy of its scheduler beside it, as LTX-2 does for sound."""

    def loop(self, timesteps: Tensor, x: Tensor, generator: torch.Generator | None) -> Tensor:
        sound = copy.deepcopy(self.scheduler)
        for t in timesteps:
            sound.step(x, t, x)
            x = self.turn(t, x, generator)
        return x


class _Draws(ToyPipeline):
    """Draws noise of its own at the top of every turn."""

    def turn(self, t: Tensor, x: Tensor, generator: torch.Generator | None) -> Tensor:
        return super().turn(t, x + 0.1 * torch.randn(SHAPE, generator=generator), generator)


class _Back(ToyPipeline):
    """Steps its scheduler twice per turn and turns it back in between, as Cosmos does."""

    def turn(self, t: Tensor, x: Tensor, generator: torch.Generator | None) -> Tensor:
        super().turn(t, x, generator)
        self.scheduler._step_index -= 1
        return super().turn(t, x, generator)


class _Caches(ToyPipeline):
    """Its model keeps activations from step to step."""

    def __init__(self, scheduler: Any) -> None:
        super().__init__(scheduler)
        self.unet.is_cache_enabled = True


class StableDiffusionXLAdapterPipeline(ToyPipeline):
    """Its loop counts its steps and cannot pass over them."""


class Lumina2Pipeline(ToyPipeline):
    """Its loop counts its steps where guidance is to end early, and cannot pass over them."""

    def __call__(self, steps: int, generator: torch.Generator | None = None, cfg_trunc_ratio: float = 0.5) -> Tensor:
        result: Tensor = super().__call__(steps, generator)
        return result


class AceStepPipeline(ToyPipeline):
    """Guides with a momentum that it keeps in a variable of its loop."""

    do_classifier_free_guidance = True


@pytest.mark.parametrize(
    ("pipeline", "why"),
    [
        (Lumina2Pipeline, "cfg_trunc_ratio"),
        (AceStepPipeline, "momentum.*guidance_scale=1.0"),
        (_Twice, "several times in one call"),
        (_Lanes, "copies its scheduler"),
        (_Draws, "drew noise of its own"),
        (_Back, "several times at one timestep"),
        (_Caches, "keeps a cache.*disable_cache"),
        (StableDiffusionXLAdapterPipeline, "counts its own steps"),
        (type("StableDiffusionControlNetXSPipeline", (ToyPipeline,), {}), "counts its own steps"),
    ],
)
def test_what_cannot_be_resumed_exactly_is_watched_but_refused(pipeline: type[ToyPipeline], why: str) -> None:
    pipe = pipeline(fresh("EulerDiscreteScheduler"))
    plain = _call(pipe)
    full, run = _recorded(pipe)
    assert torch.equal(plain, full)
    with pytest.raises(StudioError, match=why):
        run.at(1)


def test_pipelines_that_are_refused_by_name_are_those_of_diffusers() -> None:
    assert set(dir(diffusers)) >= _COUNTING


def test_a_cache_that_was_turned_on_since_is_refused(toy: ToyPipeline) -> None:
    _, run = _recorded(toy)
    toy.unet.is_cache_enabled = True
    _refused(toy, run, "keeps a cache")


def test_a_pipeline_that_changes_its_latents_before_the_loop_is_refused() -> None:
    class Scaling(ToyPipeline):
        def loop(self, timesteps: Tensor, x: Tensor, generator: torch.Generator | None) -> Tensor:
            return super().loop(timesteps, x * 2, generator)

    pipe = Scaling(fresh("DDIMScheduler"))
    _, run = _recorded(pipe)
    _refused(pipe, run, "changes its latents between")


def test_methods_that_a_person_put_on_a_pipeline_are_kept(toy: ToyPipeline) -> None:
    mine = toy.prepare_latents
    vars(toy)["prepare_latents"] = mine
    with observe(toy):
        assert toy.prepare_latents is not mine
        _call(toy)
    assert vars(toy).pop("prepare_latents") is mine


# -- what a record takes ----------------------------------------------------------------------------------------------


def _bytes(run: Run) -> int:
    """Memory of everything recorded, every storage once."""
    storages: dict[int, int] = {}

    def add(value: Any) -> None:
        if isinstance(value, Tensor):
            storages[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        elif isinstance(value, list | tuple):
            for item in value:
                add(item)

    for step in run.recording.steps:
        add([step.x, step.denoised, step.x_next])
    for moment in run.recording.moments:
        add([moment.x, *moment.memory.values(), moment.torch_state, moment.generator_states])
    return sum(storages.values())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("name", ["EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "DDPMScheduler"])
def test_a_recorded_run_of_thirty_steps_at_1024_pixels_takes_at_most_16_mib(name: str, mode: Any) -> None:
    pipe = ToyPipeline(fresh(name))
    with mode(), observe(pipe) as run:
        pipe.scheduler.set_timesteps(30)
        x = torch.randn(1, 4, 128, 128)
        for t in pipe.scheduler.timesteps:
            seen = pipe.scheduler.scale_model_input(x, t)
            x = pipe.scheduler.step(seen, t, x, return_dict=False)[0]
    assert len(run.steps) == 30
    assert 30 * 2 * x.nbytes < _bytes(run) <= 16 * 2**20


def test_moments_share_their_tensors_with_the_steps() -> None:
    _, run = _recorded(ToyPipeline(fresh("DPMSolverMultistepScheduler")))
    steps, moments = run.recording.steps, run.recording.moments
    for earlier, later, moment in zip(steps, steps[1:], moments[1:], strict=False):
        assert later.x is earlier.x_next
        assert moment.x is later.x
        assert _history(moment)[-1] is earlier.denoised


def _history(moment: Moment) -> list[Tensor]:
    history: list[Tensor] = moment.memory["model_outputs"]
    return history


def test_a_run_that_is_over_lets_go_of_its_pipeline(toy: ToyPipeline) -> None:
    _, run = _recorded(toy)
    assert all(value is not toy for value in vars(run).values())
