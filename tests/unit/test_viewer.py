"""What the viewer computes: bands and shares that add up, settling, sentences, a cache that makes things once."""

from __future__ import annotations

import io
import threading

import numpy as np
import pytest
from PIL import Image

from studio.diffusion.wavelets import band_energies, shares
from studio.project.runs import BandNumbers
from studio.viewer import drawing, numbers
from studio.viewer.cache import ByteCache

RNG = np.random.default_rng(0)


def _planes(count: int = 6, side: int = 32) -> list[np.ndarray]:
    """Estimates that come from nothing to a picture, coarse things first."""
    goal = RNG.standard_normal((3, side, side)).astype(np.float32)
    bands = numbers.band_planes(goal, "db2", 4)
    return [sum(band * min(1.0, (k + 1) / count * (5 - b)) for b, band in enumerate(bands)) for k in range(count)]


# -- bands ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wavelet", numbers.WAVELETS)
@pytest.mark.parametrize("levels", [1, 3, 5])
@pytest.mark.parametrize("shape", [(3, 32, 64), (1, 48, 40), (2, 7, 13), (4, 4)])
def test_bands_add_up_to_the_plane(wavelet: str, levels: int, shape: tuple[int, ...]) -> None:
    plane = RNG.standard_normal(shape).astype(np.float32)
    bands = numbers.band_planes(plane, wavelet, levels)
    assert len(bands) == levels + 1
    assert all(band.shape == shape for band in bands)
    np.testing.assert_allclose(sum(bands), plane, atol=1e-4)
    for index, band in enumerate(bands):
        np.testing.assert_array_equal(band, numbers.band_planes(plane, wavelet, levels, only=index)[0])


def test_a_band_holds_the_energy_that_the_library_counts() -> None:
    plane = RNG.standard_normal((3, 64, 64)).astype(np.float32)
    energies = band_energies(plane, "db4", 4)
    planes = numbers.band_planes(plane, "db4", 4)
    np.testing.assert_allclose([float(np.square(p).sum()) for p in planes], energies, rtol=1e-4)


def test_bands_have_names_and_sizes() -> None:
    five = numbers.bands_of(4)
    assert [band.label for band in five] == ["Composition", "Forms", "Details", "Texture", "Grain"]
    assert [band.pixels for band in five] == ["over 16 px", "8–16 px", "4–8 px", "2–4 px", "1–2 px"]
    assert [band.label for band in numbers.bands_of(3)] == ["Composition", "Band 2", "Band 3", "Grain"]
    assert [band.label for band in numbers.bands_of(1)] == ["Composition", "Grain"]
    assert [band.label for band in numbers.bands_of(5)][-1] == "Grain"


# -- numbers over a run -----------------------------------------------------------------------------------------------


def test_measuring_is_the_librarys_energy_of_every_step_and_change() -> None:
    planes = _planes()
    found = numbers.measure(planes, "haar", 3)
    for k, plane in enumerate(planes):
        np.testing.assert_array_equal(found.energy[k], band_energies(plane, "haar", 3))
        np.testing.assert_array_equal(found.change[k], band_energies(plane - planes[k - 1] if k else plane, "haar", 3))
    for row, change in zip(numbers.moved(found), found.change, strict=True):
        assert row == shares(np.array(change))
        assert round(10 * sum(row)) == 1000
    assert all(round(10 * sum(row)) == 1000 for row in numbers.share(found))


def test_a_band_settles_where_it_stays_within_five_percent() -> None:
    energy = [[100.0, 0.0], [94.0, 1.0], [96.0, 2.0], [80.0, 10.0], [104.9, 9.6], [100.0, 10.0]]
    found = BandNumbers(tuple(map(tuple, energy)), tuple(map(tuple, energy)))
    assert numbers.settled_at(found) == [4, 3]
    assert numbers.arrived(found)[1] == [94.0, 10.0]
    still = BandNumbers(((0.0, 1.0), (0.0, 1.0)), ((0.0, 1.0), (0.0, 0.0)))
    assert numbers.settled_at(still) == [0, 0]
    assert numbers.arrived(still) == [[None, 100.0], [None, 100.0]]


def test_scales_are_common_over_the_run() -> None:
    rows = [[400.0, 100.0], [4.0, 1.0], [16.0, 25.0]]
    assert numbers.scales(rows, 100) == [4 * 2.0, 4 * 1.0]


def test_the_scale_of_changes_is_that_of_a_usual_step_and_not_of_the_first() -> None:
    rows = [[4e6, 4e6], [400.0, 100.0], [4.0, 25.0], [1.0, 1.0]]
    assert numbers.added_scales(rows, 100) == [4 * 0.2, 4 * 0.5]
    assert numbers.added_scales(rows[:1], 100) == [4 * 200.0, 4 * 200.0], "there is no other step"
    assert numbers.whole_added_scale(rows, 100) == 4 * 29**0.5 / 10


NAMES = ["Composition", "Forms", "Details", "Texture", "Grain"]


