"""Documents as one file: what goes out comes in again exactly, and nothing else comes in at all."""

from __future__ import annotations

import hashlib
import io
import json
import stat
import struct
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from document_room import DocumentRoom, node_id, room
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from watched_writes import writes_only_below

from studio.errors import NotFound, StudioError
from studio.imaging.plain_png import write_plain
from studio.imaging.png import REQUEST_KEY, write_png
from studio.project import archive, archive_file
from studio.project.archive_file import UnreadableArchive
from studio.project.document_transfer import each_node
from studio.project.document_values import KeptMask, Layer, Selection, State
from studio.project.flattening import NobodyWaits, flat
from studio.project.runs import KeptRun, KeptStep
from studio.requests import TextToImage

DATA = Path(__file__).parents[1] / "data"
RUN = "1700000000000-0123456789abcdef"
PATIENCE = 2.0  # seconds that any file may take of this thread, whatever else the machine does


@pytest.fixture
def here(tmp_path: Path) -> Iterator[DocumentRoom]:
    with room(tmp_path / "here") as made:
        yield made


@pytest.fixture
def there(tmp_path: Path) -> Iterator[DocumentRoom]:
    with room(tmp_path / "there") as made:
        yield made


def _made(here: DocumentRoom, path: Path, **how: bool) -> str:
    """A document with a little history, written to `path`."""
    document, first = here.documents.create("me", "Coast", here.state(1))
    second = here.append(document, first, 2)
    here.append(document, second, 3)
    here.documents.move_head("me", document, second)
    here.archive.write("me", document, path, **how)
    return document


def _history(made: DocumentRoom, document: str) -> list[tuple[Any, ...]]:
    return [(node, state.to_dict()) for node, state in each_node(made.documents, "me", document)]


# -- out and in -------------------------------------------------------------------------------------------------------


def test_a_document_comes_in_as_it_went_out(here: DocumentRoom, there: DocumentRoom, tmp_path: Path) -> None:
    document = _made(here, tmp_path / "coast.wavebrush")
    came = there.archive.take_in("me", tmp_path / "coast.wavebrush")
    assert came != document
    assert there.documents.facts("me", came).name == "Coast"
    assert _history(there, came) == _history(here, document)
    state = here.documents.state("me", document)
    assert there.documents.state("me", came) == state
    assert np.array_equal(flat(state, there.pixels, "me"), flat(state, here.pixels, "me"))
    for pixels_id in here.documents.references("me", "pixels"):
        assert there.pixels.png("me", pixels_id) == here.pixels.png("me", pixels_id)
    assert there.documents.facts("me", came).bytes == here.documents.facts("me", document).bytes
    assert there.database.check() == []


def test_the_same_document_gives_the_same_file(here: DocumentRoom, tmp_path: Path) -> None:
    document = _made(here, tmp_path / "one")
    here.archive.write("me", document, tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_the_history_can_be_left_out(here: DocumentRoom, there: DocumentRoom, tmp_path: Path) -> None:
    document = _made(here, tmp_path / "coast.wavebrush", history=False)
    came = there.archive.take_in("me", tmp_path / "coast.wavebrush")
    assert there.documents.state("me", came) == here.documents.state("me", document)
    assert len(there.documents.open("me", came).history) == 1


names = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=12)
places = st.tuples(st.integers(-3, 3), st.integers(-3, 3))


def _layers(tiles: list[str]) -> st.SearchStrategy[Layer]:
    return st.builds(
        Layer,
        id=st.uuids().map(str),
        name=names,
        kind=st.sampled_from(["picture", "paint", "fill"]),
        x=st.integers(-600, 600),
        y=st.integers(-600, 600),
        visible=st.booleans(),
        opacity=st.integers(0, 100),
        tiles=st.dictionaries(places, st.sampled_from(tiles), max_size=3).map(lambda d: dict(sorted(d.items()))),
        facts=st.none() | st.fixed_dictionaries({"fill": st.dictionaries(names, st.integers() | names, max_size=2)}),
    )


