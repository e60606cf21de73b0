"""Where the files that are not code lie: scripts, styles, example pictures and the bundled model.

In a checkout they are in `assets/` beside the package; an installed wheel carries them inside it.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent
_ROOT = next(
    (folder for folder in (_PACKAGE / "_assets", _PACKAGE.parent / "assets") if folder.is_dir()),
    _PACKAGE.parent / "assets",
)


def asset(*parts: str) -> Path:
    """The path of one of the studio's own files, such as `asset("models", "painter")`. It need not exist."""
    return _ROOT.joinpath(*parts)
