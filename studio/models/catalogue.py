"""Which models there are: the bundled painter, well-known ones by short names, and whatever a person names.

A card says where a model is, under which licence, and which settings suit it. Nothing is loaded or fetched here, and
neither diffusers nor torch is imported: the page is served from cards alone.
"""

from __future__ import annotations

import dataclasses
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.assets import asset
from studio.errors import ModelNotFound, StudioError
from studio.models import safety, single_file
from studio.models.weights import PICKLE_SUFFIXES, shown
from studio.requests import SIZE_MULTIPLE, TextToImage

PAINTER = "painter"
_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")


@dataclass(frozen=True)
class ModelCard:
    """A model as a person meets it. Sizes are pixels; the settings are those that suit it."""

    name: str  # what a request calls it
    title: str
    source: Path | str  # a folder, a .safetensors file, or the id of a repository on the hub
    licence: str
    width: int
    height: int
    num_inference_steps: int
    guidance_scale: float
    solver: str
    blurb: str
    max_side: int
    multiple: int = SIZE_MULTIPLE  # of which the sides have to be

    def request(self, prompt: str = "", seed: int = 0) -> TextToImage:
        """A request with this model's own size and settings."""
        return TextToImage(
            prompt,
            width=self.width,
            height=self.height,
            num_inference_steps=self.num_inference_steps,
            guidance_scale=self.guidance_scale,
            solver=self.solver,
            seed=seed,
            model=self.name,
        )


@dataclass(frozen=True)
class _Family:
    """What suits the models of one pipeline class."""

    side: int
    steps: int
    guidance: float
    solver: str
    multiple: int = SIZE_MULTIPLE  # px that the sides have to be multiples of


_FAMILIES = {
    "AuraFlowPipeline": _Family(1024, 50, 3.5, "Euler"),
    "ChromaPipeline": _Family(1024, 40, 3.0, "Euler"),
    "CogView4Pipeline": _Family(1024, 50, 3.5, "Euler"),
    "FluxFillPipeline": _Family(1024, 30, 30.0, "Euler"),
    "FluxPipeline": _Family(1024, 28, 3.5, "Euler"),
    "HunyuanDiTPipeline": _Family(1024, 30, 5.0, "DPM++ 2M"),
    "KolorsPipeline": _Family(1024, 25, 5.0, "DPM++ 2M"),
    "LatentConsistencyModelPipeline": _Family(512, 4, 8.0, "LCM"),
    "Lumina2Pipeline": _Family(1024, 30, 4.0, "Euler"),
    "PixArtAlphaPipeline": _Family(1024, 20, 4.5, "DPM++ 2M"),
    "PixArtSigmaPipeline": _Family(1024, 20, 4.5, "DPM++ 2M"),
    "SanaPipeline": _Family(1024, 20, 4.5, "DPM++ 2M", multiple=32),
    "StableDiffusion3Pipeline": _Family(1024, 28, 4.5, "Euler"),
    "StableDiffusionInpaintPipeline": _Family(512, 25, 7.0, "DPM++ 2M"),
    "StableDiffusionPipeline": _Family(512, 25, 7.0, "DPM++ 2M"),
    "StableDiffusionXLInpaintPipeline": _Family(1024, 30, 6.0, "DPM++ 2M"),
    "StableDiffusionXLPipeline": _Family(1024, 30, 6.0, "DPM++ 2M"),
    "ZImagePipeline": _Family(1024, 9, 0.0, "Euler"),
}
_ANY_FAMILY = _Family(1024, 28, 4.5, "Euler")
WEIGHING = frozenset({"LatentConsistencyModelPipeline", "StableDiffusionPipeline", "StableDiffusionXLPipeline"})
"""Pipelines whose text encoders are CLIP's, in which words can be weighed (see `weighting`)."""


def _hub_card(
    name: str,
    title: str,
    repository: str,
    licence: str,
    family: _Family,
    blurb: str,
    max_side: int | None = None,
) -> ModelCard:
    return _card(name, title, repository, licence, family, blurb, max_side or min(2048, family.side * 2))


def _card(
    name: str, title: str, source: Path | str, licence: str, family: _Family, blurb: str, max_side: int
) -> ModelCard:
    return ModelCard(
        name=name,
        title=title,
        source=source,
        licence=licence,
        width=family.side,
        height=family.side,
        num_inference_steps=family.steps,
        guidance_scale=family.guidance,
        solver=family.solver,
        blurb=blurb,
        max_side=max_side,
        multiple=family.multiple,
    )


