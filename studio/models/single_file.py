"""Models that come as one .safetensors file: which family a file belongs to, and the settings that it does not carry.

Such a file holds weights alone. What shape the networks have and how words become tokens is known for Stable Diffusion
1 and XL, the two families that are shared this way, so that these files load without a network. For everything else, a
folder of the same name beside the file may say it: `lake/model_index.json` for `lake.safetensors`.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.assets import asset
from studio.errors import ModelNotFound
from studio.models import safety
from studio.models.weights import shown, tensor_shapes

_FIRST_CONV = "model.diffusion_model.input_blocks.0.0.weight"
_CLIP_L = "cond_stage_model.transformer.text_model.embeddings.position_embedding.weight"
_CLIP_G = "conditioner.embedders.1.model.transformer.resblocks.0.mlp.c_proj.bias"
_DECODER = "first_stage_model.decoder.conv_in.weight"


@dataclass(frozen=True)
class Family:
    """What a single file is, as its tensors tell."""

    pipeline: str  # class name
    prediction_type: str = "epsilon"
    zero_terminal_snr: bool = False
    beside: Path | None = None  # the folder that holds the settings, if there is one


def family_of(path: Path) -> Family:
    """The family of a single file. Only its header, and the folder beside it, are read.

    Raises UnsafeModel if the file is not sound, ModelNotFound if it holds no whole model of a family that is known.
    """
    shapes = tensor_shapes(path)
    beside = path.with_suffix("")
    if (beside / safety.INDEX).is_file():
        return Family(safety.check_configuration(beside).pipeline, beside=beside)
    name = f"`{shown(path.name)}`"
    if any(key.startswith("lora_") or ".lora_" in key or key.endswith(".alpha") for key in shapes):
        raise ModelNotFound(f"{name} is a LoRA, an addition to a model, and not a model by itself.")
    if _FIRST_CONV not in shapes:
        raise ModelNotFound(
            f"{name} is not a whole Stable Diffusion 1 or XL model, which are the kinds that load from one "
            "file. Other models load from a diffusers folder, or with their configuration in a folder "
            f"`{shown(beside.name)}` beside it."
        )
    channels = shapes[_FIRST_CONV][1] if len(shapes[_FIRST_CONV]) == 4 else 0
    if channels != 4:
        raise ModelNotFound(
            f"{name} takes {channels} input channels, as models for inpainting or editing do. Choose one "
            "that paints from words."
        )
    family = Family(
        "StableDiffusionXLPipeline" if _CLIP_G in shapes else "StableDiffusionPipeline",
        # markers that fine-tuners put there, since weights do not show how they were trained
        prediction_type="v_prediction" if "v_pred" in shapes else "epsilon",
        zero_terminal_snr="ztsnr" in shapes,
    )
    if family.pipeline == "StableDiffusionPipeline" and _CLIP_L not in shapes:
        raise ModelNotFound(
            f"{name} has no text encoder of Stable Diffusion 1 or XL in it. If it is of another kind, put "
            f"its configuration in a folder `{shown(beside.name)}` beside it."
        )
    if _DECODER not in shapes:
        raise ModelNotFound(f"{name} has no autoencoder in it. Choose a complete copy of this model.")
    return family


@contextlib.contextmanager
def configuration(family: Family) -> Iterator[Path]:
    """A folder with the configuration and the tokenizers of a family, as long as the context lasts."""
    if family.beside is not None:
        yield family.beside
        return
    with tempfile.TemporaryDirectory(prefix="wavebrush-") as name:
        folder = Path(name)
        parts = _XL if family.pipeline == "StableDiffusionXLPipeline" else _ONE
        index: dict[str, Any] = {
            "_class_name": family.pipeline,
            "_diffusers_version": "0.42.1",
            **parts.options,
        }
        for part, (library, class_name, config) in parts.networks.items():
            index[part] = [library, class_name]
            _write(folder / part / "config.json", {"_class_name": class_name, **config})
        index["scheduler"] = ["diffusers", parts.scheduler["_class_name"]]
        trained = {
            "prediction_type": family.prediction_type,
            "rescale_betas_zero_snr": family.zero_terminal_snr,
        }
        _write(folder / "scheduler" / "scheduler_config.json", {**parts.scheduler, **trained})
        for part, padding in parts.tokenizers.items():
            index[part] = ["transformers", "CLIPTokenizer"]
            _write_tokenizer(folder / part, padding)
        _write(folder / safety.INDEX, index)
        yield folder


def clip_vocabulary() -> dict[str, int]:
    """The 49,408 tokens of CLIP: bytes, bytes that end a word, the merges in order, and two marks."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    stand_ins = iter(range(256, 512))  # bytes that show as nothing are written as these characters
    bytes_ = [chr(b) for b in visible] + [chr(next(stand_ins)) for b in range(256) if b not in visible]
    merges = asset("clip", "merges.txt").read_text("utf-8").splitlines()[1:]
    merged = ["".join(line.split()) for line in merges]
    tokens = [*bytes_, *(b + "</w>" for b in bytes_), *merged, "<|startoftext|>", "<|endoftext|>"]
    return {token: number for number, token in enumerate(tokens)}


