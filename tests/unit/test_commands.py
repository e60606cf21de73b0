"""What the command line makes of its words, before any model is touched."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest

from studio import __version__
from studio.__main__ import _one_line, main
from studio.commands import generate
from studio.errors import InvalidRequest, StudioError
from studio.models import catalogue
from studio.project.wordbook import Wordbooks
from studio.requests import SOLVERS, TextToImage, batch
from studio.whole_file import write_whole


def _run(*words: str) -> int:
    try:
        return main(words)
    except SystemExit as ended:
        return int(ended.code or 0)


def _complaint(capsys: pytest.CaptureFixture[str]) -> str:
    """What stands on stderr, which must be one readable line."""
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.endswith("\n")
    assert said[:-1].isprintable()
    assert said.startswith("wavebrush: ")
    return said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("paint",), "invalid choice: 'paint'"),
        (("generate",), "PROMPT"),
        (("generate", "a lake"), "--out"),
        (("generate", "a lake", "--out", "a.png", "--colour", "red"), "--colour"),
        (("generate", "a lake", "two\nlines\x1b[31m", "--out", "a.png"), "unrecognized"),
        (("generate", "a lake", "--out", "a.png", "--seed", "seven"), "'seven' is not a whole number"),
        (("generate", "a lake", "--out", "a.png", "--seed", "1.5"), "not a whole number"),
        (("generate", "a lake", "--out", "a.png", "--seed", "9" * 5000), "not a whole number"),
        (("generate", "a lake", "--out", "a.png", "--steps", ""), "not a whole number"),
        (("generate", "a lake", "--out", "a.png", "--guidance", "much"), "much"),
        (("generate", "a lake", "--out", "a.png", "--seed"), "--seed"),
        (("serve", "--port", "http"), "http"),
        (("--port", "http"), "http"),
        (("serve", "--port", "0"), "1 to 65535"),
        (("serve", "--port", "70000"), "1 to 65535"),
        (("login",), "NAME"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, tuple) else "",
)
def test_a_wrong_command_line_is_answered_in_one_line_with_exit_code_2(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(*words) == 2
    assert said in _complaint(capsys)


@pytest.mark.parametrize("command", [(), ("serve",), ("generate",), ("calibrate",), ("models",), ("login",)])
def test_help_tells_every_option(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(*command, "--help") == 0
    said = capsys.readouterr().out
    expected = {
        (): ["serve", "generate", "calibrate", "models", "login"],
        ("serve",): ["--host", "--port", "--data", "--model", "--no-browser", "--login"],
        ("generate",): [
            "--negative",
            "--seed",
            "--steps",
            "--guidance",
            "--solver",
            "--size",
            "--model",
            "--correction",
            "--count",
            "--json",
            "--out",
        ],
        ("calibrate",): ["--model", "--prompts", "--steps", "--solver", "--samples", "--batch", "--out", "--plot"],
        ("models",): [],
        ("login",): ["NAME"],
    }[command]
    for option in expected:
        assert option in said


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("--version") == 0
    assert capsys.readouterr().out == f"wavebrush {__version__}\n"


def test_models_lists_the_whole_catalogue(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("models") == 0
    said = capsys.readouterr().out
    for name in catalogue.names():
        assert name in said


@pytest.mark.parametrize(
    ("text", "size"), [("256x192", (256, 192)), ("64X64", (64, 64)), ("128×96", (128, 96)), ("0x7", (0, 7))]
)
def test_sizes_are_width_then_height(text: str, size: tuple[int, int]) -> None:
    assert generate.read_size(text) == size


@pytest.mark.parametrize("text", ["", "256", "x", "256x", "-64x64", "64x64x64", "64.0x64", "9" * 50 + "x1", "a\nb"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        generate.read_size(text)
    assert refused.value.field == "size"


@pytest.mark.parametrize("solver", SOLVERS)
def test_solvers_are_found_whatever_their_case_spaces_and_dashes(solver: str) -> None:
    for written in (solver, solver.lower(), solver.replace(" ", "-"), solver.replace(" ", "").upper()):
        assert generate.find_solver(written) == solver
    assert generate.find_solver(solver.replace("++", "pp")) == solver


def test_an_unknown_solver_stays_as_it_was_written_for_the_error() -> None:
    assert generate.find_solver("Magic") == "Magic"


def test_one_picture_goes_into_the_named_file(tmp_path: Path) -> None:
    assert generate.files_for(tmp_path / "a.png", batch(TextToImage(), 1)) == [tmp_path / "a.png"]
    assert generate.files_for(tmp_path / "A.PNG", batch(TextToImage(), 1)) == [tmp_path / "A.PNG"]


def test_several_pictures_go_into_a_folder_under_their_seeds(tmp_path: Path) -> None:
    files = generate.files_for(tmp_path / "new" / "deep", batch(TextToImage(seed=7), 2))
    assert files == [tmp_path / "new" / "deep" / "7.png", tmp_path / "new" / "deep" / "8.png"]
    assert list(tmp_path.iterdir()) == [], "the folder is made with the first picture, not before"


def test_several_pictures_do_not_go_into_one_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="folder"):
        generate.files_for(tmp_path / "a.png", batch(TextToImage(), 2))


def test_a_folder_may_end_in_png(tmp_path: Path) -> None:
    (tmp_path / "odd.png").mkdir()
    assert generate.files_for(tmp_path / "odd.png", batch(TextToImage(), 1)) == [tmp_path / "odd.png" / "0.png"]


@pytest.mark.parametrize("name", ["a.jpg", "a.webp", "a.tar.gz"])
def test_other_formats_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidRequest, match="PNG"):
        generate.files_for(tmp_path / name, batch(TextToImage(), 1))


def test_a_folder_below_a_file_is_refused_before_painting(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(StudioError, match="notes is a file"):
        generate.files_for(tmp_path / "notes" / "a.png", batch(TextToImage(), 1))


def test_a_picture_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "new" / "a.png"
    write_whole(file, b"first")

    def fail(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(StudioError, match="No space left"):
        write_whole(file, b"second")
    assert file.read_bytes() == b"first"
    assert list(file.parent.iterdir()) == [file]


def test_an_error_is_one_short_line_whatever_is_in_it() -> None:
    shown = _one_line("two\nlines\r\x1b[31m and a bell\a " + "x" * 5000)
    assert shown.isprintable()
    assert len(shown) == 600


def test_reading_the_command_line_loads_no_model_library() -> None:
    import subprocess
    import sys

    heavy = ("torch", "diffusers", "transformers", "gradio")
    code = f"import sys, studio.__main__ as m; m._parser(); print([x for x in {heavy} if x in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_options_are_named_as_the_readme_names_them() -> None:
    parser = argparse.ArgumentParser()
    generate.add_to(parser.add_subparsers())
    options = parser.parse_args(["generate", "a lake", "--out", "a.png"])
    assert (options.seed, options.count, options.model, options.json) == (0, 1, "painter", False)


def test_what_somebody_was_told_is_kept_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Contents before the name, so that a power cut leaves the old file or the new one, never an empty one."""
    file, seen = tmp_path / "kept.json", []

    def fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink() if Path("/proc/self/fd").is_dir() else tmp_path
        seen.append(("folder" if path.is_dir() else "file", file.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    write_whole(file, b"quick")
    assert seen == []
    file.unlink()
    write_whole(file, b"kept", flush=True)
    assert seen == [("file", False), ("folder", True)]


def test_words_are_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(os, "fsync", seen.append)
    Wordbooks(tmp_path).keep("me", "lists", "trees", ["oak", "elm"])
    assert len(seen) == 2
