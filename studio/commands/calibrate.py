"""`calibrate`: measures how far a model's runs drift from its training, and finds the correction that undoes it."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio import __version__
from studio.commands.generate import find_solver, integer, read_size
from studio.errors import InvalidRequest, StudioError
from studio.models import catalogue
from studio.requests import SOLVERS, TextToImage
from studio.whole_file import write_whole

if TYPE_CHECKING:
    from studio.diffusion.calibration import Calibration, Gap
    from studio.models.batches import Batches

SAMPLES_RANGE = (4, 10_000)
BATCH_RANGE = (1, 64)
PROMPTS_LIMIT = 10_000
PROMPTS_BYTES = 4_000_000
# for models that are not the bundled one: ordinary pictures of many kinds
PROMPTS = (
    "a photograph of a mountain lake at sunrise",
    "a portrait of an old fisherman, soft window light",
    "a bowl of oranges on a wooden table, still life",
    "a narrow street in an old town after the rain",
    "a cat asleep on a stack of books",
    "a lighthouse on a cliff in a storm, oil painting",
    "a field of poppies under a blue sky, watercolor",
    "a steam train crossing a stone bridge in autumn",
    "a close-up of a bee on a lavender flower",
    "the interior of a library with tall windows",
    "a snowy forest at night with stars",
    "a red bicycle leaning against a white wall",
    "a market stall full of vegetables",
    "a castle on a hill, flat vector illustration",
    "a sailing boat on a calm sea at dusk",
    "a city skyline at night with lit windows",
)


def add_to(commands: Any) -> None:
    parser = commands.add_parser(
        "calibrate", help="find the correction that suits a model, by measuring", allow_abbrev=False
    )
    parser.add_argument("--model", default="painter", metavar="NAME|FOLDER|FILE|ID", help="default: painter")
    parser.add_argument("--prompts", type=Path, default=None, metavar="FILE", help="one prompt per line (UTF-8)")
    parser.add_argument("--steps", type=integer, default=None, help="denoising steps (default: the model's own)")
    parser.add_argument("--solver", default=None, help=f"one of: {', '.join(SOLVERS)}")
    parser.add_argument("--guidance", type=float, default=None, help="0 loose to 30 to the word")
    parser.add_argument("--size", default=None, metavar="WxH", help="pixels (default: the model's own)")
    parser.add_argument(
        "--samples", type=integer, default=64, help="pictures to search on, and as many to check on (default 64)"
    )
    parser.add_argument("--batch", type=integer, default=8, help="pictures at once (default 8)")
    parser.add_argument("--seed", type=integer, default=0, help="seed of the first picture (default 0)")
    parser.add_argument("--wavelet", default="haar", help="an orthogonal wavelet (default haar)")
    parser.add_argument("--levels", type=integer, default=1, help="1 to 5 wavelet levels (default 1)")
    parser.add_argument(
        "--out", type=Path, default=None, metavar="FILE.json", help="default: where the studio finds it for the model"
    )
    parser.add_argument("--plot", type=Path, default=None, metavar="FILE.png", help="draw the gap, before and after")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    request = _request(options)
    prompts = _prompts(options.prompts, options.model)
    for file in (options.out, options.plot):
        if file is not None and file.is_dir():
            raise InvalidRequest(f"{file} is a folder. Name a file in it.", "out")

    from studio.diffusion.gap import Meter
    from studio.diffusion.search import calibrate, passes
    from studio.models import presets

    batches = _batches(request, prompts)
    progress = _Progress(passes(options.levels) * options.samples)
    meter = Meter(
        batches.pipe,
        batches,
        batch=options.batch,
        wavelet=options.wavelet,
        levels=options.levels,
        on_batch=progress.add,
    )
    facts = _facts(request, len(prompts))
    samples = range(2 * options.samples)
    try:
        found = calibrate(meter, samples[: options.samples], samples[options.samples :], facts, progress.tell)
    finally:
        progress.close()
    if options.plot is not None:
        write_whole(options.plot, draw(found))
    if options.out is None:
        kept = presets.keep(found, options.model)
    else:
        kept = options.out
        presets.write_text(kept, json.dumps(found.to_dict(), indent=1, ensure_ascii=False) + "\n")
    _tell(found)
    print(kept)
    return 0


def draw(found: Calibration) -> bytes:
    """PNG of the gap before and, if strengths were tried, after."""
    from studio.imaging.gap_plot import Curve, Panel, gap_plot

    def curve(name: str, gap: Gap, band: int) -> Curve:
        return Curve(name, [row[band] for row in gap.mean], [row[band] for row in gap.error])

    panels = []
    for band in range(found.levels + 1):
        curves = [curve("before", found.before, band)]
        if found.after is not None:
            name = "corrected" if found.strengths is not None else "tried, not confirmed"
            curves.append(curve(name, found.after, band))
        panels.append(Panel(_band_name(band, found.levels), curves))
    title = f"{found.facts.get('model', 'Model')}: {found.solver}, {found.num_inference_steps} steps"
    return gap_plot(title, found.before.noise_levels, panels, "gap, 1 = white noise")


def _request(options: argparse.Namespace) -> TextToImage:
    """What every picture is painted with. Raises StudioError for options that cannot be used, before time is spent."""
    from studio.diffusion.strengths import check_levels, check_wavelet

    for name, (low, high) in (("samples", SAMPLES_RANGE), ("batch", BATCH_RANGE)):
        if not low <= getattr(options, name) <= high:
            raise InvalidRequest(f"--{name} runs from {low} to {high}, not {getattr(options, name)}.", name)
    check_levels(options.levels)
    check_wavelet(options.wavelet)
    card = catalogue.find(options.model)
    width, height = (card.width, card.height) if options.size is None else read_size(options.size)
    request = TextToImage(
        width=width,
        height=height,
        num_inference_steps=card.num_inference_steps if options.steps is None else options.steps,
        guidance_scale=card.guidance_scale if options.guidance is None else options.guidance,
        solver=card.solver if options.solver is None else find_solver(options.solver),
        seed=options.seed,
        model=options.model,
    )
    if request.num_inference_steps < 2:
        raise InvalidRequest("A gap needs 2 steps or more: the first one starts from pure noise.", "steps")
    return request


def _prompts(file: Path | None, model: str) -> list[str]:
    """One prompt per line of a file that is not blank; without a file, what suits the model."""
    if file is None:
        if model == catalogue.PAINTER:
            from studio.painter.prompts import true_captions

            return true_captions(256)
        return list(PROMPTS)
    try:
        if file.stat().st_size > PROMPTS_BYTES:
            raise StudioError(f"{file} is too long for a list of prompts ({PROMPTS_BYTES:,} bytes are read).")
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "it is not UTF-8 text"
        raise StudioError(f"The prompts in {file} cannot be read: {reason}.") from problem
    prompts = [TextToImage(prompt=line).prompt for line in lines if line][:PROMPTS_LIMIT]
    if not prompts:
        raise StudioError(f"{file} holds no prompts. Write one on each line.")
    return prompts


def _facts(request: TextToImage, prompts: int) -> dict[str, str | int | float]:
    """What the calibration holds for, and what it was made with."""
    from studio.models import loading

    return {
        "model": catalogue.find(request.model).title,
        "weights": loading.weights_digest(request.model),
        "solver": request.solver,
        "num_inference_steps": request.num_inference_steps,
        "guidance_scale": request.guidance_scale,
        "width": request.width,
        "height": request.height,
        "prompts": prompts,
        "seed": request.seed,
        "wavebrush": __version__,
        "torch": version("torch"),
        "diffusers": version("diffusers"),
        "machine": platform.machine(),
    }


def _batches(request: TextToImage, prompts: list[str]) -> Batches:
    from studio.models import loading, memory
    from studio.models.batches import Batches

    memory.settle_threads()
    pipe = loading.load_pipeline(request.model)
    memory.check_fits(pipe, request.width, request.height)
    batches = Batches(
        pipe,
        pipe.scheduler,
        prompts,
        width=request.width,
        height=request.height,
        num_inference_steps=request.num_inference_steps,
        guidance_scale=request.guidance_scale,
        solver=request.solver,
        seed=request.seed,
    )
    batches.use_solver()
    return batches


def _band_name(band: int, levels: int) -> str:
    if band == 0:
        return "low (approximation)"
    return "details" if levels == 1 else f"details {band} of {levels}, coarse to fine"


def _tell(found: Calibration) -> None:
    print(found.sentence())
    if found.strengths is not None:
        for band, (value, schedule) in enumerate(zip(found.strengths.values, found.strengths.schedules, strict=True)):
            print(f"  {_band_name(band, found.levels)}: {value:+.4f}, {schedule.kind}")


class _Progress:
    """One line on the terminal, if it is one: what is being measured, how much is done, how long still at most."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._done = 0
        self._words = ""
        self._began = time.monotonic()
        self._shows = sys.stderr.isatty()

    def tell(self, words: str) -> None:
        self._words = words
        self._show()

    def add(self, samples: int) -> None:
        self._done += samples
        self._show()

    def close(self) -> None:
        if self._shows:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()

    def _show(self) -> None:
        if not self._shows:
            return
        left = ""
        if self._done:
            seconds = (time.monotonic() - self._began) / self._done * max(self._most - self._done, 0)
            left = f", at most {seconds / 60:.0f} min left" if seconds >= 90 else f", at most {seconds:.0f} s left"
        sys.stderr.write(f"\r\033[K{self._done} of at most {self._most} pictures{left}: {self._words}")
        sys.stderr.flush()
