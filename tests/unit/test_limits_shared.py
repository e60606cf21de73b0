"""What belongs to everybody is held by nobody for long: the write lock, the locks of stores, the memory, the disk."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from document_room import DocumentRoom, room

from studio.errors import NotFound, StudioError
from studio.imaging.plain_png import write_plain
from studio.project import documents, pixels_store, run_lines, runs
from studio.project.disk import at_most
from studio.project.kept_run import STEP_LIMIT, KeptRun, KeptStep, read_facts, to_json
from studio.project.pixels_store import PixelStore
from studio.project.run_index import RunIndex
from studio.project.runs import RunStore
from studio.requests import TextToImage
from studio.viewer import facts
from studio.viewer.source import Source, only_while_wanted

RUN = "1700000000000-{:016x}".format
PATIENCE = 60.0  # s
Usage = collections.namedtuple("Usage", "total used free")


@pytest.fixture
def made(tmp_path: Path) -> Iterator[DocumentRoom]:
    with room(tmp_path / "here") as found:
        yield found


def _run(number: int, parent: int | None = None, steps: int = 1) -> KeptRun:
    run = KeptRun(RUN(number), TextToImage("a lake"), 1, steps, 1, (KeptStep(2.0, None, 1.0),) * steps)
    return run if parent is None else dataclasses.replace(run, parent=RUN(parent), root=RUN(1), branch_at=1)


# -- documents --------------------------------------------------------------------------------------------------------


def _nodes(made: DocumentRoom) -> int:
    with made.database.read() as rows:
        return int(rows.execute("SELECT count(*) FROM nodes").fetchone()[0])


def test_a_very_long_history_is_not_copied_while_others_wait(
    made: DocumentRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    document, head = made.documents.create("me", "Coast", made.state(0))
    made.append(document, head, 1)
    with monkeypatch.context() as patch:
        patch.setattr(documents, "COPY_LIMIT", 100)
        with pytest.raises(StudioError, match="without its history"):
            made.documents.duplicate("me", document)
    assert made.documents.count("me") == (1, 0)
    assert made.documents.duplicate("me", document)


def test_the_bin_is_emptied_a_little_at_a_time(made: DocumentRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    document, head = made.documents.create("me", "Coast", made.state(0))
    for number in range(1, 6):
        head = made.append(document, head, number)
    other, _ = made.documents.create("you", "Sea", made.state(0, "you"))
    made.documents.delete("me", document)
    monkeypatch.setattr(documents, "BATCH", 2)
    write, left = made.database.write, []

    @contextlib.contextmanager
    def watched() -> Iterator[Any]:
        with write() as rows:
            yield rows
        left.append(_nodes(made))
        if len(left) == 3:
            raise KeyboardInterrupt  # the process is killed here

    monkeypatch.setattr(made.database, "write", watched)
    with pytest.raises(KeyboardInterrupt):
        made.documents.empty_bin("me")
    assert left == [7, 5, 3]
    with pytest.raises(NotFound):
        made.documents.restore("me", document)
    assert made.documents.count("me") == (0, 0)
    assert made.documents.references("me", "pixels") == frozenset()
    assert made.documents.empty_bin("nobody") == 0, "and goes on with what was not ended"
    assert left == [7, 5, 3, 3, 1, 1]
    assert made.documents.state("you", other)
    assert made.database.check() == []


# -- stores -----------------------------------------------------------------------------------------------------------


def _beside(slow: Callable[[], object], quick: Callable[[], object], entered: threading.Event, go_on: Any) -> None:
    """Fails unless `quick` ends while `slow` is kept waiting."""
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(slow)
        try:
            assert entered.wait(PATIENCE)
            pool.submit(quick).result(PATIENCE / 6)
        finally:
            go_on.set()
        first.result(PATIENCE)


def test_nobody_waits_while_the_runs_of_another_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for owner in ("me", "you"):
        RunStore(tmp_path).add(owner, _run(1), None, None)
    store, entered, go_on = RunStore(tmp_path), threading.Event(), threading.Event()
    mine, read = store._home("me"), read_facts

    def slowly(path: Path) -> KeptRun | None:
        if path.parent == mine:
            entered.set()
            assert go_on.wait(PATIENCE)
        return read(path)

    monkeypatch.setattr(run_lines, "read_facts", slowly)
    _beside(lambda: store.newest("me"), lambda: store.get("you", RUN(1)), entered, go_on)
    assert store.newest("me") == store.newest("you")


def test_nobody_waits_while_the_pixels_of_another_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, entered, go_on = PixelStore(tmp_path), threading.Event(), threading.Event()
    mine, files = store._home("me"), pixels_store._files

    def slowly(home: Path) -> Iterator[Path]:
        if home == mine:
            entered.set()
            assert go_on.wait(PATIENCE)
        return files(home)

    monkeypatch.setattr(pixels_store, "_files", slowly)
    png = write_plain(np.zeros((2, 2), np.uint8))
    _beside(lambda: store.used("me"), lambda: store.add("you", png), entered, go_on)


def test_no_run_is_looked_for_inside_of_a_transaction(made: DocumentRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    RunIndex(made.database, made.runs)
    write, inside, look = made.database.write, threading.local(), RunStore._runs

    @contextlib.contextmanager
    def watched() -> Iterator[Any]:
        with write() as rows:
            inside.now = True
            try:
                yield rows
            finally:
                inside.now = False

    def checked(store: RunStore, owner: str) -> Any:
        assert not getattr(inside, "now", False)
        return look(store, owner)

    monkeypatch.setattr(made.database, "write", watched)
    monkeypatch.setattr(RunStore, "_runs", checked)
    made.runs.add("me", _run(1), None, None)
    made.runs.add("me", _run(2, 1), None, None)
    with made.database.read() as rows:
        assert [row["parent"] for row in rows.execute("SELECT * FROM runs ORDER BY id")] == [None, RUN(1)]


# -- memory -----------------------------------------------------------------------------------------------------------


def test_lists_and_trees_hold_no_run_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1, 10):
        RunStore(tmp_path).add("me", _run(number, 1 if number > 1 else None), None, None)
    store = RunStore(tmp_path)
    assert [line.id for line in store.newest("me")] == [RUN(number) for number in range(9, 0, -1)]
    assert len(store.family("me", _run(1))) == 9
    assert not store._read
    monkeypatch.setattr(facts, "TREE_LIMIT", 3)
    source = cast(Source, SimpleNamespace(runs=store))
    assert [line.id for line in facts._relatives(source, "me", _run(4, 1))] == [RUN(k) for k in (1, 4, 7, 8, 9)]
    assert len(facts.lines_of(source, "me")) == 9
    with only_while_wanted(lambda: False):
        assert facts.lines_of(source, "me") == []


def test_a_run_tells_of_no_more_steps_than_any_has(tmp_path: Path) -> None:
    path = tmp_path / f"{RUN(1)}.json"
    path.write_bytes(to_json(_run(1, steps=STEP_LIMIT)))
    assert read_facts(path) is not None
    path.write_bytes(to_json(_run(1, steps=STEP_LIMIT + 1)))
    assert read_facts(path) is None


# -- the disk ---------------------------------------------------------------------------------------------------------


def _recording(number: int) -> Any:
    import torch

    from studio.diffusion.recording import Moment, Recording, RunFacts
    from studio.diffusion.steps import Step

    x = torch.full((1, 4, 64, 64), float(number))
    step = Step(0, 1, 1, 2.0, 0.5, x, x + 1, x + 2)
    run_facts = RunFacts("P", "S", {}, 1, 1, 0, (2.0,), (None,), "f")
    return Recording((step,), (Moment(x, {}, torch.get_rng_state()),), run_facts)


def test_latents_that_are_not_kept_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RunStore(tmp_path)
    store.add("me", _run(1), _recording(1), b"strip")
    assert runs._bytes_of(_recording(1)) == 3 * 4 * 4 * 64 * 64
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 0, 20 * 10**6 + 150_000))
        with pytest.raises(StudioError, match="almost full"):
            store.add("me", _run(2), _recording(2), b"strip")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for stage in ("studio.diffusion.run_file.os.fsync", "studio.project.run_files.os.fsync"):
        before = store._rest.get("me")
        with monkeypatch.context() as patch, pytest.raises(StudioError, match="No space") as said:
            patch.setattr(stage, full)
            store.add("me", _run(2), _recording(2), b"strip")
        assert str(tmp_path) not in str(said.value)
        store._reserve("me", 0)  # counts again
        assert before in (None, store._rest["me"])
        assert not list((tmp_path / "runs").rglob(f"*{RUN(2)}*"))
        assert store.get("me", RUN(2)) is None


def test_nobody_may_take_most_of_a_small_disk(made: DocumentRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    png, state = write_plain(np.zeros((2, 2), np.uint8)), made.state(0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(800_000, 0, 800_000))
    assert at_most(10**9, made.folder) == 100_000
    assert at_most(10_000, made.folder) == 10_000
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(8_000, 0, 800_000))
    for refused in (
        lambda: made.pixels.add("me", png),
        lambda: made.runs.add("me", _run(1), None, None),
        lambda: made.pictures.adopt("me", RUN(1), png),
        lambda: made.documents.create("me", "Sea", state),
    ):
        with pytest.raises(StudioError, match="limit"):
            refused()
