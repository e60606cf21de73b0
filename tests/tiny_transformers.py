"""Tiny pipelines around a transformer that paint pictures, most of them along a flow."""

from __future__ import annotations

from typing import Any

import torch
from tiny_calls import Build, Call, call_with, fixed
from tiny_models import FLOW_LATENTS, flux_transformer
from torch import Tensor

# -- flow models for pictures -----------------------------------------------------------------------------------------


def flow(**options: Any) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(**options)


def flow_autoencoder(channels: int = 4) -> Any:
    """Of factor 2, so that 16 px are 8 × 8 latents."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(4, 4),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=channels,
        norm_num_groups=1,
        sample_size=16,
        **FLOW_LATENTS,
    ).eval()


def sd3(kind: str) -> Build:
    def build() -> Any:
        import diffusers

        core = diffusers.SD3Transformer2DModel(
            sample_size=8,
            patch_size=1,
            in_channels=16,
            out_channels=16,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=2,
            caption_projection_dim=16,
            joint_attention_dim=32,
            pooled_projection_dim=64,
        )
        return getattr(diffusers, kind)(
            vae=flow_autoencoder(16),
            text_encoder=None,
            text_encoder_2=None,
            text_encoder_3=None,
            tokenizer=None,
            tokenizer_2=None,
            tokenizer_3=None,
            transformer=core.eval(),
            scheduler=flow(shift=3.0),
        )

    return build


def call_sd3(**further: Any) -> Call:
    prompt = {
        "prompt_embeds": fixed(1, 8, 32),
        "negative_prompt_embeds": fixed(1, 8, 32, seed=8),
        "pooled_prompt_embeds": fixed(1, 64),
        "negative_pooled_prompt_embeds": fixed(1, 64, seed=8),
    }
    return call_with(**prompt | {"height": 16, "width": 16} | further)


def flux(kind: str, stochastic: bool = False) -> Build:
    def build() -> Any:
        import diffusers

        core = flux_transformer()
        return getattr(diffusers, kind)(
            vae=flow_autoencoder(),
            text_encoder=None,
            text_encoder_2=None,
            tokenizer=None,
            tokenizer_2=None,
            transformer=core,
            scheduler=flow(use_dynamic_shifting=True, stochastic_sampling=stochastic),
        )

    return build


def call_flux(**further: Any) -> Call:
    prompt = {"prompt_embeds": fixed(1, 12, 32), "pooled_prompt_embeds": fixed(1, 32)}
    return call_with(**prompt | {"height": 16, "width": 32} | further)


def chroma() -> Any:
    from diffusers import ChromaPipeline, ChromaTransformer2DModel

    core = ChromaTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        axes_dims_rope=(4, 4, 8),
        approximator_hidden_dim=16,
        approximator_layers=1,
        approximator_num_channels=16,
    )
    return ChromaPipeline(
        scheduler=flow(), vae=flow_autoencoder(), text_encoder=None, tokenizer=None, transformer=core.eval()
    )


def z_image() -> Any:
    from diffusers import ZImagePipeline, ZImageTransformer2DModel

    core = ZImageTransformer2DModel(
        all_patch_size=(2,),
        all_f_patch_size=(1,),
        in_channels=16,
        dim=32,
        n_layers=1,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=16,
        axes_dims=[8, 4, 4],
        axes_lens=[256, 32, 32],
    )
    for token in (core.x_pad_token, core.cap_pad_token):
        torch.nn.init.ones_(token)  # they come as whatever was in memory
    return ZImagePipeline(
        scheduler=flow(), vae=flow_autoencoder(16), text_encoder=None, tokenizer=None, transformer=core.eval()
    )


call_z_image = call_with(
    prompt_embeds=[fixed(8, 16)],
    negative_prompt_embeds=[fixed(8, 16, seed=8)],
    guidance_scale=3.0,
    height=16,
    width=16,
)


CHROMA_MASKS = {"prompt_attention_mask": torch.ones(1, 8), "negative_prompt_attention_mask": torch.ones(1, 8)}


def flux2_klein() -> Any:
    from diffusers import AutoencoderKLFlux2, Flux2KleinPipeline, Flux2Transformer2DModel

    core = Flux2Transformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=16,
        timestep_guidance_channels=32,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=False,
    )
    vae = AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",),
        up_block_types=("UpDecoderBlock2D",),
        block_out_channels=(4,),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=1,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    return Flux2KleinPipeline(
        scheduler=flow(use_dynamic_shifting=True),
        vae=vae.eval(),
        text_encoder=None,
        tokenizer=None,
        transformer=core.eval(),
    )


call_flux2 = call_with(
    prompt_embeds=fixed(1, 8, 16),
    negative_prompt_embeds=fixed(1, 8, 16, seed=8),
    height=16,
    width=12,
    guidance_scale=3.0,
)


def qwen_image(kind: str) -> Build:
    def build() -> Any:
        import diffusers

        core = diffusers.QwenImageTransformer2DModel(
            patch_size=2,
            in_channels=16,
            out_channels=4,
            num_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=16,
            axes_dims_rope=(8, 4, 4),
        )
        vae = diffusers.AutoencoderKLQwenImage(
            base_dim=4,
            z_dim=4,
            dim_mult=[1, 1, 1],
            num_res_blocks=1,
            temperal_downsample=[False, True],
            latents_mean=[0.0] * 4,
            latents_std=[1.0] * 4,
        )
        return getattr(diffusers, kind)(
            tokenizer=None,
            text_encoder=None,
            vae=vae.eval(),
            transformer=core.eval(),
            scheduler=flow(use_dynamic_shifting=True),
        )

    return build


def call_qwen(**further: Any) -> Call:
    prompt = {
        "prompt_embeds": fixed(1, 7, 16),
        "prompt_embeds_mask": torch.ones(1, 7, dtype=torch.long),
        "negative_prompt_embeds": fixed(1, 7, 16, seed=8),
        "negative_prompt_embeds_mask": torch.ones(1, 7, dtype=torch.long),
        "true_cfg_scale": 2.0,
    }
    return call_with(**prompt | {"height": 32, "width": 32} | further)


def pixart(scheduler: str) -> Build:
    def build() -> Any:
        import diffusers

        core = diffusers.PixArtTransformer2DModel(
            sample_size=8,
            num_layers=1,
            patch_size=2,
            attention_head_dim=8,
            num_attention_heads=2,
            caption_channels=32,
            in_channels=4,
            cross_attention_dim=16,
            out_channels=8,
            norm_type="ada_norm_single",
            use_additional_conditions=False,
        )
        return diffusers.PixArtSigmaPipeline(
            tokenizer=None,
            text_encoder=None,
            vae=flow_autoencoder(),
            transformer=core.eval(),
            scheduler=getattr(diffusers, scheduler)(beta_start=0.0001, beta_end=0.02, beta_schedule="linear"),
        )

    return build


def call_masked(features: int, /, **further: Any) -> Call:
    """For the families whose prompts come with attention masks."""
    prompt = {"prompt_embeds": fixed(1, 8, features), "prompt_attention_mask": torch.ones(1, 8, dtype=torch.long)}
    return call_with(**prompt | further)


def negative(width: int) -> dict[str, Tensor]:
    return {
        "negative_prompt_embeds": fixed(1, 8, width, seed=8),
        "negative_prompt_attention_mask": torch.ones(1, 8, dtype=torch.long),
    }


def sana(kind: str, sprint: bool = False) -> Build:
    def build() -> Any:
        import diffusers

        core = diffusers.SanaTransformer2DModel(
            patch_size=1,
            in_channels=4,
            out_channels=4,
            num_layers=1,
            num_attention_heads=2,
            attention_head_dim=4,
            num_cross_attention_heads=2,
            cross_attention_head_dim=4,
            cross_attention_dim=8,
            caption_channels=8,
            sample_size=8,
            qk_norm="rms_norm_across_heads" if sprint else None,
            guidance_embeds=sprint,
        )
        vae = diffusers.AutoencoderDC(
            in_channels=3,
            latent_channels=4,
            attention_head_dim=2,
            encoder_block_types=("ResBlock", "EfficientViTBlock"),
            decoder_block_types=("ResBlock", "EfficientViTBlock"),
            encoder_block_out_channels=(8, 8),
            decoder_block_out_channels=(8, 8),
            encoder_qkv_multiscales=((), (5,)),
            decoder_qkv_multiscales=((), (5,)),
            encoder_layers_per_block=(1, 1),
            decoder_layers_per_block=(1, 1),
            downsample_block_type="conv",
            upsample_block_type="interpolate",
            decoder_norm_types="rms_norm",
            decoder_act_fns="silu",
            scaling_factor=0.41407,
        )
        scheduler = diffusers.SCMScheduler(sigma_data=0.5) if sprint else flow(shift=3.0)
        return getattr(diffusers, kind)(
            tokenizer=None, text_encoder=None, vae=vae.eval(), transformer=core.eval(), scheduler=scheduler
        )

    return build


def aura_flow() -> Any:
    from diffusers import AuraFlowPipeline, AuraFlowTransformer2DModel

    core = AuraFlowTransformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        num_mmdit_layers=1,
        num_single_dit_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        caption_projection_dim=16,
        joint_attention_dim=32,
        out_channels=4,
        pos_embed_max_size=64,
    )
    return AuraFlowPipeline(
        tokenizer=None, text_encoder=None, vae=flow_autoencoder(), transformer=core.eval(), scheduler=flow(shift=1.73)
    )


def lumina2() -> Any:
    from diffusers import Lumina2Pipeline, Lumina2Transformer2DModel

    core = Lumina2Transformer2DModel(
        sample_size=8,
        patch_size=2,
        in_channels=4,
        hidden_size=8,
        num_layers=1,
        num_refiner_layers=1,
        num_attention_heads=1,
        num_kv_heads=1,
        multiple_of=16,
        axes_dim_rope=(4, 2, 2),
        axes_lens=(64, 64, 64),
        cap_feat_dim=8,
    )
    return Lumina2Pipeline(
        transformer=core.eval(),
        scheduler=flow(shift=6.0),
        vae=flow_autoencoder(),
        text_encoder=None,
        tokenizer=None,
    )
