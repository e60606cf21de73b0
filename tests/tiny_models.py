"""Real diffusers pipelines of every family that the studio loads, with small random weights, saved to disk in a
second.

folder = save_tiny("sdxl", tmp_path / "xl")

The classes, configurations and files are those of the large models, so whatever reads these reads those. They paint 64
px noise-like pictures. Weights depend on the family and the seed alone.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

WORDS = (
    "a",
    "an",
    "the",
    "of",
    "at",
    "in",
    "on",
    "oil",
    "painting",
    "lake",
    "mountain",
    "forest",
    "boat",
    "red",
    "sunset",
)
SD_NOISE = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
NO_CHECKER = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
# of the autoencoders of flow models
FLOW_LATENTS = {"shift_factor": 0.06, "scaling_factor": 1.5, "use_quant_conv": False, "use_post_quant_conv": False}


def save_tiny(family: str, folder: Path, seed: int = 0, variant: str | None = None) -> Path:
    """Writes a tiny pipeline as `save_pretrained` does, and returns its folder.

    `family` is a key of FAMILIES. With `variant="fp16"` only files of that variant are written, in half precision.
    """
    import diffusers
    import transformers

    for log in (diffusers.utils.logging, transformers.utils.logging):
        log.set_verbosity_error()
        log.disable_progress_bar()
    pipe = tiny(family, seed)
    if variant is not None:
        pipe.to(dtype=torch.float16)
    pipe.save_pretrained(folder, safe_serialization=True, variant=variant)
    return folder


def tiny(family: str, seed: int = 0) -> Any:
    """A tiny pipeline of this family in memory. The global random state is left as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        pipe = FAMILIES[family]()
    pipe.set_progress_bar_config(disable=True)
    return pipe


def stable_diffusion(prediction_type: str = "epsilon", zero_snr: bool = False) -> Any:
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    scheduler = DDIMScheduler(
        **SD_NOISE,
        prediction_type=prediction_type,
        rescale_betas_zero_snr=zero_snr,
        clip_sample=False,
        steps_offset=1,
        timestep_spacing="trailing" if zero_snr else "leading",
    )
    return StableDiffusionPipeline(
        vae=autoencoder_kl(),
        text_encoder=clip_text(),
        tokenizer=clip_tokenizer(),
        unet=unet(cross_attention_dim=32),
        scheduler=scheduler,
        **NO_CHECKER,
    )


def painter() -> Any:
    """Built as the bundled model is: v-prediction on the cosine schedule, 16 latent channels, a tiny autoencoder."""
    from diffusers import AutoencoderTiny, DDIMScheduler, StableDiffusionPipeline

    vae = AutoencoderTiny(
        encoder_block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        num_encoder_blocks=(0, 1, 1, 1),
        num_decoder_blocks=(1, 1, 1, 0),
        latent_channels=16,
        scaling_factor=1.4,
    )
    scheduler = DDIMScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        clip_sample=False,
        timestep_spacing="trailing",
        steps_offset=1,
    )
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=clip_text(),
        tokenizer=clip_tokenizer(),
        unet=unet(cross_attention_dim=32, channels=16),
        scheduler=scheduler,
        **NO_CHECKER,
    )


def sdxl() -> Any:
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline

    core = xl_unet()
    return StableDiffusionXLPipeline(
        vae=autoencoder_kl(),
        text_encoder=clip_text(),
        text_encoder_2=clip_text(projected=True),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        unet=core,
        scheduler=EulerDiscreteScheduler(**SD_NOISE, steps_offset=1, timestep_spacing="leading"),
        add_watermarker=False,
    )


def sd3() -> Any:
    """Stable Diffusion 3 without its T5, as it is often run."""
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

    core = SD3Transformer2DModel(
        sample_size=8,
        patch_size=1,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        caption_projection_dim=32,
        joint_attention_dim=64,
        pooled_projection_dim=64,
    )
    return StableDiffusion3Pipeline(
        vae=autoencoder_kl(**FLOW_LATENTS),
        text_encoder=clip_text(projected=True),
        text_encoder_2=clip_text(projected=True),
        text_encoder_3=None,
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        tokenizer_3=None,
        transformer=core.eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


def flux(dynamic: bool = True) -> Any:
    """Flux: packed latents; `dynamic` shifts its levels by the resolution, as dev does and schnell does not."""
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline

    core = flux_transformer(guidance_embeds=dynamic)
    return FluxPipeline(
        vae=autoencoder_kl(**FLOW_LATENTS),
        text_encoder=clip_text(),
        text_encoder_2=t5(),
        tokenizer=clip_tokenizer(),
        tokenizer_2=t5_tokenizer(),
        transformer=core,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0 if dynamic else 1.0, use_dynamic_shifting=dynamic),
    )


