"""Sizes of the bundled model: what a stage of the recipe builds and how fast it learns. Knows no data and no
torch.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """One size of the painter, from pictures to denoiser. Rates are peak learning rates of AdamW."""

    name: str
    picture: int  # side of a picture, pixels
    painted: int  # side at which it is painted, pixels; a multiple of `picture`
    pictures: int  # rendered for training
    crop: int  # side of the autoencoder's training crops, pixels
    latent_channels: int
    coder_channels: int  # width of every autoencoder stage
    encoder_blocks: tuple[int, ...]  # fine to coarse; len - 1 halvings
    decoder_blocks: tuple[int, ...]  # coarse to fine
    coder_batch: int
    coder_rate: float
    text_width: int
    text_layers: int
    text_heads: int
    text_length: int  # tokens, end included
    vocabulary: int
    unet_channels: tuple[int, ...]
    unet_layers: tuple[int, ...]  # residual blocks per resolution, fine to coarse
    unet_heads: int
    unet_attention: tuple[bool, ...]  # cross-attention per resolution, fine to coarse
    unet_groups: int
    batch: int
    rate: float
    warm_up: int  # steps
    fade: float = 0.2  # share of a budget in which the rate falls to zero

    @property
    def reduction(self) -> int:
        """Pixels per latent cell along one side."""
        return 1 << (len(self.encoder_blocks) - 1)

    @property
    def latent(self) -> int:
        """Side of a latent, cells."""
        return self.picture // self.reduction


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            name="cpu",
            picture=128,
            painted=128,
            pictures=40_000,
            crop=64,
            latent_channels=16,
            coder_channels=48,
            encoder_blocks=(0, 1, 2, 2),
            decoder_blocks=(2, 2, 2, 1),
            coder_batch=8,
            coder_rate=1e-3,
            text_width=128,
            text_layers=3,
            text_heads=4,
            text_length=40,
            vocabulary=1500,
            unet_channels=(64, 128, 256),
            unet_layers=(2, 1, 1),
            unet_heads=4,
            unet_attention=(False, True, True),
            unet_groups=16,
            batch=48,
            rate=6e-4,
            warm_up=200,
        ),
        Preset(
            name="gpu",
            picture=256,
            painted=256,
            pictures=80_000,
            crop=128,
            latent_channels=24,
            coder_channels=64,
            encoder_blocks=(0, 1, 2, 3, 3),
            decoder_blocks=(3, 3, 2, 2, 1),
            coder_batch=64,
            coder_rate=1e-3,
            text_width=192,
            text_layers=4,
            text_heads=6,
            text_length=40,
            vocabulary=2000,
            unet_channels=(160, 256, 384),
            unet_layers=(2, 2, 2),
            unet_heads=8,
            unet_attention=(False, True, True),
            unet_groups=32,
            batch=512,
            rate=1e-3,
            warm_up=200,
        ),
        Preset(
            name="smoke",
            picture=32,
            painted=64,
            pictures=96,
            crop=32,
            latent_channels=4,
            coder_channels=16,
            encoder_blocks=(0, 1, 1),
            decoder_blocks=(1, 1, 0),
            coder_batch=8,
            coder_rate=2e-3,
            text_width=32,
            text_layers=2,
            text_heads=2,
            text_length=32,
            vocabulary=600,
            unet_channels=(16, 32),
            unet_layers=(1, 1),
            unet_heads=2,
            unet_attention=(False, True),
            unet_groups=8,
            batch=8,
            rate=1e-3,
            warm_up=10,
        ),
    )
}
