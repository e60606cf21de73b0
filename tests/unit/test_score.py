"""Fréchet distance against closed forms, and the classifier that reads scenes off pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from studio.painter.reader import accuracy, load_reader, save_reader, teach
from studio.painter.score import frechet_distance

LABELS = {"terrain": ("sea", "lake", "city"), "time": ("dawn", "night")}


def exact_sample(mean: np.ndarray, covariance: np.ndarray, count: int, seed: int) -> np.ndarray:
    """A sample whose own mean and covariance are exactly those given."""
    raw = np.random.default_rng(seed).standard_normal((count, len(mean)))
    raw -= raw.mean(0)
    whitened = raw @ np.linalg.inv(np.linalg.cholesky(np.cov(raw, rowvar=False))).T
    return whitened @ np.linalg.cholesky(covariance).T + mean


def test_distance_of_a_set_to_itself_is_zero() -> None:
    features = np.random.default_rng(0).standard_normal((50, 8))
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-9)


def test_distance_of_gaussians_that_commute_is_the_closed_form() -> None:
    one, two = np.array([1.0, 4.0, 9.0]), np.array([4.0, 1.0, 16.0])
    gap = np.array([1.0, -2.0, 0.5])
    first = exact_sample(np.zeros(3), np.diag(one), 40, 1)
    second = exact_sample(gap, np.diag(two), 60, 2)
    expected = gap @ gap + ((np.sqrt(one) - np.sqrt(two)) ** 2).sum()
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-9)


def test_distance_of_gaussians_that_do_not_commute_is_the_closed_form() -> None:
    """In two dimensions tr (AB)^(1/2) = sqrt(tr AB + 2 sqrt(det AB))."""
    one, two = np.array([[2.0, 0.7], [0.7, 1.0]]), np.array([[1.0, -0.4], [-0.4, 3.0]])
    first = exact_sample(np.zeros(2), one, 30, 3)
    second = exact_sample(np.zeros(2), two, 30, 4)
    root = np.sqrt(np.trace(one @ two) + 2 * np.sqrt(np.linalg.det(one @ two)))
    expected = np.trace(one) + np.trace(two) - 2 * root
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-9)


def test_distance_is_symmetric_and_survives_fewer_pictures_than_features() -> None:
    random = np.random.default_rng(5)
    first, second = random.standard_normal((10, 30)), 2 + random.standard_normal((12, 30))
    there, back = frechet_distance(first, second), frechet_distance(second, first)
    assert there == pytest.approx(back, rel=1e-6)
    assert there > 60


def lesson(count: int, seed: int) -> tuple[torch.Tensor, dict[str, list[str]]]:
    """Descriptions where one number tells the terrain and another the time, beside eight of noise."""
    random = np.random.default_rng(seed)
    terrains, times = random.integers(3, size=count), random.integers(2, size=count)
    rows = random.standard_normal((count, 10))
    rows[:, 0], rows[:, 1] = 100 + 40 * terrains, 0.01 * times
    truths = {
        "terrain": [LABELS["terrain"][i] for i in terrains],
        "time": [LABELS["time"][i] for i in times],
    }
    return torch.from_numpy(rows).float(), truths


def test_reader_learns_what_the_features_tell_whatever_their_scale() -> None:
    reader = teach(*lesson(2000, 0), LABELS, epochs=10)
    descriptions, truths = lesson(400, 1)
    found = accuracy(reader.read(descriptions), truths)
    assert found.count == 400
    assert found.shares["terrain"] > 0.98 and found.shares["time"] > 0.98
    assert found.every <= min(found.shares.values())


def test_reader_is_repeatable_and_survives_saving(tmp_path) -> None:  # type: ignore[no-untyped-def]
    first, second = (teach(*lesson(600, 0), LABELS, epochs=2) for _ in range(2))
    save_reader(tmp_path / "reader.pt", first)
    descriptions = lesson(50, 1)[0]
    for other in (second, load_reader(tmp_path / "reader.pt")):
        for name in LABELS:
            torch.testing.assert_close(other(descriptions)[name], first(descriptions)[name], atol=0, rtol=0)


def test_accuracy_counts_each_label_and_all_at_once() -> None:
    read = {"terrain": ["sea", "sea", "city", "lake"], "time": ["dawn", "night", "dawn", "dawn"]}
    asked = {"terrain": ["sea", "lake", "city", "lake"], "time": ["dawn", "night", "night", "dawn"]}
    found = accuracy(read, asked)
    assert found.shares == {"terrain": 0.75, "time": 0.75}
    assert found.every == 0.5
