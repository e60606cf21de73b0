"""The correction: the published numbers, and what must hold for any strengths, masks, sizes and layouts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.diffusion.correction import Correction
from studio.diffusion.layout import ChannelsLast, Layout, Line, LineLast, Packed, Plane, Tokens, Unknown
from studio.diffusion.steps import Step
from studio.diffusion.strengths import BEFORE, Schedule, Strengths
from studio.diffusion.wavelets import ZERO, merge_bands, split_bands
from studio.errors import StudioError

few = settings(max_examples=20, deadline=None, derandomize=True)
REFERENCE = Path(__file__).parents[1] / "data" / "dcw_reference.npz"
CASES = ["0_haar", "1_haar", "2_db4", "3_sym8", "4_haar"]


def _step(shape: tuple[int, ...], dtype: torch.dtype = torch.float32, seed: int = 0, **changes: Any) -> Step:
    """The fourth of ten steps, at noise level 0.6 of a flow."""
    generator = torch.Generator().manual_seed(seed)
    x, clean, leaving = (torch.randn(shape, generator=generator).to(dtype) for _ in range(3))
    step = Step(3, 10, 1, 600.0, 0.6, x, clean, leaving, signal=0.4, noise=0.6, signal_next=0.5, noise_next=0.5)
    return replace(step, **changes)


def _published(wavelet: str, variant: str) -> Strengths:
    """With the weights of the reference, which are 1."""
    return {
        "pixel": Strengths.pixel(0.05),
        "low": Strengths.low(0.05, "constant", wavelet),
        "high": Strengths.high(0.03, "constant", wavelet),
        "double": Strengths.double(0.05, 0.03, wavelet, low_schedule="constant", high_schedule="constant"),
    }[variant]


# -- the published numbers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["pixel", "low", "high", "double"])
@pytest.mark.parametrize("case", CASES)
def test_published_results_are_matched(case: str, variant: str) -> None:
    with np.load(REFERENCE) as reference:
        x, clean, published = (torch.from_numpy(reference[f"{case}_{name}"]) for name in ("x", "y", variant))
    published = published[..., : x.shape[-2], : x.shape[-1]]  # theirs grows odd sides
    correction = Correction(strengths=_published(case[2:], variant))
    step = _step((1,), x=x, denoised=clean, x_next=x)
    exact = correction(replace(step, denoised=clean.double(), x_next=x.double()))
    # float32 keeps 24 bits of samples up to 14: half a unit in the last place, and a little for the terms added
    torch.testing.assert_close(correction(step).double(), exact, rtol=0, atol=1e-6)
    # theirs carries the rounding of two transforms of the sample: with sixteen taps that alone is up to 2.74e-6
    torch.testing.assert_close(correction(step), published, rtol=0, atol=3e-6 if case == "3_sym8" else 2e-6)


# -- what must hold ---------------------------------------------------------------------------------------------------


@st.composite
def strengths(draw: st.DrawFn, levels: int, variant: str | None = None) -> Strengths:
    one = st.floats(-0.2, 0.2)
    schedule = st.sampled_from(
        [Schedule(), Schedule("sigma"), Schedule("1 - sigma"), Schedule.first(9), Schedule.drawn([(0, 1), (1, -1)])]
    )
    return Strengths(
        tuple(draw(one) for _ in range(levels + 1)),
        tuple(draw(schedule) for _ in range(levels + 1)),
        draw(st.sampled_from(["haar", "db2", "sym4"])),
        levels,
        variant or draw(st.sampled_from(["after step", BEFORE])),
    )


def _acting(correction: Correction, step: Step) -> torch.Tensor:
    """What the correction makes of the tensor that it is there to change."""
    if correction.in_force.variant == BEFORE:
        assert correction(step) is step.x_next
        return correction.before(step)
    assert correction.before(step) is step.denoised
    return correction(step)


@few
@given(st.data(), st.integers(1, 3), st.integers(8, 19), st.integers(8, 19))
def test_it_is_the_formula(data: st.DataObject, levels: int, height: int, width: int) -> None:
    chosen = data.draw(strengths(levels))
    step = _step((2, 3, height, width), torch.float64)
    assert step.denoised is not None
    before = chosen.variant == BEFORE
    start, along = (step.denoised, step.x) if before else (step.x_next, step.x_next)
    bands = split_bands(along - step.denoised, chosen.wavelet, levels, boundary=ZERO)
    weights = [
        value * schedule.weight(0.6, 4, 10) for value, schedule in zip(chosen.values, chosen.schedules, strict=True)
    ]
    expected = start + merge_bands(bands.scaled(weights))
    torch.testing.assert_close(_acting(Correction(strengths=chosen), step), expected, rtol=0, atol=1e-11)


@few
@given(st.data(), st.integers(1, 3))
def test_it_is_linear_in_sample_and_estimate(data: st.DataObject, levels: int) -> None:
    correction = Correction(strengths=data.draw(strengths(levels, "after step")))
    one, two = _step((1, 2, 9, 12), torch.float64, 1), _step((1, 2, 9, 12), torch.float64, 2)
    assert one.denoised is not None and two.denoised is not None
    both = replace(one, x_next=one.x_next - 3 * two.x_next, denoised=one.denoised - 3 * two.denoised)
    torch.testing.assert_close(correction(both), correction(one) - 3 * correction(two), rtol=0, atol=1e-11)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1, 4, 8, 8), (2, 4, 15, 17), (1, 3, 2, 9, 8)])
@pytest.mark.parametrize(
    "correction",
    [
        Correction(0.05, 0.03),
        Correction(0.05, 0.05, low_schedule="constant", high_schedule="constant"),
        Correction(-0.05, wavelet="db4", levels=2),
        Correction(strengths=Strengths.high(0.1, variant=BEFORE)),
    ],
    ids=["haar", "pixel", "db4", "before"],
)
def test_dtype_and_size_are_kept_and_half_precision_is_computed_in_single(
    correction: Correction, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    step = _step(shape, dtype)
    made = _acting(correction, step)
    assert made.shape == step.x.shape and made.dtype == dtype
    assert step.denoised is not None
    exact = replace(step, x=step.x.double(), denoised=step.denoised.double(), x_next=step.x_next.double())
    expected = _acting(correction, exact)
    tolerance = {torch.float64: 0.0, torch.float32: 1e-6}.get(dtype, torch.finfo(dtype).eps * 3)
    torch.testing.assert_close(made.double(), expected.to(dtype).double(), rtol=0, atol=tolerance)


def test_the_estimate_may_be_more_precise_than_the_sample() -> None:
    step = _step((1, 4, 8, 8), torch.float16)
    assert step.denoised is not None
    finer = replace(step, denoised=step.denoised.float())
    assert torch.equal(Correction(0.05)(finer), Correction(0.05)(step))


@pytest.mark.parametrize(
    "off",
    [
        Correction(),
        Correction(0.0, -0.0, "db4", 3),
        Correction(strengths=Strengths.pixel(0.0)),
        Correction(strengths=Strengths.double(0.0, 0.0, variant=BEFORE)),
        Correction(0.1, low_schedule=Schedule.last(2)),
        Correction(0.1, 0.1, mask=torch.zeros(8, 8)),
        Correction(0.1, 0.0, mask=[torch.zeros(64, 64), None]),
        Correction(strengths=Strengths.low(0.1, variant=BEFORE), mask=torch.zeros(8, 8)),
    ],
)
def test_strength_0_and_mask_0_return_the_very_same_tensors(off: Correction) -> None:
    step = _step((1, 4, 8, 8))
    assert off(step) is step.x_next
    assert off.before(step) is step.denoised
    blank = replace(step, denoised=None)
    assert off(blank) is step.x_next and off.before(blank) is None


@few
@given(st.data(), st.integers(1, 3))
def test_mask_1_equals_no_mask(data: st.DataObject, levels: int) -> None:
    chosen = data.draw(strengths(levels))
    step = _step((2, 3, 16, 8))
    expected = _acting(Correction(strengths=chosen), step)
    for mask in (torch.ones(16, 8), torch.ones(128, 64, dtype=torch.bool), [torch.ones(32, 16)] * (levels + 1)):
        assert torch.equal(_acting(Correction(strengths=chosen, mask=mask), step), expected)


@few
@given(st.data(), st.integers(1, 2))
def test_nothing_changes_where_the_mask_is_0_and_all_where_it_is_1(data: st.DataObject, levels: int) -> None:
    chosen = data.draw(strengths(levels))
    step = _step((2, 3, 16, 8), torch.float16)
    mask = torch.zeros(128, 64)
    mask[:64] = 1
    made = _acting(Correction(strengths=chosen, mask=mask), step)
    untouched = step.denoised if chosen.variant == BEFORE else step.x_next
    assert untouched is not None
    assert torch.equal(made[..., 8:, :], untouched[..., 8:, :])
    full = _acting(Correction(strengths=chosen), step)
    torch.testing.assert_close(made[..., :8, :], full[..., :8, :], rtol=0, atol=5e-3)  # one rounding to half precision


def test_a_mask_of_the_pictures_size_is_averaged_over_each_latent() -> None:
    step = _step((1, 4, 4, 6), torch.float64)
    painted = torch.rand(32, 48, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    mean = painted.view(4, 8, 6, 8).mean((1, 3))
    for correction in ({"low": 0.1}, {"high": -0.1, "wavelet": "db2"}):
        made = Correction(**correction, mask=painted)(step)  # type: ignore[arg-type]
        plain = Correction(**correction)(step)  # type: ignore[arg-type]
        torch.testing.assert_close(made, step.x_next + mean * (plain - step.x_next), rtol=0, atol=1e-12)
        at_latents = Correction(**correction, mask=mean.numpy())(step)  # type: ignore[arg-type]
        torch.testing.assert_close(made, at_latents, rtol=0, atol=1e-12)


@pytest.mark.parametrize("wavelet", ["haar", "db4"])
def test_every_band_can_have_a_mask_of_its_own(wavelet: str) -> None:
    step = _step((1, 4, 8, 8), torch.float64)
    generator = torch.Generator().manual_seed(8)
    coarse, fine = (torch.rand(8, 8, generator=generator, dtype=torch.float64) for _ in range(2))
    chosen = Strengths((0.1, -0.2, 0.3), (Schedule(),) * 3, wavelet, 2)
    made = Correction(strengths=chosen, mask=[coarse, None, fine])(step)
    assert step.denoised is not None
    bands = split_bands(step.x_next - step.denoised, wavelet, 2, boundary=ZERO)
    expected = step.x_next.clone()
    for band, (weight, mask) in enumerate(zip(chosen.values, (coarse, torch.ones_like(fine), fine), strict=True)):
        expected += weight * mask * merge_bands(bands.only(band))
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-11)


# -- when and where ---------------------------------------------------------------------------------------------------


def test_low_weighs_with_the_noise_and_high_with_what_is_left() -> None:
    step = _step((1, 4, 8, 8), torch.float64)
    bare = Strengths.double(0.1 * 0.6, -0.2 * 0.4, low_schedule="constant", high_schedule="constant")
    torch.testing.assert_close(Correction(0.1, -0.2)(step), Correction(strengths=bare)(step), rtol=0, atol=1e-14)


def test_the_sample_is_left_alone_between_the_two_halves_of_a_step() -> None:
    halves = [replace(_step((1, 4, 8, 8)), index=index, total=7, order=2) for index in range(7)]
    changed = [Correction(0.1)(half) is not half.x_next for half in halves]
    assert changed == [False, True, False, True, False, True, True]  # the last step has one half only
    early = Correction(strengths=Strengths.low(0.1, variant=BEFORE))
    assert all(early.before(half) is not half.denoised for half in halves)


@pytest.mark.parametrize(
    ("layout", "pack"),
    [
        (Plane(), lambda plane: plane),
        (ChannelsLast(), lambda plane: plane.movedim(1, -1)),
        (Tokens(8, 12), lambda plane: plane.flatten(2).mT),
        (
            Packed(8, 12),
            lambda plane: plane.unflatten(3, (6, 2)).unflatten(2, (4, 2)).permute(0, 2, 4, 1, 3, 5).reshape(2, 24, 16),
        ),
    ],
    ids=["plane", "channels last", "tokens", "packed"],
)
@pytest.mark.parametrize(
    "correction",
    [
        Correction(0.1, -0.05),
        Correction(0.1, 0.1, low_schedule="constant", high_schedule="constant"),
        Correction(0.1, wavelet="db2", levels=2),
        Correction(strengths=Strengths.low(0.1, variant=BEFORE)),
        Correction(0.1, mask=(torch.arange(96) < 40).view(8, 12)),
    ],
    ids=["double", "pixel", "db2", "before", "mask"],
)
def test_bands_act_on_space_however_latents_are_packed(
    layout: Layout, pack: Callable[[torch.Tensor], torch.Tensor], correction: Correction
) -> None:
    plain = _step((2, 4, 8, 12))
    assert plain.denoised is not None
    packed = replace(plain, x=pack(plain.x), denoised=pack(plain.denoised), x_next=pack(plain.x_next), layout=layout)
    assert torch.equal(_acting(correction, packed), pack(_acting(correction, plain)))


@pytest.mark.parametrize("layout", [Line(), LineLast()])
def test_sound_has_bands_along_time(layout: Layout) -> None:
    step = replace(_step((2, 21, 21), torch.float64), layout=layout)
    assert step.denoised is not None
    made = Correction(0.1, -0.05, "haar", 1)(step)
    gap = layout.to_space(step.x_next - step.denoised)
    change = merge_bands(split_bands(gap, "haar", 1, axes=1, boundary=ZERO).scaled((0.06, -0.02)))
    expected = step.x_next + layout.from_space(change, like=step.x_next)
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-12)
    half = Correction(0.1, -0.05, mask=torch.cat([torch.ones(7), torch.zeros(14)]))(step)
    torch.testing.assert_close(layout.to_space(half)[..., :7], layout.to_space(made)[..., :7], rtol=0, atol=1e-12)
    assert torch.equal(layout.to_space(half)[..., 7:], layout.to_space(step.x_next)[..., 7:])


def test_frames_of_a_video_are_corrected_each_by_itself() -> None:
    step = _step((1, 3, 2, 8, 8))
    assert step.denoised is not None
    made = Correction(0.1, -0.05, "db2")(step)
    for frame in range(2):
        alone = replace(
            step, denoised=step.denoised[:, :, frame], x=step.x[:, :, frame], x_next=step.x_next[:, :, frame]
        )
        assert torch.equal(Correction(0.1, -0.05, "db2")(alone), made[:, :, frame])


# -- what cannot be done ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"low": float("nan")}, "not nan"),
        ({"high": float("inf")}, "not inf"),
        ({"wavelet": "dbb4"}, "Did you mean.*'db4'"),
        ({"wavelet": "bior2.2"}, "not orthogonal"),
        ({"levels": 6}, "1 to 5"),
        ({"low": 0.1, "strengths": Strengths()}, "not both"),
        ({"strengths": {"low": 1}}, "not dict"),
        ({"mask": torch.ones(2, 8, 8)}, r"not \(2, 8, 8\)"),
        ({"mask": torch.ones(0, 8)}, r"not \(0, 8\)"),
        ({"mask": torch.full((8, 8), 255)}, "from 255 to 255"),
        ({"mask": torch.full((8, 8), -0.1)}, "from -0.1"),
        ({"mask": torch.full((8, 8), float("nan"))}, "from nan"),
        ({"mask": [torch.ones(8, 8)] * 3}, "2 bands, but 3 masks"),
        ({"mask": torch.ones(8, 8, dtype=torch.complex64)}, "real numbers"),
        ({"mask": "mask.png"}, "a tensor or an array, not str"),
    ],
)
def test_bad_values_are_refused_before_any_run(values: dict[str, Any], words: str) -> None:
    with pytest.raises(StudioError, match=words):
        Correction(**values)


@pytest.mark.parametrize(
    ("correction", "words"),
    [
        (Correction(0.1, levels=4), "4 wavelet levels cannot be made of 8 × 12 latents: at most 3 can"),
        (Correction(0.1, levels=4, low_schedule=Schedule.last(1)), "at most 3 can"),
        (Correction(0.1, mask=torch.eye(8)), "A mask of 8 × 8 does not fit latents of 8 × 12"),
        (Correction(0.1, mask=torch.eye(64)), "64 × 64 does not fit"),
        (Correction(0.1, mask=torch.eye(100)), "100 × 100 does not fit"),
        (Correction(0.1, mask=torch.eye(4, 6)), "4 × 6 does not fit"),
        (Correction(0.1, mask=torch.eye(12, 8)), "12 × 8 does not fit"),
        (Correction(0.1, mask=[torch.eye(8, 12), torch.eye(5)]), "5 × 5 does not fit"),
        (Correction(0.1, mask=torch.arange(8) / 8), r"a mask is shaped \(H, W\), not \(8\)"),
    ],
)
def test_what_does_not_fit_is_said_at_the_first_step(correction: Correction, words: str) -> None:
    with pytest.raises(StudioError, match=words):
        correction(_step((1, 4, 8, 12), index=0))


def test_a_scheduler_without_clean_estimate_is_named_as_the_reason() -> None:
    blank = _step((1, 4, 8, 8), denoised=None)
    with pytest.raises(StudioError, match="no clean estimate"):
        Correction(0.1)(blank)
    with pytest.raises(StudioError, match="no clean estimate"):
        Correction(strengths=Strengths.low(0.1, variant=BEFORE)).before(blank)


def test_a_scheduler_that_changes_the_size_is_named_as_the_reason() -> None:
    with pytest.raises(StudioError, match="changes the size"):
        Correction(0.1)(_step((1, 4, 8, 8), x_next=torch.zeros(1, 4, 16, 16)))


def test_latents_without_space_can_be_corrected_as_a_whole_only() -> None:
    step = _step((1, 24, 16), layout=Unknown("Nobody knows how these latents lie."))
    assert torch.equal(
        Correction(strengths=Strengths.pixel(0.1))(step),
        Correction(strengths=Strengths.pixel(0.1))(_step((1, 24, 16))),
    )
    with pytest.raises(StudioError, match="Nobody knows"):
        Correction(0.1)(step)
