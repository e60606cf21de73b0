"""How good the painter is, in numbers: python -m studio.painter.score --model FOLDER --out scores.json.

  frechet    distance between generated and rendered pictures in the feature space of EfficientNet-lite0,
             beside that between two sets of rendered pictures, the best that can be reached with so many
  adherence  how often a small classifier, taught on rendered pictures, reads the terrain, time and style that
             the prompt asked for: on prompts like the training ones, and on (terrain, time, style) triples
             that training never saw; beside the same on rendered pictures of the very same scenes

Everything is drawn from fixed seeds. Pictures, features and the classifier are kept in a folder beside the
scores, so that an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import diffusers.utils.logging
import numpy as np
import torch
import transformers.utils.logging

from studio.errors import StudioError
from studio.painter import HELD_OUT, STYLES, TERRAINS, TIMES, Painting, is_held_out
from studio.painter.export import FACTS, generate, load_pipeline
from studio.painter.features import Perception
from studio.painter.latents import fingerprint
from studio.painter.preset import PRESETS, Preset
from studio.painter.progress import StopSignal, save_array, stop_signal, write_file
from studio.painter.reader import Accuracy, SceneReader, accuracy, describe, load_reader, save_reader, teach
from studio.painter.render import paint_at, render_pictures
from studio.painter.shards import open_pictures, to_floats

REFERENCE_SEEDS = 10_000_000  # far above any training seed
PROMPT_SEEDS = 20_000_000
UNSEEN_SEEDS = 30_000_000
LESSON_SEEDS = 40_000_000
LESSONS = 6_000  # pictures that the classifier learns from
CHUNK = 40  # generated pictures per file
READ = ("terrain", "time", "style")


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Squared Fréchet distance of the Gaussians fitted to two sets of features, (N, D) and (M, D), in
    float64.

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)). Source: Heusel et al. 2017 (arXiv:1706.08500), Eq. 6.
    """
    first, second = first.astype(np.float64), second.astype(np.float64)
    gap = first.mean(0) - second.mean(0)
    one, two = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    # tr (C1 C2)^(1/2) through the symmetric R C2 R with R = C1^(1/2), whose eigenvalues are those of C1 C2.
    values, vectors = np.linalg.eigh(np.atleast_2d(one))
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    cross = np.linalg.eigvalsh(root @ np.atleast_2d(two) @ root)
    return float(gap @ gap + np.trace(np.atleast_2d(one + two)) - 2 * np.sqrt(cross.clip(min=0)).sum())


@dataclass(frozen=True, eq=False)
class Gallery:
    """Pictures with the sentences and scenes that they show."""

    pictures: np.ndarray  # uint8 (N, S, S, 3)
    captions: Sequence[str]
    scenes: Mapping[str, Sequence[str]]  # terrain, time, style -> N names


def rendered(folder: Path, preset: Preset, count: int, first: int, *, workers: int, stop: StopSignal) -> Gallery:
    """`count` seeds from `first` on, less the held-out scenes, as in training."""
    render_pictures(folder, preset, count, workers=workers, stop=stop, first=first, shard=250)
    return stored(folder, count)


def stored(folder: Path, most: int) -> Gallery:
    """At most `most` pictures of a rendered folder. StudioError where they know no scenes."""
    pictures, sentences = [], []
    scenes: dict[str, list[str]] = {name: [] for name in READ}
    for shard in open_pictures(folder).shards:
        facts = json.loads(shard.facts.read_text())
        if isinstance(facts, list):
            raise StudioError(f"The pictures in '{folder}' have captions but no scenes. Render them anew.")
        pictures.append(np.asarray(shard.pictures))
        sentences += facts["captions"]
        for name in READ:
            scenes[name] += [scene[name] for scene in facts["scenes"]]
        if len(sentences) >= most:
            break
    return Gallery(np.concatenate(pictures)[:most], sentences[:most], {name: v[:most] for name, v in scenes.items()})


def unseen(preset: Preset, count: int) -> Gallery:
    """`count` pictures of held-out (terrain, time, style) triples, all triples in turn."""
    triples = sorted(HELD_OUT)
    paintings: list[Painting] = []
    seed = UNSEEN_SEEDS
    while len(paintings) < count:
        terrain, hour, style = triples[len(paintings) % len(triples)]
        painting = paint_at(preset, seed, terrain=terrain, time=hour, style=style)
        seed += 1
        if is_held_out(painting.scene):
            paintings.append(painting)
    return Gallery(
        np.stack([painting.pixels for painting in paintings]),
        [painting.caption for painting in paintings],
        {name: [getattr(painting.scene, name) for painting in paintings] for name in READ},
    )


@dataclass(frozen=True)
class Settings:
    """How the pictures to be scored are generated."""

    model: Path
    count: int = 2000
    unseen: int = 240
    num_inference_steps: int = 20
    guidance_scale: float = 4.5

    @property
    def name(self) -> str:
        """Stands for the weights and settings: pictures of another model or setting are never mixed in."""
        weights = "-".join(fingerprint(self.model / part)[:8] for part in ("unet", "vae"))
        return f"{weights}-{self.num_inference_steps}-{self.guidance_scale:g}"


def generated(
    settings: Settings, captions: Sequence[str], size: int, folder: Path, seed: int, stop: StopSignal
) -> np.ndarray:
    """One picture per caption, uint8 (N, size, size, 3), in files of CHUNK that are kept. Fewer where `stop`
    is set.
    """
    pipeline = None
    chunks = []
    for start in range(0, len(captions), CHUNK):
        some = captions[start : start + CHUNK]
        path = folder / f"{seed + start:08d}-{len(some)}.npy"
        if not path.exists():
            if stop:
                break
            pipeline = pipeline or load_pipeline(settings.model)
            made = generate(
                pipeline,
                some,
                size=size,
                seed=seed + start,
                num_inference_steps=settings.num_inference_steps,
                guidance_scale=settings.guidance_scale,
            )
            save_array(path, made)
            print(f"{start + len(some)} of {len(captions)} pictures generated", flush=True)
        chunks.append(np.load(path))
    return np.concatenate(chunks) if chunks else np.zeros((0, size, size, 3), np.uint8)


