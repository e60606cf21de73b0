"""wavebrush: an interactive image studio for artists.

As a library, everything is reached by these names; they are imported when they are first asked for, so that
`import studio` stays light:

    from studio import Correction, observe
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from studio.diffusion.correction import Correction
    from studio.diffusion.harmonise import Rewind, harmonising
    from studio.diffusion.known import KeepKnown
    from studio.diffusion.observe import observe
    from studio.diffusion.run_file import load_recording
    from studio.diffusion.start import seeded_noise, start_at
    from studio.engine import Engine
    from studio.requests import TextToImage

__version__ = "0.1.0"

__all__ = [
    "Correction",
    "Engine",
    "KeepKnown",
    "Rewind",
    "TextToImage",
    "__version__",
    "harmonising",
    "load_recording",
    "observe",
    "seeded_noise",
    "start_at",
]

_HOMES = {
    "Correction": "studio.diffusion.correction",
    "Engine": "studio.engine",
    "KeepKnown": "studio.diffusion.known",
    "Rewind": "studio.diffusion.harmonise",
    "TextToImage": "studio.requests",
    "harmonising": "studio.diffusion.harmonise",
    "load_recording": "studio.diffusion.run_file",
    "observe": "studio.diffusion.observe",
    "seeded_noise": "studio.diffusion.start",
    "start_at": "studio.diffusion.start",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
