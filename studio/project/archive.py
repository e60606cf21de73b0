"""A document as one file, out and in: its history, its pixels, and the runs that its layers came from.

What comes in becomes a new document, whole or not at all: everything is checked before anything is kept, the document
is written last, and runs that came without their document (the process was killed) are deleted at the next start.
"""

from __future__ import annotations

import contextlib
import functools
import json
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from studio.errors import InvalidRequest, StudioError, UnreadablePicture, human_bytes
from studio.imaging.plain_png import MAX_SIDE, extent_at, plain_extent
from studio.imaging.png import MAX_PIXELS, read_png_text
from studio.project.archive_file import LATENTS_LIMIT, VERSION, ArchiveReader, ArchiveWriter, UnreadableArchive
from studio.project.disk import check_free, not_kept
from studio.project.document_rows import DOCUMENT_ID
from studio.project.document_transfer import announce, arrived, arriving, each_node, take_in
from studio.project.document_values import SETTINGS_DEPTH, STATE_DEPTH, TILE, Settings, State, checked_name
from studio.project.documents import NODES_LIMIT, DocumentStore
from studio.project.flattening import NobodyWaits, flat, thumbnail
from studio.project.history import Node
from studio.project.kept_run import read_facts
from studio.project.pixels_store import PixelStore, id_of
from studio.project.run_files import FACTS, LATENTS
from studio.project.runs import RunStore
from studio.project.store import PictureStore

PREVIEW = 512  # px
NODES_BYTES = 512 * 1024**2  # JSON of a whole history
FACTS_BYTES = 64 * 1024**2  # JSON about all runs of a document
UNPACKED_LIMIT = 16 * 1024**3  # bytes of all pixels: checking them takes its time
BATCH, BATCH_BYTES = 64, 64 * 1024**2  # pixels that are kept at a time
PICTURE = "picture"  # beside the endings of a run's files
STRIP_SIDE_LIMIT = 65_536  # px: of the sheet of small previews
_WITHOUT_SETTINGS = 1  # the version of a file that has none: studios of then read it
_LATEST = 253_402_300_799_999  # the last millisecond of the year 9999


