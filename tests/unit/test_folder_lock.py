"""One studio per data folder: the second is told who is there, and a killed one holds nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from studio.errors import StudioError
from studio.project.folder_lock import FILE, FolderInUse, FolderLock

_HOLD = """
import sys, time
from pathlib import Path
from studio.project.folder_lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
lock.take("http://127.0.0.1:7860/")
print("held", flush=True)
time.sleep(600)
"""


def test_the_second_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    with FolderLock(tmp_path / "new").held("http://127.0.0.1:7860/"):
        with pytest.raises(FolderInUse) as refused:
            FolderLock(tmp_path / "new").take("http://127.0.0.1:7861/")
        for words in (str(os.getpid()), "http://127.0.0.1:7860/", str(tmp_path / "new"), "--data"):
            assert words in str(refused.value)
    with FolderLock(tmp_path / "new").held("x"):
        pass


def test_a_process_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(FolderInUse, match=str(process.pid)):
            FolderLock(tmp_path).take("x")
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    with FolderLock(tmp_path).held("x"):
        pass


@pytest.mark.parametrize(
    "note", [b"", b"{", b"[]", b'{"process": "x"}', b"\xff" * 2000, b'{"process": 1, "since": 1e99}']
)
def test_whatever_stands_in_the_file_the_second_is_told(tmp_path: Path, note: bytes) -> None:
    with FolderLock(tmp_path).held("x"):
        (tmp_path / FILE).write_bytes(note)
        with pytest.raises(FolderInUse, match="already"):
            FolderLock(tmp_path).take("y")


def test_a_folder_that_cannot_be_made_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("I am in the way")
    with pytest.raises(StudioError, match="--data"):
        FolderLock(tmp_path / "data").take("x")
