"""axe-core, which finds what a page keeps from people who see, hear or move differently."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page


def fetch(folder: Path) -> Path:
    """axe-core as one script below `folder`, fetched with npm when the tests run."""
    # the test extra brings npm along with Node, beside the interpreter that runs the tests
    npm = shutil.which("npm", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    assert npm, "npm is missing: pip install '.[test]' brings it"
    packed = subprocess.run(
        [npm, "pack", "axe-core@4", "--silent"], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    archives = sorted(folder.glob("axe-core-*.tgz"))
    if packed.returncode or not archives:
        pytest.skip(f"npm could not fetch axe-core: {packed.stderr.strip()[:200]}")
    script = folder / "axe.min.js"
    with tarfile.open(archives[0]) as archive:
        member = archive.extractfile("package/axe.min.js")  # extract() knows filters from Python 3.11.4 on only
        assert member is not None
        script.write_bytes(member.read())
    return script


def violations(page: Page, axe: Path, inside: str) -> list[tuple[str, str, list[str]]]:
    """What axe-core calls serious or critical: rule, words, the elements concerned."""
    page.evaluate(axe.read_text(encoding="utf-8"))
    found: dict[str, Any] = page.evaluate("inside => axe.run(inside, { resultTypes: ['violations'] })", inside)
    return [
        (rule["id"], rule["help"], [node["html"][:200] for node in rule["nodes"]])
        for rule in found["violations"]
        if rule["impact"] in ("serious", "critical")
    ]