class Archive:
    """Documents as files, and back. Safe to call from several threads."""

    def __init__(
        self,
        folder: Path,
        documents: DocumentStore,
        pixels: PixelStore,
        pictures: PictureStore,
        runs: RunStore,
        made_with: str = "wavebrush",
    ) -> None:
        """`made_with` is what files say of the program that wrote them."""
        self._room = folder / "passing-through"  # files on their way in or out
        self._documents = documents
        self._pixels = pixels
        self._pictures = pictures
        self._runs = runs
        self._made_with = made_with
        self._guard = threading.Lock()
        self._turns: weakref.WeakValueDictionary[str, threading.Lock] = weakref.WeakValueDictionary()

    def prepare(self) -> None:
        """Deletes what a killed process left half-way. Raises StudioError if the folder cannot be used."""
        try:
            if self._room.is_dir() and not self._room.is_symlink():
                shutil.rmtree(self._room)
            self._room.mkdir(parents=True)
        except OSError as problem:
            raise StudioError(
                f"The folder {self._room} cannot be used: {problem.strerror or problem}. Choose another with --data."
            ) from problem
        for owner, run in arriving(self._documents):
            self._forget(owner, [run])

    @contextlib.contextmanager
    def passage(self, ending: str, size: int = 0) -> Iterator[Path]:
        """The path of a file that is there only inside. Raises StudioError if there is no room for `size` bytes."""
        check_free(self._room, size)
        try:
            self._room.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(dir=self._room))
        except OSError as problem:
            raise not_kept("The file", self._room, problem) from problem
        try:
            yield folder / f"file.{ending}"
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    # -- out ----------------------------------------------------------------------------------------------------------

    def write(self, owner: str, document: str, target: Path, history: bool = True, recordings: bool = True) -> None:
        """Writes a document to `target`. Latents that no file may hold are left out, as those that were given up are.

        Raises NotFound, and StudioError if it becomes too large or finds no room.
        """
        facts = self._documents.facts(owner, document)
        head = self._documents.state(owner, document)
        settings = self._documents.settings(owner, document).values
        title = {"name": facts.name, "head": facts.head} | ({"settings": settings} if settings else {})
        version = VERSION if settings else _WITHOUT_SETTINGS
        try:
            room = functools.partial(check_free, target.parent)
            with target.open("xb") as file, ArchiveWriter(file, self._made_with, room, version) as archive:
                _add_json(archive, "document.json", title)
                archive.add("preview.webp", thumbnail(flat(head, self._pixels, owner), PREVIEW))
                tiles: set[str] = set()
                runs: set[str] = set()
                number = size = 0
                for node, state in each_node(self._documents, owner, document):
                    if not history and node.id != facts.head:
                        continue
                    number += 1
                    values = {
                        "id": node.id,
                        "parent": node.parent if history else None,
                        "label": node.label,
                        "at": node.at,
                        "state": state.to_dict(),
                    }
                    size += _add_json(archive, f"nodes/{number:06d}.json", values)
                    if size > NODES_BYTES:
                        raise StudioError(
                            f"The history of this document is larger than {human_bytes(NODES_BYTES)}, which is too "
                            "much for one file. Leave the history out."
                        )
                    needed = state.colour_tiles() | state.mask_tiles()
                    for pixels_id in sorted(state.pixels() - tiles):
                        png = self._pixels.png(owner, pixels_id)
                        if png is None and pixels_id in needed:
                            raise StudioError(f"The pixels {pixels_id} of this document are missing on the disk.")
                        if png is not None:
                            archive.add(f"pixels/{pixels_id}.png", png)
                    tiles |= state.pixels()
                    runs |= state.runs()
                self._add_runs(archive, owner, runs, recordings)
                archive.close()
        except OSError as problem:
            raise StudioError(f"The document could not be written: {problem.strerror or problem}.") from problem

    def _add_runs(self, archive: ArchiveWriter, owner: str, wanted: set[str], recordings: bool) -> None:
        found: set[str] = set()
        for run_id in wanted:
            run = self._runs.get(owner, run_id)
            found |= {run_id} if run is None else {each.id for each in self._runs.lineage(owner, run)}
        self._check_facts(owner, found)
        for run_id in sorted(found):
            png = self._pictures.png(owner, run_id)
            if png is not None:
                archive.add(f"pictures/{run_id}.png", png)
            for ending, path in self._runs.files(owner, run_id).items():
                if ending == LATENTS and not recordings:
                    continue
                with contextlib.suppress(FileNotFoundError), path.open("rb") as file:  # given up just now
                    size = path.stat().st_size
                    if ending != LATENTS or size <= LATENTS_LIMIT:
                        archive.add_file(f"runs/{run_id}{ending}", file, size)

    def _check_facts(self, owner: str, runs: set[str]) -> None:
        paths = [self._runs.files(owner, run_id).get(FACTS) for run_id in runs]
        total = sum(path.stat().st_size for path in paths if path is not None)
        if total > FACTS_BYTES:
            raise StudioError(
                f"What is told of the {len(runs):,} runs in the history of this document is larger than "
                f"{human_bytes(FACTS_BYTES)}, which is too much for one file. Leave the history out."
            )

    # -- in -----------------------------------------------------------------------------------------------------------

    def take_in(
        self, owner: str, source: Path, name: str | None = None, gone: Callable[[], bool] | None = None
    ) -> str:
        """Makes a new document of a .wavebrush file; returns its id.

        Raises UnreadableArchive, with nothing kept, for a file that is not sound in every part, StudioError without
        room, and NobodyWaits as soon as `gone` says so.
        """
        # two of the same file at once would delete each other's runs
        with self._turn(owner), ArchiveReader(source) as archive:
            title, head, settings = _title(archive)
            tiles, named = _checked_nodes(archive, head)
            _check_tiles(archive, tiles, gone)
            unpacked = archive.size("runs", "") + archive.size("pictures", "")
            with self.passage("part", unpacked) as beside:
                runs = self._unpacked_runs(archive, owner, named, beside.parent)
                batch: list[bytes] = []
                for number, pixels_id in enumerate(tiles, start=1):
                    batch.append(archive.read(f"pixels/{pixels_id}.png"))
                    if len(batch) == BATCH or sum(map(len, batch)) > BATCH_BYTES or number == len(tiles):
                        self._pixels.add_many(owner, batch)
                        batch.clear()
                ids = [run.id for run in runs]
                announce(self._documents, owner, ids)
                try:
                    for run in runs:
                        self._keep_run(owner, run)
                    nodes = _nodes(archive)
                    return take_in(self._documents, owner, name or title, head, nodes, ids, settings)
                except BaseException:
                    self._forget(owner, ids)
                    raise

    def _turn(self, owner: str) -> threading.Lock:
        """Whoever holds it takes files in for this owner, and nobody else does."""
        with self._guard:
            return self._turns.setdefault(owner, threading.Lock())

    def _unpacked_runs(self, archive: ArchiveReader, owner: str, named: set[str], folder: Path) -> list[_Arrival]:
        """Every run that is not here yet, unpacked and checked: those that are `named`, and those that they come from.

        Raises UnreadableArchive if there are others, which nobody could ever see.
        """
        if archive.size("runs", FACTS) > FACTS_BYTES:
            raise UnreadableArchive(
                f"What this file tells of its runs is larger than {human_bytes(FACTS_BYTES)}, which is too much."
            )
        listed: dict[str, dict[str, str]] = {}
        for kind in ("pictures", "runs"):
            for file_name in archive.names(kind):
                run_id, _, ending = file_name.partition(".")
                listed.setdefault(run_id, {})[PICTURE if kind == "pictures" else f".{ending}"] = f"{kind}/{file_name}"
        arrivals: dict[str, _Arrival] = {}
        wanted, seen = sorted(named), set(named)
        while wanted:
            run_id = wanted.pop()
            names = listed.pop(run_id, {})
            here = self._runs.get(owner, run_id)
            # the ids are random: what has one of them here is the same
            is_here = here is not None or self._pictures.has(owner, run_id)
            if is_here:
                names = {FACTS: names[FACTS]} if here is None and FACTS in names else {}
            arrival = _arrival(run_id, _unpacked(archive, names, folder))
            if names and not is_here:
                arrivals[run_id] = arrival
            parent = here.parent if here is not None else arrival.parent
            if parent is not None and parent not in seen:
                seen.add(parent)
                wanted.append(parent)
        if listed:
            raise UnreadableArchive("This file holds runs that have nothing to do with its document.")
        return [arrivals[run_id] for run_id in sorted(arrivals)]

    def _keep_run(self, owner: str, arrival: _Arrival) -> None:
        if arrival.picture is not None:
            self._pictures.adopt(owner, arrival.id, arrival.picture.read_bytes())
        run = read_facts(arrival.files[FACTS]) if arrival.files else None
        if run is not None:
            self._runs.adopt(owner, run, arrival.files)

    def _forget(self, owner: str, runs: list[str]) -> None:
        for run_id in runs:
            self._runs.discard(owner, run_id)
            self._pictures.discard(owner, run_id)
        with contextlib.suppress(StudioError):
            arrived(self._documents, owner, runs)


