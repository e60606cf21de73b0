"""`python -m studio generate` for real: pictures, the same bytes every time, and errors in one line."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_models import save_tiny

from studio.__main__ import main
from studio.engine import Engine
from studio.project.store import request_in
from studio.requests import TextToImage

PROMPT = "an oil painting of a lake at sunset"


def _run(*words: str) -> int:
    try:
        return main(words)
    except SystemExit as ended:
        return int(ended.code or 0)


def _pixels(file: Path) -> np.ndarray:
    return np.asarray(Image.open(file))


def _everything_below(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*")}


@pytest.fixture
def paint(tiny_model: Path):  # type: ignore[no-untyped-def]
    def run(*words: str) -> int:
        return _run("generate", *words, "--model", str(tiny_model), "--size", "64x64", "--steps", "4")

    return run


def test_the_same_line_twice_and_inside_a_count_gives_identical_files(paint, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert paint(PROMPT, "--seed", "7", "--out", str(tmp_path / "a.png")) == 0
    assert paint(PROMPT, "--seed", "7", "--out", str(tmp_path / "b.png")) == 0
    assert paint(PROMPT, "--seed", "5", "--count", "4", "--out", str(tmp_path / "several")) == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "several" / "7.png").read_bytes()
    assert _everything_below(tmp_path / "several") == {Path(f"{seed}.png") for seed in (5, 6, 7, 8)}
    assert len({file.read_bytes() for file in (tmp_path / "several").iterdir()}) == 4


def test_another_process_gives_the_same_file_and_says_nothing_on_stderr(
    paint,
    tiny_model: Path,
    tmp_path: Path,  # type: ignore[no-untyped-def]
) -> None:
    assert paint(PROMPT, "--seed", "7", "--out", str(tmp_path / "a.png")) == 0
    words = ["generate", PROMPT, "--seed", "7", "--out", str(tmp_path / "b.png"), "--model", str(tiny_model)]
    done = subprocess.run(
        [sys.executable, "-m", "studio", *words, "--size", "64x64", "--steps", "4"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert str(tmp_path / "b.png") in done.stdout
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_the_png_holds_the_request_and_the_pixels_of_the_engine(paint, tiny_model: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "a.png"
    assert (
        paint(PROMPT, "--negative", "boat", "--seed", "7", "--guidance", "3", "--solver", "heun", "--out", str(file))
        == 0
    )
    request, stopped_at = request_in(file.read_bytes())
    assert request == TextToImage(PROMPT, "boat", 64, 64, 4, 3.0, "Heun", 7, str(tiny_model))
    assert stopped_at is None
    np.testing.assert_array_equal(_pixels(file), Engine(str(tiny_model)).run(request).pixels)


def test_json_tells_about_every_picture(paint, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    assert paint(PROMPT, "--count", "2", "--json", "--out", str(tmp_path)) == 0
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    assert captured.err == ""
    assert [Path(one["file"]).name for one in told] == ["0.png", "1.png"]
    for one in told:
        assert one["seconds"] > 0
        request, _ = request_in(Path(one["file"]).read_bytes())
        assert one["request"] == request.to_dict()
        assert len(one["made_with"]["weights"]) == 16


def test_an_empty_prompt_is_allowed_and_says_so(paint, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    assert paint("", "--out", str(tmp_path / "a.png")) == 0
    assert "No words given" in capsys.readouterr().err
    assert _pixels(tmp_path / "a.png").shape == (64, 64, 3)


def test_what_is_not_said_is_what_suits_the_model(tmp_path: Path, tiny_model: Path) -> None:
    assert _run("generate", PROMPT, "--model", str(tiny_model), "--steps", "2", "--out", str(tmp_path / "a.png")) == 0
    request, _ = request_in((tmp_path / "a.png").read_bytes())
    card = Engine(str(tiny_model)).card()
    assert (request.width, request.height, request.guidance_scale, request.solver) == (
        card.width,
        card.height,
        card.guidance_scale,
        card.solver,
    )


def test_the_picture_replaces_an_older_one(paint, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "a.png"
    file.write_bytes(b"older")
    assert paint(PROMPT, "--out", str(file)) == 0
    assert _pixels(file).shape == (64, 64, 3)
    assert _everything_below(tmp_path) == {Path("a.png")}


BAD = {
    "a prompt of 100,000 characters": ["x" * 100_000],
    "a control character": ["a lake\x1b[31m"],
    "a bell in what is left out": [PROMPT, "--negative", "\a"],
    "size 0": [PROMPT, "--size", "0x0"],
    "size 7": [PROMPT, "--size", "7x7"],
    "size 100,000": [PROMPT, "--size", "100000x100000"],
    "a size between multiples": [PROMPT, "--size", "130x128"],
    "a size that is none": [PROMPT, "--size", "large"],
    "no steps": [PROMPT, "--steps", "0"],
    "10,000 steps": [PROMPT, "--steps", "10000"],
    "guidance that is no number": [PROMPT, "--guidance", "nan"],
    "infinite guidance": [PROMPT, "--guidance", "inf"],
    "seed -1": [PROMPT, "--seed", "-1"],
    "seed 2^70": [PROMPT, "--seed", str(2**70)],
    "a seed of 5,000 digits": [PROMPT, "--seed", "9" * 5000],
    "an unknown solver": [PROMPT, "--solver", "Magic"],
    "an unknown model": [PROMPT, "--model", "nobody"],
    "an unknown model with a line break": [PROMPT, "--model", "no\nbody"],
    "no pictures": [PROMPT, "--count", "0"],
    "a thousand pictures": [PROMPT, "--count", "1000"],
    "an unknown option": [PROMPT, "--colour", "red\nblue"],
}


@pytest.mark.parametrize("words", BAD.values(), ids=BAD.keys())
def test_bad_input_is_one_line_on_stderr_and_leaves_nothing(
    words: list[str], tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = [] if "--model" in words else ["--model", str(tiny_model)]
    assert _run("generate", *words, *model, "--out", str(tmp_path / "new" / "a.png")) == 2
    _is_one_line(capsys)
    assert list(tmp_path.iterdir()) == []


def _is_one_line(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("wavebrush: ")
    assert captured.err.count("\n") == 1
    assert captured.err[:-1].isprintable()
    assert len(captured.err) < 800
    return captured.err


@pytest.fixture(scope="module")
def bad_models(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> dict[str, Path]:
    """Things that are named as models and are none."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "empty").mkdir()
    (folder / "holiday").mkdir()
    (folder / "holiday" / "beach.jpg").write_bytes(b"\xff\xd8\xff")
    whole = next((tiny_model / "unet").glob("*.safetensors")).read_bytes()
    (folder / "truncated.safetensors").write_bytes(whole[: len(whole) // 2])
    (folder / "header_only.safetensors").write_bytes(whole[:100])
    (folder / "oversized.safetensors").write_bytes(struct.pack("<Q", 2**62) + b"{}")
    (folder / "nothing.safetensors").write_bytes(b"")
    import pickle

    (folder / "pickle.safetensors").write_bytes(pickle.dumps({"weight": [1, 2, 3]}))
    (folder / "old.ckpt").write_bytes(pickle.dumps({"weight": [1, 2, 3]}))
    broken = save_tiny("sd", folder / "broken")
    weights = next((broken / "unet").glob("*.safetensors"))
    weights.write_bytes(whole[: len(whole) // 2])
    incomplete = save_tiny("sd", folder / "incomplete")
    next((incomplete / "vae").glob("*.safetensors")).unlink()
    return {path.name: path for path in folder.iterdir()}


@pytest.mark.parametrize(
    "name",
    [
        "empty",
        "holiday",
        "truncated.safetensors",
        "header_only.safetensors",
        "oversized.safetensors",
        "nothing.safetensors",
        "pickle.safetensors",
        "old.ckpt",
        "broken",
        "incomplete",
        "gone",
        "gone.safetensors",
    ],
)
def test_what_is_no_model_is_one_line_on_stderr_and_leaves_nothing(
    name: str, bad_models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = bad_models.get(name, tmp_path / name)
    out = tmp_path / "new" / "a.png"
    assert _run("generate", PROMPT, "--model", str(model), "--size", "64x64", "--steps", "2", "--out", str(out)) == 2
    _is_one_line(capsys)
    assert list(tmp_path.iterdir()) == []


def test_a_pickle_is_refused_without_being_opened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trap = b"cos\nsystem\n(S'touch trapped'\ntR."
    (tmp_path / "trap.safetensors").write_bytes(trap)
    assert _run("generate", PROMPT, "--model", "trap.safetensors", "--out", "a.png") == 2
    assert "trap.safetensors" in _is_one_line(capsys)
    assert _everything_below(tmp_path) == {Path("trap.safetensors")}


def test_a_folder_that_cannot_be_written_is_said_before_painting(
    paint,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],  # type: ignore[no-untyped-def]
) -> None:
    (tmp_path / "notes").write_text("mine")
    assert paint(PROMPT, "--out", str(tmp_path / "notes" / "a.png")) == 2
    assert "notes is a file" in _is_one_line(capsys)


def test_after_every_error_the_next_request_is_painted(paint, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for words in (["x" * 100_000], [PROMPT, "--seed", "-1"], [PROMPT, "--solver", "Magic"]):
        assert paint(*words, "--out", str(tmp_path / "bad.png")) == 2
    assert paint(PROMPT, "--out", str(tmp_path / "good.png")) == 0
    assert _everything_below(tmp_path) == {Path("good.png")}


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
def test_a_terminal_is_shown_a_progress_bar_that_goes_away(tiny_model: Path, tmp_path: Path) -> None:
    mine, theirs = os.openpty()
    words = ["generate", PROMPT, "--model", str(tiny_model), "--size", "64x64", "--steps", "4"]
    done = subprocess.run(
        [sys.executable, "-m", "studio", *words, "--out", str(tmp_path / "a.png")],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=theirs,
        check=False,
    )
    os.close(theirs)
    shown = os.read(mine, 65536).decode()
    os.close(mine)
    assert done.returncode == 0
    assert "step 1 of 4" in shown
    assert "step 4 of 4" in shown
    assert shown.endswith("\r\x1b[K")


def test_the_bundled_painter_paints_without_being_told_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("generate", PROMPT, "--seed", "7", "--steps", "2", "--out", str(tmp_path / "a.png")) == 0
    request, _ = request_in((tmp_path / "a.png").read_bytes())
    card = Engine().card()
    assert request.model == "painter"
    assert _pixels(tmp_path / "a.png").shape == (card.height, card.width, 3)
    assert _pixels(tmp_path / "a.png").std() > 5
