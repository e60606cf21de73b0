"""The modules beside this one can be imported by the tests, and by the processes that they start.

Tests that ask for a small disk run where one may be mounted: here, or in a process with its own view of the disks.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

for folder in (Path(__file__).parent, Path(__file__).parents[1]):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

ALONE = "WAVEBRUSH_TEST_ALONE"  # set in a process that was started to run one test
WITH_OWN_DISKS = ("unshare", "--user", "--map-root-user", "--mount")


class Elsewhere:
    """There is no small disk in this process, but there can be one in a process that is started WITH_OWN_DISKS."""


def _mounted(disk: Path, size: int, *prefix: str) -> bool:
    """Whether a disk in memory was mounted. It is gone with the process, where that has its own."""
    command = [*prefix, "mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
    if not all(shutil.which(name) for name in ("mount", command[0])):
        return False
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.fixture
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path | Elsewhere]:
    """A disk in memory that holds as many bytes as its parameter says. Skips where none can be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if _mounted(disk, request.param):
        try:
            yield disk
        finally:
            subprocess.run(["umount", "--lazy", str(disk)], check=True)
    elif ALONE not in os.environ and _mounted(disk, request.param, *WITH_OWN_DISKS):
        yield Elsewhere()
    else:
        pytest.skip("no disk can be mounted here")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs a test that needs a small disk in a process of its own, where this one may mount none."""
    if not isinstance(pyfuncitem.funcargs.get("small_disk"), Elsewhere):
        return None
    folder = pyfuncitem.funcargs["tmp_path"] / "alone"
    options = ["-q", "-p", "no:cacheprovider", "--basetemp", str(folder), pyfuncitem.nodeid]
    done = subprocess.run(
        [*WITH_OWN_DISKS, sys.executable, "-m", "pytest", *options],
        cwd=pyfuncitem.config.rootpath,
        env={**os.environ, ALONE: "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout, done.stdout
    return True