_HUB_CARDS = {
    card.name: card
    for card in (
        _hub_card(
            "sd15",
            "Stable Diffusion 1.5",
            "stable-diffusion-v1-5/stable-diffusion-v1-5",
            "CreativeML OpenRAIL-M",
            _FAMILIES["StableDiffusionPipeline"],
            "Small and widely fine-tuned. Best near 512 pixels.",
            1024,
        ),
        _hub_card(
            "lcm-dreamshaper",
            "LCM DreamShaper 7",
            "SimianLuo/LCM_Dreamshaper_v7",
            "MIT",
            dataclasses.replace(_FAMILIES["LatentConsistencyModelPipeline"], side=768),
            "Stable Diffusion 1.5 distilled to 2 to 8 steps. Keep the LCM solver.",
            1024,
        ),
        _hub_card(
            "sdxl",
            "Stable Diffusion XL",
            "stabilityai/stable-diffusion-xl-base-1.0",
            "CreativeML Open RAIL++-M",
            _FAMILIES["StableDiffusionXLPipeline"],
            "The base of most community styles. Best near 1024 pixels.",
        ),
        _hub_card(
            "sdxl-turbo",
            "SDXL Turbo",
            "stabilityai/sdxl-turbo",
            "Stability AI Non-Commercial Research Community",
            _Family(512, 2, 0.0, "Euler a"),
            "One to four steps, without guidance: it ignores the words to leave out.",
            1024,
        ),
        _hub_card(
            "sd3.5-medium",
            "Stable Diffusion 3.5 Medium",
            "stabilityai/stable-diffusion-3.5-medium",
            "Stability AI Community",
            dataclasses.replace(_FAMILIES["StableDiffusion3Pipeline"], steps=40),
            "Follows long descriptions well. Its licence must be accepted on the hub first.",
        ),
        _hub_card(
            "flux-schnell",
            "FLUX.1 schnell",
            "black-forest-labs/FLUX.1-schnell",
            "Apache-2.0",
            _Family(1024, 4, 0.0, "Euler"),
            "Four steps, without guidance. Large: 12 billion parameters beside its text encoder's 5.",
        ),
        _hub_card(
            "flux-dev",
            "FLUX.1 dev",
            "black-forest-labs/FLUX.1-dev",
            "FLUX.1 dev Non-Commercial",
            _FAMILIES["FluxPipeline"],
            "As large as schnell, finer, slower. Its licence must be accepted on the hub first.",
        ),
        _hub_card(
            "pixart-sigma",
            "PixArt-Σ",
            "PixArt-alpha/PixArt-Sigma-XL-2-1024-MS",
            "CreativeML Open RAIL++-M",
            _FAMILIES["PixArtSigmaPipeline"],
            "A small painter (0.6 billion parameters) with a large text encoder.",
        ),
        _hub_card(
            "sana",
            "Sana 1.6B",
            "Efficient-Large-Model/Sana_1600M_1024px_BF16_diffusers",
            "NVIDIA NSCL v2-custom, with the Gemma terms",
            _FAMILIES["SanaPipeline"],
            "Fast at large sizes, since one latent stands for 32 pixels.",
        ),
    )
}


def names() -> tuple[str, ...]:
    """The names in the catalogue, the bundled model first."""
    return (PAINTER, *_HUB_CARDS)


def find(name: str) -> ModelCard:
    """The card of a model that the person at this computer names.

    In this order: a name in the catalogue, a diffusers folder, a .safetensors file, the id of a repository on the hub
    (`owner/name`). The hub is not asked here. Names that come from elsewhere (a page, a picture's request) are for
    `named`, which touches no file.

    Raises ModelNotFound, listing the known names, or UnsafeModel for pickled weights.
    """
    if name == PAINTER:
        return _painter()
    if name in _HUB_CARDS:
        return _HUB_CARDS[name]
    if not name.strip() or not name.isprintable():
        raise ModelNotFound(f"'{shown(name)}' is no name of a model. Known: {', '.join(names())}.")
    path = Path(os.path.expanduser(name))  # noqa: PTH111 - which never raises, as pathlib's does for ~nobody
    if os.path.isdir(path):  # noqa: PTH112 - likewise for names that are too long
        return _folder_card(name, path)
    if os.path.isfile(path) or path.suffix.lower() in PICKLE_SUFFIXES | {".safetensors"}:  # noqa: PTH113
        return _file_card(name, path)
    if _HUB_ID.fullmatch(name) and ".." not in name:
        title = name.rpartition("/")[2]
        return _hub_card(name, title, name, "see its page on the hub", _ANY_FAMILY, f"{name} on the hub.")
    raise ModelNotFound(
        f"'{shown(name)}' is not in the catalogue and is no folder, no .safetensors file and no id of the "
        f"form owner/name. Known: {', '.join(names())}."
    )


