"""`examples`: paints the pictures of the empty page anew, with the model as it is now."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from studio.assets import asset
from studio.engine import Engine

EXAMPLES: tuple[tuple[str, int], ...] = (
    ("an oil painting of mountains at sunset with pine trees", 9),
    ("a flat vector illustration of a castle on a hill in spring at dawn", 6),
    ("a digital painting of an erupting volcano at night with glowing lava", 2),
    ("a watercolor painting of the sea at midday with a sailboat", 5),
    ("an oil painting of a mountain lake at sunset", 2),
    ("pixel art of a village in autumn at dusk", 4),
)


def add_to(commands: Any) -> None:
    parser = commands.add_parser("examples", help="paint the six example pictures of the empty page")
    parser.add_argument(
        "--out", type=Path, default=asset("examples"), metavar="FOLDER", help="default: the page's own"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    engine = Engine()
    card = engine.card()
    options.out.mkdir(parents=True, exist_ok=True)
    listed = []
    for number, (prompt, seed) in enumerate(EXAMPLES, start=1):
        file = f"example-{number}.png"
        (options.out / file).write_bytes(engine.run(card.request(prompt, seed), previews=False).to_png())
        listed.append({"prompt": prompt, "seed": seed, "file": file})
        print(f"{file}  {prompt}")
    (options.out / "examples.json").write_text(json.dumps(listed, indent=2) + "\n", encoding="utf-8")
    return 0
