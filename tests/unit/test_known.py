"""Holding what is known: exact at the end, at its level on the way, by strength in between, and words for the rest."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from gaussian_field import SIDE, FieldPipe
from torch import Tensor
from toy_pipeline import SHAPE, ToyPipeline, cases, fresh

from studio.diffusion.correction import Correction
from studio.diffusion.known import KeepKnown
from studio.diffusion.layout import PLANE, Layout, Line, Packed, Tokens, Unknown
from studio.diffusion.observe import Run, observe
from studio.diffusion.parallel import make_firm
from studio.diffusion.start import seeded_noise, start_at
from studio.diffusion.steps import Step
from studio.diffusion.wavelets import split_bands
from studio.errors import StudioError

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

STEPS = 10
SOLVERS = list(cases())
NAMES = [f"{name}-{kind}-{'-'.join(map(str, config.values()))}" for name, kind, config in SOLVERS]
KNOWN = torch.randn(SHAPE, generator=torch.Generator().manual_seed(11))
NOISE = seeded_noise(KNOWN, 3)


def half() -> Tensor:
    """The last two of five columns are painted."""
    mask = torch.zeros(SHAPE[-2:])
    mask[:, 3:] = 1
    return mask


def paint(pipe: ToyPipeline, hooks: tuple[Any, ...] = (), **further: Any) -> tuple[Tensor, Run]:
    torch.manual_seed(0)
    with observe(pipe, hooks=hooks, **further) as run:
        return pipe(STEPS, torch.Generator().manual_seed(7)), run


def a_step(x: Tensor, **fields: Any) -> Step:
    given = {"signal": 0.6, "noise": 0.8, "signal_next": 0.8, "noise_next": 0.6, **fields}
    return Step(3, 10, 1, 500.0, None, x, 0.1 * x, 0.9 * x, **given)


# -- the known area ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "kind", "config"), SOLVERS, ids=NAMES)
def test_the_known_area_ends_as_it_is_known_and_the_rest_is_painted(
    name: str, kind: str, config: dict[str, Any]
) -> None:
    pipe = ToyPipeline(fresh(name, **config), kind)
    painted, run = paint(pipe, (KeepKnown(KNOWN, half(), 3),))
    assert torch.equal(painted[..., :3], KNOWN[..., :3])
    assert torch.isfinite(painted).all()
    assert (painted[..., 3:] - KNOWN[..., 3:]).abs().mean() > 0.1
    for step in run.steps:
        torch.testing.assert_close(step.denoised[..., :3], KNOWN[..., :3], rtol=1e-3, atol=1e-3)
    for step in run.steps[1:]:  # at every level on the way, also between the halves of a step
        held = step.signal * KNOWN + step.noise * NOISE
        torch.testing.assert_close(step.x[..., :3], held[..., :3], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("name", "kind", "config"), SOLVERS, ids=NAMES)
def test_nothing_known_changes_no_bit(name: str, kind: str, config: dict[str, Any]) -> None:
    pipe = ToyPipeline(fresh(name, **config), kind)
    plain, _ = paint(pipe)
    kept, _ = paint(pipe, (KeepKnown(KNOWN, torch.ones(SHAPE[-2:]), 3),))
    assert torch.equal(kept, plain)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_samples_of_every_precision_leave_as_they_came(dtype: torch.dtype) -> None:
    step = a_step(KNOWN.to(dtype))
    keep = KeepKnown(KNOWN, half(), 3)
    assert keep(step).dtype == keep.before(step).dtype == dtype
    held = (0.8 * KNOWN + 0.6 * NOISE).to(dtype)
    torch.testing.assert_close(keep(step)[..., :3], held[..., :3])
    assert torch.equal(keep(step)[..., 3:], step.x_next[..., 3:])


def test_a_solver_that_leaves_some_noise_leaves_none_in_the_known_area() -> None:
    pipe = ToyPipeline(fresh("DPMSolverMultistepScheduler", final_sigmas_type="sigma_min"))
    painted, run = paint(pipe, (KeepKnown(KNOWN, half(), 3),))
    assert run.steps[-1].final
    assert run.steps[-1].noise_next > 0.01
    assert torch.equal(painted[..., :3], KNOWN[..., :3])


def test_a_run_that_ends_early_ends_at_its_level() -> None:
    """Two models in a row: the first leaves the noise for the second."""
    step = a_step(KNOWN, final=False)
    last = replace(step, index=9)
    torch.testing.assert_close(KeepKnown(KNOWN, half(), 3)(last)[..., :3], (0.8 * KNOWN + 0.6 * NOISE)[..., :3])
    assert torch.equal(KeepKnown(KNOWN, half(), 3)(replace(last, final=True))[..., :3], KNOWN[..., :3])


def test_noise_has_the_deviation_of_the_schedule() -> None:
    step = a_step(KNOWN, deviation=0.5)
    torch.testing.assert_close(KeepKnown(KNOWN, half(), 3)(step)[..., :3], (0.8 * KNOWN + 0.3 * NOISE)[..., :3])


def test_corrections_move_what_is_painted_alone() -> None:
    pipe = ToyPipeline(fresh("EulerDiscreteScheduler"))
    keep, correction = KeepKnown(KNOWN, half(), 3), Correction(low=0.1, high=-0.05)
    plain, _ = paint(pipe, (keep,))
    corrected, _ = paint(pipe, (correction, keep))
    assert torch.equal(corrected[..., :3], KNOWN[..., :3])
    assert not torch.equal(corrected[..., 3:], plain[..., 3:])


def test_the_same_fields_do_the_same() -> None:
    """A branch is painted with a hook that was made anew."""
    pipe = ToyPipeline(fresh("EulerAncestralDiscreteScheduler"))
    whole, run = paint(pipe, (KeepKnown(KNOWN, half(), 3),))
    for place in (1, 5, 9):
        again, _ = paint(pipe, (KeepKnown(KNOWN.clone(), half(), 3),), resume=run.at(place))
        assert torch.equal(again, whole)
    other, again = paint(pipe, (KeepKnown(KNOWN, half(), 3).reseeded(4),), resume=run.at(5))
    assert torch.equal(other[..., :3], KNOWN[..., :3])
    step = again.steps[1]  # held in noise of its own
    held = step.signal * KNOWN + step.noise * seeded_noise(KNOWN, 4)
    torch.testing.assert_close(step.x[..., :3], held[..., :3], rtol=1e-6, atol=1e-6)
    assert not torch.allclose(step.x[..., :3], run.steps[6].x[..., :3])


def test_one_picture_serves_a_batch() -> None:
    batch = torch.randn(3, *SHAPE[1:], generator=torch.Generator().manual_seed(1))
    kept = KeepKnown(KNOWN, half(), 3)(a_step(batch))
    noise = seeded_noise(batch, 3)
    torch.testing.assert_close(kept[..., :3], (0.8 * KNOWN + 0.6 * noise)[..., :3])
    assert torch.equal(kept[..., 3:], 0.9 * batch[..., 3:])
    assert not torch.equal(kept[0, ..., :3], kept[1, ..., :3])  # each has noise of its own


def test_tokens_are_held_where_they_lie() -> None:
    layout = Packed(4, 6)
    known = torch.randn(1, 6, 8, generator=torch.Generator().manual_seed(1))
    mask = torch.zeros(4, 6)
    mask[:, 4:] = 1
    step = a_step(torch.zeros_like(known), layout=layout, final=True)
    plane = layout.to_space(KeepKnown(known, mask, 0)(step))
    assert torch.equal(plane[..., :4], layout.to_space(known)[..., :4])
    assert not plane[..., 4:].any()


def test_sound_is_held_in_time() -> None:
    known = torch.randn(1, 3, 8, generator=torch.Generator().manual_seed(1))
    step = a_step(torch.zeros_like(known), layout=Line(), final=True)
    kept = KeepKnown(known, torch.tensor([0.0, 0, 0, 0, 1, 1, 1, 1]), 0)(step)
    assert torch.equal(kept[..., :4], known[..., :4])
    assert not kept[..., 4:].any()


@pytest.mark.parametrize("layout", [PLANE, Tokens(6, 5, frames=3), Packed(6, 10, frames=3)], ids=repr)
def test_several_videos_are_held_frame_by_frame(layout: Layout) -> None:
    shapes = {PLANE: (4, 3, 6, 5), Tokens(6, 5, frames=3): (90, 4), Packed(6, 10, frames=3): (45, 16)}
    known = torch.randn(1, *shapes[layout], generator=torch.Generator().manual_seed(1))
    batch = torch.randn(2, *shapes[layout], generator=torch.Generator().manual_seed(2))
    space = layout.to_space(known).shape[-2:]
    mask = torch.zeros(space)
    mask[:, 3:] = 1
    step = a_step(batch, layout=layout)
    kept = layout.to_space(KeepKnown(known, mask, 3)(step))
    wanted = layout.to_space(0.8 * known + 0.6 * seeded_noise(batch, 3, layout))
    torch.testing.assert_close(kept[..., :3], wanted[..., :3])
    assert torch.equal(kept[..., 3:], layout.to_space(step.x_next)[..., 3:])


class _Twice(ToyPipeline):
    """Steps its scheduler twice at every timestep, so that there are more steps than timesteps."""

    def turn(self, t: Tensor, x: Tensor, generator: torch.Generator | None) -> Tensor:
        x = super().turn(t, x, generator)
        self.scheduler._step_index -= 1
        return super().turn(t, x, generator)


def test_a_loop_that_steps_more_often_than_it_has_timesteps_lets_nothing_go() -> None:
    """Seen with a solver that draws noise at every step: where nothing is held, it is not the hook's."""
    pipe = _Twice(fresh("EulerAncestralDiscreteScheduler"))
    painted, run = paint(pipe, (KeepKnown(KNOWN, half(), 3),))
    late = [step for step in run.steps if step.number > step.count and not step.final]
    assert len(late) > 5
    for step in late:
        held = step.signal_next * KNOWN + step.noise_next * NOISE
        torch.testing.assert_close(step.x_next[..., :3], held[..., :3], rtol=1e-6, atol=1e-6)
    assert torch.equal(painted[..., :3], KNOWN[..., :3])
    assert not torch.isclose(painted[..., 3:], KNOWN[..., 3:]).any()


