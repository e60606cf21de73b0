"""The recipe of the bundled model: python -m studio.painter.train STAGE --out FOLDER.

  render       paint training pictures from seeds           -> FOLDER/pictures
  autoencoder  pictures <-> latents                         -> FOLDER/vae
  latents      encode all pictures and mirror images        -> FOLDER/latents
  decoder      latents -> pictures with texture             -> FOLDER/vae
  denoiser     text encoder and UNet, from noise to latents -> FOLDER/tokenizer, denoiser.pt
  export       an ordinary fp16 pipeline folder             -> --model
  grid         a labelled contact sheet of 24 prompts       -> --model's pictures in --out FILE.png
  all          render, autoencoder, latents, decoder, denoiser, export

Every stage resumes what it finds in FOLDER, appends its measurements to FOLDER/STAGE.jsonl, and on SIGTERM or
Ctrl+C saves and leaves. A budget counts everything spent on a stage, earlier runs included, so the same
command can be given again after an interruption. The learning rate fades to zero in the last fifth of a
budget; --decay fades it from the last checkpoint on, over that many further seconds (steps, where --steps is
given).
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Sequence
from pathlib import Path

import diffusers.utils.logging
import torch
import transformers.utils.logging

from studio.errors import StudioError
from studio.painter.autoencoder import train_autoencoder
from studio.painter.crew import together
from studio.painter.decoder import train_decoder
from studio.painter.denoiser import prepare_tokenizer, train_denoiser
from studio.painter.export import export_pipeline, paint_sheet
from studio.painter.latents import encode_pictures, encoded_shards
from studio.painter.preset import PRESETS
from studio.painter.progress import StopSignal, stop_signal
from studio.painter.render import render_pictures
from studio.painter.training import TrainingStage

STAGES = ("render", "autoencoder", "latents", "decoder", "denoiser", "export")


def run_stage(name: str, asked: argparse.Namespace, stop: StopSignal) -> None:
    """Do one stage as the command line asks."""
    preset = PRESETS[asked.preset]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    out: Path = asked.out
    data: Path = asked.data or out / "pictures"
    model: Path = asked.model or out / "painter"
    seconds, steps, decay = asked.seconds, asked.steps, asked.decay
    if name in ("autoencoder", "decoder", "denoiser") and (seconds, steps, decay) == (None, None, None):
        raise StudioError(f"The {name} stage needs a budget: --seconds, --steps or --decay.")
    training = TrainingStage(preset, data, out, device, seconds, steps, decay, init=asked.init, stop=stop)

    match name:
        case "render":
            count = asked.pictures or preset.pictures
            render_pictures(
                data,
                preset,
                count,
                workers=asked.workers,
                stop=stop,
                seconds=seconds,
                shard=asked.shard,
            )
        case "autoencoder":
            train_autoencoder(training)
        case "latents":
            encode_pictures(data, out, stop=stop, device=device)
        case "decoder":
            train_decoder(training)
        case "denoiser":
            prepare_tokenizer(preset, encoded_shards(data, out), out / "tokenizer")
            together(functools.partial(train_denoiser, training), asked.workers, asked.threads)
        case "export":
            export_pipeline(preset, out, model)
        case "grid":
            print(f"{paint_sheet(model, out, size=preset.picture):.2f} seconds per picture")


def read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m studio.painter.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("stage", choices=[*STAGES, "grid", "all"])
    parser.add_argument("--out", type=Path, required=True, help="folder of the training; for grid, the PNG to write")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="cpu", help="size of the model (cpu)")
    parser.add_argument("--data", type=Path, help="folder of pictures (OUT/pictures)")
    parser.add_argument("--model", type=Path, help="pipeline folder that export writes and grid reads (OUT/painter)")
    parser.add_argument("--seconds", type=float, help="budget of the stage, earlier runs included")
    parser.add_argument("--steps", type=int, help="budget in steps instead")
    parser.add_argument(
        "--decay", type=float, help="finish: fade the rate from the checkpoint on, over this many more"
    )
    parser.add_argument(
        "--init",
        type=Path,
        help="older weights to start from: a vae folder (autoencoder), a pipeline folder (denoiser)",
    )
    parser.add_argument("--pictures", type=int, help="seeds to render (the preset's number)")
    parser.add_argument("--shard", type=int, default=500, help="pictures per file (500)")
    parser.add_argument("--workers", type=int, default=1, help="processes that render or train the denoiser (1)")
    parser.add_argument("--threads", type=int, default=1, help="torch threads per process (1)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stage named on the command line. Returns the exit status; 1 with one line of words for what a
    person can fix.
    """
    asked = read_arguments(arguments)
    torch.set_num_threads(asked.threads)
    for logging in (diffusers.utils.logging, transformers.utils.logging):
        logging.set_verbosity_error()
        logging.disable_progress_bar()
    torch.set_float32_matmul_precision("high")
    try:
        with stop_signal() as stop:
            for name in STAGES if asked.stage == "all" else (asked.stage,):
                if not stop:
                    run_stage(name, asked, stop)
    except StudioError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
