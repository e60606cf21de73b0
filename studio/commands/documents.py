"""`documents`, `export` and `import`: documents of a data folder as files, without a page."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studio import __version__
from studio.errors import NotFound, StudioError
from studio.project.archive import Archive
from studio.project.database import Database
from studio.project.document_rows import DocumentFacts
from studio.project.documents import DocumentStore
from studio.project.folder_lock import FolderLock
from studio.project.pixels_store import PixelStore
from studio.project.runs import RunStore
from studio.project.store import PictureStore
from studio.settings import default_data_folder

OWNER = "local"  # the one person at this computer, as the page has it


def add_to(commands: Any) -> None:
    listing = commands.add_parser("documents", help="list the documents")
    listing.set_defaults(run=_list)
    out = commands.add_parser("export", help="write a document to a .wavebrush file")
    out.add_argument("document", help="its id, or its name where no other has it")
    out.add_argument("file", type=Path, help="the file to write; what is there is not replaced")
    out.set_defaults(run=_export)
    into = commands.add_parser("import", help="take in a .wavebrush file as a new document")
    into.add_argument("file", type=Path)
    into.set_defaults(run=_import)
    for parser in (listing, out, into):
        parser.add_argument("--data", type=Path, default=None, metavar="DIR", help="where documents are kept")


def _list(options: argparse.Namespace) -> int:
    with _opened(options) as (documents, _):
        for facts in documents.listed(OWNER, limit=10**6):
            print(f"{facts.id}  {facts.width} × {facts.height}  {facts.name}")
    return 0


def _export(options: argparse.Namespace) -> int:
    with _opened(options) as (documents, archive):
        found = _named(documents, options.document)
        if options.file.exists():
            raise StudioError(f"{options.file} is there already. Choose another name.")
        with archive.passage("wavebrush") as passing:
            archive.write(OWNER, found.id, passing)
            _copy(passing, options.file)
    print(f"{options.file}: {found.name}")
    return 0


def _import(options: argparse.Namespace) -> int:
    if not options.file.is_file():
        raise StudioError(f"There is no file {options.file}. Check its name and folder.")
    with _opened(options) as (documents, archive):
        facts = documents.facts(OWNER, archive.take_in(OWNER, options.file))
    print(f"{facts.id}  {facts.name}")
    return 0


@contextlib.contextmanager
def _opened(options: argparse.Namespace) -> Iterator[tuple[DocumentStore, Archive]]:
    """The stores of a data folder, which is locked meanwhile. Raises FolderInUse while the page is served from it."""
    data = options.data if options.data is not None else default_data_folder()
    with FolderLock(data).held("the command line"), contextlib.closing(Database(data)) as database:
        pixels, pictures, runs = PixelStore(data), PictureStore(data), RunStore(data)
        for store in (pixels, pictures, runs):
            store.prepare()
        documents = DocumentStore(database, pixels)
        archive = Archive(data, documents, pixels, pictures, runs, f"wavebrush {__version__}")
        archive.prepare()
        yield documents, archive


def _named(documents: DocumentStore, wanted: str) -> DocumentFacts:
    """The document of this id or name. Raises NotFound, StudioError."""
    with contextlib.suppress(NotFound):
        return documents.facts(OWNER, wanted)
    found = [facts for facts in documents.listed(OWNER, wanted, limit=1000) if facts.name == wanted]
    if len(found) > 1:
        raise StudioError(f"{len(found)} documents are called '{wanted}'. Use the id of one of them.")
    if not found:
        raise NotFound(f"There is no document '{wanted}' here. `python -m studio documents` lists them.")
    return found[0]


def _copy(source: Path, target: Path) -> None:
    """Writes a copy, whole or not at all, which may be on another disk."""
    partial = target.with_name(f".{target.name}.part")
    try:
        with source.open("rb") as data, partial.open("wb") as file:
            while piece := data.read(1 << 20):
                file.write(piece)
        partial.replace(target)
    except OSError as problem:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise StudioError(f"{target} cannot be written: {problem.strerror or problem}.") from problem
