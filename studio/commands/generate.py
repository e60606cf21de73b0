"""`generate`: pictures from words, without a page."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from studio.engine import Engine, Progress
from studio.errors import InvalidRequest, StudioError
from studio.picture import Picture
from studio.prompts.prepared import prepared
from studio.requests import SOLVERS, TextToImage, batch
from studio.whole_file import write_whole


def add_to(commands: Any) -> None:
    parser = commands.add_parser("generate", help="paint pictures from a prompt", allow_abbrev=False)
    parser.add_argument(
        "prompt", metavar="PROMPT", help="what is there and how it is painted; (word:1.2) weighs, {a|b} chooses"
    )
    parser.add_argument("--negative", default="", metavar="TEXT", help="words to steer away from")
    parser.add_argument("--seed", type=integer, default=0, help="0 to 4294967295 (default 0)")
    parser.add_argument("--steps", type=integer, default=None, help="denoising steps (default: the model's own)")
    parser.add_argument("--guidance", type=float, default=None, help="0 loose to 30 to the word")
    parser.add_argument("--solver", default=None, help=f"one of: {', '.join(SOLVERS)}")
    parser.add_argument(
        "--size", default=None, metavar="WxH", help="pixels, multiples of 16 (default: the model's own)"
    )
    parser.add_argument("--model", default="painter", metavar="NAME|FOLDER|FILE|ID", help="default: painter")
    parser.add_argument(
        "--correction",
        default="off",
        metavar="FILE|calibrated|off",
        help="strengths from a file, or those that `calibrate` found for this model, solver and steps (default off)",
    )
    parser.add_argument("--count", type=integer, default=1, help="pictures, with seeds counting up from --seed")
    parser.add_argument("--json", action="store_true", help="tell about the pictures as JSON on stdout")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE.png|FOLDER", help="where to write")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    engine = Engine(options.model)
    wanted = batch(corrected(_request(options, engine), options.correction), options.count)
    weighs = engine.weighs(options.model)
    requests = [prepared(request, weighs=weighs) for request in wanted]
    files = files_for(options.out, requests)
    if not options.prompt.strip() and not options.json:
        print("No words given: the model chooses by the seed.", file=sys.stderr)
    told = []
    for index, (request, file) in enumerate(zip(requests, files, strict=True), start=1):
        bar = ProgressBar(index, len(requests)) if sys.stderr.isatty() else None
        try:
            picture = engine.run(request, on_progress=bar, previews=False)
        finally:
            if bar is not None:
                bar.close()
        write_whole(file, picture.to_png())
        told.append(told_of(file, picture))
        if not options.json:
            print(f"{file}  seed {request.seed}, {picture.seconds:.1f} s")
    if options.json:
        print(json.dumps(told, indent=2, ensure_ascii=False))
    return 0


def _request(options: argparse.Namespace, engine: Engine) -> TextToImage:
    card = engine.card()
    width, height = (card.width, card.height) if options.size is None else read_size(options.size)
    return TextToImage(
        prompt=options.prompt,
        negative_prompt=options.negative,
        width=width,
        height=height,
        num_inference_steps=card.num_inference_steps if options.steps is None else options.steps,
        guidance_scale=card.guidance_scale if options.guidance is None else options.guidance,
        solver=card.solver if options.solver is None else find_solver(options.solver),
        seed=options.seed,
        model=options.model,
    )


def corrected(request: TextToImage, choice: str) -> TextToImage:
    """The request with the correction that a person chose. Raises StudioError, saying what to do, if there is none."""
    if choice == "off":
        return request
    from studio.models import presets

    if choice != "calibrated":
        return dataclasses.replace(request, correction=presets.read_strengths(Path(choice)))
    found = presets.find(request.model, request.solver, request.num_inference_steps)
    if found is None:
        raise StudioError(
            f"{request.model} is not calibrated for {request.solver} with {request.num_inference_steps} steps. "
            f"Run: wavebrush calibrate --model {request.model} --solver '{request.solver}' "
            f"--steps {request.num_inference_steps}"
        )
    if found.strengths is None:
        print(f"Not corrected: calibrating {request.model} gave '{found.verdict}'.", file=sys.stderr)
    return dataclasses.replace(request, correction=found.strengths)


def integer(text: str) -> int:
    """A whole number, for argparse."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text[:40]}' is not a whole number") from None


def read_size(text: str) -> tuple[int, int]:
    """Width and height from "256x192". Raises InvalidRequest."""
    found = re.fullmatch(r"(\d{1,7})[xX×](\d{1,7})", text)
    if found is None:
        raise InvalidRequest(f"'{text[:40]}' is not a size. Write it like 256x192, width first.", "size")
    return int(found[1]), int(found[2])


def find_solver(name: str) -> str:
    """The solver meant by `name`, whatever its case, spaces and dashes: "dpm++-2m" is "DPM++ 2M"."""

    def plain(text: str) -> str:
        return re.sub(r"[\s_-]", "", text.lower()).replace("pp", "++")

    return next((solver for solver in SOLVERS if plain(solver) == plain(name)), name)


def files_for(out: Path, requests: Sequence[TextToImage]) -> list[Path]:
    """Where each picture goes. One picture may be named; several need a folder."""
    is_file = out.suffix.lower() == ".png" and not out.is_dir()
    if out.suffix and out.suffix.lower() != ".png" and not out.is_dir():
        raise InvalidRequest(f"Pictures are written as PNG. Name the file {out.with_suffix('.png').name}.", "out")
    if is_file and len(requests) > 1:
        raise InvalidRequest(f"{len(requests)} pictures do not fit into one file. Give --out a folder.", "out")
    _check_folder(out.parent if is_file else out)
    return [out] if is_file else [out / f"{request.seed}.png" for request in requests]


def _check_folder(folder: Path) -> None:
    """Raises StudioError if no file could be written into `folder`, before time is spent. It need not exist yet."""
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise StudioError(f"{existing} is a file. Give --out another folder.")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise StudioError(f"You may not write into {existing}. Give --out another folder.")


def told_of(file: Path, picture: Picture) -> dict[str, Any]:
    return {
        "file": str(file),
        "seconds": round(picture.seconds, 3),
        "request": picture.request.to_dict(),
        "made_with": picture.made_with,
    }


class ProgressBar:
    """One line on the terminal: which picture, which step, how long still."""

    def __init__(self, index: int, count: int) -> None:
        self._title = f"Picture {index} of {count}" if count > 1 else "Painting"
        self._began = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        elapsed = time.monotonic() - self._began
        left = elapsed / progress.number * (progress.count - progress.number)
        filled = round(24 * progress.number / progress.count)
        bar = "█" * filled + "░" * (24 - filled)
        sys.stderr.write(
            f"\r\033[K{self._title}  {bar}  step {progress.number} of {progress.count}, {left:.0f} s left"
        )
        sys.stderr.flush()

    def close(self) -> None:
        sys.stderr.write("\r\033[K")
        sys.stderr.flush()
