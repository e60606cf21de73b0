"""Keeps a run that was just made: its recording, and what can be measured of it at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from studio.branches import Branch
from studio.filling import Filling
from studio.picture import Picture
from studio.project.runs import KeptRun, KeptStep, Measured, Strip
from studio.viewer import drawing, fills, numbers
from studio.viewer.numbers import Plane
from studio.viewer.source import DEFAULT_LEVELS, DEFAULT_WAVELET, Frame, Source, frame_of, looked, whole_steps

STRIP_SIDE = 192  # px, longest side of a small preview


def keep(
    source: Source,
    owner: str,
    picture_id: str,
    picture: Picture,
    made_at: int,
    branch: Branch | None = None,
    filling: Filling | None = None,
) -> KeptRun | None:
    """Keeps the recording of `picture` with what can be measured of it at once; None if it has none.

    `filling` is the fill that it is of.
    """
    recording = picture.recording
    if recording is None or not recording.steps:
        return None
    at, parent = (branch.at, source.run(owner, branch.parent)) if branch is not None else (0, None)
    own = whole_steps(recording)
    before = parent.steps[:at] if parent is not None else ()
    steps = (*before, *(KeptStep(s.timestep, s.sigma, s.noise_level) for s in own))
    first = recording.steps[0]
    frames = [*(source.frames(owner, parent)[:at] if parent is not None and at else ()), *map(frame_of, own)]
    if not frames:  # stopped before the first step was whole
        return None
    run = KeptRun(
        id=picture_id,
        request=picture.request,
        made_at=made_at,
        count=at + first.count - first.number + 1,
        order=first.order,
        steps=steps,
        label=branch.label if branch is not None else "Original",
        fill=fills.kept(filling) if filling is not None else None,
        seconds=picture.seconds,
        stopped_at=picture.stopped_at,
        parent=parent.id if parent is not None else None,
        root=parent.family if parent is not None else None,
        branch_at=at if parent is not None else None,
    )
    channels, height, width = frames[0].latents.shape
    run = dataclasses.replace(run, channels=channels, latent_height=height, latent_width=width)
    planes, look = _planes_at_once(source, run, frames)
    usual = (DEFAULT_WAVELET, DEFAULT_LEVELS)
    measured = Measured(
        *usual,
        look=look,
        picture=numbers.measure(planes, *usual) if planes is not None else None,
        latent=numbers.measure((frame.latents for frame in frames), *usual),
    )
    strip, strip_png = None, None
    if planes is not None:
        tiles = [drawing.fitted(drawing.pixels_of(plane), STRIP_SIDE) for plane in planes]
        columns = drawing.sheet_columns(len(tiles))
        strip = Strip(columns, -(-len(tiles) // columns), tiles[0].shape[1], tiles[0].shape[0])
        strip_png = drawing.quick_png(drawing.grid(tiles, columns))
    run = dataclasses.replace(run, measured=measured, strip=strip)
    beside = filling.region.files if filling is not None else None
    source.runs.add(owner, run, recording, strip_png, beside)
    return run


def _planes_at_once(source: Source, run: KeptRun, frames: Sequence[Frame]) -> tuple[list[Plane] | None, str]:
    """Every estimate as pixels, by the linear preview; where there is none, by the decoder. And which it was."""
    look = source.engine.look(run.request.model)
    if look is not None:
        return [looked(look, frame.latents) for frame in frames], "fast"
    planes = [source.engine.decode(run.request, frame.clean) for frame in frames]
    known = [plane for plane in planes if plane is not None]
    return known if len(known) == len(planes) else None, "full"
