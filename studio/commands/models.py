"""`models`: what can be loaded by name."""

from __future__ import annotations

import argparse
from typing import Any

from studio.models import catalogue


def add_to(commands: Any) -> None:
    parser = commands.add_parser("models", help="list the models that have a name here")
    parser.set_defaults(run=run)


def run(_: argparse.Namespace) -> int:
    cards = [catalogue.find(name) for name in catalogue.names()]
    width = max(len(card.name) for card in cards)
    for card in cards:
        print(f"{card.name:{width}}  {card.width} × {card.height}  {card.licence}  {card.blurb}")
    print("\nAny diffusers folder, .safetensors file or hub id can be named instead. Only 'painter' is bundled;")
    print("the others are fetched from the hub when they are first named.")
    return 0
