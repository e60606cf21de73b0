"""A model's folder: what is missing is named, and what could do harm is refused with nothing loaded."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny_models import save_tiny

from studio.errors import ModelNotFound, UnsafeModel
from studio.models.safety import INDEX, check_classes, check_configuration, check_folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny("sd", tmp_path_factory.mktemp("models") / "lake")


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy of a sound model that a test may spoil."""
    return Path(shutil.copytree(saved, tmp_path / "lake"))


def rewrite(path: Path, **changes: Any) -> None:
    """Changes entries of a JSON file; None as a value of `remove` drops that key."""
    value = json.loads(path.read_text())
    value.update(changes)
    path.write_text(json.dumps(value))


def test_sound_folder_passes(folder: Path) -> None:
    model = check_folder(folder)
    check_classes(model)
    assert model.pipeline == "StableDiffusionPipeline"
    assert {c.name for c in model.components} == {"scheduler", "text_encoder", "tokenizer", "unet", "vae"}
    assert {w.path.parent.name for w in model.weights} == {"text_encoder", "unet", "vae"}
    assert model.variant is None
    assert model.parameters > 10_000


def test_folder_without_an_index_says_what_a_model_looks_like(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"is a folder, but no model: it has no model_index\.json"):
        check_folder(tmp_path)


@pytest.mark.parametrize("part", ["unet", "tokenizer", "scheduler"])
def test_missing_part_is_named(part: str, folder: Path) -> None:
    shutil.rmtree(folder / part)
    with pytest.raises(ModelNotFound, match=f"its folder `{part}` is missing"):
        check_folder(folder)


@pytest.mark.parametrize("index", [b"", b"{", b"[]", b"\xff\xfe", b'{"a":' * 100_000, b"null"])
def test_unreadable_index_is_refused(index: bytes, folder: Path) -> None:
    (folder / INDEX).write_bytes(index)
    with pytest.raises(UnsafeModel, match=r"not readable as JSON|should be a JSON object"):
        check_folder(folder)


def test_gigantic_index_is_not_even_read(folder: Path) -> None:
    with (folder / INDEX).open("r+b") as file:
        file.truncate(2**31)
    with pytest.raises(UnsafeModel, match=r"2\.1 GB large; no configuration is"):
        check_folder(folder)


@pytest.mark.parametrize(
    "name",
    [["my_pipeline", "MyPipeline"], None, 5, "", "os.system", "__import__('os')", "../evil", "a" * 500],
)
def test_pipeline_of_its_own_is_refused(name: Any, folder: Path) -> None:
    rewrite(folder / INDEX, _class_name=name)
    with pytest.raises(UnsafeModel, match=r"a pipeline of its own"):
        check_folder(folder)


@pytest.mark.parametrize("name", ["NoSuchPipeline", "UNet2DConditionModel", "logging", "ConfigMixin"])
def test_class_that_is_no_pipeline_is_refused(name: str, folder: Path) -> None:
    rewrite(folder / INDEX, _class_name=name)
    with pytest.raises(UnsafeModel, match="is no pipeline of diffusers"):
        check_classes(check_folder(folder))


@pytest.mark.parametrize(
    "name",
    [
        "StableDiffusionControlNetInpaintPipeline",
        "AudioLDM2Pipeline",
        "KandinskyV22CombinedPipeline",
        "DDPMPipeline",
        "WanPipeline",
        "StableDiffusionImg2ImgPipeline",
    ],
)
def test_pipeline_that_needs_more_than_words_is_refused(name: str, folder: Path) -> None:
    rewrite(folder / INDEX, _class_name=name)
    with pytest.raises(UnsafeModel, match="does not make pictures from words alone"):
        check_classes(check_folder(folder))


@pytest.mark.parametrize(
    ("library", "name"),
    [
        ("my_code", "Model"),
        ("os", "system"),
        ("builtins", "exec"),
        ("stable_diffusion", "StableDiffusionPipeline"),
        ("diffusers", "DiffusionPipeline"),
        ("diffusers", "NoSuchModel"),
        ("transformers", "AutoModel"),
        ("transformers", "pipeline"),
        ("transformers", "Trainer"),
        ("transformers", "NoSuchModel"),
    ],
)
def test_part_of_another_kind_or_library_is_refused(library: str, name: str, folder: Path) -> None:
    rewrite(folder / INDEX, unet=[library, name])
    with pytest.raises(UnsafeModel, match="is no such part of diffusers or transformers"):
        check_classes(check_folder(folder))


@pytest.mark.parametrize("library", ["../code", "a/b", "a.b", "", "a\0b", "-m"])
def test_library_that_is_no_plain_name_is_refused(library: str, folder: Path) -> None:
    rewrite(folder / INDEX, unet=[library, "UNet2DConditionModel"])
    with pytest.raises(UnsafeModel, match="Only classes of diffusers and transformers are used"):
        check_folder(folder)


@pytest.mark.parametrize(
    "name",
    [
        "../outside",
        "/etc",
        "..",
        ".",
        "a/b",
        "a\\b",
        "C:x",
        "%2e%2e",
        "un\0et",
        "un et",
        "",
        "Ünet",
        "x" * 300,
    ],
)
def test_part_whose_name_could_lead_elsewhere_is_refused(name: str, folder: Path) -> None:
    rewrite(folder / INDEX, **{name: ["diffusers", "UNet2DConditionModel"]})
    with pytest.raises(UnsafeModel, match="which is no plain name"):
        check_folder(folder)


