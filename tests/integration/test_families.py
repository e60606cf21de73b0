"""The seam with real pipelines of every family: watched, cancelled, corrected, and resumed to the bit.

The pipelines are tiny and have random weights, but their classes, loops and schedulers are the real ones.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_families import FAMILIES, SEVERAL_PASSES, Family
from tiny_transformers import call_masked, negative
from tiny_unets import call_sd
from torch import Tensor

from studio.diffusion.correction import Correction
from studio.diffusion.layout import PLANE, Line
from studio.diffusion.observe import Cancelled, Run, observe
from studio.diffusion.run_file import load_recording
from studio.diffusion.steps import Step
from studio.errors import StudioError

RESUMABLE = [name for name, family in FAMILIES.items() if not family.refuses]
REFUSING = [name for name, family in FAMILIES.items() if family.refuses]
# but for the two that mix precisions in a way that processors do not know
HALF_PRECISION = [name for name in RESUMABLE if name not in ("kandinsky-5", "mochi")]
ELSEWHERE = 12345  # a global random state that no recorded run began with
CORRECTION = Correction(low=0.05, high=-0.03)

pytestmark = [
    pytest.mark.filterwarnings(words)
    for words in (
        # torch and numpy disagree about a keyword where schedulers of diffusers make arrays of their levels
        "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning",
        "ignore:`FluxPosEmbed` is deprecated:FutureWarning",  # Chroma, of itself
        "ignore:In CPU autocast, but the target dtype:UserWarning",  # Mochi, of itself
    )
]


@dataclass(frozen=True, eq=False)
class Case:
    """A pipeline with what it makes unwatched, and one recorded run."""

    family: Family
    pipe: Any
    plain: Tensor
    watched: Tensor
    run: Run

    @property
    def places(self) -> tuple[int, ...]:
        """Three steps to resume at: the second, one in the middle and the last."""
        order, last = self.run.steps[0].order, len(self.run.steps) - 1
        middle = last // 2 - last // 2 % order
        return order, middle, last - last % order


@pytest.fixture(scope="module", params=FAMILIES)
def case(request: pytest.FixtureRequest) -> Case:
    return _made(request.param)


@pytest.fixture(scope="module", params=RESUMABLE)
def resumable(request: pytest.FixtureRequest) -> Case:
    return _made(request.param)


@functools.cache
def _made(name: str) -> Case:
    """Made once for all tests: each of them leaves the pipeline as it was, which others would notice."""
    family = FAMILIES[name]
    pipe = family.make()
    plain = family.run(pipe)
    with observe(pipe) as run:
        watched = family.run(pipe)
    return Case(family, pipe, plain, watched, run)


def _same_step(one: Step, other: Step) -> bool:
    tensors = [(one.x, other.x), (one.denoised, other.denoised), (one.x_next, other.x_next)]
    return (one.index, one.total, one.timestep, one.sigma) == (
        other.index,
        other.total,
        other.timestep,
        other.sigma,
    ) and all(torch.equal(a, b) for a, b in tensors if a is not None and b is not None)


# -- the matrix is what it says ---------------------------------------------------------------------------------------


def test_the_matrix_has_many_pipeline_classes() -> None:
    assert len({type(_made(name).pipe).__name__ for name in FAMILIES}) >= 25


@pytest.mark.parametrize(
    ("name", "switch_off"),
    [
        ("sd-lora", lambda pipe: pipe.disable_lora()),
        ("sd-ip-adapter", lambda pipe: pipe.set_ip_adapter_scale(0.0)),
        ("sd-controlnet", lambda pipe: pipe.controlnet.controlnet_mid_block.requires_grad_(False).weight.zero_()),
    ],
    ids=["lora", "ip-adapter", "controlnet"],
)
def test_what_is_loaded_has_a_part_in_the_result(name: str, switch_off: Callable[[Any], None]) -> None:
    family = FAMILIES[name]
    pipe = family.make()
    with_it = family.run(pipe)
    switch_off(pipe)
    assert not torch.equal(family.run(pipe), with_it)


def test_the_result_depends_on_the_seed(case: Case) -> None:
    assert torch.isfinite(case.plain).all()
    assert not torch.equal(case.family.run(case.pipe, seed=1), case.plain)


# -- watching ---------------------------------------------------------------------------------------------------------


def test_watching_changes_no_bit(case: Case) -> None:
    assert torch.equal(case.watched, case.plain)


def test_every_step_is_recorded(case: Case) -> None:
    steps, family = case.run.steps, case.family
    assert [step.index for step in steps] == list(range(family.evaluations))
    for step in steps:
        assert step.x.shape == step.x_next.shape == family.shape
        assert step.denoised is not None
        assert step.denoised.shape == family.shape
        assert torch.isfinite(step.denoised).all()
        assert step.total == family.evaluations
    levels = [step.noise_level for step in steps]
    assert all(0 <= level <= 1 for level in levels)
    assert levels == sorted(levels, reverse=True)
    assert levels[0] > levels[-1]


def test_the_layout_is_found(case: Case) -> None:
    for step in case.run.steps:
        assert step.layout == case.family.layout
        assert torch.equal(step.layout.from_space(step.layout.to_space(step.x), step.x), step.x)


def test_the_clean_estimate_comes_to_rest(case: Case) -> None:
    """The last one is what the run arrives at, but for solvers that leave some noise at the end."""
    last = case.run.steps[-1]
    assert last.denoised is not None
    first = case.run.steps[0]
    assert (last.denoised - last.x_next).norm() < (first.denoised - last.x_next).norm()


def test_the_implied_noise_adds_up_to_the_sample(case: Case) -> None:
    for step in case.run.steps:
        if step.n_hat is None:
            continue
        again = step.signal * step.denoised + step.noise * step.n_hat
        torch.testing.assert_close(again, step.x, rtol=1e-4, atol=1e-4 * float(step.x.abs().max()))


def test_the_pipeline_is_as_before(case: Case) -> None:
    pipe = case.pipe
    scheduler, attributes, config = pipe.scheduler, dict(vars(pipe)), dict(pipe.config)
    with observe(pipe):
        assert pipe.scheduler is not scheduler
        case.family.run(pipe)
    assert pipe.scheduler is scheduler
    assert dict(pipe.config) == config
    assert vars(pipe).keys() == attributes.keys()
    with pytest.raises(ZeroDivisionError), observe(pipe, on_step=lambda step: 1 // 0):
        case.family.run(pipe)
    assert pipe.scheduler is scheduler
    assert vars(pipe).keys() == attributes.keys()


@pytest.mark.parametrize("name", HALF_PRECISION)
def test_half_precision_is_watched_and_resumed_to_the_bit(name: str) -> None:
    family = FAMILIES[name]
    pipe = family.make().to(torch.bfloat16)
    plain = family.run(pipe)
    with observe(pipe) as run:
        assert torch.equal(family.run(pipe), plain)
    with observe(pipe, hooks=[CORRECTION]) as corrected:
        assert not torch.equal(family.run(pipe), plain)
    # diffusers computes steps in float32 in some loops; a hook hands back what it was given
    assert [step.x_next.dtype for step in corrected.steps] == [step.x_next.dtype for step in run.steps]
    with observe(pipe, resume=run.at(2)):
        assert torch.equal(family.run(pipe, outside=ELSEWHERE), plain)


# -- cancelling -------------------------------------------------------------------------------------------------------


def test_a_cancelled_run_ends_at_the_step_and_the_pipeline_goes_on_working(case: Case) -> None:
    family, pipe = case.family, case.pipe
    scheduler = pipe.scheduler

    def stop(step: Step) -> None:
        if step.index == 2:
            run.cancel()

    with pytest.raises(Cancelled), observe(pipe, on_step=stop) as run:
        family.run(pipe)
    assert run.cancelled
    assert [step.index for step in run.steps] == [0, 1, 2]
    assert _same_step(run.steps[2], case.run.steps[2])
    assert pipe.scheduler is scheduler
    assert torch.equal(family.run(pipe), case.plain)


# -- correcting -------------------------------------------------------------------------------------------------------


def test_a_correction_acts(case: Case) -> None:
    with observe(case.pipe, hooks=[CORRECTION]) as run:
        corrected = case.family.run(case.pipe)
    assert not torch.equal(corrected, case.plain)
    assert torch.isfinite(corrected).all()
    second = run.steps[0].order  # what is corrected is the whole step, not its first half
    assert all(torch.equal(run.steps[k].x, case.run.steps[k].x) for k in range(second))
    assert not torch.equal(run.steps[second].x, case.run.steps[second].x)


def test_a_correction_works_on_space_however_latents_lie(case: Case) -> None:
    step = case.run.steps[2 * case.run.steps[0].order - 1]
    layout = step.layout
    in_space = replace(
        step,
        x=layout.to_space(step.x),
        denoised=layout.to_space(step.denoised),
        x_next=layout.to_space(step.x_next),
        layout=PLANE if layout.axes == 2 else Line(),
    )
    assert torch.equal(layout.to_space(CORRECTION(step)), CORRECTION(in_space))
    assert not torch.equal(CORRECTION(step), step.x_next)


def test_a_correction_of_strength_zero_changes_no_bit(case: Case) -> None:
    with observe(case.pipe, hooks=[Correction(low=0.0, high=0.0)]):
        assert torch.equal(case.family.run(case.pipe), case.plain)


# -- resuming ---------------------------------------------------------------------------------------------------------


def test_the_matrix_knows_who_draws_noise_while_stepping(resumable: Case) -> None:
    """Else a generator that is not put back would go unnoticed."""
    moments = resumable.run.recording.moments
    states = [torch.cat([moment.torch_state, *moment.generator_states]) for moment in moments]
    assert all(torch.equal(state, states[0]) for state in states) == (not resumable.family.draws)


@pytest.mark.parametrize("place", [0, 1, 2], ids=["second", "middle", "last"])
def test_a_resumed_run_is_the_whole_run_to_the_bit(resumable: Case, place: int) -> None:
    index = resumable.places[place]
    with observe(resumable.pipe, resume=resumable.run.at(index)) as tail:
        resumed = resumable.family.run(resumable.pipe, outside=ELSEWHERE)
    assert torch.equal(resumed, resumable.plain)
    assert [step.index for step in tail.steps] == list(range(index, resumable.family.evaluations))
    for step in tail.steps:
        assert _same_step(step, resumable.run.steps[step.index])


def test_a_run_from_a_file_resumes_to_the_bit(resumable: Case, tmp_path: Path) -> None:
    resumable.run.save(tmp_path / "run.safetensors")
    loaded = load_recording(tmp_path / "run.safetensors")
    assert loaded.facts.layout == resumable.family.layout
    with observe(resumable.pipe, resume=loaded.at(resumable.places[1])):
        assert torch.equal(resumable.family.run(resumable.pipe, outside=ELSEWHERE), resumable.plain)


def test_an_edit_of_the_clean_estimate_is_where_the_run_goes_on(resumable: Case) -> None:
    point = resumable.run.at(resumable.places[1])
    shown = point.step.denoised
    edit = 0.1 * torch.ones_like(shown)
    with observe(resumable.pipe, resume=point.edited(shown + edit, shown)) as branch:
        edited = resumable.family.run(resumable.pipe)
    torch.testing.assert_close(branch.steps[0].x, point.step.x + point.step.signal * edit)
    assert branch.steps[0].noise == point.step.noise  # so that what is left of x is the noise it implied before
    assert not torch.equal(edited, resumable.plain)


def test_a_corrected_run_resumes_to_the_bit(resumable: Case) -> None:
    family, pipe = resumable.family, resumable.pipe
    with observe(pipe, hooks=[CORRECTION]) as run:
        corrected = family.run(pipe)
    with observe(pipe, hooks=[CORRECTION], resume=run.at(resumable.places[1])):
        assert torch.equal(family.run(pipe, outside=ELSEWHERE), corrected)


def test_a_resumed_run_resumes_again(resumable: Case) -> None:
    _, middle, last = resumable.places
    with observe(resumable.pipe, resume=resumable.run.at(middle)) as tail:
        resumable.family.run(resumable.pipe, outside=ELSEWHERE)
    with observe(resumable.pipe, resume=tail.at(last)):
        again = resumable.family.run(resumable.pipe, outside=ELSEWHERE + 1)
    assert torch.equal(again, resumable.plain)


def test_a_change_at_the_middle_changes_the_rest(resumable: Case) -> None:
    middle = resumable.places[1]
    with observe(resumable.pipe, hooks=[CORRECTION], resume=resumable.run.at(middle)) as tail:
        changed = resumable.family.run(resumable.pipe)
    assert not torch.equal(changed, resumable.plain)
    assert torch.equal(tail.steps[0].x, resumable.run.steps[middle].x)


def test_the_pipeline_is_whole_after_a_resume(resumable: Case) -> None:
    pipe = resumable.pipe
    attributes = vars(pipe).keys()
    with observe(pipe, resume=resumable.run.at(resumable.places[1])):
        resumable.family.run(pipe)
    assert vars(pipe).keys() == attributes
    assert torch.equal(resumable.family.run(pipe), resumable.plain)


@pytest.mark.parametrize("name", ["sd-ancestral", "sd-inpaint-9", "flux-stochastic", "kandinsky-2.2", "wan"])
def test_without_a_generator_the_global_state_is_put_back(name: str) -> None:
    family = FAMILIES[name]
    pipe = family.make()

    def call(seed: int) -> Tensor:
        torch.manual_seed(seed)
        with torch.inference_mode():
            return family.call(pipe, None, family.steps)

    with observe(pipe) as run:
        whole = call(5)
    with observe(pipe, resume=run.at(3)):
        # what is drawn before the loop is drawn as in the whole run; the loop's own noise is put back
        assert torch.equal(call(5), whole)


def test_every_generator_of_a_list_is_put_back() -> None:
    family = FAMILIES["sd-ancestral"]  # two pictures at once
    pipe = family.make()

    def call() -> Tensor:
        torch.manual_seed(ELSEWHERE)
        with torch.inference_mode():
            return family.call(pipe, [torch.Generator().manual_seed(seed) for seed in (3, 4)], family.steps)

    with observe(pipe) as run:
        whole = call()
    for index in (1, 3, 5):
        with observe(pipe, resume=run.at(index)):
            assert torch.equal(call(), whole)


def test_what_a_callback_changes_between_the_steps_is_put_back() -> None:
    """The pipeline's own callback runs after the step, so that what enters the next one did not leave this one."""

    def louder(pipe: Any, index: int, timestep: Tensor, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"latents": tensors["latents"] * (1.01 if index == 1 else 1.0)}

    pipe = FAMILIES["sd"].make()
    family = replace(FAMILIES["sd"], call=call_sd(callback_on_step_end=louder))
    with observe(pipe) as run:
        whole = family.run(pipe)
    assert not torch.equal(run.steps[1].x_next, run.steps[2].x)
    for index in (1, 2, 3):
        with observe(pipe, resume=run.at(index)):
            assert torch.equal(family.run(pipe, outside=ELSEWHERE), whole)


