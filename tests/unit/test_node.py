"""The page's scripts under Node: tests/node/*.test.js, each file a test here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "node"
FILES = sorted(FOLDER.glob("*.test.js"))
OLDEST = (22, 12)  # the first that takes a .js file with imports for a module, without being told


def _version(node: str) -> tuple[int, ...]:
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=60, check=False).stdout
    return tuple(int(part) for part in re.findall(r"\d+", answer)[:2])


@pytest.fixture(scope="module")
def node() -> str:
    """A Node that is new enough: this environment's own (the test extra brings one), or one on the PATH."""
    beside = Path(sys.executable).parent
    found = [path for path in (shutil.which("node", path=str(beside)), shutil.which("node")) if path is not None]
    versions = {path: _version(path) for path in found}
    for path, version in versions.items():
        if version >= OLDEST:
            return path
    pytest.fail(
        f"The page's scripts are tested under Node {'.'.join(map(str, OLDEST))} or later. Found: {versions}. "
        "Install the test extra (`pip install -e .[test]`), which brings one, or Node itself."
    )


def test_there_are_scripts_to_run() -> None:
    assert {"vectors.test.js", "document.test.js"} <= {path.name for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name.removesuffix(".test.js"))
def test_script(node: str, path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "NODE_OPTIONS"}
    ran = subprocess.run(
        [node, "--no-warnings", "--test", "--test-reporter=spec", str(path)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=environment,
    )
    assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr[-2000:]
    passed = re.search(r"pass (\d+)", ran.stdout)
    assert passed is not None, ran.stdout[-2000:]
    assert int(passed[1]) >= 1, f"{path.name} holds no test"