@pytest.mark.parametrize(
    ("file", "key"),
    [
        (INDEX, "trust_remote_code"),
        (INDEX, "custom_pipeline"),
        ("unet/config.json", "auto_map"),
        ("text_encoder/config.json", "auto_map"),
        ("tokenizer/tokenizer_config.json", "auto_map"),
        ("scheduler/scheduler_config.json", "custom_pipelines"),
    ],
)
def test_request_to_run_the_models_own_code_is_refused(file: str, key: str, folder: Path) -> None:
    rewrite(folder / file, **{key: {"AutoModel": "evil.Model"}})
    with pytest.raises(UnsafeModel, match="asks to run code that came with it"):
        check_folder(folder)


def test_folder_link_that_leads_outside_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "unet").rename(tmp_path / "elsewhere")
    (folder / "unet").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafeModel, match="a link that leads out of the model's folder"):
        check_folder(folder)


def test_file_link_that_leads_outside_is_refused(folder: Path, tmp_path: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(tmp_path / "elsewhere.safetensors")
    weights.symlink_to(tmp_path / "elsewhere.safetensors")
    with pytest.raises(UnsafeModel, match="a link that leads out of the model's folder"):
        check_folder(folder)


def test_links_of_the_hubs_cache_are_inside(saved: Path, tmp_path: Path) -> None:
    repository = tmp_path / "models--someone--lake"
    snapshot, blobs = repository / "snapshots" / "0123abc", repository / "blobs"
    blobs.mkdir(parents=True)
    for number, path in enumerate(sorted(p for p in saved.rglob("*") if p.is_file())):
        shutil.copy(path, blobs / str(number))
        link = snapshot / path.relative_to(saved)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blobs / str(number))
    assert check_folder(snapshot).pipeline == "StableDiffusionPipeline"
    (snapshot / INDEX).unlink()
    shutil.copy(saved / INDEX, tmp_path / INDEX)
    (snapshot / INDEX).symlink_to(tmp_path / INDEX)
    with pytest.raises(UnsafeModel, match="leads out"):
        check_folder(snapshot)


def test_model_with_pickled_weights_only_is_refused(folder: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps({}))
    with pytest.raises(UnsafeModel, match=r"`unet/diffusion_pytorch_model\.bin`, a pickle"):
        check_folder(folder)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_part_without_its_weights_is_named(part: str, folder: Path) -> None:
    for weights in (folder / part).glob("*.safetensors"):
        weights.unlink()
    with pytest.raises(ModelNotFound, match=f"its `{part}` has no weights"):
        check_folder(folder)


def test_pickles_beside_safetensors_are_ignored(folder: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps({}))
    assert check_folder(folder).parameters > 0


def test_pickle_named_safetensors_in_a_folder_is_refused(folder: Path) -> None:
    (folder / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(pickle.dumps(list(range(100))))
    with pytest.raises(UnsafeModel, match="but a pickle"):
        check_folder(folder)


def test_half_precision_variant_is_chosen_where_only_it_is_there(tmp_path: Path) -> None:
    model = check_folder(save_tiny("sd", tmp_path / "lake", variant="fp16"))
    assert model.variant == "fp16"
    assert {w.path.name for w in model.weights} == {
        "diffusion_pytorch_model.fp16.safetensors",
        "model.fp16.safetensors",
    }


def test_plain_weights_are_preferred_to_a_variant(folder: Path) -> None:
    plain = folder / "unet" / "diffusion_pytorch_model.safetensors"
    shutil.copy(plain, folder / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    assert check_folder(folder).variant is None


def test_missing_shard_is_named(folder: Path) -> None:
    unet = folder / "unet"
    (unet / "diffusion_pytorch_model.safetensors").rename(unet / "diffusion_pytorch_model-00001-of-00002.safetensors")
    shards = {
        "a": "diffusion_pytorch_model-00001-of-00002.safetensors",
        "b": "diffusion_pytorch_model-00002-of-00002.safetensors",
    }
    (unet / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    with pytest.raises(ModelNotFound, match=r"`diffusion_pytorch_model-00002-of-00002\.safetensors` is missing"):
        check_folder(folder)


@pytest.mark.parametrize(
    "name", ["../../elsewhere.safetensors", "/etc/passwd", "a.bin", "sub/a.safetensors", "..safetensors"]
)
def test_shard_name_that_leads_elsewhere_is_refused(name: str, folder: Path) -> None:
    index = folder / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(UnsafeModel, match=r"which is no plain \.safetensors name"):
        check_folder(folder)


def test_configuration_without_weights_can_be_checked_alone(folder: Path) -> None:
    for weights in folder.rglob("*.safetensors"):
        weights.unlink()
    assert check_configuration(folder).pipeline == "StableDiffusionPipeline"
    with pytest.raises(ModelNotFound, match=r"its `text_encoder` has no weights \(\.safetensors\)"):
        check_folder(folder)


def test_strangers_names_cannot_break_the_line_of_an_error(folder: Path) -> None:
    rewrite(folder / INDEX, **{"\n\x1b[2J" + "x" * 900: ["diffusers", "UNet2DConditionModel"]})
    with pytest.raises(UnsafeModel) as refusal:
        check_folder(folder)
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 300
