"""Harmonising: the plan, the way back, one resumable recording of the last passes, and that it helps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from gaussian_field import SIDE, FieldPipe
from torch import Tensor
from toy_pipeline import SHAPE, InterruptibleToyPipeline, ToyPipeline, fresh

from studio.diffusion.harmonise import Pass, Plan, Rewind, harmonising
from studio.diffusion.known import KeepKnown
from studio.diffusion.observe import Cancelled, observe
from studio.diffusion.recording import Recording
from studio.diffusion.run_file import load_recording, save_recording
from studio.diffusion.start import seeded_noise, start_at
from studio.diffusion.wavelets import split_bands
from studio.errors import StudioError

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

STEPS = 6
KNOWN = torch.randn(SHAPE, generator=torch.Generator().manual_seed(11))
MASK = torch.zeros(SHAPE[-2:])
MASK[:, 3:] = 1
KEEP = KeepKnown(KNOWN, MASK, 3)
BLOCKS = torch.zeros(SHAPE[-2:])
BLOCKS[:, 2:] = 1  # along the cells of a wavelet
SOLVERS = {
    "DPM++ 2M": ("DPMSolverMultistepScheduler", {}),
    "SDE": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "Euler a": ("EulerAncestralDiscreteScheduler", {}),
    "Heun": ("HeunDiscreteScheduler", {}),
    "UniPC": ("UniPCMultistepScheduler", {}),
    "DDPM": ("DDPMScheduler", {"clip_sample": False}),
    "flow": ("FlowMatchEulerDiscreteScheduler", {"shift": 3.0}),
}


def pipeline(solver: str, kind: type[ToyPipeline] = ToyPipeline) -> ToyPipeline:
    name, config = SOLVERS[solver]
    return kind(fresh(name, **config), "flow" if solver == "flow" else "epsilon")


def paint(
    pipe: Any, plan: Plan, seed: int = 5, resume: Any = None, world: int = 0, hooks: tuple[Any, ...] = (KEEP,)
) -> tuple[Tensor, Recording]:
    torch.manual_seed(world)
    generator = torch.Generator().manual_seed(7)
    painted = None
    rewind = Rewind(plan, seed, resume)
    for turn in rewind:
        with turn, observe(pipe, turn.renewed(hooks), resume=turn.resume, until=turn.until) as turn.run:
            painted = pipe(STEPS, generator)
    assert painted is not None
    return painted, rewind.recording


# -- the plan ---------------------------------------------------------------------------------------------------------


def test_a_plan_makes_every_stretch_so_many_times_more() -> None:
    """From the beginning, where no signal is to go back to, without the first step."""
    passes = (Pass(0, 0, 3), Pass(1, 1, 5), Pass(2, 3, 6), Pass(3, 5, 6))
    assert harmonising(6, jump=2, rounds=1) == Plan(6, passes)
    passes = (Pass(0, 1, 3), *passes[1:])
    assert harmonising(6, jump=2, rounds=1, start=1) == Plan(6, passes)
    assert harmonising(6, jump=4, rounds=0, start=2) == Plan(6, (Pass(0, 2, 6),))
    assert harmonising(1, jump=4, rounds=3) == Plan(1, (Pass(0, 0, 1),))


@pytest.mark.parametrize("total", [1, 2, 5, 20])
@pytest.mark.parametrize("jump", [1, 3, 20])
@pytest.mark.parametrize("rounds", [0, 1, 4])
def test_a_plan_goes_on_where_it_was_and_back_by_a_stretch(total: int, jump: int, rounds: int) -> None:
    for start in range(total):
        plan = harmonising(total, jump, rounds, start)
        made = [0] * total
        for part in plan.passes:
            for step in range(part.begin, part.end):
                made[step] += 1
        first = max(start, 1)
        assert made == [0] * start + [1] * (first - start) + [rounds + 1] * (total - first)
        assert plan.evaluated == sum(made)
        assert plan.passes[-1].end == total
        for before, part in zip(plan.passes, plan.passes[1:], strict=False):
            assert 0 < before.end - part.begin <= jump
            assert part.begin >= first
            assert (part.begin - first) % jump == 0


def test_what_is_left_of_a_plan_begins_with_the_last_pass_of_a_step() -> None:
    plan = harmonising(6, jump=2, rounds=1)
    assert plan.after(4) == Plan(6, (Pass(2, 4, 6), Pass(3, 5, 6)))
    assert plan.after(2).passes == (Pass(1, 2, 5), *plan.passes[2:])
    assert plan.after(0) == plan
    with pytest.raises(StudioError, match="Step 1 is not made"):
        harmonising(6, 2, 1, start=2).after(1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0, 2, 1), "number of steps"),
        ((6, 0, 1), "in a jump"),
        ((6, 2, -1), "rounds"),
        ((6, 2, 101), "rounds"),
        ((6, 2, 1.0), "rounds"),
        ((6, True, 1), "in a jump"),
        ((6, 2, 1, 6), "left out"),
    ],
)
def test_plans_that_cannot_be_are_refused(arguments: tuple[Any, ...], words: str) -> None:
    with pytest.raises(StudioError, match=words):
        harmonising(*arguments)


# -- the way back -----------------------------------------------------------------------------------------------------


def test_a_plan_without_rounds_is_an_ordinary_run() -> None:
    pipe = pipeline("SDE")
    painted, recording = paint(pipe, harmonising(STEPS, 2, 0))
    torch.manual_seed(0)
    with observe(pipe, [KEEP]):
        plain = pipe(STEPS, torch.Generator().manual_seed(7))
    assert torch.equal(painted, plain)
    assert len(recording.steps) == STEPS


def test_what_returns_has_the_level_that_it_returns_to() -> None:
    """A run whose clean estimate never moves: what returns is that picture in fresh noise of the level, exactly."""
    steady = KeepKnown(torch.full((400, *SHAPE[1:]), 2.0), torch.zeros(SHAPE[-2:]))
    for solver in ("DPM++ 2M", "flow", "Heun"):
        pipe = pipeline(solver)
        pipe.prepare_latents = lambda generator, dtype: torch.randn(400, *SHAPE[1:]) * 10  # type: ignore[method-assign]
        torch.manual_seed(0)
        rewind, entered = Rewind(harmonising(STEPS, 2, 1), 5), []
        for turn in rewind:
            with turn, observe(pipe, [steady], resume=turn.resume, until=turn.until) as turn.run:
                pipe(STEPS)
            entered.append(turn.run.steps[0])
        for step in entered[2:]:
            assert step.signal is not None
            noise = step.x - step.signal * 2.0
            assert abs(float(noise.mean())) < 0.02
            assert float(noise.std()) == pytest.approx(step.noise, rel=0.02)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("kind", [ToyPipeline, InterruptibleToyPipeline], ids=["trimmed", "skipped"])
def test_the_last_passes_are_one_recording_that_goes_on_to_the_same_bits(
    solver: str, kind: type[ToyPipeline], tmp_path: Path
) -> None:
    pipe = pipeline(solver, kind)
    plan = harmonising(STEPS, 2, 2)
    painted, recording = paint(pipe, plan)
    assert [step.index for step in recording.steps] == list(range(recording.facts.total))
    assert torch.equal(recording.steps[-1].x_next[..., :3], KNOWN[..., :3])
    save_recording(recording, tmp_path / "run.safetensors")
    order = recording.facts.order
    for step, source in ((0, recording), (3, load_recording(tmp_path / "run.safetensors")), (5, recording)):
        again, rest = paint(pipe, plan.after(step), resume=source.at(step * order), world=99)
        assert torch.equal(again, painted)
        for one, other in zip(rest.steps, recording.steps[step * order :], strict=True):
            assert one.index == other.index
            assert torch.equal(one.x, other.x)
            assert torch.equal(one.x_next, other.x_next)


def test_the_seed_says_what_returns() -> None:
    pipe, plan = pipeline("DPM++ 2M"), harmonising(STEPS, 2, 1)
    one, _ = paint(pipe, plan, seed=5)
    other, _ = paint(pipe, plan, seed=6)
    assert torch.equal(one, paint(pipe, plan, seed=5, world=8)[0])
    assert not torch.equal(one, other)
    assert torch.equal(other[..., :3], KNOWN[..., :3])


@pytest.mark.parametrize("solver", ["SDE", "Euler a"])
def test_one_generator_for_all_turns_or_a_new_one_for_each_is_the_same(solver: str) -> None:
    pipe, plan = pipeline(solver), harmonising(STEPS, 2, 1)
    shared, _ = paint(pipe, plan)
    painted = None
    for turn in Rewind(plan, 5):
        with turn, observe(pipe, turn.renewed([KEEP]), resume=turn.resume, until=turn.until) as turn.run:
            painted = pipe(STEPS, torch.Generator().manual_seed(7))
    assert painted is not None
    assert torch.equal(painted, shared)


def test_a_plan_starts_in_the_middle() -> None:
    pipe = pipeline("DPM++ 2M")
    start = start_at(2, KNOWN, seeded_noise(KNOWN, 3))
    painted, recording = paint(pipe, harmonising(STEPS, 2, 1, start=2), resume=start)
    assert [step.index for step in recording.steps] == [2, 3, 4, 5]
    again, _ = paint(pipe, harmonising(STEPS, 2, 1, start=2).after(3), resume=recording.at(3))
    assert torch.equal(again, painted)


def test_whoever_cancels_gets_out_at_once_with_what_there_is() -> None:
    pipe, made = pipeline("DPM++ 2M"), []
    rewind = Rewind(harmonising(STEPS, 2, 2), 5)
    with pytest.raises(Cancelled):
        for turn in rewind:

            def stop(step: Any, turn: Any = turn) -> None:
                made.append(step.index)
                if turn.part.number == 2 and step.index == 2:
                    turn.run.cancel()

            with turn, observe(pipe, [KEEP], stop, resume=turn.resume, until=turn.until) as turn.run:
                pipe(STEPS)
    assert made == [0, 1, 2, 1, 2, 1, 2]
    assert [step.index for step in rewind.recording.steps] == [0, 1, 2]


def test_what_goes_wrong_in_a_turn_is_not_swallowed() -> None:
    rewind = Rewind(harmonising(STEPS, 2, 1))
    with pytest.raises(StudioError, match="Nothing is recorded"):
        rewind.recording  # noqa: B018
    turn = next(iter(rewind))
    with pytest.raises(ZeroDivisionError), turn:
        1 // 0  # noqa: B018


def test_only_what_holds_gets_new_noise_and_not_in_the_first_pass() -> None:
    rewind, other = Rewind(harmonising(STEPS, 2, 1), 5), object()
    held = []
    for turn in rewind:
        hooks = turn.renewed([other, KEEP])  # type: ignore[list-item]
        assert hooks[0] is other
        held.append(hooks[1])
        pipe = pipeline("DPM++ 2M")
        with turn, observe(pipe, resume=turn.resume, until=turn.until) as turn.run:
            pipe(STEPS)
    assert held[0] is KEEP
    assert len({hook.seed for hook in held}) == len(held)


@pytest.mark.parametrize("hooks", [(), (KeepKnown(KNOWN, BLOCKS, 3),)], ids=["alone", "beside what is known"])
@pytest.mark.parametrize("solver", ["DPM++ 2M", "flow"])
def test_what_a_point_has_locked_stays_locked_in_every_turn(solver: str, hooks: tuple[Any, ...]) -> None:
    pipe, plan = pipeline(solver), harmonising(STEPS, 2, 2)
    _, recording = paint(pipe, plan, hooks=hooks)
    point = recording.at(2).lock([0], reference=torch.full(SHAPE, 5.0))
    turns = 0
    for turn in Rewind(plan.after(2), 5, point):
        with turn, observe(pipe, turn.renewed(hooks), resume=turn.resume, until=turn.until) as turn.run:
            pipe(STEPS)
        turns += 1
        for step in turn.run.steps:
            assert step.denoised is not None
            low = split_bands(step.denoised[..., 2:4], "haar", 1)[0]
            torch.testing.assert_close(low, torch.full_like(low, 10.0), rtol=2e-3, atol=2e-3)  # haar: twice the mean
            if hooks:
                torch.testing.assert_close(step.denoised[..., :2], KNOWN[..., :2], rtol=1e-3, atol=1e-3)
    assert turns == len(plan.after(2).passes) > 1


def test_no_turn_of_a_flow_begins_without_signal() -> None:
    """At the beginning of a flow there is noise alone: whoever goes back there does not know what was painted."""
    pipe, levels = pipeline("flow"), []
    for turn in Rewind(harmonising(STEPS, 2, 2), 5):
        with turn, observe(pipe, turn.renewed([KEEP]), resume=turn.resume, until=turn.until) as turn.run:
            pipe(STEPS)
        levels.append(turn.run.steps[0].signal)
    assert levels[0] == 0
    assert all(signal > 0.05 for signal in levels[1:])


def test_one_call_makes_the_whole_plan() -> None:
    pipe, plan, told = pipeline("SDE"), harmonising(STEPS, 2, 2), []
    painted, recording = paint(pipe, plan)
    rewind = Rewind(plan, 5)
    again = rewind.paint(
        pipe,
        lambda: pipe(STEPS, torch.Generator().manual_seed(7)),
        [KEEP],
        lambda step, run: told.append(run.steps[-1].index == step.index),
    )
    assert torch.equal(again, painted)
    assert [step.index for step in rewind.recording.steps] == [step.index for step in recording.steps]
    assert told == [True] * plan.evaluated
    with pytest.raises(Cancelled):
        Rewind(plan, 5).paint(pipe, lambda: pipe(STEPS), [KEEP], lambda step, run: run.cancel())


# -- that it helps ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("solver", "most"),
    [("DPMSolverMultistepScheduler", 0.55), ("EulerDiscreteScheduler", 0.75), ("DDPMScheduler", 0.75)],
)
def test_harmonising_comes_nearer_to_what_belongs_beside_the_known(solver: str, most: float) -> None:
    """The unknown half of a Gaussian field whose conditional distribution is known: error against plain holding."""
    config = {"clip_sample": False} if solver == "DDPMScheduler" else {}
    pipe = FieldPipe(fresh(solver, timestep_spacing="trailing", **config))
    count, steps = 2000, 20
    truth = pipe.truths(count)
    mask = torch.zeros(SIDE, SIDE)
    mask[:, SIDE // 2 :] = 1
    keep = KeepKnown(truth, mask, 3)
    errors = []
    for rounds in (0, 2):
        rewind = Rewind(harmonising(steps, 5, rounds), 11)
        for turn in rewind:
            with turn, observe(pipe, turn.renewed([keep]), resume=turn.resume, until=turn.until) as turn.run:
                painted = pipe.paint(count, steps)
        assert torch.equal(painted[..., : SIDE // 2], truth[..., : SIDE // 2])
        errors.append(pipe.conditional_error(painted, truth, mask))
    assert errors[1] < most * errors[0], errors
