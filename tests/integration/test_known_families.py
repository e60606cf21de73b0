"""Fills by real pipelines of many families and solvers: what is known is held, however latents lie.

The pipelines are tiny and have random weights, but their classes, loops and schedulers are the real ones.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_families import FAMILIES, Family
from torch import Tensor

from studio.diffusion.correction import Correction
from studio.diffusion.harmonise import Rewind, harmonising
from studio.diffusion.known import KeepKnown
from studio.diffusion.layout import PLANE
from studio.diffusion.observe import Run, observe
from studio.diffusion.probe import sample_of
from studio.diffusion.run_file import load_recording
from studio.diffusion.start import seeded_noise, start_at
from studio.diffusion.steps import Step
from studio.errors import StudioError
from studio.models.encode import encode
from studio.models.layouts import decode
from studio.models.solvers import make_scheduler

PICTURES = (
    "sd",
    "sd-ancestral",
    "lcm",
    "sd-lora",
    "sdxl",
    "sdxl-heun",
    "sd3",
    "flux",
    "flux-stochastic",
    "chroma",
    "z-image",
    "flux2-klein",
    "qwen-image",
    "pixart-sigma",
    "sana",
    "sana-sprint",
    "aura-flow",
    "lumina2",
    "kandinsky-2.2",
)
OTHERS = ("wan", "ltx", "mochi", "animatediff", "kandinsky-5", "cogvideox", "cogvideox-dpm", "stable-audio")
MATRIX = (*PICTURES, *OTHERS)
SOLVERS = {
    "sd": ("DPM++ 2M", "DPM++ 2M SDE", "Euler", "Euler a", "Heun", "DDIM", "DDPM", "UniPC", "DEIS", "LCM"),
    "flux": ("DPM++ 2M", "DPM++ 2M SDE", "Euler", "Heun", "UniPC"),
    "sana": ("DPM++ 2M", "Euler", "UniPC"),
}

pytestmark = [
    pytest.mark.filterwarnings(words)
    for words in (
        "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning",
        "ignore:`FluxPosEmbed` is deprecated:FutureWarning",
        "ignore:In CPU autocast, but the target dtype:UserWarning",
    )
]


@dataclass(frozen=True, eq=False)
class Case:
    """A pipeline, what it makes unwatched, the run of that, and a picture of which the left half is known."""

    family: Family
    pipe: Any
    plain: Tensor
    run: Run
    known: Tensor
    mask: Tensor

    @property
    def keep(self) -> KeepKnown:
        return KeepKnown(self.known, self.mask, 3)

    def sides(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """The known part of latents, and the other."""
        plane = self.family.layout.to_space(latents)
        half = plane.shape[-1] // 2
        return plane[..., :half], plane[..., half:]

    def check_kept(self, run: Run) -> None:
        known, _ = self.sides(self.known)
        ended, painted = self.sides(run.steps[-1].x_next)
        assert torch.equal(ended, known)
        assert torch.isfinite(painted).all()


@functools.cache
def made(name: str) -> Case:
    family = FAMILIES[name]
    pipe = family.make()
    with observe(pipe) as run:
        plain = family.run(pipe)
    like, layout = run.steps[0].x, family.layout
    known = torch.randn(like.shape, generator=torch.Generator().manual_seed(9))
    space = layout.to_space(like).shape[-layout.axes :]
    mask = torch.zeros(space)
    mask[..., space[-1] // 2 :] = 1
    return Case(family, pipe, plain, run, known, mask)


@pytest.fixture(params=MATRIX)
def case(request: pytest.FixtureRequest) -> Case:
    return made(request.param)


def test_what_is_known_is_there_at_the_end_and_the_rest_is_painted(case: Case) -> None:
    with observe(case.pipe, [Correction(low=0.05, high=-0.03), case.keep]) as run:
        filled = case.family.run(case.pipe)
    case.check_kept(run)
    assert not torch.equal(filled, case.plain)
    noise = seeded_noise(run.steps[0].x, 3, run.steps[0].layout)
    for step in run.steps[1:]:
        if step.index % step.order == 0:
            level = step.signal * case.known + step.noise * step.deviation * noise
            torch.testing.assert_close(case.sides(step.x)[0], case.sides(level)[0], rtol=1e-4, atol=1e-4)


def test_nothing_known_changes_no_bit(case: Case) -> None:
    with observe(case.pipe, [KeepKnown(case.known, torch.ones_like(case.mask))]):
        assert torch.equal(case.family.run(case.pipe), case.plain)


def test_a_fill_that_starts_late_is_recorded_and_goes_on_to_the_bit(case: Case, tmp_path: Path) -> None:
    steps = case.run.steps
    place = steps[-1].number // 2
    noise = seeded_noise(case.known, 3, case.family.layout)
    with observe(case.pipe, [case.keep], resume=start_at(place, case.known, noise)) as run:
        filled = case.family.run(case.pipe)
    case.check_kept(run)
    assert [step.index for step in run.steps] == [s.index for s in steps if s.number > place]
    assert [step.timestep for step in run.steps] == [s.timestep for s in steps if s.number > place]
    run.save(tmp_path / "run.safetensors")
    later = run.steps[-1].index - run.steps[-1].index % run.steps[-1].order
    for recording in (run.recording, load_recording(tmp_path / "run.safetensors")):
        with observe(case.pipe, [case.keep], resume=recording.at(later)):
            assert torch.equal(case.family.run(case.pipe, outside=99), filled)


def test_tokens_that_condition_are_left_as_they_are() -> None:
    """They have no noise, so that the model's output says nothing of them, and no change of it would."""
    family = FAMILIES["ltx-condition"]
    pipe = family.make()
    with observe(pipe) as run:
        plain = family.run(pipe)

    class Doubling:
        """Doubles what the solver takes for clean."""

        def __call__(self, step: Step) -> Tensor:
            return step.x_next

        def before(self, step: Step) -> Tensor:
            assert step.denoised is not None
            return 2 * step.denoised

    with observe(pipe, [Doubling()]) as doubled:
        changed = family.run(pipe)
    assert torch.isfinite(changed).all()
    assert not torch.equal(changed, plain)
    still = (run.steps[0].x_next == run.steps[0].x).all(-1)  # the tokens that the solver does not move
    assert still.any() and not still.all()
    assert torch.equal(doubled.steps[0].x_next[still], doubled.steps[0].x[still])


