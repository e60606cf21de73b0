"""The README's section "As a library" does what it says, block after block, with the bundled painter."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
HEADING = "## As a library"


def _blocks() -> list[str]:
    section = README.read_text("utf-8").partition(f"{HEADING}\n")[2]
    section = re.split(r"^## ", section, maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


@pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")  # the schedulers' own, on numpy 2
def test_every_block_of_the_section_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks are one program; its own assertions are the claims that can be checked to the bit."""
    blocks = _blocks()
    assert len(blocks) >= 5
    (tmp_path / "assets").symlink_to(ROOT / "assets")  # what it writes belongs elsewhere
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "readme"}
    for number, block in enumerate(blocks):
        exec(compile(block, f"{README.name}, block {number + 1}", "exec"), names)

    import torch

    from studio.diffusion.wavelets import split_bands

    lake = names["lake"]
    assert lake.shape == (1, 3, 128, 128)
    for branch in ("winter", "corrected", "sunny", "woodblock", "forest", "agreed", "redone"):
        assert not torch.equal(names[branch], lake), f"`{branch}` is the lake itself"
    # the red sun is where it was painted: there is much less green than there was
    there = (0, 1, slice(16, 40), slice(80, 104))
    assert names["sunny"][there].mean() < lake[there].mean() - 0.2
    # what is known to a fill stays, also where steps are made again; the other half is another picture
    known = names["known"]
    ended = names["rewind"].recording.steps[-1].x_next
    assert torch.equal(ended[..., :8], known[..., :8])
    assert not torch.equal(names["forest"], names["agreed"])
    for fill in ("forest", "agreed"):
        left, right = (names[fill] - lake).abs().mean((0, 1, 2)).split(64)
        assert right.mean() > 4 * left.mean(), fill
    # the locked band of the woodblock print is that of the lake
    low, theirs = (split_bands(names[run].steps[-1].x_next, "db2", 2)[0] for run in ("locked", "run"))
    torch.testing.assert_close(low, theirs, atol=1e-4, rtol=0)
