"""The lines of runs: as the facts tell them, whatever became of the file that remembers them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_runs import _id, _run

from studio.project import run_lines
from studio.project.kept_run import to_json
from studio.project.run_files import LINES, sweep
from studio.project.run_lines import RunLine, read_lines

COUNT = 20


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for number in range(COUNT):
        (tmp_path / f"{_id(number)}.json").write_bytes(to_json(_run(number)))
    (tmp_path / "notes.json").write_text("mine")
    (tmp_path / f"{_id(99)}.json").write_text("{}")
    return tmp_path


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The facts that were read, by name."""
    names: list[str] = []
    facts = run_lines.read_facts
    monkeypatch.setattr(run_lines, "read_facts", lambda path: names.append(path.stem) or facts(path))
    return names


def true(numbers: range = range(COUNT)) -> dict[str, RunLine]:
    return {_id(number): RunLine.of(_run(number)) for number in numbers}


def test_facts_are_read_once_and_their_lines_remembered(home: Path, read: list[str]) -> None:
    assert read_lines(home) == true()
    assert len(read) == COUNT + 1
    read.clear()
    assert read_lines(home) == true()
    assert read == [_id(99)], "what is no run has no line"


def test_facts_that_came_changed_or_went_are_noticed(home: Path, read: list[str]) -> None:
    read_lines(home)
    (home / f"{_id(0)}.json").unlink()
    (home / f"{_id(1)}.json").write_bytes(to_json(_run(1, seconds=77.0, count=9)))
    (home / f"{_id(COUNT)}.json").write_bytes(to_json(_run(COUNT)))
    read.clear()
    expected = true(range(1, COUNT + 1)) | {_id(1): RunLine.of(_run(1, seconds=77.0, count=9))}
    assert read_lines(home) == expected
    assert set(read) == {_id(1), _id(COUNT), _id(99)}


@pytest.mark.parametrize(
    "damage",
    [
        lambda lines: b"",
        lambda lines: b"[" * 100_000,
        lambda lines: b"\xff\xfe",
        lambda lines: json.dumps({**lines, "format": 2}).encode(),
        lambda lines: json.dumps({"format": 1}).encode(),
        lambda lines: json.dumps({"format": 1, "lines": 3}).encode(),
        lambda lines: json.dumps({"format": 1, "lines": [line[:-1] for line in lines["lines"]]}).encode(),
        lambda lines: json.dumps({"format": 1, "lines": [[*line[:-1], "2"] for line in lines["lines"]]}).encode(),
        lambda lines: json.dumps({"format": 1, "lines": [[1, 2, None, *x[3:]] for x in lines["lines"]]}).encode(),
    ],
)  # fmt: skip
def test_a_file_that_is_no_good_is_made_again(home: Path, damage: object, read: list[str]) -> None:
    read_lines(home)
    whole = (home / LINES).read_bytes()
    (home / LINES).write_bytes(damage(json.loads(whole)))  # type: ignore[operator]
    read.clear()
    assert read_lines(home) == true()
    assert len(read) == COUNT + 1
    assert sorted(json.loads((home / LINES).read_bytes())["lines"]) == sorted(json.loads(whole)["lines"])


def test_without_room_the_facts_are_read_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert read_lines(home) == true() == read_lines(home)
    assert not (home / LINES).exists()


def test_a_link_is_not_followed(home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    facts = elsewhere / f"{_id(50)}.json"
    facts.write_bytes(to_json(_run(50)))
    (home / facts.name).symlink_to(facts)
    assert read_lines(home) == true()


def test_an_empty_folder_and_none(tmp_path: Path) -> None:
    assert read_lines(tmp_path) == {} == read_lines(tmp_path / "not there")
    assert list(tmp_path.iterdir()) == []


def test_half_a_file_of_lines_is_swept(home: Path) -> None:
    read_lines(home)
    (home / f".{LINES}.123.part").write_bytes(b"half")
    (home / ".mine.part").write_bytes(b"mine")
    sweep(home)
    assert {path.name for path in home.iterdir() if path.suffix != ".json"} == {".mine.part"}
    assert (home / LINES).exists()
