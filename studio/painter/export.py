"""The finished model: an ordinary fp16 StableDiffusionPipeline folder, and a contact sheet made with it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import diffusers
import numpy as np
import torch
import transformers
from diffusers import AutoencoderTiny, StableDiffusionPipeline
from PIL import Image, ImageDraw, ImageFont

from studio import __version__
from studio.errors import StudioError
from studio.models.preview import LinearPreview, fit_linear_preview, save_preview
from studio.models.solvers import make_scheduler
from studio.painter import HELD_OUT, is_held_out, paint
from studio.painter.denoiser import Denoiser, build_scheduler
from studio.painter.preset import Preset
from studio.painter.progress import load_checkpoint, write_folder
from studio.painter.render import paint_at
from studio.painter.text import load_tokenizer

FACTS = "painter.json"
SHEET_SEED = 3_000_000_000  # beyond the seeds of the training pictures


def export_pipeline(preset: Preset, out: Path, model: Path) -> None:
    """Assemble the averaged weights in `out` into a pipeline folder `model`, half precision, and check that
    it paints.

    Beside the pipeline lies painter.json: preset, seconds and samples of training, pictures, and library
    versions.
    """
    checkpoint = out / "denoiser.pt"
    state = load_checkpoint(checkpoint)
    if not state:
        raise StudioError(f"No denoiser in '{checkpoint}'. Train it first: python -m studio.painter.train denoiser.")
    tokenizer = load_tokenizer(out / "tokenizer")
    denoiser = Denoiser(preset, tokenizer)
    denoiser.load_state_dict(state["averaged"])
    statistics = json.loads((out / "latents" / "statistics.json").read_text())
    vae = AutoencoderTiny.from_pretrained(out / "vae", low_cpu_mem_usage=False)
    vae.register_to_config(scaling_factor=statistics["scale"])
    pipeline = StableDiffusionPipeline(
        vae=vae.half(),
        text_encoder=denoiser.text_encoder.half(),
        tokenizer=tokenizer,
        unet=denoiser.unet.half(),
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    facts = {
        "preset": asdict(preset),
        "denoiser": {key: state[key] for key in ("step", "spent", "samples", "pictures")},
        "autoencoder": _effort(out / "autoencoder.pt"),
        "decoder": _effort(out / "decoder.pt"),
        "latents": statistics,
        "parameters": {
            name: sum(p.numel() for p in part.parameters())
            for name, part in (("vae", vae), ("text_encoder", denoiser.text_encoder), ("unet", denoiser.unet))
        },
        "versions": {
            "wavebrush": __version__,
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
            "transformers": transformers.__version__,
        },
    }

    def write(beside: Path) -> None:
        pipeline.save_pretrained(beside, safe_serialization=True)
        _tidy(beside / "vae" / "config.json")
        save_preview(_linear_preview(vae, preset), beside)
        (beside / FACTS).write_text(json.dumps(facts, indent=1) + "\n")
        check = load_pipeline(beside)
        if not np.isfinite(check("a lake", num_inference_steps=2, output_type="np").images).all():
            raise FloatingPointError("The exported pipeline paints pictures that are not finite.")

    write_folder(model, write)


def _effort(checkpoint: Path) -> dict[str, float | None]:
    """Steps and seconds of a stage; nothing where its weights came from elsewhere."""
    state = load_checkpoint(checkpoint)
    return {key: state.get(key) for key in ("step", "spent")}


@torch.no_grad()
def _linear_preview(vae: AutoencoderTiny, preset: Preset, count: int = 96) -> LinearPreview:
    """The best linear map from latents, scaled as the scheduler sees them, to the pixels of `count` paintings."""
    paintings = np.stack([paint_at(preset, SHEET_SEED + seed).pixels for seed in range(count)])
    pictures = torch.from_numpy(paintings).movedim(-1, 1).float() / 127.5 - 1
    latents = [vae.float().encode(some).latents for some in torch.split(pictures, 16)]
    vae.half()
    return fit_linear_preview(torch.cat(latents) * vae.config.scaling_factor, pictures)


def _tidy(config: Path) -> None:
    """Drop what AutoencoderTiny writes but refuses to read, and where the weights came from."""
    facts = json.loads(config.read_text())
    for key in ("block_out_channels", "_name_or_path"):
        facts.pop(key, None)
    config.write_text(json.dumps(facts, indent=2) + "\n")


def load_pipeline(model: Path) -> StableDiffusionPipeline:
    """The exported pipeline in float32 with the DPM++ 2M solver, silent."""
    pipeline = StableDiffusionPipeline.from_pretrained(model, low_cpu_mem_usage=False, dtype=torch.float32)
    pipeline.scheduler = make_scheduler("DPM++ 2M", pipeline)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def generate(
    pipeline: StableDiffusionPipeline,
    prompts: Sequence[str],
    *,
    size: int,
    seed: int = 0,
    num_inference_steps: int = 20,
    guidance_scale: float = 4.5,
    batch: int = 8,
) -> np.ndarray:
    """One picture per prompt, uint8 (N, size, size, 3). Picture i starts from seed + i."""
    rows = []
    for start in range(0, len(prompts), batch):
        some = list(prompts[start : start + batch])
        generators = [torch.Generator().manual_seed(seed + start + i) for i in range(len(some))]
        pictures = pipeline(
            some,
            height=size,
            width=size,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            generator=generators,
            output_type="np",
        ).images
        rows.append(np.round(pictures * 255).astype(np.uint8))
    return np.concatenate(rows)


@dataclass(frozen=True)
class SheetPrompt:
    """One cell of the contact sheet."""

    prompt: str
    held_out: bool = False


def held_out_prompts(count: int) -> list[SheetPrompt]:
    """Captions of `count` scenes whose (terrain, time, style) no training picture has, spread over the
    styles.
    """
    by_style = sorted(HELD_OUT, key=lambda triple: (triple[2], triple[0], triple[1]))
    prompts = []
    for number in range(count):
        terrain, time_of_day, style = by_style[number * len(by_style) // count]
        painting = paint(90_000_000 + number, size=64, terrain=terrain, time=time_of_day, style=style)
        prompts.append(SheetPrompt(painting.caption, is_held_out(painting.scene)))
    return prompts


PROMPTS = (
    "an oil painting of mountains in summer at sunset with pine trees",
    "a watercolor painting of the sea at midday with a sailboat",
    "pixel art of a village in autumn at dusk",
    "a flat vector illustration of a castle on a hill in spring at dawn",
    "a digital painting of an erupting volcano at night with glowing lava",
    "a digital painting of desert dunes at sunset under a clear sky with pyramids",
    "an ink wash painting of a snowy pine forest in the morning",
    "a digital painting of an arctic sea at night with northern lights",
    "an impressionist painting of a field of poppies in spring at midday",
    "a digital painting of a city skyline at night with lit windows",
    "a digital painting of a red planet in space with rings and stars",
    "an oil painting of a rocky coast at sunset with a lighthouse",
    "a woodblock print of a river valley in autumn in the morning",
    "a pastel drawing of rolling hills at dawn with a windmill",
    "a watercolor painting of a mountain lake in autumn in the morning in fog",
    "an oil painting of the sea at dusk in a storm with lightning",
)


def paint_sheet(model: Path, file: Path, *, size: int, seed: int = 7, columns: int = 6) -> float:
    """Paint 24 labelled prompts, 8 of them of held-out triples, into one PNG. Returns seconds a picture."""
    cells = [*map(SheetPrompt, PROMPTS), *held_out_prompts(24 - len(PROMPTS))]
    pipeline = load_pipeline(model)
    began = time.monotonic()
    pictures = generate(pipeline, [cell.prompt for cell in cells], size=size, seed=seed)
    seconds = (time.monotonic() - began) / len(cells)
    label = 62
    width, height = size + 8, size + label
    sheet = Image.new("RGB", (columns * width, -(-len(cells) // columns) * height), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(9)
    for index, (cell, picture) in enumerate(zip(cells, pictures, strict=True)):
        left, top = index % columns * width + 4, index // columns * height + 4
        sheet.paste(Image.fromarray(picture), (left, top))
        words = ("NEW: " if cell.held_out else "") + cell.prompt
        draw.multiline_text((left, top + size + 2), _wrapped(words, size, draw, font), "black", font, spacing=1)
    file.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(file)
    return seconds


def _wrapped(
    words: str, width: int, draw: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont
) -> str:
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        if draw.textlength(longer, font) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines[:5])
