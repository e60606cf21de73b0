"""What is drawn of a recorded run, pixel by pixel: contact sheet, animation, what a step added."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from run_room import Room

from studio.engine import Engine
from studio.models.preview import LinearPreview
from studio.project.runs import RunStore
from studio.requests import TextToImage
from studio.viewer import drawing
from studio.viewer.facts import facts_of
from studio.viewer.viewer import BandWish, Viewer

ROOT = Path(__file__).parents[2]
STEPS = 6
SIDE = 64

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def seen(_tiny_engine: Engine, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Viewer, str]:
    """A viewer and a run that nothing here changes."""
    room = Room(_tiny_engine, tmp_path_factory.mktemp("data"))
    request = TextToImage("a lake", width=SIDE, height=SIDE, num_inference_steps=STEPS, model=str(tiny_model), seed=2)
    return room.viewer, room.make(request)[0]


def picture(png: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def full(viewer: Viewer, run: str) -> list[Pixels]:
    """Every step as the sheet and the animation show it."""
    look = facts_of(viewer, "me", run)["look"]
    return [picture(viewer.step("me", run, k, look)) for k in range(STEPS)]


def test_every_cell_of_the_contact_sheet_is_its_step_with_its_number(seen: tuple[Viewer, str]) -> None:
    viewer, run = seen
    sheet = picture(viewer.contact_sheet("me", run))
    columns = drawing.sheet_columns(STEPS)
    rows = -(-STEPS // columns)
    across, down = SIDE + drawing.GAP, SIDE + drawing.LABEL + drawing.GAP
    assert sheet.shape == (rows * down + drawing.GAP, columns * across + drawing.GAP, 3)
    left_over = sheet.copy()
    for k, step in enumerate(full(viewer, run)):
        top, left = drawing.GAP + k // columns * down, drawing.GAP + k % columns * across
        np.testing.assert_array_equal(sheet[top : top + SIDE, left : left + SIDE], step)
        label = Image.new("RGB", (SIDE, drawing.LABEL), drawing.PAPER)
        pen = ImageDraw.Draw(label)
        pen.text(
            (SIDE / 2, drawing.LABEL / 2 + 1), str(k + 1), drawing.INK, ImageFont.load_default(size=12), anchor="mm"
        )
        below = slice(top + SIDE, top + SIDE + drawing.LABEL)
        np.testing.assert_array_equal(sheet[below, left : left + SIDE], np.asarray(label))
        assert (np.asarray(label) != drawing.PAPER).any()
        left_over[top : top + SIDE + drawing.LABEL, left : left + SIDE] = drawing.PAPER
    assert (left_over == drawing.PAPER).all(), "nothing else is on it"


def test_the_animation_shows_every_step_for_its_time_and_holds_the_last(seen: tuple[Viewer, str]) -> None:
    viewer, run = seen
    film = Image.open(io.BytesIO(viewer.animation("me", run, fps=10)))
    assert (film.format, film.n_frames, film.size, film.info["loop"]) == ("GIF", STEPS, (SIDE, SIDE), 0)
    for k, step in enumerate(full(viewer, run)):
        film.seek(k)
        assert film.info["duration"] == (1600 if k == STEPS - 1 else 100), "ms"
        shown = np.asarray(film.convert("RGB")).astype(float)
        # 256 colours, spread by error diffusion: right on average over a few pixels, wherever one looks
        blocks = [array.reshape(8, 8, 8, 8, 3).mean(axis=(1, 3)) for array in (shown, step.astype(float))]
        assert np.abs(blocks[0] - blocks[1]).mean() < 3
        assert np.abs(shown - step).mean() < 12


def test_a_smaller_animation_is_the_same_run(seen: tuple[Viewer, str]) -> None:
    viewer, run = seen
    film = Image.open(io.BytesIO(viewer.animation("me", run, size=32, fps=25)))
    assert (film.n_frames, film.size, film.info["duration"]) == (STEPS, (32, 32), 40)


def test_what_a_step_added_is_drawn_on_the_scale_that_the_facts_tell(seen: tuple[Viewer, str]) -> None:
    viewer, run = seen
    facts = facts_of(viewer, "me", run)
    steps = full(viewer, run)
    scale = facts["scale"]["picture"]["whole"]
    for gain in (0.25, 1.0, 8.0):
        for k in (1, STEPS - 1):
            grey = picture(viewer.step("me", run, k, facts["look"], "added", gain=gain)).astype(float)
            change = steps[k].astype(float) - steps[k - 1]
            expected = np.clip(127.5 + 127.5 * change / (scale / gain), 0, 255)
            half = 127.5 / (scale / gain)  # both pictures are rounded to half a level
            assert np.abs(grey - expected).max() <= half + 1
    bands = facts["scale"]["picture"]["added"]
    energies = np.array(facts["change"]["picture"])[1:]
    np.testing.assert_allclose(bands, 127.5 * 4 * np.sqrt(np.median(energies, axis=0) / (3 * SIDE * SIDE)))
    whole = 127.5 * 4 * np.sqrt(np.median(energies.sum(axis=1)) / (3 * SIDE * SIDE))
    np.testing.assert_allclose(scale, whole)


def test_gain_amplifies_the_details_and_not_the_composition(seen: tuple[Viewer, str]) -> None:
    viewer, run = seen
    tiles = {gain: picture(viewer.bands("me", run, 3, BandWish(gain=gain))[0]).astype(float) for gain in (1.0, 2.0)}
    np.testing.assert_array_equal(tiles[1.0][:SIDE], tiles[2.0][:SIDE])
    once, twice = tiles[1.0][SIDE:], tiles[2.0][SIDE:]
    inside = (twice > 0) & (twice < 255)
    assert np.abs((twice - 127.5) - 2 * (once - 127.5))[inside].max() <= 1.5
    assert inside.mean() > 0.5


def test_a_run_is_told_of_before_the_model_has_woken(
    _tiny_engine: Engine, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = Room(_tiny_engine, tmp_path)
    request = TextToImage("a lake", width=SIDE, height=SIDE, num_inference_steps=STEPS, model=str(tiny_model))
    run, _ = room.make(request)
    branch, _ = room.branch(run, **{"from": 3, "noise": {"seed": 1}})
    measured = facts_of(room.viewer, "me", branch, look="fast")
    asleep = Engine(str(tiny_model))
    viewer = Viewer(asleep, RunStore(tmp_path))

    def ask(name: str) -> Callable[..., None]:
        def asked(*_: object, **__: object) -> None:
            raise AssertionError(f"{name} would have waited for the model")

        return asked

    with monkeypatch.context() as patch:
        for name in ("look", "decode", "load"):
            patch.setattr(asleep, name, ask(name))
        told = facts_of(viewer, "me", branch)
    assert told["waking"] is True
    assert viewer.strip("me", branch).startswith(b"\x89PNG")
    same = ("steps", "energy", "change", "arrived", "settled_at", "scale", "tree", "strip", "effect", "look")
    for key in same:
        assert told[key] == measured[key], key
    assert told["effect"] is not None
    code = (
        "import sys; sys.modules['torch'] = None  # whoever imports it fails\n"
        "from pathlib import Path\n"
        "from studio.engine import Engine\n"
        "from studio.project.runs import RunStore\n"
        "from studio.viewer.facts import facts_of, lines_of\n"
        "from studio.viewer.viewer import Viewer\n"
        "model, data, run = sys.argv[1:]\n"
        "viewer = Viewer(Engine(model), RunStore(Path(data)), data=Path(data))\n"
        "assert facts_of(viewer, 'me', run)['waking'] and lines_of(viewer, 'me') and viewer.strip('me', run)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tiny_model), str(tmp_path), branch], check=True, cwd=ROOT)
    loaded = _tiny_engine._loaded
    assert loaded is not None and isinstance(loaded.preview, LinearPreview)
    monkeypatch.setattr(asleep, "_loaded", loaded)
    assert facts_of(viewer, "me", branch)["waking"] is False
