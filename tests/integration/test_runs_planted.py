"""Recorded runs on a disk that a stranger packed, and while somebody makes room on it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from two_people import ANN, STEPS, Studio, opened

from studio.diffusion.run_file import load_recording
from studio.engine import Engine
from studio.errors import StudioError
from studio.project.runs import LatentsGone, RunLine, RunStore
from studio.viewer import numbers
from studio.viewer.source import NotThere
from studio.viewer.viewer import Viewer


@pytest.fixture(scope="module")
def studio(_tiny_engine: Engine, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with opened(_tiny_engine, tiny_model, tmp_path_factory.mktemp("data")) as running:
        yield running


@pytest.fixture(scope="module")
def run(studio: Studio) -> str:
    """A run of Ann's."""
    return studio.make(ANN)


def test_values_beyond_all_numbers_are_no_run(studio: Studio, run: str, tmp_path: Path) -> None:
    """Strengths of 10 can make them. Infinity is no JSON: neither a page nor the next start could read it."""
    kept = studio.viewer.runs.get("user:ann", run)
    assert kept is not None
    huge = np.full((4, 8, 8), 1e30, dtype=np.float32)
    with pytest.raises(StudioError, match="too large"):
        numbers.measure([huge, -huge], "db2", 2)
    store = RunStore(tmp_path)
    store.prepare()
    endless = dataclasses.replace(kept, seconds=float("inf"))
    with pytest.raises(ValueError, match="JSON"):
        store.add("me", endless, load_recording(studio.viewer.runs.latents("user:ann", kept.id)), b"strip")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [], "nothing half"


# -- a data folder that a stranger packed -----------------------------------------------------------------------------


@pytest.fixture
def planted(studio: Studio, run: str, tmp_path: Path) -> Path:
    """The folder of one owner, "me", with a copy of Ann's run in it."""
    home = tmp_path / "runs" / hashlib.sha256(b"me").hexdigest()[:24]
    home.mkdir(parents=True)
    for path in (studio.data / "runs").glob(f"*/{run}.*"):
        shutil.copy(path, home)
    return home


def _facts(home: Path, run: str, **changed: Any) -> None:
    path = home / f"{run}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


@pytest.mark.parametrize(
    "changed",
    [
        {"branch_at": -1},
        {"branch_at": 10**6, "parent": "0" * 13 + "-" + "0" * 16},
        {"branch_at": "1"},
        {"parent": "../../etc/passwd", "branch_at": 1, "root": "0" * 13 + "-" + "0" * 16},
        {"root": ["x"]},
        {"label": {"a": 1}},
        {"label": "x" * 5000},
        {"label": "two\nlines"},
        {"count": 1e9},
        {"order": 0},
        {"steps": []},
        {"steps": [{"timestep": "1", "sigma": None, "noise_level": 1.0}] * STEPS},
        {"steps": [{"timestep": 1.0, "sigma": [], "noise_level": 1.0}] * STEPS},
        {"channels": -4},
        {"latent_height": True},
        {"made_at": "now"},
        {"seconds": "1"},
        {"strip": {"columns": 0, "rows": 1, "tile_width": 64, "tile_height": 64}},
        {"strip": {"columns": 3, "rows": 1, "tile_width": 10**9, "tile_height": 10**9}},
        {
            "measured": {
                "wavelet": "db2",
                "levels": 4,
                "look": "fast",
                "picture": None,
                "latent": {"energy": [[1]], "change": [[1]]},
            }
        },
    ],
)
def test_planted_facts_that_do_not_fit_together_are_passed_over(
    planted: Path, run: str, tmp_path: Path, changed: dict[str, Any]
) -> None:
    assert RunStore(tmp_path).get("me", run) is not None
    _facts(planted, run, **changed)
    assert RunStore(tmp_path).newest("me") == []


def test_lines_that_bite_their_tail_are_passed_over(planted: Path, run: str, tmp_path: Path) -> None:
    ids = [f"{number:013d}-{number:016x}" for number in range(1, 5)]
    for new in ids:
        for suffix in (".json", ".safetensors", ".strip.png"):
            shutil.copy(planted / f"{run}{suffix}", planted / f"{new}{suffix}")
    for new, parent in zip(ids, [ids[1], ids[2], ids[1], run], strict=True):  # 1 -> 2 -> 3 -> 2, and a sound one
        _facts(planted, new, id=new, parent=parent, root=ids[0], branch_at=1)
    store = RunStore(tmp_path)
    assert {kept.id for kept in store.newest("me")} == {run, ids[3]}
    assert store.openable("me") == {run, ids[3]}