def _write_tokenizer(folder: Path, padding: str) -> None:
    _write(folder / "vocab.json", clip_vocabulary())
    merges = asset("clip", "merges.txt").read_text("utf-8")
    (folder / "merges.txt").write_text(merges, "utf-8")
    marks = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    _write(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "pad_token": padding, **marks},
    )


def _write(path: Path, value: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), "utf-8")


@dataclass(frozen=True)
class _Parts:
    """The parts of a family's pipeline."""

    networks: Mapping[str, tuple[str, str, Mapping[str, Any]]]  # part -> library, class, configuration
    scheduler: Mapping[str, Any]
    tokenizers: Mapping[str, str]  # part -> padding token
    options: Mapping[str, Any]


_TEXT_ENCODER = {
    "model_type": "clip_text_model",
    "vocab_size": 49408,
    "max_position_embeddings": 77,
    "layer_norm_eps": 1e-5,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 1,
}
_CLIP_L_CONFIG = {
    **_TEXT_ENCODER,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "hidden_act": "quick_gelu",
    "projection_dim": 768,
}
_CLIP_G_CONFIG = {
    **_TEXT_ENCODER,
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "hidden_act": "gelu",
    "projection_dim": 1280,
}
_VAE = {
    "act_fn": "silu",
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 4,
    "layers_per_block": 2,
    "norm_num_groups": 32,
}
_UNET = {
    "act_fn": "silu",
    "in_channels": 4,
    "out_channels": 4,
    "layers_per_block": 2,
    "norm_eps": 1e-5,
    "norm_num_groups": 32,
    "downsample_padding": 1,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "mid_block_scale_factor": 1,
}
_NOISE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
}

_ONE = _Parts(
    networks={
        "text_encoder": ("transformers", "CLIPTextModel", _CLIP_L_CONFIG),
        "unet": (
            "diffusers",
            "UNet2DConditionModel",
            {
                **_UNET,
                "attention_head_dim": 8,
                "block_out_channels": [320, 640, 1280, 1280],
                "cross_attention_dim": 768,
                "down_block_types": [*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"],
                "up_block_types": ["UpBlock2D", *["CrossAttnUpBlock2D"] * 3],
                "sample_size": 64,
            },
        ),
        "vae": ("diffusers", "AutoencoderKL", {**_VAE, "sample_size": 512, "scaling_factor": 0.18215}),
    },
    scheduler={
        "_class_name": "DDIMScheduler",
        **_NOISE,
        "clip_sample": False,
        "set_alpha_to_one": False,
        "steps_offset": 1,
    },
    tokenizers={"tokenizer": "<|endoftext|>"},
    options={
        "safety_checker": [None, None],
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
    },
)
_XL = _Parts(
    networks={
        "text_encoder": ("transformers", "CLIPTextModel", _CLIP_L_CONFIG),
        "text_encoder_2": ("transformers", "CLIPTextModelWithProjection", _CLIP_G_CONFIG),
        "unet": (
            "diffusers",
            "UNet2DConditionModel",
            {
                **_UNET,
                "addition_embed_type": "text_time",
                "addition_time_embed_dim": 256,
                "attention_head_dim": [5, 10, 20],
                "block_out_channels": [320, 640, 1280],
                "cross_attention_dim": 2048,
                "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
                "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
                "projection_class_embeddings_input_dim": 2816,
                "sample_size": 128,
                "transformer_layers_per_block": [1, 2, 10],
                "use_linear_projection": True,
            },
        ),
        "vae": (
            "diffusers",
            "AutoencoderKL",
            {**_VAE, "sample_size": 1024, "scaling_factor": 0.13025, "force_upcast": True},
        ),
    },
    scheduler={
        "_class_name": "EulerDiscreteScheduler",
        **_NOISE,
        "steps_offset": 1,
        "timestep_spacing": "trailing",
    },
    tokenizers={"tokenizer": "<|endoftext|>", "tokenizer_2": "!"},
    options={
        "force_zeros_for_empty_prompt": True,
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
    },
)
