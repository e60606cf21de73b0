"""Edits of a recorded run: another clean estimate with the same noise, bands of another run, bands held."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import tiny
from torch import Tensor

from studio.diffusion.edits import BandLock, edited, renoised, with_band
from studio.diffusion.layout import Line, Packed
from studio.diffusion.observe import observe
from studio.diffusion.recording import Moment, RunFacts
from studio.diffusion.resume import ResumePoint
from studio.diffusion.steps import Step
from studio.diffusion.strengths import Schedule
from studio.diffusion.wavelets import split_bands
from studio.errors import StudioError

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")  # the schedulers' own, on numpy 2

SIGNAL, NOISE = 0.6, 0.8


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def point_at(
    x: Tensor | None = None, scheduler: str = "DPMSolverMultistepScheduler", memory: Any = None, **fields: Any
) -> ResumePoint:
    """The point at step 4 of 10, entered with signal 0.6 and noise 0.8."""
    x = draw(1, 4, 16, 16) if x is None else x
    step = Step(
        index=4,
        total=10,
        order=1,
        timestep=500.0,
        sigma=NOISE / SIGNAL,
        x=x,
        denoised=draw(*x.shape, seed=1, dtype=x.dtype),
        x_next=draw(*x.shape, seed=2, dtype=x.dtype),
        signal=SIGNAL,
        noise=NOISE,
        signal_next=0.7,
        noise_next=math.sqrt(0.51),
    )
    step = dataclasses.replace(step, **fields)
    level = None if step.signal is None or step.noise is None else (step.signal, step.noise)
    facts = RunFacts(
        pipeline="Toy",
        scheduler=scheduler,
        scheduler_config={"algorithm_type": "dpmsolver++"},
        total=10,
        order=1,
        begin_index=0,
        timesteps=tuple(999.0 - 100 * i for i in range(10)),
        levels=((0.1, 0.9),) * 3 + ((0.5, math.sqrt(0.75)), level) + ((0.9, 0.1),) * 6,
        fingerprint="-:-",
        layout=step.layout,
    )
    moment = Moment(x=x, memory=memory or {}, torch_state=torch.get_rng_state())
    return ResumePoint(4, moment, facts, step)


def test_edit_moves_the_sample_by_the_signal_and_keeps_the_noise() -> None:
    point = point_at()
    new = draw(1, 4, 16, 16, seed=5)
    moved = point.edited(new)
    torch.testing.assert_close(
        moved.moment.x, point.moment.x + SIGNAL * (new - point.step.denoised), atol=1e-6, rtol=0
    )
    torch.testing.assert_close(moved.step.n_hat, point.step.n_hat, atol=1e-5, rtol=0)
    torch.testing.assert_close(moved.step.denoised, new)


def test_round_trip_error_of_an_autoencoder_cancels() -> None:
    """What counts is the difference of the two encoded pictures, not how far both are from the clean estimate."""
    point = point_at()
    error, change = draw(1, 4, 16, 16, seed=6), draw(1, 4, 16, 16, seed=7)
    shown = point.step.denoised + error
    moved = point.edited(shown + change, shown)
    torch.testing.assert_close(moved.moment.x, point.moment.x + SIGNAL * change, atol=1e-6, rtol=0)


def test_nothing_changed_is_the_very_same_point() -> None:
    point = point_at()
    shown = draw(1, 4, 16, 16, seed=6)
    assert point.edited(point.step.denoised.clone()) is point
    assert point.edited(shown, shown.clone()) is point
    assert point.edited(shown + 1, shown, mask=torch.zeros(16, 16)) is point
    assert point.with_band(0, point.step.denoised.clone()) is point


def test_edit_leaves_the_recorded_point_and_its_memory_untouched() -> None:
    history = draw(1, 4, 16, 16, seed=3)
    point = point_at(memory={"model_outputs": [None, history], "lower_order_nums": 2})
    before = (point.moment.x.clone(), history.clone(), point.step.denoised.clone())
    moved = point.edited(point.step.denoised + 1)
    assert moved is not point
    assert moved.moment.memory["model_outputs"][0] is None
    torch.testing.assert_close(moved.moment.memory["model_outputs"][1], history + 1)
    assert moved.moment.memory["lower_order_nums"] == 2
    for kept, now in zip(before, (point.moment.x, history, point.step.denoised), strict=True):
        assert torch.equal(kept, now)


def test_corrector_of_unipc_starts_from_an_edited_sample() -> None:
    last, history = draw(1, 4, 16, 16, seed=3), draw(1, 4, 16, 16, seed=4)
    point = point_at(scheduler="UniPCMultistepScheduler", memory={"last_sample": last, "model_outputs": [history]})
    moved = point.edited(point.step.denoised + 1)
    torch.testing.assert_close(moved.moment.memory["last_sample"], last + 0.5)  # the signal of step 3
    torch.testing.assert_close(moved.moment.memory["model_outputs"][0], history + 1)


def test_estimate_that_the_loop_hands_on_is_edited_too() -> None:
    point = point_at(scheduler="CogVideoXDPMScheduler")
    old = draw(1, 4, 16, 16, seed=3)
    point = dataclasses.replace(
        point, moment=dataclasses.replace(point.moment, arguments={"old_pred_original_sample": old})
    )
    moved = point.edited(point.step.denoised + 1)
    torch.testing.assert_close(moved.moment.arguments["old_pred_original_sample"], old + 1)


def test_two_edits_are_as_good_as_their_sum() -> None:
    point = point_at(memory={"model_outputs": [draw(1, 4, 16, 16, seed=3)]})
    clean = point.step.denoised
    at_once = point.edited(clean + 3)
    one_by_one = point.edited(clean + 1).edited(clean + 3)  # what is shown by default is the first edit
    torch.testing.assert_close(one_by_one.moment.x, at_once.moment.x)
    torch.testing.assert_close(one_by_one.moment.memory["model_outputs"][0], at_once.moment.memory["model_outputs"][0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtype_of_the_sample_is_kept(dtype: torch.dtype) -> None:
    point = point_at(draw(1, 4, 16, 16, dtype=dtype))
    moved = point.edited(point.step.denoised.float() + 1)
    assert moved.moment.x.dtype == moved.step.denoised.dtype == dtype
    eps = max(torch.finfo(dtype).eps, torch.finfo(torch.float32).eps)  # the edit itself is given in float32
    torch.testing.assert_close(moved.moment.x, point.moment.x + SIGNAL, atol=4 * eps, rtol=eps)


# -- masks ------------------------------------------------------------------------------------------------------------


def test_mask_edits_where_it_is_1_and_half_where_it_is_half() -> None:
    point = point_at()
    mask = torch.zeros(16, 16)
    mask[:8], mask[8:10] = 1, 0.5
    change = point.edited(point.step.denoised + 1, mask=mask).moment.x - point.moment.x
    torch.testing.assert_close(change[..., :8, :], torch.full((1, 4, 8, 16), SIGNAL))
    torch.testing.assert_close(change[..., 8:10, :], torch.full((1, 4, 2, 16), SIGNAL / 2))
    assert not change[..., 10:, :].any()


def test_mask_of_ones_equals_no_mask() -> None:
    point = point_at()
    new = draw(1, 4, 16, 16, seed=5)
    assert torch.equal(point.edited(new, mask=torch.ones(16, 16)).moment.x, point.edited(new).moment.x)


def test_mask_of_the_pictures_size_is_averaged_over_each_latent() -> None:
    mask = torch.zeros(128, 128)
    mask[:, :4] = 1  # half a latent
    point = point_at()
    change = point.edited(point.step.denoised + 1, mask=mask).moment.x - point.moment.x
    torch.testing.assert_close(change[..., 0], torch.full((1, 4, 16), SIGNAL / 2))
    assert not change[..., 1:].any()


def test_mask_acts_on_space_also_where_latents_are_packed() -> None:
    layout = Packed(8, 8)
    point = point_at(draw(1, 16, 16), layout=layout)
    mask = torch.zeros(8, 8)
    mask[:, :4] = 1
    moved = point.edited(point.step.denoised + 1, mask=mask)
    change = layout.to_space(moved.moment.x - point.moment.x)
    torch.testing.assert_close(change[..., :4], torch.full((1, 4, 8, 4), SIGNAL))
    assert not change[..., 4:].any()


def test_mask_of_sound_is_a_line() -> None:
    point = point_at(draw(1, 4, 32), layout=Line())
    mask = torch.zeros(32)
    mask[5] = 1
    change = point.edited(point.step.denoised + 1, mask=mask).moment.x - point.moment.x
    assert change.abs().sum(1)[0].nonzero().flatten().tolist() == [5]


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (torch.ones(7, 7), "A mask of 7 × 7 does not fit latents of 16 × 16"),
        (torch.ones(16), r"a mask is shaped \(H, W\)"),
        (torch.ones(1, 16, 16), r"A mask is shaped \(H, W\)"),
        ("here", "a tensor or an array, not str"),
        (torch.full((16, 16), 1.5), "from 1.5 to 1.5"),
        (torch.full((16, 16), math.nan), "from nan to nan"),
        (torch.zeros(0, 0), r"not \(0, 0\)"),
    ],
)
def test_mask_that_does_not_fit_is_refused(mask: Any, words: str) -> None:
    point = point_at()
    with pytest.raises(StudioError, match=words):
        point.edited(point.step.denoised + 1, mask=mask)


# -- bands of another run --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wavelet", ["haar", "db4"])
@pytest.mark.parametrize("level", [0, 1, 3, (0, 2)])
def test_band_of_another_estimate_is_put_in_and_the_others_stay(level: Any, wavelet: str) -> None:
    point = point_at()
    other = draw(1, 4, 16, 16, seed=9)
    moved = point.with_band(level, other, wavelet=wavelet, levels=3)
    chosen = (level,) if isinstance(level, int) else level
    now, mine, theirs = (split_bands(c, wavelet, 3) for c in (moved.step.denoised, point.step.denoised, other))
    for band in range(4):
        torch.testing.assert_close(now[band], theirs[band] if band in chosen else mine[band], atol=2e-5, rtol=0)
    torch.testing.assert_close(moved.step.n_hat, point.step.n_hat, atol=1e-5, rtol=0)


def test_all_bands_of_another_estimate_are_that_estimate() -> None:
    point = point_at()
    other = draw(1, 4, 16, 16, seed=9)
    torch.testing.assert_close(
        with_band(point, (0, 1, 2), other, "db2", 2).moment.x, edited(point, other).moment.x, atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("level", [-1, 3, True, (), "0", (0, 7), 0.0])
def test_band_that_is_not_there_is_refused(level: Any) -> None:
    with pytest.raises(StudioError, match="Name one or more bands from 0"):
        point_at().with_band(level, draw(1, 4, 16, 16), levels=2)


def test_wavelet_or_depth_that_cannot_be_is_refused() -> None:
    with pytest.raises(StudioError, match="not a wavelet"):
        point_at().with_band(0, draw(1, 4, 16, 16), wavelet="db99")
    with pytest.raises(StudioError, match="cannot be made of 16 × 16 latents"):
        point_at().with_band(0, draw(1, 4, 16, 16), levels=5)


# -- other noise ------------------------------------------------------------------------------------------------------


def test_other_noise_keeps_the_clean_estimate() -> None:
    point = point_at()
    noise = draw(1, 4, 16, 16, seed=9)
    moved = renoised(point, noise)
    torch.testing.assert_close(moved.moment.x, SIGNAL * point.step.denoised + NOISE * noise, atol=1e-6, rtol=0)
    assert moved.step.denoised is point.step.denoised


def test_step_without_noise_has_none_to_exchange() -> None:
    with pytest.raises(StudioError, match="holds no noise that could be exchanged"):
        renoised(point_at(noise=0.0, signal=1.0), draw(1, 4, 16, 16))


# -- locks ------------------------------------------------------------------------------------------------------------


def later(point: ResumePoint, number: int = 6, noise_level: float = 0.5, **fields: Any) -> Step:
    """A later step of another run, as the hook sees it before the solver steps."""
    x = draw(*point.step.x.shape, seed=20 + number)
    return dataclasses.replace(
        point.step,
        index=number - 1,
        x=x,
        x_next=x,
        denoised=draw(*x.shape, seed=40 + number),
        signal=math.sqrt(1 - noise_level**2),
        noise=noise_level,
        **fields,
    )


@pytest.mark.parametrize("wavelet", ["haar", "sym4"])
@pytest.mark.parametrize("bands", [[0], [0, 1], [3]])
def test_locked_bands_are_those_of_the_reference_and_the_others_free(bands: list[int], wavelet: str) -> None:
    point = point_at()
    (hook,) = point.lock(bands, wavelet=wavelet, levels=3).hooks
    assert isinstance(hook, BandLock)
    step = later(point)
    held, free, reference = (
        split_bands(c, wavelet, 3) for c in (hook.before(step), step.denoised, point.step.denoised)
    )
    for band in range(4):
        torch.testing.assert_close(held[band], (reference if band in bands else free)[band], atol=2e-5, rtol=0)
    assert hook(step) is step.x_next


def test_lock_without_another_reference_changes_nothing_at_its_own_step() -> None:
    point = point_at()
    locked = point.lock([0], levels=2)
    assert locked.moment is point.moment
    assert locked.hooks[0].before(point.step).sub(point.step.denoised).abs().max() == 0


def test_reference_from_elsewhere_is_put_into_the_sample_at_once() -> None:
    point = point_at()
    other = draw(1, 4, 16, 16, seed=9)
    locked = point.lock([0], reference=other, levels=2)
    torch.testing.assert_close(locked.moment.x, point.with_band(0, other, levels=2).moment.x)
    loose = point.lock([0], reference=other, levels=2, release=0.9)  # the point is at 0.8: free already
    assert loose.moment is point.moment


def test_release_lets_go_below_its_noise_level() -> None:
    point = point_at()
    (hook,) = point.lock([0], release=0.5).hooks
    early, late = later(point, 5, 0.51), later(point, 6, 0.49)
    assert hook.before(early) is not early.denoised
    assert hook.before(late) is late.denoised


def test_schedule_lets_go_bit_by_bit() -> None:
    point = point_at()
    (hook,) = point.lock([0], release=Schedule.drawn([(0, 1), (1, 0)])).hooks
    step = later(point, 4)  # a third of the way
    full = split_bands(point.step.denoised)[0] - split_bands(step.denoised)[0]
    moved = split_bands(hook.before(step))[0] - split_bands(step.denoised)[0]
    torch.testing.assert_close(moved, full * (1 - 3 / 9), atol=1e-5, rtol=0)


def test_lock_can_follow_a_recorded_run_step_by_step() -> None:
    point = point_at()
    trail = [later(point, number, 0.9 - 0.1 * number, timestep=float(number)) for number in range(1, 9)]
    (hook,) = point.lock([0], reference=trail).hooks
    step = later(point, 3, 0.58)
    followed = trail[2]  # noise level 0.6
    torch.testing.assert_close(split_bands(hook.before(step))[0], split_bands(followed.denoised)[0], atol=1e-5, rtol=0)


def test_energy_mode_keeps_how_much_and_not_what() -> None:
    point = point_at()
    locked = point.lock([1, 2], levels=2, wavelet="db2", mode="energy")
    assert locked.moment is point.moment
    step = later(point)
    held, free, reference = (
        split_bands(c, "db2", 2) for c in (locked.hooks[0].before(step), step.denoised, point.step.denoised)
    )
    torch.testing.assert_close(held[0], free[0], atol=2e-5, rtol=0)
    for band in (1, 2):
        energy = held[band].square().sum((0, -2, -1))
        torch.testing.assert_close(energy, reference[band].square().sum((0, -2, -1)), atol=1e-3, rtol=1e-4)
        cosine = torch.cosine_similarity(held[band].flatten(), free[band].flatten(), dim=0)
        assert cosine > 0.9  # the shape is the run's own


def test_energy_of_a_band_that_is_empty_stays_empty() -> None:
    point = point_at()
    (hook,) = point.lock([1], mode="energy").hooks
    step = dataclasses.replace(later(point), denoised=torch.ones(1, 4, 16, 16))
    assert torch.isfinite(hook.before(step)).all()
    torch.testing.assert_close(hook.before(step), step.denoised)


@settings(max_examples=15, deadline=None)
@given(
    size=st.tuples(st.integers(8, 19), st.integers(8, 19)),
    dtype=st.sampled_from([torch.float16, torch.float32, torch.float64]),
    levels=st.integers(1, 3),
)
def test_lock_keeps_size_and_dtype(size: tuple[int, int], dtype: torch.dtype, levels: int) -> None:
    point = point_at(draw(1, 2, *size, dtype=dtype))
    (hook,) = point.lock([0, levels], levels=levels, wavelet="db2").hooks
    step = later(point)
    step = dataclasses.replace(step, denoised=step.denoised.to(dtype))
    held = hook.before(step)
    assert (held.shape, held.dtype) == (step.denoised.shape, dtype)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bands": [2]}, "Name one or more bands from 0"),
        ({"bands": [0], "wavelet": "db99"}, "not a wavelet"),
        ({"bands": [0], "wavelet": "bior2.2"}, "not orthogonal"),
        ({"bands": [0], "levels": 5}, "cannot be made of 16 × 16 latents"),
        ({"bands": [0], "levels": 0}, "levels run from 1"),
        ({"bands": [0], "mode": "style"}, "held by content or energy, not by 'style'"),
        ({"bands": [0], "release": 1.5}, "not at 1.5"),
        ({"bands": [0], "release": math.nan}, "not at nan"),
        ({"bands": [0], "release": "late"}, "not at 'late'"),
        ({"bands": [0], "reference": []}, "no step with a clean estimate"),
        ({"bands": [0], "reference": torch.zeros(1, 4, 8, 8)}, r"shaped \(1, 4, 8, 8\)"),
    ],
)
def test_lock_that_cannot_be_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(StudioError, match=words):
        point_at().lock(**options)


def test_reference_of_another_size_is_refused_in_the_run() -> None:
    point = point_at()
    hook = BandLock([0], torch.zeros(1, 4, 8, 8))
    with pytest.raises(StudioError, match=r"shaped \(1, 4, 8, 8\), the run's latents are \(1, 4, 16, 16\)"):
        hook.before(later(point))


# -- on a pipeline ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["sd", "flux"])
def test_edit_and_lock_act_on_space_in_a_whole_run(family: str) -> None:
    """The locked band of what leaves the last step is that of the reference, though flux packs its latents."""
    pipe = tiny(family)
    pipe.set_progress_bar_config(disable=True)

    def paint(prompt: str) -> Tensor:
        generator = torch.Generator().manual_seed(3)
        size = {"height": 64, "width": 64, "num_inference_steps": 6}
        return pipe(prompt, generator=generator, output_type="latent", **size).images

    with observe(pipe) as run:
        plain = paint("a lake")
    clean, layout = run.steps[3].denoised, run.steps[3].layout
    other = draw(*clean.shape, seed=5)
    with observe(pipe, resume=run.at(3).lock([0], reference=other, wavelet="db2", levels=2)) as held:
        paint("a tree")
    low, wanted = (split_bands(layout.to_space(x), "db2", 2)[0] for x in (held.steps[-1].x_next, other))
    torch.testing.assert_close(low, wanted, atol=2e-4, rtol=0)
    with observe(pipe, resume=run.at(3).edited(clean + other, clean)):
        assert not torch.equal(paint("a lake"), plain)
    with observe(pipe, resume=run.at(3).edited(clean)):
        assert torch.equal(paint("a lake"), plain)


def test_edited_run_goes_on_with_another_solver() -> None:
    """What is edited is the clean estimate, so it survives a change of the sample's own representation."""
    from diffusers import DPMSolverMultistepScheduler, EulerDiscreteScheduler

    pipe = tiny("sd")
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)

    def paint() -> Tensor:
        generator = torch.Generator().manual_seed(3)
        return pipe("a lake", num_inference_steps=8, height=64, width=64, generator=generator, output_type="latent")[0]

    with observe(pipe) as run:
        paint()
    point = renoised(run.at(4).edited(run.steps[4].denoised + 2), draw(1, 4, 8, 8, seed=5)).elsewhere()
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)  # keeps variance, Euler does not
    with observe(pipe, resume=point) as branch:
        paint()
    first = branch.steps[0]
    expected = first.signal * (run.steps[4].denoised + 2) + first.noise * draw(1, 4, 8, 8, seed=5)
    torch.testing.assert_close(first.x, expected, atol=1e-4, rtol=0)


