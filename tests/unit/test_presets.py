"""Calibrated corrections: where they are kept, which one is found, and what is passed over."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import pytest

from studio.diffusion.calibration import CLOSES, NOTHING, Calibration, Gap
from studio.diffusion.strengths import Strengths
from studio.errors import StudioError
from studio.models import loading, presets

GAP = Gap((1, 2), (0.9, 0.5), ((0.1, 0.2), (0.3, 0.1)), ((0.01, 0.01), (0.02, 0.02)), ((1.0, 1.0), (0.9, 0.8)), 16)


def calibration(weights: str, solver: str = "Euler", steps: int = 8, strength: float = -0.01) -> Calibration:
    return Calibration(
        verdict=CLOSES,
        strengths=Strengths.low(strength),
        tried=Strengths.low(strength),
        before=GAP,
        after=GAP,
        p_value=0.001,
        closed=(0.1, 0.2, 0.3),
        wavelet="haar",
        levels=1,
        facts={"weights": weights, "solver": solver, "num_inference_steps": steps},
    )


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> str:
    return str(copytree(tiny_model, tmp_path / "model"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_what_is_kept_is_found(model: str, data: Path) -> None:
    kept = calibration(loading.weights_digest(model))
    assert presets.find(model, "Euler", 8, data) is None
    file = presets.keep(kept, model, data)
    assert file.parent == data / "corrections"
    assert presets.find(model, "Euler", 8, data) == kept
    assert list(file.parent.iterdir()) == [file], "nothing half-written stays"


def test_each_solver_and_number_of_steps_has_its_own(model: str, data: Path) -> None:
    weights = loading.weights_digest(model)
    for solver, steps, strength in (("Euler", 8, 0.1), ("Euler", 20, 0.2), ("DPM++ 2M", 8, 0.3), ("Euler", 8, 0.4)):
        presets.keep(calibration(weights, solver, steps, strength), model, data)
    assert len(presets.known(model, data)) == 3

    def found(solver: str, steps: int) -> float | None:
        match = presets.find(model, solver, steps, data)
        return None if match is None or match.strengths is None else match.strengths.values[0]

    assert (found("Euler", 8), found("Euler", 20), found("DPM++ 2M", 8)) == (0.4, 0.2, 0.3)
    assert (found("Euler", 9), found("Euler", 18), found("Euler", 25)) == (0.4, 0.2, 0.2)
    assert (found("Euler", 12), found("Euler", 50), found("Heun", 8)) == (None, None, None)


def test_a_model_may_bring_its_own_and_the_persons_come_first(model: str, data: Path) -> None:
    weights = loading.weights_digest(model)
    brought = [calibration(weights, steps=8, strength=0.1), calibration(weights, steps=20, strength=0.2)]
    values = {"format": 1, "calibrations": [one.to_dict() for one in brought]}
    (Path(model) / presets.FILE).write_text(json.dumps(values))
    assert list(presets.known(model, data)) == brought
    mine = calibration(weights, steps=8, strength=0.5)
    presets.keep(mine, model, data)
    assert presets.find(model, "Euler", 8, data) == mine
    assert presets.find(model, "Euler", 20, data) == brought[1]


def test_calibrations_of_other_weights_are_passed_over(model: str, data: Path) -> None:
    (Path(model) / presets.FILE).write_text(json.dumps(calibration("0123456789abcdef").to_dict()))
    assert presets.find(model, "Euler", 8, data) is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": 1, "calibrations": 3}', '{"format": 9, "calibrations": []}']
)
def test_a_broken_file_is_no_calibration_and_no_failure(text: str, model: str, data: Path) -> None:
    (Path(model) / presets.FILE).write_text(text)
    assert presets.known(model, data) == ()
    kept = calibration(loading.weights_digest(model))
    presets.keep(kept, model, data).write_text(text)
    assert presets.known(model, data) == ()
    presets.keep(kept, model, data)
    assert presets.known(model, data) == (kept,)


def test_the_usual_folder_is_the_studios_own(model: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVEBRUSH_DATA", str(data))
    kept = calibration(loading.weights_digest(model))
    assert presets.keep(kept, model).is_relative_to(data)
    assert presets.find(model, "Euler", 8) == kept


def test_strengths_are_read_from_both_kinds_of_file(tmp_path: Path) -> None:
    file = tmp_path / "some.json"
    file.write_text(Strengths.low(0.25).to_json())
    assert presets.read_strengths(file) == Strengths.low(0.25)
    found = calibration("x", strength=0.5)
    file.write_text(json.dumps(found.to_dict()))
    assert presets.read_strengths(file) == Strengths.low(0.5)
    nothing = replace(found, verdict=NOTHING, strengths=None, tried=None, after=None, closed=None)
    file.write_text(json.dumps(nothing.to_dict()))
    assert presets.read_strengths(file) is None


@pytest.mark.parametrize(
    "text", ["", "no json", "[1]", "{}", '{"verdict": "closes the gap"}', '{"low": NaN}', " " * 2_000_000]
)
def test_a_file_without_strengths_is_refused_by_its_name(text: str, tmp_path: Path) -> None:
    file = tmp_path / "some.json"
    file.write_text(text)
    with pytest.raises(StudioError, match=r"some\.json"):
        presets.read_strengths(file)


def test_a_missing_file_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(StudioError, match=r"none\.json cannot be read"):
        presets.read_strengths(tmp_path / "none.json")


def test_a_folder_that_cannot_be_written_is_told(model: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StudioError, match="cannot be written"):
        presets.keep(calibration("x"), model, tmp_path / "file")


def test_presets_are_read_without_torch() -> None:
    import subprocess

    code = "import sys, studio.models.presets; print([m for m in ('torch', 'diffusers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
