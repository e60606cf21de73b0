"""`python -m studio verify` of a branch: painted again from its file alone, without the run that it left."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from run_room import Room
from tiny_models import save_tiny

from studio.__main__ import main
from studio.diffusion.edits import BandLock
from studio.diffusion.strengths import Strengths
from studio.engine import Engine
from studio.imaging.png import REQUEST_KEY, read_picture, read_png_chunks, read_png_text, write_png
from studio.project.carried_branch import CHUNK, MAX_CARRIED, CarriedBranch, going_in
from studio.project.carried_fill import KEPT_BACK, LEFT_OUT
from studio.project.store import note_in
from studio.requests import SOLVERS, TextToImage
from studio.viewer.branching import Wish, branch_of, paint

STEPS = 4


@pytest.fixture
def verified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """The exit code of `verify` for a file with these bytes, alone in its folder, and what it said."""

    def verify(png: bytes, model: object) -> tuple[int, str]:
        alone = tmp_path / "alone"
        alone.mkdir(exist_ok=True)
        file = alone / "a.png"
        file.write_bytes(png)
        capsys.readouterr()
        code = main(["verify", str(file), "--model", str(model)])
        said = capsys.readouterr()
        return code, said.out.removeprefix(f"{file}: ") + said.err

    return verify


def request_for(engine: Engine, **changes: Any) -> TextToImage:
    values = {"width": 64, "height": 64, "num_inference_steps": STEPS, "seed": 3, "model": engine.default_model}
    return TextToImage("a lake", **{**values, **changes})


def _painted() -> dict[str, np.ndarray]:
    """What a person may have painted, and a mask: of the size of `request_for`."""
    layer = np.zeros((64, 64, 4), np.uint8)
    layer[8:40, 8:40] = (250, 200, 40, 255)
    mask = np.zeros((64, 64, 4), np.uint8)
    mask[..., :3] = np.linspace(0, 255, 64, dtype=np.uint8)[None, :, None]
    mask[:, 48:, :3], mask[..., 3] = 255, 255
    return {"layer": layer, "mask": mask}


PAINTED = _painted()
WISHES: dict[str, dict[str, Any]] = {
    "as it was": {"from": 2},
    "painted over": {"from": 2, "edit": {"picture": "layer", "shown": "fast"}},
    "painted over in a mask": {"from": 1, "edit": {"picture": "layer", "mask": "mask"}},
    "other words": {"from": 2, "request": {"prompt": "a (red:1.3) boat", "guidance_scale": 2.0}},
    "other noise": {"from": 2, "noise": {"seed": 5}},
    "another solver": {"from": 2, "request": {"solver": "Euler a", "num_inference_steps": 6}},
    "bands kept": {"from": 1, "noise": {"seed": 5}, "lock": {"bands": [0], "wavelet": "haar", "levels": 2}},
    "as much of bands": {
        "from": 1,
        "noise": {"seed": 5},
        "lock": {"bands": [1], "levels": 1, "mode": "energy", "release": 0.3},
    },
    "within a region": {"from": 1, "request": {"prompt": "a boat"}, "within": "mask"},
    "from the start, within": {"from": 0, "request": {"prompt": "a boat"}, "within": "mask"},
    "corrected in a region": {"from": 0, "mask": "mask", "correction": Strengths.low(0.2).to_dict()},
}


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_painted_branch_is_identical_with_every_solver(
    solver: str, tiny_engine: Engine, tmp_path: Path, verified: Callable[..., tuple[int, str]]
) -> None:
    room = Room(tiny_engine, tmp_path / "here")
    run, _ = room.make(request_for(tiny_engine, solver=solver))
    branch, pixels = room.branch(run, PAINTED, **WISHES["painted over"])
    assert not np.array_equal(pixels, read_picture(room.pngs[run]))
    assert verified(room.pngs[branch], tiny_engine.default_model) == (0, "identical\n")


@pytest.mark.parametrize("wish", [pytest.param(wish, id=name) for name, wish in WISHES.items()])
def test_whatever_a_branch_changes_is_in_its_file(
    wish: dict[str, Any], tiny_engine: Engine, tmp_path: Path, verified: Callable[..., tuple[int, str]]
) -> None:
    room = Room(tiny_engine, tmp_path / "here")
    run, _ = room.make(request_for(tiny_engine))
    branch, pixels = room.branch(run, PAINTED, **wish)
    assert np.array_equal(pixels, read_picture(room.pngs[run])) == (wish == WISHES["as it was"])
    assert verified(room.pngs[branch], tiny_engine.default_model) == (0, "identical\n")


def test_a_branch_of_a_branch_with_bands_of_a_third_run(
    tiny_engine: Engine, tmp_path: Path, verified: Callable[..., tuple[int, str]]
) -> None:
    room = Room(tiny_engine, tmp_path / "here")
    run, _ = room.make(request_for(tiny_engine))
    other, _ = room.make(request_for(tiny_engine, seed=9))
    twig, _ = room.branch(run, PAINTED, **WISHES["painted over"])
    leaf, _ = room.branch(twig, **{"from": 3, "mix": {"run": other, "bands": [0], "levels": 1}})
    assert verified(room.pngs[leaf], tiny_engine.default_model) == (0, "identical\n")


@pytest.mark.parametrize("family", ["painter", "sdxl", "sd3", "flux", "pixart"])
def test_every_family_goes_on_from_its_file(
    family: str, tmp_path: Path, verified: Callable[..., tuple[int, str]]
) -> None:
    engine = Engine(str(save_tiny(family, tmp_path / family)))
    room = Room(engine, tmp_path / "here")
    run, _ = room.make(request_for(engine, solver="Euler"))
    branch, _ = room.branch(run, PAINTED, **{**WISHES["painted over"], "noise": {"seed": 1}})
    assert verified(room.pngs[branch], engine.default_model) == (0, "identical\n")


def test_a_branch_of_the_bundled_painter_is_identical_in_an_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    painter = Engine()
    room = Room(painter, tmp_path / "here")
    request = painter.card().request("an oil painting of a mountain lake at sunset", 7)
    run, _ = room.make(dataclasses.replace(request, num_inference_steps=6))
    layer = np.zeros((request.height, request.width, 4), np.uint8)
    layer[16:56, 72:112] = (250, 240, 120, 255)
    branch, _ = room.branch(run, {"layer": layer}, **WISHES["painted over"])
    (tmp_path / "there").mkdir()
    file = tmp_path / "there" / "branch.png"
    file.write_bytes(room.pngs[branch])
    monkeypatch.chdir(file.parent)
    assert main(["verify", file.name]) == 0
    assert capsys.readouterr().out == "branch.png: identical\n"
    assert [path.name for path in file.parent.iterdir()] == ["branch.png"]
    assert len(room.pngs[branch]) < 256 * 1024


@pytest.mark.parametrize(("solver", "asked"), [("Euler", 1), ("Euler", 2), ("Heun", 1), ("Heun", 2), ("Heun", 3)])
@pytest.mark.parametrize("steps", [STEPS + 2, 9])
def test_a_stopped_branch_is_stopped_there_again(
    tiny_engine: Engine,
    tmp_path: Path,
    verified: Callable[..., tuple[int, str]],
    solver: str,
    asked: int,
    steps: int,
) -> None:
    """`asked`: at which question of whether to go on, in the branch."""
    room = Room(tiny_engine, tmp_path / "here")
    run, _ = room.make(request_for(tiny_engine, solver=solver, num_inference_steps=STEPS + 2))
    wish = {"from": 2, "noise": {"seed": 1}, "request": {"num_inference_steps": steps}}
    branch = branch_of(room.viewer, "me", run, Wish.from_dict(wish, {}.get), (tiny_engine.default_model,))
    count = 0

    def cancelled() -> bool:
        nonlocal count
        count += 1
        return count == asked

    picture = paint(room.viewer, "me", branch, lambda progress: None, cancelled)
    assert picture.stopped_at is not None
    assert verified(picture.to_png(), tiny_engine.default_model) == (0, "identical\n")


# -- what differs -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def branch(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a branch that was painted over."""
    engine = Engine(str(tiny_model))
    room = Room(engine, tmp_path_factory.mktemp("branch"))
    run, _ = room.make(request_for(engine))
    return room.pngs[room.branch(run, PAINTED, **WISHES["painted over"])[0]]