# -- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("clean", "words"),
    [
        (torch.zeros(1, 4, 8, 8), r"shaped \(1, 4, 8, 8\), the latents of step 4 are \(1, 4, 16, 16\)"),
        (torch.zeros(1, 4, 16, 16, dtype=torch.int64), "floating-point latents, not torch.int64"),
        (torch.full((1, 4, 16, 16), math.nan), "infinite or none at all"),
        (torch.full((1, 4, 16, 16), math.inf), "infinite or none at all"),
        ("a picture", "should be a tensor of latents, not str"),
    ],
)
def test_estimate_that_does_not_fit_is_refused(clean: Any, words: str) -> None:
    point = point_at()
    for change in (
        lambda: point.edited(clean),
        lambda: point.edited(point.step.denoised, clean),
        lambda: point.with_band(0, clean),
        lambda: renoised(point, clean),
    ):
        with pytest.raises(StudioError, match=words):
            change()


def test_pure_noise_cannot_be_edited_but_locked() -> None:
    point = point_at(signal=0.0, noise=1.0)
    with pytest.raises(StudioError, match="enters in pure noise, where an edit would leave no trace"):
        point.edited(point.step.denoised + 1)
    assert point.lock([0], reference=draw(1, 4, 16, 16, seed=9)).moment is point.moment


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"denoised": None}, "tells no clean estimate"), ({"signal": None}, "noise levels of this run's scheduler")],
)
def test_scheduler_that_tells_too_little_is_named(fields: dict[str, Any], words: str) -> None:
    point = point_at(**fields)
    with pytest.raises(StudioError, match=words):
        point.edited(draw(1, 4, 16, 16, seed=5))
