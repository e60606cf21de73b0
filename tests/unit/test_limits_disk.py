"""What one person's work may take of the disk, the memory and the time of everybody else."""

from __future__ import annotations

import collections
import dataclasses
import errno
import json
import os
import shutil
import threading
import weakref
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from document_room import DocumentRoom, node_id, room

from studio.errors import NotFound, StudioError
from studio.imaging.plain_png import read_plain, write_plain
from studio.imaging.png import REQUEST_KEY, write_png
from studio.project import archive, document_transfer, documents, flattening, pixels_store
from studio.project.archive_file import ArchiveReader, ArchiveWriter, UnreadableArchive
from studio.project.disk import BLOCK, check_free
from studio.project.document_values import Layer, State
from studio.project.kept_run import BandNumbers, KeptRun, KeptStep, Measured, read_facts, to_json
from studio.project.pixels_store import PixelStore
from studio.project.runs import RunStore
from studio.project.store import PictureStore
from studio.project.wordbook import Wordbooks
from studio.requests import TextToImage

RUN = "1700000000000-{:016x}".format
PICTURE = write_png(
    np.zeros((8, 8, 3), np.uint8), {REQUEST_KEY: json.dumps({"request": TextToImage("a lake").to_dict()})}
)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[DocumentRoom]:
    with room(tmp_path / "here") as found:
        yield found


def _run(number: int, parent: int | None = None, label: str = "Original") -> KeptRun:
    run = KeptRun(RUN(number), TextToImage("a lake"), 1, 1, 1, (KeptStep(2.0, None, 1.0),), label)
    if parent is None:
        return run
    return dataclasses.replace(run, parent=RUN(parent), root=RUN(parent), branch_at=1)


def _noise(number: int) -> bytes:
    return write_plain(np.random.default_rng(number).integers(0, 256, (9, 9), dtype=np.uint8))


# -- tidying ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def stale(tmp_path: Path) -> Iterator[tuple[DocumentRoom, str]]:
    """A document of some history, of which something was let go."""
    with room(tmp_path / "stale") as made:
        document, head = made.documents.create("me", "Coast", made.state(0))
        for number in range(1, 9):
            head = made.append(document, head, number)
        with made.database.write() as rows:
            rows.execute("DELETE FROM nodes WHERE document = ? AND number < 4", (document,))
            rows.execute("UPDATE documents SET stale = 1 WHERE id = ?", (document,))
        yield made, document


def _is_stale(made: DocumentRoom, document: str) -> bool:
    with made.database.read() as rows:
        return bool(rows.execute("SELECT stale FROM documents WHERE id = ?", (document,)).fetchone()[0])


