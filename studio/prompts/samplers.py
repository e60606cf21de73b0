"""The samplers of other programs in terms of our solvers."""

from __future__ import annotations

import re

from studio.errors import shown

_SAME = {
    "ddim": "DDIM",
    "ddpm": "DDPM",
    "deis": "DEIS",
    "dpmpp2m": "DPM++ 2M",
    "dpmpp2msde": "DPM++ 2M SDE",
    "euler": "Euler",
    "eulera": "Euler a",
    "eulerancestral": "Euler a",
    "heun": "Heun",
    "lcm": "LCM",
    "unipc": "UniPC",
    "unipcbh2": "UniPC",
}
_NEAR = {  # the solver of the same kind: with or without fresh noise, of a like order
    "ddimcfgpp": "DDIM",
    "dpm2": "Heun",
    "dpm2a": "Euler a",
    "dpm2ancestral": "Euler a",
    "dpmadaptive": "DPM++ 2M",
    "dpmfast": "DPM++ 2M",
    "dpmpp2s": "DPM++ 2M",
    "dpmpp2sa": "Euler a",
    "dpmpp2sancestral": "Euler a",
    "dpmpp3msde": "DPM++ 2M SDE",
    "dpmppsde": "DPM++ 2M SDE",
    "eulercfgpp": "Euler",
    "eulerancestralcfgpp": "Euler a",
    "heunpp2": "Heun",
    "ipndm": "DEIS",
    "ipndmv": "DEIS",
    "kdpm2": "Heun",
    "kdpm2a": "Euler a",
    "lms": "DPM++ 2M",
    "plms": "DEIS",
    "pndm": "DEIS",
    "resmultistep": "DPM++ 2M",
    "restart": "Heun",
    "sasolver": "DPM++ 2M SDE",
    "tcd": "LCM",
}
_SPACINGS = re.compile(r"(?: |_)(karras|exponential|polyexponential|sgm ?uniform|k)$", re.IGNORECASE)


def solver_for(sampler: str, usual: str) -> tuple[str, str | None]:
    """Our solver for another program's sampler, with words where it is not the same; `usual` where none is like it."""
    name = sampler.strip()[:80]
    words = None
    if spacing := _SPACINGS.search(name):
        spaced = "Karras" if spacing[1].lower() in ("k", "karras") else spacing[1]
        name = name[: spacing.start()]
        words = f"Steps were spaced by {spaced}; here they are spaced as the model was trained."
    plain = re.sub(r"[\s_.-]", "", name.lower()).replace("++", "pp").removesuffix("gpu")
    plain = plain[1:] if plain.startswith(("keuler", "kdpm", "kheun", "klms")) and plain not in _NEAR else plain
    if plain in _SAME:
        return _SAME[plain], words
    if plain in _NEAR:
        return _NEAR[plain], f"{shown(sampler, 40)} is not here; {_NEAR[plain]} is the nearest solver."
    return usual, f"{shown(sampler, 40)} is no solver that is known here; {usual} paints instead."
