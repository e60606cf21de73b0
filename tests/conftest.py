"""What several test modules share: a tiny real model on disk, and an engine that holds it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# before torch is imported: waiting threads sleep, and one thread is enough for models of this size
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# nothing that a test loads may come from a network
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

if TYPE_CHECKING:
    from studio.engine import Engine


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Stable Diffusion folder of real classes with small random weights: 64 px, epsilon, a few ms per step."""
    from tiny_models import save_tiny

    return save_tiny("sd", tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def _tiny_engine(tiny_model: Path) -> Engine:
    from studio.engine import Engine

    engine = Engine(str(tiny_model))
    engine.load()
    return engine


@pytest.fixture
def tiny_engine(_tiny_engine: Engine) -> Iterator[Engine]:
    """An engine that holds the tiny model. Tests may break its parts: they are put back afterwards."""
    loaded = _tiny_engine._loaded
    assert loaded is not None
    parts = {name: getattr(loaded.pipe, name) for name in ("unet", "vae", "scheduler", "text_encoder")}
    yield _tiny_engine
    assert _tiny_engine._loaded is loaded, "a test made the shared engine load another model"
    for name, part in parts.items():
        setattr(loaded.pipe, name, part)
