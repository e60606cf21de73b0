"""A run that was saved goes on in another process, to the same bits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import tiny

from studio.diffusion.observe import observe
from studio.diffusion.run_file import load_recording
from studio.errors import StudioError

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")  # the schedulers' own, on numpy 2

STEPS, AT = 6, 3
SOLVERS = {  # with a memory of two, with a corrector, drawing noise; and the tiny model's own
    "DPMSolverMultistepScheduler": {},
    "UniPCMultistepScheduler": {},
    "EulerAncestralDiscreteScheduler": {},
    "SASolverScheduler": {},
    "DDIMScheduler": {},
}
# what the other process does: it knows the folder of the runs, and nothing else of this one
ELSEWHERE = """
import sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
import torch
from safetensors.torch import save_file
sys.path[:0] = sys.argv[2:]
from test_run_file_resume import AT, SOLVERS, paint, pipeline, solver
from studio.diffusion.observe import observe
from studio.diffusion.run_file import load_recording

pipe = pipeline()
folder, ends = Path(sys.argv[1]), {}
torch.manual_seed(99)
for name in SOLVERS:
    solver(pipe, name)
    with observe(pipe, resume=load_recording(folder / f"{name}.safetensors").at(AT)) as run:
        ends[name] = paint(pipe, seed=1234)  # any seed: the generator is put back too
    assert [step.index for step in run.steps] == [3, 4, 5]
save_file(ends, folder / "ends.safetensors")
"""


def pipeline() -> Any:
    pipe = tiny("sd")
    pipe.set_progress_bar_config(disable=True)
    return pipe


def paint(pipe: Any, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return pipe("a lake", num_inference_steps=STEPS, height=64, width=64, generator=generator, output_type="latent")[0]


def solver(pipe: Any, name: str) -> None:
    import diffusers

    pipe.scheduler = getattr(diffusers, name).from_config(pipe.scheduler.config, **SOLVERS[name])


def test_saved_run_goes_on_in_another_process_to_the_same_bits(tmp_path: Path) -> None:
    pipe = pipeline()
    ends = {}
    for name in SOLVERS:
        solver(pipe, name)
        with observe(pipe) as run:
            ends[name] = paint(pipe, seed=5)
        run.save(tmp_path / f"{name}.safetensors")
    here = Path(__file__).resolve()
    paths = [str(here.parents[2]), str(here.parents[1]), str(here.parent)]
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(tmp_path), *paths], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    elsewhere = load_file(tmp_path / "ends.safetensors")
    assert elsewhere.keys() == ends.keys()
    for name, end in ends.items():
        assert torch.equal(elsewhere[name], end), name


def test_loaded_run_is_refused_by_another_model(tmp_path: Path) -> None:
    pipe = pipeline()
    with observe(pipe) as run:
        paint(pipe, seed=5)
    run.save(tmp_path / "lake.safetensors")
    loaded = load_recording(tmp_path / "lake.safetensors")
    other = tiny("sd", seed=1)
    with pytest.raises(StudioError, match="another model"), observe(other, resume=loaded.at(AT)):
        pass
