"""Models of every family from a folder or a single file: loaded without a network, and refused without harm."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import socket
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import FAMILIES, FLOW_FAMILIES, save_settings, save_single_file, save_tiny

from studio.errors import ModelNotFound, OutOfMemory, StudioError, UnsafeModel
from studio.models import catalogue, memory, single_file
from studio.models.loading import load_pipeline, weights_digest
from studio.models.solvers import FLOW_SOLVERS, make_scheduler, solvers_for
from studio.requests import SOLVERS


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {family: save_tiny(family, folder / family) for family in FAMILIES}


@pytest.fixture(autouse=True)
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every connection and every look-up of a name fails the test, whatever the libraries believe of the network."""
    from huggingface_hub import constants

    def refused(*args: object, **kwargs: object) -> None:
        raise AssertionError(f"a connection was tried: {args[1:]}")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refused)
    for name in ("getaddrinfo", "create_connection", "gethostbyname"):
        monkeypatch.setattr(socket, name, refused)


def paint(pipe: Any, solver: str, steps: int = 2, seed: int = 3) -> np.ndarray[Any, Any]:
    """A 64 px picture (64, 64, 3) in [0, 1]; the pipeline's own scheduler is put back."""
    own = pipe.scheduler
    generator = torch.Generator().manual_seed(seed)
    pipe.scheduler = make_scheduler(solver, own, generator)
    try:
        with torch.inference_mode():
            called = pipe(
                "a red boat",
                num_inference_steps=steps,
                guidance_scale=3.0,
                generator=generator,
                output_type="np",
                width=64,
                height=64,
            )
    finally:
        pipe.scheduler = own
    return np.asarray(called.images[0])


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_loads_without_a_connection_and_paints_with_all_its_solvers(
    family: str, saved: dict[str, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    pipe = load_pipeline(str(saved[family]), device="cpu")
    assert solvers_for(pipe) == (FLOW_SOLVERS if family in FLOW_FAMILIES else SOLVERS)
    for solver in solvers_for(pipe):
        for steps in (1, 3):
            first, again = paint(pipe, solver, steps), paint(pipe, solver, steps)
            assert first.shape == (64, 64, 3)
            assert np.isfinite(first).all()
            assert np.array_equal(first, again), (solver, steps)
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err == ""


def test_weights_arrive_unchanged_in_single_precision(saved: dict[str, Path]) -> None:
    pipe = load_pipeline(str(saved["sd"]), device="cpu")
    stored = load_file(saved["sd"] / "unet" / "diffusion_pytorch_model.safetensors")
    assert pipe.unet.dtype is torch.float32
    assert all(torch.equal(value, stored[name]) for name, value in pipe.unet.state_dict().items())


def test_half_precision_variant_loads_where_only_it_is_there(tmp_path: Path) -> None:
    pipe = load_pipeline(str(save_tiny("sdxl", tmp_path / "half", variant="fp16")), device="cpu")
    assert pipe.unet.dtype is torch.float32


def test_card_path_and_name_lead_to_the_same_model(saved: dict[str, Path]) -> None:
    digests = {weights_digest(source) for source in (saved["sd"], str(saved["sd"]), catalogue.find(str(saved["sd"])))}
    assert len(digests) == 1


def test_digest_follows_the_weights_and_nothing_else(saved: dict[str, Path], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(saved["sd"], tmp_path / "copy"))
    before = weights_digest(copy)
    assert before == weights_digest(saved["sd"])
    assert len(before) == 16
    int(before, 16)
    path = copy / "vae" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    tensors["decoder.conv_in.bias"][0] += 1
    save_file(tensors, path)
    assert weights_digest(copy) != before


def test_broken_weights_are_refused_and_the_next_model_loads(saved: dict[str, Path], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(saved["sd"], tmp_path / "copy"))
    path = copy / "unet" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UnsafeModel, match=r"`diffusion_pytorch_model\.safetensors` ends early"):
        load_pipeline(str(copy), device="cpu")
    assert load_pipeline(str(saved["sd"]), device="cpu") is not None


class _Bomb:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, ("the-pickle-ran",)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_pickle_in_a_folder_never_runs(
    name: str, saved: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    copy = Path(shutil.copytree(saved["sd"], tmp_path / "copy"))
    (copy / "text_encoder" / "model.safetensors").unlink()
    (copy / "text_encoder" / name).write_bytes(pickle.dumps({"w": _Bomb(), "x": [0.5] * 100}))
    with pytest.raises(UnsafeModel, match="a pickle"):
        load_pipeline(str(copy), device="cpu")
    assert not (tmp_path / "the-pickle-ran").exists()


def test_code_in_a_folder_never_runs(saved: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = Path(shutil.copytree(saved["sd"], tmp_path / "copy"))
    for place in ("pipeline.py", "unet/evil.py", "unet/UNet2DConditionModel.py"):
        (copy / place).write_text("import os; os.mkdir('the-code-ran')")
    monkeypatch.chdir(tmp_path)
    load_pipeline(str(copy), device="cpu")
    index = json.loads((copy / "model_index.json").read_text())
    for change in ({"unet": ["evil", "UNet2DConditionModel"]}, {"_class_name": ["pipeline", "Mine"]}):
        (copy / "model_index.json").write_text(json.dumps(index | change))
        with pytest.raises(UnsafeModel):
            load_pipeline(str(copy), device="cpu")
    (copy / "model_index.json").write_text(json.dumps(index))
    (copy / "unet" / "diffusers.py").write_text("import os; os.mkdir('the-code-ran')")
    with pytest.raises(UnsafeModel, match=r"code that came with it \(`unet/diffusers\.py`\)"):
        load_pipeline(str(copy), device="cpu")
    assert not (tmp_path / "the-code-ran").exists()


@pytest.mark.parametrize("part", ["unet", "vae", "scheduler", "tokenizer", "text_encoder"])
@pytest.mark.parametrize("way", ["dropped", "null"])
def test_model_without_an_essential_part_says_which(
    part: str, way: str, saved: dict[str, Path], tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(saved["sd"], tmp_path / "copy"))
    index = json.loads((copy / "model_index.json").read_text())
    if way == "dropped":
        del index[part]
    else:
        index[part] = [None, None]
    (copy / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ModelNotFound, match=f"is not a whole StableDiffusionPipeline: it has no `{part}`"):
        load_pipeline(str(copy), device="cpu")


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("unet/config.json", {"block_out_channels": [7, 9]}),
        ("unet/config.json", {"down_block_types": ["NoSuchBlock"]}),
        ("unet/config.json", {"sample_size": "big"}),
        ("text_encoder/config.json", {"hidden_size": 48}),
        ("scheduler/scheduler_config.json", {"beta_schedule": "no such schedule"}),
        ("vae/config.json", {"latent_channels": -1}),
        ("model_index.json", {"unet": ["diffusers", "DDIMScheduler"]}),
        ("model_index.json", {"unet": ["diffusers", "AutoencoderKL"]}),
        ("model_index.json", {"_class_name": "PixArtSigmaPipeline"}),
    ],
)
def test_model_that_does_not_fit_together_fails_with_words_and_not_with_a_bug(
    file: str, change: dict[str, Any], saved: dict[str, Path], tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(saved["sd"], tmp_path / "copy"))
    config = json.loads((copy / file).read_text())
    (copy / file).write_text(json.dumps(config | change))
    try:
        pipe = load_pipeline(str(copy), device="cpu")
    except StudioError as problem:
        assert str(problem).isprintable()
        assert len(str(problem)) < 500
    else:
        assert np.isfinite(paint(pipe, "Euler")).all()


def test_model_too_large_for_memory_is_refused_before_it_is_read(
    saved: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: memory.RESERVE + 1000)
    with pytest.raises(OutOfMemory, match=r"sd needs .* for its weights"):
        load_pipeline(str(saved["sd"]), device="cpu")


@pytest.mark.parametrize(
    "problem", [MemoryError(), RuntimeError("CUDA error: out of luck\nsecond line"), KeyError("x")]
)
def test_loader_that_raises_is_put_into_words(
    problem: Exception, saved: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import diffusers

    def fail(*args: object, **kwargs: object) -> None:
        raise problem

    monkeypatch.setattr(diffusers.StableDiffusionPipeline, "from_pretrained", fail)
    with pytest.raises(StudioError) as refusal:
        load_pipeline(str(saved["sd"]), device="cpu")
    assert "\n" not in str(refusal.value)
    assert "Choose a" in str(refusal.value)


def test_single_file_loads_with_the_settings_beside_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    original = save_single_file(tmp_path / "lake.safetensors")
    save_settings(tmp_path / "lake")
    capfd.readouterr()
    pipe = load_pipeline(str(tmp_path / "lake.safetensors"), device="cpu")
    for part in ("unet", "vae", "text_encoder"):
        ours, theirs = getattr(pipe, part).state_dict(), getattr(original, part).state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert pipe.safety_checker is None
    assert np.array_equal(paint(pipe, "DPM++ 2M"), paint(original, "DPM++ 2M"))
    printed = capfd.readouterr()
    assert printed.out == printed.err == ""
    assert len(weights_digest(tmp_path / "lake.safetensors")) == 16


def test_settings_beside_a_single_file_are_checked_as_a_folder_is(tmp_path: Path) -> None:
    save_single_file(tmp_path / "lake.safetensors")
    folder = save_settings(tmp_path / "lake")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"unet": ["evil", "Model"]}))
    with pytest.raises(UnsafeModel, match="is no such part"):
        load_pipeline(str(tmp_path / "lake.safetensors"), device="cpu")


