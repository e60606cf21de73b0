"""`calibrate` from the command line, on a tiny model of real classes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_models import save_tiny

from studio.__main__ import main
from studio.diffusion.calibration import VERDICTS, Calibration
from studio.diffusion.strengths import Strengths
from studio.engine import Engine
from studio.imaging.png import REQUEST_KEY, read_png_text
from studio.models import loading, presets
from studio.models.batches import Batches
from studio.requests import TextToImage

SMALL = ("--steps", "4", "--samples", "10", "--size", "64x64", "--batch", "5", "--solver", "euler")


def calibrate(model: Path, *options: object) -> int:
    return main(["calibrate", "--model", str(model), *SMALL, *map(str, options)])


@pytest.fixture(autouse=True)
def _own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVEBRUSH_DATA", str(tmp_path / "data"))


def test_strengths_and_plot_are_written(tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "prompts.txt").write_text("a lake\n\n  a red boat  \n", encoding="utf-8")
    out, plot = tmp_path / "strengths.json", tmp_path / "gap.png"
    # random weights leave hardly a gap of their own; guidance this strong makes one
    options = ("--guidance", 30, "--samples", 32, "--batch", 16, "--out", out, "--plot", plot)
    assert calibrate(tiny_model, *options, "--prompts", tmp_path / "prompts.txt") == 0
    found = Calibration.from_json(out.read_text())
    assert found.verdict in VERDICTS
    assert found.facts["weights"] == loading.weights_digest(str(tiny_model))
    assert (found.solver, found.num_inference_steps, found.facts["prompts"]) == ("Euler", 4, 2)
    assert found.before.steps == (1, 2, 3)
    assert np.isfinite(found.before.mean).all() and np.isfinite(found.before.error).all()
    assert found.tried is not None and found.after is not None
    said = capsys.readouterr()
    assert said.out.splitlines()[0] == found.sentence()
    assert said.err == "", "no terminal, no progress"
    with Image.open(plot) as picture:
        assert picture.format == "PNG"
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 5


def test_what_is_found_without_out_is_used_by_generate(tiny_model: Path, tmp_path: Path) -> None:
    paint = ("generate", "a lake", "--model", str(tiny_model), "--steps", "4", "--solver", "Euler", "--size", "64x64")
    assert main([*paint, "--correction", "calibrated", "--out", str(tmp_path / "early.png")]) == 2
    assert calibrate(tiny_model) == 0
    found = presets.find(str(tiny_model), "Euler", 4)
    assert found is not None
    assert main([*paint, "--correction", "calibrated", "--out", str(tmp_path / "a.png")]) == 0
    note = json.loads(read_png_text((tmp_path / "a.png").read_bytes())[REQUEST_KEY])
    expected = None if found.strengths is None else found.strengths.to_dict()
    assert note["request"].get("correction") == expected


def test_generate_takes_strengths_from_a_file(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "own.json").write_text(Strengths.low(-0.2).to_json())
    paint = ("generate", "a lake", "--model", str(tiny_model), "--steps", "3", "--size", "64x64")
    pictures = {}
    for choice in ("off", str(tmp_path / "own.json")):
        file = tmp_path / "a.png"
        assert main([*paint, "--correction", choice, "--out", str(file)]) == 0
        pictures[choice] = file.read_bytes()
    plain, corrected = pictures.values()
    assert "correction" not in json.loads(read_png_text(plain)[REQUEST_KEY])["request"]
    note = json.loads(read_png_text(corrected)[REQUEST_KEY])
    assert note["request"]["correction"] == Strengths.low(-0.2).to_dict()


def test_a_batch_paints_what_the_engine_paints(tiny_engine: Engine) -> None:
    loaded = tiny_engine._loaded
    assert loaded is not None
    prompts = ["a lake", "a red boat", "a forest"]
    settings = {"width": 64, "height": 96, "num_inference_steps": 3, "guidance_scale": 5.0, "solver": "DPM++ 2M"}
    batches = Batches(loaded.pipe, loaded.scheduler, prompts, seed=7, output_type="np", **settings)  # type: ignore[arg-type]
    batches.use_solver()
    together = (batches(range(1, 4)).images * 255).round().astype(np.int16)
    for number, picture in zip((1, 2, 3), together, strict=True):
        request = TextToImage(prompts[number % 3], seed=7 + number, model=loaded.name, **settings)  # type: ignore[arg-type]
        alone = tiny_engine.run(request, previews=False).pixels.astype(np.int16)
        assert np.abs(alone - picture).max() <= 1  # sums in another order round to the neighbouring level at most


@pytest.mark.parametrize("family", ["flux-schnell", "sd3"])
def test_flow_models_are_calibrated_too(family: str, tmp_path: Path) -> None:
    model = save_tiny(family, tmp_path / "model")
    out = tmp_path / "strengths.json"
    options = ("--steps", "3", "--samples", "4", "--size", "64x64", "--solver", "Euler", "--out", str(out))
    assert main(["calibrate", "--model", str(model), *options]) == 0
    found = Calibration.from_json(out.read_text())
    assert found.before.samples == 4
    assert np.isfinite(found.before.mean).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--samples", "2"), "4 to 10000"),
        (("--batch", "0"), "1 to 64"),
        (("--levels", "9"), "1 to 5"),
        (("--wavelet", "nonsense"), "nonsense"),
        (("--steps", "1"), "2 steps or more"),
        (("--solver", "Magic"), "not a solver"),
        (("--prompts", "nowhere.txt"), "nowhere.txt"),
        (("--prompts", "{empty}"), "holds no prompts"),
        (("--prompts", "{binary}"), "not UTF-8"),
        (("--out", "{folder}"), "is a folder"),
        (("--model", "nobody-has-this"), "nobody-has-this"),
        (("--levels", "5"), "5 wavelet levels"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_done_is_said_in_one_line(
    options: tuple[str, str], words: str, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").write_text("\n \n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "folder").mkdir()
    name, value = options
    given = value.format(**{kind: tmp_path / kind for kind in ("empty", "binary", "folder")})
    assert calibrate(tiny_model, name, given) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1 and said.startswith("wavebrush: ")
