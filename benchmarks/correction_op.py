"""What one correction of one step costs: against the published algorithm, and against the least that it could be.

    python benchmarks/correction_op.py              # prints a table and renews its section of results.md
    python benchmarks/correction_op.py --dry        # printed only

The published algorithm is written here after its formula: two forward transforms (of the sample and of the clean
estimate) and one inverse, by a general filter bank of strided convolutions with zero padding, axis by axis. The least
is `x + s * (x - y)`. What is timed of ours is the whole hook, schedules and checks included, in the paper's double
variant. Both sides of a ratio alternate; it is the median of the ratios of neighbours. One torch thread, float32.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import generate as pace  # noqa: E402 - the other benchmark in this folder
import pywt  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402, N812
from torch import Tensor  # noqa: E402

from studio.diffusion.correction import Correction  # noqa: E402
from studio.diffusion.steps import Step  # noqa: E402

RESULTS = Path(__file__).with_name("results.md")
HEADING = "## One correction"
LOW, HIGH = 0.05, 0.03
LEAST = 15  # pairs


@dataclass(frozen=True)
class Case:
    """A shape and wavelet, and what must hold of it; None where nothing must."""

    wavelet: str
    shape: tuple[int, ...]
    faster: float | None  # times faster than the published algorithm, at least
    least: float | None  # times the cost of x + s * (x - y), at most


CASES = (
    Case("haar", (1, 4, 128, 128), 10, 4),
    Case("haar", (1, 16, 128, 128), 5, 4),
    Case("db4", (1, 4, 128, 128), 1.4, None),
    Case("db4", (1, 16, 128, 128), 1.4, None),
    Case("sym8", (1, 4, 128, 128), None, None),
)


class Published:
    """x_b <- x_b + lambda_b (x_b - y_b) for the approximation and the details of one level, then back to space."""

    def __init__(self, wavelet: str, low: float, high: float) -> None:
        bank = pywt.Wavelet(wavelet)
        self.analysis = torch.tensor([bank.dec_lo[::-1], bank.dec_hi[::-1]])  # (2, taps), as correlations
        self.synthesis = torch.tensor([bank.rec_lo, bank.rec_hi])
        self.low, self.high = low, high

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        sample, clean = self.forward(x), self.forward(y)
        low = sample[:, :, :1] + self.low * (sample[:, :, :1] - clean[:, :, :1])
        details = sample[:, :, 1:] + self.high * (sample[:, :, 1:] - clean[:, :, 1:])
        return self.inverse(low, details)

    def forward(self, plane: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, 4, h, w): approximation, then the three details."""
        batch, channels = plane.shape[:2]
        bands = self._analyse(self._analyse(plane, -1), -2)
        return bands.view(batch, channels, 4, *bands.shape[-2:])

    def inverse(self, low: Tensor, details: Tensor) -> Tensor:
        left = self._synthesise(low[:, :, 0], details[:, :, 0], -2)
        right = self._synthesise(details[:, :, 1], details[:, :, 2], -2)
        return self._synthesise(left, right, -1)

    def _analyse(self, plane: Tensor, axis: int) -> Tensor:
        taps, channels = self.analysis.shape[1], plane.shape[1]
        cells = plane.shape[axis]
        wanted = (cells + taps - 1) // 2
        beyond = 2 * (wanted - 1) - cells + taps
        before, after = beyond // 2, (beyond + 1) // 2
        filters = self.analysis.repeat(channels, 1)[:, None]
        if axis == -1:
            padded = F.pad(plane, (before, after))
            return F.conv2d(padded, filters[:, :, None, :], stride=(1, 2), groups=channels)
        padded = F.pad(plane, (0, 0, before, after))
        return F.conv2d(padded, filters[:, :, :, None], stride=(2, 1), groups=channels)

    def _synthesise(self, low: Tensor, high: Tensor, axis: int) -> Tensor:
        taps, channels = self.synthesis.shape[1], low.shape[1]
        shape, stride, cut = (
            ((channels, 1, 1, taps), (1, 2), (0, taps - 2))
            if axis == -1
            else ((channels, 1, taps, 1), (2, 1), (taps - 2, 0))
        )
        planes = [
            F.conv_transpose2d(band, filters.repeat(channels).view(shape), stride=stride, padding=cut, groups=channels)
            for band, filters in zip((low, high), self.synthesis, strict=True)
        ]
        return planes[0] + planes[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=401, help=f"pairs per ratio, at least {LEAST}")
    parser.add_argument("--dry", action="store_true", help="print the table and leave results.md as it is")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    lines, held = [], True
    for case in CASES:
        line, holds = measure(case, max(options.repeats, LEAST))
        lines.append(line)
        held = held and holds
    section = "\n".join([HEADING, "", *_head(max(options.repeats, LEAST)), *lines]) + "\n"
    print(section)
    if not options.dry:
        pace.write_section(RESULTS, HEADING, section)
    return 0 if held else 1


def measure(case: Case, repeats: int) -> tuple[str, bool]:
    """A line of the table, and whether what must hold does."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(case.shape, generator=generator) for _ in range(2))
    step = Step(3, 20, 1, 600.0, 3.0, x, y, x, signal=1.0, noise=3.0)
    ours = Correction(LOW, HIGH, case.wavelet, low_schedule="constant", high_schedule="constant")
    published = Published(case.wavelet, LOW, HIGH)
    torch.testing.assert_close(ours(step), published(x, y), rtol=0, atol=5e-6)

    against_theirs = alternating(lambda: ours(step), lambda: published(x, y), repeats)
    against_bare = alternating(lambda: ours(step), lambda: x + LOW * (x - y), repeats)
    faster = statistics.median(theirs / mine for mine, theirs in against_theirs)
    least = statistics.median(mine / bare for mine, bare in against_bare)
    mine, theirs, bare = (
        statistics.median(seconds) * 1e6
        for seconds in (
            [mine for mine, _ in against_bare],
            [theirs for _, theirs in against_theirs],
            [bare for _, bare in against_bare],
        )
    )
    holds = (case.faster is None or faster >= case.faster) and (case.least is None or least <= case.least)
    wanted = "" if case.faster is None else f"{case.faster:g} ×"
    allowed = "" if case.least is None else f"{case.least:g} ×"
    mark = "" if holds else " **(missed)**"
    line = (
        f"| {case.wavelet}, {' × '.join(map(str, case.shape))} | {mine:.0f} µs | {theirs:.0f} µs | {faster:.1f} × "
        f"| {wanted} | {bare:.0f} µs | {least:.1f} × | {allowed}{mark} |"
    )
    return line, holds


def alternating(first: Callable[[], object], second: Callable[[], object], repeats: int) -> list[tuple[float, float]]:
    """Seconds of both, `repeats` times, one after the other; every other turn the second goes first."""
    for _ in range(20):
        first()
        second()
    found = []
    for turn in range(repeats):
        if turn % 2:
            later = _seconds(second)
            found.append((_seconds(first), later))
        else:
            found.append((_seconds(first), _seconds(second)))
    return found


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _head(repeats: int) -> list[str]:
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "PyWavelets"))
    return [
        f"`python benchmarks/correction_op.py`, {date.today().isoformat()}, {pace._machine()}.",
        f"Python {platform.python_version()}, {libraries}. One torch thread, float32, {repeats} alternating turns.",
        "",
        "| Double, one level | Ours | Published | Faster | At least | `x + s * (x - y)` | Ours / that | At most |",
        "|---|---|---|---|---|---|---|---|",
    ]


if __name__ == "__main__":
    sys.exit(main())
