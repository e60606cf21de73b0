"""A .wavebrush file as a container: a zip whose names, sizes and checksums are all known before anything is used.

    manifest.json               format, version, and the SHA-256 of every other file
    document.json               the name, the head, and since version 2 what is set beside the document
    preview.webp                what it looks like
    nodes/000001.json ...       the history, oldest first, each with its whole state
    pixels/ID.png               tiles and masks, by the digest of their bytes
    pictures/RUN.png            finished pictures that layers came from
    runs/RUN.json, RUN.strip.png, RUN.safetensors, RUN.source.png, RUN.mask.png   their runs

Only these names are read, and none of them is ever used as a path. Files come from strangers: the list of contents is
bounded before it is read, every size before it is unpacked. Nothing here knows what the files mean.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

from studio import strict_json
from studio.errors import StudioError, human_bytes, shown
from studio.project.names import PICTURE

FORMAT, VERSION = "wavebrush", 2
MANIFEST = "manifest.json"

FILE_LIMIT = 3 * 1024**3  # bytes of a whole file; what is packed in it may not unpack to more
COUNT_LIMIT = 60_000  # files in it
LATENTS_LIMIT = 512 * 1024**2  # bytes of one run's latents, all of which are in memory while they are checked
_LIST_LIMIT = 12 * 1024**2  # bytes of the zip's own list of contents
_MANIFEST_LIMIT = 12 * 1024**2
_PIECE = 1024 * 1024
_NEVER = (1980, 1, 1, 0, 0, 0)  # the same document gives the same bytes

# what may be in it, and how many bytes each may have unpacked
_KINDS = (
    (re.compile(r"document\.json"), 64 * 1024),
    (re.compile(r"preview\.webp"), 4 * 1024**2),
    (re.compile(r"nodes/[0-9]{6}\.json"), 5 * 1024**2),
    (re.compile(r"pixels/[0-9a-f]{32}\.png"), 72 * 1024**2),
    (re.compile(rf"pictures/{PICTURE}\.png"), 64 * 1024**2),
    (re.compile(rf"runs/{PICTURE}\.json"), 8 * 1024**2),
    (re.compile(rf"runs/{PICTURE}\.(?:strip|source|mask)\.png"), 64 * 1024**2),
    (re.compile(rf"runs/{PICTURE}\.safetensors"), LATENTS_LIMIT),
)
_END = struct.Struct("<4s4H2LH")  # the zip's last record
_FAR_END = b"PK\x06\x07"  # of a zip that is larger than one may be here


class UnreadableArchive(StudioError):
    """A .wavebrush file that is damaged, of another kind, or made to do harm."""


class ArchiveWriter:
    """Writes one file after another; `close` adds the manifest. To be used by `with`, which lets go of the file."""

    def __init__(
        self,
        file: IO[bytes],
        made_with: str,
        check_room: Callable[[int], None] | None = None,
        version: int = VERSION,
    ) -> None:
        """`check_room` is asked before so many bytes more are written, and raises if they do not fit. `version` is the
        oldest that knows all that is written."""
        self._made_with = made_with
        self._version = version
        self._check_room = check_room
        self._zip = zipfile.ZipFile(file, "w", allowZip64=False)
        self._digests: dict[str, str] = {}
        self._size = 0

    def __enter__(self) -> ArchiveWriter:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # what failed before is on its way already
            self._zip.close()

    def add(self, name: str, data: bytes) -> None:
        """Adds a small file. Raises StudioError if the whole becomes too large."""
        self._room_for(len(data))
        self._digests[name] = hashlib.sha256(data).hexdigest()
        self._zip.writestr(_info(name), data)

    def add_file(self, name: str, file: IO[bytes], size: int) -> None:
        """Adds what can be read from `file`, `size` bytes. Raises as `add` does, and OSError."""
        self._room_for(size)
        digest = hashlib.sha256()
        with self._zip.open(_info(name), "w") as target:
            while piece := file.read(_PIECE):
                digest.update(piece)
                target.write(piece)
        self._digests[name] = digest.hexdigest()

    def close(self) -> None:
        manifest = {
            "format": FORMAT,
            "version": self._version,
            "made_with": self._made_with,
            "files": self._digests,
        }
        self._zip.writestr(_info(MANIFEST), json.dumps(manifest, indent=1).encode())
        self._zip.close()

    def _room_for(self, size: int) -> None:
        self._size += size
        if self._size > FILE_LIMIT or len(self._digests) + 2 > COUNT_LIMIT:
            raise StudioError(
                f"This document is too large for one file: more than {human_bytes(FILE_LIMIT)} or {COUNT_LIMIT:,} "
                "parts. Leave the recorded runs or the history out."
            )
        if self._check_room is not None:
            self._check_room(size)


class ArchiveReader:
    """A file whose every part has been found to be what its manifest says. To be closed by `with`.

    Raises UnreadableArchive, in words.
    """

    def __init__(self, path: Path) -> None:
        try:
            _check_list(path)
            self._zip = zipfile.ZipFile(path)
        except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError, struct.error) as problem:
            raise UnreadableArchive("This is not a .wavebrush file, or it is cut short.") from problem
        try:
            self._infos = _checked(self._zip.infolist())
            self.version, digests = self._manifest()
            for name in self._infos:
                if name != MANIFEST and self._digest(name) != digests[name]:
                    raise UnreadableArchive(f"{name} in this file was damaged: its checksum does not fit.")
        except BaseException:
            self._zip.close()
            raise

    def __enter__(self) -> ArchiveReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def names(self, folder: str) -> list[str]:
        """The names of the files in a folder, without the folder, in order."""
        return sorted(name.removeprefix(f"{folder}/") for name in self._infos if name.startswith(f"{folder}/"))

    def has(self, name: str) -> bool:
        return name in self._infos

    def size(self, folder: str, ending: str) -> int:
        """Bytes, unpacked, of all files in a folder whose names end so."""
        return sum(i.file_size for n, i in self._infos.items() if n.startswith(f"{folder}/") and n.endswith(ending))

    def read(self, name: str) -> bytes:
        """A whole file. Raises UnreadableArchive if there is none of this name."""
        return b"".join(self._pieces(name))

    def unpack(self, name: str, target: Path) -> None:
        """Writes a file to `target`. Raises UnreadableArchive, OSError."""
        with target.open("xb") as file:
            for piece in self._pieces(name):
                file.write(piece)

    def json(self, name: str, depth: int) -> Mapping[str, object]:
        """The JSON object in a file. Raises UnreadableArchive for anything else."""
        try:
            value = strict_json.loads(self.read(name), max_bytes=_limit_of(name), max_depth=depth)
        except ValueError as problem:
            raise UnreadableArchive(f"{name} in this file cannot be read: {problem}.") from None
        if not isinstance(value, dict):
            raise UnreadableArchive(f"{name} in this file cannot be read: it is no JSON object.")
        return value

    def _manifest(self) -> tuple[int, Mapping[str, object]]:
        manifest = self.json(MANIFEST, 2)
        version, files = manifest.get("version"), manifest.get("files")
        if manifest.get("format") != FORMAT or type(version) is not int or not isinstance(files, dict):
            raise UnreadableArchive("This is a zip file, but not one of wavebrush.")
        if not 1 <= version <= VERSION:
            raise UnreadableArchive(
                f"This file has format {version}; this studio reads formats up to {VERSION}. Update the studio."
            )
        if set(files) | {MANIFEST} != set(self._infos):
            raise UnreadableArchive("This file does not hold what its own list says.")
        return version, files

    def _digest(self, name: str) -> str:
        digest = hashlib.sha256()
        for piece in self._pieces(name):
            digest.update(piece)
        return digest.hexdigest()

    def _pieces(self, name: str) -> Iterator[bytes]:
        info = self._infos.get(name)
        if info is None:
            raise UnreadableArchive(f"This file lacks {name}.")
        left = info.file_size  # bounded by _checked; whatever the zip unpacks to, no more is taken
        try:
            with self._zip.open(info) as file:
                while left and (piece := file.read(min(_PIECE, left))):
                    left -= len(piece)
                    yield piece
                if left or file.read(1):
                    raise UnreadableArchive(f"{name} in this file was damaged: its size does not fit.")
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as problem:
            raise UnreadableArchive(f"{name} in this file was damaged: it cannot be unpacked.") from problem


def _check_list(path: Path) -> None:
    """Looks at the zip's last record alone, which says how long its list of contents is."""
    size = path.stat().st_size
    if size > FILE_LIMIT:
        raise UnreadableArchive(f"This file is {human_bytes(size)}. At most {human_bytes(FILE_LIMIT)} are read.")
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04" or size < _END.size + 20:
            raise UnreadableArchive("This is not a .wavebrush file.")
        file.seek(size - _END.size - 20)
        tail = file.read()
    if tail.startswith(_FAR_END):
        raise UnreadableArchive("This file is not written as a .wavebrush file is.")
    mark, disk, first, here, count, length, start, comment = _END.unpack(tail[20:])
    if mark != b"PK\x05\x06" or disk or first or here != count or comment:
        raise UnreadableArchive("This is not a .wavebrush file, or it is cut short.")
    if count > COUNT_LIMIT or length > _LIST_LIMIT or start + length + _END.size != size:
        raise UnreadableArchive(f"This file lists {count:,} parts. At most {COUNT_LIMIT:,} are read.")


