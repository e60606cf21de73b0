"""The whole recipe at 32 pixels: from seeds to a folder that paints, interrupted and resumed on the way."""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("efficientnet_lite_pytorch", reason="the recipe needs the train extra")

from diffusers import StableDiffusionPipeline
from torch.nn.attention import SDPBackend, sdpa_kernel

from studio.painter import train
from studio.painter.autoencoder import train_autoencoder
from studio.painter.crew import together
from studio.painter.decoder import train_decoder
from studio.painter.denoiser import (
    Denoiser,
    build_scheduler,
    computes_in_bfloat16,
    draw_batch,
    loss_weights,
    token_table,
    train_denoiser,
    velocity_error,
)
from studio.painter.latents import encoder_fingerprint, fingerprint, load_latents
from studio.painter.preset import PRESETS
from studio.painter.progress import StopSignal
from studio.painter.shards import open_pictures
from studio.painter.text import load_tokenizer
from studio.painter.training import TrainingStage

PRESET = PRESETS["smoke"]
CPU = torch.device("cpu")


class StopAfter(StopSignal):
    """A stop signal that comes when it has been asked for `count` times."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.left = count

    def __bool__(self) -> bool:
        self.left -= 1
        return self.left < 0


def recipe(stage: str, out: Path, *more: str) -> None:
    assert train.main([stage, "--out", str(out), "--preset", "smoke", *more]) == 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that went through every stage."""
    out = tmp_path_factory.mktemp("recipe")
    recipe("render", out, "--pictures", "60", "--shard", "30")
    recipe("autoencoder", out, "--steps", "12")
    recipe("latents", out)
    recipe("decoder", out, "--steps", "12")
    recipe("denoiser", out, "--steps", "12")
    recipe("export", out)
    return out


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A copy with pictures, latents and tokenizer, before the denoiser."""
    shutil.copytree(trained, tmp_path / "run", ignore=shutil.ignore_patterns("denoiser.*", "painter"))
    return tmp_path / "run"


def stage(folder: Path, **budget: object) -> TrainingStage:
    return TrainingStage(PRESET, folder / "pictures", folder, CPU, **budget)  # type: ignore[arg-type]


def checkpoint(folder: Path, name: str = "denoiser.pt") -> dict[str, object]:
    state: dict[str, object] = torch.load(folder / name, weights_only=True)
    return state


def assert_same(first: object, second: object) -> None:
    """Bit by bit, through nested dictionaries and lists."""
    if isinstance(first, torch.Tensor):
        assert isinstance(second, torch.Tensor)
        torch.testing.assert_close(first, second, atol=0, rtol=0)
    elif isinstance(first, dict):
        assert isinstance(second, dict) and first.keys() == second.keys()
        for key in first:
            if key != "spent":
                assert_same(first[key], second[key])
    elif isinstance(first, list):
        assert isinstance(second, list)
        for one, other in zip(first, second, strict=True):
            assert_same(one, other)
    else:
        assert first == second


def test_exported_folder_is_an_ordinary_pipeline_in_half_precision(trained: Path) -> None:
    model = trained / "painter"
    assert not list(model.rglob("*.bin"))
    for part in ("text_encoder", "unet", "vae"):
        assert len(list((model / part).glob("*.safetensors"))) == 1
    half = StableDiffusionPipeline.from_pretrained(model, dtype=torch.float16, low_cpu_mem_usage=False)
    assert {parameter.dtype for parameter in half.unet.parameters()} == {torch.float16}
    pipeline = StableDiffusionPipeline.from_pretrained(model, dtype=torch.float32, low_cpu_mem_usage=False)
    pipeline.set_progress_bar_config(disable=True)
    pictures = pipeline("a lake at dawn", num_inference_steps=3, output_type="np").images
    assert pictures.shape == (1, 32, 32, 3)
    assert np.isfinite(pictures).all() and pictures.std() > 0


def test_exported_weights_are_the_averaged_ones(trained: Path) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(
        trained / "painter", dtype=torch.float32, low_cpu_mem_usage=False
    )
    averaged = checkpoint(trained)["averaged"]
    assert isinstance(averaged, dict)
    for name, weight in pipeline.unet.state_dict().items():
        torch.testing.assert_close(weight, averaged[f"unet.{name}"].half().float(), atol=0, rtol=0)


def test_facts_tell_what_the_model_was_trained_on(trained: Path) -> None:
    facts = json.loads((trained / "painter" / "painter.json").read_text())
    count = sum(len(shard.pictures) for shard in open_pictures(trained / "pictures").shards)
    assert facts["preset"]["name"] == "smoke"
    assert facts["denoiser"]["step"] == 12
    assert facts["denoiser"]["samples"] == 12 * PRESET.batch
    assert facts["denoiser"]["pictures"] == count
    assert facts["autoencoder"]["step"] == facts["decoder"]["step"] == 12
    assert len(facts["latents"]["mean"]) == PRESET.latent_channels


def test_rendered_shards_skip_held_out_scenes_and_repeat(trained: Path, tmp_path: Path) -> None:
    from studio.painter import HELD_OUT

    recipe("render", tmp_path, "--pictures", "60", "--shard", "30", "--workers", "2")
    first, second = (open_pictures(folder / "pictures") for folder in (trained, tmp_path))
    assert len(first.shards) == 2
    for one, other in zip(first.shards, second.shards, strict=True):
        np.testing.assert_array_equal(one.pictures, other.pictures)
        facts = json.loads(one.facts.read_text())
        assert facts == json.loads(other.facts.read_text())
        assert len(facts["seeds"]) == len(facts["scenes"]) == len(one.pictures)
        triples = {(scene["terrain"], scene["time"], scene["style"]) for scene in facts["scenes"]}
        assert not triples & HELD_OUT


def test_finished_shards_are_kept(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "pictures", tmp_path / "pictures")
    first, second = sorted((tmp_path / "pictures").glob("*.npy"))
    untouched = first.stat().st_mtime_ns
    second.with_suffix(".json").unlink()  # as after a kill between the two writes
    recipe("render", tmp_path, "--pictures", "60", "--shard", "30")
    assert first.stat().st_mtime_ns == untouched
    assert second.with_suffix(".json").exists()


def test_latents_are_encoded_again_only_for_another_autoencoder(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "run")
    folder = tmp_path / "run"
    latents = sorted((folder / "latents").glob("*.npy"))
    before = [path.stat().st_mtime_ns for path in latents]
    recipe("latents", folder)
    assert [path.stat().st_mtime_ns for path in latents] == before
    recipe("autoencoder", folder, "--steps", "13")
    recipe("latents", folder)
    assert all(path.stat().st_mtime_ns > old for path, old in zip(latents, before, strict=True))


def test_latents_of_mirrored_pictures_stand_beside_those_of_the_pictures(trained: Path) -> None:
    from diffusers import AutoencoderTiny

    from studio.painter.shards import to_floats

    shard = open_pictures(trained / "pictures").shards[0]
    values = np.load(trained / "latents" / shard.path.name)
    vae = AutoencoderTiny.from_pretrained(trained / "vae", low_cpu_mem_usage=False)
    with torch.inference_mode():
        mirrored = vae.encode(to_floats(shard.pictures[3:4, :, ::-1], CPU)).latents
    # half precision keeps 11 bits
    np.testing.assert_allclose(values[3, 1], mirrored[0].numpy(), atol=2e-3, rtol=2e-3)


def test_a_stopped_and_resumed_denoiser_equals_an_uninterrupted_one(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "straight")
    together(functools.partial(train_denoiser, stage(tmp_path / "straight", steps=9)), 1, 1)
    together(functools.partial(train_denoiser, stage(folder, steps=9, stop=StopAfter(3))), 1, 1)
    stopped = checkpoint(folder)
    assert stopped["step"] == 4 and stopped["samples"] == 4 * PRESET.batch
    together(functools.partial(train_denoiser, stage(folder, steps=9)), 1, 1)
    resumed, straight = checkpoint(folder), checkpoint(tmp_path / "straight")
    assert resumed["step"] == 9
    assert_same(resumed, straight)


def test_a_stopped_and_resumed_autoencoder_equals_an_uninterrupted_one(trained: Path, tmp_path: Path) -> None:
    def go(name: str, stop: StopSignal) -> None:
        train_autoencoder(TrainingStage(PRESET, trained / "pictures", tmp_path / name, CPU, steps=8, stop=stop))

    go("straight", StopSignal())
    go("resumed", StopAfter(3))
    assert checkpoint(tmp_path / "resumed", "autoencoder.pt")["step"] == 3
    go("resumed", StopSignal())
    names = ("resumed", "straight")
    assert_same(*(checkpoint(tmp_path / name, "autoencoder.pt") for name in names))


def test_a_stopped_and_resumed_decoder_equals_an_uninterrupted_one(trained: Path, tmp_path: Path) -> None:
    def go(name: str, stop: StopSignal) -> None:
        train_decoder(TrainingStage(PRESET, trained / "pictures", tmp_path / name, CPU, steps=8, stop=stop))

    for name in ("straight", "resumed"):
        for part in ("vae", "latents"):
            shutil.copytree(trained / part, tmp_path / name / part)
    go("straight", StopSignal())
    go("resumed", StopAfter(3))
    assert checkpoint(tmp_path / "resumed", "decoder.pt")["step"] == 3
    go("resumed", StopSignal())
    assert_same(*(checkpoint(tmp_path / name, "decoder.pt") for name in ("resumed", "straight")))


def test_the_decoder_learns_and_leaves_encoder_and_latents_as_they_were(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "run")
    folder = tmp_path / "run"
    (folder / "decoder.pt").unlink()
    before, latents = (folder / "vae").rename(tmp_path / "before"), sorted((folder / "latents").glob("*.npy"))
    shutil.copytree(before, folder / "vae")
    written = [path.stat().st_mtime_ns for path in latents]
    recipe("decoder", folder, "--steps", "3")
    recipe("latents", folder)
    assert [path.stat().st_mtime_ns for path in latents] == written
    assert encoder_fingerprint(folder / "vae") == encoder_fingerprint(before)
    assert fingerprint(folder / "vae") != fingerprint(before)


def test_a_finished_budget_is_not_exceeded_and_decay_goes_on_from_it(folder: Path) -> None:
    for budget, step in (({"steps": 4}, 4), ({"steps": 4}, 4), ({"steps": 4, "decay": 3}, 7)):
        together(functools.partial(train_denoiser, stage(folder, **budget)), 1, 1)
        assert checkpoint(folder)["step"] == step


def test_two_workers_average_the_gradients_of_their_halves(folder: Path) -> None:
    together(functools.partial(train_denoiser, stage(folder, steps=1)), 2, 1)
    state = checkpoint(folder)
    assert state["step"] == 1 and state["samples"] == PRESET.batch

    latents, shards = load_latents(folder / "pictures", folder, CPU)
    tokenizer = load_tokenizer(folder / "tokenizer")
    table, alphas = token_table(shards, tokenizer), build_scheduler().alphas_cumprod
    torch.manual_seed(0)
    model = Denoiser(PRESET, tokenizer).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for rank in (0, 1):
        half = draw_batch(latents, table, PRESET.batch // 2, 0, rank)
        # as the training does, to the last digit
        mixed = torch.autocast("cpu", torch.bfloat16, enabled=computes_in_bfloat16(CPU))
        with mixed, sdpa_kernel(SDPBackend.MATH):
            errors = velocity_error(model, half.clean, half.noise, half.timesteps, half.tokens, alphas)
        ((errors * loss_weights(half.timesteps, alphas)).mean() / 2).backward()
    parameters = list(model.parameters())
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    moments = state["optimizer"]["state"]  # type: ignore[index]
    for number, parameter in enumerate(parameters):
        # beta is 0.9: after one step the first moment is a tenth of the gradient
        assert parameter.grad is not None
        torch.testing.assert_close(moments[number]["exp_avg"], 0.1 * parameter.grad, atol=1e-6, rtol=1e-3)


def test_sigterm_saves_and_leaves(folder: Path) -> None:
    command = [sys.executable, "-m", "studio.painter.train", "denoiser", "--out", str(folder)]
    process = subprocess.Popen(
        [*command, "--preset", "smoke", "--seconds", "600"], env={**os.environ, "PYTHONPATH": str(Path.cwd())}
    )
    try:
        deadline = time.monotonic() + 240
        while not (folder / "denoiser.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
    finally:
        process.kill()
    assert checkpoint(folder)["step"] > 0
    last = json.loads((folder / "denoiser.jsonl").read_text().splitlines()[-1])
    assert last["stopped"] is True


@pytest.mark.parametrize("name", ["latents", "denoiser", "export"])
def test_a_stage_without_its_input_says_which_stage_comes_first(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main([name, "--out", str(tmp_path), "--preset", "smoke", "--steps", "1"]) == 1
    assert "python -m studio.painter.train" in capsys.readouterr().err


def test_a_stage_without_a_budget_asks_for_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train.main(["denoiser", "--out", str(tmp_path)]) == 1
    assert "--seconds" in capsys.readouterr().err


def test_grid_and_scores_come_from_the_exported_folder(trained: Path, tmp_path: Path) -> None:
    from PIL import Image

    from studio.painter import score

    assert train.main(["grid", "--model", str(trained / "painter"), "--out", str(tmp_path / "grid.png"),
                       "--preset", "smoke"]) == 0  # fmt: skip
    with Image.open(tmp_path / "grid.png") as sheet:
        assert sheet.width >= 6 * PRESET.picture and sheet.height >= 4 * PRESET.picture

    asked = ["--model", str(trained / "painter"), "--out", str(tmp_path / "scores.json")]
    asked += ["--data", str(trained / "pictures"), "--workers", "1"]
    asked += ["--count", "12", "--unseen", "6", "--steps", "2"]
    assert score.main(asked) == 0
    first = json.loads((tmp_path / "scores.json").read_text())
    generated = sorted((tmp_path / "scores").rglob("generated-*/*.npy"))
    before = [path.stat().st_mtime_ns for path in generated]
    assert score.main(asked) == 0
    second = json.loads((tmp_path / "scores.json").read_text())
    assert [path.stat().st_mtime_ns for path in generated] == before
    assert {**first, "seconds": 0} == {**second, "seconds": 0}
    assert first["frechet"]["generated to rendered"] > first["frechet"]["rendered to rendered"] > 0
    assert set(first["adherence"]["held-out triples"]["rendered"]) == {
        "terrain", "time", "style", "all three", "pictures",
    }  # fmt: skip
