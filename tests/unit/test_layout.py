"""Layouts: the pipelines' own unpacking is the reference, and every way there and back changes no bit."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import (
    BriaFiboPipeline,
    BriaPipeline,
    ChromaPipeline,
    Flux2Pipeline,
    FluxPipeline,
    LTXPipeline,
    QwenImageLayeredPipeline,
    QwenImagePipeline,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import tiny
from torch import Tensor

from studio.diffusion.layout import (
    PLANE,
    ChannelsLast,
    Layout,
    Line,
    LineLast,
    Packed,
    Plane,
    Tokens,
    Unknown,
    layout_from_dict,
    layout_of,
    layout_to_dict,
)
from studio.errors import StudioError
from studio.models.layouts import decode, spatial

LAYOUTS: list[tuple[Layout, tuple[int, ...], tuple[int, ...]]] = [
    (PLANE, (2, 4, 5, 7), (2, 4, 5, 7)),
    (PLANE, (2, 4, 3, 5, 7), (2, 4, 3, 5, 7)),
    (Packed(6, 10), (2, 15, 16), (2, 4, 6, 10)),
    (Packed(6, 10, frames=3), (2, 45, 16), (2, 3, 4, 6, 10)),
    (Packed(6, 9, patch=3), (2, 6, 18), (2, 2, 6, 9)),
    (Tokens(5, 7), (2, 35, 8), (2, 8, 5, 7)),
    (Tokens(5, 7, frames=2), (2, 70, 8), (2, 2, 8, 5, 7)),
    (ChannelsLast(), (2, 3, 5, 7, 4), (2, 3, 4, 5, 7)),
    (Line(), (2, 8, 33), (2, 8, 33)),
    (LineLast(), (2, 33, 8), (2, 8, 33)),
]


def _pipe(kind: type, **attributes: Any) -> Any:
    """A pipeline of this class without its models: packing needs none."""
    pipe = kind.__new__(kind)
    vars(pipe).update({"vae_scale_factor": 8, "_internal_dict": {}} | attributes)
    return pipe


def _named(name: str, **attributes: Any) -> Any:
    return type(name, (SimpleNamespace,), {})(**attributes)


def _random(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).to(dtype)


# -- there and back ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize(("layout", "shape", "plane_shape"), LAYOUTS, ids=repr)
def test_there_and_back_changes_no_bit(
    layout: Layout, shape: tuple[int, ...], plane_shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    latents = _random(*shape, dtype=dtype)
    plane = layout.to_space(latents)
    assert plane.shape == plane_shape
    back = layout.from_space(plane, like=latents)
    assert back.shape == latents.shape
    assert back.dtype == dtype
    assert torch.equal(back, latents)


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 3),
    rows=st.integers(1, 6),
    columns=st.integers(1, 6),
    channels=st.integers(1, 5),
    frames=st.integers(1, 3),
    patch=st.integers(1, 3),
)
def test_packing_and_unpacking_are_inverse_both_ways(
    batch: int, rows: int, columns: int, channels: int, frames: int, patch: int
) -> None:
    layout = Packed(rows * patch, columns * patch, frames, patch)
    latents = _random(batch, frames * rows * columns, channels * patch**2)
    plane = layout.to_space(latents)
    assert torch.equal(layout.from_space(plane, latents), latents)
    other = torch.randn_like(plane)
    assert torch.equal(layout.to_space(layout.from_space(other, latents)), other)


@pytest.mark.parametrize(("layout", "shape", "plane_shape"), LAYOUTS, ids=repr)
def test_layouts_are_values_and_survive_json(
    layout: Layout, shape: tuple[int, ...], plane_shape: tuple[int, ...]
) -> None:
    assert layout_from_dict(layout_to_dict(layout)) == layout
    assert isinstance(layout, Layout)
    assert hash(layout) == hash(layout_from_dict(layout_to_dict(layout)))


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {"kind": "Tensor"},
        {"kind": "Packed"},
        {"kind": "Packed", "height": 4},
        {"kind": "Packed", "height": 4, "width": "4"},
        {"kind": "Packed", "height": 4, "width": True},
        {"kind": "Packed", "height": 5, "width": 4, "frames": 1, "patch": 2},
        {"kind": "Packed", "height": 4, "width": 4, "frames": 0, "patch": 2},
        {"kind": "Tokens", "height": -4, "width": 4},
        {"kind": "Tokens", "height": 4, "width": 4, "patch": 2},
        {"kind": "Line", "__class__": "str"},
        {"kind": "Unknown", "why": 3},
    ],
    ids=repr,
)
def test_a_broken_description_is_refused(value: object) -> None:
    with pytest.raises(StudioError):
        layout_from_dict(value)


# -- the pipelines' own packing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 128), (144, 80)])
@pytest.mark.parametrize("kind", [FluxPipeline, ChromaPipeline, QwenImagePipeline])
def test_patches_of_flux_and_its_relatives(kind: Any, height: int, width: int) -> None:
    plane = _random(2, 16, height // 8, width // 8)
    packed = kind._pack_latents(plane, 2, 16, height // 8, width // 8)
    layout = layout_of(_pipe(kind), packed, height=height, width=width)
    assert layout == Packed(height // 8, width // 8)
    assert torch.equal(layout.to_space(packed), plane)
    unpacked = kind._unpack_latents(packed, height, width, 8)
    assert torch.equal(layout.to_space(packed).reshape(unpacked.shape), unpacked)


def test_a_size_between_the_patches_is_rounded_down_as_flux_does() -> None:
    packed = _random(1, 4 * 5, 64)  # from 79 × 95 px
    layout = layout_of(_pipe(FluxPipeline), packed, height=79, width=95)
    assert torch.equal(layout.to_space(packed), FluxPipeline._unpack_latents(packed, 79, 95, 8))


def test_bria_counts_two_cells_as_one_factor() -> None:
    packed = _random(2, 4 * 6, 16)
    layout = layout_of(_pipe(BriaPipeline, vae_scale_factor=16), packed, height=64, width=96)
    assert layout == Packed(8, 12)
    assert torch.equal(layout.to_space(packed), BriaPipeline._unpack_latents(packed, 64, 96, 16))


def test_fibo_packs_with_and_without_patches() -> None:
    pipe = _pipe(BriaFiboPipeline, vae_scale_factor=16)
    whole, patches = _random(2, 4 * 8, 48), _random(2, 2 * 4, 192)
    expected = BriaFiboPipeline._unpack_latents_no_patch(whole, 64, 128, 16)
    assert layout_of(pipe, whole, 64, 128) == Tokens(4, 8)
    assert torch.equal(Tokens(4, 8).to_space(whole), expected)
    assert layout_of(pipe, patches, 64, 128) == Packed(4, 8)
    plane = _random(2, 48, 4, 8)
    assert torch.equal(Packed(4, 8).to_space(BriaFiboPipeline._pack_latents(plane, 2, 48, 4, 8)), plane)


def test_a_token_of_flux2_is_one_cell() -> None:
    plane = _random(2, 128, 4, 6)
    packed = Flux2Pipeline._pack_latents(plane)
    layout = layout_of(_pipe(Flux2Pipeline), packed, height=64, width=96)
    assert layout == Tokens(4, 6)
    assert torch.equal(layout.to_space(packed), plane)


def test_every_layer_of_qwen_is_a_plane() -> None:
    layers = _random(2, 3, 4, 8, 12)  # (B, layers, C, h, w)
    packed = QwenImageLayeredPipeline._pack_latents(layers, 2, 4, 8, 12, 3)
    layout = layout_of(_pipe(QwenImageLayeredPipeline), packed, height=64, width=96)
    assert layout == Packed(8, 12, frames=3)
    assert torch.equal(layout.to_space(packed), layers)


def _ltx(patch: int = 1) -> Any:
    return _pipe(
        LTXPipeline,
        vae_spatial_compression_ratio=32,
        vae_temporal_compression_ratio=8,
        transformer_spatial_patch_size=patch,
    )


@pytest.mark.parametrize("patch", [1, 2])
@pytest.mark.parametrize("num_frames", [None, 17])
def test_every_frame_of_ltx_is_a_plane(patch: int, num_frames: int | None) -> None:
    video = _random(2, 8, 3, 4, 6)  # (B, C, F, h, w)
    packed = LTXPipeline._pack_latents(video, patch, 1)
    layout = layout_of(_ltx(patch), packed, height=128, width=192, num_frames=num_frames)
    assert torch.equal(layout.to_space(packed).movedim(1, 2), video)
    assert torch.equal(layout.from_space(layout.to_space(packed), packed), packed)


def test_conditioning_tokens_in_front_are_no_frame_of_the_video() -> None:
    packed = _random(1, 4 * 4 * 6, 8)  # one frame more than 17 frames make
    with pytest.raises(StudioError, match=r"96 tokens for 192 × 128 px and 17 frames"):
        layout_of(_ltx(), packed, height=128, width=192, num_frames=17)


# -- which layout -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("StableDiffusionPipeline", (1, 4, 8, 8), PLANE),
        ("IFPipeline", (1, 3, 64, 64), PLANE),
        ("AudioLDM2Pipeline", (1, 8, 16, 4), PLANE),
        ("WanPipeline", (1, 16, 2, 8, 8), PLANE),
        ("CogVideoXPipeline", (1, 2, 16, 8, 8), PLANE),
        ("LTXImageToVideoPipeline", (1, 128, 2, 4, 4), PLANE),
        ("Kandinsky5T2VPipeline", (1, 2, 8, 8, 16), ChannelsLast()),
        ("StableAudioPipeline", (1, 64, 33), Line()),
        ("StableAudio3Pipeline", (1, 64, 33), Line()),
        ("AceStepPipeline", (1, 33, 64), LineLast()),
        ("LongCatAudioDiTPipeline", (1, 33, 64), LineLast()),
        ("FluxModularPipeline", (1, 16, 64), Packed(8, 8)),
        ("Ideogram4Pipeline", (1, 16, 128), Tokens(4, 4)),
    ],
)
def test_layout_by_class_and_shape(name: str, shape: tuple[int, ...], expected: Layout) -> None:
    assert layout_of(_named(name), torch.zeros(shape), height=64, width=64) == expected


def test_a_plane_needs_no_size() -> None:
    assert layout_of(_named("StableDiffusionPipeline"), torch.zeros(1, 4, 8, 8)) == Plane()


@pytest.mark.parametrize(
    ("name", "shape", "size", "words"),
    [
        ("FluxPipeline", (1, 16, 64), {}, r"packed, and their size is not known.*height= and width="),
        ("FluxPipeline", (1, 16, 64), {"height": 64}, r"size is not known"),
        ("FluxPipeline", (1, 17, 64), {"height": 64, "width": 64}, r"17 tokens for 64 × 64 px"),
        ("KandinskyPriorPipeline", (1, 768), {}, r"no space"),
        ("MysteryPipeline", (1, 16, 64), {"height": 64, "width": 64}, r"layout=\.\.\."),
    ],
)
def test_what_cannot_be_known_is_said(name: str, shape: tuple[int, ...], size: dict[str, int], words: str) -> None:
    with pytest.raises(StudioError, match=words):
        layout_of(_named(name), torch.zeros(shape), **size)


def test_latents_of_another_shape_do_not_fit() -> None:
    for layout in (Packed(8, 8), Tokens(4, 4)):
        with pytest.raises(StudioError, match="do not fit"):
            layout.to_space(torch.zeros(1, 15, 64))
    with pytest.raises(StudioError, match="multiple of 4 channels"):
        Packed(8, 8).to_space(torch.zeros(1, 16, 63))


def test_unknown_space_says_why() -> None:
    layout = Unknown("Nobody has said how large the picture is.")
    assert layout.axes == 0
    for act in (layout.to_space, lambda latents: layout.from_space(latents, latents)):
        with pytest.raises(StudioError, match="how large"):
            act(torch.zeros(1, 16, 64))


# -- pictures of the studio's own models ------------------------------------------------------------------------------


def test_spatial_gives_pictures_only() -> None:
    flux = _pipe(FluxPipeline)
    assert spatial(flux, torch.zeros(1, 24, 16), width=96, height=64).shape == (1, 4, 8, 12)
    assert spatial(flux, torch.zeros(1, 25, 16), width=96, height=64) is None
    assert spatial(_pipe(QwenImagePipeline), torch.zeros(1, 24, 16), width=96, height=64).shape == (1, 4, 8, 12)
    assert spatial(_ltx(), torch.zeros(1, 3 * 24, 8), width=192, height=128) is None
    assert spatial(_named("WanPipeline"), torch.zeros(1, 16, 2, 8, 8), 64, 64) is None
    assert spatial(_named("StableAudioPipeline"), torch.zeros(1, 64, 33), 64, 64) is None


@pytest.mark.parametrize("family", ["sd", "flux"])
def test_decode_gives_what_the_pipeline_decodes(family: str) -> None:
    pipe = tiny(family)
    latents = _random(1, 16, 16) if family == "flux" else _random(1, 4, 8, 8)
    plane = FluxPipeline._unpack_latents(latents, 64, 64, 8) if family == "flux" else latents
    config = pipe.vae.config
    with torch.inference_mode():
        expected = pipe.vae.decode(plane / config.scaling_factor + (config.shift_factor or 0)).sample
    assert torch.equal(decode(pipe, latents, 64, 64), expected)


def test_cells_of_another_plane_are_not_decoded() -> None:
    pipe = tiny("sd")
    assert decode(pipe, _random(1, 16, 4, 4), 64, 64) is None
