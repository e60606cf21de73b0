"""Real pipelines of many families, tiny and with random weights, and one way to call each.

Every entry of FAMILIES is a pipeline class of diffusers, or one that has something loaded or switched on that the seam
has to get along with. Each is built in a fraction of a second and makes latents wherever the pipeline can give them.
Prompts are random embeddings: text encoders have no part in the loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tiny_media as media
import tiny_transformers as dits
import tiny_unets as unets
import torch
from tiny_calls import Build, Call, fixed, half_mask, picture
from torch import Tensor

from studio.diffusion.layout import PLANE, ChannelsLast, Layout, Line, Packed, Tokens


@dataclass(frozen=True)
class Family:
    """A pipeline and one way to call it."""

    name: str
    build: Build
    call: Call
    shape: tuple[int, ...]  # of the latents, as the scheduler sees them
    layout: Layout = PLANE
    evaluations: int = 6  # how often the scheduler steps
    steps: int = 6  # what is asked for, so that there are so many evaluations
    draws: bool = False  # draws noise while stepping, from the generator or the global state
    refuses: str = ""  # a word of the reason why a run cannot be resumed exactly; empty if it can

    def make(self) -> Any:
        """The pipeline. Its weights are the same each time; the global random state is left as it was."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            pipe = self.build()
            pipe.set_progress_bar_config(disable=True)
        return pipe

    def run(self, pipe: Any, seed: int = 0, outside: int = 1) -> Tensor:
        """One result. It depends on the seed, and on `outside`, the global random state, where the family draws it."""
        torch.manual_seed(outside)
        with torch.inference_mode():
            return self.call(pipe, torch.Generator().manual_seed(seed), self.steps)


