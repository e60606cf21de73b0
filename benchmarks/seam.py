"""What the seam costs: a run that is recorded and corrected against the same call of the bare pipeline.

    python benchmarks/seam.py                      # both models; prints a table and renews its section of results.md
    python benchmarks/seam.py --only painter       # one of them, printed and not written

`painter` is the bundled model at its own size. `large` is a UNet of the size of Stable Diffusion 1.5 (860 million
parameters, random, float32) on 64 × 64 latents for 4 steps of Euler, without guidance, text encoder and autoencoder:
nothing but the evaluation of the network stands beside what the seam adds. It takes 4 GB of memory and some minutes.

The recorded run keeps every step and moment and applies the paper's double correction (Haar, one level). Both sides
alternate in one process and every other turn the order is reversed, so that whatever else the machine does hits both;
a ratio is the median of the ratios of neighbours. CPU time stands beside wall time because it hardly depends on other
programs.
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import statistics
import sys
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import generate as pace  # noqa: E402 - the other benchmark in this folder
import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from studio.diffusion.correction import Correction  # noqa: E402
from studio.diffusion.observe import observe  # noqa: E402

RESULTS = Path(__file__).with_name("results.md")
HEADING = "## The seam"
PROMPT = "an oil painting of a mountain lake at sunset"
LOW, HIGH = 0.02, 0.01
LEAST = 15  # pairs


def main() -> int:
    options = read_arguments()
    torch.set_num_threads(options.threads)
    parts: dict[str, Callable[[int, int], pace.Row]] = {"painter": painter, "large": large}
    chosen = [options.only] if options.only else list(parts)
    rows = [parts[name](max(options.repeats, LEAST), options.threads) for name in chosen]
    section = "\n".join([HEADING, "", *_head(options.threads), *(row.as_markdown() for row in rows)]) + "\n"
    print(section)
    if options.only is None:
        pace.write_section(RESULTS, HEADING, section)
    return 0 if all(row.holds for row in rows) else 1


def read_arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=LEAST, help=f"pairs of runs, at least {LEAST}")
    parser.add_argument("--threads", type=int, default=2, help="torch threads")
    parser.add_argument("--only", choices=("painter", "large"), help="one model; results.md stays as it is")
    return parser.parse_args(words)


def painter(repeats: int, threads: int) -> pace.Row:
    """The bundled model with its own settings, from the words to the latents."""
    from studio.engine import Engine
    from studio.models.loading import load_pipeline
    from studio.models.solvers import make_scheduler

    card = Engine("painter").card()
    pipe = load_pipeline("painter", device="cpu")
    torch.set_num_threads(threads)  # loading chooses for itself
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = make_scheduler(card.solver, pipe.scheduler)
    steps = card.num_inference_steps

    def run() -> Tensor:
        latents: Tensor = pipe(
            PROMPT,
            num_inference_steps=steps,
            guidance_scale=card.guidance_scale,
            generator=torch.Generator().manual_seed(7),
            output_type="latent",
        ).images
        return latents

    setting = f"{card.width} × {card.height}, {steps} steps, {card.solver}, guidance {card.guidance_scale:g}"
    return _measure("The painter", pipe, run, steps, repeats, 1.05, setting)


def large(repeats: int, threads: int) -> pace.Row:
    """A network of the size of Stable Diffusion 1.5, alone in its pipeline."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline, UNet2DConditionModel

    torch.manual_seed(0)
    unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8).eval()
    million = sum(weights.numel() for weights in unet.parameters()) / 1e6
    pipe = StableDiffusionPipeline(
        vae=None,
        text_encoder=None,
        tokenizer=None,
        unet=unet,
        scheduler=EulerDiscreteScheduler(
            beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    words = torch.randn(1, 77, 768, generator=torch.Generator().manual_seed(1))
    steps = 4

    def run() -> Tensor:
        latents: Tensor = pipe(
            prompt_embeds=words,
            height=512,
            width=512,
            num_inference_steps=steps,
            guidance_scale=1.0,
            generator=torch.Generator().manual_seed(7),
            output_type="latent",
        ).images
        return latents

    setting = f"{million:.0f} million parameters, 64 × 64 latents, {steps} steps, Euler, no guidance"
    return _measure("As large as Stable Diffusion 1.5", pipe, run, steps, repeats, 1.02, setting)


def _measure(
    name: str, pipe: object, run: Callable[[], Tensor], steps: int, repeats: int, limit: float, setting: str
) -> pace.Row:
    """The ratio of the two sides; ends the program if observing alone changes the latents, or correcting does not."""
    correction = Correction(LOW, HIGH)

    def seen(hooks: tuple[Correction, ...]) -> Tensor:
        with observe(pipe, hooks=hooks, record=True) as watched:
            latents = run()
        if len(watched.steps) != steps:
            raise SystemExit(f"{name}: {len(watched.steps)} steps were recorded and not {steps}.")
        return latents

    def corrected() -> Tensor:
        return seen((correction,))

    bare = run()
    if not torch.equal(bare, seen(())):
        raise SystemExit(f"{name}: the observed run ends elsewhere. There is nothing to compare.")
    if torch.equal(bare, corrected()):
        raise SystemExit(f"{name}: the correction did nothing. There is nothing to compare.")
    pairs = []
    for turn in range(repeats):
        gc.collect()  # what earlier turns left is on nobody's bill
        if turn % 2:
            ours = pace._timed(corrected)
            theirs = pace._timed(run)
        else:
            theirs = pace._timed(run)
            ours = pace._timed(corrected)
        pairs.append((theirs, ours))
        print(f"{name} {turn + 1}/{repeats}: {theirs.wall:.3f} s bare, {ours.wall:.3f} s seen", file=sys.stderr)
    seconds = statistics.median(theirs.wall for theirs, _ in pairs)
    return pace._ratio(name, pairs, limit, f"{setting}; bare {seconds:.2f} s")


def _head(threads: int) -> list[str]:
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "diffusers", "numpy"))
    return [
        f"`python benchmarks/seam.py`, {date.today().isoformat()}, {pace._machine()}.",
        f"Python {platform.python_version()}, {libraries}. {threads} torch threads, float32.",
        "",
        "| Recorded and corrected / bare | Measured | At most | |",
        "|---|---|---|---|",
    ]


if __name__ == "__main__":
    sys.exit(main())