def _add_json(archive: ArchiveWriter, name: str, values: object) -> int:
    """Bytes that were added."""
    data = json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    archive.add(name, data)
    return len(data)


def _title(archive: ArchiveReader) -> tuple[str, str, Settings]:
    """The name, the head, and what is set beside the document."""
    values = archive.json("document.json", SETTINGS_DEPTH + 1)
    head = values.get("head")
    known = {"name", "head"} | ({"settings"} if archive.version > _WITHOUT_SETTINGS else set())
    if not {"name", "head"} <= set(values) <= known or not isinstance(head, str) or not DOCUMENT_ID.fullmatch(head):
        raise UnreadableArchive("document.json in this file does not name a head.")
    try:
        return checked_name(values["name"]), head, Settings.from_dict(values.get("settings", {}))
    except InvalidRequest as problem:
        raise UnreadableArchive(f"document.json in this file cannot be used: {problem}") from problem


def _checked_nodes(archive: ArchiveReader, head: str) -> tuple[dict[str, int], set[str]]:
    """The channels of all tiles that the history needs, by id, 0 for other pixels that it tells of; and all its runs.

    Raises UnreadableArchive unless it is a sound tree.
    """
    names = archive.names("nodes")
    if not 1 <= len(names) <= NODES_LIMIT:
        raise UnreadableArchive(f"This file has {len(names):,} steps of history. From 1 to {NODES_LIMIT:,} are read.")
    if (size := archive.size("nodes", ".json")) > NODES_BYTES:
        raise UnreadableArchive(
            f"The history in this file is {human_bytes(size)} unpacked. At most {human_bytes(NODES_BYTES)} are read."
        )
    seen: set[str] = set()
    tiles: dict[str, int] = {}
    told: set[str] = set()
    runs: set[str] = set()
    for node, state in _nodes(archive):
        if node.id in seen or (node.parent is not None and node.parent not in seen):
            raise UnreadableArchive("The history in this file is no tree.")
        seen.add(node.id)
        told |= state.told_pixels()
        runs |= state.runs()
        for wanted, channels in ((state.colour_tiles(), 4), (state.mask_tiles(), 1)):
            if any(tiles.setdefault(pixels_id, channels) != channels for pixels_id in sorted(wanted)):
                raise UnreadableArchive("A tile in this file stands both in a layer and in a mask.")
    if head not in seen:
        raise UnreadableArchive("The head of this document is not in its history.")
    here = {name.removesuffix(".png") for name in archive.names("pixels")}
    if not tiles.keys() <= here <= tiles.keys() | told:
        raise UnreadableArchive("The pixels in this file are not those of its document.")
    return tiles | dict.fromkeys(here - tiles.keys(), 0), runs


