"""Our scripts and styles as files: what they may not hold, whatever the browser would do with it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from studio.assets import asset

FILES = sorted(path for path in asset().iterdir() if path.suffix in {".js", ".css", ".svg"})
NAMESPACES = ("http://www.w3.org/2000/svg",)  # names, which nobody fetches


def test_there_are_files_to_read() -> None:
    assert {"generate.js", "form.js", "frame.css", "tokens.css"} <= {path.name for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_file_names_another_computer(path: Path) -> None:
    found = re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}[^\s\"')]*", path.read_text(encoding="utf-8"))
    assert [address for address in found if address not in NAMESPACES] == []


@pytest.mark.parametrize("path", [path for path in FILES if path.suffix == ".js"], ids=lambda path: path.name)
def test_no_script_turns_text_into_markup_or_code(path: Path) -> None:
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|createContextualFragment"
    )
    assert re.findall(forbidden, path.read_text(encoding="utf-8")) == []
