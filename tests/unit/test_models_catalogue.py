"""Names of models: what a person may say, what they get for it, and what a stranger's text may not reach."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_models import save_settings, save_single_file, save_tiny

from studio.errors import ModelNotFound, UnsafeModel
from studio.models import catalogue
from studio.models.catalogue import ModelCard, find, named, names
from studio.requests import GUIDANCE_RANGE, SIDE_RANGE, SIZE_MULTIPLE, SOLVERS, STEPS_RANGE


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny("sd", tmp_path_factory.mktemp("models") / "lake")


def hub_cards() -> list[ModelCard]:
    return [find(name) for name in names() if name != "painter"]


@pytest.mark.parametrize("card", hub_cards(), ids=lambda card: card.name)
def test_settings_of_a_card_make_a_valid_request(card: ModelCard) -> None:
    assert card.solver in SOLVERS
    assert STEPS_RANGE[0] <= card.num_inference_steps <= STEPS_RANGE[1]
    assert GUIDANCE_RANGE[0] <= card.guidance_scale <= GUIDANCE_RANGE[1]
    for side in (card.width, card.height, card.max_side):
        assert side % SIZE_MULTIPLE == 0
        assert SIDE_RANGE[0] <= side <= SIDE_RANGE[1]
    assert card.title and card.licence and card.blurb


def test_painter_stands_first() -> None:
    assert names()[0] == "painter"


def test_folder_gives_a_card_from_its_configuration(lake: Path) -> None:
    card = find(str(lake))
    assert (card.title, card.source, card.width, card.height) == ("lake", lake, 64, 64)
    assert card.solver == "DPM++ 2M"


@pytest.mark.parametrize(
    ("family", "side", "steps", "guidance", "solver"),
    [
        ("painter", 64, 25, 7.0, "DPM++ 2M"),
        ("sdxl", 64, 30, 6.0, "DPM++ 2M"),
        ("sd3", 64, 28, 4.5, "Euler"),
        ("flux", 1024, 28, 3.5, "Euler"),
        ("flux-schnell", 1024, 4, 0.0, "Euler"),
        ("pixart", 256, 20, 4.5, "DPM++ 2M"),
    ],
)
def test_settings_suit_the_family(
    family: str, side: int, steps: int, guidance: float, solver: str, tmp_path: Path
) -> None:
    card = find(str(save_settings(tmp_path / "model", family)))
    assert (card.width, card.num_inference_steps, card.guidance_scale, card.solver) == (side, steps, guidance, solver)


def test_latent_consistency_model_is_known_by_its_scheduler(tmp_path: Path) -> None:
    folder = save_settings(tmp_path / "fast")
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps({"_class_name": "LCMScheduler"}))
    card = find(str(folder))
    assert (card.solver, card.num_inference_steps) == ("LCM", 4)


@pytest.mark.parametrize("sample_size", [None, 0, -8, True, 10**9, "64", [64, 64], 7.5])
def test_odd_native_size_falls_back_to_the_familys(sample_size: object, tmp_path: Path) -> None:
    folder = save_settings(tmp_path / "odd")
    config = json.loads((folder / "unet" / "config.json").read_text())
    (folder / "unet" / "config.json").write_text(json.dumps({**config, "sample_size": sample_size}))
    assert find(str(folder)).width == 512


def test_single_file_takes_its_card_from_the_settings_beside_it(tmp_path: Path) -> None:
    save_single_file(tmp_path / "lake.safetensors")
    save_settings(tmp_path / "lake")
    card = find(str(tmp_path / "lake.safetensors"))
    assert (card.title, card.width) == ("lake", 64)
    assert card.source == tmp_path / "lake.safetensors"


def test_single_file_alone_is_known_by_its_tensors(tmp_path: Path) -> None:
    save_single_file(tmp_path / "lake.safetensors")
    card = find(str(tmp_path / "lake.safetensors"))
    assert (card.width, card.num_inference_steps, card.solver) == (512, 25, "DPM++ 2M")


def test_hub_id_is_taken_at_its_word_without_asking_the_hub() -> None:
    card = find("someone/model")
    assert card.source == "someone/model"


@pytest.mark.parametrize(
    "name", ["dragon", "a/b/c", "../model", "-x/model", "a/..", "http://host/model", "a b/c", "x" * 500]
)
def test_unknown_name_lists_the_known(name: str) -> None:
    with pytest.raises(ModelNotFound) as refusal:
        find(name)
    assert all(known in str(refusal.value) for known in names())
    assert len(str(refusal.value)) < 500


@pytest.mark.parametrize("name", ["", "   ", "pain\0ter", "/tmp\0/x", "a\nb", "\x1b[2J", "\u202e"])
def test_name_with_unprintable_characters_is_not_a_name(name: str) -> None:
    with pytest.raises(ModelNotFound, match="is no name of a model") as refusal:
        find(name)
    assert str(refusal.value).isprintable()


def test_folder_that_is_no_model_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="is a folder, but no model"):
        find(str(tmp_path))


def test_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"There is no file `lake\.safetensors`"):
        find(str(tmp_path / "lake.safetensors"))


@pytest.mark.parametrize("suffix", [".ckpt", ".pt", ".bin", ".pkl"])
def test_pickle_is_refused_by_name(suffix: str, tmp_path: Path) -> None:
    with pytest.raises(UnsafeModel, match="can run code"):
        find(str(tmp_path / f"lake{suffix}"))


def test_other_file_is_refused_as_no_safetensors_file(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("just some notes about lakes")
    with pytest.raises(UnsafeModel, match="no safetensors file"):
        find(str(tmp_path / "notes.txt"))


@pytest.mark.parametrize(
    "name", ["/etc", ".", "..", "~", "someone/model", "lake", "C:\\models", "%2e%2e/x", "file:///etc"]
)
def test_strangers_name_reaches_no_file_and_no_hub(name: str, lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(lake.parent)  # where a folder `lake` is

    def touched(*args: object) -> None:
        raise AssertionError("a path was looked at")

    monkeypatch.setattr(catalogue, "find", touched)
    with pytest.raises(ModelNotFound, match="is not a model of this studio"):
        named(name)


def test_strangers_name_may_be_of_the_catalogue_or_what_the_studio_was_started_with(lake: Path) -> None:
    assert named("sdxl") == find("sdxl")
    assert named(str(lake), also=str(lake)).source == lake
    with pytest.raises(ModelNotFound):
        named(str(lake))


def test_missing_painter_says_where_it_should_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(catalogue, "asset", lambda *parts: tmp_path.joinpath(*parts))
    with pytest.raises(ModelNotFound, match=r"The bundled painter is not where it should be \(.*painter\)"):
        find("painter")


def test_painters_card_comes_from_its_own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    save_settings(tmp_path / "models" / "painter", "painter")
    monkeypatch.setattr(catalogue, "asset", lambda *parts: tmp_path.joinpath(*parts))
    card = find("painter")
    assert (card.name, card.title, card.width, card.licence) == ("painter", "Painter", 64, "Apache-2.0")


def test_cards_are_read_without_the_heavy_libraries(lake: Path) -> None:
    """The page is served from cards alone, while torch and diffusers are still being imported."""
    code = (
        "import sys; from studio.models.catalogue import find; "
        f"find('sdxl'); find({str(lake)!r}); "
        "print(sorted({'torch', 'diffusers', 'transformers', 'huggingface_hub'} & sys.modules.keys()))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
