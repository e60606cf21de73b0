"""Files that travel with the package."""

from __future__ import annotations

import re

import pytest

from studio.assets import asset


@pytest.mark.parametrize("name", ["tokens.css", "frame.css", "frame.js", "generate.js", "favicon.svg"])
def test_the_page_finds_its_files(name: str) -> None:
    assert asset(name).is_file()


def test_a_file_that_is_not_there_has_a_path_all_the_same() -> None:
    path = asset("models", "nobody", "model_index.json")
    assert path.parts[-3:] == ("models", "nobody", "model_index.json")
    assert not path.exists()


def test_every_script_that_a_script_imports_is_there() -> None:
    for script in asset().glob("*.js"):
        for imported in re.findall(r"""(?:from|import)\s*\(?\s*["']\./([\w.-]+)["']""", script.read_text("utf-8")):
            assert asset(imported).is_file(), f"{script.name} imports {imported}"


def test_no_file_of_the_page_asks_for_anything_outside() -> None:
    for file in [*asset().glob("*.js"), *asset().glob("*.css"), *asset().glob("*.svg")]:
        text = (
            file.read_text("utf-8")
            .replace("http://www.w3.org/2000/svg", "")
            .replace("http://www.w3.org/1999/xlink", "")
        )
        assert not re.search(r"""https?://|["'(]//[a-z]""", text), file.name
