"""Documents as files whose checksums are right and one of whose parts is not: read as far as they go, or words."""

from __future__ import annotations

import json
import random
import struct
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from document_room import DocumentRoom, room
from test_archive import PATIENCE, entries_of, rewritten
from test_mutated_pngs import bytes_changed, chunks_changed, values_changed
from test_run_file_hostile import Parts
from watched_writes import writes_only_below

from studio.errors import StudioError
from studio.imaging.geometry import Bounds, Extent
from studio.imaging.plain_png import write_plain
from studio.imaging.png import REQUEST_KEY, read_png_text, write_png
from studio.project import archive
from studio.project.archive_file import ArchiveReader, UnreadableArchive
from studio.project.document_values import KeptMask, Layer, Selection, Settings, State
from studio.project.flattening import flat
from studio.project.kept_fill import KeptFill, files_of
from studio.project.pixels_store import id_of
from studio.project.runs import BandNumbers, KeptRun, KeptStep, Measured, Strip
from studio.requests import Fill, TextToImage

COUNT = 300
KINDS = {"document", "node", "tile", "facts", "previews", "frame", "latents", "picture"}
ROOT, BRANCH = "1700000000000-0123456789abcdef", "1700000000001-0123456789abcdef"
WORDS = TextToImage("a lake", num_inference_steps=2)
NUMBERS = BandNumbers(((1.0, 0.5),) * 2, ((0.25, 0.0),) * 2)


