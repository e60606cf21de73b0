"""Runs on disk: found again, whole or absent, each owner's own, and latents given up before anything else."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from studio.diffusion.recording import Moment, Recording, RunFacts
from studio.diffusion.steps import Step
from studio.diffusion.strengths import Strengths
from studio.errors import StudioError
from studio.project.kept_fill import MASK, SOURCE
from studio.project.runs import BandNumbers, KeptRun, KeptStep, LatentsGone, Measured, RunLine, RunStore, Strip
from studio.project.uploads import Uploads
from studio.requests import TextToImage

NUMBERS = BandNumbers(energy=((1.0, 0.1), (2.0, 0.7)), change=((1.0, 0.1), (0.5, 1 / 3)))


def _id(number: int) -> str:
    return f"{number:013d}-{number:016x}"


def _recording(seed: int = 0, steps: int = 2) -> Recording:
    torch.manual_seed(seed)
    made = [
        Step(k, steps, 1, float(steps - k), 0.5, *(torch.randn(1, 4, 8, 8) for _ in range(3))) for k in range(steps)
    ]
    moments = [Moment(step.x, {}, torch.get_rng_state()) for step in made]
    facts = RunFacts("P", "S", {}, steps, 1, 0, tuple(s.timestep for s in made), (None,) * steps, "f")
    return Recording(tuple(made), tuple(moments), facts)


def _run(number: int, **changed: object) -> KeptRun:
    run = KeptRun(
        id=_id(number),
        request=TextToImage("a lake", seed=number, correction=Strengths.double(0.1, -0.2)),
        made_at=number,
        count=2,
        order=1,
        steps=(KeptStep(2.0, None, 1.0), KeptStep(1.0, 0.5, 0.25)),
        seconds=1.5,
        measured=Measured("db2", 1, "fast", NUMBERS, NUMBERS),
        strip=Strip(2, 1, 16, 16),
        channels=4,
        latent_height=8,
        latent_width=8,
    )
    return dataclasses.replace(run, **changed)


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    store = RunStore(tmp_path)
    store.prepare()
    return store


def test_a_run_is_found_again_by_another_process(store: RunStore, tmp_path: Path) -> None:
    run = _run(1)
    recording = _recording()
    store.add("me", run, recording, b"strip")
    again = RunStore(tmp_path)
    assert again.get("me", run.id) == run, "every field, floats to the last bit"
    assert again.strip("me", run.id) == b"strip"
    loaded = again.recording("me", run.id)
    for one, two in zip(loaded.steps, recording.steps, strict=True):
        assert torch.equal(one.denoised, two.denoised)
    assert again.size("me", run.id) > 2 * 2 * 4 * 64 * 4


def test_newest_come_first_and_families_in_order(store: RunStore) -> None:
    root, other = _run(1), _run(2)
    branch = _run(3, parent=root.id, root=root.id, branch_at=1)
    twig = _run(4, parent=branch.id, root=root.id, branch_at=1)
    for run in (root, other, branch, twig):
        store.add("me", run, _recording(), None)
    assert [run.id for run in store.newest("me", 3)] == [_id(4), _id(3), _id(2)]
    assert store.family("me", branch) == [RunLine.of(run) for run in (root, branch, twig)]
    assert store.lineage("me", twig) == [twig, branch, root]
    assert store.family("me", other) == [RunLine.of(other)]


def test_nobody_sees_the_runs_of_another(store: RunStore) -> None:
    run = _run(1)
    store.add("me", run, _recording(), b"strip")
    assert store.get("you", run.id) is None
    assert store.strip("you", run.id) is None
    assert store.latents("you", run.id) is None
    assert store.newest("you") == []
    with pytest.raises(LatentsGone):
        store.recording("you", run.id)


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "0" * 30, "1" * 13 + "-" + "g" * 16])
def test_only_ids_of_ours_are_names(store: RunStore, name: str) -> None:
    assert store.get("me", name) is None
    assert store.strip("me", name) is None
    assert store.latents("me", name) is None
    with pytest.raises(ValueError, match="not the id"):
        store.add("me", dataclasses.replace(_run(1), id=name), None, None)


def test_the_oldest_give_up_their_latents_and_nothing_else(tmp_path: Path) -> None:
    probe = RunStore(tmp_path / "probe")
    probe.prepare()
    probe.add("me", _run(1), _recording(), None)
    (file,) = (tmp_path / "probe").rglob("*.safetensors")
    store = RunStore(tmp_path, budget=2 * file.stat().st_size + 100)
    store.prepare()
    for number in (1, 2, 3):
        store.add("me", _run(number), _recording(number), b"strip")
    store.add("you", _run(4), _recording(4), None)
    held = [store.latents("me", _id(number)) is not None for number in (1, 2, 3)]
    assert held == [False, True, True], "the budget is each owner's own"
    assert store.get("me", _id(1)) == _run(1)
    assert store.strip("me", _id(1)) == b"strip"
    with pytest.raises(LatentsGone, match="let go"):
        store.recording("me", _id(1))


def test_what_a_fill_was_made_from_stays_when_its_latents_go(tmp_path: Path) -> None:
    """It is a part of the request: without it the fill could not be painted again, or verified."""
    store = RunStore(tmp_path, budget=0)
    store.prepare()
    for number in (1, 2):
        store.add("me", _run(number), _recording(number), None, beside={SOURCE: b"source", MASK: b"mask"})
    assert store.latents("me", _id(1)) is None
    left = {path.name.partition(".")[2]: path.read_bytes() for path in tmp_path.rglob(f"{_id(1)}.*.png")}
    assert left == {"source.png": b"source", "mask.png": b"mask"}


def test_what_is_used_tells_latents_from_the_rest(store: RunStore, tmp_path: Path) -> None:
    assert store.used("me") == (0, 0)
    store.add("me", _run(1), _recording(), b"strip")
    files = {path: path.stat().st_size for path in (tmp_path / "runs").rglob("*.*")}
    latents = sum(size for path, size in files.items() if path.suffix == ".safetensors")
    assert store.used("me") == (latents, sum(files.values()) - latents)
    assert latents > 0


def test_a_run_keeps_its_own_latents_whatever_the_budget(tmp_path: Path) -> None:
    store = RunStore(tmp_path, budget=0)
    store.prepare()
    for number in (1, 2):
        store.add("me", _run(number), _recording(), None)
    assert store.latents("me", _id(1)) is None
    assert store.latents("me", _id(2)) is not None


def test_a_branch_can_be_opened_only_with_the_steps_that_it_shares(store: RunStore) -> None:
    root = _run(1)
    late = _run(2, parent=root.id, root=root.id, branch_at=1)
    whole = _run(3, parent=root.id, root=root.id, branch_at=0)
    for run in (root, late, whole):
        store.add("me", run, _recording(), None)
    assert store.is_open("me", late.id)
    path = store.latents("me", root.id)
    assert path is not None
    path.unlink()
    assert not store.is_open("me", late.id)
    assert store.is_open("me", whole.id), "made from the start, it shares nothing"


def test_what_a_killed_process_left_is_swept(store: RunStore, tmp_path: Path) -> None:
    store.add("me", _run(1), _recording(), b"strip")
    (home,) = (tmp_path / "runs").iterdir()
    (home / f".{_id(2)}.json.part").write_bytes(b"{")
    (home / f"{_id(2)}.safetensors").write_bytes(b"half")
    (home / f"{_id(2)}.strip.png").write_bytes(b"half")
    again = RunStore(tmp_path)
    again.prepare()
    assert sorted(path.suffix for path in home.iterdir()) == [".json", ".png", ".safetensors"]
    assert [run.id for run in again.newest("me")] == [_id(1)]


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"id": _id(9)},
        {"request": {"prompt": 1}},
        {"steps": [{"timestep": 1}]},
        {"more": 1},
        {"measured": {"wavelet": "db2"}},
    ],
)
def test_facts_that_make_no_sense_are_passed_over(store: RunStore, tmp_path: Path, change: dict[str, object]) -> None:
    store.add("me", _run(1), None, None)
    (path,) = (tmp_path / "runs").rglob("*.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert RunStore(tmp_path).newest("me") == []
    path.write_bytes(b"\xff{")
    assert RunStore(tmp_path).newest("me") == []


def test_a_full_disk_leaves_no_half_run(store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StudioError, match="No space left"):
        store.add("me", _run(1), _recording(), b"strip")
    assert store.get("me", _id(1)) is None
    assert [path for path in (tmp_path / "runs").rglob("*") if path.is_file()] == []


def test_a_folder_that_cannot_be_used_is_said_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file in the way")
    with pytest.raises(StudioError, match="--data"):
        RunStore(tmp_path).prepare()


def test_uploads_are_their_owners_and_the_oldest_go(tmp_path: Path) -> None:
    import numpy as np

    from studio.imaging.png import write_png

    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (16, 16, 3), dtype=np.uint8) for _ in range(4)]
    pngs = [write_png(picture) for picture in pictures]
    uploads = Uploads(owner_budget=len(pngs[0]) * 2 + 50, total_budget=len(pngs[0]) * 3 + 50)
    first, second, third = (uploads.add("me", png) for png in pngs[:3])
    assert first[1:] == (16, 16)
    assert uploads.picture("me", first[0]) is None
    np.testing.assert_array_equal(uploads.picture("me", third[0]), pictures[2])
    assert uploads.picture("you", third[0]) is None
    yours = uploads.add("you", pngs[3])
    assert uploads.picture("me", second[0]) is not None, "all fit together"
    np.testing.assert_array_equal(uploads.picture("you", yours[0]), pictures[3])