def _checked(infos: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    found: dict[str, zipfile.ZipInfo] = {}
    total = 0
    for info in infos:
        # zipfile cuts a name at a NUL; what stood in the file is in orig_filename
        name = info.orig_filename
        limit = _limit_of(name)
        if not limit or name != info.filename:
            raise UnreadableArchive(f"This file holds {shown(name, 60)!r}, which no .wavebrush file does.")
        if name in found:
            raise UnreadableArchive(f"This file holds {name} twice.")
        mode = info.external_attr >> 16
        plain = info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) and not info.flag_bits & 0x41
        if not plain or (stat.S_IFMT(mode) not in (0, stat.S_IFREG)):
            raise UnreadableArchive(f"{name} in this file is a link, encrypted, or packed in an unknown way.")
        total += info.file_size
        if info.file_size > limit or total > FILE_LIMIT:
            raise UnreadableArchive(f"{name} in this file would unpack to {human_bytes(info.file_size)}: too much.")
        found[name] = info
    if MANIFEST not in found:
        raise UnreadableArchive("This is a zip file, but not one of wavebrush.")
    return found


def _limit_of(name: str) -> int:
    """Bytes that a file of this name may have; 0 for names that there are not."""
    if name == MANIFEST:
        return _MANIFEST_LIMIT
    return next((limit for pattern, limit in _KINDS if pattern.fullmatch(name)), 0)


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _NEVER)
    info.create_system = 3
    info.external_attr = (stat.S_IFREG | 0o644) << 16
    info.compress_type = zipfile.ZIP_DEFLATED if name.endswith(".json") else zipfile.ZIP_STORED
    return info
