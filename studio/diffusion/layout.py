"""How latents lie in memory where the scheduler sees them, and how to look at them as space.

Bands, masks and edits act on space; schedulers do not care where it is. Most families hand them (B, C, H, W), but some
cut the plane into tokens, put the channels last, or have no plane at all (audio). A `Layout` turns latents into a
tensor whose last axes are space, and back without changing a bit:

    layout = layout_of(pipe, latents, height=1024, width=1024)
    plane = layout.to_space(latents)  # (..., H, W), or (..., L) where layout.axes is 1
    latents = layout.from_space(plane, like=latents)

Knows shapes and the class names of pipelines; imports nothing of diffusers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from studio.errors import StudioError


@runtime_checkable
class Layout(Protocol):
    """Latents <-> a tensor whose last `axes` axes are space. Values: equal layouts treat latents equally."""

    @property
    def axes(self) -> int:
        """2 for pictures and video, 1 for sound, 0 where space is not known."""
        ...

    def to_space(self, latents: Tensor) -> Tensor:
        """(..., H, W) for two axes, (..., L) for one, with any leading axes."""
        ...

    def from_space(self, plane: Tensor, like: Tensor) -> Tensor:
        """The exact inverse: `plane`, in its own dtype, laid out as the latents `like`."""
        ...


@dataclass(frozen=True)
class Plane:
    """Space is last already: (B, C, H, W), video (B, C, F, H, W) or (B, F, C, H, W), spectrograms (B, C, T, F)."""

    @property
    def axes(self) -> int:
        return 2

    def to_space(self, latents: Tensor) -> Tensor:
        return latents

    def from_space(self, plane: Tensor, like: Tensor) -> Tensor:
        return plane.reshape(like.shape)


@dataclass(frozen=True)
class Packed:
    """Tokens that each hold a square patch of the plane: (B, F·h·w, C·p·p) <-> (B, C, H, W), or (B, F, C, H, W).

    `height` and `width` are those of the plane, in latent cells: H = h·p. `frames` above 1 are video frames or picture
    layers, of which each is a plane of its own. Flux, Chroma, Bria, QwenImage and their relatives, with p = 2.
    """

    height: int
    width: int
    frames: int = 1
    patch: int = 2

    def __post_init__(self) -> None:
        if (
            min(self.height, self.width, self.frames, self.patch) < 1
            or self.height % self.patch
            or (self.width % self.patch)
        ):
            raise StudioError(
                f"A packed plane of {self.height} × {self.width} latents in {self.frames} frames cannot be cut into "
                f"patches of {self.patch} × {self.patch}: sides must be positive multiples of the patch."
            )

    @property
    def axes(self) -> int:
        return 2

    def to_space(self, latents: Tensor) -> Tensor:
        rows, columns, patch = self.height // self.patch, self.width // self.patch, self.patch
        _check_tokens(latents, self.frames * rows * columns, patch * patch, self)
        cells = latents.reshape(-1, self.frames, rows, columns, latents.shape[-1] // patch**2, patch, patch)
        plane = cells.permute(0, 1, 4, 2, 5, 3, 6).reshape(-1, self.frames, cells.shape[4], self.height, self.width)
        return plane[:, 0] if self.frames == 1 else plane  # (B, [F,] C, H, W)

    def from_space(self, plane: Tensor, like: Tensor) -> Tensor:
        rows, columns, patch = self.height // self.patch, self.width // self.patch, self.patch
        cells = plane.reshape(like.shape[0], self.frames, -1, rows, patch, columns, patch)
        return cells.permute(0, 1, 3, 5, 2, 4, 6).reshape(like.shape)


@dataclass(frozen=True)
class Tokens:
    """One token per cell: (B, F·H·W, C) <-> (B, C, H, W), or (B, F, C, H, W) with several frames.

    Flux.2, Qwen-Image 2.1, Bria Fibo, Ideogram 4, LTX-Video. A token of Flux.2 holds 2 × 2 cells of its autoencoder,
    each normalised by statistics of its own; they stay channels: side by side they would not be one surface.
    """

    height: int
    width: int
    frames: int = 1

    def __post_init__(self) -> None:
        if min(self.height, self.width, self.frames) < 1:
            raise StudioError(
                f"{self.frames} frames of {self.height} × {self.width} tokens: all three numbers must be at least 1."
            )

    @property
    def axes(self) -> int:
        return 2

    def to_space(self, latents: Tensor) -> Tensor:
        _check_tokens(latents, self.frames * self.height * self.width, 1, self)
        plane = latents.reshape(-1, self.frames, self.height, self.width, latents.shape[-1]).movedim(-1, 2)
        return plane[:, 0] if self.frames == 1 else plane  # (B, [F,] C, H, W)

    def from_space(self, plane: Tensor, like: Tensor) -> Tensor:
        cells = plane.reshape(like.shape[0], self.frames, -1, self.height, self.width)
        return cells.movedim(2, -1).reshape(like.shape)


@dataclass(frozen=True)
class ChannelsLast:
    """(..., H, W, C) <-> (..., C, H, W): Kandinsky 5 and 6."""

    @property
    def axes(self) -> int:
        return 2

    def to_space(self, latents: Tensor) -> Tensor:
        return latents.movedim(-1, -3)

    def from_space(self, plane: Tensor, like: Tensor) -> Tensor:
        return plane.movedim(-3, -1).reshape(like.shape)


@dataclass(frozen=True)
class Line:
    """(B, C, L), space last already: Stable Audio."""

    @property
    def axes(self) -> int:
        return 1

    def to_space(self, latents: Tensor) -> Tensor:
        return latents

    def from_space(self, plane: Tensor, like: Tensor) -> Tensor:
        return plane.reshape(like.shape)


@dataclass(frozen=True)
class LineLast:
    """(B, L, C) <-> (B, C, L): ACE-Step, LongCat Audio."""

    @property
    def axes(self) -> int:
        return 1

    def to_space(self, latents: Tensor) -> Tensor:
        return latents.movedim(-1, -2)

    def from_space(self, plane: Tensor, like: Tensor) -> Tensor:
        return plane.movedim(-2, -1).reshape(like.shape)


@dataclass(frozen=True)
class Unknown:
    """Latents whose space nobody has told. They can be watched; whatever needs space raises StudioError with `why`."""

    why: str

    @property
    def axes(self) -> int:
        return 0

    def to_space(self, latents: Tensor) -> Tensor:
        raise StudioError(self.why)

    def from_space(self, plane: Tensor, like: Tensor) -> Tensor:
        raise StudioError(self.why)


PLANE = Plane()

_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (Plane, Packed, Tokens, ChannelsLast, Line, LineLast, Unknown)
}
_LINES = ("StableAudio", "DanceDiffusion", "UnconditionalAudio")
_LINES_LAST = ("AceStep", "LongCatAudio")
_CHANNELS_LAST = ("Kandinsky5", "Kandinsky6")
# families of tokens: one cell each, or a square patch of them
_ONE_CELL = ("Flux2", "QwenImage21", "BriaFibo", "Ideogram4", "LTX")
_PATCHES = ("Flux", "QwenImage", "Chroma", "Bria", "Krea2", "LongCatImage", "NucleusMoE", "OvisImage", "VisualCloze")


def layout_of(
    pipe: Any,
    latents: Tensor,
    height: int | None = None,
    width: int | None = None,
    num_frames: int | None = None,
) -> Layout:
    """The layout of `latents` as the scheduler of `pipe` sees them.

    `height`, `width` (pixels) and `num_frames` (of the finished video) are those of the pipeline's call; they are
    looked at only where latents are packed. Raises StudioError if latents are packed and the size is missing or does
    not fit, and for latents that have no space (embeddings of a prior).
    """
    name = type(pipe).__name__
    if latents.ndim >= 4:
        return ChannelsLast() if name.startswith(_CHANNELS_LAST) else PLANE
    if latents.ndim != 3:
        raise StudioError(f"Latents of {name} are shaped {tuple(latents.shape)}, which has no space to look at.")
    if name.startswith(_LINES):
        return Line()
    if name.startswith(_LINES_LAST):
        return LineLast()
    if _is_packed(pipe, name):
        return _tokens(pipe, name, latents, height, width, num_frames)
    raise StudioError(
        f"Nothing is known about the latents of {name}, which are shaped {tuple(latents.shape)}. "
        "Say how they lie: observe(pipe, layout=...) with Tokens, Packed, Line or LineLast."
    )


def laid_out(pipe: Any, plane: Tensor, height: int, width: int) -> tuple[Tensor, Layout]:
    """Latents in space, (B, C, h, w), as the scheduler of `pipe` will see them for a picture of this size in pixels.

    Raises StudioError where that is not known before a run has shown it.
    """
    if not _is_packed(pipe, type(pipe).__name__):
        layout = layout_of(pipe, plane)
        return layout.from_space(plane, plane.movedim(1, -1) if isinstance(layout, ChannelsLast) else plane), layout
    batch, channels, rows, columns = plane.shape
    for patch in (1, 2):  # whichever way the family packs, the layout says whether it was this one
        like = plane.new_zeros(batch, (rows // patch) * (columns // patch), channels * patch**2)
        with contextlib.suppress(StudioError):
            layout = layout_of(pipe, like, height, width)
            if layout.to_space(like).shape == plane.shape:
                return layout.from_space(plane, like), layout
    raise StudioError(f"How a {type(pipe).__name__} packs its latents is not known before it has made some.")


def layout_to_dict(layout: Layout) -> dict[str, str | int]:
    """The layout as strict JSON: its class under "kind", and its fields."""
    return {"kind": type(layout).__name__, **asdict(layout)}  # type: ignore[call-overload]


def layout_from_dict(value: object) -> Layout:
    """The inverse of `layout_to_dict`. Raises StudioError for anything else."""
    if not isinstance(value, Mapping):
        raise StudioError(f"A layout is an object with a kind, not {value!r:.80}.")
    fields = dict(value)
    kind = _KINDS.get(str(fields.pop("kind", None)))
    if kind is None:
        raise StudioError(f"The layout {value.get('kind')!r:.80} is unknown. Known: {', '.join(_KINDS)}.")
    wanted: dict[str, str] = {name: field.type for name, field in kind.__dataclass_fields__.items()}
    for name, given in fields.items():
        if name not in wanted or type(given).__name__ != wanted[name]:
            raise StudioError(
                f"A {kind.__name__} layout has {wanted or 'no fields'}, not {name!r:.40}: {given!r:.40}."
            )
    try:
        layout: Layout = kind(**fields)
    except TypeError as problem:
        raise StudioError(f"A {kind.__name__} layout needs {wanted}, but got {fields}.") from problem
    return layout


def _check_tokens(latents: Tensor, tokens: int, cells: int, layout: Layout) -> None:
    if latents.ndim != 3 or latents.shape[1] != tokens or latents.shape[2] % cells:
        raise StudioError(
            f"Latents shaped {tuple(latents.shape)} do not fit {layout}, which has {tokens} tokens per sample"
            + (f" of a multiple of {cells} channels." if cells > 1 else ".")
        )


def _is_packed(pipe: Any, name: str) -> bool:
    # modular pipelines have the families' names, but not their methods
    return any(hasattr(pipe, method) for method in ("_pack_latents", "_pack_latents_no_patch")) or name.startswith(
        (*_ONE_CELL, *_PATCHES)
    )


def _tokens(
    pipe: Any, name: str, latents: Tensor, height: int | None, width: int | None, num_frames: int | None
) -> Layout:
    """The layout of packed latents (B, N, C) of a picture or video of this size."""
    if height is None or width is None:
        raise StudioError(
            f"Latents of {name} are packed, and their size is not known. Give height= and width= to the pipeline, or "
            "say how they lie: observe(pipe, layout=Packed(height, width)), in latent cells."
        )
    count = latents.shape[1]
    found = _grid(pipe, name, count, int(height), int(width), num_frames)
    if found is None:
        frames = "" if num_frames is None else f" and {num_frames} frames"
        raise StudioError(
            f"{name} made {count} tokens for {width} × {height} px{frames}, which is no grid of that size. "
            "Say how they lie: observe(pipe, layout=Tokens(height, width, frames))."
        )
    rows, columns, frame_count = found
    patch = _patch(pipe, name, count, int(height), int(width))
    if patch == 1 or latents.shape[-1] % patch**2:
        return Tokens(rows, columns, frame_count)
    return Packed(rows * patch, columns * patch, frame_count, patch)


def _patch(pipe: Any, name: str, count: int, height: int, width: int) -> int:
    """Cells of the plane that one side of a token covers."""
    if name.startswith("LTX"):
        return int(getattr(pipe, "transformer_spatial_patch_size", 1))
    if name.startswith("BriaFibo"):
        # the call has a switch for patches; only the number of tokens tells how it stood
        scale = int(pipe.vae_scale_factor)
        return 1 if count == (height // scale) * (width // scale) else 2
    if name.startswith(_ONE_CELL):
        return 1
    return int(getattr(pipe, "patch_size", None) or 2)


def _grid(
    pipe: Any, name: str, count: int, height: int, width: int, num_frames: int | None
) -> tuple[int, int, int] | None:
    """Rows, columns and frames of `count` tokens, or None if they are no whole grid."""
    if name.startswith("LTX"):
        unit = int(pipe.vae_spatial_compression_ratio) * int(getattr(pipe, "transformer_spatial_patch_size", 1))
        frames, rest = divmod(count, max((height // unit) * (width // unit), 1))
        # conditioning frames may stand in front: then the tokens are more than the video's
        wanted = frames if num_frames is None else (num_frames - 1) // int(pipe.vae_temporal_compression_ratio) + 1
        return None if rest or not frames or frames != wanted else (height // unit, width // unit, frames)
    if name.startswith("QwenImageLayered"):
        unit = int(pipe.vae_scale_factor) * 2
        layers, rest = divmod(count, max((height // unit) * (width // unit), 1))
        return None if rest or not layers else (height // unit, width // unit, layers)
    # a picture: the pixels per token follow from their number, whatever the pipeline calls its factors
    for unit in (2**power for power in range(8)):
        if (height // unit) * (width // unit) == count:
            return height // unit, width // unit, 1
    return None
