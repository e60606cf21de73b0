"""Generative fill by the painter: how well it joins what is around it, next to OpenCV's inpainting as the floor.

    python benchmarks/fill.py                    # 200 rendered pictures, each with a mask, in every cell
    python benchmarks/fill.py --count 24 --dry   # a quick look; results.md stays as it is

Every picture is a scene that the painter's recipe renders and that no training saw, with one mask: a box, some strokes
or a half plane. The prompt is the scene's caption. All cells fill the same pictures at the same places and paste them
in with the same mask, through the engine as the page does.

Rim gradient: the mean difference of neighbouring pixels between which the mask changes, so across the whole
feathered rim, as a share of what it is in the picture as it was. Colour shift: how far the mean colour of the 3 pixels
inside the rim moves, in levels of 255. Fréchet distance: of the square around each mask, filled, to the same squares
as they were, in the feature space of EfficientNet-lite0. Time: a fill from pixels to the counted layer next to the
bare pipeline at the same working size, in turns.

What was made is kept under runs/, by the digest of the weights and the settings of the cell; the same command goes on
from there. Exits with 1 if a limit does not hold.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import multiprocessing
import os
import platform
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import cv2  # noqa: E402
import generate as pace  # noqa: E402 - the other benchmark in this folder
import numpy as np  # noqa: E402
from kept import Kept, follow  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from studio.requests import INTENTS, Fill, TextToImage  # noqa: E402

if TYPE_CHECKING:
    from studio.engine import Engine
    from studio.models.catalogue import ModelCard

RESULTS = Path(__file__).with_name("results.md")
HEADING = "## Generative fill"
FIRST = 30_000_000  # the seed of the first scene, far from those of training and of the other measurements
RIM_LIMITS, TIME_LIMIT = (0.85, 1.15), 1.10  # below, the new content is blurred where it meets the old
RIM = 3  # px inside the mask whose mean colour is compared
OPENCV, PLAIN, HARMONISED, REMOVED = "OpenCV inpainting", "KeepKnown", "KeepKnown, harmonised", "KeepKnown, remove"
SHAPES = ("box", "strokes", "half plane")

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Cell:
    """One line of the table: a name, and the fields of the fill that differ from what suits the intent."""

    name: str
    changes: tuple[tuple[str, Any], ...] = ()

    @property
    def folder(self) -> str:
        words = json.dumps([self.name, self.changes, way_of_filling()], default=str)
        plain = "".join(c if c.isalnum() else "-" for c in self.name.lower())
        return f"{plain}-{hashlib.sha256(words.encode()).hexdigest()[:8]}"


CELLS = (
    Cell(OPENCV),
    Cell(PLAIN, (("harmonise", 0),)),
    Cell(HARMONISED, (("harmonise", 2),)),
    Cell(REMOVED, (("intent", "remove"),)),
)
WAY = ("requests.py", "filling.py", "passage.py", "engine.py", "diffusion/*.py", "imaging/*.py", "models/*.py")


@functools.cache
def way_of_filling() -> str:
    """A digest of the code that a fill depends on: pictures of another state of it are not compared with these."""
    whole = hashlib.sha256()
    for pattern in WAY:
        for path in sorted((ROOT / "studio").glob(pattern)):
            whole.update(path.read_bytes())
    return whole.hexdigest()


@dataclass(frozen=True)
class Settings:
    model: str
    batch: int
    count: int
    folder: Path
    deadline: float  # seconds since 1970


# -- what is filled ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A rendered picture with a hole in it."""

    index: int
    picture: Pixels
    caption: str
    mask: Pixels

    @property
    def square(self) -> tuple[slice, slice]:
        """Rows and columns of the square that is looked at: the mask and a quarter of its side around it."""
        from studio.imaging import masks

        spot = masks.bounds(self.mask)
        assert spot is not None
        height, width = self.mask.shape
        side = min(max(spot.width, spot.height) * 5 // 4, min(height, width))
        y = min(max(spot.y + spot.height // 2 - side // 2, 0), height - side)
        x = min(max(spot.x + spot.width // 2 - side // 2, 0), width - side)
        return slice(y, y + side), slice(x, x + side)


def case_of(index: int) -> Case:
    """The picture and mask number `index`. The same on every machine."""
    from studio.painter import is_held_out, paint
    from studio.painter.preset import PRESETS

    side = PRESETS["cpu"].picture
    painting = paint(FIRST + index, side)
    if is_held_out(painting.scene):  # what the model was never shown it cannot paint
        painting = paint(FIRST + 10**6 + index, side)
    return Case(index, painting.pixels, painting.caption, mask_of(index, side))


def mask_of(index: int, side: int) -> Pixels:
    """A box, strokes or a half plane, in turn, of an eighth to a half of the picture."""
    random = np.random.default_rng((FIRST, index))
    mask = np.zeros((side, side), np.uint8)
    shape = SHAPES[index % len(SHAPES)]
    if shape == "box":
        width, height = random.integers(side * 5 // 16, side * 5 // 8, size=2)
        x, y = random.integers(0, side - width + 1), random.integers(0, side - height + 1)
        mask[y : y + height, x : x + width] = 255
    elif shape == "strokes":
        for _ in range(int(random.integers(2, 4))):
            ends = random.integers(side // 8, side - side // 8, size=(2, 2))
            first, last = ((int(x), int(y)) for x, y in ends)
            cv2.line(mask, first, last, 255, int(random.integers(side // 10, side // 5)))
    else:
        angle, share = random.uniform(0, 2 * np.pi), random.uniform(0.15, 0.5)
        rows, columns = np.mgrid[:side, :side]
        along = columns * np.cos(angle) + rows * np.sin(angle)
        mask[along <= np.quantile(along, share)] = 255
    return mask


# -- one fill ---------------------------------------------------------------------------------------------------------


def filled(engine: Engine, case: Case, cell: Cell) -> tuple[Pixels, Pixels]:
    """The picture with its hole filled, and the mask that acted."""
    from studio.filling import Filling
    from studio.imaging.compositing import paste

    painting = request_for(engine.card(), case, str(dict(cell.changes).get("intent", "fill")))
    filling = Filling.of(Fill.of(painting, **dict(cell.changes)), case.picture, case.mask, engine.card())
    frame = filling.frame
    acting = np.zeros_like(case.mask)
    acting[frame.slices] = filling.mask
    if cell.name == OPENCV:
        hole = (case.mask > 0).astype(np.uint8)
        fresh = cv2.inpaint(np.ascontiguousarray(case.picture), hole, 3, cv2.INPAINT_TELEA)
        return paste(case.picture, np.dstack([fresh, acting]), 0, 0), acting
    done = filling.finished(engine.run(filling.painting, approach=filling.approach))
    assert done.count.outside_changed == 0
    return paste(case.picture, done.layer.pixels, done.layer.x, done.layer.y), acting


def request_for(card: ModelCard, case: Case, intent: str = "fill") -> TextToImage:
    """What the page would ask for: the caption where words are needed, and what suits the model and the intent."""
    usual = INTENTS[intent]
    words = case.caption if usual.needs_words else ""
    return replace(card.request(words, seed=case.index), guidance_scale=usual.guidance_for(card.guidance_scale))


def rim_gradients(picture: Pixels, acting: Pixels) -> tuple[float, int]:
    """The sum of differences between neighbours of different mask values, in levels, and how many there are."""
    values, mask = picture.astype(np.float64), acting.astype(np.int32)
    total, count = 0.0, 0
    for axis in (0, 1):
        across = np.diff(mask, axis=axis) != 0
        total += float(np.abs(np.diff(values, axis=axis)).mean(axis=2)[across].sum())
        count += int(across.sum())
    return total, count


def rim_colour(picture: Pixels, acting: Pixels) -> NDArray[np.float64]:
    """The mean colour of the pixels just inside the mask, (3,)."""
    near = cv2.dilate((acting == 0).astype(np.uint8), np.ones((2 * RIM + 1, 2 * RIM + 1), np.uint8)) > 0
    mean: NDArray[np.float64] = picture[near & (acting > 0)].astype(np.float64).mean(axis=0)
    return mean


class Studio:
    """The loaded painter in one process, with one thread."""

    def __init__(self, settings: Settings) -> None:
        import torch

        from studio.engine import Engine
        from studio.painter.features import Perception

        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        self.engine = Engine(settings.model, device="cpu")
        self.perception = Perception()

    def fill(self, settings: Settings, cell: Cell, start: int) -> None:
        from studio.painter.score import pooled

        before, after, rows = [], [], []
        for index in range(start, min(start + settings.batch, settings.count)):
            case = case_of(index)
            picture, acting = filled(self.engine, case, cell)
            ours, pairs = rim_gradients(picture, acting)
            theirs, _ = rim_gradients(case.picture, acting)
            shift = np.abs(rim_colour(picture, acting) - rim_colour(case.picture, acting)).mean()
            rows.append((ours, theirs, pairs, float(shift)))
            for pictures, whole in ((before, case.picture), (after, picture)):
                pictures.append(cv2.resize(whole[case.square], (128, 128), interpolation=cv2.INTER_CUBIC))
        values = {
            "rows": np.array(rows),
            "before": pooled(self.perception, np.stack(before)),
            "after": pooled(self.perception, np.stack(after)),
        }
        kept_of(settings, cell).save(start, values)


@functools.cache
def _studio(settings: Settings) -> Studio:
    return Studio(settings)


def work_on(settings: Settings, cell: Cell, start: int) -> None:
    """Makes one batch in a worker, unless the time is over or it is there already."""
    if not kept_of(settings, cell).is_there(start) and time.time() <= settings.deadline:
        _studio(settings).fill(settings, cell, start)


# -- what is kept -----------------------------------------------------------------------------------------------------


def kept_of(settings: Settings, cell: Cell) -> Kept:
    return Kept(settings.folder / cell.folder, settings.batch, settings.count)


# -- the table --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    cell: Cell
    gradient: float  # share of the original's
    by_shape: tuple[float, ...]
    shift: float  # levels
    distance: float


def line_of(cell: Cell, made: dict[str, np.ndarray], count: int) -> Line:
    from studio.painter.score import frechet_distance

    ours, theirs, _, shift = made["rows"][:count].T
    shapes = np.arange(count) % len(SHAPES)
    by_shape = tuple(float(ours[shapes == k].sum() / theirs[shapes == k].sum()) for k in range(len(SHAPES)))
    distance = frechet_distance(made["before"][:count], made["after"][:count])
    return Line(cell, float(ours.sum() / theirs.sum()), by_shape, float(shift.mean()), distance)


def time_share(model: str, repeats: int) -> tuple[float, float]:
    """A fill's time as a share of the bare pipeline's at the same size, and its seconds; medians of pairs."""
    import torch

    from studio.engine import Engine
    from studio.filling import Filling
    from studio.models import loading
    from studio.models.solvers import make_scheduler

    torch.set_num_threads(1)
    engine = Engine(model, device="cpu")
    engine.load()
    pipe = loading.load_pipeline(engine.card(), device="cpu")
    pipe.scheduler = make_scheduler(engine.card().solver, pipe.scheduler)
    case = case_of(0)
    request = request_for(engine.card(), case)

    def fill() -> float:
        began = time.process_time()
        filling = Filling.of(Fill.of(request), case.picture, case.mask, engine.card())
        filling.finished(engine.run(filling.painting, approach=filling.approach))
        return time.process_time() - began

    working = Filling.of(Fill.of(request), case.picture, case.mask, engine.card()).working

    def bare() -> float:
        began = time.process_time()
        with torch.inference_mode():
            pipe(
                request.prompt,
                width=working.width,
                height=working.height,
                num_inference_steps=request.num_inference_steps,
                guidance_scale=request.guidance_scale,
                generator=torch.Generator("cpu").manual_seed(0),
                output_type="np",
            )
        return time.process_time() - began

    fill(), bare()
    pairs = [(fill(), bare()) if turn % 2 else (bare(), fill())[::-1] for turn in range(repeats)]
    return statistics.median(ours / theirs for ours, theirs in pairs), statistics.median(ours for ours, _ in pairs)


def verdicts(lines: dict[str, Line], share: float) -> list[tuple[str, bool]]:
    """Every limit in words, and whether it holds."""
    floor = lines[OPENCV].distance
    found = []
    low, high = RIM_LIMITS
    for name in (PLAIN, HARMONISED, REMOVED):
        found.append((f"{name}: Fréchet {lines[name].distance:.1f}, below {floor:.1f}", lines[name].distance < floor))
        gradient = lines[name].gradient
        found.append((f"{name}: rim gradient {gradient:.3f}, from {low} to {high}", low <= gradient <= high))
    found.append((f"A fill / the bare pipeline: {share:.3f}, at most {TIME_LIMIT}", share <= TIME_LIMIT))
    return found


def section_of(settings: Settings, count: int, lines: dict[str, Line], share: float, seconds: float) -> str:
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "diffusers", "opencv-python-headless"))
    table = [
        "| Filled by | Rim gradient / original's | boxes | strokes | half planes | Colour shift | Fréchet |",
        "|---|---|---|---|---|---|---|",
    ]
    for line in lines.values():
        shapes = " | ".join(f"{value:.3f}" for value in line.by_shape)
        table.append(f"| {line.cell.name} | {line.gradient:.3f} | {shapes} | {line.shift:.1f} | {line.distance:.1f} |")
    limits = [f"- {words}: {'holds' if holds else 'BROKEN'}" for words, holds in verdicts(lines, share)]
    return "\n".join(
        [
            HEADING,
            "",
            f"`python benchmarks/fill.py`, {date.today().isoformat()}, {pace._machine()}.",
            f"Python {platform.python_version()}, {libraries}. Weights {settings.folder.name}.",
            "",
            f"{count} rendered pictures of 128 × 128, a mask each (boxes, strokes, half planes in turn), the caption",
            "as the prompt (remove: no words), defaults otherwise (harmonised: 2 rounds). Gradients are those between",
            "neighbours where the feathered mask changes; the colour shift is that of the mean just inside, in levels",
            "of 255; Fréchet distances are of the squares around the masks to the same squares unfilled.",
            "",
            *table,
            "",
            f"One fill takes {seconds:.2f} s of one core.",
            *limits,
            "",
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="painter", help="painter, or a folder that its recipe exported")
    parser.add_argument("--count", type=int, default=200, help="pictures per cell (200)")
    parser.add_argument("--batch", type=int, default=10, help="pictures between two checkpoints")
    parser.add_argument("--repeats", type=int, default=9, help="pairs of timed runs")
    parser.add_argument("--minutes", type=float, default=None, help="stop painting after so many minutes")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes of one thread (all cores)")
    parser.add_argument("--keep", type=Path, default=ROOT / "runs" / "fill", help="where features are kept")
    parser.add_argument("--dry", action="store_true", help="print the table and leave results.md as it is")
    options = parser.parse_args()
    from studio.models import loading

    settings = Settings(
        model=options.model,
        batch=options.batch,
        count=options.count,
        folder=options.keep / loading.weights_digest(options.model),
        deadline=time.time() + 60 * options.minutes if options.minutes else float("inf"),
    )
    _fill_all(options.workers, settings)
    made = {cell: kept_of(settings, cell).load() for cell in CELLS}
    count = min(len(some["rows"]) if some else 0 for some in made.values())
    if count < 6:
        print("The time was over before there was anything to compare. The same command goes on.", file=sys.stderr)
        return 1
    lines = {cell.name: line_of(cell, some, count) for cell, some in made.items()}
    share, seconds = time_share(settings.model, options.repeats)
    section = section_of(settings, count, lines, share, seconds)
    print(section)
    if count < settings.count:
        print("Not every cell has all its pictures. The same command goes on from here.", file=sys.stderr)
        return 1
    if not options.dry:
        pace.write_section(RESULTS, HEADING, section)
    return 0 if all(holds for _, holds in verdicts(lines, share)) else 1


def _fill_all(workers: int, settings: Settings) -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        starts = range(0, settings.count, settings.batch)
        follow("batches", [pool.submit(work_on, settings, cell, start) for start in starts for cell in CELLS])


if __name__ == "__main__":
    sys.exit(main())
