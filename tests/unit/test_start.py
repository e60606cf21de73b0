"""Starting in the middle of a schedule: at the right level, by both ways into a loop, and recorded as any run."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from gaussian_field import FieldPipe
from torch import Tensor
from toy_pipeline import SHAPE, InterruptibleToyPipeline, ToyPipeline, fresh

from studio.diffusion import memory
from studio.diffusion.layout import Packed
from studio.diffusion.observe import Cancelled, Run, observe
from studio.diffusion.probe import sample_of
from studio.diffusion.run_file import load_recording
from studio.diffusion.start import Start, seeded_noise, start_at
from studio.errors import StudioError

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

STEPS = 8
CLEAN = torch.randn(SHAPE, generator=torch.Generator().manual_seed(11))
NOISE = seeded_noise(CLEAN, 3)
SOLVERS = [
    ("DPMSolverMultistepScheduler", {}, "epsilon"),
    ("EulerDiscreteScheduler", {}, "v_prediction"),
    ("EulerAncestralDiscreteScheduler", {}, "epsilon"),
    ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}, "epsilon"),
    ("DDIMScheduler", {"clip_sample": False}, "sample"),
    ("HeunDiscreteScheduler", {}, "epsilon"),
    ("UniPCMultistepScheduler", {}, "epsilon"),
    ("LCMScheduler", {}, "epsilon"),
    ("FlowMatchEulerDiscreteScheduler", {"shift": 3.0}, "flow"),
    ("FlowMatchHeunDiscreteScheduler", {}, "flow"),
]
IDS = ["-".join((name.removesuffix("Scheduler"), kind, *map(str, config.values()))) for name, config, kind in SOLVERS]


def pipeline(case: tuple[str, dict[str, Any], str], kind: type[ToyPipeline] = ToyPipeline) -> ToyPipeline:
    name, config, puts_out = case
    prediction = {} if puts_out == "flow" else {"prediction_type": puts_out}
    return kind(fresh(name, **config, **prediction), puts_out)


def paint(pipe: Any, world: int = 0, seed: int = 7, **further: Any) -> tuple[Tensor, Run]:
    torch.manual_seed(world)
    with observe(pipe, **further) as run:
        return pipe(STEPS, torch.Generator().manual_seed(seed)), run


@pytest.mark.parametrize("kind", [ToyPipeline, InterruptibleToyPipeline], ids=["trimmed", "skipped"])
@pytest.mark.parametrize("place", [0, 1, 5, STEPS - 1])
@pytest.mark.parametrize("case", SOLVERS, ids=IDS)
def test_a_run_starts_at_the_step_with_the_sample_of_its_level(
    case: tuple[str, dict[str, Any], str], place: int, kind: type[ToyPipeline]
) -> None:
    pipe = pipeline(case, kind)
    paint(pipe)
    attributes = dict(vars(pipe))
    painted, run = paint(pipe, resume=start_at(place, CLEAN, NOISE))
    first = run.steps[0]
    assert [step.index for step in run.steps] == list(range(place * first.order, first.total))
    assert first.number == place + 1
    torch.testing.assert_close(first.x, first.signal * CLEAN + first.noise * NOISE)
    assert vars(pipe).keys() == attributes.keys()
    whole, recorded = paint(pipe)
    assert [s.timestep for s in run.steps] == [s.timestep for s in recorded.steps[place * first.order :]]
    assert not torch.equal(painted, whole)


@pytest.mark.parametrize("case", SOLVERS, ids=IDS)
def test_such_a_run_is_resumed_and_saved_as_any_other(case: tuple[str, dict[str, Any], str], tmp_path: Path) -> None:
    pipe = pipeline(case)
    painted, run = paint(pipe, resume=start_at(3, CLEAN, NOISE))
    run.save(tmp_path / "run.safetensors")
    loaded = load_recording(tmp_path / "run.safetensors")
    assert [step.final for step in loaded.steps] == [step.final for step in run.steps]
    assert loaded.steps[-1].final
    for place in (3, 5, STEPS - 1):
        for recording in (run.recording, loaded):
            again, tail = paint(pipe, world=99, resume=recording.at(place * run.steps[0].order))
            assert torch.equal(again, painted)
            assert tail.steps[0].number == place + 1


def test_late_starts_keep_what_is_there() -> None:
    pipe = FieldPipe(fresh("DPMSolverMultistepScheduler", timestep_spacing="trailing"))
    truth, changes = pipe.truths(100), []
    for place in range(STEPS):
        with observe(pipe, resume=start_at(place, truth, seeded_noise(truth, 3))):
            changes.append(float((pipe.paint(100, STEPS) - truth).norm()))
    assert changes == sorted(changes, reverse=True)
    assert changes[-1] < 0.4 * changes[0]


def test_a_picture_that_the_model_makes_itself_is_found_again() -> None:
    """Entering with the very sample that the run had there: what the picture and its noise were."""
    pipe = pipeline(SOLVERS[1])  # without a memory
    whole, run = paint(pipe)
    step = run.steps[4]
    again, _ = paint(pipe, resume=start_at(4, step.denoised, step.n_hat))
    torch.testing.assert_close(again, whole)


def test_a_stochastic_run_draws_from_where_it_is_told() -> None:
    pipe = pipeline(SOLVERS[2])
    one, _ = paint(pipe, world=1, seed=1, resume=start_at(3, CLEAN, NOISE, reseed=5))
    same, _ = paint(pipe, world=2, seed=2, resume=start_at(3, CLEAN, NOISE, reseed=5))
    other, _ = paint(pipe, world=1, seed=1, resume=start_at(3, CLEAN, NOISE, reseed=6))
    own, _ = paint(pipe, world=1, seed=1, resume=start_at(3, CLEAN, NOISE))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert not torch.equal(one, own)


def test_noise_is_that_of_the_pipelines_own_generator() -> None:
    pipe = pipeline(SOLVERS[8])
    like, layout = sample_of(pipe, lambda: pipe(STEPS, torch.Generator().manual_seed(7)))
    assert torch.equal(seeded_noise(like, 7, layout), like)
    tokens, packed = torch.zeros(1, 6, 8), Packed(4, 6)
    drawn = torch.randn(1, 2, 4, 6, generator=torch.Generator().manual_seed(7))
    assert torch.equal(packed.to_space(seeded_noise(tokens, 7, packed)), drawn)
    assert seeded_noise(CLEAN.double(), 7).dtype == torch.float32


def test_the_sample_is_told_before_anything_is_computed() -> None:
    pipe = pipeline(SOLVERS[0])
    attributes = vars(pipe).keys()
    like, layout = sample_of(pipe, lambda: pipe(STEPS, torch.Generator()))
    assert like.shape == SHAPE
    assert layout.axes == 2
    assert not pipe.truths  # the model was not asked
    assert vars(pipe).keys() == attributes
    with pytest.raises(StudioError, match="no latents"):
        sample_of(pipe, lambda: None)
    with pytest.raises(ZeroDivisionError):
        sample_of(pipe, lambda: 1 // 0)


@pytest.mark.parametrize("case", SOLVERS, ids=IDS)
def test_a_run_ends_before_the_step_that_it_was_to_come_to(case: tuple[str, dict[str, Any], str]) -> None:
    pipe = pipeline(case)
    for until in (1, 3, STEPS):
        with pytest.raises(Cancelled), observe(pipe, until=until) as run:
            pipe(STEPS)
        assert not run.cancelled
        assert run.steps[-1].number == until
        assert (run.steps[-1].index + 1) % run.steps[-1].order == 0 or until == STEPS


# -- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((-1, CLEAN, NOISE), "counted from 0"),
        ((1.5, CLEAN, NOISE), "counted from 0"),
        ((True, CLEAN, NOISE), "counted from 0"),
        ((2, CLEAN.long(), NOISE), "floating-point"),
        ((2, CLEAN, "noise"), "should be a tensor"),
        ((2, CLEAN, NOISE[..., :4]), "the noise"),
        ((2, CLEAN * math.nan, NOISE), "infinite or none"),
        ((2, CLEAN, NOISE * math.inf), "infinite or none"),
        ((2, CLEAN, NOISE, -3), "A seed"),
    ],
)
def test_no_start_is_made_of_what_cannot_be(arguments: tuple[Any, ...], words: str) -> None:
    with pytest.raises(StudioError, match=words):
        start_at(*arguments)


def test_starts_that_do_not_fit_the_run_are_refused() -> None:
    pipe = pipeline(SOLVERS[0])
    scheduler = pipe.scheduler
    with pytest.raises(StudioError, match="has 8 steps, 0 to 7"):
        paint(pipe, resume=start_at(STEPS, CLEAN, NOISE))
    with pytest.raises(StudioError, match="shaped"):
        paint(pipe, resume=start_at(2, CLEAN[..., :4], NOISE[..., :4]))
    with (
        pytest.raises(StudioError, match="the arguments of a whole run"),
        observe(pipe, resume=start_at(2, CLEAN, NOISE)),
    ):
        pipe(STEPS, strength=0.5)  # starts in the middle by itself
    assert pipe.scheduler is scheduler
    assert torch.equal(paint(pipe)[0], paint(pipe)[0])


def test_solvers_that_cannot_start_in_the_middle_say_so() -> None:
    start = start_at(3, CLEAN, NOISE)
    for name, words in (
        ("PNDMScheduler", "PNDMScheduler cannot start"),
        ("DPMSolverSinglestepScheduler", "Start at step"),
    ):
        pipe = ToyPipeline(fresh(name))
        with pytest.raises(StudioError, match=words):
            paint(pipe, resume=start)
        _, run = paint(pipe, resume=Start(0, CLEAN, NOISE))
        torch.testing.assert_close(run.steps[0].x, run.steps[0].signal * CLEAN + run.steps[0].noise * NOISE)


# -- what is left behind ----------------------------------------------------------------------------------------------


def test_a_block_of_several_calls_gives_back_what_was_there_before_the_first() -> None:
    pipe = ToyPipeline(fresh("EulerDiscreteScheduler"))
    clean = torch.zeros(SHAPE)
    torch.manual_seed(42)
    wanted = torch.rand(4)
    torch.manual_seed(42)
    with observe(pipe, resume=start_at(3, clean, clean, 5)):
        for _ in range(2):
            pipe(STEPS, torch.Generator().manual_seed(7))
    assert torch.equal(torch.rand(4), wanted)


@pytest.mark.parametrize("broken", [False, True])
def test_a_resumed_run_leaves_the_program_its_random_numbers(broken: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the record of the run cannot be closed."""
    pipe = ToyPipeline(fresh("EulerAncestralDiscreteScheduler"))
    torch.manual_seed(1)
    with observe(pipe) as run:
        pipe(STEPS, torch.Generator().manual_seed(7))
    torch.manual_seed(42)
    wanted = torch.rand(4)
    torch.manual_seed(42)
    if broken:
        monkeypatch.setattr("studio.diffusion.run.settle", lambda steps, moments: 1 / 0)
    with contextlib.suppress(ZeroDivisionError), observe(pipe, resume=run.at(3)):
        pipe(STEPS, torch.Generator().manual_seed(7))
    assert torch.equal(torch.rand(4), wanted)