def test_sana_sprint_counts_in_a_unit_of_its_own() -> None:
    """Half of its autoencoder's: noise that is exchanged, what is encoded and what is decoded are in it too."""
    case = made("sana-sprint")
    step = case.run.steps[1]
    assert step.deviation == 0.5
    drawn = seeded_noise(step.x, 8)
    moved = case.run.at(1).renoised(drawn).moment.x
    assert step.signal is not None and step.noise is not None and step.denoised is not None
    torch.testing.assert_close(moved, step.signal * step.denoised + 0.5 * step.noise * drawn, rtol=1e-4, atol=1e-5)

    vae, latents = case.pipe.vae, torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        pixels = vae.decode(latents / vae.config.scaling_factor, return_dict=False)[0]
        wanted = vae.encode(pixels, return_dict=False)[0] * vae.config.scaling_factor
    side = pixels.shape[-1]
    shown = decode(case.pipe, 0.5 * latents, side, side)
    assert shown is not None
    torch.testing.assert_close(shown, pixels)
    found = encode(case.pipe, pixels, PLANE, latents)
    assert found is not None
    torch.testing.assert_close(found, 0.5 * wanted)


@pytest.mark.parametrize("name", ["sd-ancestral", "sdxl", "sd3", "flux", "flux2-klein", "pixart-sigma", "sana", "wan"])
def test_a_harmonised_fill_goes_on_to_the_bit(name: str) -> None:
    case = made(name)
    plan = harmonising(case.run.steps[-1].count, jump=3, rounds=1)

    def fill(rewind: Rewind, outside: int) -> Tensor:
        filled = None
        for turn in rewind:
            hooks = turn.renewed([case.keep])
            with turn, observe(case.pipe, hooks, resume=turn.resume, until=turn.until) as turn.run:
                filled = case.family.run(case.pipe, outside=outside)
        assert filled is not None
        return filled

    rewind = Rewind(plan, seed=5)
    whole = fill(rewind, outside=1)
    recording = rewind.recording
    assert [step.index for step in recording.steps] == list(range(recording.facts.total))
    assert torch.equal(case.sides(recording.steps[-1].x_next)[0], case.sides(case.known)[0])
    place = 2
    again = fill(Rewind(plan.after(place), 5, recording.at(place * recording.facts.order)), outside=99)
    assert torch.equal(again, whole)


@pytest.mark.parametrize(("name", "solver"), [(name, solver) for name, all in SOLVERS.items() for solver in all])
def test_every_solver_holds_what_is_known(name: str, solver: str) -> None:
    case = made(name)
    own = case.pipe.scheduler
    case.pipe.scheduler = make_scheduler(solver, own)
    try:
        soft = torch.where(case.mask > 0, torch.linspace(0.2, 1, case.mask.shape[-1]), 0)
        for mask in (case.mask, soft):
            with observe(case.pipe, [KeepKnown(case.known, mask, 3)]) as run:
                filled = case.family.run(case.pipe)
            case.check_kept(run)
            with observe(case.pipe, [KeepKnown(case.known, mask, 3)], resume=run.at(run.steps[0].order * 2)):
                assert torch.equal(case.family.run(case.pipe, outside=99), filled)
    finally:
        case.pipe.scheduler = own


@pytest.mark.parametrize("name", [name for name in PICTURES if name != "kandinsky-2.2"])
def test_the_sample_is_known_before_it_is_painted(name: str) -> None:
    case = made(name)
    like, layout = sample_of(case.pipe, lambda: case.family.run(case.pipe))
    assert like.shape == case.family.shape
    assert layout == case.family.layout
    assert torch.equal(case.family.run(case.pipe), case.plain)


def test_noise_of_the_same_seed_is_what_the_pipeline_begins_with() -> None:
    for name in ("sd3", "flux", "qwen-image", "sana"):
        case = made(name)
        first = case.run.steps[0]
        torch.testing.assert_close(seeded_noise(first.x, 0, first.layout), first.x)


def test_a_pipeline_that_counts_its_steps_cannot_start_in_the_middle() -> None:
    family = FAMILIES["sdxl-t2i-adapter"]
    pipe = family.make()
    known = torch.zeros(family.shape)
    with (
        pytest.raises(StudioError, match="cannot start in the middle"),
        observe(pipe, resume=start_at(3, known, known)),
    ):
        family.run(pipe)
    with observe(pipe, [KeepKnown(known, torch.zeros(8, 8))], resume=start_at(0, known, known)) as run:
        family.run(pipe)
    assert not run.steps[-1].x_next.any()


def test_latents_of_another_size_are_refused() -> None:
    case = made("sd")
    wrong = KeepKnown(torch.zeros(1, 4, 8, 6), torch.zeros(8, 6))
    with pytest.raises(StudioError, match="are \\(1, 4, 8, 8\\)"), observe(case.pipe, [wrong]):
        case.family.run(case.pipe)
    assert torch.equal(case.family.run(case.pipe), case.plain)
