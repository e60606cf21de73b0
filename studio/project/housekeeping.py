"""What is tidied at the start and now and then: the bin, pixels that nothing refers to, small pictures."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

from studio.errors import StudioError
from studio.project.documents import BIN_DAYS, DocumentStore
from studio.project.library import Library
from studio.project.pixels_store import REST, PixelStore
from studio.project.thumbnails import ThumbnailCache

FIRST, AGAIN = 20.0, 1800.0  # seconds after the start, and between two sweeps

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Swept:
    """What one sweep deleted."""

    documents: int
    pictures: int
    pixels: int
    thumbnails: int


class Housekeeping:
    """Tidies one data folder, in a thread of its own between `start` and `stop`."""

    def __init__(
        self, documents: DocumentStore, pixels: PixelStore, library: Library, thumbnails: ThumbnailCache
    ) -> None:
        self._documents = documents
        self._pixels = pixels
        self._library = library
        self._thumbnails = thumbnails
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def sweep(self, rest: float = REST) -> Swept:
        """Tidies once. Pixels that nothing refers to go after `rest` seconds. Raises StudioError."""
        documents = self._documents.empty_bin(older_than_days=BIN_DAYS)
        pictures = self._library.empty_bin(older_than_days=BIN_DAYS)
        self._documents.freshen()
        referred = {owner: self._documents.references(owner, "pixels") for owner in self._documents.owners()}
        return Swept(documents, pictures, self._pixels.sweep_all(referred, rest), self._thumbnails.sweep())

    def start(self) -> None:
        self._thread = threading.Thread(target=self._work, name="studio-housekeeping", daemon=True)
        self._thread.start()

    def stop(self, timeout: float = 10.0) -> None:
        """Returns once nothing is being tidied any more."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def _work(self) -> None:
        pause = FIRST
        while not self._ended.wait(pause):
            pause = AGAIN
            try:
                swept = self.sweep()
            except StudioError as problem:
                log.warning("%s", problem)
            except Exception:
                log.exception("Tidying failed")
            else:
                log.info("tidied: %s", swept)
