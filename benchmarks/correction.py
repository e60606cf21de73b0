"""What the correction does for the painter: the SNR-t gap and the Fréchet distance, with and without.

    python benchmarks/correction.py                      # Euler 8 and 20 steps, DPM++ 2M 8; 500 pictures per cell
    python benchmarks/correction.py --full               # overnight: 4 solvers x 8, 13, 20 steps; 2,000 pictures
    python benchmarks/correction.py --minutes 60         # stops after an hour; the same command goes on from there

Every cell paints the same prompts from the same seeds, those of the model card's Fréchet distance: pictures are
compared with rendered ones in the feature space of EfficientNet-lite0. The gap is measured in the very runs that paint
them. Epsilon scaling leaves the first step alone, as `EpsilonScaling` does by itself: in nearly pure noise, where the
painter's cosine schedule starts, a clean estimate from scaled noise would be hundreds of times too large.

What was made is kept under runs/, by the digest of the weights. Cells grow together, batch by batch, so that the table
is fair whenever the time is up; results.md is written once every cell has all its pictures.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import generate as pace  # noqa: E402 - the other benchmark in this folder
import numpy as np  # noqa: E402
from kept import Kept, follow  # noqa: E402

from studio.diffusion.strengths import Strengths  # noqa: E402

if TYPE_CHECKING:
    from studio.diffusion.gap import Energies

RESULTS = Path(__file__).with_name("results.md")
HEADING = "## The correction"
PAIRS = (("Euler", 8), ("Euler", 20), ("DPM++ 2M", 8))
FULL = tuple((solver, steps) for solver in ("Euler", "DPM++ 2M", "DDIM", "UniPC") for steps in (8, 13, 20))
PAPER = 0.005  # the strength that the paper publishes (EDM on CIFAR-10, 13 Euler steps)
EPSILON = 1.005  # what epsilon scaling divides by (Ning et al. 2023, arXiv:2308.15321)
CALIBRATION_SEED = 50_000_000  # far from the seeds that the pictures are painted from
NONE, SCALING, LOW, DOUBLE, CALIBRATED = "none", "epsilon scaling", "low", "double", "calibrated"


@dataclass(frozen=True)
class Settings:
    """What is measured, and how."""

    model: str
    count: int
    batch: int
    guidance_scale: float
    forward: int
    calibration: int
    folder: Path
    deadline: float  # seconds since 1970


@dataclass(frozen=True)
class Cell:
    """One line of the table: a solver, a number of steps, and what is done to the runs."""

    solver: str
    steps: int
    name: str
    strengths: Strengths | None = None
    scaling: float | None = None

    @property
    def setting(self) -> str:
        if self.scaling is not None:
            return f"1/{self.scaling:g}"
        if self.strengths is None:
            return ""
        bands = zip(self.strengths.values, self.strengths.schedules, strict=True)
        return ", ".join(f"{value:+.4f} {schedule.kind}" if value else "0" for value, schedule in bands)

    @property
    def folder(self) -> str:
        words = f"{self.solver} {self.steps} {self.name} {self.setting}"
        return "".join(c if c.isalnum() or c in "+-." else "_" for c in words).strip("_")


# -- in a worker ------------------------------------------------------------------------------------------------------


class Studio:
    """The loaded painter in one process, with one thread."""

    def __init__(self, settings: Settings) -> None:
        import torch

        from studio.models import catalogue, loading
        from studio.painter.features import Perception
        from studio.painter.prompts import true_captions

        torch.set_num_threads(1)
        self.settings = settings
        self.card = catalogue.find(settings.model)
        self.pipe = loading.load_pipeline(self.card, device="cpu")
        self.own = self.pipe.scheduler
        self.prompts = true_captions(settings.count)
        self.perception = Perception()
        self.encoded: dict[str, Any] = {}

    def batches(
        self, solver: str, steps: int, seed: int, output_type: str, prompts: Sequence[str] | None = None
    ) -> Any:
        from studio.models.batches import Batches

        batches = Batches(
            self.pipe,
            self.own,
            self.prompts if prompts is None else prompts,
            width=self.card.width,
            height=self.card.height,
            num_inference_steps=steps,
            guidance_scale=self.settings.guidance_scale,
            solver=solver,
            seed=seed,
            output_type=output_type,
            _encoded=self.encoded,
        )
        batches.use_solver()
        return batches

    def paint(self, cell: Cell, start: int) -> None:
        """One batch of a cell: its features and energies, and for runs as they are the forward side too."""
        from studio.diffusion.gap import Meter
        from studio.painter.prompts import FIRST
        from studio.painter.score import pooled

        began = time.process_time()
        samples = range(start, min(start + self.settings.batch, self.settings.count))
        batches = self.batches(cell.solver, cell.steps, FIRST, "np")
        pictures: list[np.ndarray] = []
        meter = Meter(self.pipe, lambda some: pictures.append(batches(some).images), batch=self.settings.batch)
        reverse, clean = meter.reverse(samples, hooks_of(cell))
        values = {"features": pooled(self.perception, (pictures[0] * 255).round().astype(np.uint8))}
        values |= packed("reverse", reverse)
        if cell.name == NONE and start < self.settings.forward:
            forward = Meter(
                self.pipe, self.batches(cell.solver, cell.steps, FIRST, "latent"), batch=self.settings.batch
            )
            values |= packed("forward", forward.forward(samples, clean))
        values["seconds"] = np.array([time.process_time() - began])
        kept_of(self.settings, cell).save(start, values)

    def calibrate(self, solver: str, steps: int) -> None:
        from studio.diffusion.gap import Meter
        from studio.diffusion.search import calibrate
        from studio.models.presets import write_text
        from studio.painter.prompts import true_captions

        count = self.settings.calibration
        prompts = true_captions(2 * count, CALIBRATION_SEED)
        paint = self.batches(solver, steps, CALIBRATION_SEED, "latent", prompts)
        meter = Meter(self.pipe, paint, batch=self.settings.batch)
        facts: dict[str, str | int | float] = {"solver": solver, "num_inference_steps": steps}
        began = time.process_time()
        found = calibrate(meter, range(count), range(count, 2 * count), facts)
        found = dataclasses.replace(found, facts={**found.facts, "core_seconds": time.process_time() - began})
        write_text(calibration_file(self.settings, solver, steps), json.dumps(found.to_dict(), indent=1) + "\n")


def hooks_of(cell: Cell) -> list[Any]:
    from studio.diffusion.baselines import EpsilonScaling
    from studio.diffusion.correction import Correction

    if cell.scaling is not None:
        return [EpsilonScaling(cell.scaling)]
    return [] if cell.strengths is None else [Correction(strengths=cell.strengths)]


def packed(side: str, energies: Energies) -> dict[str, np.ndarray]:
    parts = ("values", "luck", "steps", "noise_levels")
    return {f"{side} {part}": np.asarray(getattr(energies, part)) for part in parts}


@functools.cache
def _studio(settings: Settings) -> Studio:
    return Studio(settings)


def paint(settings: Settings, cell: Cell, start: int) -> None:
    """Makes one batch in a worker, unless the time is over or it is there already."""
    if not kept_of(settings, cell).is_there(start) and time.time() <= settings.deadline:
        _studio(settings).paint(cell, start)


def calibrate(settings: Settings, solver: str, steps: int) -> None:
    """Makes one calibration in a worker; as `paint`."""
    if not calibration_file(settings, solver, steps).exists() and time.time() <= settings.deadline:
        _studio(settings).calibrate(solver, steps)


# -- what is kept -----------------------------------------------------------------------------------------------------


def kept_of(settings: Settings, cell: Cell) -> Kept:
    return Kept(settings.folder / "cells" / cell.folder, settings.batch, settings.count)


def load(settings: Settings, cell: Cell) -> dict[str, np.ndarray]:
    return kept_of(settings, cell).load(alike=("steps", "levels"))


def calibration_file(settings: Settings, solver: str, steps: int) -> Path:
    return settings.folder / f"calibration-{solver.replace(' ', '_')}-{steps}-{settings.calibration}.json"


def energies(made: dict[str, np.ndarray], side: str, count: int) -> Energies:
    from studio.diffusion.gap import Energies

    return Energies(
        made[f"{side} values"][:count],
        made[f"{side} luck"][:count],
        tuple(int(step) for step in made[f"{side} steps"]),
        tuple(float(level) for level in made[f"{side} noise_levels"]),
    )


# -- the work ---------------------------------------------------------------------------------------------------------


def cells_of(settings: Settings, solver: str, steps: int) -> list[Cell]:
    from studio.diffusion.calibration import Calibration

    cells = [
        Cell(solver, steps, NONE),
        Cell(solver, steps, SCALING, scaling=EPSILON),
        Cell(solver, steps, LOW, Strengths.low(PAPER)),
        Cell(solver, steps, DOUBLE, Strengths.double(PAPER, PAPER)),
    ]
    found = Calibration.from_json(calibration_file(settings, solver, steps).read_text())
    if found.strengths is not None:
        cells.append(Cell(solver, steps, CALIBRATED, found.strengths))
    return cells


def work(workers: int, settings: Settings, pairs: Sequence[tuple[str, int]]) -> None:
    """Calibrates and paints what is not there yet, on `workers` processes."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        longest_first = sorted(pairs, key=lambda pair: -pair[1])
        follow("calibrations", [pool.submit(calibrate, settings, *pair) for pair in longest_first])
        if time.time() > settings.deadline:
            return
        cells = [cell for pair in pairs for cell in cells_of(settings, *pair)]
        starts = range(0, settings.count, settings.batch)
        follow("batches", [pool.submit(paint, settings, cell, start) for start in starts for cell in cells])


