"""A recorded run becomes one file and comes back with every bit, number and shared tensor."""

from __future__ import annotations

import dataclasses
import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from studio.diffusion.layout import PLANE, Packed
from studio.diffusion.recording import Moment, Recording, RunFacts
from studio.diffusion.run_file import load_recording, save_recording
from studio.diffusion.steps import Step
from studio.errors import StudioError

STEPS = 3


def recording(dtype: torch.dtype = torch.float32, **memory: Any) -> Recording:
    """A run of three steps as the seam records it: a step's leaving sample is the next one's entering sample."""
    draws = torch.Generator().manual_seed(7)
    states = torch.Generator().manual_seed(1)
    samples = [torch.randn(1, 4, 6, 5, generator=draws).to(dtype) for _ in range(STEPS + 1)]
    clean = [torch.randn(1, 4, 6, 5, generator=draws).to(dtype) for _ in range(STEPS)]
    steps, moments = [], []
    for i in range(STEPS):
        steps.append(
            Step(
                index=i,
                total=STEPS,
                order=1,
                timestep=999.0 - 333 * i,
                sigma=14.6 / (i + 1),
                x=samples[i],
                denoised=clean[i],
                x_next=samples[i + 1],
                signal=0.1 * (i + 1),
                noise=math.sqrt(1 - (0.1 * (i + 1)) ** 2),
                signal_next=1.0,
                noise_next=0.0,
                final=i + 1 == STEPS,
            )
        )
        moments.append(
            Moment(
                x=samples[i],
                memory={"model_outputs": [None, clean[i - 1] if i else None], "_step_index": i, **memory},
                torch_state=torch.Generator().manual_seed(5).get_state(),
                generator_states=(states.get_state(),),
            )
        )
        torch.randn(3, generator=states)
    facts = RunFacts(
        pipeline="StableDiffusionPipeline",
        scheduler="DPMSolverMultistepScheduler",
        scheduler_config={"beta_start": 0.00085, "prediction_type": "epsilon", "trained_betas": None, "list": [1, 2]},
        total=STEPS,
        order=1,
        begin_index=0,
        timesteps=(999.0, 666.0, 333.0),
        levels=((0.0, math.inf), (0.5, 0.8), None),
        fingerprint="ab" * 16,
    )
    return Recording(tuple(steps), tuple(moments), facts)


def bits(tensor: Tensor) -> Tensor:
    return tensor.reshape(-1).view(torch.uint8)  # NaN equals itself here, and 0 does not equal -0


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def assert_equal(ours: object, theirs: object) -> None:
    """Equal in every field, tensors in every bit; numbers also in their kind."""
    assert type(ours) is type(theirs)
    if isinstance(ours, Tensor):
        assert isinstance(theirs, Tensor)
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        assert torch.equal(bits(ours), bits(theirs))
    elif isinstance(ours, list | tuple):
        assert isinstance(theirs, list | tuple)
        assert len(ours) == len(theirs)
        for mine, other in zip(ours, theirs, strict=True):
            assert_equal(mine, other)
    elif isinstance(ours, Mapping):
        assert isinstance(theirs, Mapping)
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert_equal(ours[key], theirs[key])
    elif dataclasses.is_dataclass(ours) and not isinstance(ours, type):
        for field in dataclasses.fields(ours):
            assert_equal(getattr(ours, field.name), getattr(theirs, field.name))
    else:
        assert ours == theirs or (ours != ours and theirs != theirs)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_loaded_recording_equals_the_saved_one(dtype: torch.dtype, tmp_path: Path) -> None:
    made = recording(dtype)
    save_recording(made, tmp_path / "lake.safetensors")
    assert_equal(load_recording(tmp_path / "lake.safetensors"), made)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        -(2**63),
        0.1,
        1e-320,
        math.inf,
        -math.inf,
        math.nan,
        "midpoint",
        [],
        [None, [1, (2.5, None)]],
        (torch.tensor(3), torch.tensor([[True, False]])),
        np.float64(0.1),
        np.float32(0.1),
        np.int64(7),
        torch.zeros(0, 4),
        torch.tensor(0.5, dtype=torch.bfloat16),
        torch.arange(6).reshape(2, 3).T,
    ],
    ids=repr,
)
def test_memory_of_a_solver_keeps_its_values_and_their_kinds(value: object, tmp_path: Path) -> None:
    made = recording(kept=value)
    save_recording(made, tmp_path / "lake.safetensors")
    assert_equal(load_recording(tmp_path / "lake.safetensors").moments[0].memory["kept"], value)