# -- beside other hooks -----------------------------------------------------------------------------------------------


def test_what_is_locked_does_not_touch_what_is_known() -> None:
    """A lock comes with the point, after the hooks of the person; what is known comes after both."""
    pipe = ToyPipeline(fresh("DPMSolverMultistepScheduler"))
    mask = torch.zeros(SHAPE[-2:])
    mask[:, 2:] = 1  # along the cells of the wavelet
    keep = KeepKnown(KNOWN, mask, 3)
    _, run = paint(pipe, (keep,))
    painted, locked = paint(pipe, (keep,), resume=run.at(2).lock([0], reference=torch.full(SHAPE, 5.0)))
    assert torch.equal(painted[..., :2], KNOWN[..., :2])
    for step in locked.steps:
        torch.testing.assert_close(step.denoised[..., :2], KNOWN[..., :2], rtol=1e-3, atol=1e-3)
        low = split_bands(step.denoised[..., 2:4], "haar", 1)[0]
        torch.testing.assert_close(low, torch.full_like(low, 10.0), rtol=1e-3, atol=1e-3)  # haar: twice the mean


def test_what_is_known_comes_last_wherever_it_is_given() -> None:
    pipe = ToyPipeline(fresh("EulerDiscreteScheduler"))
    keep, correction = KeepKnown(KNOWN, half(), 3), Correction(low=0.1, high=-0.05)
    first, _ = paint(pipe, (keep, correction))
    last, _ = paint(pipe, (correction, keep))
    assert torch.equal(first, last)