def test_models_that_are_brought_in_and_out_of_memory_resume_to_the_bit() -> None:
    family = FAMILIES["flux"]
    pipe = family.make()
    plain = family.run(pipe)
    here = torch.device("cpu")
    pipe.enable_group_offload(onload_device=here, offload_device=here, offload_type="leaf_level")
    with observe(pipe) as run:
        assert torch.equal(family.run(pipe), plain)
    with observe(pipe, resume=run.at(3)):
        assert torch.equal(family.run(pipe, outside=ELSEWHERE), plain)


def test_a_pipeline_of_pipelines_says_which_to_watch() -> None:
    from diffusers import KandinskyV22CombinedPipeline

    inner = FAMILIES["kandinsky-2.2"].make()
    prior = dict.fromkeys(
        f"prior_{part}"
        for part in ("prior", "image_encoder", "text_encoder", "tokenizer", "scheduler", "image_processor")
    )
    pipe = KandinskyV22CombinedPipeline(unet=inner.unet, scheduler=inner.scheduler, movq=inner.movq, **prior)
    with pytest.raises(StudioError, match=r"decoder_pipe"), observe(pipe):
        pass
    with observe(pipe.decoder_pipe) as run:
        FAMILIES["kandinsky-2.2"].run(pipe.decoder_pipe)
    assert len(run.steps) == 6