@pytest.mark.parametrize(
    ("number", "settled", "moved", "words"),
    [
        (
            2,
            "00000",
            [97.0, 2, 1, 0, 0],
            "Step 2. Nothing has settled yet. 97 % of what this step moved is composition.",
        ),
        (
            12,
            "10000",
            [10.0, 20, 26.5, 30.5, 13],
            "Step 12. Composition has settled. 57 % of what this step moved is details and texture.",
        ),
        (
            15,
            "11100",
            [20.0, 20, 0, 25, 35],
            "Step 15. Composition, forms and details have settled. 60 % of what this step moved is texture and grain.",
        ),
        (
            20,
            "11111",
            [0.0, 0, 0, 39.9, 60.1],
            "Step 20. Every band has settled. 60 % of what this step moved is grain.",
        ),
        (3, "01000", [0.0] * 5, "Step 3. Forms have settled. This step moved nothing."),
    ],
)
def test_a_sentence_says_what_the_numbers_say(number: int, settled: str, moved: list[float], words: str) -> None:
    pieces = numbers.sentence(number, [c == "1" for c in settled], moved, NAMES)
    assert "".join(text for text, _ in pieces) == words
    emphasised = [text for text, strong in pieces if strong]
    assert emphasised == [words.split(". ")[1] + "."] + ([words.split(". ")[2].split(" of ")[0]] if any(moved) else [])


# -- drawing ----------------------------------------------------------------------------------------------------------


def test_grey_is_nothing_and_the_scale_is_black_and_white() -> None:
    values = np.array([[-2.0, -1.0, 0.0, 1.0, 2.0]], dtype=np.float32)
    assert drawing.signed(values, 1.0).tolist() == [[0, 0, 128, 255, 255]]
    assert drawing.magnitude(values, 2.0).tolist() == [[255, 128, 0, 128, 255]]


def test_pngs_and_pixels_lose_nothing() -> None:
    pixels = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(drawing.quick_png(pixels)))), pixels)
    plane = (pixels.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)
    np.testing.assert_array_equal(drawing.pixels_of(plane), pixels)


def test_sizes() -> None:
    pixels = RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    assert drawing.fitted(pixels, 30).shape == (20, 30, 3)
    np.testing.assert_allclose(drawing.fitted(pixels, 30)[0, 0], pixels[:2, :2].mean(axis=(0, 1)), atol=0.51)
    assert drawing.fitted(pixels, 60) is pixels
    assert drawing.enlarged(pixels, 130).shape == (80, 120, 3)
    half = np.array([[0.0, 1.0], [0.0, 1.0]], dtype=np.float32)
    assert drawing.resized(half, 1, 1).tolist() == [[0.5]]
    sheet = drawing.grid([np.full((2, 3, 3), k, dtype=np.uint8) for k in range(5)], 3)
    assert sheet.shape == (4, 9, 3)
    assert sheet[2, 3].tolist() == [4, 4, 4]
    assert sheet[2, 6].tolist() == [0, 0, 0]


def test_an_animation_has_every_frame_and_holds_the_last() -> None:
    frames = [np.full((16, 16, 3), 40 * k, dtype=np.uint8) for k in range(5)]
    film = Image.open(io.BytesIO(drawing.animation(frames, fps=10, hold=1.0)))
    assert film.n_frames == 5
    durations = []
    for k in range(5):
        film.seek(k)
        durations.append(film.info["duration"])
        assert abs(int(np.asarray(film.convert("L"))[8, 8]) - 40 * k) <= 45, "close: GIF has few colours"
    assert durations == [100, 100, 100, 100, 1100]


# -- the cache --------------------------------------------------------------------------------------------------------


def test_the_least_used_goes_when_there_is_too_much() -> None:
    cache = ByteCache(10)
    made: list[str] = []

    def get(key: str, size: int = 4) -> str:
        return cache.get(key, lambda: made.append(key) or key, lambda _: size)

    for key in ("a", "b", "a", "c"):
        assert get(key) == key
    assert ("a" in cache, "b" in cache, "c" in cache) == (True, False, True)
    assert cache.size == 8
    get("huge", 11)
    assert "huge" not in cache
    assert made == ["a", "b", "c", "huge"]


def test_what_several_ask_for_at_once_is_made_once() -> None:
    cache = ByteCache(100)
    made: list[int] = []
    inside, go_on = threading.Event(), threading.Event()

    def make() -> int:
        made.append(1)
        inside.set()
        assert go_on.wait(20)
        return 7

    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(cache.get("k", make, lambda _: 1))) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert inside.wait(20)
    assert cache.get("other", lambda: 1, lambda _: 1) == 1, "another value does not wait"
    go_on.set()
    for thread in threads:
        thread.join(20)
    assert found == [7] * 4
    assert made == [1]


def test_a_value_that_could_not_be_made_is_tried_again() -> None:
    cache = ByteCache(100)

    def fail() -> int:
        raise ValueError("not this time")

    with pytest.raises(ValueError, match="this time"):
        cache.get("k", fail, lambda _: 1)
    assert cache.get("k", lambda: 3, lambda _: 1) == 3
