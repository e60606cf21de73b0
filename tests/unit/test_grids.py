"""Grids: values as people type them, the requests of all cells, and the sheet."""

from __future__ import annotations

import numpy as np
import pytest

from studio.diffusion.strengths import Strengths
from studio.errors import InvalidRequest
from studio.grids import CELL_LIMIT, FIELDS, Axis, Grid, axis_of, sentence
from studio.imaging.geometry import Extent
from studio.imaging.sheet import PAPER, SIDE_LIMIT, Sheet, draw_sheet
from studio.requests import TextToImage

BASE = TextToImage(prompt="a lake in autumn", seed=7)
MEASURED = Strengths.double(0.02, -0.01)


def nothing(_: TextToImage) -> Strengths | None:
    return None


@pytest.mark.parametrize(
    ("field", "typed", "labels"),
    [
        ("seed", "1-4", ["1", "2", "3", "4"]),
        ("seed", "4-1", ["4", "3", "2", "1"]),
        ("seed", "5", ["5"]),
        ("num_inference_steps", "2, 5, 8", ["2", "5", "8"]),
        ("num_inference_steps", "4-20 (+8)", ["4", "12", "20"]),
        ("num_inference_steps", "4..40 [4]", ["4", "16", "28", "40"]),
        ("num_inference_steps", "8, 8, 12", ["8", "12"]),
        ("guidance_scale", "1 to 2 (+0.5)", ["1", "1.5", "2"]),
        ("guidance_scale", "2-4", ["2", "3", "4"]),
        ("strength_0", "-0.02 to 0.02 [5]", ["−0.02", "−0.01", "0", "0.01", "0.02"]),
        ("strength_1", "−0.1, .1", ["−0.1", "0.1"]),
        ("solver", "euler, DPM++ 2M", ["Euler", "DPM++ 2M"]),
        ("size", "128, 192x128", ["128 × 128", "192 × 128"]),
        ("prompt", "a lake\n\na castle, at night", ["a lake", "a castle, at night"]),
        ("negative_prompt", "people\n\nhouses", ["people", "none", "houses"]),
        ("words", "lake, forest", ["lake", "forest"]),
        ("correction", "Off, calibrated", ["off", "calibrated"]),
    ],
)
def test_values_are_read_as_people_type_them(field: str, typed: str, labels: list[str]) -> None:
    assert list(axis_of(field, typed, "across").labels) == labels