def core_minutes(settings: Settings, cells: Sequence[Cell]) -> float:
    """What painting these cells and their calibrations took, over all the runs of this command."""
    from studio.diffusion.calibration import Calibration

    files = {calibration_file(settings, cell.solver, cell.steps) for cell in cells}
    seconds = [float(Calibration.from_json(file.read_text()).facts["core_seconds"]) for file in files]
    seconds += [float(load(settings, cell)["seconds"].sum()) for cell in cells]
    return sum(seconds) / 60


# -- the table --------------------------------------------------------------------------------------------------------


class Reference:
    """Rendered pictures' features, (M, 1280), and the Fréchet distance to them, fast enough for a bootstrap.

    With R = C^(1/2) of the reference, tr (C C2)^(1/2) is the sum of the singular values of X R / sqrt(N - 1), X being
    the centred features of the other side: a problem of the size of the sample.
    """

    def __init__(self, features: np.ndarray) -> None:
        features = features.astype(np.float64)
        covariance = np.cov(features, rowvar=False)
        values, vectors = np.linalg.eigh(covariance)
        self.root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
        self.mean = features.mean(0)
        self.trace = float(np.trace(covariance))

    def turned(self, features: np.ndarray) -> np.ndarray:
        return features.astype(np.float64) @ self.root

    def distance(self, features: np.ndarray, turned: np.ndarray) -> float:
        """`turned` is what `turned` makes of these features, so that resampling need not do it again."""
        centred, count = turned - turned.mean(0), len(features)
        square = centred @ centred.T if count < centred.shape[1] else centred.T @ centred
        cross = np.sqrt(np.linalg.eigvalsh(square / (count - 1)).clip(min=0)).sum()
        gap = features.mean(0) - self.mean
        return float(gap @ gap + self.trace + features.var(0, ddof=1).sum() - 2 * cross)