def test_tidying_holds_one_state_at_a_time_and_lets_others_write(
    stale: tuple[DocumentRoom, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, document = stale
    most, seen = 0, 0
    states: list[weakref.ref[State]] = []

    def unpacked(packed: bytes) -> State:
        nonlocal most, seen
        assert not made.database._writer.in_transaction, "others have to wait"
        state = State.from_json(zlib.decompress(packed))
        states.append(weakref.ref(state))
        seen += 1
        most = max(most, sum(each() is not None for each in states))
        return state

    monkeypatch.setattr(documents, "unpacked_state", unpacked)
    made.documents.freshen()
    assert seen == 6
    assert most <= 2
    assert not _is_stale(made, document)
    with made.database.read() as rows:
        needed = {row[0] for row in rows.execute("SELECT id FROM refs WHERE kind = 'pixels'")}
    assert needed == {made.tile(k, "me", channels) for k in range(3, 9) for channels in (4, 1)}


def test_a_history_that_changes_while_it_is_looked_at_keeps_all_references(
    stale: tuple[DocumentRoom, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, document = stale
    real, drawn = documents.unpacked_state, []

    def unpacked(packed: bytes) -> State:
        if not drawn:
            drawn.append(None)  # only once: to append looks at a state, too
            head = made.documents.facts("me", document).head
            made.append(document, head, 77)
        return real(packed)

    monkeypatch.setattr(documents, "unpacked_state", unpacked)
    made.documents.freshen()
    assert _is_stale(made, document)
    assert made.tile(77) in made.documents.references("me", "pixels")
    made.documents.freshen()
    assert not _is_stale(made, document)
    assert made.tile(77) in made.documents.references("me", "pixels")
    assert made.tile(1) not in made.documents.references("me", "pixels")


def test_a_damaged_history_stops_no_tidying(stale: tuple[DocumentRoom, str]) -> None:
    made, document = stale
    copy = made.documents.duplicate("me", document)
    with made.database.write() as rows:
        rows.execute("UPDATE nodes SET state = ? WHERE document = ?", (zlib.compress(b"{}"), document))
    made.documents.freshen()
    assert (_is_stale(made, document), _is_stale(made, copy)) == (True, False)


# -- what one person may take -----------------------------------------------------------------------------------------


def test_all_histories_of_a_person_have_one_limit(tmp_path: Path) -> None:
    with room(tmp_path) as made:
        document, head = made.documents.create("me", "Coast", made.state(0))
        size = made.documents.facts("me", document).bytes
        archived = tmp_path / "file"
        made.archive.write("me", document, archived)
        made.documents._owner_budget = 2 * size
        copy = made.documents.duplicate("me", document)
        made.documents.delete("me", copy)  # the bin counts, too
        for refused in (
            lambda: made.documents.duplicate("me", document),
            lambda: made.documents.create("me", "Sea", made.state(0)),
            lambda: made.append(document, head, 1),
            lambda: made.archive.take_in("me", archived),
        ):
            with pytest.raises(StudioError, match=r"histories of your documents use .* limit.*bin"):
                refused()
        made.documents.create("you", "Sea", made.state(0, "you"))
        made.documents.empty_bin("me")
        made.documents.duplicate("me", document)


def test_a_small_file_counts_for_a_block_and_their_number_is_limited(tmp_path: Path) -> None:
    store = PixelStore(tmp_path, budget=3 * BLOCK)
    store.add_many("me", [_noise(k) for k in range(3)])
    assert store.used("me") == PixelStore(tmp_path).used("me") == 3 * BLOCK
    with pytest.raises(StudioError, match="limit"):
        store.add("me", _noise(3))
    store.add("me", _noise(1))  # is there
    few = PixelStore(tmp_path / "few", count_limit=2)
    few.add_many("me", [_noise(0), _noise(1)])
    with pytest.raises(StudioError, match="2 pieces are the limit"):
        few.add("me", _noise(2))
    few.sweep("me", [], rest=-1)
    few.add("me", _noise(2))


def test_many_at_once_do_not_find_the_same_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = PixelStore(tmp_path, budget=2 * BLOCK)
    both, answers = threading.Barrier(4), []
    real = PixelStore._write

    def add(number: int) -> None:
        try:
            answers.append(store.add("me", _noise(number)))
        except StudioError:
            both.wait(10)

    def write(self: PixelStore, owner: str, new: dict[str, bytes]) -> None:
        both.wait(10)  # until all have asked for room
        real(self, owner, new)

    monkeypatch.setattr(PixelStore, "_write", write)
    threads = [threading.Thread(target=add, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(answers) == 2
    assert store.used("me") == PixelStore(tmp_path).used("me") == 2 * BLOCK


def test_what_could_not_be_written_takes_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = PixelStore(tmp_path, budget=BLOCK)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StudioError, match="No space"):
            store.add("me", _noise(0))
    assert store.used("me") == 0
    store.add("me", _noise(0))


def test_pictures_of_a_person_have_a_limit_however_they_come(tmp_path: Path) -> None:
    store = PictureStore(tmp_path, budget=2 * BLOCK)
    first = store.add("me", PICTURE, 1)
    store.adopt("me", RUN(1), PICTURE)
    assert store.used("me") == PictureStore(tmp_path).used("me") == 2 * BLOCK
    with pytest.raises(StudioError, match=r"Your pictures use .* limit"):
        store.adopt("me", RUN(2), PICTURE)
    with pytest.raises(StudioError, match=r"Your pictures use .* limit"):
        PictureStore(tmp_path, budget=2 * BLOCK).add("me", PICTURE, 2)
    store.add("you", PICTURE, 1)
    store.discard("me", first)
    store.adopt("me", RUN(2), PICTURE)


def test_what_is_kept_of_runs_beside_latents_has_a_limit(tmp_path: Path) -> None:
    store = RunStore(tmp_path, rest_budget=4 * BLOCK)
    store.add("me", _run(1), None, b"strip", {".source.png": b"s", ".mask.png": b"m"})
    files = {".json": tmp_path / f"{RUN(2)}.json", ".strip.png": tmp_path / "strip"}
    files[".json"].write_bytes(to_json(_run(2)))
    files[".strip.png"].write_bytes(b"s")
    for again in (store, RunStore(tmp_path, rest_budget=4 * BLOCK)):
        with pytest.raises(StudioError, match=r"steps of your pictures uses .* limit"):
            again.add("me", _run(3), None, None)
        with pytest.raises(StudioError, match=r"steps of your pictures uses .* limit"):
            again.adopt("me", _run(2), files)
    store.discard("me", RUN(1))
    store.adopt("me", _run(2), files)
    assert store.get("me", RUN(2)) == _run(2)


# -- a disk that is almost full ---------------------------------------------------------------------------------------

Usage = collections.namedtuple("Usage", "total used free")


def test_an_almost_full_disk_is_left_alone(
    made: DocumentRoom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document, head = made.documents.create("me", "Coast", made.state(0))
    made.archive.write("me", document, tmp_path / "file")
    state, pixels = made.state(0), _noise(1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 0, 10**9))
    for refused in (
        lambda: made.documents.create("me", "Sea", state),
        lambda: made.documents.append("me", document, node_id(), head, "Stroke", state),
        lambda: made.documents.duplicate("me", document),
        lambda: made.pixels.add("me", pixels),
        lambda: made.pictures.add("me", PICTURE, 1),
        lambda: made.runs.add("me", _run(1), None, None),
        lambda: made.archive.take_in("me", tmp_path / "file"),
        lambda: made.archive.passage("in").__enter__(),
        lambda: Wordbooks(tmp_path).keep("me", "negatives", "usual", "blurry"),
    ):
        with pytest.raises(StudioError, match=r"almost full: 1\.0 GB are free, and 1\.1 GB stay so\. Make room"):
            refused()
    made.documents.move_head("me", document, head)  # what takes no room goes on, and so does making some
    made.documents.delete("me", document)
    made.documents.empty_bin("me")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 0, 2 * 10**9))
    made.documents.create("me", "Sea", state)
    with pytest.raises(StudioError, match="almost full"):
        check_free(tmp_path / "not" / "there", 10**9)


def test_on_a_small_disk_less_stays_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 0, 25 * 10**6))
    check_free(tmp_path, 5 * 10**6)
    with pytest.raises(StudioError, match="almost full"):
        check_free(tmp_path, 6 * 10**6)


# -- words ------------------------------------------------------------------------------------------------------------


def test_words_for_visitors_never_say_where_things_lie(
    made: DocumentRoom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document, _ = made.documents.create("me", "Coast", made.state(0))
    made.archive.write("me", document, tmp_path / "file")
    books = Wordbooks(made.folder)
    said = []

    def full(*names: object, **_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(made.folder / "secret"))

    attempts: list[tuple[object, str, Any]] = [
        (os, "fsync", lambda: made.pixels.add("me", _noise(1))),
        (os, "fsync", lambda: made.pictures.add("me", PICTURE, 1)),
        (os, "fsync", lambda: made.runs.add("me", _run(1), None, None)),
        (archive.tempfile, "mkdtemp", lambda: made.archive.take_in("me", tmp_path / "file")),
        (document_transfer.tempfile, "TemporaryFile", lambda: made.archive.take_in("me", tmp_path / "file")),
        (Path, "replace", lambda: books.keep("me", "negatives", "usual", "blurry")),
    ]
    for where, name, attempt in attempts:
        with monkeypatch.context() as patch, pytest.raises(StudioError) as refused:
            patch.setattr(where, name, full)
            attempt()
        said.append(str(refused.value))
    books.keep("me", "negatives", "usual", "blurry")
    next((made.folder / "wordbooks").iterdir()).write_bytes(b"{")
    with pytest.raises(StudioError) as refused:
        books.read("me")
    said.append(str(refused.value))
    made.database.close()
    with pytest.raises(StudioError) as refused:
        raise made.database._words("disk I/O error")
    said += [str(refused.value), str(made.database._words("database disk image is malformed"))]
    for words in said:
        assert "/" not in words.replace("I/O", ""), words
        assert "secret" not in words
    assert sum("Make room" in words for words in said) >= len(attempts)


# -- files of documents -----------------------------------------------------------------------------------------------


def _runs_in(made: DocumentRoom, target: Path, *run_ids: int, more: dict[str, bytes] | None = None) -> None:
    """A file of one document whose layer came from the first of these runs, each of which comes from the next."""
    for number, following in zip(run_ids, (*run_ids[1:], None), strict=True):
        made.pictures.adopt("me", RUN(number), PICTURE)
        made.runs.add("me", _run(number, following), None, None)
    layer = Layer("a", "A", "picture", 0, 0, True, 100, {(0, 0): made.tile(1)}, {"run": RUN(run_ids[0])})
    document, _ = made.documents.create("me", "Lake", State(64, 64, (layer,), "a"))
    made.archive.write("me", document, target.with_suffix(".first"))
    with ArchiveReader(target.with_suffix(".first")) as read, target.open("xb") as file:
        writer = ArchiveWriter(file, "test")
        for name in (each for each in read._infos if each != "manifest.json"):
            writer.add(name, read.read(name))
        for name, data in (more or {}).items():
            writer.add(name, data)
        writer.close()


def test_runs_come_with_those_that_they_come_from(made: DocumentRoom, tmp_path: Path) -> None:
    _runs_in(made, tmp_path / "file", 3, 2, 1)
    with room(tmp_path / "there") as there:
        there.archive.take_in("me", tmp_path / "file")
        assert [run.id for run in there.runs.newest("me")] == [RUN(3), RUN(2), RUN(1)]
        assert there.pictures.ids("me") == {RUN(1), RUN(2), RUN(3)}
        made.pictures.adopt("you", RUN(3), PICTURE)  # of which the picture alone is here
        made.archive.take_in("you", tmp_path / "file")
        assert [run.id for run in made.runs.newest("you")] == [RUN(2), RUN(1)]


def test_runs_that_the_document_does_not_name_are_refused(made: DocumentRoom, tmp_path: Path) -> None:
    _runs_in(made, tmp_path / "file", 3, more={f"runs/{RUN(9)}.json": to_json(_run(9))})
    with room(tmp_path / "there") as there, pytest.raises(UnreadableArchive, match="nothing to do"):
        there.archive.take_in("me", tmp_path / "file")
    assert there.runs.newest("me") == []
    assert not list((tmp_path / "there" / "runs").iterdir())


def test_the_runs_of_a_file_are_looked_at_one_by_one(
    made: DocumentRoom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _runs_in(made, tmp_path / "file", 6, 5, 4, 3, 2, 1)
    alive, most = [], 0

    def read(path: Path) -> KeptRun | None:
        nonlocal most
        found = read_facts(path)
        alive.append(weakref.ref(found) if found is not None else lambda: None)
        most = max(most, sum(each() is not None for each in alive))
        return found

    monkeypatch.setattr(archive, "read_facts", read)
    with room(tmp_path / "there") as there:
        there.runs._read_limit = 0
        there.archive.take_in("me", tmp_path / "file")
    assert len(alive) == 12, "once to check it, once to keep it"
    assert most <= 3


@pytest.mark.parametrize("limit", ["FACTS_BYTES", "NODES_BYTES"])
def test_what_a_file_tells_has_a_limit_in_both_directions(
    made: DocumentRoom, tmp_path: Path, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _runs_in(made, tmp_path / "file", 2, 1)
    with ArchiveReader(tmp_path / "file") as read:
        size = read.size("runs" if limit == "FACTS_BYTES" else "nodes", ".json")
    (document,) = made.documents.listed("me")
    monkeypatch.setattr(archive, limit, size)
    made.archive.write("me", document.id, tmp_path / "fits")
    made.archive.take_in("you", tmp_path / "fits")
    monkeypatch.setattr(archive, limit, size - 1)
    with pytest.raises(UnreadableArchive, match=r"too much|At most"):
        made.archive.take_in("them", tmp_path / "file")
    with pytest.raises(StudioError, match="Leave the history out"):
        made.archive.write("me", document.id, tmp_path / "large")


def test_a_history_is_packed_before_anybody_waits_for_it(
    made: DocumentRoom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document, head = made.documents.create("me", "Coast", made.state(0))
    for number in range(1, 5):
        head = made.append(document, head, number)
    made.archive.write("me", document, tmp_path / "file")
    packed = []
    real = document_transfer.packed_state

    def pack(state: State) -> bytes:
        assert not made.database._writer.in_transaction, "everybody waits"
        packed.append(state)
        return real(state)

    monkeypatch.setattr(document_transfer, "packed_state", pack)
    came = made.archive.take_in("me", tmp_path / "file")
    assert len(packed) == 5
    assert made.documents.state("me", came) == made.documents.state("me", document)


def test_a_file_that_somebody_brings_keeps_nobody_else_waiting(made: DocumentRoom) -> None:
    mine, yours = made.archive._turn("me"), made.archive._turn("you")
    assert made.archive._turn("me") is mine
    with mine:
        assert yours.acquire(blocking=False)
        yours.release()
        assert not made.archive._turn("me").acquire(blocking=False)
    del mine, yours
    assert len(made.archive._turns) == 0, "nothing is held of those who have gone"


# -- runs in memory ---------------------------------------------------------------------------------------------------


def test_few_runs_are_held_in_memory_and_all_are_found(tmp_path: Path) -> None:
    size = len(to_json(_run(10)))
    store = RunStore(tmp_path, read_limit=3 * size)
    for number in range(10, 30):
        store.add("me", _run(number, 10 if number > 10 else None), None, None)
    for found in (store, RunStore(tmp_path, read_limit=3 * size)):
        assert [run.id for run in found.newest("me", 100)] == [RUN(k) for k in range(29, 9, -1)]
        assert len(found.family("me", _run(10))) == 20
        assert found.get("me", RUN(17)) == _run(17, 10)
        assert [run.id for run in found.lineage("me", _run(17, 10))] == [RUN(17), RUN(10)]
        assert len(found._read) <= 3
        assert found._read_bytes == sum(each for _, each in found._read.values()) <= 3 * size


def test_runs_that_come_from_each_other_have_no_first_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, asked = RunStore(tmp_path), []
    for number, parent in ((1, 2), (2, 1)):
        store.add("me", _run(number, parent), None, None)

    def latents(_: str, run_id: str) -> Path:
        asked.append(run_id)
        assert len(asked) < 9, "it goes round and round"
        return tmp_path

    monkeypatch.setattr(store, "latents", latents)
    assert not store.is_open("me", RUN(1))


@pytest.mark.parametrize(("levels", "is_sound"), [(0, True), (10, True), (11, False), (-1, False), (1.0, False)])
def test_a_run_was_measured_in_few_levels(tmp_path: Path, levels: int, is_sound: bool) -> None:
    numbers = BandNumbers(((0.5,) * (int(levels) + 1),), ((0.5,) * (int(levels) + 1),))
    run = dataclasses.replace(_run(1), measured=Measured("haar", levels, "fast", None, numbers))
    path = tmp_path / f"{run.id}.json"
    path.write_bytes(to_json(run))
    assert (read_facts(path) is not None) == is_sound


# -- a document as one picture ----------------------------------------------------------------------------------------


def _stack(made: DocumentRoom, count: int = 6) -> State:
    tiles = {(column, row): made.tile(column) for column in range(2) for row in range(2)}
    return State(
        512, 512, tuple(Layer(f"l{k}", f"Layer {k}", "paint", 0, 0, True, 50, tiles) for k in range(count)), "l0"
    )


def test_a_tile_that_stands_in_many_places_is_unpacked_once(
    made: DocumentRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, unpacked = _stack(made), []
    mask = {(column, 0): made.tile(0, "me", 1) for column in range(9)}

    def read(png: bytes) -> Any:
        unpacked.append(png)
        return read_plain(png)

    monkeypatch.setattr(pixels_store, "read_plain", read)
    for work, tiles in (
        (lambda: flattening.flat(state, made.pixels, "me"), 2),
        (lambda: flattening.layers_of(state, made.pixels, "me"), 2),
        (lambda: flattening.mask_pixels(mask, state, made.pixels, "me"), 1),
    ):
        work()
        assert len(unpacked) == tiles
        unpacked.clear()
    monkeypatch.setattr(flattening, "TILES_HELD", 1)
    flattening.flat(state, made.pixels, "me")
    assert len(unpacked) > 2, "no more than so many are held"


def test_a_picture_that_nobody_waits_for_is_not_finished(made: DocumentRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    state = _stack(made)
    for work in (flattening.flat, flattening.layers_of):
        asked = []

        def gone(asked: list[None] = asked) -> bool:
            asked.append(None)
            return len(asked) == 5

        with pytest.raises(flattening.NobodyWaits):
            work(state, made.pixels, "me", gone)
        assert len(asked) == 5


def test_layers_that_are_too_large_are_refused_before_any_is_unpacked(
    made: DocumentRoom, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = _stack(made)
    whole = 6 * 512 * 512 * 4
    monkeypatch.setattr(flattening, "LAYERS_LIMIT", whole)
    assert sum(layer.pixels.nbytes for layer in flattening.layers_of(state, made.pixels, "me")) == whole
    monkeypatch.setattr(flattening, "LAYERS_LIMIT", whole - 1)
    monkeypatch.setattr(made.pixels, "pixels", lambda *_: pytest.fail("a tile was unpacked"))
    with pytest.raises(StudioError, match="Merge some"):
        flattening.layers_of(state, made.pixels, "me")


def test_layers_are_written_for_one_at_a_time() -> None:
    with flattening.layers_turn():
        assert flattening._LAYERED.locked()
    assert not flattening._LAYERED.locked()
    with pytest.raises(NotFound), flattening.layers_turn():
        raise NotFound("gone")
    assert not flattening._LAYERED.locked()


def test_whoever_waits_for_a_turn_and_leaves_waits_no_longer() -> None:
    asked = []

    def gone() -> bool:
        asked.append(None)
        return len(asked) == 2

    with flattening.layers_turn():
        with pytest.raises(flattening.NobodyWaits), flattening.layers_turn(gone):
            pytest.fail("two at once")
        assert flattening._LAYERED.locked(), "the turn is still the other one's"
    assert not flattening._LAYERED.locked()
    with pytest.raises(flattening.NobodyWaits), flattening.layers_turn(lambda: True):
        pytest.fail("nobody waits")
    assert not flattening._LAYERED.locked()