def test_single_file_of_the_wrong_shapes_fails_with_words(tmp_path: Path) -> None:
    """It looks like Stable Diffusion 1 by its names, but is a tiny model without its settings."""
    save_single_file(tmp_path / "lake.safetensors")
    with pytest.raises(StudioError, match="lake could not be loaded"):
        load_pipeline(str(tmp_path / "lake.safetensors"), device="cpu")


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"lora_unet_down_blocks_0.lora_down.weight": (4, 4)}, "is a LoRA"),
        ({"transformer.a.lora_A.weight": (4, 4)}, "is a LoRA"),
        ({"double_blocks.0.img_attn.norm.key_norm.scale": (4,)}, "is not a whole Stable Diffusion 1 or XL model"),
        ({"model.diffusion_model.input_blocks.0.0.weight": (320, 9, 3, 3)}, "takes 9 input channels"),
        ({"model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3)}, "has no text encoder"),
        ({"model.diffusion_model.input_blocks.0.0.weight": (320,)}, "takes 0 input channels"),
        (
            {
                "model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3),
                "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight": (77, 768),
            },
            "has no autoencoder",
        ),
    ],
)
def test_single_file_that_is_no_whole_model_says_what_it_is(
    tensors: dict[str, tuple[int, ...]], words: str, tmp_path: Path
) -> None:
    save_file({name: torch.zeros(shape) for name, shape in tensors.items()}, tmp_path / "part.safetensors")
    with pytest.raises(ModelNotFound, match=words):
        catalogue.find(str(tmp_path / "part.safetensors"))