WITH_IMAGE = {"image": picture(64), "strength": 0.6}
MASKED = {"image": picture(64), "mask_image": half_mask(64), "height": 64, "width": 64}
SD_SHAPE = (1, 4, 8, 8)

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family("sd", unets.sd("StableDiffusionPipeline"), unets.call_sd(), SD_SHAPE),
        Family(
            "sd-ancestral",
            unets.sd("StableDiffusionPipeline", "EulerAncestralDiscreteScheduler"),
            unets.call_sd(num_images_per_prompt=2),
            (2, 4, 8, 8),
            draws=True,
        ),
        Family(
            "sd-img2img", unets.sd("StableDiffusionImg2ImgPipeline"), unets.call_sd(**WITH_IMAGE), SD_SHAPE, steps=10
        ),
        Family(
            "sd-inpaint",
            unets.sd("StableDiffusionInpaintPipeline", "DPMSolverMultistepScheduler"),
            unets.call_sd(**MASKED, strength=1.0),
            SD_SHAPE,
        ),
        Family(
            "sd-inpaint-0.6",
            unets.sd("StableDiffusionInpaintPipeline", "DPMSolverMultistepScheduler"),
            unets.call_sd(**MASKED, strength=0.6),
            SD_SHAPE,
            steps=10,
        ),
        Family(
            "sd-inpaint-9",
            unets.sd("StableDiffusionInpaintPipeline", channels=9),
            unets.call_sd(**MASKED, strength=1.0),
            SD_SHAPE,
        ),
        Family(
            "sd-inpaint-9-0.6",
            unets.sd("StableDiffusionInpaintPipeline", channels=9),
            unets.call_sd(**MASKED, strength=0.6),
            SD_SHAPE,
            steps=10,
        ),
        Family("lcm", unets.latent_consistency, unets.call_latent_consistency, SD_SHAPE, draws=True),
        Family(
            "sd-controlnet",
            unets.sd_controlnet,
            unets.call_sd(image=picture(64), control_guidance_end=0.5),
            SD_SHAPE,
        ),
        Family("sd-lora", unets.sd_lora, unets.call_sd(), SD_SHAPE),
        Family(
            "sd-ip-adapter",
            unets.sd_ip_adapter,
            unets.call_sd(ip_adapter_image_embeds=[fixed(2, 1, 16)]),
            SD_SHAPE,
        ),
        Family("sdxl", unets.xl("StableDiffusionXLPipeline"), unets.call_xl(), SD_SHAPE),
        Family(
            "sdxl-heun",
            unets.xl("StableDiffusionXLPipeline", "HeunDiscreteScheduler"),
            unets.call_xl(),
            SD_SHAPE,
            evaluations=11,
        ),
        Family(
            "sdxl-img2img",
            unets.xl("StableDiffusionXLImg2ImgPipeline"),
            unets.call_xl(**WITH_IMAGE),
            SD_SHAPE,
            steps=10,
        ),
        Family(
            "sdxl-inpaint",
            unets.xl("StableDiffusionXLInpaintPipeline"),
            unets.call_xl(**MASKED, strength=0.6),
            SD_SHAPE,
            steps=10,
        ),
        Family(
            "sdxl-ensemble",  # the first of two models, which leaves noise for the second
            unets.xl("StableDiffusionXLPipeline"),
            unets.call_xl(denoising_end=0.7),
            SD_SHAPE,
            steps=9,
        ),
        Family("sdxl-modular", unets.modular_xl, unets.call_modular_xl, SD_SHAPE, refuses="guider counts"),
        Family(
            "sdxl-t2i-adapter",
            unets.xl("StableDiffusionXLAdapterPipeline", adapter=unets.t2i_adapter),
            unets.call_xl(image=picture(64), adapter_conditioning_factor=0.5, height=64, width=64),
            SD_SHAPE,
            refuses="counts its own steps",
        ),
        Family("sd3", dits.sd3("StableDiffusion3Pipeline"), dits.call_sd3(), (1, 16, 8, 8)),
        Family(
            "sd3-skip-layer",
            dits.sd3("StableDiffusion3Pipeline"),
            dits.call_sd3(skip_guidance_layers=[1], skip_layer_guidance_stop=0.7),
            (1, 16, 8, 8),
        ),
        Family(
            "sd3-inpaint",
            dits.sd3("StableDiffusion3InpaintPipeline"),
            dits.call_sd3(image=picture(16), mask_image=half_mask(16), strength=0.6),
            (1, 16, 8, 8),
            steps=10,
        ),
        Family("flux", dits.flux("FluxPipeline"), dits.call_flux(), (1, 32, 16), layout=Packed(8, 16)),
        Family(
            "flux-stochastic",
            dits.flux("FluxPipeline", stochastic=True),
            dits.call_flux(),
            (1, 32, 16),
            layout=Packed(8, 16),
            draws=True,
        ),
        Family(
            "flux-inpaint",
            dits.flux("FluxInpaintPipeline"),
            dits.call_flux(image=picture(16), mask_image=half_mask(16), width=16, strength=0.6),
            (1, 16, 16),
            layout=Packed(8, 8),
            steps=10,
        ),
        Family(
            "chroma",
            dits.chroma,
            dits.call_masked(32, **dits.negative(32) | dits.CHROMA_MASKS, height=16, width=32),
            (1, 32, 16),
            layout=Packed(8, 16),
        ),
        Family("z-image", dits.z_image, dits.call_z_image, (1, 16, 8, 8)),
        Family("flux2-klein", dits.flux2_klein, dits.call_flux2, (1, 48, 16), layout=Tokens(8, 6)),
        Family(
            "qwen-image",
            dits.qwen_image("QwenImagePipeline"),
            dits.call_qwen(),
            (1, 16, 16),
            layout=Packed(8, 8),
        ),
        Family(
            "qwen-image-inpaint",
            dits.qwen_image("QwenImageInpaintPipeline"),
            dits.call_qwen(image=picture(32), mask_image=half_mask(32), strength=0.6),
            (1, 16, 16),
            layout=Packed(8, 8),
            steps=10,
        ),
        Family(
            "pixart-sigma",
            dits.pixart("DPMSolverMultistepScheduler"),
            dits.call_masked(
                32,
                **dits.negative(32),
                negative_prompt=None,
                height=16,
                width=16,
                use_resolution_binning=False,
            ),
            SD_SHAPE,
        ),
        Family(
            "sana",
            dits.sana("SanaPipeline"),
            dits.call_masked(
                8, **dits.negative(8), negative_prompt=None, height=32, width=32, use_resolution_binning=False
            ),
            (1, 4, 16, 16),
        ),
        Family(
            "sana-sprint",
            dits.sana("SanaSprintPipeline", sprint=True),
            dits.call_masked(8, height=32, width=32, use_resolution_binning=False, intermediate_timesteps=None),
            (1, 4, 16, 16),
            draws=True,
        ),
        Family(
            "aura-flow",
            dits.aura_flow,
            dits.call_masked(32, **dits.negative(32), height=16, width=16),
            SD_SHAPE,
        ),
        Family(
            "lumina2",
            dits.lumina2,
            dits.call_masked(8, **dits.negative(8), height=64, width=64),
            SD_SHAPE,
        ),
        Family("deepfloyd-if", unets.deepfloyd_if, unets.call_if, (1, 3, 8, 8), draws=True),
        Family("kandinsky-2.2", unets.kandinsky22, unets.call_kandinsky22, SD_SHAPE, draws=True),
        Family("stable-cascade", unets.stable_cascade, unets.call_stable_cascade, (1, 4, 8, 8), draws=True),
        Family("wan", media.wan, media.call_video(height=32, width=32, num_frames=5), (1, 16, 2, 4, 4)),
        Family(
            "ltx",
            media.ltx("LTXPipeline"),
            media.call_video(**media.LTX_VIDEO),
            (1, 3 * 8 * 8, 8),
            layout=Tokens(8, 8, frames=3),
        ),
        Family(
            "ltx-image",
            media.ltx("LTXImageToVideoPipeline"),
            media.call_video(**media.LTX_VIDEO, image=picture(32)),
            (1, 8, 2, 8, 8),
        ),
        Family(
            "ltx-condition",
            media.ltx("LTXConditionPipeline"),
            media.call_video(**media.LTX_VIDEO, image=picture(32)),
            (1, 3 * 8 * 8, 8),
            layout=Tokens(8, 8, frames=3),
            refuses="drew noise of its own",
        ),
        Family(
            "ltx-2",
            media.ltx2,
            media.call_ltx2,
            (1, 3 * 16 * 16, 4),
            layout=Tokens(16, 16, frames=3),
            refuses="copies its scheduler",
        ),
        Family("mochi", media.mochi, media.call_video(**media.MOCHI_VIDEO), (1, 12, 2, 8, 8)),
        Family("animatediff", media.animatediff(), media.call_animatediff, (1, 4, 3, 8, 8)),
        Family("kandinsky-5", media.kandinsky5, media.call_kandinsky5, (1, 2, 8, 8, 4), layout=ChannelsLast()),
        Family(
            "cogvideox",
            media.cogvideox("CogVideoXDDIMScheduler"),
            media.call_video(height=64, width=64, num_frames=8),
            (1, 2, 4, 8, 8),
        ),
        Family(
            "cogvideox-dpm",
            media.cogvideox("CogVideoXDPMScheduler"),
            media.call_video(height=64, width=64, num_frames=8),
            (1, 2, 4, 8, 8),
            draws=True,
        ),
        Family("stable-audio", media.stable_audio, media.call_stable_audio, (1, 3, 8), layout=Line()),
    )
}

# goes through its timesteps twice in one call, each time from new latents
SEVERAL_PASSES = Family(
    "animatediff-free-init",
    media.animatediff(free_init=True),
    media.call_animatediff,
    (1, 4, 3, 8, 8),
    evaluations=12,
    refuses="several times",
)
