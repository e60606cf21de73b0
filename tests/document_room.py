"""Documents on disk with their pixels, and random ones, for the tests of everything that keeps them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from studio.imaging.plain_png import write_plain
from studio.project.archive import Archive
from studio.project.database import Database
from studio.project.document_values import KeptMask, Layer, Selection, State
from studio.project.documents import DocumentStore
from studio.project.pixels_store import PixelStore
from studio.project.runs import RunStore
from studio.project.store import PictureStore

TILE = 256


class DocumentRoom:
    """The stores of one data folder, and pixels to work with."""

    def __init__(self, folder: Path, **limits: int) -> None:
        self.folder = folder
        self._tiles: dict[tuple[int, str, int], str] = {}
        self.database = Database(folder)
        self.pixels = PixelStore(folder)
        self.pixels.prepare()
        self.documents = DocumentStore(self.database, self.pixels, **limits)
        self.pictures = PictureStore(folder)
        self.runs = RunStore(folder)
        for store in (self.pictures, self.runs):
            store.prepare()
        self.archive = Archive(folder, self.documents, self.pixels, self.pictures, self.runs)
        self.archive.prepare()

    def tile(self, number: int, owner: str = "me", channels: int = 4) -> str:
        """The id of a tile that differs from those with other numbers; it packs to a few kilobytes."""
        known = self._tiles.get((number, owner, channels))
        if known is not None and self.pixels.extents(owner, [known]):
            return known
        shape = (TILE, TILE, channels) if channels > 1 else (TILE, TILE)
        tile = np.zeros(shape, np.uint8)
        tile[:16, :64] = np.random.default_rng(number).integers(0, 256, (16, 64, *shape[2:]), dtype=np.uint8)
        self._tiles[number, owner, channels] = self.pixels.add(owner, write_plain(tile, 1))[0]
        return self._tiles[number, owner, channels]

    def state(self, number: int = 0, owner: str = "me") -> State:
        """A document of one layer with one tile, and a mask."""
        return State(
            300,
            200,
            (Layer("paint", "Paint", "paint", 0, 0, True, 100, {(0, 0): self.tile(number, owner)}),),
            "paint",
            Selection({(1, 0): self.tile(number, owner, 1)}, 2, 4),
            (KeptMask("m1", "Sky", {}),),
        )

    def append(self, document: str, parent: str, number: int, owner: str = "me") -> str:
        """A stroke; returns the new head."""
        return self.documents.append(owner, document, node_id(), parent, f"Stroke {number}", self.state(number, owner))


@contextmanager
def room(folder: Path, **limits: int) -> Iterator[DocumentRoom]:
    made = DocumentRoom(folder, **limits)
    try:
        yield made
    finally:
        made.database.close()


def node_id() -> str:
    return secrets.token_hex(16)
