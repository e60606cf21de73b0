"""The SNR-t gap and the calibrated strengths, as the page shows them beside what lies with the model."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, Studio
from playwright.sync_api import Page, expect
from steps_page import StepsPage, paint_run

SETTINGS = [("DPM++ 2M", 20), ("Euler", 8)]


def calibrations() -> dict[tuple[str, int], dict[str, Any]]:
    """What was measured of painter, by solver and number of steps."""
    path = Path(ROOT) / "assets" / "models" / "painter" / "correction.json"
    found = json.loads(path.read_text())["calibrations"]
    return {(entry["facts"]["solver"], int(entry["facts"]["num_inference_steps"])): entry for entry in found}


@pytest.fixture(scope="module")
def runs(studio: Studio) -> dict[tuple[str, int], str]:
    return {
        (solver, count): paint_run(studio.url, "a river in the woods", steps=count, seed=4, solver=solver)
        for solver, count in SETTINGS
    }


@pytest.fixture(params=SETTINGS, ids=lambda setting: f"{setting[0]}-{setting[1]}")
def opened(
    studio: Studio, page: Page, runs: dict[tuple[str, int], str], request: pytest.FixtureRequest
) -> tuple[StepsPage, dict[str, Any], str]:
    """The page with a run for which a calibration exists, that calibration, and the run's id."""
    steps = StepsPage(page, studio.url)
    steps.open(runs[request.param])
    return steps, calibrations()[request.param], runs[request.param]


def test_the_gap_on_the_page_is_the_one_that_was_measured(opened: tuple[StepsPage, dict[str, Any], str]) -> None:
    steps, measured, run_id = opened
    steps.curve("SNR gap")
    before = measured["before"]
    head, rows = steps.numbers()
    bands = len(before["mean"][0])
    assert head == ["Noise level", "Composition", "±", "Grain", "±"]
    assert len(rows) == len(before["noise_levels"])
    table = np.array([[float(cell) for cell in row] for row in rows])
    np.testing.assert_array_equal(table[:, 0], before["noise_levels"])
    np.testing.assert_array_equal(table[:, 1::2], before["mean"])
    np.testing.assert_array_equal(table[:, 2::2], before["error"])
    about = steps.page.locator(".wb-curve-about")
    expect(about).to_contain_text(f"{before['samples']} runs")
    if measured["verdict"] == "closes the gap":
        expect(about).to_contain_text(f"{100 * measured['closed'][1]:.0f} % of its square")
    # the curves with their errors, and dashed what the strengths leave of them
    expect(steps.page.locator(".wb-curve .error")).to_have_count(bands)
    expect(steps.page.locator(".wb-curve polyline.line:not(.dashed)")).to_have_count(bands)
    expect(steps.page.locator(".wb-curve polyline.dashed")).to_have_count(bands if measured["after"] else 0)
    # at a step that was measured, the figures above the curve are those of the file
    at = steps.facts(run_id)["gap"]["at"]
    point = next(k for k, place in enumerate(at) if k > 2 and abs(place - round(place)) < 1e-6)
    steps.go_to(round(at[point]) + 1)
    shown = [float(text.replace("−", "-")) for text in steps.page.locator(".wb-read b").all_inner_texts()]
    assert shown == pytest.approx(before["mean"][point], rel=0.005, abs=5e-5)  # four decimals


def test_calibrated_strengths_are_a_preset_and_reach_the_branch(
    opened: tuple[StepsPage, dict[str, Any], str],
) -> None:
    steps, measured, run_id = opened
    solver, count = measured["facts"]["solver"], measured["facts"]["num_inference_steps"]
    preset = steps.page.get_by_label("Preset")
    preset.select_option(label=f"Calibrated for {solver}, {count} steps")
    strengths = measured["strengths"]
    facts = steps.facts(run_id)
    first = facts["steps"][0]["noise_level"]
    names = ["Composition", facts["lockable"]["bands"][-1]]
    for name, band in zip(names, strengths["bands"], strict=True):
        share = {"sigma": first, "1 - sigma": 1 - first}[band["schedule"]["kind"]]
        point = steps.page.get_by_role("slider", name=re.compile(f"^{name}, step 1$"))
        assert float(str(point.get_attribute("aria-valuenow"))) == pytest.approx(band["strength"] * share, abs=5e-5)
    steps.page.get_by_role("button", name="From the start").click()
    branch = steps.expect_branch(re.compile(r"[+−]0\.0\d\d"))
    made = steps.facts(branch)
    assert made["strengths"] == strengths
    assert made["effect"]["parent"] == run_id
    expect(preset.locator("option:checked")).to_have_text(f"Calibrated for {solver}, {count} steps")
