"""The files of recorded runs in an owner's folder: how they are called, written whole, listed and swept."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from studio.project.kept_fill import MASK, SOURCE
from studio.project.kept_run import RUN_ID, is_plain_file

FACTS, STRIP, LATENTS = ".json", ".strip.png", ".safetensors"
LINES = "lines.json"  # of all runs in the folder, see run_lines
SUFFIXES = (LATENTS, STRIP, SOURCE, MASK, FACTS)  # of the files of a run, in the order of writing


def sweep(home: Path) -> None:
    """Deletes what a killed process left of runs in an owner's folder: half a file, or files without their facts."""
    for path in home.iterdir():
        run_id = path.name.removeprefix(".").partition(".")[0]
        partial = path.name.startswith(".") and path.suffix == ".part"
        if partial and path.name.startswith(f".{LINES}."):
            path.unlink(missing_ok=True)
        if not RUN_ID.fullmatch(run_id):
            continue
        orphan = (
            path.name in {f"{run_id}{suffix}" for suffix in SUFFIXES[:-1]} and not (home / f"{run_id}{FACTS}").exists()
        )
        if partial or orphan:
            path.unlink(missing_ok=True)


def ours(home: Path, suffix: str) -> Iterator[Path]:
    """The files of an owner's runs that end in `suffix`."""
    with contextlib.suppress(OSError):
        for path in home.glob(f"*{suffix}"):
            if RUN_ID.fullmatch(path.name.removesuffix(suffix)) and is_plain_file(path):
                yield path


def write_flushed(path: Path, write: Callable[[Path], object]) -> None:
    """Lets `write` fill a file beside `path`, brings it to the disk and gives it its name."""
    partial = path.parent / f".{path.name}.part"
    try:
        write(partial)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
