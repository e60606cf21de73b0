"""Grids on disk: they come back as they were kept, and take no more room than they may."""

from __future__ import annotations

import collections
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studio.diffusion.strengths import Strengths
from studio.errors import NotFound, StudioError
from studio.grids import Grid, axis_of
from studio.project.grid_store import GridStore, KeptGrid
from studio.requests import TextToImage

BASE = TextToImage("a lake at dawn", seed=7, correction=Strengths.low(0.02), template="a lake at {dawn|dusk}")
SIDES = {
    "seed": "1-3",
    "size": "64 × 64, 128 × 64",
    "words": "lake, forest",
    "solver": "DDIM, Euler",
    "correction": "off, own",
    "negative_prompt": "people\n\nhouses",
    "guidance_scale": "2 to 8 (+2)",
    "strength_0": "-0.02 to 0.02 [5]",
}
PICTURE = "1700000000000-0123456789abcdef"


def _grid(across: str, down: str | None = None) -> tuple[Grid, list[TextToImage]]:
    sides = [axis_of(each, SIDES[each], "across") for each in (across, down) if each is not None]
    grid = Grid(BASE, sides[0], sides[1] if len(sides) > 1 else None)
    return grid, grid.requests(lambda _: None)


@pytest.mark.parametrize("down", [None, "seed"])
@pytest.mark.parametrize("across", [name for name in SIDES if name != "seed"])
def test_a_grid_is_there_after_a_restart(tmp_path: Path, across: str, down: str | None) -> None:
    grid, cells = _grid(across, down)
    store = GridStore(tmp_path)
    kept = store.add("me", grid, cells)
    store.painted("me", kept.id, 1, PICTURE)
    store.ended("me", kept.id, "failed", "Out of memory.")
    again = GridStore(tmp_path)
    again.prepare()
    pictures = (None, PICTURE, *[None] * (len(cells) - 2))
    assert again.newest("me", 9) == [KeptGrid(kept.id, grid, tuple(cells), pictures, "failed", "Out of memory.")]
    assert again.get("me", kept.id).pictures == pictures


def test_what_is_of_another_is_not_there(tmp_path: Path) -> None:
    store = GridStore(tmp_path)
    kept = store.add("me", *_grid("seed"))
    assert store.newest("you", 9) == []
    for wrong in (kept.id, "../me", "", f"{kept.id}/../{kept.id}"):
        with pytest.raises(NotFound):
            store.get("you", wrong)
    with pytest.raises(NotFound):
        store.painted("you", kept.id, 0, PICTURE)
    store.discard("you", kept.id)
    assert store.get("me", kept.id) == kept
    store.discard("me", kept.id)
    assert store.newest("me", 9) == []


def test_the_oldest_go_and_nobody_pushes_out_those_of_others(tmp_path: Path) -> None:
    store = GridStore(tmp_path, limit=3)
    mine = store.add("ann", *_grid("seed"))
    ids = [store.add("eve", *_grid("seed")).id for _ in range(6)]
    assert {kept.id for kept in store.newest("eve", 9)} <= set(ids)
    assert len(store.newest("eve", 9)) == 3
    assert store.newest("ann", 9) == [mine]
    small = GridStore(tmp_path, budget=1)
    last = small.add("ann", *_grid("seed"))
    assert small.newest("ann", 9) == [last], "the newest stays whatever it takes"


def test_half_written_ones_are_swept_and_other_files_left_alone(tmp_path: Path) -> None:
    store = GridStore(tmp_path)
    kept = store.add("me", *_grid("seed"))
    (home,) = (tmp_path / "grids").iterdir()
    half, mine = home / f".{kept.id}.json.77.part", home / "notes.json"
    half.write_bytes(b"{")
    mine.write_bytes(b"{}")
    store.prepare()
    assert not half.exists()
    assert mine.exists()
    assert store.newest("me", 9) == [kept]


def test_a_grid_without_room_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 0, 10**9))
    with pytest.raises(StudioError, match="almost full"):
        GridStore(tmp_path).add("me", *_grid("seed"))
    assert not list(tmp_path.iterdir())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_no_grid_and_harms_no_other(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("grids")
    store = GridStore(folder)
    bad, good = store.add("me", *_grid("size", "seed")), store.add("me", *_grid("seed"))
    (file,) = folder.rglob(f"{bad.id}.json")
    values = json.loads(file.read_bytes())
    where = data.draw(st.sampled_from(sorted(values)))
    wrong = st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)
    )
    values[where] = data.draw(wrong)
    file.write_text(json.dumps(values) if data.draw(st.booleans()) else json.dumps(values)[:-9])
    found = store.newest("me", 9)
    assert good in found
    for kept in found:
        assert len(kept.cells) == len(kept.pictures) == kept.grid.columns * kept.grid.rows