def with_note(png: bytes, private: dict[bytes, bytes] | None = None, **note: Any) -> bytes:
    text = read_png_text(png)
    text[REQUEST_KEY] = json.dumps(note_in(png) | note)
    chunks = read_png_chunks(png, {CHUNK}, MAX_CARRIED) if private is None else private
    return write_png(read_picture(png), text, chunks)


def test_a_changed_branch_is_told_how_far_apart(
    branch: bytes, tiny_engine: Engine, verified: Callable[..., tuple[int, str]]
) -> None:
    pixels = read_picture(branch).copy()
    pixels[0, 0, 0] ^= 1
    png = write_png(pixels, read_png_text(branch), read_png_chunks(branch, {CHUNK}, MAX_CARRIED))
    code, said = verified(png, tiny_engine.default_model)
    assert code == 1
    assert "by 1 of 255 at most" in said
    assert "Was the picture changed?" in said


def test_other_weights_paint_a_branch_too_and_are_named(
    branch: bytes, tmp_path: Path, verified: Callable[..., tuple[int, str]]
) -> None:
    code, said = verified(branch, save_tiny("sd", tmp_path / "other", seed=5))
    assert code == 1
    assert "PSNR" in said
    assert "the model's weights: was " in said


def test_a_model_with_other_latents_cannot_go_on(
    branch: bytes, tmp_path: Path, verified: Callable[..., tuple[int, str]]
) -> None:
    png = with_note(branch, made_with={**note_in(branch)["made_with"], "diffusers": "0.1"})
    code, said = verified(png, save_tiny("flux", tmp_path / "other"))
    assert code == 2
    assert "This branch cannot go on here." in said
    assert "made with diffusers 0.1" in said
    assert said.count("\n") == 1


