"""Checks that what the README says can be done, can be: its commands parse, its files and imports are there.

    python tests/check_readme.py            # exit code 1 and one line per fault

It runs nothing of what it finds; the tests do that.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import io
import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # its notes on optional libraries are no faults

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)\s]+)\)")


def faults(document: Path) -> Iterator[str]:
    """What is wrong with `document`, one line each."""
    text = document.read_text("utf-8")
    for kind, block in _BLOCK.findall(text):
        if kind == "sh":
            for line in block.replace("\\\n", " ").splitlines():
                yield from (f"`{line}`: {fault}" for fault in _line_faults(line))
        elif kind == "python":
            yield from _python_faults(block)
    for target in _LINK.findall(text):
        if not (document.parent / target.partition("#")[0]).exists():
            yield f"{target} is linked and not there"


def _line_faults(line: str) -> Iterator[str]:
    for command in re.split(r"&&|;", line.partition(" # ")[0]):
        words = shlex.split(re.sub(r">>?\s*\S+", "", command))
        match words:
            case []:
                pass
            case ["pip", "install", *what]:
                yield from _pip_faults(what)
            case ["python", "-m", "pytest", *_]:
                pass
            case ["python", "-m", "studio", *options]:
                yield from _studio_faults(options)
            case ["python", "app.py", *options]:
                yield from _studio_faults(["serve", *options])
            case ["python", "-m", module, *options]:
                yield from _module_faults(module, options)
            case ["python", script, *_]:
                if not (ROOT / script).is_file():
                    yield f"there is no {script}"
            case _:
                yield "not a command that this check knows"


def _pip_faults(what: list[str]) -> Iterator[str]:
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    for word in what:
        for extra in re.findall(r"\[([\w,-]+)\]", word):
            for name in extra.split(","):
                if not re.search(rf"^{re.escape(name)} = \[", project, re.MULTILINE):
                    yield f"there is no extra '{name}'"


def _studio_faults(options: list[str]) -> Iterator[str]:
    from studio.__main__ import _parser

    yield from _parse(lambda: _parser().parse_args(options))


def _module_faults(module: str, options: list[str]) -> Iterator[str]:
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        found = None
    if found is None:
        yield f"there is no module {module}"
        return
    loaded = importlib.import_module(module)
    if not hasattr(loaded, "read_arguments"):
        yield f"{module} has no read_arguments(), so its options cannot be checked"
        return
    yield from _parse(lambda: loaded.read_arguments(options))


def _parse(read) -> Iterator[str]:  # type: ignore[no-untyped-def]
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            read()
    except SystemExit as ended:
        if ended.code not in (0, None):  # --help ends with 0
            yield said.getvalue().strip().splitlines()[-1]


def _python_faults(block: str) -> Iterator[str]:
    try:
        tree = ast.parse(block)
    except SyntaxError as problem:
        yield f"python block: {problem}"
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("studio"):
            module = importlib.import_module(node.module)
            for alias in node.names:
                if not hasattr(module, alias.name):
                    yield f"{node.module} has no {alias.name}"


def main() -> int:
    found = list(faults(ROOT / "README.md"))
    for fault in found:
        print(f"README.md: {fault}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