def test_guidance_that_ends_early_by_counting_steps_is_refused() -> None:
    """Lumina 2 counts the turns of its loop for that, and has no way to pass over some."""
    family = FAMILIES["lumina2"]
    truncated = replace(family, call=call_masked(8, **negative(8), height=64, width=64, cfg_trunc_ratio=0.5))
    pipe = family.make()
    with observe(pipe) as run:
        truncated.run(pipe)
    with pytest.raises(StudioError, match="cfg_trunc_ratio"), observe(pipe, resume=run.at(3)):
        truncated.run(pipe)


def test_several_passes_are_watched_one_after_the_other() -> None:
    pipe = SEVERAL_PASSES.make()
    plain = SEVERAL_PASSES.run(pipe)
    with observe(pipe) as run:
        assert torch.equal(SEVERAL_PASSES.run(pipe), plain)
    assert [step.index for step in run.steps] == [*range(6), *range(6)]
    with pytest.raises(StudioError, match=SEVERAL_PASSES.refuses):
        run.at(3)


@pytest.mark.parametrize("name", REFUSING)
def test_what_cannot_be_resumed_exactly_is_refused_with_the_reason(name: str) -> None:
    case = _made(name)
    scheduler = case.pipe.scheduler
    with (
        pytest.raises(StudioError, match=case.family.refuses),
        observe(case.pipe, resume=case.run.at(3)),
    ):
        case.family.run(case.pipe)
    assert case.pipe.scheduler is scheduler
    assert torch.equal(case.family.run(case.pipe), case.plain)
