"""What the engine does on a graphics card whose memory is short: previews and recordings leave room for the run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import tiny

from studio import engine
from studio.models.preview import LinearPreview
from studio.requests import TextToImage

WORDS = TextToImage("a lake", width=64, height=64, num_inference_steps=4)


@pytest.fixture
def pipe() -> Any:
    """Its autoencoder waits on the CPU: to be called, it would have the denoiser thrown out."""
    pipe = tiny("sd")
    pipe.vae._hf_hook = object()

    def decode(*_: Any, **__: Any) -> Any:
        raise AssertionError("a preview called an autoencoder that waits for its turn")

    pipe.vae.decode = decode
    return pipe


def previewed(pipe: Any, look: LinearPreview | None) -> Any:
    loaded = SimpleNamespace(pipe=pipe, preview=look)
    watcher = engine._Watcher(loaded, WORDS, lambda progress: None, previews=True)
    watcher.newest = torch.ones(1, 4, 8, 8)
    watcher._last_preview = -1e9
    shown = watcher._preview(last=False)
    assert watcher.decode_seconds == 0  # nothing was decoded, so that nothing is known of how long that takes
    return shown


def test_previews_of_a_model_that_is_offloaded_leave_its_denoiser_where_it_is(pipe: Any) -> None:
    weight = torch.zeros(5, 3 * 8 * 8)
    weight[0] = 1.0  # the first channel says how bright it is
    shown = previewed(pipe, LinearPreview(weight, 8))
    assert shown.shape == (64, 64, 3)
    assert np.all(shown == 255)
    assert previewed(pipe, None) is None


@pytest.mark.parametrize(("memory", "limit"), [(8 * 1024**3, 1024**3 // 2), (140 * 1024**3, 2 * 1024**3)])
def test_a_recording_takes_a_small_part_of_a_card(memory: int, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    properties = SimpleNamespace(total_memory=memory)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    assert engine._record_limit(SimpleNamespace(_execution_device=torch.device("cuda", 0))) == limit
    assert engine._record_limit(SimpleNamespace(device=torch.device("cpu"))) == 2 * 1024**3