@pytest.mark.parametrize("predict_x0", [True, False])
def test_a_correction_of_what_is_held_leaves_no_trace_in_a_solver_that_corrects_its_steps(predict_x0: bool) -> None:
    """UniPC takes the correction back by itself: what is firm has to be measured from what it made."""
    pipe = ToyPipeline(fresh("UniPCMultistepScheduler", predict_x0=predict_x0, final_sigmas_type="sigma_min"))
    keep = KeepKnown(KNOWN, torch.full(SHAPE[-2:], 0.5), 3)  # everything is held for five of ten steps

    def push(step: Step) -> Tensor:
        return step.x_next + 0.5 if step.number <= 5 else step.x_next

    plain, _ = paint(pipe, (keep,))
    pushed, _ = paint(pipe, (push, keep))
    torch.testing.assert_close(pushed, plain, rtol=1e-4, atol=1e-4)


# -- cells at the rim -------------------------------------------------------------------------------------------------


def test_a_cell_of_both_sides_mixes_clean_estimates_by_its_share_and_keeps_its_noise() -> None:
    mask = torch.zeros(24, 20)  # four pixels to a cell along each side
    mask[:, 13:] = 1  # column 3 has three of its four pixels painted, column 4 all
    keep, step = KeepKnown(KNOWN, mask, 3), a_step(KNOWN.flip(0, 1))
    mixed = keep.before(step)
    torch.testing.assert_close(mixed[..., :3], KNOWN[..., :3])
    torch.testing.assert_close(mixed[..., 3], 0.25 * KNOWN[..., 3] + 0.75 * step.denoised[..., 3])
    assert torch.equal(mixed[..., 4], step.denoised[..., 4])
    assert torch.equal(keep(step)[..., 3:], step.x_next[..., 3:])
    torch.testing.assert_close(keep(step)[..., :3], (0.8 * KNOWN + 0.6 * NOISE)[..., :3])