def test_a_link_or_a_pipe_is_no_file_of_a_run(planted: Path, run: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("a password")
    for suffix in (".safetensors", ".strip.png"):
        (planted / f"{run}{suffix}").unlink()
        (planted / f"{run}{suffix}").symlink_to(secret)
    other = f"{1:013d}-{1:016x}"
    os.mkfifo(planted / f"{other}.json")
    store = RunStore(tmp_path)
    assert [kept.id for kept in store.newest("me")] == [run], "and nobody waits for the pipe"
    assert store.strip("me", run) is None
    assert store.latents("me", run) is None
    assert store.opened("me", run) is None
    assert store.openable("me") == set()


def test_starting_deletes_nothing_that_is_not_the_studios(planted: Path, run: str, tmp_path: Path) -> None:
    """Training tools call their folders "runs" too."""
    other = f"{1:013d}-{1:016x}"
    mine = [
        tmp_path / "runs" / "experiment-7" / "model.safetensors",
        tmp_path / "runs" / "experiment-7" / f"{other}.safetensors",
        tmp_path / "elsewhere" / f"{other}.safetensors",
        planted / "model.safetensors",
        planted / ".notes.part",
    ]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"weeks of training")
    (tmp_path / "runs" / ("0" * 24)).symlink_to(tmp_path / "elsewhere")
    swept = planted / f"{other}.safetensors"
    swept.write_bytes(b"half")
    store = RunStore(tmp_path, budget=0)
    store.prepare()
    assert not swept.exists()
    kept = store.get("me", run)
    assert kept is not None
    store.add("me", dataclasses.replace(kept, id=f"{9999999999999:013d}-{0:016x}"), None, None)  # beyond the budget
    assert [path for path in mine if not path.exists()] == []
    assert store.latents("me", run) is None


def test_a_recording_of_another_run_is_not_shown(studio: Studio, planted: Path, run: str, tmp_path: Path) -> None:
    shorter = studio.make(ANN, num_inference_steps=2)
    path = studio.viewer.runs.latents("user:ann", shorter)
    assert path is not None
    shutil.copy(path, planted / f"{run}.safetensors")
    viewer = Viewer(studio.engine, RunStore(tmp_path), data=tmp_path)
    with pytest.raises(StudioError, match="not those"):
        viewer.step("me", run, STEPS - 1, "fast")
    (planted / f"{run}.strip.png").write_bytes(b"no picture")
    with pytest.raises(NotThere):
        viewer.thumbnail("me", run)


# -- making room while somebody reads ---------------------------------------------------------------------------------


def test_a_file_that_is_given_up_while_it_is_sent_is_sent_whole(studio: Studio) -> None:
    run = studio.make(ANN, seed=21)
    path = studio.viewer.runs.latents("user:ann", run)
    assert path is not None
    content = path.read_bytes()
    opened = studio.viewer.runs.opened("user:ann", run)
    assert opened is not None
    with opened:
        answer = studio.client.get(f"/studio/runs/{run}/run.safetensors", headers=ANN)
        assert answer.content == content
        path.unlink()
        assert opened.read() == content
    gone = studio.client.get(f"/studio/runs/{run}/run.safetensors", headers=ANN)
    assert (gone.status_code, gone.json()["error"][:10]) == (410, "The pixels")


def test_latents_that_go_between_the_look_and_the_reading_are_gone(
    studio: Studio, run: str, planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RunStore(tmp_path)
    path = store.latents("me", run)
    assert path is not None

    def given_up(owner: str, run_id: str) -> Path:
        path.unlink(missing_ok=True)
        return path

    monkeypatch.setattr(store, "latents", given_up)
    with pytest.raises(LatentsGone):
        store.recording("me", run)
    assert store.opened("me", run) is None


def test_a_long_line_of_branches_is_opened_without_climbing_it_over_and_over(
    studio: Studio, planted: Path, run: str, tmp_path: Path
) -> None:
    store = RunStore(tmp_path)
    root = store.get("me", run)
    assert root is not None
    line = [root]
    for number in range(1, 1500):
        run_id = f"{number:013d}-{number:016x}"
        line.append(dataclasses.replace(root, id=run_id, parent=line[-1].id, root=root.id, branch_at=STEPS - 1))
    store._known["me"] = {each.id: RunLine.of(each) for each in line}
    for each in line:
        store._remember("me", each, 0)
    own = planted / f"{line[1].id}.safetensors"
    shutil.copy(planted / f"{run}.safetensors", own)
    for each in line[2:]:
        os.link(own, planted / f"{each.id}.safetensors")
    assert len(store.openable("me")) == len(line)
    assert store.is_open("me", line[-1].id)
    own.unlink()
    assert store.openable("me") == {root.id}, "what comes after a gap cannot be opened"
    (planted / f"{run}.safetensors").unlink()
    viewer = Viewer(studio.engine, store, data=tmp_path)
    with pytest.raises(LatentsGone):
        viewer.frames("me", line[-1])