def learned_reader(
    perception: Perception, folder: Path, data: Path | None, preset: Preset, workers: int, stop: StopSignal
) -> SceneReader:
    """The classifier in `folder`, taught first where there is none: on `data`, or on pictures of its own."""
    path = folder / "reader.pt"
    if path.exists():
        return load_reader(path)
    if data is None:
        lessons = rendered(folder / "lessons", preset, LESSONS, LESSON_SEEDS, workers=workers, stop=stop)
    else:
        lessons = stored(data, LESSONS)
    both = torch.cat([describe(perception, lessons.pictures, mirrored=mirrored) for mirrored in (False, True)])
    truths = {name: [*values, *values] for name, values in lessons.scenes.items()}
    reader = teach(both, truths, {"terrain": TERRAINS, "time": TIMES, "style": STYLES})
    save_reader(path, reader)
    return reader


def pooled(perception: Perception, pictures: np.ndarray) -> np.ndarray:
    """Pooled features (N, 1280) of uint8 (N, S, S, 3) pictures."""
    device = next(perception.parameters()).device
    with torch.no_grad():
        rows = [
            perception.pooled(to_floats(pictures[start : start + 64], device)).cpu().numpy()
            for start in range(0, len(pictures), 64)
        ]
    return np.concatenate(rows)


def score(settings: Settings, folder: Path, *, data: Path | None, workers: int, stop: StopSignal) -> dict[str, object]:
    """All measurements of one model. `folder` keeps what can be used again. Raises StudioError when stopped
    early.
    """
    began = time.monotonic()
    facts = settings.model / FACTS
    if not facts.exists():
        raise StudioError(f"'{settings.model}' has no {FACTS}: it is no painter exported by studio.painter.train.")
    training = json.loads(facts.read_text())
    preset = PRESETS[training["preset"]["name"]]
    size = preset.picture
    perception = Perception()

    def check() -> None:
        if stop:
            raise StudioError("Stopped. What was made so far is kept: the same command goes on from there.")

    reference = rendered(folder / "reference", preset, settings.count, REFERENCE_SEEDS, workers=workers, stop=stop)
    check()
    prompts = rendered(folder / "prompts", preset, settings.count, PROMPT_SEEDS, workers=workers, stop=stop)
    check()
    reader = learned_reader(perception, folder, data, preset, workers, stop)
    check()
    new = unseen(preset, settings.unseen)
    made = folder / f"generated-{settings.name}"
    of_new = generated(settings, new.captions, size, made, UNSEEN_SEEDS, stop)
    of_prompts = generated(settings, prompts.captions, size, made, PROMPT_SEEDS, stop)
    check()

    def adherence(pictures: np.ndarray, gallery: Gallery) -> dict[str, float]:
        found: Accuracy = accuracy(reader.read(describe(perception, pictures)), gallery.scenes)
        return {**found.shares, "all three": found.every, "pictures": found.count}

    count = min(len(reference.pictures), len(prompts.pictures))
    features = [pooled(perception, some[:count]) for some in (of_prompts, prompts.pictures, reference.pictures)]
    return {
        "model": settings.model.name,
        "settings": {key: value for key, value in asdict(settings).items() if key != "model"},
        "frechet": {
            "pictures": count,
            "generated to rendered": frechet_distance(features[0], features[2]),
            "rendered to rendered": frechet_distance(features[1], features[2]),
        },
        "adherence": {
            "seen triples": {
                "generated": adherence(of_prompts, prompts),
                "rendered": adherence(prompts.pictures, prompts),
            },
            "held-out triples": {
                "generated": adherence(of_new, new),
                "rendered": adherence(new.pictures, new),
            },
        },
        "seconds": round(time.monotonic() - began, 1),
        "training": training["denoiser"],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Score the model named on the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m studio.painter.score",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", type=Path, required=True, help="pipeline folder that the export stage wrote")
    parser.add_argument("--out", type=Path, default=Path("scores.json"), help="file to write (scores.json)")
    parser.add_argument(
        "--keep", type=Path, help="folder of pictures, features and classifier (OUT's name without .json)"
    )
    parser.add_argument("--data", type=Path, help="rendered training pictures for the classifier (renders its own)")
    parser.add_argument("--count", type=int, default=2000, help="pictures of the Fréchet distance (2000)")
    parser.add_argument("--unseen", type=int, default=240, help="pictures of held-out triples (240)")
    parser.add_argument("--steps", type=int, default=20, help="solver steps (20)")
    parser.add_argument("--guidance", type=float, default=4.5, help="guidance scale (4.5)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes that render")
    parser.add_argument("--threads", type=int, default=1, help="torch threads (1)")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(asked.threads)
    for logging in (diffusers.utils.logging, transformers.utils.logging):
        logging.set_verbosity_error()
        logging.disable_progress_bar()
    settings = Settings(asked.model, asked.count, asked.unseen, asked.steps, asked.guidance)
    try:
        with stop_signal() as stop:
            scores = score(
                settings,
                asked.keep or asked.out.with_suffix(""),
                data=asked.data,
                workers=asked.workers,
                stop=stop,
            )
    except StudioError as error:
        print(error, file=sys.stderr)
        return 1
    text = json.dumps(scores, indent=1) + "\n"
    write_file(asked.out, lambda beside: beside.write_text(text))
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
