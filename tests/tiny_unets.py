"""Tiny pipelines around a U-Net: Stable Diffusion and XL, what is loaded into them, DeepFloyd IF and Kandinsky 2.2."""

from __future__ import annotations

from typing import Any

import torch
from tiny_calls import Build, Call, Generators, call_with, fixed
from tiny_models import NO_CHECKER, SD_NOISE, autoencoder_kl, clip_text, clip_tokenizer, unet, xl_unet
from torch import Tensor

# -- Stable Diffusion -------------------------------------------------------------------------------------------------

SD_PROMPT = {"prompt_embeds": fixed(1, 77, 32), "negative_prompt_embeds": fixed(1, 77, 32, seed=8)}


def stable_diffusion(kind: str, scheduler: str = "EulerDiscreteScheduler", channels: int = 4, **further: Any) -> Any:
    """A pipeline of the Stable Diffusion family on 8 × 8 latents."""
    import diffusers

    core = unet(cross_attention_dim=32) if channels == 4 else inpainting_unet(channels)
    return getattr(diffusers, kind)(
        vae=autoencoder_kl(),
        text_encoder=clip_text(),
        tokenizer=clip_tokenizer(),
        unet=core,
        scheduler=getattr(diffusers, scheduler)(**SD_NOISE, steps_offset=1),
        **NO_CHECKER,
        **further,
    )


def inpainting_unet(channels: int) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel.from_config({**unet(cross_attention_dim=32).config, "in_channels": channels}).eval()


def sd(kind: str, scheduler: str = "EulerDiscreteScheduler", **options: Any) -> Build:
    return lambda: stable_diffusion(kind, scheduler, **options)


def call_sd(**further: Any) -> Call:
    return call_with(**SD_PROMPT | further)


def latent_consistency() -> Any:
    from diffusers import LatentConsistencyModelPipeline, LCMScheduler

    return LatentConsistencyModelPipeline(
        vae=autoencoder_kl(),
        text_encoder=clip_text(),
        tokenizer=clip_tokenizer(),
        unet=unet(cross_attention_dim=32, time_cond_proj_dim=32),  # guidance is an input of the model
        scheduler=LCMScheduler(**SD_NOISE),
        **NO_CHECKER,
    )


call_latent_consistency = call_with(prompt_embeds=SD_PROMPT["prompt_embeds"], height=64, width=64)


def sd_controlnet() -> Any:
    from diffusers import ControlNetModel

    pipe = stable_diffusion("StableDiffusionPipeline")
    control = ControlNetModel.from_unet(pipe.unet, conditioning_embedding_out_channels=(16, 16, 16, 16))
    for parameter in (*control.controlnet_down_blocks.parameters(), *control.controlnet_mid_block.parameters()):
        torch.nn.init.normal_(parameter, std=0.3)  # they start at 0, where a control network does nothing
    return stable_diffusion("StableDiffusionControlNetPipeline", controlnet=control.eval())


def sd_lora() -> Any:
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    teacher = unet(cross_attention_dim=32)
    config = LoraConfig(
        r=2, lora_alpha=2, init_lora_weights=False, target_modules=["to_q", "to_k", "to_v", "to_out.0"]
    )
    teacher.add_adapter(config)
    pipe = stable_diffusion("StableDiffusionPipeline")
    pipe.load_lora_weights({f"unet.{name}": value for name, value in get_peft_model_state_dict(teacher).items()})
    return pipe


def sd_ip_adapter() -> Any:
    pipe = stable_diffusion("StableDiffusionPipeline")
    attention: dict[str, Tensor] = {}
    number = 1
    for name in pipe.unet.attn_processors:
        if name.endswith("attn2.processor"):
            width = pipe.unet.get_submodule(name.removesuffix(".processor")).to_q.weight.shape[0]
            attention[f"{number}.to_k_ip.weight"] = fixed(width, 32, seed=number) / 6
            attention[f"{number}.to_v_ip.weight"] = fixed(width, 32, seed=number + 100) / 6
            number += 2
    projection = {
        "proj.weight": fixed(4 * 32, 16) / 4,
        "proj.bias": torch.zeros(4 * 32),
        "norm.weight": torch.ones(32),
        "norm.bias": torch.zeros(32),
    }
    state = {"image_proj": projection, "ip_adapter": attention}
    pipe.load_ip_adapter(state, subfolder="", weight_name="", image_encoder_folder=None)
    return pipe


# -- Stable Diffusion XL ----------------------------------------------------------------------------------------------

XL_PROMPT = {
    "prompt_embeds": fixed(1, 77, 64),
    "negative_prompt_embeds": fixed(1, 77, 64, seed=8),
    "pooled_prompt_embeds": fixed(1, 32),
    "negative_pooled_prompt_embeds": fixed(1, 32, seed=8),
}


def xl(kind: str, scheduler: str = "EulerDiscreteScheduler", **further: Any) -> Build:
    def build() -> Any:
        import diffusers

        core = xl_unet()
        return getattr(diffusers, kind)(
            vae=autoencoder_kl(),
            text_encoder=None,
            text_encoder_2=clip_text(projected=True),
            tokenizer=None,
            tokenizer_2=clip_tokenizer(),
            unet=core,
            scheduler=getattr(diffusers, scheduler)(**SD_NOISE),
            **{name: make() for name, make in further.items()},
        )

    return build