def _keep_run(here: DocumentRoom, run_id: str, told: tuple[str, str], **how: Any) -> None:
    """A fill of two steps with its picture, its small previews, its latents, and the two files beside it."""
    import torch

    from studio.diffusion.recording import Moment, Recording, RunFacts
    from studio.diffusion.steps import Step

    made = [Step(k, 2, 1, float(2 - k), 0.5, *(torch.full((1, 4, 8, 8), k / 3) for _ in range(3))) for k in range(2)]
    moments = tuple(Moment(step.x, {"order_list": [1, None]}, torch.get_rng_state()) for step in made)
    recording = Recording(
        tuple(made), moments, RunFacts("P", "S", {"a": 1}, 2, 1, 0, (2.0, 1.0), ((1.0, 0.5), None), "f")
    )
    run = KeptRun(
        run_id,
        WORDS,
        *(1, 2, 1, (KeptStep(2.0, None, 1.0), KeptStep(1.0, 0.5, 0.25))),
        seconds=1.5,
        measured=Measured("haar", 1, "fast", NUMBERS, NUMBERS),
        strip=Strip(2, 1, 8, 8),
        fill=KeptFill(Fill.of(WORDS, context=Bounds(0, 0, 16, 16)), Extent(300, 200), *told),
        **how,
    )
    note = json.dumps({"format": 1, "request": WORDS.to_dict(), "fill": {"intent": "fill"}})
    here.pictures.adopt("me", run_id, write_png(np.zeros((8, 8, 3), np.uint8), {REQUEST_KEY: note}))
    chance = np.random.default_rng(1)
    source, mask = chance.integers(0, 256, (16, 16, 4), np.uint8), chance.integers(0, 256, (16, 16), np.uint8)
    strip = write_plain(np.zeros((8, 16, 3), np.uint8))
    here.runs.add("me", run, recording, strip, files_of(source, mask, mask // 2))


def _made(folder: Path) -> Path:
    """A document of three moments, whose layer came from a branch of a run, as a file."""
    with room(folder / "here") as here:
        told = (
            here.pixels.add("me", write_plain(np.full((200, 300, 4), 9, np.uint8)))[0],
            here.pixels.add("me", write_plain(np.full((200, 300), 9, np.uint8)))[0],
        )
        _keep_run(here, ROOT, told)
        _keep_run(here, BRANCH, told, label="Branch", parent=ROOT, root=ROOT, branch_at=1)
        facts = {"run": BRANCH, "picture": BRANCH, "source": told[0], "mask": told[1], "fill": {"intent": "fill"}}
        fill = Layer("fill", "Lake", "fill", 3, -4, True, 80, {(0, 0): here.tile(8), (-1, 2): here.tile(9)}, facts)
        masks = (KeptMask("m1", "Sky", {(0, 0): here.tile(7, "me", 1)}),)
        document, first = here.documents.create("me", "Coast", here.state(1))
        second = here.append(document, first, 2)
        paint = here.state(3).layers[0]
        state = State(300, 200, (paint, fill), "fill", Selection({(0, 0): here.tile(6, "me", 1)}, -2, 3), masks)
        here.documents.append("me", document, "f" * 32, second, "Fill", state)
        here.documents.keep_settings("me", document, Settings({"prompt": "a lake", "seed": 7, "context": {"x": 0}}))
        here.archive.write("me", document, folder / "good")
    return folder / "good"


def _latents_changed(data: bytes, chance: random.Random, beside: Path) -> bytes:
    """A recorded run with its header damaged; or one that says something else, all its own digests right."""
    if chance.random() < 0.6:
        beside.write_bytes(data)
        parts = Parts(beside)
        parts.write(beside, values_changed(json.dumps(parts.run), chance))
        return beside.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = data[8 : 8 + length]
    changed = (
        bytes_changed(header, chance)
        if chance.random() < 0.5
        else values_changed(header.decode(), chance).encode("utf-8", "replace")
    )
    said = chance.choice([len(changed), len(changed), length, chance.randrange(2**64)])
    return struct.pack("<Q", said) + changed + data[8 + length :]


def _json_changed(data: bytes, chance: random.Random) -> bytes:
    if chance.random() < 0.1:
        return bytes_changed(data, chance)
    values = json.loads(values_changed(data.decode(), chance))
    how = chance.random()
    if how < 0.1:
        values.pop(chance.choice(list(values)))
    elif how < 0.15:
        values["more"] = 1
    return json.dumps(values).encode()


def _picture_changed(png: bytes, chance: random.Random) -> bytes:
    if chance.random() < 0.5:
        return chunks_changed(png, chance)
    text = {key: values_changed(text, chance) for key, text in read_png_text(png).items()}
    return write_png(np.zeros((8, 8, 3), np.uint8), text)


def _mutated(entries: dict[str, bytes], number: int, beside: Path) -> tuple[str, dict[str, bytes]]:
    """Which kind of part is changed, and the parts."""
    chance = random.Random(number)
    kinds: dict[str, tuple[str, str, Callable[[bytes, random.Random], bytes]]] = {
        "document": ("document", ".json", _json_changed),
        "node": ("nodes/", ".json", _json_changed),
        "tile": ("pixels/", ".png", chunks_changed),
        "facts": ("runs/", ".json", _json_changed),
        "previews": ("runs/", ".strip.png", chunks_changed),
        "frame": ("runs/", ("source.png", "mask.png")[number % 2], chunks_changed),
        "latents": ("runs/", ".safetensors", lambda data, chance: _latents_changed(data, chance, beside)),
        "picture": ("pictures/", ".png", _picture_changed),
    }
    kind = chance.choice([*kinds, "node", "node", "facts", "latents"])
    folder, ending, change = kinds[kind]
    name = chance.choice([name for name in entries if name.startswith(folder) and name.endswith(ending)])
    changed = {**entries, name: change(entries[name], chance)}
    if kind == "tile" and chance.random() < 0.7:  # called by what it is now, wherever it is named
        old, new = Path(name).stem, id_of(changed[name])
        changed = {
            each.replace(old, new): data.replace(old.encode(), new.encode()) if each.endswith(".json") else data
            for each, data in changed.items()
        }
    return kind, changed


def _can_be_used(there: DocumentRoom, document: str) -> None:
    """What was taken in opens, is shown, and goes out again; only the frame of a fill may be refused, in words."""
    opened = there.documents.open("me", document)
    assert flat(opened.state, there.pixels, "me").shape == (opened.state.height, opened.state.width, 4)
    there.archive.write("me", document, there.folder / "again")
    assert there.archive.take_in("me", there.folder / "again") != document
    (there.folder / "again").unlink()
    for run_id in (ROOT, BRANCH):
        if (run := there.runs.get("me", run_id)) is not None:
            assert len(there.runs.recording("me", run_id).steps) == 2
            json.dumps([run.request.to_dict(), run.measured and run.measured.latent.energy], allow_nan=False)
            try:
                there.runs.region("me", run_id)
            except StudioError as refused:
                assert str(refused).isprintable()
    for kept in there.pictures.newest("me"):
        assert TextToImage.from_dict(kept.request.to_dict()) == kept.request


def _emptied(there: DocumentRoom) -> None:
    for facts in there.documents.listed("me"):
        there.documents.delete("me", facts.id)
    there.documents.empty_bin("me")
    for run_id in (ROOT, BRANCH):
        there.runs.discard("me", run_id)
        there.pictures.discard("me", run_id)


def test_a_changed_part_under_right_checksums_is_refused_or_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = entries_of(_made(tmp_path))
    assert {"runs", "pictures"} <= {name.partition("/")[0] for name in entries}
    beyond: list[Path] = []

    class Counted(ArchiveReader):
        """Says which files were found to have right checksums."""

        def __init__(self, path: Path) -> None:
            super().__init__(path)
            beyond.append(path)

    monkeypatch.setattr(archive, "ArchiveReader", Counted)
    bad, outcomes = tmp_path / "bad", Counter[str]()
    with room(tmp_path / "there") as there:
        for number in range(COUNT):
            kind, changed = _mutated(entries, number, tmp_path / "beside")
            rewritten(bad, changed)
            document = words = None
            with writes_only_below(tmp_path / "there"):
                begun = time.thread_time()
                try:
                    document = there.archive.take_in("me", bad)
                except StudioError as refused:
                    words = str(refused)
                assert time.thread_time() - begun < PATIENCE, f"mutation {number}"
            if document is not None:
                _can_be_used(there, document)
                _emptied(there)
            else:
                assert words, f"mutation {number}"
                assert words.isprintable(), f"mutation {number}"
            assert there.documents.count("me") == (0, 0), f"mutation {number}"
            assert not there.pictures.ids("me") | there.runs.on_disk("me").keys(), f"mutation {number}"
            outcomes["words" if document is None else "taken", kind] += 1
        assert not list((tmp_path / "there" / "passing-through").iterdir())
    assert {path.name for path in tmp_path.iterdir()} == {"good", "bad", "beside", "here", "there"}
    assert beyond.count(bad) > COUNT * 0.95, "the checksums stand in front of everything else"
    assert {kind for _, kind in outcomes} == KINDS
    assert min(sum(outcomes[how, kind] for kind in KINDS) for how in ("taken", "words")) > COUNT // 20, outcomes


@pytest.mark.parametrize(
    ("facts", "value"),
    [(("measured", "latent", "energy", 0, 0), "nan"), (("measured", "latent", "change", 1, 0), True), (("id",), [])],
)
def test_a_run_whose_numbers_are_none_is_refused(tmp_path: Path, facts: tuple[Any, ...], value: object) -> None:
    entries = entries_of(_made(tmp_path))
    told = inner = json.loads(entries[f"runs/{BRANCH}.json"])
    for key in facts[:-1]:
        inner = inner[key]
    inner[facts[-1]] = value
    rewritten(tmp_path / "bad", {**entries, f"runs/{BRANCH}.json": json.dumps(told).encode()})
    with room(tmp_path / "there") as there, pytest.raises(UnreadableArchive, match="make no sense"):
        there.archive.take_in("me", tmp_path / "bad")
