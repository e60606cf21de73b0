"""Everything about a run that is a number or a word, as plain values that JSON has."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Sequence
from typing import Any

from studio.engine import CannotShow
from studio.project.runs import BandNumbers, KeptRun, LatentsGone, RunLine
from studio.viewer import numbers
from studio.viewer.calibrated import gap_beside
from studio.viewer.numbers import Band
from studio.viewer.source import DEFAULT_LEVELS, DEFAULT_WAVELET, LOOKS, Source, check_bands, check_look, nobody_waits

TREE_LIMIT = 200  # runs of one family that are told of


def lines_of(source: Source, owner: str, limit: int = 60) -> list[dict[str, Any]]:
    """The owner's runs, newest first, a line each."""
    openable = source.runs.openable(owner)
    lines = []
    for known in source.runs.newest(owner, limit):
        if nobody_waits():
            break
        if (run := source.runs.get(owner, known.id)) is not None:  # one at a time: each may be large
            lines.append(_line(source, owner, run, openable))
    return lines


def facts_of(
    source: Source,
    owner: str,
    run_id: str,
    wavelet: str = DEFAULT_WAVELET,
    levels: int = DEFAULT_LEVELS,
    look: str = "auto",
) -> dict[str, Any]:
    """Everything about a run that is a number or a word.

    Raises NotThere; InvalidRequest for a wavelet, number of levels or look that does not exist; LatentsGone if
    only what was stored is left and something else is asked for; CannotShow if the pixels cannot be made.
    """
    run = source.run(owner, run_id)
    check_bands(wavelet, levels)
    check_look(look, LOOKS)
    picture, latent, used = source.measured(owner, run, wavelet, levels, look)
    bands = numbers.bands_of(levels)
    labels = [band.label for band in bands]
    spoken = picture or latent
    settled = numbers.settled_at(spoken)
    moved, share = numbers.moved(spoken), numbers.share(spoken)
    steps = []
    for index, step in enumerate(run.steps):
        here = [at <= index for at in settled]
        words = numbers.sentence(index + 1, here, moved[index], labels)
        steps.append(
            {
                "index": index,
                "number": index + 1,
                "timestep": step.timestep,
                "sigma": step.sigma,
                "noise_level": step.noise_level,
                "shared": run.branch_at is not None and index < run.branch_at,
                "moved": moved[index],
                "share": share[index],
                "settled": here,
                "sentence": "".join(text for text, _ in words),
                "words": [{"text": text, "strong": strong} for text, strong in words],
            }
        )
    spaces = {"picture": picture, "latent": latent}
    pixel_count = run.request.width * run.request.height * 3
    latent_count = run.channels * run.latent_height * run.latent_width
    openable = source.runs.openable(owner)
    return {
        **_line(source, owner, run, openable),
        "wavelet": wavelet,
        "levels": levels,
        "look": used,
        "waking": source.waking(run),
        "wavelets": list(numbers.WAVELETS),
        "max_levels": numbers.MAX_LEVELS,
        "space": {
            "picture": picture is not None,
            "latent": {"channels": run.channels, "height": run.latent_height, "width": run.latent_width},
        },
        "canvas": {"width": run.request.width, "height": run.request.height},
        "bands": [
            {"index": b.index, "name": b.label.lower(), "label": b.label, "pixels": b.pixels}
            | {"low": b.low, "high": b.high}
            for b in bands
        ],
        "steps": steps,
        "energy": {space: _rows(n.energy) if n else None for space, n in spaces.items()},
        "change": {space: _rows(n.change) if n else None for space, n in spaces.items()},
        "arrived": {space: numbers.arrived(n) if n else None for space, n in spaces.items()},
        "settled_at": {space: numbers.settled_at(n) if n else None for space, n in spaces.items()},
        "scale": {
            "picture": _scales(picture, pixel_count, 127.5) if picture else None,
            "latent": _scales(latent, latent_count, 1.0),
        },
        "gap": gap_beside(run.request, [step.noise_level for step in run.steps], source.data),
        "effect": _effect(source, owner, run, wavelet, levels, used, picture),
        "strengths": run.request.to_dict().get("correction"),
        "tree": [_leaf(relative, openable) for relative in _relatives(source, owner, run)],
        "strip": _strip_facts(run),
        "lockable": _lockable(run),
        "fill": run.fill is not None,
    }