def call_xl(**further: Any) -> Call:
    return call_with(**XL_PROMPT | further)


def modular_xl() -> Any:
    """Made of blocks, without those that encode text and decode pictures."""
    from diffusers.modular_pipelines import StableDiffusionXLAutoBlocks

    parts = xl("StableDiffusionXLPipeline")()
    blocks = StableDiffusionXLAutoBlocks()
    blocks.sub_blocks.pop("text_encoder")
    pipe = blocks.init_pipeline()
    pipe.update_components(unet=parts.unet, vae=parts.vae, scheduler=parts.scheduler)
    return pipe


def call_modular_xl(pipe: Any, generator: Generators | None, steps: int) -> Tensor:
    made: Tensor = pipe(
        **XL_PROMPT,
        height=64,
        width=64,
        num_inference_steps=steps,
        generator=generator,
        output_type="latent",
        output="images",
    )
    return made


def t2i_adapter() -> Any:
    from diffusers import T2IAdapter

    return T2IAdapter(
        in_channels=3,
        channels=[16, 32, 32, 32],
        num_res_blocks=1,
        downscale_factor=16,
        adapter_type="full_adapter_xl",
    ).eval()


# -- models with learned variance, and pixels -------------------------------------------------------------------------


def blocks_with_simple_attention(**options: Any) -> Any:
    """The kind of U-Net that DeepFloyd IF and Kandinsky 2 have, on 8 × 8."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=8,
        layers_per_block=1,
        block_out_channels=(16, 32),
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        cross_attention_dim=32,
        encoder_hid_dim=32,
        attention_head_dim=8,
        norm_num_groups=8,
        resnet_time_scale_shift="scale_shift",
        **options,
    ).eval()


def deepfloyd_if() -> Any:
    from diffusers import DDPMScheduler, IFPipeline

    core = blocks_with_simple_attention(
        in_channels=3,
        out_channels=6,
        addition_embed_type="text",
        addition_embed_type_num_heads=2,
        cross_attention_norm="group_norm",
        act_fn="gelu",
    )
    scheduler = DDPMScheduler(
        beta_schedule="squaredcos_cap_v2",
        beta_start=0.0001,
        beta_end=0.02,
        thresholding=True,
        dynamic_thresholding_ratio=0.95,
        sample_max_value=1.0,
        prediction_type="epsilon",
        variance_type="learned_range",
    )
    return IFPipeline(
        tokenizer=None,
        text_encoder=None,
        unet=core,
        scheduler=scheduler,
        watermarker=None,
        **NO_CHECKER,
    )


call_if = call_with(prompt_embeds=fixed(1, 8, 32), negative_prompt_embeds=fixed(1, 8, 32, seed=8), output_type="pt")


def kandinsky22() -> Any:
    from diffusers import DDPMScheduler, KandinskyV22Pipeline, VQModel

    core = blocks_with_simple_attention(
        in_channels=4,
        out_channels=8,
        addition_embed_type="image",
        encoder_hid_dim_type="image_proj",
    )
    movq = VQModel(
        block_out_channels=(32, 32),  # its norms are of 32 groups
        down_block_types=("DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
        up_block_types=("AttnUpDecoderBlock2D", "UpDecoderBlock2D"),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=4,
        norm_type="spatial",
        num_vq_embeddings=12,
        vq_embed_dim=4,
    )
    scheduler = DDPMScheduler(**SD_NOISE, clip_sample=False, variance_type="learned_range")
    return KandinskyV22Pipeline(unet=core, scheduler=scheduler, movq=movq.eval())


call_kandinsky22 = call_with(
    image_embeds=fixed(1, 32), negative_image_embeds=fixed(1, 32, seed=8), height=16, width=16
)


def stable_cascade() -> Any:
    """The second of its two stages."""
    from diffusers import DDPMWuerstchenScheduler, StableCascadeDecoderPipeline, StableCascadeUNet
    from diffusers.pipelines.deprecated.wuerstchen import PaellaVQModel

    plain = ("SDCascadeResBlock", "SDCascadeTimestepBlock")
    core = StableCascadeUNet(
        in_channels=4,
        out_channels=4,
        conditioning_dim=16,
        block_out_channels=(16, 32),
        num_attention_heads=(-1, 2),
        down_num_layers_per_block=(1, 1),
        up_num_layers_per_block=(1, 1),
        down_blocks_repeat_mappers=(1, 1),
        up_blocks_repeat_mappers=(1, 1),
        block_types_per_layer=(plain, (*plain, "SDCascadeAttnBlock")),
        clip_text_pooled_in_channels=32,
        dropout=(0.0, 0.0),
    )
    return StableCascadeDecoderPipeline(
        decoder=core.eval(),
        vqgan=PaellaVQModel(bottleneck_blocks=1, num_vq_embeddings=2, embed_dim=8).eval(),
        text_encoder=clip_text(projected=True),
        tokenizer=clip_tokenizer(),
        scheduler=DDPMWuerstchenScheduler(),
        latent_dim_scale=2.0,
    )


call_stable_cascade = call_with(
    image_embeddings=fixed(1, 4, 4, 4),
    prompt_embeds=fixed(1, 77, 32),
    prompt_embeds_pooled=fixed(1, 1, 32),
    negative_prompt_embeds=fixed(1, 77, 32, seed=8),
    negative_prompt_embeds_pooled=fixed(1, 1, 32, seed=8),
    guidance_scale=2.0,
)
