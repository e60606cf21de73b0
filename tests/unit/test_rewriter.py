"""Richer words from a real, tiny language model; and folders that are never loaded."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest
from tiny_poet import save_poet

from studio.__main__ import main
from studio.errors import ModelNotFound, StudioError, UnsafeModel
from studio.models.rewriter import Rewriter, tidied
from studio.settings import Settings

CHAT = "{% for m in messages %}{{ m['content'] }}{% endfor %} Answer:"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_poet(tmp_path_factory.mktemp("words") / "poet")


def test_a_real_model_proposes_the_same_words_every_time(folder: Path) -> None:
    rewriter = Rewriter(folder)
    words = rewriter.rewrite("a lake")
    assert rewriter.name == "poet"
    assert words
    assert words.isprintable()
    assert Rewriter(folder).rewrite("a lake") == words
    assert rewriter.rewrite("a castle at night in the rain") != "a castle at night in the rain"


def test_the_command_line_hands_the_folder_on(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Settings] = []
    monkeypatch.setitem(sys.modules, "studio.web.server", types.SimpleNamespace(serve=seen.append))
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    assert main(["serve", "--rewriter", str(folder), "--data", str(tmp_path), "--no-browser"]) == 0
    assert main(["serve", "--data", str(tmp_path), "--no-browser"]) == 0
    assert [settings.rewriter for settings in seen] == [folder, None]


@pytest.mark.parametrize(("prompt", "words"), [(" ", "a few words first"), ("a" * 500, "too many")])
def test_what_it_cannot_rewrite_is_said(folder: Path, prompt: str, words: str) -> None:
    with pytest.raises(StudioError, match=words):
        Rewriter(folder).rewrite(prompt)


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("config.json", '{"model_type": "x", "auto_map": {"AutoModelForCausalLM": "own.Model"}}', UnsafeModel),
        ("tokenizer_config.json", '{"auto_map": {"AutoTokenizer": ["own.Tokens", null]}}', UnsafeModel),
        ("modeling_own.py", "import os", UnsafeModel),
        ("config.json", "{", UnsafeModel),
        ("model.safetensors", "no weights at all", UnsafeModel),
    ],
)
def test_unsafe_folders_are_refused_before_anything_is_loaded(
    folder: Path, tmp_path: Path, name: str, content: str, error: type[Exception]
) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / name).write_text(content)
    with pytest.raises(error):
        Rewriter(tmp_path)


def test_pickles_links_and_empty_folders_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"config\.json"):
        Rewriter(tmp_path)
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    with pytest.raises(ModelNotFound, match="no weights"):
        Rewriter(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(UnsafeModel, match="pickle"):
        Rewriter(tmp_path)
    (tmp_path / "pytorch_model.bin").unlink()
    (tmp_path / "model.safetensors").symlink_to(folder / "model.safetensors")
    with pytest.raises(UnsafeModel, match="link"):
        Rewriter(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (' "A wide lake.\x00"\n\nNote: mine', "A wide lake."),
        ("Rich:  a\tb\n", "a b"),
        ("\n\n", ""),
        ("x" * 9000, "x" * 4000),
    ],
)
def test_answers_are_tidied(text: str, words: str) -> None:
    assert tidied(text) == words