def ribbon_of(source: Source, owner: str, run_id: str) -> list[tuple[float, ...]]:
    """What each step of a run moved, as it was measured when the run was made. Raises NotThere."""
    measured = source.run(owner, run_id).measured
    found = measured and (measured.picture or measured.latent)
    return [tuple(row) for row in numbers.moved(found)] if found else []


def _effect(
    source: Source, owner: str, run: KeptRun, wavelet: str, levels: int, used: str, picture: BandNumbers | None
) -> dict[str, Any] | None:
    """How the final energy of each band differs from the parent's, in percent."""
    parent = source.runs.get(owner, run.parent) if run.parent is not None else None
    if parent is None or picture is None or run.stopped_at is not None:
        return None
    try:
        before, _, look = source.measured(owner, parent, wavelet, levels, used)
    except (LatentsGone, CannotShow):
        return None
    if before is None or look != used:
        return None
    percent = [
        100 * (new / old - 1) if old > 0 else None
        for new, old in zip(picture.energy[-1], before.energy[-1], strict=True)
    ]
    return {"parent": parent.id, "percent": percent}


def _line(source: Source, owner: str, run: KeptRun, openable: Collection[str]) -> dict[str, Any]:
    return {
        **_leaf(RunLine.of(run), openable),
        "picture": f"/studio/pictures/{run.id}.png",
        "request": run.request.to_dict(),
        "width": run.request.width,
        "height": run.request.height,
        "seconds": run.seconds,
        "root": run.family,
        "bytes": source.runs.size(owner, run.id),
    }


def _relatives(source: Source, owner: str, run: KeptRun) -> list[RunLine]:
    """Every run of the family or, of a very large one, the newest, and those that the run comes from."""
    family = source.runs.family(owner, run)
    line = {each.id for each in source.runs.lineage(owner, run)} if len(family) > TREE_LIMIT else set()
    return [each for number, each in enumerate(family, TREE_LIMIT - len(family)) if number >= 0 or each.id in line]


def _leaf(run: RunLine, openable: Collection[str]) -> dict[str, Any]:
    return {
        "id": run.id,
        "parent": run.parent,
        "branch_at": run.branch_at,
        "label": run.label,
        "thumbnail": f"/studio/runs/{run.id}/thumbnail.png",
        "made_at": run.made_at,
        "recorded": run.recorded,
        "count": run.count,
        "stopped_at": run.stopped_at,
        "latents": run.id in openable,
    }


def _rows(values: Sequence[Sequence[float]]) -> list[list[float]]:
    return [list(row) for row in values]


def _scales(found: BandNumbers, samples: int, unit: float) -> dict[str, Any]:
    return {
        "bands": [unit * v for v in numbers.scales(found.energy, samples)],
        "added": [unit * v for v in numbers.added_scales(found.change, samples)],
        "whole": unit * numbers.whole_added_scale(found.change, samples),
    }


def _strip_facts(run: KeptRun) -> dict[str, Any] | None:
    if run.strip is None:
        return None
    return {"url": f"/studio/runs/{run.id}/strip.png", "count": len(run.steps), **vars(run.strip)}


def largest_levels(run: KeptRun) -> int:
    """How often the sides of the run's latents can be halved, up to 5 times."""
    side = min(run.latent_height, run.latent_width)
    return min(numbers.MAX_LEVELS, max(int(math.log2(side)) if side else 0, 1))


def lock_levels(run: KeptRun) -> int:
    """Levels of the latent bands that are offered for locking and mixing: so many that the coarsest band is about
    four cells across, which is where a picture's composition is.
    """
    return min(DEFAULT_LEVELS, max(largest_levels(run) - 2, 1))


def lockable_bands(levels: int, cell: int = 8) -> list[Band]:
    """Bands of latents, of which a cell is `cell` pixels wide. There is nothing finer than a cell to lock."""
    return [
        dataclasses.replace(
            band,
            label=numbers.FIVE_NAMES[band.index] if levels <= 4 else band.label,
            low=band.low * cell,
            high=band.high * cell if band.high is not None else None,
        )
        for band in numbers.bands_of(levels)
    ]


def _lockable(run: KeptRun) -> dict[str, Any]:
    levels = lock_levels(run)
    bands = lockable_bands(levels, max(run.request.width // max(run.latent_width, 1), 1))
    return {
        "wavelet": DEFAULT_WAVELET,
        "levels": levels,
        "bands": [band.label for band in bands],
        "pixels": [band.pixels for band in bands],
    }
