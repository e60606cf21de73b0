"""Documents as files on the command line: out of one data folder, into another."""

from __future__ import annotations

from pathlib import Path

import pytest
from document_room import room

from studio.__main__ import main
from studio.project.folder_lock import FolderLock

OWNER = "local"


def _folder(path: Path, *names: str) -> list[str]:
    with room(path) as made:
        return [made.documents.create(OWNER, name, made.state(1, OWNER))[0] for name in names]


def test_a_document_moves_to_another_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (document,) = _folder(tmp_path / "here", "Coast")
    file = tmp_path / "coast.wavebrush"
    assert main(["export", "Coast", str(file), "--data", str(tmp_path / "here")]) == 0
    assert main(["import", str(file), "--data", str(tmp_path / "there")]) == 0
    came = capsys.readouterr().out.splitlines()[-1].split()[0]
    with room(tmp_path / "here") as here, room(tmp_path / "there") as there:
        assert there.documents.state(OWNER, came) == here.documents.state(OWNER, document)
    assert main(["documents", "--data", str(tmp_path / "there")]) == 0
    assert capsys.readouterr().out == f"{came}  300 × 200  Coast\n"


@pytest.mark.parametrize("words", [["export", "Boat", "x"], ["export", "Coast", "x"], ["import", "x"]], ids=str)
def test_what_cannot_be_done_is_one_line_and_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    _folder(tmp_path / "data", "Coast", "Coast")
    words = [str(tmp_path / word) if word == "x" else word for word in words]
    assert main([*words, "--data", str(tmp_path / "data")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "x").exists()


def test_nothing_is_replaced_and_nobody_is_disturbed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _folder(tmp_path / "data", "Coast")
    (tmp_path / "mine").write_text("mine")
    assert main(["export", "Coast", str(tmp_path / "mine"), "--data", str(tmp_path / "data")]) == 2
    assert (tmp_path / "mine").read_text() == "mine"
    with FolderLock(tmp_path / "data").held("http://127.0.0.1:7860/"):
        assert main(["documents", "--data", str(tmp_path / "data")]) == 2
    assert "http://127.0.0.1:7860/" in capsys.readouterr().err