@st.composite
def _states(draw: st.DrawFn, tiles: list[str], masks: list[str]) -> State:
    layers = tuple(draw(st.lists(_layers(tiles), max_size=3, unique_by=lambda layer: layer.id)))
    mask_tiles = st.dictionaries(places, st.sampled_from(masks), max_size=2).map(lambda d: dict(sorted(d.items())))
    return State(
        draw(st.integers(1, 600)),
        draw(st.integers(1, 600)),
        layers,
        draw(st.sampled_from([None, *(layer.id for layer in layers)])),
        Selection(draw(mask_tiles), draw(st.integers(-9, 9)), draw(st.integers(0, 9))),
        tuple(
            draw(
                st.lists(
                    st.builds(KeptMask, st.uuids().map(str), names, mask_tiles), max_size=2, unique_by=lambda m: m.id
                )
            )
        ),
    )


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_document_comes_in_as_it_went_out(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("round")
    with room(folder / "a") as here, room(folder / "b") as there:
        tiles, masks = [here.tile(k) for k in range(3)], [here.tile(k, "me", 1) for k in range(2)]
        state = data.draw(_states(tiles, masks))
        assert State.from_dict(json.loads(state.to_json())) == state
        document, first = here.documents.create("me", data.draw(names), state)
        nodes, states = [first], [state]
        for _ in range(data.draw(st.integers(0, 3))):
            states.append(data.draw(_states(tiles, masks)))
            parent = data.draw(st.sampled_from(nodes))
            nodes.append(here.documents.append("me", document, node_id(), parent, data.draw(names), states[-1]))
        here.archive.write("me", document, folder / "file")
        came = there.archive.take_in("me", folder / "file")
        assert _history(there, came) == _history(here, document)
        for each in states:
            assert np.array_equal(flat(each, there.pixels, "me"), flat(each, here.pixels, "me"))


# -- runs -------------------------------------------------------------------------------------------------------------


def _with_a_run(here: DocumentRoom, path: Path, recorded: bool = True) -> str:
    import torch

    from studio.diffusion.recording import Moment, Recording, RunFacts
    from studio.diffusion.steps import Step

    made = [Step(k, 2, 1, float(2 - k), 0.5, *(torch.full((1, 4, 8, 8), k / 3) for _ in range(3))) for k in range(2)]
    moments = tuple(Moment(step.x, {}, torch.get_rng_state()) for step in made)
    facts = RunFacts("P", "S", {}, 2, 1, 0, (2.0, 1.0), (None, None), "f")
    run = KeptRun(RUN, TextToImage("a lake"), 1, 2, 1, (KeptStep(2.0, None, 1.0), KeptStep(1.0, 0.5, 0.25)))
    note = json.dumps({"format": 1, "request": TextToImage("a lake").to_dict()})
    here.pictures.adopt("me", RUN, write_png(np.zeros((8, 8, 3), np.uint8), {REQUEST_KEY: note}))
    strip = write_plain(np.zeros((8, 16, 3), np.uint8))
    here.runs.add("me", run, Recording(tuple(made), moments, facts) if recorded else None, strip)
    layer = Layer("a", "A", "picture", 0, 0, True, 100, {(0, 0): here.tile(1)}, {"run": RUN, "picture": RUN})
    document, _ = here.documents.create("me", "Lake", State(64, 64, (layer,), "a"))
    here.archive.write("me", document, path)
    return document


def test_the_runs_of_its_layers_come_with_a_document(here: DocumentRoom, there: DocumentRoom, tmp_path: Path) -> None:
    _with_a_run(here, tmp_path / "lake.wavebrush")
    came = there.archive.take_in("me", tmp_path / "lake.wavebrush")
    assert there.runs.get("me", RUN) == here.runs.get("me", RUN)
    assert there.pictures.png("me", RUN) == here.pictures.png("me", RUN)
    for ending, path in here.runs.files("me", RUN).items():
        assert there.runs.files("me", RUN)[ending].read_bytes() == path.read_bytes()
    assert len(there.runs.recording("me", RUN).steps) == 2
    assert there.documents.documents_with("me", RUN) == [came]
    second = there.archive.take_in("me", tmp_path / "lake.wavebrush")
    assert there.documents.state("me", second) == there.documents.state("me", came), "what is there is left alone"
    assert [kept.id for kept in there.pictures.newest("me")] == [RUN]


def test_runs_without_their_document_are_gone_after_the_next_start(
    here: DocumentRoom, there: DocumentRoom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_a_run(here, tmp_path / "lake.wavebrush")

    class KilledError(BaseException):
        """As if the process had ended here."""

    def killed(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr("studio.project.archive.take_in", killed)
        patch.setattr(there.archive, "_forget", lambda *_: None)
        there.archive.take_in("me", tmp_path / "lake.wavebrush")
    assert there.pictures.png("me", RUN) is not None
    with room(there.folder) as again:
        assert again.pictures.png("me", RUN) is None
        assert again.runs.get("me", RUN) is None
        assert again.archive.take_in("me", tmp_path / "lake.wavebrush")
        assert again.pictures.png("me", RUN) is not None


def test_a_document_that_cannot_be_kept_leaves_no_runs_behind(here: DocumentRoom, tmp_path: Path) -> None:
    _with_a_run(here, tmp_path / "lake.wavebrush")
    with room(tmp_path / "full", documents_limit=0) as full:
        with pytest.raises(StudioError, match="limit"):
            full.archive.take_in("me", tmp_path / "lake.wavebrush")
        assert full.pictures.png("me", RUN) is None
        assert full.runs.newest("me") == []
        assert not [path for path in (tmp_path / "full" / "runs").rglob("*") if path.is_file()]


def test_a_run_whose_latents_are_gone_goes_out_without_them(
    here: DocumentRoom, there: DocumentRoom, tmp_path: Path
) -> None:
    _with_a_run(here, tmp_path / "lake.wavebrush", recorded=False)
    there.archive.take_in("me", tmp_path / "lake.wavebrush")
    assert there.runs.get("me", RUN) is not None
    assert there.runs.latents("me", RUN) is None


def test_latents_that_no_file_may_hold_stay_out_of_it(
    here: DocumentRoom, there: DocumentRoom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of a run's latents are in memory while they are checked: so there are not too many, out or in."""
    assert archive_file._limit_of(f"runs/{RUN}.safetensors") == archive_file.LATENTS_LIMIT <= 512 * 1024**2
    monkeypatch.setattr(archive, "LATENTS_LIMIT", 100)
    _with_a_run(here, tmp_path / "lake.wavebrush")
    assert there.archive.take_in("me", tmp_path / "lake.wavebrush")
    assert there.runs.get("me", RUN) is not None
    assert there.runs.latents("me", RUN) is None


def test_what_would_take_very_long_to_unpack_is_not_begun(
    here: DocumentRoom, there: DocumentRoom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_a_run(here, tmp_path / "lake.wavebrush")  # of one tile
    asked = iter([False, True])
    _made(here, tmp_path / "coast.wavebrush")
    with pytest.raises(NobodyWaits):
        there.archive.take_in("me", tmp_path / "coast.wavebrush", gone=lambda: next(asked))
    with monkeypatch.context() as patch, pytest.raises(UnreadableArchive, match="unpacked"):
        patch.setattr(archive, "UNPACKED_LIMIT", 4 * 256**2 - 1)
        there.archive.take_in("me", tmp_path / "lake.wavebrush")
    with monkeypatch.context() as patch, pytest.raises(UnreadableArchive, match="16 × 8 pixels"):
        patch.setattr(archive, "MAX_PIXELS", 16 * 8 - 1)
        there.archive.take_in("me", tmp_path / "lake.wavebrush")
    _nothing_is_kept(there)
    asked: list[int] = []
    monkeypatch.setattr(archive, "check_free", lambda _, size=0: asked.append(size))
    monkeypatch.setattr(archive, "UNPACKED_LIMIT", 4 * 256**2)
    assert there.archive.take_in("me", tmp_path / "lake.wavebrush")
    assert asked == [sum(len(data) for name, data in entries_of(tmp_path / "lake.wavebrush").items() if RUN in name)]


def test_a_document_is_written_only_while_the_disk_has_room(
    here: DocumentRoom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def check(folder: Path, more: int = 0) -> None:
        asked.append(more)
        if sum(asked) > 1500:
            raise StudioError("almost full")

    document = _made(here, tmp_path / "good.wavebrush")
    monkeypatch.setattr(archive, "check_free", check)
    with pytest.raises(StudioError, match="almost full"):
        here.archive.write("me", document, tmp_path / "none.wavebrush")
    assert (tmp_path / "none.wavebrush").stat().st_size < 1500 < (tmp_path / "good.wavebrush").stat().st_size


def test_nobody_writes_the_documents_of_another(here: DocumentRoom, tmp_path: Path) -> None:
    document = _made(here, tmp_path / "coast.wavebrush")
    with pytest.raises(NotFound):
        here.archive.write("you", document, tmp_path / "theirs")


# -- files of every version open --------------------------------------------------------------------------------------


def test_a_file_of_version_1_opens(there: DocumentRoom) -> None:
    came = there.archive.take_in("me", DATA / "version1.wavebrush")
    opened = there.documents.open("me", came)
    assert opened.facts.name == "Version 1"
    assert [node.label for node in opened.history] == ["New", "Stroke 2"]
    assert opened.state.layers[0].facts == {"run": RUN, "fill": {"intent": "fill"}}
    expected = np.zeros((40, 300, 4), np.uint8)
    expected[4:36, 10:42] = (200, 30, 60, 128)
    expected[:, 256:] = (0, 90, 0, 255)
    assert np.array_equal(flat(opened.state, there.pixels, "me"), expected)
    run = there.runs.get("me", RUN)
    assert run is not None
    assert (run.request.prompt, len(there.runs.recording("me", RUN).steps)) == ("a lake", 2)
    assert there.pictures.png("me", RUN) is not None


# -- hostile files ----------------------------------------------------------------------------------------------------


def entries_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def rewritten(path: Path, entries: dict[str, bytes], sealed: bool = True, **manifest: Any) -> None:
    """Writes a changed file, with checksums that fit if it is `sealed`."""
    if sealed:
        old = json.loads(entries["manifest.json"])
        files = {name: hashlib.sha256(data).hexdigest() for name, data in entries.items() if name != "manifest.json"}
        entries = entries | {"manifest.json": json.dumps(old | {"files": files} | manifest).encode()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)


def _node(entries: dict[str, bytes], change: Callable[[dict[str, Any]], object], number: int = 1) -> None:
    name = f"nodes/{number:06d}.json"
    values = json.loads(entries[name])
    change(values)
    entries[name] = json.dumps(values).encode()


def _first_pixels(entries: dict[str, bytes]) -> str:
    return next(name for name in entries if name.startswith("pixels/"))


HARM: dict[str, Callable[[dict[str, bytes]], object]] = {
    "climbs": lambda e: e.update({"../evil.png": b"x"}),
    "climbs inside": lambda e: e.update({"pixels/../../evil.png": b"x"}),
    "is absolute": lambda e: e.update({"/tmp/evil.png": b"x"}),
    "has a drive": lambda e: e.update({"C:evil.png": b"x"}),
    "has backslashes": lambda e: e.update({"pixels\\evil.png": b"x"}),
    "is a folder": lambda e: e.update({"pixels/": b""}),
    "is unknown": lambda e: e.update({"notes.txt": b"x"}),
    "has pixels that nobody needs": lambda e: e.update({f"pixels/{'0' * 32}.png": b"x"}),
    "lacks pixels": lambda e: e.pop(_first_pixels(e)),
    "has other pixels": lambda e: e.update({_first_pixels(e): write_plain(np.zeros((256, 256, 4), np.uint8))}),
    "has large pixels": lambda e: e.update({_first_pixels(e): write_plain(np.zeros((300, 300, 4), np.uint8))}),
    "has no pixels": lambda e: e.update({_first_pixels(e): b"no png"}),
    "lacks the document": lambda e: e.pop("document.json"),
    "lacks its history": lambda e: [e.pop(name) for name in list(e) if name.startswith("nodes/")],
    "lacks its head": lambda e: e.update({"document.json": json.dumps({"name": "x", "head": "0" * 32}).encode()}),
    "has no head": lambda e: e.update({"document.json": b'{"name": "x"}'}),
    "has a long name": lambda e: e.update(
        {"document.json": json.dumps({"name": "x" * 5000, "head": json.loads(e["document.json"])["head"]}).encode()}
    ),
    "is deep": lambda e: e.update({"document.json": b"[" * 5000 + b"]" * 5000}),
    "holds NaN": lambda e: e.update({"document.json": b'{"name": NaN, "head": "x"}'}),
    "holds a key twice": lambda e: e.update({"document.json": b'{"name": "x", "name": "y", "head": "x"}'}),
    "has a wrong state": lambda e: _node(e, lambda n: n["state"].update(width=-1)),
    "has an object for its active layer": lambda e: _node(e, lambda n: n["state"].update(active={"a": 1})),
    "has a wrong field": lambda e: _node(e, lambda n: n.update(more=1)),
    "has a wrong time": lambda e: _node(e, lambda n: n.update(at=-1)),
    "has a wrong id": lambda e: _node(e, lambda n: n.update(id="../x")),
    "has a parent that is not there": lambda e: _node(e, lambda n: n.update(parent="0" * 32)),
    "bites its tail": lambda e: _node(e, lambda n: n.update(parent=n["id"]), 2),
    "has a step twice": lambda e: e.update({"nodes/000009.json": e["nodes/000001.json"]}),
    "has a picture that is none": lambda e: e.update({f"pictures/{RUN}.png": b"no png"}),
    "has a run without facts": lambda e: e.update({f"runs/{RUN}.safetensors": b"x"}),
    "has a run of nonsense": lambda e: e.update({f"runs/{RUN}.json": b"{}"}),
}


def _nothing_is_kept(there: DocumentRoom) -> None:
    assert there.documents.count("me") == (0, 0)
    kept = [path.name for path in there.folder.rglob("*") if path.is_file() and "sqlite" not in path.name]
    assert kept == []
    assert not list(there.folder.parent.rglob("evil*"))


@pytest.mark.parametrize("harm", HARM)
def test_a_file_that_does_harm_is_refused_in_words(
    here: DocumentRoom, there: DocumentRoom, tmp_path: Path, harm: str
) -> None:
    _made(here, tmp_path / "good.wavebrush")
    entries = entries_of(tmp_path / "good.wavebrush")
    HARM[harm](entries)
    rewritten(tmp_path / "bad.wavebrush", entries)
    with pytest.raises(UnreadableArchive) as refused:
        there.archive.take_in("me", tmp_path / "bad.wavebrush")
    assert str(refused.value).isprintable()
    _nothing_is_kept(there)


@pytest.mark.parametrize(
    "manifest", [{"version": 3}, {"version": 0}, {"version": True}, {"format": "x"}, {"files": []}]
)
def test_a_file_of_another_kind_or_a_later_version_is_refused(
    here: DocumentRoom, there: DocumentRoom, tmp_path: Path, manifest: dict[str, Any]
) -> None:
    _made(here, tmp_path / "good.wavebrush")
    rewritten(tmp_path / "bad.wavebrush", entries_of(tmp_path / "good.wavebrush"), **manifest)
    with pytest.raises(UnreadableArchive):
        there.archive.take_in("me", tmp_path / "bad.wavebrush")
    _nothing_is_kept(there)


def test_a_wrong_checksum_is_refused(here: DocumentRoom, there: DocumentRoom, tmp_path: Path) -> None:
    _made(here, tmp_path / "good.wavebrush")
    entries = entries_of(tmp_path / "good.wavebrush")
    entries["document.json"] = entries["document.json"].replace(b"Coast", b"Toast")
    rewritten(tmp_path / "bad.wavebrush", entries, sealed=False)
    with pytest.raises(UnreadableArchive, match="checksum"):
        there.archive.take_in("me", tmp_path / "bad.wavebrush")
    _nothing_is_kept(there)


def _zip(*entries: tuple[str, bytes, int]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data, mode in entries:
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr, info.compress_type = 3, mode << 16, zipfile.ZIP_DEFLATED
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("warnings.warn", lambda *_, **__: None)  # zipfile warns of names that stand twice
                archive.writestr(info, data)
    return file.getvalue()


def _claims(size: int) -> bytes:
    """A zip with a file that says in both places that it unpacks to `size` bytes."""
    data = bytearray(_zip(("nodes/000001.json", b" " * 1000, stat.S_IFREG)))
    struct.pack_into("<I", data, 22, size)
    struct.pack_into("<I", data, data.index(b"PK\x01\x02") + 24, size)
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04",
        b"PK\x05\x06" + b"\0" * 18,
        b"not a zip at all" * 10,
        _zip(("document.json", b"{}", stat.S_IFREG)),
        _zip(("document.json", b"../../secret", stat.S_IFLNK), ("manifest.json", b"{}", stat.S_IFREG)),
        _zip(("manifest.json", b"{}", stat.S_IFREG), ("manifest.json", b"{}", stat.S_IFREG)),
        _zip(("manifest.json", b" " * 20_000_000, stat.S_IFREG)),
        _zip(("nodes/000001.json", b" " * 50_000_000, stat.S_IFREG), ("manifest.json", b"{}", stat.S_IFREG)),
        _zip(("manifest.json\0.png", b"{}", stat.S_IFREG)),
        _zip(("manifest.json", b"{}", stat.S_IFREG))[:-5],
        _zip(("manifest.json", b"{}", stat.S_IFREG)) + b"more",
        _zip(*((f"pixels/{k:032x}.png", b"", stat.S_IFREG) for k in range(60_001))),
        _claims(10),
        _claims(2**32 - 2),
    ],
    ids=lambda data: f"{len(data)} bytes",
)
def test_a_zip_that_lies_is_refused_before_it_is_unpacked(there: DocumentRoom, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "bad.wavebrush").write_bytes(data)
    with pytest.raises(UnreadableArchive) as refused:
        there.archive.take_in("me", tmp_path / "bad.wavebrush")
    assert str(refused.value).isprintable()
    _nothing_is_kept(there)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_is_refused_or_does_no_harm(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Bytes changed, cut out, doubled: words, and nothing written; a file is taken in only if it is whole."""
    folder, good = _once(tmp_path_factory)
    bad = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(bad) - 1))
        kind = data.draw(st.sampled_from(["flip", "cut", "double", "end"]))
        length = data.draw(st.integers(1, 40))
        if kind == "flip":
            bad[at] ^= data.draw(st.integers(1, 255))
        elif kind == "cut" and at:
            del bad[at : at + length]
        elif kind == "double":
            bad[at:at] = bad[at : at + length]
        else:
            del bad[at + 1 :]
    (folder / "bad").write_bytes(bad)
    begun = time.thread_time()
    with writes_only_below(folder / "there"), room(folder / "there") as there:
        before = there.documents.count("me")[0]
        try:
            came = there.archive.take_in("me", folder / "bad")
        except UnreadableArchive as refused:
            assert str(refused).isprintable()
            assert there.documents.count("me")[0] == before
        else:  # a byte that nothing depends on, such as a date
            assert there.documents.state("me", came).width == 300
        assert {path.name for path in folder.iterdir()} == {"good", "bad", "here", "there"}
    assert time.thread_time() - begun < PATIENCE


_ONCE: dict[str, tuple[Path, bytes]] = {}


def _once(factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    if not _ONCE:
        folder = factory.mktemp("damage")
        with room(folder / "here") as here:
            _made(here, folder / "good")
        _ONCE["made"] = folder, (folder / "good").read_bytes()
    return _ONCE["made"]
