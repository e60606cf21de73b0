"""Branches of recorded runs: with every solver, on every family, and what they mean in a picture of the painter."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from run_room import Room
from tiny_models import save_tiny

from studio.engine import CannotShow, Engine
from studio.project.runs import LatentsGone, RunStore
from studio.requests import SOLVERS, TextToImage
from studio.viewer import numbers
from studio.viewer.facts import facts_of
from studio.viewer.viewer import BandWish, Viewer

STEPS = 4


@pytest.mark.parametrize("solver", SOLVERS)
def test_with_every_solver_an_unchanged_branch_is_the_same_picture(
    solver: str, tiny_engine: Engine, tiny_model: Path, tmp_path: Path
) -> None:
    room = Room(tiny_engine, tmp_path)
    request = TextToImage(
        "a lake", width=64, height=64, num_inference_steps=STEPS, seed=3, model=str(tiny_model), solver=solver
    )
    run, pixels = room.make(request)
    facts = facts_of(room.viewer, "me", run)
    assert facts["recorded"] == facts["count"] == STEPS
    _, same = room.branch(run, **{"from": 2})
    np.testing.assert_array_equal(same, pixels)
    twig, other = room.branch(run, **{"from": 2, "noise": {"seed": 5}, "request": {"prompt": "a red boat"}})
    assert not np.array_equal(other, pixels)
    assert facts_of(room.viewer, "me", twig)["recorded"] == STEPS


@pytest.mark.parametrize("family", ["painter", "sdxl", "sd3", "flux", "pixart"])
def test_every_family_is_seen_and_stepped_into(family: str, tmp_path: Path) -> None:
    engine = Engine(str(save_tiny(family, tmp_path / family)))
    room = Room(engine, tmp_path)
    request = TextToImage(
        "a lake", width=96, height=64, num_inference_steps=STEPS, solver="Euler", model=engine.default_model
    )
    run, pixels = room.make(request)
    facts = facts_of(room.viewer, "me", run, look="full")
    assert facts["space"]["picture"] is True
    latent = facts["space"]["latent"]
    assert latent["width"] * 64 == latent["height"] * 96
    for look in ("fast", "full"):
        assert room.viewer.step("me", run, 2, look).startswith(b"\x89PNG")
    layer = np.zeros((64, 96, 4), dtype=np.uint8)
    layer[:32, :32] = 255
    lock = {"bands": [0], "levels": 1}
    for wish in (
        {"edit": {"picture": "layer"}},
        {"noise": {"seed": 1}, "lock": lock},
        {"noise": {"seed": 1}, "lock": lock | {"mode": "energy", "release": 0.5}},
        {"request": {"guidance_scale": 2.0}},
    ):
        branch, other = room.branch(run, {"layer": layer}, **{"from": 2}, **wish)
        assert other.shape == (64, 96, 3)
        assert facts_of(room.viewer, "me", branch)["parent"] == run
    _, same = room.branch(run, **{"from": 1})
    np.testing.assert_array_equal(same, pixels)


def test_what_was_measured_outlives_the_latents(tiny_engine: Engine, tiny_model: Path, tmp_path: Path) -> None:
    room = Room(tiny_engine, tmp_path)
    request = TextToImage("a lake", width=64, height=64, num_inference_steps=STEPS, model=str(tiny_model))
    run, _ = room.make(request)
    before = facts_of(room.viewer, "me", run, look="fast")
    path = room.viewer.runs.latents("me", run)
    assert path is not None
    path.unlink()
    room = Room(tiny_engine, tmp_path)
    after = facts_of(room.viewer, "me", run)
    assert after["latents"] is False
    for key in ("steps", "energy", "change", "settled_at", "scale", "look"):
        assert after[key] == before[key], key
    assert room.viewer.strip("me", run).startswith(b"\x89PNG")
    assert room.viewer.thumbnail("me", run).startswith(b"\x89PNG")
    for ask in (
        lambda: facts_of(room.viewer, "me", run, wavelet="haar"),
        lambda: room.viewer.step("me", run, 1),
        lambda: room.viewer.bands("me", run, 1, BandWish()),
        lambda: room.branch(run, **{"from": 1}),
    ):
        with pytest.raises(LatentsGone, match="let go"):
            ask()
    again, _ = room.branch(run, **{"from": 0, "request": {"prompt": "a boat"}})
    assert facts_of(room.viewer, "me", again)["latents"] is True, "from the start, nothing of it is needed"


def test_steps_of_another_model_say_which_one_is_needed(tiny_engine: Engine, tiny_model: Path, tmp_path: Path) -> None:
    room = Room(tiny_engine, tmp_path)
    request = TextToImage("a lake", width=64, height=64, num_inference_steps=STEPS, model=str(tiny_model))
    run, _ = room.make(request)
    other = Engine(str(save_tiny("sd", tmp_path / "other", seed=1)))
    other.load()
    viewer = Viewer(other, RunStore(tmp_path))
    assert facts_of(viewer, "me", run)["look"] == "fast", "what was stored is shown"
    with pytest.raises(CannotShow, match="--model"):
        viewer.step("me", run, 1)


def test_a_picture_can_be_looked_at_while_another_is_painted(
    tiny_engine: Engine, tiny_model: Path, tmp_path: Path
) -> None:
    room = Room(tiny_engine, tmp_path)
    request = TextToImage("a lake", width=64, height=64, num_inference_steps=STEPS, model=str(tiny_model))
    run, _ = room.make(request)
    seen: list[bytes] = []

    def look(_: object) -> None:
        import threading

        if not seen:
            viewer = threading.Thread(target=lambda: seen.append(room.viewer.step("me", run, 1, "full")))
            viewer.start()
            viewer.join(60)

    tiny_engine.run(request, on_progress=look, previews=False)
    assert seen and seen[0].startswith(b"\x89PNG")


# -- what it means in a picture: the bundled model --------------------------------------------------------------------


@pytest.fixture(scope="module")
def painter() -> Engine:
    engine = Engine()
    engine.load()
    return engine


@pytest.fixture(scope="module")
def lake(painter: Engine, tmp_path_factory: pytest.TempPathFactory) -> tuple[Room, str, np.ndarray]:
    room = Room(painter, tmp_path_factory.mktemp("runs"))
    card = painter.card()
    request = dataclasses.replace(
        card.request("an oil painting of a mountain lake at sunset", 7), num_inference_steps=12
    )
    return room, *room.make(request)


def test_a_painted_region_changes_the_picture_mainly_there(lake: tuple[Room, str, np.ndarray]) -> None:
    room, run, before = lake
    layer = np.zeros((*before.shape[:2], 4), dtype=np.uint8)
    layer[16:56, 72:112] = (250, 240, 120, 255)
    _, after = room.branch(run, {"layer": layer}, **{"from": 5, "edit": {"picture": "layer"}})
    moved = np.abs(after.astype(int) - before.astype(int)).mean(axis=-1)
    elsewhere = np.ones_like(moved, dtype=bool)
    elsewhere[8:64, 64:120] = False  # a latent cell around it may change with it
    inside = moved[16:56, 72:112].mean()
    assert inside > 25
    assert inside > 8 * moved[elsewhere].mean()
    colour = after[24:48, 80:104].mean(axis=(0, 1))
    assert np.abs(colour - [250, 240, 120]).max() < 40, "it is still there at the end"


def test_locked_composition_stays_while_grain_comes_anew(lake: tuple[Room, str, np.ndarray]) -> None:
    room, run, before = lake
    wish = {"from": 2, "noise": {"seed": 5}}
    _, held = room.branch(run, **wish, lock={"bands": [0, 1]})
    _, free = room.branch(run, **wish)

    def alike(one: np.ndarray, other: np.ndarray) -> list[float]:
        """Correlation of each band of two pictures, coarse to fine."""
        planes = [
            numbers.band_planes((picture.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1), "db2", 4)
            for picture in (one, other)
        ]
        return [float(np.corrcoef(a.ravel(), b.ravel())[0, 1]) for a, b in zip(*planes, strict=True)]

    kept, redone = alike(before, held), alike(before, free)
    assert kept[0] > 0.98
    assert redone[0] < 0.95, "without the lock it would not"
    assert kept[-1] < 0.9, "the finest band came anew"