def _nodes(archive: ArchiveReader) -> Iterator[tuple[Node, State]]:
    for name in archive.names("nodes"):
        values = archive.json(f"nodes/{name}", STATE_DEPTH + 1)
        try:
            if set(values) != {"id", "parent", "label", "at", "state"}:
                raise InvalidRequest("it has other fields than a step of history has")
            node_id, parent, at = values["id"], values["parent"], values["at"]
            if not isinstance(node_id, str) or not DOCUMENT_ID.fullmatch(node_id):
                raise InvalidRequest("its id is none")
            if not (parent is None or (isinstance(parent, str) and DOCUMENT_ID.fullmatch(parent))):
                raise InvalidRequest("its parent is none")
            if type(at) is not int or not 0 <= at <= _LATEST:
                raise InvalidRequest("its time is none")
            yield Node(node_id, parent, checked_name(values["label"], "label"), at), State.from_dict(values["state"])
        except InvalidRequest as problem:
            raise UnreadableArchive(f"nodes/{name} in this file cannot be used: {problem}") from problem


def _unpacked(archive: ArchiveReader, names: Mapping[str, str], folder: Path) -> dict[str, Path]:
    """The files of one run, out of the archive, by how their names end."""
    found = {}
    for ending, name in names.items():
        found[ending] = folder / name.replace("/", "-") if ending == PICTURE else folder / name.partition("/")[2]
        try:
            archive.unpack(name, found[ending])
        except OSError as problem:
            raise not_kept("A run in this file", folder, problem) from problem
    return found


def _check_tiles(archive: ArchiveReader, tiles: Mapping[str, int], gone: Callable[[], bool] | None) -> None:
    """Raises UnreadableArchive unless all pixels are what they are called, with as many channels as they should have,
    and NobodyWaits."""
    left = UNPACKED_LIMIT
    for pixels_id, channels in tiles.items():
        if gone is not None and gone():
            raise NobodyWaits("Nobody waits for this document any more.")
        left -= _check_tile(archive, pixels_id, channels, left)


def _check_tile(archive: ArchiveReader, pixels_id: str, channels: int, limit: int) -> int:
    """Returns how many bytes these pixels are unpacked: no more than `limit`."""
    png = archive.read(f"pixels/{pixels_id}.png")
    try:
        if extent_at(png).bytes > limit:
            raise UnreadableArchive(f"The pixels in this file are more than {human_bytes(UNPACKED_LIMIT)} unpacked.")
        extent = plain_extent(png, TILE if channels else MAX_SIDE)
    except UnreadablePicture as problem:
        raise UnreadableArchive(f"pixels/{pixels_id}.png in this file cannot be used: {problem}") from problem
    is_tile = (extent.width, extent.height, extent.channels) == (TILE, TILE, channels)
    if id_of(png) != pixels_id or (channels and not is_tile):
        raise UnreadableArchive(f"pixels/{pixels_id}.png in this file is not the tile that it is called.")
    return extent.bytes


def _check_strip(png: bytes) -> None:
    extent = extent_at(png, STRIP_SIDE_LIMIT)
    if extent.width * extent.height > MAX_PIXELS:
        raise UnreadableArchive(f"A sheet of {extent.width} × {extent.height} pixels in this file is too large.")
    plain_extent(png, STRIP_SIDE_LIMIT)


@dataclass(frozen=True)
class _Arrival:
    """The unpacked files of a picture, and of its run, that were found to be sound. What they tell stays in them."""

    id: str
    parent: str | None
    picture: Path | None
    files: Mapping[str, Path]  # of the run, by how their names end


def _arrival(run_id: str, files: dict[str, Path]) -> _Arrival:
    """Raises UnreadableArchive unless the files can be used."""
    picture = files.pop(PICTURE, None)
    run = None
    try:
        if picture is not None:
            read_png_text(picture.read_bytes())
        if files:
            run = read_facts(files[FACTS]) if FACTS in files else None
            if run is None:
                raise UnreadableArchive(f"The facts of the run {run_id} in this file make no sense.")
            for ending, path in files.items():
                if ending == LATENTS:
                    from studio.diffusion.run_file import load_recording

                    load_recording(path)
                elif ending != FACTS:
                    _check_strip(path.read_bytes())
    except UnreadableArchive:
        raise
    except StudioError as problem:
        raise UnreadableArchive(f"The run {run_id} in this file cannot be used: {problem}") from problem
    return _Arrival(run_id, run.parent if run is not None else None, picture, files)
