"""What a person does to documents, at random, in a process that is about to be killed; and what must be there then.

The process writes a line before it begins something and another one when that is confirmed, as a page is told. Lines
reach the file with a single call, so that they outlive the process.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # document_room, where this is imported by a bare process

import numpy as np
from document_room import DocumentRoom, node_id, room

from studio.errors import StudioError
from studio.grids import Grid, axis_of
from studio.imaging.geometry import Bounds, Extent
from studio.imaging.plain_png import read_plain, write_plain
from studio.imaging.png import REQUEST_KEY, read_picture, write_png
from studio.project.document_values import Settings, State
from studio.project.grid_store import GridStore
from studio.project.housekeeping import Housekeeping
from studio.project.kept_fill import KeptFill, files_of
from studio.project.library import Library, Wanted
from studio.project.run_lines import LINES
from studio.project.runs import KeptRun, KeptStep
from studio.project.thumbnails import ThumbnailCache
from studio.project.wordbook import KINDS, Wordbooks
from studio.requests import Fill, TextToImage

OWNER = "local"
LIMITS = {"nodes_limit": 150}  # so that histories are cut, too


@dataclass
class Told:
    """What was confirmed, and what was begun and not confirmed."""

    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)  # document -> node -> state
    heads: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    binned: set[str] = field(default_factory=set)
    pictures: set[str] = field(default_factory=set)
    favourites: dict[str, bool] = field(default_factory=dict)
    runs: set[str] = field(default_factory=set)
    fills: dict[str, int] = field(default_factory=dict)  # runs that are fills, with the number that their pixels have
    grids: dict[str, list[str | None]] = field(default_factory=dict)  # with the pictures of their cells
    words: dict[str, dict[str, Any]] = field(default_factory=lambda: {"styles": {}, "negatives": {}, "lists": {}})
    begun: dict[str, Any] | None = None
    count: int = 0  # of what was confirmed

    def read(self, journal: Path) -> None:
        """Takes in the lines of one process."""
        self.begun = None
        for line in journal.read_text().splitlines() if journal.exists() else ():
            entry = json.loads(line)
            if "begin" in entry:
                self.begun = entry
                continue
            self.begun = None
            self.count += 1
            self._take(entry)

    def settle(self, made: DocumentRoom) -> None:
        """What was begun and not confirmed has happened or not: from now on it is known which."""
        for binned in (False, True):
            for facts in made.documents.listed(OWNER, limit=10**6, binned=binned):
                self.nodes.setdefault(facts.id, {})
                self.heads[facts.id], self.names[facts.id] = facts.head, facts.name
                (self.binned.add if binned else self.binned.discard)(facts.id)
        for picture in self.favourites:
            self.favourites[picture] = _is_favourite(made, picture)
        for grid in self.grids:
            self.grids[grid] = list(GridStore(made.folder).get(OWNER, grid).pictures)
        self.words = Wordbooks(made.folder).read(OWNER)
        self.begun = None

    def _take(self, entry: dict[str, Any]) -> None:
        document = entry.get("document", "")
        if "state" in entry:
            self.nodes.setdefault(document, {})[entry["node"]] = entry["state"]
        if "head" in entry:
            self.heads[document] = entry["head"]
        if "name" in entry:
            self.names[document] = entry["name"]
        if "binned" in entry:
            (self.binned.add if entry["binned"] else self.binned.discard)(document)
        if "picture" in entry:
            self.pictures.add(entry["picture"])
        if "run" in entry:
            self.runs.add(entry["run"])
        if "fill" in entry:
            self.fills[entry["run"]] = entry["fill"]
        if "grid" in entry:
            self.grids[entry["grid"]] = entry["cells"]
        if "favourite" in entry:
            self.favourites[entry["of"]] = entry["favourite"]
        if "words" in entry:
            self.words = with_entry(self.words, entry["words"])


class Person:
    """Does one thing after another, each begun and confirmed in the journal."""

    def __init__(self, made: DocumentRoom, journal: Path, seed: int, archive: Path | None) -> None:
        self.made = made
        self.random = random.Random(seed)
        self.archive = archive
        self.library = Library(made.database, made.pictures, made.runs)
        self.housekeeping = Housekeeping(made.documents, made.pixels, self.library, ThumbnailCache(made.folder))
        self.grids = GridStore(made.folder)
        self.wordbooks = Wordbooks(made.folder)
        self._journal = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def work(self) -> None:
        """Something at random. Raises StudioError if the disk does not take it."""
        does = self.random.choices(
            [
                *(self.stroke, self.undo, self.create, self.rename, self.bin),
                *(self.picture, self.fill, self.grid, self.keep_words, self.take_in, self.tidy),
            ],
            [30, 8, 5, 4, 4, 8, 14, 4, 8, 4, 3],
        )[0]
        does()

    def close(self) -> None:
        os.close(self._journal)

    def _say(self, **entry: Any) -> None:
        os.write(self._journal, (json.dumps(entry) + "\n").encode())

    def _state(self) -> State:
        number = self.random.randrange(10**6)
        tile = np.zeros((256, 256, 4), np.uint8)
        tile[:32, :64] = np.random.default_rng(number).integers(0, 256, (32, 64, 4), dtype=np.uint8)
        mask = np.full((256, 256), number % 256, np.uint8)
        tiles = self.made.pixels.add_many(OWNER, [write_plain(tile, 1), write_plain(mask, 1)])
        return State.from_dict(
            {
                "width": 300,
                "height": 200,
                "layers": [
                    {
                        "id": "a",
                        "name": "Paint",
                        "kind": "paint",
                        "x": number % 9,
                        "y": 0,
                        "visible": True,
                        "opacity": 100,
                        "tiles": {"0,0": tiles[0]},
                    }
                ],
                "mask": {"tiles": {"0,0": tiles[1]}},
            }
        )

    def _some(self) -> str | None:
        listed = self.made.documents.listed(OWNER, limit=6)
        return self.random.choice(listed).id if listed else None

    def stroke(self) -> None:
        document = self._some()
        if document is None:
            return self.create()
        head = self.made.documents.facts(OWNER, document).head
        node = node_id()
        self._say(begin="stroke", document=document, node=node)
        state = self._state()
        self.made.documents.append(OWNER, document, node, head, "Stroke", state)
        return self._say(document=document, node=node, head=node, state=state.to_dict())

    def create(self) -> None:
        document, name = node_id(), f"Number {self.random.randrange(1000)}"
        self._say(begin="create", document=document)
        state = self._state()
        _, node = self.made.documents.create(OWNER, name, state, document_id=document)
        self._say(document=document, node=node, head=node, name=name, state=state.to_dict())

    def undo(self) -> None:
        document = self._some()
        if document is not None:
            node = self.random.choice(self.made.documents.open(OWNER, document).history).id
            self._say(begin="undo", document=document, node=node)
            self.made.documents.move_head(OWNER, document, node)
            self._say(document=document, head=node)

    def rename(self) -> None:
        document, name = self._some(), f"Name {self.random.randrange(1000)}"
        if document is not None:
            self._say(begin="rename", document=document, name=name)
            self.made.documents.change(OWNER, document, name, Settings({"prompt": name}))
            self._say(document=document, name=name)

    def bin(self) -> None:
        binned = self.made.documents.listed(OWNER, binned=True)
        document = self._some()
        if binned and (document is None or self.random.random() < 0.6):
            self._say(begin="restore", document=binned[0].id)
            self.made.documents.restore(OWNER, binned[0].id)
            self._say(document=binned[0].id, binned=False)
        elif document is not None:
            self._say(begin="bin", document=document)
            self.made.documents.delete(OWNER, document)
            self._say(document=document, binned=True)

    def picture(self) -> None:
        """A picture with its run, as a job keeps them; then perhaps a favourite."""
        request, picture = self._picture()
        self._say(begin="run")
        run = KeptRun(picture, request, 1, 1, 1, (KeptStep(1.0, None, 1.0),))
        self.made.runs.add(OWNER, run, None, write_plain(np.zeros((64, 64, 3), np.uint8)))
        self._say(run=picture)
        favourite = self.random.random() < 0.5
        self._say(begin="favourite", of=picture)
        self.library.mark(OWNER, picture, favourite)
        self._say(of=picture, favourite=favourite)

    def _picture(self, **note: Any) -> tuple[TextToImage, str]:
        self._say(begin="picture")
        request = TextToImage("a lake", seed=self.random.randrange(1000))
        said = json.dumps({"format": 1, "request": request.to_dict(), **note})
        png = write_png(np.full((16, 16, 3), request.seed % 256, np.uint8), {REQUEST_KEY: said})
        picture = self.made.pictures.add(OWNER, png, 1_700_000_000_000 + self.random.randrange(10**9))
        self._say(picture=picture)
        return request, picture

    def fill(self) -> None:
        """A fill as a job keeps it: its picture, its run with the two files beside it, its layer; and then its node
        in the document, which is what the page confirms."""
        document = self._some()
        if document is None:
            return self.create()
        source, mask = fill_pixels(number := self.random.randrange(10**6))
        self._say(begin="pixels")
        tile = np.zeros((256, 256, 4), np.uint8)
        tile[:16, :16] = source
        told = self.made.pixels.add_many(OWNER, [write_plain(source), write_plain(mask)])
        request, picture = self._picture(fill={"intent": "fill"})
        self._say(begin="run")
        fill = Fill.of(request, context=Bounds(0, 0, 16, 16))
        kept = KeptFill(fill, Extent(300, 200), *told)
        run = KeptRun(picture, request, 1, 1, 1, (KeptStep(1.0, None, 1.0),), fill=kept)
        strip = write_plain(np.zeros((64, 64, 3), np.uint8))
        self.made.runs.add(OWNER, run, None, strip, files_of(source, mask, mask // 2))
        self._say(run=picture, fill=number)
        head, node = self.made.documents.facts(OWNER, document).head, node_id()
        self._say(begin="stroke", document=document, node=node)
        values = self.made.documents.state(OWNER, document).to_dict()
        layer = {"name": "Fill", "kind": "fill", "x": 3, "y": 4, "visible": True, "opacity": 100}
        tiles = {"0,0": self.made.pixels.add(OWNER, write_plain(tile, 1))[0]}
        facts = {"run": picture, "picture": picture, "source": told[0], "mask": told[1]}
        values["layers"] = [*values["layers"][-3:], {"id": node[:8], **layer, "tiles": tiles, "facts": facts}]
        state = State.from_dict(values)
        self.made.documents.append(OWNER, document, node, head, "Fill", state)
        return self._say(document=document, node=node, head=node, state=state.to_dict())

    def grid(self) -> None:
        """A grid whose cells are painted one after another."""
        self._say(begin="grid")
        grid = Grid(TextToImage("a lake"), axis_of("seed", "1-2", "across"))
        kept = self.grids.add(OWNER, grid, grid.requests(lambda _: None))
        self._say(grid=kept.id, cells=[None, None])
        _, picture = self._picture()
        self._say(begin="cell", grid=kept.id)
        self.grids.painted(OWNER, kept.id, 0, picture)
        self._say(grid=kept.id, cells=[picture, None])

    def keep_words(self) -> None:
        """A style, words to leave out or a list under one of a few names: new, in the place of another, or deleted."""
        chance = self.random
        name, number, kind = f"name-{chance.randrange(6)}", str(chance.randrange(10**6)), chance.choice([*KINDS])
        style = {"prompt": "{prompt}, in oil " + number, "negative_prompt": "", "settings": {"solver": "Euler"}}
        value = None if chance.random() < 0.2 else {"styles": style, "lists": [number, "oak"] * 200}.get(kind, number)
        words = [kind, name, value]
        self._say(begin="words", words=words)
        self.wordbooks.keep(OWNER, *words)
        self._say(words=words)

    def take_in(self) -> None:
        if self.archive is not None:
            self._say(begin="import")
            document = self.made.archive.take_in(OWNER, self.archive, "Imported")
            facts = self.made.documents.facts(OWNER, document)
            state = self.made.documents.state(OWNER, document)
            self._say(document=document, node=facts.head, head=facts.head, name="Imported", state=state.to_dict())

    def tidy(self) -> None:
        self._say(begin="tidy")
        self.housekeeping.sweep(rest=-1)
        self._say(tidied=True)


def with_entry(book: dict[str, dict[str, Any]], words: Sequence[Any]) -> dict[str, dict[str, Any]]:
    """A wordbook with one entry kept, or taken out. `words`: its kind, its name, and its value or None."""
    kind, name, value = words
    entries = {each: kept for each, kept in book[kind].items() if each != name}
    return {**book, kind: entries | ({name: value} if value is not None else {})}


def fill_pixels(number: int) -> tuple[np.ndarray, np.ndarray]:
    """The frame of a fill, (16, 16, 4), and its mask, (16, 16)."""
    random = np.random.default_rng(number)
    return random.integers(0, 256, (16, 16, 4), np.uint8), random.integers(0, 256, (16, 16), np.uint8)


def live(folder: str, journal: str, seed: int, archive: str | None) -> None:
    """The life of a process: it opens the folder and works until it is killed."""
    with room(Path(folder), **LIMITS) as made:
        person = Person(made, Path(journal), seed, Path(archive) if archive else None)
        while True:
            person.work()


def examine(folder: Path, told: Told) -> DocumentRoom:
    """Opens the folder as the next start does, and raises AssertionError unless all that was confirmed is there.

    The room is the caller's to close.
    """
    made = DocumentRoom(folder, **LIMITS)
    assert made.database.check() == []
    begun = told.begun or {}
    for document, nodes in told.nodes.items():
        opened = made.documents.open(OWNER, document)
        here = opened.facts.head
        assert here == told.heads[document] or (begun.get("document") == document and here == begun.get("node"))
        renamed = begun.get("begin") == "rename" and begun.get("document") == document
        assert opened.facts.name in {told.names[document], begun["name"] if renamed else told.names[document]}
        if opened.facts.name.startswith("Name "):  # it was renamed, and what is set beside it with that
            assert opened.settings.values == {"prompt": opened.facts.name}
        turned = begun.get("begin") in ("bin", "restore") and begun.get("document") == document
        assert (opened.facts.binned_at is not None) == (document in told.binned) or turned
        kept = {node.id for node in opened.history}
        assert {node.parent for node in opened.history} <= kept | {None}
        assert told.heads[document] in kept
        for node, state in nodes.items():
            if node in kept:  # else it was let go with the oldest history
                assert made.documents.state(OWNER, document, node).to_dict() == State.from_dict(state).to_dict()
        assert len(kept & nodes.keys()) >= min(len(nodes), 60)
        for pixels_id in opened.state.pixels():
            side = 16 if pixels_id in opened.state.told_pixels() else 256
            assert read_plain(made.pixels.png(OWNER, pixels_id) or b"").shape[:2] == (side, side)
    library = Library(made.database, made.pictures, made.runs)
    library.sync(OWNER, wait=True)
    for picture in told.pictures:
        assert read_picture(made.pictures.png(OWNER, picture) or b"").shape == (16, 16, 3)
    for run_id in told.runs:
        assert made.runs.get(OWNER, run_id) is not None
        assert read_plain(made.runs.strip(OWNER, run_id) or b"").shape == (64, 64, 3)
    for run_id, number in told.fills.items():
        run, (source, mask) = made.runs.get(OWNER, run_id), fill_pixels(number)
        assert run is not None
        assert run.fill is not None
        for found, expected in zip(made.runs.region(OWNER, run_id), (source, mask, mask // 2), strict=True):
            assert np.array_equal(found, expected)
    grids = GridStore(folder)
    grids.prepare()
    for grid_id, cells in told.grids.items():
        unsure = begun.get("grid") == grid_id
        assert unsure or list(grids.get(OWNER, grid_id).pictures) == cells
    wordbooks = Wordbooks(folder)
    wordbooks.prepare()
    book = wordbooks.read(OWNER)
    assert book == told.words or ("words" in begun and book == with_entry(told.words, begun["words"]))
    for picture, favourite in told.favourites.items():
        unsure = begun.get("of") == picture
        assert made.pictures.has(OWNER, picture)
        assert unsure or _is_favourite(made, picture) == favourite
    entries = {entry.id: entry for entry in library.find(OWNER, Wanted(), 500)[0]}
    for picture in told.pictures & entries.keys():
        assert entries[picture].run.steps == 1 or picture not in told.runs
        assert entries[picture].fill or picture not in told.fills
    Housekeeping(made.documents, made.pixels, library, ThumbnailCache(folder)).sweep(rest=-1)
    found = orphans(made)
    assert not found, found
    told.settle(made)
    return made


def orphans(made: DocumentRoom) -> list[str]:
    """Files that belong to nothing, and half-written ones."""
    referred = made.documents.references(OWNER, "pixels")
    runs = {run.id for run in made.runs.newest(OWNER, 10**6)}
    found = []
    for path in made.folder.rglob("*"):
        kind = path.relative_to(made.folder).parts[0]
        if not path.is_file():
            continue
        alone = (kind == "pixels" and path.stem not in referred) or (
            kind == "runs" and path.name != LINES and path.name.partition(".")[0] not in runs
        )
        if path.suffix == ".part" or kind == "passing-through" or alone:
            found.append(str(path))
    return found


def _is_favourite(made: DocumentRoom, picture: str) -> bool:
    with made.database.read() as rows:
        found = rows.execute("SELECT favourite FROM marks WHERE owner = ? AND id = ?", (OWNER, picture)).fetchone()
    return found is not None and bool(found[0])


def goes_on(made: DocumentRoom, journal: Path, seed: int) -> None:
    """What comes next works. Raises StudioError, or AssertionError."""
    person = Person(made, journal, seed, None)
    try:
        person.create()
        for _ in range(3):
            person.stroke()
        person.fill()
        person.keep_words()
    except StudioError as problem:
        raise AssertionError(f"the next change failed: {problem}") from problem
    finally:
        person.close()