@pytest.mark.parametrize(
    ("field", "typed", "words"),
    [
        ("seed", "", "Say which values"),
        ("seed", "two", "no number"),
        ("seed", "1.5", "not a whole number"),
        ("seed", "1-100000000", "100,000,000 values"),
        ("seed", "NaN", "cannot be used"),
        ("guidance_scale", "1.5-3", "Say the step"),
        ("guidance_scale", "1 to 2 (+0)", "cannot be 0"),
        ("seed", "1-9 [1]", "2 to 64"),
        ("solver", "Newton", "not a solver"),
        ("size", "large", "no size"),
        ("words", "lake", "Write the words"),
        ("correction", "strong", "no correction"),
        ("colour", "1", "cannot run over"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words_beside_its_side(field: str, typed: str, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words) as refused:
        axis_of(field, typed, "down")
    assert refused.value.field == "down"


def test_cells_run_row_by_row_and_keep_everything_else() -> None:
    grid = Grid(BASE, axis_of("seed", "1-3", "across"), axis_of("num_inference_steps", "4, 8", "down"))
    cells = grid.requests(nothing)
    assert [(cell.seed, cell.num_inference_steps) for cell in cells] == [
        (1, 4),
        (2, 4),
        (3, 4),
        (1, 8),
        (2, 8),
        (3, 8),
    ]
    assert {(cell.prompt, cell.solver, cell.guidance_scale) for cell in cells} == {
        ("a lake in autumn", BASE.solver, 5.0)
    }


def test_words_are_exchanged_in_whatever_prompt_the_other_side_brings() -> None:
    grid = Grid(BASE, axis_of("words", "lake, castle", "across"), axis_of("prompt", "a lake\nthe lake, ink", "down"))
    assert [cell.prompt for cell in grid.requests(nothing)] == [
        "a lake",
        "a castle",
        "the lake, ink",
        "the castle, ink",
    ]


def test_words_that_do_not_stand_in_the_prompt_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="does not stand in the prompt") as refused:
        Grid(BASE, axis_of("words", "sea, castle", "across")).requests(nothing)
    assert refused.value.field == "across"


def test_a_value_outside_its_range_is_refused_beside_its_side() -> None:
    grid = Grid(BASE, axis_of("seed", "1", "across"), axis_of("num_inference_steps", "5, 500", "down"))
    with pytest.raises(InvalidRequest, match="Steps run from 1 to 200") as refused:
        grid.requests(nothing)
    assert refused.value.field == "down"


def test_the_calibrated_correction_is_the_one_of_each_cells_solver() -> None:
    asked = []

    def measured(request: TextToImage) -> Strengths:
        asked.append(request.solver)
        return MEASURED

    grid = Grid(BASE, axis_of("correction", "off, calibrated", "across"), axis_of("solver", "Euler, DDIM", "down"))
    assert [cell.correction for cell in grid.requests(measured)] == [None, MEASURED, None, MEASURED]
    assert asked == ["Euler", "DDIM"]


def test_corrections_grow_and_bands_are_set_one_by_one() -> None:
    times = Grid(BASE, axis_of("correction_times", "0, 0.5, 1", "across")).requests(lambda _: MEASURED)
    assert [cell.correction and cell.correction.values for cell in times] == [None, (0.01, -0.005), (0.02, -0.01)]
    own = TextToImage(correction=MEASURED)
    bands = Grid(own, axis_of("strength_0", "0, 0.03", "across"), axis_of("strength_1", "0", "down")).requests(nothing)
    assert [cell.correction and cell.correction.values for cell in bands] == [None, (0.03, 0.0)]
    with pytest.raises(InvalidRequest, match="there is no band 6"):
        Grid(own, axis_of("strength_5", "0.1", "across")).requests(nothing)


def test_a_grid_has_at_most_so_many_cells_and_two_different_sides() -> None:
    with pytest.raises(InvalidRequest, match="9 × 8 are 72 pictures"):
        Grid(BASE, axis_of("seed", "1-9", "across"), axis_of("guidance_scale", "1-8", "down"))
    assert len(Grid(BASE, axis_of("seed", "1-64", "across")).requests(nothing)) == CELL_LIMIT
    with pytest.raises(InvalidRequest, match="runs to the right already"):
        Grid(BASE, axis_of("seed", "1", "across"), axis_of("seed", "2", "down"))


def test_every_field_reads_its_own_example() -> None:
    for field in FIELDS:
        assert isinstance(axis_of(field.id, field.example, "across"), Axis)


def test_the_sentence_leaves_out_what_runs_along_the_sides() -> None:
    words = sentence(BASE, ["seed", "solver"])
    assert "a lake in autumn" in words
    assert "seed" not in words
    assert BASE.solver not in words


def _cell(colour: tuple[int, int, int], extent: Extent) -> np.ndarray:
    return np.full((extent.height, extent.width, 3), colour, np.uint8)


def test_sheet_holds_every_picture_pixel_for_pixel() -> None:
    extent = Extent(40, 24)
    colours = {(0, 0): (255, 0, 0), (0, 1): (0, 255, 0), (1, 0): (0, 0, 255)}
    pixels = draw_sheet(
        Sheet("Seed", ("1", "2"), ("a", "b"), "foot"),
        extent,
        lambda row, column: _cell(colours[row, column], extent) if (row, column) in colours else None,
    )
    for colour in colours.values():
        assert np.all(pixels == colour, axis=2).sum() == extent.area


def test_no_label_is_cut_however_long() -> None:
    extent = Extent(48, 48)
    short = draw_sheet(Sheet("t", ("one",), ("two",), "f"), extent, lambda *_: None)
    long = draw_sheet(Sheet("t", ("word " * 40,), ("w" * 400,), "f"), extent, lambda *_: None)
    assert long.shape[0] > short.shape[0] + 400
    for sheet in (short, long):  # the margins stay empty: nothing runs over the edge
        for edge in (sheet[:, :4], sheet[:, -4:], sheet[:4], sheet[-4:]):
            assert np.all(edge == PAPER)


def test_large_pictures_are_made_smaller_together() -> None:
    extent = Extent(2048, 2048)
    pixels = draw_sheet(Sheet("t", tuple("12345"), ("",), "f"), extent, lambda *_: None)
    assert pixels.shape[1] < SIDE_LIMIT + 200