def test_markers_of_fine_tuners_tell_how_a_single_file_was_trained(tmp_path: Path) -> None:
    save_single_file(tmp_path / "v.safetensors", extra=("v_pred", "ztsnr"))
    family = single_file.family_of(tmp_path / "v.safetensors")
    assert (family.prediction_type, family.zero_terminal_snr) == ("v_prediction", True)
    with single_file.configuration(family) as folder:
        config = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    assert (config["prediction_type"], config["rescale_betas_zero_snr"]) == ("v_prediction", True)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("pipeline", "millions"),
    [
        ("StableDiffusionPipeline", {"unet": 859.52, "text_encoder": 123.06, "vae": 83.65}),
        (
            "StableDiffusionXLPipeline",
            {"unet": 2567.46, "text_encoder": 123.06, "text_encoder_2": 694.66, "vae": 83.65},
        ),
    ],
)
def test_settings_for_single_files_build_networks_of_the_published_sizes(
    pipeline: str, millions: dict[str, float]
) -> None:
    import diffusers
    import transformers

    with single_file.configuration(single_file.Family(pipeline)) as folder, torch.device("meta"):
        index = json.loads((folder / "model_index.json").read_text())
        for part, expected in millions.items():
            library, name = index[part]
            if library == "diffusers":
                kind = getattr(diffusers, name)
                network = kind.from_config(kind.load_config(folder / part))
            else:
                kind = getattr(transformers, name)
                network = kind(kind.config_class.from_pretrained(folder / part))
            assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(expected, abs=0.01)


def test_words_become_the_tokens_that_clip_was_trained_on() -> None:
    from transformers import CLIPTokenizer

    with single_file.configuration(single_file.Family("StableDiffusionXLPipeline")) as folder:
        first, second = (CLIPTokenizer.from_pretrained(folder / part) for part in ("tokenizer", "tokenizer_2"))
    assert len(first) == len(second) == 49408
    # numbers as published with CLIP's own examples
    assert first("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert first("A photo of a DOG").input_ids == [49406, 320, 1125, 539, 320, 1929, 49407]
    assert (first.pad_token_id, second.pad_token_id) == (49407, 0)
    assert first.model_max_length == 77


def test_truncated_single_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lake.safetensors"
    save_single_file(path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(UnsafeModel, match="ends early"):
        load_pipeline(str(path), device="cpu")


def test_header_bomb_is_refused_without_using_memory(tmp_path: Path) -> None:
    path = tmp_path / "lake.safetensors"
    path.write_bytes(struct.pack("<Q", 2**40) + b"{" * 64)
    with pytest.raises(UnsafeModel, match="claims a header"):
        load_pipeline(str(path), device="cpu")


@pytest.mark.skipif(sys.platform == "win32", reason="needs links")
def test_bundled_and_linked_folders_may_be_named_through_a_link(saved: dict[str, Path], tmp_path: Path) -> None:
    """The folder itself may be a link that the person made; what is inside may not lead out of it."""
    (tmp_path / "link").symlink_to(saved["sd"])
    assert load_pipeline(str(tmp_path / "link"), device="cpu") is not None