@pytest.mark.parametrize("name", ["EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "UniPCMultistepScheduler"])
def test_a_cell_of_both_sides_ends_between_them(name: str) -> None:
    pipe = ToyPipeline(fresh(name))
    mask = torch.zeros(24, 20)
    mask[:, 14:] = 1
    painted, run = paint(pipe, (KeepKnown(KNOWN, mask, 3),))
    torch.testing.assert_close(painted[..., 3], run.steps[-1].denoised[..., 3], rtol=1e-4, atol=1e-4)
    wanted = 0.5 * (pipe.truths[-1] + KNOWN)[..., 3]
    torch.testing.assert_close(painted[..., 3], wanted, rtol=1e-3, atol=1e-3)


def test_a_cell_has_one_moment_and_one_share_of_a_graded_mask() -> None:
    """Four pixels to a cell along each side; the strengths of a cell's pixels differ."""
    mask = torch.zeros(24, 20, dtype=torch.float64)
    mask[:, 8:] = torch.linspace(0.05, 1, 12, dtype=torch.float64)  # over the columns 2, 3 and 4
    mask[:, 6:8] = 0.2  # half of column 1
    pipe = ToyPipeline(fresh("EulerDiscreteScheduler"))
    keep = KeepKnown(KNOWN, mask, 3)
    _, run = paint(pipe, (keep,))
    for column, strength, share in (
        (0, 0, 0),
        (1, 0.2, 0.5),
        (2, mask[0, 8:12].mean(), 1),
        (4, mask[0, 16:].mean(), 1),
    ):
        first_free = STEPS - round(float(strength) * STEPS)
        for step, truth in zip(run.steps, pipe.truths, strict=True):
            mixed = (1 - share) * KNOWN + share * truth
            torch.testing.assert_close(step.denoised[..., column], mixed[..., column], rtol=1e-3, atol=1e-3)
            if step.index:
                level = (step.signal * KNOWN + step.noise * NOISE)[..., column]
                same = torch.allclose(step.x[..., column], level, rtol=1e-6, atol=1e-6)
                assert same == (step.index <= first_free), (column, step.index)


def test_a_mask_of_one_value_means_the_same_at_every_size() -> None:
    """A half is rounded alike, whatever the mean over a cell's pixels does to its last digit."""
    for count in range(1, 60):
        for strength in (0.1, 0.3, 0.5, 0.7, 0.9):
            step = replace(a_step(KNOWN), index=0, total=count)
            firsts = []
            for size in ((6, 5), (48, 40)):
                mask = torch.full(size, strength, dtype=torch.float64)
                keep = KeepKnown(KNOWN, mask, 3)
                keep(step)
                (fitted,) = keep._fitted.values()
                firsts.append(fitted.last_held.unique().tolist())
            free = round(strength * count)
            assert firsts[0] == firsts[1] == [count - free if free else math.inf]


def test_a_long_run_keeps_the_cells_of_one_step_alone() -> None:
    mask = torch.linspace(0, 1, 30).reshape(6, 5)
    keep = KeepKnown(KNOWN, mask, 3)
    paint(ToyPipeline(fresh("EulerDiscreteScheduler")), (keep,))
    (fitted,) = keep._fitted.values()
    assert len(fitted._held) == 1


# -- strength ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strength", [0.0, 0.04, 0.3, 0.5, 0.7, 1.0])
def test_a_mask_of_one_value_is_image_to_image_of_that_strength(strength: float) -> None:
    """For a solver without memory, to the bit: it enters the same step with the same sample."""
    pipe = ToyPipeline(fresh("EulerDiscreteScheduler"))
    painted, _ = paint(pipe, (KeepKnown(KNOWN, torch.full(SHAPE[-2:], strength), 3),))
    first = STEPS - round(strength * STEPS)
    if first == STEPS:
        wanted = KNOWN
    elif first == 0:
        wanted, _ = paint(pipe)
    else:
        wanted, _ = paint(pipe, resume=start_at(first, KNOWN, NOISE))
    assert torch.equal(painted, wanted)


def test_image_to_image_in_the_order_of_a_second_order_solver() -> None:
    pipe = ToyPipeline(fresh("HeunDiscreteScheduler"))
    painted, _ = paint(pipe, (KeepKnown(KNOWN, torch.full(SHAPE[-2:], 0.3), 3),))
    wanted, _ = paint(pipe, resume=start_at(7, KNOWN, NOISE))
    torch.testing.assert_close(painted, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "config", "most"),
    [
        ("DPMSolverMultistepScheduler", {}, 0.103),
        ("DPMSolverMultistepScheduler", {"solver_order": 3}, 0.102),
        ("UniPCMultistepScheduler", {}, 0.103),
        ("UniPCMultistepScheduler", {"predict_x0": False, "final_sigmas_type": "sigma_min"}, 0.08),
        ("DEISMultistepScheduler", {}, 0.02),
        ("HeunDiscreteScheduler", {}, 0.1),
    ],
)
def test_a_solver_remembers_the_right_past_of_a_cell_that_is_given_to_the_model(
    name: str, config: dict[str, Any], most: float
) -> None:
    """Against the exact flow from the step where the model takes over. A past of known estimates gives DPM++ 0.108
    and DEIS 0.037; a corrector that takes back what was held gives UniPC 1.16."""
    pipe = FieldPipe(fresh(name, timestep_spacing="trailing", **config))
    truth = pipe.truths(200)
    with observe(pipe, hooks=[KeepKnown(truth, torch.full((SIDE, SIDE), 0.5), 3)]) as run:
        painted = pipe.paint(200, 20)
    taken_over = run.steps[10 * run.steps[0].order]
    exact = pipe.flowed(taken_over.x, taken_over.level)
    assert (painted - exact).norm() / (exact - truth).norm() < most


def test_more_strength_changes_more() -> None:
    pipe = FieldPipe(fresh("DPMSolverMultistepScheduler", timestep_spacing="trailing"))
    truth = pipe.truths(100)
    changes = []
    for strength in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        with observe(pipe, hooks=[KeepKnown(truth, torch.full((SIDE, SIDE), strength), 3)]):
            changes.append(float((pipe.paint(100, 20) - truth).square().mean().sqrt()))
    assert changes[0] == 0
    assert all(later > 1.1 * earlier for earlier, later in pairwise(changes))


def test_places_of_a_mask_have_each_their_own_strength() -> None:
    mask = torch.zeros(SHAPE[-2:])
    mask[:, 1], mask[:, 2], mask[:, 3], mask[:, 4] = 0.2, 0.5, 0.8, 1.0
    pipe = ToyPipeline(fresh("EulerDiscreteScheduler"))
    _, run = paint(pipe, (KeepKnown(KNOWN, mask, 3),))
    for column, first_free in enumerate((10, 8, 5, 2, 0)):
        for step in run.steps[1:]:
            held = (step.signal * KNOWN + step.noise * NOISE)[..., column]
            same = torch.allclose(step.x[..., column], held, rtol=1e-6, atol=1e-6)
            assert same == (step.index <= first_free), (column, step.index)


# -- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "mask", "seed", "words"),
    [
        ([1.0], half(), 0, "should be a tensor"),
        (torch.ones(SHAPE, dtype=torch.int64), half(), 0, "floating-point"),
        (torch.full(SHAPE, math.nan), half(), 0, "infinite or none"),
        (torch.full(SHAPE, math.inf), half(), 0, "infinite or none"),
        (torch.empty(0, 4, 6, 5), half(), 0, "floating-point"),
        (KNOWN, torch.full((6, 5), 1.5), 0, "from 0"),
        (KNOWN, torch.full((6, 5), math.nan), 0, "from 0"),
        (KNOWN, torch.zeros(1, 6, 5), 0, "shaped"),
        (KNOWN, "all", 0, "A mask is"),
        (KNOWN, half(), -1, "A seed"),
        (KNOWN, half(), 2**63, "A seed"),
        (KNOWN, half(), True, "A seed"),
        (KNOWN, half(), 1.0, "A seed"),
    ],
)
def test_what_cannot_be_held_is_refused_at_once(known: Any, mask: Any, seed: Any, words: str) -> None:
    with pytest.raises(StudioError, match=words):
        KeepKnown(known, mask, seed)


