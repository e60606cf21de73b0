"""Sentences about scenes: one true caption, and the many ways in which a person may ask for the same picture."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from studio.painter.scene import Scene

STYLE_PHRASES = {
    "oil": "an oil painting of",
    "watercolor": "a watercolor painting of",
    "flat": "a flat vector illustration of",
    "ink": "an ink wash painting of",
    "pixel": "pixel art of",
    "impressionist": "an impressionist painting of",
    "woodblock": "a woodblock print of",
    "digital": "a digital painting of",
    "pastel": "a pastel drawing of",
}
TIME_PHRASES = {
    "dawn": "at dawn",
    "morning": "in the morning",
    "midday": "at midday",
    "sunset": "at sunset",
    "dusk": "at dusk",
    "night": "at night",
}
WEATHER_PHRASES = {
    "clear": "under a clear sky",
    "scattered clouds": "with scattered clouds",
    "cloudy": "under a cloudy sky",
    "foggy": "in fog",
    "rainy": "in the rain",
    "stormy": "in a storm",
    "snowy": "in falling snow",
}
SYNONYMS = {  # phrase -> what a person may write instead; used in training, never in the caption
    "watercolor": ("watercolour",),
    "the sea": ("the ocean",),
    "forest": ("woods",),
    "at dusk": ("in the evening",),
    "at dawn": ("at sunrise",),
    "at midday": ("at noon",),
    "at night": ("by night",),
    "autumn": ("fall",),
    "northern lights": ("aurora borealis",),
    "flying birds": ("birds",),
    "snowy": ("snow-covered",),
    "a full moon": ("the moon",),
    "a crescent moon": ("the moon",),
    "a sailboat": ("a boat",),
    "a cottage": ("a house",),
    "in fog": ("in mist",),
    "in a storm": ("in a thunderstorm",),
    "city skyline": ("city",),
    "winding path": ("path",),
    "glowing lava": ("lava",),
    "sandy beach": ("beach",),
    "a digital painting of": ("digital art of",),
    "a flat vector illustration of": ("a flat illustration of",),
    "pixel art of": ("a pixel art picture of",),
}
DROP_CLAUSE, DROP_STYLE, DROP_CLEAR, KEYWORDS, EMPTY, SYNONYM = 0.30, 0.08, 0.75, 0.15, 0.10, 0.30
GREEN_PLACES = ("hills", "forest", "village", "river", "castle", "mountains", "flowers")
_SMALL_WORDS = re.compile(r"\b(painting|drawing|a|an|the|of|in|at|by|with|and|under|on)\b ?")


def with_article(words: str) -> str:
    """'orange planet' -> 'an orange planet'."""
    return ("an " if words[0] in "aeiou" else "a ") + words


def joined(things: list[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    return things[0] if len(things) == 1 else ", ".join(things[:-1]) + " and " + things[-1]


def subject(scene: Scene) -> str:
    """The main thing of the picture, as a noun phrase."""
    season, snow = scene.season, "snowy " if scene.snowy_ground else ""
    colourless = scene.style == "ink"
    match scene.terrain:
        case "mountains":
            return f"{snow}mountains" if snow or not scene.snow_caps else "snow-capped mountains"
        case "hills":
            green = "green " if season in ("spring", "summer") and not colourless else ""
            return f"{snow}{green}rolling hills"
        case "sea":
            return "the sea"
        case "lake":
            return with_article(f"{snow}mountain lake")
        case "desert":
            return "desert dunes"
        case "forest":
            kind = {"pine": "pine ", "birch": "birch ", "blossom": "cherry blossom "}.get(scene.trees, "")
            return with_article(f"{snow}{kind}forest")
        case "city":
            return with_article(f"{snow}city skyline")
        case "village":
            return with_article(f"{snow}village")
        case "river":
            return with_article(f"{snow}river valley")
        case "flowers":
            return f"a field of {scene.flowers}"
        case "canyon":
            return "a rock canyon" if colourless else "a red rock canyon"
        case "volcano":
            return "an erupting volcano" if scene.has("glowing lava") else "a smoking volcano"
        case "arctic":
            return "icebergs in an arctic sea"
        case "castle":
            return f"a castle on a {snow}hill"
        case "coast":
            return with_article(f"{snow}rocky coast")
        case _:
            planet = "planet" if colourless else f"{scene.planet} planet"
            return f"{with_article(planet)} in space"


def shows_season(scene: Scene) -> bool:
    """Whether the season can be seen and is not said by the subject already."""
    if scene.terrain not in ("hills", "lake", "forest", "village", "river", "castle", "mountains"):
        return False
    if (scene.terrain == "lake" and scene.trees == "pine") or scene.style == "ink" or scene.dark:
        return False
    return scene.season == "autumn"


@dataclass(frozen=True)
class Clauses:
    """What is said about a scene, part by part; an empty part is not said."""

    style: str
    subject: str
    season: str
    time: str
    weather: str
    things: tuple[str, ...]

    def sentence(self) -> str:
        """'an oil painting of a mountain lake at sunset with pine trees and a full moon'."""
        listed, weather = list(self.things), self.weather
        if weather.startswith("with "):
            listed, weather = [weather.removeprefix("with "), *listed], ""
        parts = [self.style, self.subject, self.season, self.time, weather]
        if listed:
            parts.append("with " + joined(listed))
        return " ".join(part for part in parts if part)

    def chips(self) -> str:
        """'oil painting, mountain lake, at sunset, full moon': what the page writes when its chips are pressed."""
        parts = [self.style, self.subject, self.season, self.time, self.weather, *self.things]
        return ", ".join(chip(part) for part in parts if part)

    def keywords(self) -> str:
        """'oil mountain lake sunset pine trees full moon'."""
        words = re.sub(r"[\s,]+", " ", self.chips())
        return re.sub(r"\s+", " ", _SMALL_WORDS.sub("", words)).strip()


def chip(phrase: str) -> str:
    """A phrase without its article and without what ties it to a sentence: 'an oil painting of' -> 'oil painting'."""
    return re.sub(r"^(a|an|the|with) |( of)$", "", phrase)


def caption(scene: Scene, rng: np.random.Generator | None = None) -> str:
    """The one true sentence: everything that the picture shows. With `rng` the objects come in any order."""
    things = scene.things
    if rng is not None:
        things = tuple(things[index] for index in rng.permutation(len(things)))
    space = scene.terrain == "space"
    return Clauses(
        style=STYLE_PHRASES[scene.style],
        subject=subject(scene),
        season=f"in {scene.season}" if shows_season(scene) else "",
        time="" if space else TIME_PHRASES[scene.time],
        weather="" if scene.weather == "clear" else WEATHER_PHRASES[scene.weather],
        things=things,
    ).sentence()


def paraphrase(scene: Scene, rng: np.random.Generator) -> str:
    """One of the many prompts for which this picture is a right answer; '' one time in ten."""

    def kept(phrase: str, drop: float = DROP_CLAUSE) -> str:
        return phrase if rng.random() >= drop else ""

    if rng.random() < EMPTY:
        return ""
    space = scene.terrain == "space"
    things = (scene.things[index] for index in rng.permutation(len(scene.things)))
    clauses = Clauses(
        style=_reworded(kept(STYLE_PHRASES[scene.style], DROP_STYLE), rng),
        subject=_reworded(subject(scene), rng),
        season=_reworded(kept(f"in {scene.season}" if may_name_season(scene) else ""), rng),
        time=_reworded(kept("" if space else TIME_PHRASES[scene.time]), rng),
        weather=_reworded(
            kept(
                "" if space else WEATHER_PHRASES[scene.weather],
                DROP_CLEAR if scene.weather == "clear" else DROP_CLAUSE,
            ),
            rng,
        ),
        things=tuple(_reworded(thing, rng) for thing in things if kept(thing)),
    )
    if rng.random() < KEYWORDS:
        return clauses.chips() if rng.random() < 0.5 else clauses.keywords()
    return clauses.sentence()


def may_name_season(scene: Scene) -> bool:
    """Whether a person could name the season, even where the caption need not: snow, or green by daylight."""
    if scene.season == "winter":
        return scene.snowy_ground and scene.terrain not in ("arctic", "sea", "volcano")
    if scene.season in ("spring", "summer"):
        return scene.terrain in GREEN_PLACES and scene.style != "ink" and not scene.dark
    return shows_season(scene)


def _reworded(phrase: str, rng: np.random.Generator) -> str:
    """The phrase, or now and then other words for it."""
    for words, others in SYNONYMS.items():
        if re.search(rf"\b{words}\b", phrase) and rng.random() < SYNONYM:
            phrase = re.sub(rf"\b{words}\b", others[int(rng.integers(len(others)))], phrase, count=1)
    return phrase
