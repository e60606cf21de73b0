"""Fills among the recorded runs: kept with what they need to be gone on with, and made whole again for that."""

from __future__ import annotations

from studio.branches import Branch
from studio.filling import Filling
from studio.project.carried_fill import Region
from studio.project.kept_fill import KeptFill
from studio.project.runs import KeptRun
from studio.requests import TextToImage
from studio.viewer.source import Source


def kept(filling: Filling) -> KeptFill:
    """What the facts of a run say of its fill."""
    return KeptFill(filling.fill, filling.picture, filling.source_digest, filling.mask_digest)


def filling_of(
    source: Source, owner: str, run: KeptRun, request: TextToImage | None = None, once: bool = False
) -> Filling | None:
    """The fill that a run made, with its pixels, asked for by `request` if that is another than the run's.

    With `once`, no step of it is made again. None for a run that is none. Raises LatentsGone if the pixels were given
    up.
    """
    found = run.fill
    if found is None or found.fill.context is None:
        return None
    changes = {"harmonise": 0} if once else {}
    asked = found.fill.repainted(request if request is not None else run.request, **changes)
    return Filling.again(found, Region(*source.runs.region(owner, run.id)), asked)


def filling_of_branch(source: Source, owner: str, branch: Branch) -> Filling | None:
    """The fill that a branch goes on with: what was known to its parent is known to it too. None if that is none.

    In the middle of a run, another solver or number of steps goes on once, without harmonising: the levels that the
    parent went back to are not among its own.
    """
    run = source.run(owner, branch.parent)
    once = False
    if run.fill is not None and (branch.at or branch.steps_in):
        before = source.holder(owner, run, branch.at).request
        once = branch.goes_elsewhere(before)
    return filling_of(source, owner, run, branch.request, once)
