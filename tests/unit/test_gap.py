"""The SNR-t gap on data whose best denoiser is known: what is measured, what is found, what is not found."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler, HeunDiscreteScheduler
from gaussian_toy import GaussianPipe
from torch import Tensor

from studio.diffusion.baselines import EpsilonScaling
from studio.diffusion.calibration import CLOSES, NOTHING, UNCONFIRMED, Calibration, Gap
from studio.diffusion.correction import Correction
from studio.diffusion.gap import Energies, Meter, band_lengths, differences, summary
from studio.diffusion.layout import PLANE
from studio.diffusion.search import (
    SIGNIFICANT,
    calibrate,
    closed_form,
    passes,
    share_closed,
    sign_flip_test,
    weights_of,
    with_band,
)
from studio.diffusion.steps import Step
from studio.diffusion.strengths import Strengths
from studio.diffusion.wavelets import projections
from studio.errors import InvalidRequest, StudioError

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")  # the schedulers' own, on numpy 2

STEPS = 12
DEVIATION = 0.6


def euler() -> EulerDiscreteScheduler:
    return EulerDiscreteScheduler(timestep_spacing="trailing")


def exact_step(step: Step) -> Tensor:
    """The solution of the flow between two noise levels for Gaussian data (signal 1: Euler's own representation)."""
    assert step.noise is not None and step.noise_next is not None
    here, there = (math.hypot(DEVIATION, noise) for noise in (step.noise, step.noise_next))
    return step.x * (there / here)


def weak_in_the_low_band(clean: Tensor) -> Tensor:
    low: Tensor = projections(clean)[0]
    return clean - 0.08 * low


def meter(
    bias: Callable[[Tensor], Tensor] = lambda clean: clean,
    scheduler: object = None,
    steps: int = STEPS,
    batch: int = 64,
    levels: int = 1,
) -> Meter:
    pipe = GaussianPipe(scheduler or euler(), DEVIATION, bias)
    return Meter(pipe, lambda samples: pipe(list(samples), steps), batch=batch, levels=levels)


def gap_between(reverse: Energies, forward: Energies) -> Gap:
    return summary(differences(reverse, forward), reverse, forward)


# -- measuring --------------------------------------------------------------------------------------------------------


def test_an_exact_denoiser_and_solver_leave_no_significant_gap() -> None:
    whole = meter()
    reverse, clean = whole.reverse(range(128), [exact_step])
    forward = whole.forward(range(128), clean)
    assert sign_flip_test(differences(reverse, forward)) > 0.05
    gap = gap_between(reverse, forward)
    # chance alone: no step and band is further off than 4.5 of its standard errors
    assert (np.abs(gap.mean) < 4.5 * np.array(gap.error)).all()
    assert gap.size < 0.003


def test_a_biased_denoiser_shows_a_gap_in_its_band() -> None:
    whole = meter(weak_in_the_low_band)
    reverse, clean = whole.reverse(range(64), [])
    forward = whole.forward(range(64), clean)
    assert sign_flip_test(differences(reverse, forward)) < SIGNIFICANT
    gap = gap_between(reverse, forward)
    low, _ = gap.mean[-1]
    assert low > 5 * gap.error[-1][0], "what the estimate lacks stays in the sample as noise"


def test_the_forward_side_is_what_the_best_denoiser_says_of_noised_data() -> None:
    """n_hat = x s / (a² c² + s²) for Gaussian data, so its mean square is s² / (a² c² + s²)."""
    whole = meter(scheduler=DDIMScheduler(clip_sample=False, timestep_spacing="trailing"))
    _, clean = whole.reverse(range(2))
    data = DEVIATION * torch.randn(400, *clean.shape[1:], generator=torch.Generator().manual_seed(1))
    forward = whole.forward(range(400), data)
    noise = np.array(forward.noise_levels)
    expected = noise / np.sqrt((1 - noise**2) * DEVIATION**2 + noise**2)
    found = np.sqrt((forward.values**2).mean(axis=0))  # (T, bands)
    # 400 samples of 32 and 96 coefficients: a relative standard error of at most 1 / sqrt(2 · 400 · 32) = 0.6 %
    np.testing.assert_allclose(found, np.stack([expected, expected], axis=1), rtol=0.03)


@pytest.mark.parametrize("scheduler", [EulerDiscreteScheduler, DPMSolverMultistepScheduler])
def test_both_sides_are_measured_at_the_same_noise_levels(scheduler: Callable[..., object]) -> None:
    whole = meter(scheduler=scheduler(timestep_spacing="trailing"))
    reverse, clean = whole.reverse(range(3))
    forward = whole.forward(range(3), clean)
    assert reverse.steps == forward.steps == tuple(range(1, STEPS))
    assert reverse.noise_levels == forward.noise_levels
    assert list(reverse.noise_levels) == sorted(reverse.noise_levels, reverse=True)


def test_second_looks_of_second_order_solvers_are_left_out() -> None:
    whole = meter(scheduler=HeunDiscreteScheduler(timestep_spacing="trailing"), steps=5)
    reverse, clean = whole.reverse(range(3))
    forward = whole.forward(range(3), clean)
    assert reverse.steps == forward.steps == (1, 2, 3, 4)


def test_batches_change_nothing() -> None:
    first, second = meter(batch=7), meter(batch=64)
    one, clean = first.reverse(range(10))
    other, same = second.reverse(range(10))
    np.testing.assert_allclose(one.values, other.values, rtol=1e-5)
    torch.testing.assert_close(clean, same)
    np.testing.assert_allclose(
        first.forward(range(10), clean).values, second.forward(range(10), clean).values, rtol=1e-5
    )


def test_measuring_leaves_the_runs_as_they_are() -> None:
    whole = meter()
    _, ends = whole.reverse(range(3))
    assert torch.equal(ends, whole.pipe([0, 1, 2], STEPS))
    assert type(whole.pipe.scheduler) is EulerDiscreteScheduler


def test_the_model_is_measured_and_not_what_a_hook_makes_of_it() -> None:
    plain, _ = meter().reverse(range(3))
    scaled, _ = meter().reverse(range(3), [_From(5, EpsilonScaling(1.2))])
    np.testing.assert_allclose(scaled.values[:, :5], plain.values[:, :5], rtol=1e-5)  # steps 1 to 5
    assert (np.abs(scaled.values[:, 5:] / plain.values[:, 5:] - 1) > 1e-3).all()


class _From:
    """A hook that acts from one step on."""

    def __init__(self, index: int, hook: EpsilonScaling) -> None:
        self._index, self._hook = index, hook

    def __call__(self, step: Step) -> Tensor:
        return step.x_next

    def before(self, step: Step) -> Tensor:
        return self._hook.before(step) if step.index >= self._index else step.denoised  # type: ignore[return-value]


def test_taking_out_the_luck_of_the_noise_makes_errors_smaller_and_keeps_the_mean() -> None:
    whole = meter(weak_in_the_low_band)
    reverse, clean = whole.reverse(range(96))
    forward = whole.forward(range(96), clean)
    raw = reverse.values - forward.values
    known = differences(reverse, forward)
    ratio = known.std(axis=0) / raw.std(axis=0)
    assert (ratio <= 1 + 1e-9).all()
    assert ratio[: STEPS // 2].max() < 0.35
    error = raw.std(axis=0, ddof=1) / math.sqrt(96)
    assert (np.abs(known.mean(axis=0) - raw.mean(axis=0)) < 4 * error).all()


@pytest.mark.parametrize(("shape", "levels"), [((40, 2, 8, 8), 1), ((40, 3, 16, 8), 3), ((40, 2, 5, 8, 8), 2)])
def test_white_noise_has_length_one_in_every_band(shape: tuple[int, ...], levels: int) -> None:
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    lengths, counts = band_lengths(noise, PLANE, "haar", levels)
    assert lengths.shape == (40, levels + 1)
    assert sum(counts) == noise[0].numel()
    np.testing.assert_allclose((lengths**2).mean(axis=0), 1, atol=5 * math.sqrt(2 / (40 * min(counts))))


def test_odd_sides_are_measured_too() -> None:
    pipe = GaussianPipe(euler(), DEVIATION)
    whole = Meter(pipe, lambda samples: pipe(list(samples), 4, (2, 7, 9)))
    reverse, clean = whole.reverse(range(4))
    assert np.isfinite(gap_between(reverse, whole.forward(range(4), clean)).mean).all()


def test_one_sample_is_refused() -> None:
    whole = meter()
    reverse, clean = whole.reverse(range(1))
    with pytest.raises(StudioError, match="at least 2 samples"):
        gap_between(reverse, whole.forward(range(1), clean))


def test_a_single_step_is_refused() -> None:
    with pytest.raises(StudioError, match="two steps or more"):
        meter(steps=1).reverse(range(2))


def test_more_levels_than_the_latents_have_are_refused() -> None:
    with pytest.raises(StudioError, match="8 × 8"):
        meter(levels=4).reverse(range(2))


# -- finding strengths ------------------------------------------------------------------------------------------------


def test_the_strength_found_closes_the_gap_of_a_biased_denoiser() -> None:
    said: list[str] = []
    found = calibrate(meter(weak_in_the_low_band), range(48), range(48, 96), {"solver": "Euler"}, said.append)
    assert found.verdict == CLOSES
    assert found.strengths is not None and found.after is not None and found.closed is not None
    assert found.strengths.values[0] < 0, "the run is too noisy: less of it must be kept"
    assert found.after.size < 0.4 * found.before.size
    assert found.closed[0] > 0.7
    assert len(said) <= passes(1)
    # measured once more, by hand, on samples that nobody has seen
    whole = meter(weak_in_the_low_band)
    reverse, clean = whole.reverse(range(200, 264))
    forward = whole.forward(range(200, 264), clean)
    corrected, _ = whole.reverse(range(200, 264), [Correction(strengths=found.strengths)])
    assert gap_between(corrected, forward).size < 0.4 * gap_between(reverse, forward).size


def test_nothing_is_found_where_nothing_is() -> None:
    whole = _Exact(meter())
    found = calibrate(whole, range(48), range(48, 96))  # type: ignore[arg-type]
    assert found.verdict == NOTHING
    assert found.strengths is None and found.after is None
    assert found.p_value >= SIGNIFICANT
    assert "nothing significant" in found.sentence()


class _Exact:
    """A meter whose runs are solved exactly."""

    def __init__(self, whole: Meter) -> None:
        self._meter = whole
        self.wavelet, self.levels = whole.wavelet, whole.levels

    def reverse(self, samples: Sequence[int], hooks: Sequence[object] = ()) -> object:
        return self._meter.reverse(samples, [exact_step, *hooks])  # type: ignore[list-item]

    def forward(self, samples: Sequence[int], clean: Tensor) -> object:
        return self._meter.forward(samples, clean)


def test_closed_form_is_weighted_least_squares() -> None:
    random = np.random.default_rng(3)
    gap, slope = random.normal(size=(2, 9, 3))
    weights = random.uniform(0.1, 2, size=(9, 3))
    strength, remains = closed_form(gap, slope, weights)
    root = np.sqrt(weights).ravel()
    expected, residual, *_ = np.linalg.lstsq((root * slope.ravel())[:, None], -root * gap.ravel(), rcond=None)
    assert strength == pytest.approx(float(expected[0]))
    assert remains == pytest.approx(float(residual[0]))


def test_a_strength_that_moves_nothing_is_zero() -> None:
    assert closed_form(np.ones((2, 2)), np.zeros((2, 2)), np.ones((2, 2))) == (0.0, 4.0)


def test_sign_flips_tell_a_shift_from_chance() -> None:
    random = np.random.default_rng(4)
    noise = random.normal(size=(40, 5, 2))
    assert sign_flip_test(noise) > 0.05
    assert sign_flip_test(noise + 0.8) == pytest.approx(1 / 2001)


def test_sign_flips_are_fair() -> None:
    """Without a shift, p is below 0.1 in about 10 % of the cases, even where steps go along with each other."""
    random = np.random.default_rng(5)
    shared = random.normal(size=(200, 24, 1))
    cases = shared + 0.3 * random.normal(size=(200, 24, 6))
    low = np.mean([sign_flip_test(case, flips=200) < 0.1 for case in cases])
    assert 0.04 < low < 0.17  # 3 standard errors of a share of 0.1 in 200 cases


def test_share_closed_is_all_or_nothing_at_its_ends() -> None:
    random = np.random.default_rng(6)
    before = 1 + 0.1 * random.normal(size=(50, 4, 2))
    weights = np.ones((4, 2))
    low, middle, high = share_closed(before, before - 1, weights)
    assert 0.98 < low <= middle <= high < 1.02
    assert share_closed(before, before, weights) == (0.0, 0.0, 0.0)
    assert share_closed(before, 2 * before, weights)[2] < -2


def test_weights_are_alike_where_the_gap_is_well_known() -> None:
    reverse, clean = meter(weak_in_the_low_band).reverse(range(64))
    forward = meter(weak_in_the_low_band).forward(range(64), clean)
    weights = weights_of(differences(reverse, forward), forward) * forward.values.mean(axis=0) ** 2
    assert weights.max() / weights.min() < 5


def test_one_band_is_replaced_at_a_time() -> None:
    start = Strengths((0.01, 0.02, 0.03), ("sigma", "sigma", "sigma"), levels=2)  # type: ignore[arg-type]
    changed = with_band(start, 1, -0.5, "constant")
    assert changed.values == (0.01, -0.5, 0.03)
    assert [schedule.kind for schedule in changed.schedules] == ["sigma", "constant", "sigma"]


# -- what was found, as JSON ------------------------------------------------------------------------------------------

GAP = Gap((1, 2), (0.9, 0.5), ((0.1, 0.2), (0.3, -0.1)), ((0.01, 0.01), (0.02, 0.02)), ((1.0, 1.0), (0.9, 0.8)), 16)
CALIBRATION = Calibration(
    verdict=CLOSES,
    strengths=Strengths.low(-0.01),
    tried=Strengths.low(-0.01),
    before=GAP,
    after=replace(GAP, mean=((0.0, 0.1), (0.1, 0.0))),
    p_value=0.001,
    closed=(0.5, 0.6, 0.7),
    wavelet="haar",
    levels=1,
    facts={"solver": "Euler", "num_inference_steps": 8},
)
FOUND = {
    CLOSES: CALIBRATION,
    UNCONFIRMED: replace(CALIBRATION, verdict=UNCONFIRMED, strengths=None),
    NOTHING: replace(CALIBRATION, verdict=NOTHING, strengths=None, tried=None, after=None, closed=None),
}


@pytest.mark.parametrize("verdict", FOUND)
def test_a_calibration_is_the_same_after_json(verdict: str) -> None:
    assert Calibration.from_json(json.dumps(FOUND[verdict].to_dict())) == FOUND[verdict]
    assert FOUND[verdict].sentence().isprintable()


BROKEN: list[tuple[str, object]] = [
    ("format", 2),
    ("verdict", "wonderful"),
    ("verdict", NOTHING),
    ("strengths", None),
    ("strengths", {}),
    ("before", None),
    ("before", {**GAP.to_dict(), "mean": [[1.0], [2.0]]}),
    ("before", {**GAP.to_dict(), "error": [[0.1, 0.1]]}),
    ("before", {**GAP.to_dict(), "steps": [1.5, 2]}),
    ("before", {**GAP.to_dict(), "samples": 1}),
    ("before", {**GAP.to_dict(), "noise_levels": ["0.9", "0.5"]}),
    ("p_value", "small"),
    ("closed", [0.1]),
    ("levels", True),
    ("wavelet", None),
    ("facts", [1]),
    ("facts", {"deep": {"er": 1}}),
    ("extra", 1),
]


@pytest.mark.parametrize(("name", "value"), BROKEN, ids=[f"{name}-{n}" for n, (name, _) in enumerate(BROKEN)])
def test_what_is_no_calibration_is_refused(name: str, value: object) -> None:
    with pytest.raises(InvalidRequest):
        Calibration.from_json(json.dumps({**CALIBRATION.to_dict(), name: value}))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": NaN}', "[" * 1000])
def test_json_that_is_no_calibration_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        Calibration.from_json(text)


def test_the_size_of_a_gap_leaves_out_what_chance_adds() -> None:
    assert GAP.size == pytest.approx(
        math.sqrt(np.mean([0.01 - 1e-4, 0.04 - 1e-4, (0.09 - 4e-4) / 0.81, (0.01 - 4e-4) / 0.64]))
    )
    assert replace(GAP, mean=((0.0, 0.0), (0.0, 0.0))).size == 0
