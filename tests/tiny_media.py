"""Tiny pipelines for video and sound."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from tiny_calls import Build, Call, call_with, fixed
from tiny_models import SD_NOISE, autoencoder_kl, clip_text, clip_tokenizer, unet
from tiny_transformers import flow

# -- video and sound --------------------------------------------------------------------------------------------------


def wan() -> Any:
    from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel

    core = WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=16,
        out_channels=16,
        text_dim=32,
        freq_dim=32,
        ffn_dim=32,
        num_layers=1,
        rope_max_seq_len=32,
    )
    vae = AutoencoderKLWan(
        base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True]
    )
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    return WanPipeline(tokenizer=None, text_encoder=None, vae=vae.eval(), scheduler=scheduler, transformer=core.eval())


def call_video(**further: Any) -> Call:
    prompt = {"prompt_embeds": fixed(1, 8, 32), "negative_prompt_embeds": fixed(1, 8, 32, seed=8)}
    return call_with("frames", **prompt, **further)


def ltx(kind: str) -> Build:
    def build() -> Any:
        import diffusers

        core = diffusers.LTXVideoTransformer3DModel(
            in_channels=8,
            out_channels=8,
            num_attention_heads=2,
            attention_head_dim=8,
            cross_attention_dim=16,
            num_layers=1,
            caption_channels=32,
        )
        vae = diffusers.AutoencoderKLLTXVideo(
            latent_channels=8,
            block_out_channels=(8, 8, 8, 8),
            decoder_block_out_channels=(8, 8, 8, 8),
            layers_per_block=(1, 1, 1, 1, 1),
            decoder_layers_per_block=(1, 1, 1, 1, 1),
            spatio_temporal_scaling=(True, True, False, False),
            decoder_spatio_temporal_scaling=(True, True, False, False),
            decoder_inject_noise=(False,) * 5,
            upsample_residual=(False,) * 4,
            upsample_factor=(1, 1, 1, 1),
            timestep_conditioning=False,
            patch_size=1,
            patch_size_t=1,
            encoder_causal=True,
            decoder_causal=False,
        )
        vae.use_framewise_encoding = False
        return getattr(diffusers, kind)(
            scheduler=flow(), tokenizer=None, text_encoder=None, vae=vae.eval(), transformer=core.eval()
        )

    return build


LTX_VIDEO = {
    "prompt_attention_mask": torch.ones(1, 8, dtype=torch.long),
    "negative_prompt_attention_mask": torch.ones(1, 8, dtype=torch.long),
    "height": 32,
    "width": 32,
    "num_frames": 9,
}


def ltx2() -> Any:
    """Video and sound at once, each with a scheduler of its own."""
    from diffusers import AutoencoderKLLTX2Audio, AutoencoderKLLTX2Video, LTX2Pipeline, LTX2VideoTransformer3DModel
    from diffusers.pipelines.ltx2 import LTX2TextConnectors
    from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder

    core = LTX2VideoTransformer3DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=8,
        cross_attention_dim=16,
        audio_in_channels=4,
        audio_out_channels=4,
        audio_num_attention_heads=2,
        audio_attention_head_dim=4,
        audio_cross_attention_dim=8,
        num_layers=1,
        caption_channels=8,
        rope_double_precision=False,
        rope_type="split",
    )
    connectors = LTX2TextConnectors(
        caption_channels=8,
        text_proj_in_factor=2,
        video_connector_num_attention_heads=2,
        video_connector_attention_head_dim=4,
        video_connector_num_layers=1,
        video_connector_num_learnable_registers=None,
        audio_connector_num_attention_heads=2,
        audio_connector_attention_head_dim=4,
        audio_connector_num_layers=1,
        audio_connector_num_learnable_registers=None,
        connector_rope_base_seq_len=8,
        rope_theta=10000.0,
        rope_double_precision=False,
        causal_temporal_positioning=False,
        rope_type="split",
    )
    vae = AutoencoderKLLTX2Video(
        latent_channels=4,
        block_out_channels=(8,),
        decoder_block_out_channels=(8,),
        layers_per_block=(1,),
        decoder_layers_per_block=(1, 1),
        spatio_temporal_scaling=(True,),
        decoder_spatio_temporal_scaling=(True,),
        decoder_inject_noise=(False, False),
        downsample_type=("spatial",),
        upsample_residual=(False,),
        upsample_factor=(1,),
        timestep_conditioning=False,
        patch_size=1,
        patch_size_t=1,
        encoder_causal=True,
        decoder_causal=False,
    )
    audio_vae = AutoencoderKLLTX2Audio(
        base_channels=4,
        output_channels=2,
        ch_mult=(1,),
        num_res_blocks=1,
        attn_resolutions=None,
        in_channels=2,
        resolution=32,
        latent_channels=2,
        norm_type="pixel",
        causality_axis="height",
        dropout=0.0,
        mid_block_add_attention=False,
        sample_rate=16000,
        mel_hop_length=160,
        is_causal=True,
        mel_bins=8,
    )
    vocoder = LTX2Vocoder(
        in_channels=16,
        hidden_channels=8,
        out_channels=2,
        upsample_kernel_sizes=[4, 4],
        upsample_factors=[2, 2],
        resnet_kernel_sizes=[3],
        resnet_dilations=[[1, 3, 5]],
        output_sampling_rate=16000,
    )
    return LTX2Pipeline(
        scheduler=flow(),
        vae=vae.eval(),
        audio_vae=audio_vae.eval(),
        text_encoder=None,
        tokenizer=None,
        connectors=connectors.eval(),
        transformer=core.eval(),
        vocoder=vocoder.eval(),
    )


call_ltx2 = call_with(
    "frames",
    prompt_embeds=fixed(1, 8, 16),
    negative_prompt_embeds=fixed(1, 8, 16, seed=8),
    prompt_attention_mask=torch.ones(1, 8, dtype=torch.long),
    negative_prompt_attention_mask=torch.ones(1, 8, dtype=torch.long),
    height=32,
    width=32,
    num_frames=5,
    guidance_scale=2.0,
    audio_guidance_scale=2.0,
    # the further kinds of guidance want more layers than these
    stg_scale=0.0,
    audio_stg_scale=0.0,
    modality_scale=1.0,
    audio_modality_scale=1.0,
    spatio_temporal_guidance_blocks=None,
)


def mochi() -> Any:
    from diffusers import AutoencoderKLMochi, MochiPipeline, MochiTransformer3DModel

    core = MochiTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=1,
        pooled_projection_dim=16,
        text_embed_dim=32,
        time_embed_dim=4,
        max_sequence_length=8,
    )
    torch.nn.init.normal_(core.pos_frequencies)  # they come as whatever was in memory
    vae = AutoencoderKLMochi(
        encoder_block_out_channels=(32, 32, 32, 32),  # its norms are of 32 groups
        decoder_block_out_channels=(32, 32, 32, 32),
        layers_per_block=(1, 1, 1, 1, 1),
    )
    return MochiPipeline(
        transformer=core.eval(),
        vae=vae.eval(),
        scheduler=flow(invert_sigmas=True),  # its sigma runs from 0, pure noise, to 1
        text_encoder=None,
        tokenizer=None,
    )


MOCHI_VIDEO = {
    "prompt_attention_mask": torch.ones(1, 8, dtype=torch.bool),
    "negative_prompt_attention_mask": torch.ones(1, 8, dtype=torch.bool),
    "height": 64,
    "width": 64,
    "num_frames": 7,
}


def animatediff(free_init: bool = False) -> Build:
    def build() -> Any:
        from diffusers import AnimateDiffPipeline, DDIMScheduler, MotionAdapter

        motion = MotionAdapter(
            block_out_channels=(16, 32),
            motion_layers_per_block=1,
            motion_norm_num_groups=2,
            motion_num_attention_heads=2,
        )
        pipe = AnimateDiffPipeline(
            unet=unet(cross_attention_dim=32),
            scheduler=DDIMScheduler(**SD_NOISE, clip_sample=False, steps_offset=1),
            vae=autoencoder_kl(),
            motion_adapter=motion,
            text_encoder=clip_text(),
            tokenizer=clip_tokenizer(),
        )
        if free_init:
            pipe.enable_free_init(num_iters=2)
        return pipe

    return build


call_animatediff = call_with(
    "frames",
    prompt_embeds=fixed(1, 77, 32),
    negative_prompt_embeds=fixed(1, 77, 32, seed=8),
    num_frames=3,
    height=64,
    width=64,
)


def kandinsky5() -> Any:
    from diffusers import AutoencoderKLHunyuanVideo, Kandinsky5T2VPipeline, Kandinsky5Transformer3DModel

    core = Kandinsky5Transformer3DModel(
        in_visual_dim=4,
        in_text_dim=32,
        in_text_dim2=16,
        time_dim=16,
        out_visual_dim=4,
        model_dim=16,
        ff_dim=16,
        num_text_blocks=1,
        num_visual_blocks=1,
        axes_dims=(4, 2, 2),
    )
    vae = AutoencoderKLHunyuanVideo(
        down_block_types=("HunyuanVideoDownBlock3D",) * 4,
        up_block_types=("HunyuanVideoUpBlock3D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        mid_block_add_attention=False,
    )
    return Kandinsky5T2VPipeline(
        transformer=core.eval(),
        vae=vae.eval(),
        text_encoder=None,
        tokenizer=None,
        text_encoder_2=None,
        tokenizer_2=None,
        scheduler=flow(shift=5.0),
    )


call_kandinsky5 = call_with(
    "frames",
    prompt_embeds_qwen=fixed(1, 8, 32),
    prompt_embeds_clip=fixed(1, 16),
    prompt_cu_seqlens=torch.tensor([0, 8], dtype=torch.int32),
    negative_prompt_embeds_qwen=fixed(1, 8, 32, seed=8),
    negative_prompt_embeds_clip=fixed(1, 16, seed=8),
    negative_prompt_cu_seqlens=torch.tensor([0, 8], dtype=torch.int32),
    height=64,
    width=64,
    num_frames=5,
)


def cogvideox(scheduler: str) -> Build:
    def build() -> Any:
        import diffusers

        core = diffusers.CogVideoXTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=8,
            in_channels=4,
            out_channels=4,
            time_embed_dim=2,
            text_embed_dim=32,
            num_layers=1,
            sample_width=8,
            sample_height=8,
            sample_frames=9,
            patch_size=2,
            max_text_seq_length=8,
        )
        vae = diffusers.AutoencoderKLCogVideoX(
            down_block_types=("CogVideoXDownBlock3D",) * 4,
            up_block_types=("CogVideoXUpBlock3D",) * 4,
            block_out_channels=(8, 8, 8, 8),
            latent_channels=4,
            layers_per_block=1,
            norm_num_groups=2,
        )
        return diffusers.CogVideoXPipeline(
            tokenizer=None,
            text_encoder=None,
            vae=vae.eval(),
            transformer=core.eval(),
            scheduler=getattr(diffusers, scheduler)(
                prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing"
            ),
        )

    return build


def stable_audio() -> Any:
    from diffusers import (
        AutoencoderOobleck,
        EDMDPMSolverMultistepScheduler,
        StableAudioDiTModel,
        StableAudioPipeline,
        StableAudioProjectionModel,
    )

    core = StableAudioDiTModel(
        sample_size=8,
        in_channels=3,
        num_layers=1,
        attention_head_dim=4,
        num_attention_heads=2,
        num_key_value_attention_heads=2,
        out_channels=3,
        cross_attention_dim=4,
        time_proj_dim=8,
        global_states_input_dim=8,
        cross_attention_input_dim=4,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the class uses a form of weight_norm that torch will drop
        vae = AutoencoderOobleck(
            encoder_hidden_size=6,
            downsampling_ratios=[1, 2],
            decoder_channels=3,
            decoder_input_channels=3,
            audio_channels=2,
            channel_multiples=[2, 4],
            sampling_rate=4,
        )
    return StableAudioPipeline(
        vae=vae.eval(),
        text_encoder=None,
        projection_model=StableAudioProjectionModel(text_encoder_dim=4, conditioning_dim=4, min_value=0, max_value=32),
        tokenizer=None,
        transformer=core.eval(),
        # what the model was published with draws by a library that is no dependency of ours
        scheduler=EDMDPMSolverMultistepScheduler(
            prediction_type="v_prediction", solver_order=2, sigma_min=0.3, sigma_max=500, sigma_data=1.0
        ),
    )


call_stable_audio = call_with("audios", prompt_embeds=fixed(1, 8, 4), negative_prompt_embeds=fixed(1, 8, 4, seed=8))
