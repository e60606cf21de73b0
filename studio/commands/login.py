"""`login`: makes a line for the file that `--login` reads."""

from __future__ import annotations

import argparse
from typing import Any


def add_to(commands: Any) -> None:
    parser = commands.add_parser("login", help="make a line for the --login file, from a name and a password")
    parser.add_argument("name", metavar="NAME")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from studio.web.accounts import ask_login_line

    print(ask_login_line(options.name))
    return 0
