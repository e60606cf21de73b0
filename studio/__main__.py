"""The command line: `python -m studio` serves the page, `python -m studio generate` paints without one.

What the person can act on is one line on stderr and exit code 2; nothing is left half-written.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from studio import __version__
from studio.errors import StudioError

# before torch is imported: threads that wait should sleep, or two of them on a busy machine hinder each other
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        result: int = options.run(options)
        return result
    except StudioError as problem:
        print(f"wavebrush: {_one_line(str(problem))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("wavebrush: stopped.", file=sys.stderr)
        return 130


def serve_main(arguments: Sequence[str] | None = None) -> int:
    """What `python app.py` does: the `serve` command."""
    return main(["serve", *(sys.argv[1:] if arguments is None else arguments)])


class _OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line, as every other error of the command line is said."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"wavebrush: {_one_line(message)} (`{self.prog} --help` lists what there is)\n")


def _one_line(message: str, limit: int = 600) -> str:
    """The message as a terminal can show it: no line breaks and no control characters, whatever a name was."""
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(message.split()))
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def _parser() -> argparse.ArgumentParser:
    from studio.commands import calibrate, documents, examples, fill, generate, login, models, serve, verify

    parser = _OneLineParser(
        prog="wavebrush", description="An interactive image studio. Without a command it serves the page."
    )
    parser.add_argument("--version", action="version", version=f"wavebrush {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in (serve, generate, fill, verify, calibrate, models, login, examples, documents):
        command.add_to(commands)
    serve.add_options(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