def pixart() -> Any:
    from diffusers import DPMSolverMultistepScheduler, PixArtSigmaPipeline, PixArtTransformer2DModel

    core = PixArtTransformer2DModel(
        sample_size=32,  # the smallest for which the pipeline knows proportions
        num_layers=1,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=3,
        caption_channels=32,
        in_channels=4,
        cross_attention_dim=24,
        out_channels=8,
        norm_type="ada_norm_single",
        use_additional_conditions=False,
    )
    return PixArtSigmaPipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=t5(),
        vae=autoencoder_kl(),
        transformer=core.eval(),
        scheduler=DPMSolverMultistepScheduler(beta_start=0.0001, beta_end=0.02, beta_schedule="linear"),
    )


FAMILIES: dict[str, Callable[[], Any]] = {
    "sd": stable_diffusion,
    "sd-v": lambda: stable_diffusion("v_prediction"),
    "sd-zero-snr": lambda: stable_diffusion("v_prediction", zero_snr=True),
    "painter": painter,
    "sdxl": sdxl,
    "sd3": sd3,
    "flux": flux,
    "flux-schnell": lambda: flux(dynamic=False),
    "pixart": pixart,
}
FLOW_FAMILIES = ("sd3", "flux", "flux-schnell")


def unet(cross_attention_dim: int, channels: int = 4, **options: Any) -> Any:
    """A U-Net of two levels for 8 × 8 latents."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=8,
        in_channels=channels,
        out_channels=channels,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=cross_attention_dim,
        attention_head_dim=4,
        norm_num_groups=8,
        **options,
    ).eval()


def xl_unet() -> Any:
    return unet(
        cross_attention_dim=64,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        transformer_layers_per_block=(1, 1),
        projection_class_embeddings_input_dim=6 * 8 + 32,
        use_linear_projection=True,
    )


def flux_transformer(guidance_embeds: bool = False) -> Any:
    from diffusers import FluxTransformer2DModel

    return FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=guidance_embeds,
    ).eval()


def autoencoder_kl(**options: Any) -> Any:
    """An autoencoder of factor 8 with four latent channels."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=64,
        **options,
    ).eval()


def clip_text(projected: bool = False) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=len(clip_tokenizer()),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=77,
        projection_dim=32,
        bos_token_id=len(clip_tokenizer()) - 2,
        eos_token_id=len(clip_tokenizer()) - 1,
        pad_token_id=len(clip_tokenizer()) - 1,
    )
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config).eval()


def t5() -> Any:
    from transformers import T5Config, T5EncoderModel

    config = T5Config(
        vocab_size=len(t5_tokenizer()),
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=1,
        num_heads=4,
        decoder_start_token_id=0,
    )
    return T5EncoderModel(config).eval()


def clip_tokenizer() -> Any:
    """CLIP's tokenizer with letters for tokens, and a few words of more than one letter."""
    from transformers import CLIPTokenizer

    letters = [chr(code) for code in range(33, 127)]
    vocabulary = {token: number for number, token in enumerate([*letters, *(letter + "</w>" for letter in letters)])}
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            pair = (parts[0], parts[1])
            if pair not in merges:
                merges.append(pair)
                vocabulary.setdefault("".join(pair), len(vocabulary))
            parts[:2] = ["".join(pair)]
    for mark in ("<|startoftext|>", "<|endoftext|>"):
        vocabulary[mark] = len(vocabulary)
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)


def t5_tokenizer() -> Any:
    """T5's tokenizer with letters and a few whole words for tokens."""
    from transformers import T5Tokenizer

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [("▁" + word, -3.0) for word in WORDS]
    pieces += [(chr(code), -6.0) for code in range(97, 123) if chr(code) not in WORDS]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=64)


