"""The bundled model's own recipe: landscapes painted by rules, true captions, and the training on them."""

from studio.painter.captions import caption, paraphrase
from studio.painter.paint import Painting, paint
from studio.painter.scene import HELD_OUT, SEASONS, STYLES, TERRAINS, TIMES, WEATHERS, Scene, is_held_out

__all__ = [
    "HELD_OUT",
    "SEASONS",
    "STYLES",
    "TERRAINS",
    "TIMES",
    "WEATHERS",
    "Painting",
    "Scene",
    "caption",
    "is_held_out",
    "paint",
    "paraphrase",
]