def test_tensors_that_steps_share_are_stored_once_and_shared_again(tmp_path: Path) -> None:
    path = tmp_path / "lake.safetensors"
    save_recording(recording(), path)
    loaded = load_recording(path)
    for before, after, moment in zip(loaded.steps[:-1], loaded.steps[1:], loaded.moments[1:], strict=True):
        assert after.x is before.x_next
        assert moment.x is after.x
        assert moment.memory["model_outputs"][1] is before.denoised
    with safe_open(path, framework="pt") as file:
        names = set(file.keys())
    latents = {name for name in names if name.startswith(("x.", "denoised.", "x_next.", "memory.", "entering."))}
    assert latents == {*(f"x.{i:05}" for i in range(3)), *(f"denoised.{i:05}" for i in range(3)), "x_next.00002"}
    assert {name for name in names if name.startswith("torch_state")} == {"torch_state.00000"}  # it never moved


def test_file_is_a_safetensors_file_that_other_programs_read(tmp_path: Path) -> None:
    made = recording(torch.bfloat16)
    save_recording(made, tmp_path / "lake.safetensors")
    tensors = load_file(tmp_path / "lake.safetensors")
    assert torch.equal(tensors["x.00001"], made.steps[1].x)
    begin = struct.unpack("<Q", (tmp_path / "lake.safetensors").read_bytes()[:8])[0]
    assert begin % 8 == 0  # the data begin aligned


def test_view_into_other_latents_is_stored_alone(tmp_path: Path) -> None:
    wide = torch.randn(1, 8, 6, 5)
    made = recording(half=wide[:, :4])
    save_recording(made, tmp_path / "lake.safetensors")
    loaded = load_recording(tmp_path / "lake.safetensors")
    assert_equal(loaded.moments[2].memory["half"], wide[:, :4])
    assert loaded.moments[0].memory["half"].untyped_storage().nbytes() == 4 * 4 * 6 * 5


def test_packed_layout_comes_back(tmp_path: Path) -> None:
    made = recording()
    layout = Packed(8, 6)
    tokens = [torch.randn(1, 12, 16) for _ in range(STEPS + 1)]
    steps = [
        dataclasses.replace(step, x=tokens[i], denoised=None, x_next=tokens[i + 1], layout=layout)
        for i, step in enumerate(made.steps)
    ]
    moments = [dataclasses.replace(moment, x=tokens[i], memory={}) for i, moment in enumerate(made.moments)]
    made = Recording(tuple(steps), tuple(moments), dataclasses.replace(made.facts, layout=layout))
    save_recording(made, tmp_path / "lake.safetensors")
    loaded = load_recording(tmp_path / "lake.safetensors")
    assert_equal(loaded, made)
    assert loaded.steps[1].layout == layout


def test_run_of_several_passes_is_kept_to_be_looked_at(tmp_path: Path) -> None:
    made = recording()
    twice = Recording(
        made.steps * 2,
        made.moments * 2,
        dataclasses.replace(made.facts, obstacle="it goes through its timesteps twice."),
    )
    save_recording(twice, tmp_path / "lake.safetensors")
    assert_equal(load_recording(tmp_path / "lake.safetensors"), twice)