def test_another_device_is_read_seeded_and_given_back_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two cards, that on which the run is, and not the one that happens to be the current one."""
    states = [torch.Generator().manual_seed(number).get_state() for number in (10, 11)]

    class Cards:
        def get_rng_state(self, device: torch.device) -> Tensor:
            return states[device.index].clone()

        def set_rng_state(self, state: Tensor, device: torch.device) -> None:
            states[device.index] = state

    plain = torch.Generator
    monkeypatch.setattr(torch, "get_device_module", lambda device: Cards())
    monkeypatch.setattr(torch, "Generator", lambda device="cpu": plain())
    second = torch.device("cuda", 1)
    with torch.random.fork_rng(devices=()):
        before = memory.RandomState.read((), second, None)
        assert before.device_state is not None and torch.equal(before.device_state, states[1])
        memory.seed_random(5, second)
        assert torch.equal(states[0], plain().manual_seed(10).get_state())
        assert torch.equal(states[1], plain().manual_seed(5).get_state())
        assert torch.equal(torch.rand(3), torch.rand(3, generator=plain().manual_seed(5)))
        memory.restore_random(before.torch_state, before.device_state, second)
        assert torch.equal(states[1], plain().manual_seed(11).get_state())


@pytest.mark.parametrize("fails", [False, True])
def test_the_program_s_own_random_numbers_go_on_as_if_nothing_had_been_seeded(fails: bool) -> None:
    pipe = ToyPipeline(fresh("EulerDiscreteScheduler"))
    clean = torch.zeros(SHAPE)

    def left(reseed: int | None) -> Tensor:
        torch.manual_seed(42)
        with contextlib.suppress(ZeroDivisionError), observe(pipe, resume=start_at(3, clean, clean, reseed)) as run:
            pipe(STEPS, torch.Generator().manual_seed(7))
            assert run.steps
            if fails:
                1 / 0  # noqa: B018
        return torch.rand(4)

    assert torch.equal(left(5), left(None))


def test_a_probe_that_fails_gives_offloaded_models_back_too() -> None:
    pipe, freed = ToyPipeline(fresh("EulerDiscreteScheduler")), []
    pipe.maybe_free_model_hooks = lambda: freed.append(True)  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        sample_of(pipe, lambda: 1 // 0)
    assert freed == [True]
    sample_of(pipe, lambda: pipe(STEPS, torch.Generator()))
    assert freed == [True, True]