def save_single_file(path: Path, seed: int = 0, extra: tuple[str, ...] = ()) -> Any:
    """Writes a tiny Stable Diffusion 1 as one file in the layout of the original code, and returns the pipeline.

    The networks are not those of the real family: their settings must stand in a folder beside the file
    (`save_settings`). `extra` names marker tensors to add, such as "v_pred".
    """
    from safetensors.torch import save_file

    pipe = tiny("sd", seed)
    tensors = {name: torch.zeros(1) for name in extra}
    tensors |= {f"model.diffusion_model.{original_unet_key(k)}": v for k, v in pipe.unet.state_dict().items()}
    for name, value in pipe.vae.state_dict().items():
        key = original_vae_key(name)
        # the original code wrote attention as convolutions of size 1
        is_attention_matrix = ".attn_1." in key and key.endswith(".weight") and ".norm." not in key
        tensors[f"first_stage_model.{key}"] = value[..., None, None] if is_attention_matrix else value
    text = {k.removeprefix("text_model."): v for k, v in pipe.text_encoder.state_dict().items()}
    tensors |= {f"cond_stage_model.transformer.text_model.{k}": v for k, v in text.items()}
    save_file({name: value.contiguous() for name, value in tensors.items()}, path)
    return pipe


def save_settings(folder: Path, family: str = "sd") -> Path:
    """Writes the configuration of a tiny pipeline without its weights, as it may lie beside a single file."""
    save_tiny(family, folder)
    for weights in folder.rglob("*.safetensors"):
        weights.unlink()
    return folder


def original_unet_key(key: str) -> str:
    """The name that the original code gave a tensor of the tiny U-Net (two levels, one layer each)."""
    for ours, theirs in (
        ("time_embedding.linear_1", "time_embed.0"),
        ("time_embedding.linear_2", "time_embed.2"),
        ("conv_in", "input_blocks.0.0"),
        ("conv_norm_out", "out.0"),
        ("conv_out", "out.2"),
        ("down_blocks.0.resnets.0", "input_blocks.1.0"),
        ("down_blocks.0.downsamplers.0.conv", "input_blocks.2.0.op"),
        ("down_blocks.1.resnets.0", "input_blocks.3.0"),
        ("down_blocks.1.attentions.0", "input_blocks.3.1"),
        ("mid_block.resnets.0", "middle_block.0"),
        ("mid_block.attentions.0", "middle_block.1"),
        ("mid_block.resnets.1", "middle_block.2"),
        ("up_blocks.0.resnets.0", "output_blocks.0.0"),
        ("up_blocks.0.attentions.0", "output_blocks.0.1"),
        ("up_blocks.0.resnets.1", "output_blocks.1.0"),
        ("up_blocks.0.attentions.1", "output_blocks.1.1"),
        ("up_blocks.0.upsamplers.0", "output_blocks.1.2"),
        ("up_blocks.1.resnets.0", "output_blocks.2.0"),
        ("up_blocks.1.resnets.1", "output_blocks.3.0"),
    ):
        if key.startswith(ours + "."):
            key = theirs + key.removeprefix(ours)
            break
    for ours, theirs in (
        (".norm1.", ".in_layers.0."),
        (".conv1.", ".in_layers.2."),
        (".time_emb_proj.", ".emb_layers.1."),
        (".norm2.", ".out_layers.0."),
        (".conv2.", ".out_layers.3."),
        (".conv_shortcut.", ".skip_connection."),
    ):
        if "transformer_blocks" not in key:
            key = key.replace(ours, theirs)
    return key


def original_vae_key(key: str) -> str:
    """The name that the original code gave a tensor of an autoencoder of four levels."""
    for coder in ("encoder", "decoder"):
        key = key.replace(f"{coder}.mid_block.resnets.0", f"{coder}.mid.block_1")
        key = key.replace(f"{coder}.mid_block.resnets.1", f"{coder}.mid.block_2")
        key = key.replace(f"{coder}.mid_block.attentions.0", f"{coder}.mid.attn_1")
        key = key.replace(f"{coder}.conv_norm_out", f"{coder}.norm_out")
    for level in range(4):
        key = key.replace(f"encoder.down_blocks.{level}.resnets", f"encoder.down.{level}.block")
        key = key.replace(f"encoder.down_blocks.{level}.downsamplers.0", f"encoder.down.{level}.downsample")
        key = key.replace(f"decoder.up_blocks.{level}.resnets", f"decoder.up.{3 - level}.block")
        key = key.replace(f"decoder.up_blocks.{level}.upsamplers.0", f"decoder.up.{3 - level}.upsample")
    key = key.replace("conv_shortcut", "nin_shortcut")
    for ours, theirs in (
        ("group_norm", "norm"),
        ("to_q", "q"),
        ("to_k", "k"),
        ("to_v", "v"),
        ("to_out.0", "proj_out"),
    ):
        key = key.replace(f"attn_1.{ours}.", f"attn_1.{theirs}.")
    return key