@pytest.mark.parametrize("of", ["run", "moment"])
def test_why_a_strangers_run_cannot_be_resumed_is_told_in_one_printable_line(tmp_path: Path, of: str) -> None:
    made = recording()
    why = "\x00\x1b[31m\n" + "its loop"
    if of == "run":
        odd = dataclasses.replace(made, facts=dataclasses.replace(made.facts, obstacle=why))
    else:
        odd = dataclasses.replace(
            made, moments=tuple(dataclasses.replace(each, obstacle=why) for each in made.moments)
        )
    save_recording(odd, tmp_path / "lake.safetensors")
    with pytest.raises(StudioError, match="cannot be resumed exactly") as refused:
        load_recording(tmp_path / "lake.safetensors").at(1)
    assert str(refused.value).isprintable()


def test_run_that_begins_in_the_middle_is_kept(tmp_path: Path) -> None:
    made = recording()
    branch = Recording(made.steps[1:], made.moments[1:], made.facts)
    save_recording(branch, tmp_path / "lake.safetensors")
    loaded = load_recording(tmp_path / "lake.safetensors")
    assert_equal(loaded, branch)
    assert loaded.at(2).step.index == 2


def test_path_of_a_brownian_solver_is_left_out_and_the_run_says_so(tmp_path: Path) -> None:
    made = recording(noise_sampler=object())
    save_recording(made, tmp_path / "lake.safetensors")
    loaded = load_recording(tmp_path / "lake.safetensors")
    assert_equal(loaded.steps, made.steps)
    assert "noise_sampler" not in loaded.moments[1].memory
    with pytest.raises(StudioError, match=r"cannot be resumed exactly: its solver draws noise along a path"):
        loaded.at(1)


def test_saving_replaces_what_was_there_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "lake.safetensors"
    path.write_bytes(b"an older file")
    save_recording(recording(), path)
    assert load_recording(path).facts.total == STEPS
    assert files(tmp_path) == ["lake.safetensors"]


def test_disk_that_fills_up_leaves_the_older_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lake.safetensors"
    path.write_bytes(b"an older file")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StudioError, match=r"could not be written to .*lake\.safetensors: No space left on device"):
        save_recording(recording(), path)
    assert path.read_bytes() == b"an older file"
    assert files(tmp_path) == ["lake.safetensors"]


def test_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(StudioError, match=r"could not be written to .*nowhere"):
        save_recording(recording(), tmp_path / "nowhere" / "lake.safetensors")


def test_run_without_steps_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(StudioError, match=r"cannot be saved: nothing is recorded in it"):
        save_recording(Recording((), (), recording().facts), tmp_path / "lake.safetensors")
    assert files(tmp_path) == []


def test_saving_a_loaded_recording_gives_the_same_bytes(tmp_path: Path) -> None:
    save_recording(recording(kept=[None, torch.ones(2), (1, 2.0)]), tmp_path / "a.safetensors")
    save_recording(load_recording(tmp_path / "a.safetensors"), tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_sdxl_shaped_run_of_30_steps_takes_under_16_mib(tmp_path: Path) -> None:
    total = 30
    samples = [torch.randn(1, 4, 128, 128) for _ in range(total + 1)]
    clean = [torch.randn(1, 4, 128, 128) for _ in range(total)]
    base = recording()
    steps = tuple(
        dataclasses.replace(
            base.steps[0], index=i, total=total, x=samples[i], denoised=clean[i], x_next=samples[i + 1]
        )
        for i in range(total)
    )
    moments = tuple(
        dataclasses.replace(base.moments[0], x=samples[i], memory={"model_outputs": clean[max(i - 2, 0) : i]})
        for i in range(total)
    )
    made = Recording(steps, moments, dataclasses.replace(base.facts, total=total, layout=PLANE))
    save_recording(made, tmp_path / "lake.safetensors")
    size = (tmp_path / "lake.safetensors").stat().st_size
    # 61 latents of 256 KiB, two states of random generators and the description
    assert 61 * 2**18 < size < 61 * 2**18 + 2**17 < 16 * 2**20