def rendered_features(settings: Settings, count: int, workers: int, first: int, name: str) -> np.ndarray:
    """Features of `count` pictures that the recipe itself renders, kept beside the cells."""
    from studio.models import catalogue
    from studio.painter.export import FACTS
    from studio.painter.features import Perception
    from studio.painter.preset import PRESETS
    from studio.painter.progress import save_array, stop_signal
    from studio.painter.score import pooled, rendered

    path = settings.folder / f"{name}-{count}.npy"
    if not path.exists():
        preset = PRESETS[
            json.loads((Path(catalogue.find(settings.model).source) / FACTS).read_text())["preset"]["name"]
        ]
        asked = count + count // 5 + 50  # held-out scenes are left away
        with stop_signal() as stop:
            gallery = rendered(settings.folder / name, preset, asked, first, workers=workers, stop=stop)
            if stop:
                raise SystemExit("Stopped while rendering. The same command goes on from here.")
        save_array(path, pooled(Perception(), gallery.pictures[:count]))
    return np.load(path)


def table(settings: Settings, cells: Sequence[Cell], reference: Reference, floor: float, resamples: int) -> list[str]:
    """The lines of the Markdown table, on as many pictures as every cell has."""
    from studio.diffusion.gap import differences, summary
    from studio.diffusion.search import share_closed, weights_of

    made = {cell: load(settings, cell) for cell in cells}
    count = min(len(some["features"]) if some else 0 for some in made.values())
    if count < 2:
        raise SystemExit("Not every cell has pictures yet: there is no table to make.")
    lines = [
        "| Solver | Steps | Correction | Strengths (low, details) | Gap | Closed of its square | Fréchet | To none |",
        "|---|---|---|---|---|---|---|---|",
    ]
    plain, ours_of_plain, distance_of_plain = cells[0], np.zeros(resamples), 0.0
    for cell in cells:
        some = made[cell]
        features = some["features"][:count]
        turned = reference.turned(features)
        distance = reference.distance(features, turned)
        random = np.random.default_rng(0)  # the same pictures are drawn in every cell
        draws = (random.integers(count, size=count) for _ in range(resamples))
        ours = np.array([reference.distance(features[drawn], turned[drawn]) for drawn in draws])
        if cell.name == NONE:
            plain, ours_of_plain, distance_of_plain = cell, ours, distance
        change = distance - distance_of_plain
        known = min(count, len(made[plain]["forward values"]))
        forward = energies(made[plain], "forward", known)
        before = differences(energies(made[plain], "reverse", known), forward)
        reverse = energies(some, "reverse", known)
        gaps = differences(reverse, forward)
        gap = summary(gaps, reverse, forward)
        closed = share_closed(before, gaps, weights_of(before, forward))
        lines.append(
            f"| {cell.solver} | {cell.steps} | {cell.name} | {cell.setting} | {gap.size:.2%} | "
            + ("" if cell is plain else f"{closed[1]:.0%} ({closed[0]:.0%} to {closed[2]:.0%})")
            + f" | {distance:.1f} ± {1.96 * np.std(ours, ddof=1):.1f} | "
            + ("" if cell is plain else f"{change:+.1f} ± {1.96 * np.std(ours - ours_of_plain, ddof=1):.1f}")
            + " |"
        )
    lines += ["", f"{count} pictures per cell, gap on {known}. Rendered pictures themselves: Fréchet {floor:.1f}."]
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="painter", help="painter, or a folder that its recipe exported")
    parser.add_argument("--full", action="store_true", help="the overnight grid: more solvers, steps and pictures")
    parser.add_argument("--count", type=int, default=None, help="pictures per cell (500; with --full 2000)")
    parser.add_argument("--batch", type=int, default=16, help="pictures at once")
    parser.add_argument("--guidance", type=float, default=4.5, help="guidance scale, as in the model card")
    parser.add_argument("--reference", type=int, default=None, help="rendered pictures to compare with (2000)")
    parser.add_argument("--forward", type=int, default=128, help="pictures whose forward side is measured")
    parser.add_argument("--calibration", type=int, default=64, help="samples of each calibration")
    parser.add_argument("--resamples", type=int, default=200, help="bootstrap samples")
    parser.add_argument("--minutes", type=float, default=None, help="stop painting after so many minutes")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes of one thread (all cores)")
    parser.add_argument("--keep", type=Path, default=ROOT / "runs" / "correction", help="where features are kept")
    parser.add_argument("--dry", action="store_true", help="print the table and leave results.md as it is")
    options = parser.parse_args()
    from studio.models import loading
    from studio.painter.prompts import FIRST
    from studio.painter.score import REFERENCE_SEEDS

    settings = Settings(
        model=options.model,
        count=options.count or (2000 if options.full else 500),
        batch=options.batch,
        guidance_scale=options.guidance,
        forward=options.forward,
        calibration=options.calibration,
        folder=options.keep / f"{loading.weights_digest(options.model)}-guidance-{options.guidance:g}",
        deadline=time.time() + 60 * options.minutes if options.minutes else float("inf"),
    )
    pairs = FULL if options.full else PAIRS
    work(options.workers, settings, pairs)
    if not all(calibration_file(settings, *pair).exists() for pair in pairs):
        print("The time was over before the calibrations were. The same command goes on from here.", file=sys.stderr)
        return 1
    cells = [cell for pair in pairs for cell in cells_of(settings, *pair)]
    first_missing = min(len(load(settings, cell).get("features", ())) for cell in cells)
    reference = rendered_features(settings, options.reference or 2000, options.workers, REFERENCE_SEEDS, "reference")
    others = rendered_features(settings, settings.count, options.workers, FIRST, "prompts")
    against = Reference(reference)
    floor = against.distance(others, against.turned(others))
    lines = table(settings, cells, against, floor, options.resamples)
    section = (
        "\n".join([HEADING, "", *_head(settings, options.full, core_minutes(settings, cells)), "", *lines]) + "\n"
    )
    print(section)
    if first_missing < settings.count:
        print("Not every cell has all its pictures. The same command goes on from here.", file=sys.stderr)
        return 1
    if not options.dry:
        pace.write_section(RESULTS, HEADING, section)
    return 0


def _head(settings: Settings, full: bool, minutes: float) -> list[str]:
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "diffusers", "numpy"))
    command = "python benchmarks/correction.py" + (" --full" if full else "")
    weights = settings.folder.name.split("-")[0]
    return [
        f"`{command}`, {date.today().isoformat()}, {pace._machine()}.",
        f"Python {platform.python_version()}, {libraries}.",
        f"Weights {weights}, guidance {settings.guidance_scale:g}; painting took {minutes:.0f} core-minutes.",
        "",
        "The same prompts and seeds in every cell. Gap: root mean square over steps and bands (Haar, one level) of",
        "the implied noise's energy in the run less that on forward-noised latents, as a share of the latter.",
        "Fréchet distance to rendered pictures; ± is 1.96 bootstrap standard errors, of the change from paired ones.",
        "Epsilon scaling leaves the first step alone, where it has no meaning for this schedule.",
    ]


if __name__ == "__main__":
    sys.exit(main())
