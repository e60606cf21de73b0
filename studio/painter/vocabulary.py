"""The words that the bundled model has been taught: phrases to offer, and what to say instead of a word it never read.

Everything is derived from the grammar of the captions, so that it cannot go stale.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import product, zip_longest

from studio.painter.captions import STYLE_PHRASES, SYNONYMS, TIME_PHRASES, WEATHER_PHRASES, chip, subject
from studio.painter.scene import (
    FLOWERS,
    FOREST_TREES,
    LAVA,
    PLANETS,
    SEASONS,
    TERRAINS,
    THINGS,
    Scene,
)

_ASK_FOR_NOTHING = """
a an the of with and in at by on under over from to for near above below beside between behind before through
into onto is are as it its some any very this that there where my me your our i no not without but or please
make paint draw show picture painting drawing image artwork art illustration print scene view landscape style
beautiful
"""
STOP_WORDS = frozenset(_ASK_FOR_NOTHING.split())
MOST_UNKNOWN = 20
_EVERYDAY = ("mountain lake", "castle on a hill")  # what to try when nothing comes near


@dataclass(frozen=True)
class UnknownWord:
    """A word that the model never read, as the person wrote it, and the two known phrases that come nearest."""

    word: str
    nearest: tuple[str, str]


@lru_cache(maxsize=1)
def subjects() -> tuple[str, ...]:
    """Every subject that a caption can have, from the scenes that there can be."""
    found: dict[str, None] = {}
    for terrain, season, style in product(TERRAINS, SEASONS, ("oil", "ink")):
        plain = Scene(terrain, "midday", season, "clear", style)
        variants = [plain, Scene(terrain, "midday", season, "clear", style, (LAVA,), snow_caps=True)]
        variants += [Scene(terrain, "midday", season, "clear", style, trees=kind) for kind in FOREST_TREES]
        variants += [Scene(terrain, "midday", season, "clear", style, flowers=kind) for kind in FLOWERS]
        variants += [Scene(terrain, "midday", season, "clear", style, planet=kind) for kind in PLANETS]
        found.update((subject(scene), None) for scene in variants)
    return tuple(found)


@lru_cache(maxsize=1)
def phrases() -> tuple[str, ...]:
    """Every phrase of the grammar: subjects, things, times, weathers, seasons, styles and their synonyms."""
    other_words = [words for synonyms in SYNONYMS.values() for words in synonyms]
    seasons = [f"in {season}" for season in SEASONS]
    fixed = [*STYLE_PHRASES.values(), *TIME_PHRASES.values(), *WEATHER_PHRASES.values()]
    return (*subjects(), *THINGS, *fixed, *seasons, *other_words)


def words_of(text: str) -> list[str]:
    """The words of a text, as written, without digits and punctuation: 'snow-capped' is two."""
    return re.findall(r"[^\W\d_]+", text)


@lru_cache(maxsize=1)
def known_words() -> frozenset[str]:
    """Every word that some caption or paraphrase can hold."""
    return frozenset(word for phrase in phrases() for word in words_of(phrase.lower()))


def is_known(word: str) -> bool:
    """Whether the model read this word or a simple inflection of it: mountain for mountains, snowing for snow."""
    lower = word.casefold()
    if len(lower) < 2 or lower in STOP_WORDS:
        return True
    return any(form in known_words() for form in _inflections(lower))


def unknown_words(prompt: str) -> list[UnknownWord]:
    """The words of a prompt that the model never read, each once and in order, with what comes nearest; at most 20."""
    found: dict[str, UnknownWord] = {}
    for word in words_of(prompt):
        if len(found) == MOST_UNKNOWN:
            break
        if word.casefold() not in found and not is_known(word):
            found[word.casefold()] = UnknownWord(word, nearest(word))
    return list(found.values())


def nearest(word: str) -> tuple[str, str]:
    """Two known phrases to try instead of a word: by meaning for common wishes, else by spelling."""
    lower = word.casefold()
    for form in _inflections(lower):
        if form in WISHES:
            return WISHES[form]
    offers: list[list[str]] = []
    if len(lower) > 3:  # shorter words are like too many others
        offers += [_phrases_with(match) for match in difflib.get_close_matches(lower, sorted(known_words()), 3, 0.74)]
        offers += [list(WISHES[match]) for match in difflib.get_close_matches(lower, sorted(WISHES), 1, 0.8)]
    best_first = [phrase for rank in zip_longest(*offers) for phrase in rank if phrase]
    first, second, *_ = dict.fromkeys((*best_first, *_EVERYDAY))
    return first, second


def _phrases_with(word: str) -> list[str]:
    """Phrases that hold a word, the shortest first."""
    holding = {chip(phrase) for phrase in phrases() if word in words_of(phrase.lower())}
    return sorted(holding, key=lambda phrase: (len(phrase), phrase))


def _inflections(word: str) -> Iterable[str]:
    """The word itself, then forms that differ by a common English ending."""
    yield word
    yield f"{word}s"
    yield f"{word}y"
    for ending, stem in (
        ("ies", "y"),
        ("es", ""),
        ("s", ""),
        ("ing", ""),
        ("ing", "e"),
        ("ed", ""),
        ("y", ""),
        ("d", ""),
    ):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            yield word.removesuffix(ending) + stem


def _chips(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(chip(name) for name in names))


def _places() -> tuple[str, ...]:
    """One or more subjects for every terrain, in summer and in colour."""
    places: list[str] = []
    for terrain in TERRAINS:
        base = Scene(terrain, "midday", "summer", "clear", "oil", trees="pine")
        places.append(subject(base))
        if terrain == "mountains":
            places[-1] = subject(Scene(terrain, "midday", "summer", "clear", "oil", snow_caps=True))
        if terrain == "volcano":
            places.append(subject(Scene(terrain, "midday", "summer", "clear", "oil", (LAVA,))))
        if terrain == "flowers":
            places += [
                subject(Scene(terrain, "midday", "summer", "clear", "oil", flowers=kind)) for kind in FLOWERS[1:]
            ]
        if terrain == "forest":
            places += [
                subject(Scene(terrain, "midday", "summer", "clear", "oil", trees=kind)) for kind in FOREST_TREES[2:]
            ]
        if terrain == "space":
            places += [
                subject(Scene(terrain, "night", "summer", "clear", "oil", planet=kind)) for kind in ("red", "orange")
            ]
    return _chips(places)


CHIPS: dict[str, tuple[str, ...]] = {
    "style": _chips(STYLE_PHRASES.values()),
    "place": _places(),
    "time": tuple(TIME_PHRASES.values()),
    "season": tuple(f"in {season}" for season in SEASONS),
    "weather": _chips(WEATHER_PHRASES.values()),
    "things": _chips(THINGS),
}

WISHES: dict[str, tuple[str, str]] = {
    word: (first, second)
    for words, first, second in (
        ("dragon phoenix griffin monster dinosaur", "flying birds", "lightning"),
        ("eagle seagull gull crow raven swan duck owl parrot", "flying birds", "sea"),
        ("plane airplane aeroplane balloon helicopter kite butterfly bee", "flying birds", "rainbow"),
        (
            ("person people man woman girl boy child kid human figure portrait face couple family"),
            "village",
            "lit windows",
        ),
        ("knight king queen princess prince wizard witch fairy elf", "castle on a hill", "winding path"),
        (
            ("dog cat horse cow sheep deer fox wolf bear lion tiger elephant rabbit animal pet"),
            "flying birds",
            "pine forest",
        ),
        ("camel oasis sahara egypt mummy", "desert dunes", "palm trees"),
        ("penguin polar seal glacier antarctica greenland", "icebergs in an arctic sea", "northern lights"),
        ("fish whale dolphin shark mermaid underwater coral reef", "sea", "sailboat"),
        ("ship yacht vessel ferry canoe pirate raft submarine", "sailboat", "sea"),
        ("harbor harbour port pier dock marina", "lighthouse", "sailboat"),
        ("car truck bus traffic street road highway train railway bicycle", "city skyline", "winding path"),
        (
            ("building skyscraper tower town downtown metropolis cyberpunk neon paris london tokyo"),
            "city skyline",
            "lit windows",
        ),
        ("cabin hut home farm barn farmhouse mansion villa chalet", "cottage", "village"),
        ("church temple cathedral monastery palace fortress ruins pagoda shrine", "castle on a hill", "village"),
        ("mill holland netherlands", "windmill", "field of tulips"),
        (
            "flower rose daisy meadow garden blooming bouquet lily orchid poppy",
            "field of poppies",
            "field of wildflowers",
        ),
        ("sakura japan japanese kyoto fuji", "cherry tree in blossom", "woodblock print"),
        ("jungle rainforest grove bush fir spruce oak maple willow leaf", "forest", "pine trees"),
        ("peak summit alps alpine everest himalaya cliff ridge", "snow-capped mountains", "mountain lake"),
        ("pond pool reservoir fjord lagoon bay", "mountain lake", "reflections in the water"),
        ("creek brook canal waterway", "stream", "river valley"),
        ("wave tide surf shore seaside coastline tropical hawaii", "sandy beach", "palm trees"),
        ("sunlight sunny sunshine sunbeam bright warm golden hour", "sun", "under a clear sky"),
        ("moonlight moonlit midnight dark lunar", "full moon", "at night"),
        ("starry milky constellation comet meteor", "stars", "at night"),
        (
            ("galaxy nebula universe cosmos spaceship rocket astronaut alien ufo mars jupiter earth"),
            "blue planet in space",
            "stars",
        ),
        ("saturn", "orange planet in space", "rings"),
        ("tornado hurricane wind windy typhoon", "in a storm", "lightning"),
        ("snowman christmas santa blizzard frost frozen ice cold ski", "in falling snow", "in winter"),
        ("haze hazy smoke", "in fog", "smoking volcano"),
        ("overcast gloomy grey gray", "under a cloudy sky", "in fog"),
        ("fire flame magma eruption explosion burning campfire", "glowing lava", "erupting volcano"),
        ("photo photograph photorealistic realistic realism cinematic render", "digital painting", "oil painting"),
        ("anime cartoon comic ghibli disney minimalist logo poster", "flat vector illustration", "pixel art"),
        (
            "gogh monet renoir impressionism cezanne van vincent picasso painterly",
            "impressionist painting",
            "oil painting",
        ),
        ("hokusai hiroshige ukiyo", "woodblock print", "ink wash painting"),
        ("sketch pencil charcoal crayon chalk sumi monochrome", "pastel drawing", "ink wash painting"),
        ("acrylic gouache canvas", "oil painting", "watercolor painting"),
        ("retro game bit minecraft sprite", "pixel art", "flat vector illustration"),
        ("twilight", "at dusk", "at sunset"),
        ("afternoon daytime day daylight", "at midday", "in the morning"),
    )
    for word in words.split()
}