def named(name: str, also: str | None = None) -> ModelCard:
    """The card of a model that a stranger's text names: one of the catalogue, or `also`, what this studio was started
    with.

    No path is looked at, whatever the name says. Raises ModelNotFound for every other name.
    """
    if name in names() or (also is not None and name == also):
        return find(name)
    raise ModelNotFound(f"'{shown(name)}' is not a model of this studio. Known: {', '.join(names())}.")


def pipeline_of(card: ModelCard) -> str | None:
    """The class of a model's pipeline, from its files; None for one that is not on this computer."""
    from studio.models import hub

    source = card.source
    path = source if isinstance(source, Path) else hub.cached(source)
    if path is None:
        return None
    if path.is_file():
        return single_file.family_of(path).pipeline
    pipeline: str = safety.read_index(path)["_class_name"]
    return pipeline


def _painter() -> ModelCard:
    folder = asset("models", PAINTER)
    try:
        card = _folder_card(PAINTER, folder)
    except StudioError as problem:
        raise ModelNotFound(
            f"The bundled painter is not where it should be ({folder}). Install the studio again. {problem}"
        ) from problem
    return dataclasses.replace(
        card,
        title="Painter",
        licence="Apache-2.0",
        num_inference_steps=20,
        guidance_scale=5.0,
        solver="DPM++ 2M",
        blurb="Our own small model. It paints landscapes in nine styles; it knows no people, no text and no "
        "photographs.",
    )


def _folder_card(name: str, folder: Path) -> ModelCard:
    index = safety.read_index(folder)
    pipeline: str = index["_class_name"]
    family = _FAMILIES.get(pipeline, _ANY_FAMILY)
    core, vae, scheduler = (
        _config(folder, part) for part in (("unet", "transformer"), ("vae", "vqvae", "movq"), ("scheduler",))
    )
    native = _native_side(core, vae)
    if native is not None:
        family = dataclasses.replace(family, side=native)
    if pipeline == "FluxPipeline" and core.get("guidance_embeds") is False:
        family = dataclasses.replace(family, steps=4, guidance=0.0)  # distilled, as schnell is
    if scheduler.get("_class_name") == "LCMScheduler":
        family = dataclasses.replace(family, steps=4, solver="LCM")
    title = folder.resolve().name
    blurb = f"A {pipeline.removesuffix('Pipeline')} model from {folder}."
    return _card(name, title, folder, "as its folder says", family, blurb, min(2048, family.side * 4))


def _file_card(name: str, path: Path) -> ModelCard:
    family = single_file.family_of(path)
    if family.beside is not None:
        card = _folder_card(name, family.beside)
        return dataclasses.replace(card, title=path.stem, source=path, blurb=f"A single file: {path}.")
    suited = _FAMILIES[family.pipeline]
    return _card(name, path.stem, path, "as its author says", suited, f"A single file: {path}.", suited.side * 2)


def _config(folder: Path, parts: tuple[str, ...]) -> dict[str, Any]:
    """The configuration of the first of these parts that the folder has, or an empty one."""
    for part in parts:
        for file in ("config.json", "scheduler_config.json"):
            path = folder / part / file
            if path.is_file():
                return safety.read_json(path)
    return {}


def _native_side(core: dict[str, Any], vae: dict[str, Any]) -> int | None:
    """Pixels along a side of what the model was trained on, from latents times the autoencoder's factor.

    None if the configuration does not say so, or says what no one trains on.
    """
    sample = core.get("sample_size")
    blocks = vae.get("block_out_channels") or vae.get("encoder_block_out_channels")
    if not isinstance(sample, int) or isinstance(sample, bool) or not isinstance(blocks, list) or not blocks:
        return None
    side = sample * 2 ** (len(blocks) - 1)
    return round(side / 16) * 16 if 64 <= side <= 2048 else None
