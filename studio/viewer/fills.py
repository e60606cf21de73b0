"""Fills among the recorded runs: kept with what they need to be gone on with, and made whole again for that."""

from __future__ import annotations

from dataclasses import replace

from studio.branches import Branch
from studio.filling import Filling
from studio.project.kept_fill import KeptFill
from studio.project.runs import KeptRun
from studio.requests import TextToImage
from studio.viewer.source import Source


def kept(filling: Filling) -> KeptFill:
    """What the facts of a run say of its fill."""
    return KeptFill(filling.fill, filling.picture, filling.source_digest, filling.mask_digest)


def filling_of(source: Source, owner: str, run: KeptRun, request: TextToImage | None = None) -> Filling | None:
    """The fill that a run made, with its pixels, asked for by `request` if that is another than the run's.

    None for a run that is none. Raises LatentsGone if the pixels were given up.
    """
    found = run.fill
    if found is None or found.fill.context is None:
        return None
    pixels, mask, free = source.runs.region(owner, run.id)
    return Filling(
        fill=replace(found.fill, painting=request if request is not None else run.request),
        frame=found.fill.context,
        picture=found.picture,
        source=pixels,
        mask=mask,
        free=free,
        source_digest=found.source,
        mask_digest=found.mask,
    )


def filling_of_branch(source: Source, owner: str, branch: Branch) -> Filling | None:
    """The fill that a branch goes on with: what was known to its parent is known to it too. None if that is none."""
    return filling_of(source, owner, source.run(owner, branch.parent), branch.request)