def test_a_branch_whose_file_carries_nothing_says_why(
    branch: bytes, tiny_engine: Engine, verified: Callable[..., tuple[int, str]]
) -> None:
    """As older studios wrote it, as a program that does not know the chunk leaves it, and one that was too large."""
    old = {key: value for key, value in note_in(branch).items() if key != "going_on"}
    older = write_png(read_picture(branch), {REQUEST_KEY: json.dumps(old)}, {})
    for png, words in (
        (older, "in the studio's data and not in the file"),
        (with_note(branch, {}), "in the studio's data and not in the file"),
        (with_note(branch, {}, going_on=LEFT_OUT), "too large to be in the file"),
        (with_note(branch, {}, going_on=KEPT_BACK), "to be taken away there is not in the file"),
        (with_note(branch, None, going_on=LEFT_OUT), "too large to be in the file"),
    ):
        code, said = verified(png, tiny_engine.default_model)
        assert code == 2
        assert "left another run at step 3" in said
        assert words in said


def test_the_picture_that_was_painted_over_is_not_in_the_file(tiny_engine: Engine, tmp_path: Path) -> None:
    """Of the steps that are held, only the bands are; of the picture around a region, nothing of the region."""
    room = Room(tiny_engine, tmp_path / "here")
    run, _ = room.make(request_for(tiny_engine))
    frames = room.viewer.frames("me", room.viewer.run("me", run))
    wish = {**WISHES["bands kept"], **WISHES["painted over"], "within": "mask"}
    name, _ = room.branch(run, PAINTED, **wish)
    png = room.pngs[name]
    going = going_in(png, note_in(png))
    assert going is not None
    assert going.point is not None
    assert going.keep is not None
    (lock,) = going.point.hooks
    assert isinstance(lock, BandLock)
    assert not isinstance(lock.reference, torch.Tensor)
    for frame, step in zip(frames[2:], lock.reference, strict=True):
        assert step.denoised is not None
        blocks = torch.nn.functional.avg_pool2d(frame.clean, 4)  # two levels of Haar
        coarse = torch.nn.functional.interpolate(blocks, scale_factor=4)
        torch.testing.assert_close(step.denoised, coarse, atol=1e-4, rtol=1e-4)
    known, last = going.keep.known, frames[-1].clean
    assert torch.equal(known[..., :6], last[..., :6])
    assert last[..., 6:].any()
    assert not known[..., 6:].any(), "these 16 pixels may change altogether"
    assert going.point.step.denoised is None
    assert torch.equal(going.point.step.x_next, going.point.moment.x)


def test_what_does_not_fit_the_solver_is_said_in_words(
    branch: bytes, tiny_engine: Engine, verified: Callable[..., tuple[int, str]]
) -> None:
    """A file with all its digests right, whose solver remembers an order that it never had."""
    going = going_in(branch, note_in(branch))
    assert going is not None
    assert going.point is not None
    memory = {**going.point.moment.memory, "lower_order_nums": "many"}
    point = dataclasses.replace(going.point, moment=dataclasses.replace(going.point.moment, memory=memory))
    made = CarriedBranch(dataclasses.replace(going, point=point))
    code, said = verified(with_note(branch, made.chunks(), going_on=made.note()), tiny_engine.default_model)
    assert code == 2
    assert "does not fit the solver" in said