@pytest.mark.parametrize(
    ("known", "mask", "words"),
    [
        (torch.zeros(1, 4, 6, 6), half(), "are \\(1, 4, 6, 5\\)"),
        (torch.zeros(2, 4, 6, 5), half(), "are \\(1, 4, 6, 5\\)"),
        (torch.zeros(4, 6, 5), half(), "are \\(1, 4, 6, 5\\)"),
        (KNOWN, torch.zeros(7, 5), "does not fit"),
        (KNOWN, torch.zeros(3, 5), "does not fit"),
        (KNOWN, torch.zeros(12, 5), "does not fit"),
        (KNOWN, torch.zeros(30), "shaped"),
    ],
)
def test_what_does_not_fit_is_refused_at_the_first_step(known: Tensor, mask: Tensor, words: str) -> None:
    pipe = ToyPipeline(fresh("EulerDiscreteScheduler"))
    with pytest.raises(StudioError, match=words):
        paint(pipe, (KeepKnown(known, mask, 0),))
    assert len(pipe.truths) == 1


def test_without_levels_estimates_or_space_nothing_is_held() -> None:
    keep = KeepKnown(KNOWN, half(), 3)
    with pytest.raises(StudioError, match="noise levels"):
        keep(a_step(KNOWN, signal_next=None, noise_next=None))
    with pytest.raises(StudioError, match="no clean estimate"):
        keep.before(replace(a_step(KNOWN), denoised=None))
    with pytest.raises(StudioError, match="nobody knows"):
        keep(a_step(KNOWN, layout=Unknown("nobody knows how they lie")))
    assert KeepKnown(KNOWN, torch.ones(6, 5)).before(replace(a_step(KNOWN), denoised=None)) is None


@pytest.mark.parametrize(("predicts_clean", "factor"), [(True, 0.8 / 0.6), (False, 0.6 / 0.8)])
def test_what_is_made_firm_moves_the_start_of_the_correction_by_what_leads_to_it(
    predicts_clean: bool, factor: float
) -> None:
    """UniPC's corrector starts from noise_next / noise times that sample, or signal_next / signal times."""
    solver = fresh("UniPCMultistepScheduler", predict_x0=predicts_clean)
    solver.last_sample = last = torch.zeros_like(KNOWN)
    step = a_step(KNOWN)
    make_firm(solver, replace(step, x_next=step.x_next + 1), step.x_next, step.x_next)
    torch.testing.assert_close(solver.last_sample, torch.full_like(KNOWN, factor))
    assert not last.any()  # another tensor: the recorded one stays
