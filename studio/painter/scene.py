"""What a picture shows: a frozen Scene, decided from a seed before any paint is mixed. Knows nothing of pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

TERRAINS = (
    "mountains", "hills", "sea", "lake", "desert", "forest", "city", "village",
    "river", "flowers", "canyon", "volcano", "arctic", "castle", "coast", "space",
)  # fmt: skip
TIMES = ("dawn", "morning", "midday", "sunset", "dusk", "night")
SEASONS = ("spring", "summer", "autumn", "winter")
WEATHERS = ("clear", "scattered clouds", "cloudy", "foggy", "rainy", "stormy", "snowy")
STYLES = ("oil", "watercolor", "flat", "ink", "pixel", "impressionist", "woodblock", "digital", "pastel")

TIME_WEIGHTS = (0.13, 0.17, 0.20, 0.22, 0.11, 0.17)
SEASON_WEIGHTS = (0.24, 0.36, 0.22, 0.18)
WEATHER_WEIGHTS = (0.36, 0.36, 0.07, 0.07, 0.04, 0.04, 0.06)
STYLE_WEIGHTS = (0.17, 0.14, 0.16, 0.07, 0.09, 0.09, 0.05, 0.18, 0.05)

FLOWERS = ("poppies", "lavender", "sunflowers", "tulips", "wildflowers")
PLANETS = ("red", "blue", "green", "orange", "purple")
FOREST_TREES = ("pine", "leafy", "birch", "blossom")

SUN, FULL_MOON, CRESCENT_MOON, STARS = "the sun", "a full moon", "a crescent moon", "stars"
NORTHERN_LIGHTS, RAINBOW, LIGHTNING, BIRDS = "northern lights", "a rainbow", "lightning", "flying birds"
SAILBOAT, LIGHTHOUSE, COTTAGE, WINDMILL = "a sailboat", "a lighthouse", "a cottage", "a windmill"
LONE_TREE, CHERRY_TREE, PINES, TREES = "a lone tree", "a cherry tree in blossom", "pine trees", "trees"
PALMS, CACTI, PYRAMIDS, LAVA = "palm trees", "cacti", "pyramids", "glowing lava"
PATH, STREAM, RIVER, WATERFALL, BRIDGE = "a winding path", "a stream", "a river", "a waterfall", "a bridge"
BEACH, ISLANDS, LAKE, FAR_MOUNTAINS = "a sandy beach", "distant islands", "a lake", "distant mountains"
WINDOWS, REFLECTION, RINGS, SMALL_MOON = "lit windows", "reflections in the water", "rings", "a small moon"

THINGS = (
    SUN, FULL_MOON, CRESCENT_MOON, STARS, NORTHERN_LIGHTS, RAINBOW, LIGHTNING, BIRDS,
    SAILBOAT, LIGHTHOUSE, COTTAGE, WINDMILL, BRIDGE, WINDOWS, PYRAMIDS,
    PINES, TREES, LONE_TREE, CHERRY_TREE, PALMS, CACTI,
    PATH, STREAM, RIVER, WATERFALL, LAKE, REFLECTION, BEACH, ISLANDS, FAR_MOUNTAINS, LAVA, RINGS, SMALL_MOON,
)  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """One picture in words. `things` are the visible objects, as the phrases that the caption uses, in its order."""

    terrain: str
    time: str
    season: str
    weather: str
    style: str
    things: tuple[str, ...] = ()
    snow_caps: bool = False  # mountains with white tops outside winter
    trees: str = "pine"  # kind that grows in a forest, on a shore, along a river
    flowers: str = "poppies"
    planet: str = "blue"

    @property
    def snowy_ground(self) -> bool:
        """Whether the land lies under snow."""
        return self.season == "winter" and self.terrain not in ("desert", "canyon", "space")

    @property
    def dark(self) -> bool:
        """Whether windows and lamps are lit."""
        return self.time in ("dusk", "night")

    def has(self, thing: str) -> bool:
        """Whether an object is in the picture."""
        return thing in self.things


def _held_out() -> frozenset[tuple[str, str, str]]:
    """Two (terrain, time, style) triples for every terrain but space, stepping through times and styles."""
    triples = set()
    for index, terrain in enumerate(TERRAINS[:-1]):
        triples.add((terrain, TIMES[(index + 1) % 6], STYLES[(4 * index + 2) % 9]))
        triples.add((terrain, TIMES[(index + 4) % 6], STYLES[(4 * index + 7) % 9]))
    return frozenset(triples)


HELD_OUT = _held_out()


def is_held_out(scene: Scene) -> bool:
    """Whether training must skip this scene, so that its combination can be asked for as something never seen."""
    return (scene.terrain, scene.time, scene.style) in HELD_OUT


class _Dice:
    """Chances and weighted choices from one generator."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def pick(self, names: Sequence[str], weights: Sequence[float] | None = None) -> str:
        share = None if weights is None else np.asarray(weights) / np.sum(weights)
        return names[int(self.rng.choice(len(names), p=share))]


def decide(rng: np.random.Generator, chosen: Mapping[str, str | None]) -> Scene:
    """Draw a scene; `chosen` fixes terrain, time, season, weather or style. In a contradiction the terrain wins."""
    dice = _Dice(rng)
    terrain, time = dice.pick(TERRAINS), dice.pick(TIMES, TIME_WEIGHTS)
    season, weather = dice.pick(SEASONS, SEASON_WEIGHTS), dice.pick(WEATHERS, WEATHER_WEIGHTS)
    drawn = Scene(terrain, time, season, weather, dice.pick(STYLES, STYLE_WEIGHTS))
    drawn = replace(
        drawn,
        terrain=chosen.get("terrain") or drawn.terrain,
        time=chosen.get("time") or drawn.time,
        season=chosen.get("season") or drawn.season,
        weather=chosen.get("weather") or drawn.weather,
        style=chosen.get("style") or drawn.style,
    )
    scene = _reconciled(drawn, bool(chosen.get("weather")))
    if (
        scene.style == "ink"
        and scene.time in ("sunset", "dusk", "night")
        and not chosen.get("time")
        and dice.chance(0.5)
    ):
        scene = replace(scene, time=dice.pick(("dawn", "morning", "midday")) if scene.terrain != "space" else "night")
    trees = dice.pick(FOREST_TREES, (0.42, 0.3, 0.16, 0.4 if scene.season == "spring" else 0))
    scene = replace(
        scene,
        trees=trees if scene.terrain == "forest" else ("pine" if trees != "leafy" else "leafy"),
        flowers=dice.pick(FLOWERS),
        planet=dice.pick(PLANETS),
        snow_caps=dice.chance(0.55),
    )
    things = _land_things(scene, dice)
    return replace(scene, things=(*things, *_sky_things(scene, dice)))


def _reconciled(scene: Scene, weather_chosen: bool) -> Scene:
    """The nearest scene without contradictions: no snow in the desert, no rain in winter, always night in space."""
    terrain, season, weather = scene.terrain, scene.season, scene.weather
    if terrain == "space":
        return replace(scene, time="night", season="summer", weather="clear")
    if terrain in ("desert", "canyon"):
        dry = weather in ("clear", "scattered clouds", "stormy") or (
            weather_chosen and weather not in ("snowy", "rainy")
        )
        return replace(scene, season="summer", weather=weather if dry else "scattered clouds")
    if terrain == "arctic":
        season = "winter"
    if terrain == "flowers":
        season = "spring" if season in ("winter", "autumn") else season
        weather = "scattered clouds" if weather == "snowy" else weather
    if weather == "snowy":
        season = "winter"
    if weather == "rainy" and season == "winter":
        season, weather = ("spring", "rainy") if weather_chosen and terrain != "arctic" else ("winter", "snowy")
    return replace(scene, season=season, weather=weather)


def _sky_things(scene: Scene, dice: _Dice) -> list[str]:
    """What hangs in the sky: light by the hour, wonders by the weather."""
    things: list[str] = []
    if scene.terrain == "space":
        return [STARS]
    open_sky = scene.weather in ("clear", "scattered clouds")
    if (scene.time in ("dawn", "sunset") and (open_sky or scene.weather == "foggy") and dice.chance(0.75)) or (
        scene.time in ("morning", "midday") and open_sky and dice.chance(0.35)
    ):
        things.append(SUN)
    elif open_sky and dice.chance({"night": 0.7, "dusk": 0.5, "sunset": 0.5, "dawn": 0.4}.get(scene.time, 0.0)):
        things.append(dice.pick((FULL_MOON, CRESCENT_MOON)))
    if open_sky and dice.chance({"night": 0.75, "dusk": 0.3}.get(scene.time, 0.0)):
        things.append(STARS)
    if scene.time == "night" and scene.weather == "clear" and scene.style != "ink":
        cold = scene.season == "winter"
        if dice.chance(0.55 if scene.terrain == "arctic" else 0.3 if cold else 0.14):
            things.append(NORTHERN_LIGHTS)
    bright = scene.time in ("morning", "midday") and scene.style != "ink"
    if bright and scene.weather in ("scattered clouds", "rainy") and dice.chance(0.16) and SUN not in things:
        things.append(RAINBOW)
    if scene.weather == "stormy" and dice.chance(0.65):
        things.append(LIGHTNING)
    if scene.time != "night" and scene.weather in ("clear", "scattered clouds", "cloudy") and dice.chance(0.25):
        things.append(BIRDS)
    return things


def _land_things(scene: Scene, dice: _Dice) -> list[str]:
    """What stands on the land, by terrain."""
    things: list[str] = []
    winter = scene.season == "winter"
    woods = PINES if scene.trees == "pine" else TREES

    def maybe(thing: str, probability: float) -> None:
        if dice.chance(probability):
            things.append(thing)

    match scene.terrain:
        case "mountains":
            maybe(PINES, 0.65)
            maybe(COTTAGE, 0.15)
            maybe(WATERFALL, 0.0 if winter else 0.16)
        case "hills":
            wishes = (LONE_TREE, CHERRY_TREE, COTTAGE, WINDMILL, "")
            focus = dice.pick(wishes, (0.3, 0.5 if scene.season == "spring" else 0.0, 0.22, 0.22, 0.15))
            things += [focus] if focus else []
            maybe(PATH, 0.5)
        case "sea":
            maybe(SAILBOAT, 0.5 if scene.weather != "stormy" else 0.15)
            maybe(BEACH, 0.5)
            maybe(PALMS, 0.6 if BEACH in things and not winter else 0.0)
            maybe(ISLANDS, 0.3)
            maybe(SAILBOAT, 0.0 if things or scene.weather == "stormy" else 0.8)
        case "lake":
            things.append(woods)
            maybe(SAILBOAT, 0.3 if scene.weather != "stormy" else 0.0)
            maybe(COTTAGE, 0.22)
        case "desert":
            focus = dice.pick((CACTI, PYRAMIDS, PALMS, ""), (0.32, 0.3, 0.13, 0.25))
            things += [focus] if focus else []
        case "forest":
            focus = dice.pick((PATH, STREAM, ""), (0.4, 0.25, 0.35))
            things += [focus] if focus else []
        case "city":
            if dice.chance(0.6):
                things.append(REFLECTION)
                maybe(BRIDGE, 0.3)
            else:
                things.append(TREES)
        case "village":
            things.append(woods)
            maybe(PATH, 0.6)
            maybe(FAR_MOUNTAINS, 0.4)
        case "river":
            things.append(woods)
            maybe(BRIDGE, 0.25)
            maybe(FAR_MOUNTAINS, 0.5)
        case "flowers":
            focus = dice.pick((LONE_TREE, COTTAGE, WINDMILL, ""), (0.3, 0.2, 0.25, 0.25))
            things += [focus] if focus else []
        case "canyon":
            maybe(RIVER, 0.5)
            maybe(CACTI, 0.25)
        case "volcano":
            maybe(LAVA, 0.65)
            things.append(LAKE if dice.chance(0.5) else PINES)
        case "castle":
            things.append(woods)
            maybe(PATH, 0.5)
            maybe(FAR_MOUNTAINS, 0.45)
        case "coast":
            focus = dice.pick((LIGHTHOUSE, COTTAGE, ""), (0.6, 0.2, 0.2))
            things += [focus] if focus else []
            maybe(SAILBOAT, 0.4 if scene.weather != "stormy" else 0.0)
        case "arctic":
            maybe(FAR_MOUNTAINS, 0.6)
            maybe(SAILBOAT, 0.15 if scene.weather != "stormy" else 0.0)
        case "space":
            maybe(RINGS, 0.4)
            maybe(SMALL_MOON, 0.3)
    if scene.dark and (COTTAGE in things or scene.terrain in ("city", "village", "castle")):
        things.append(WINDOWS)
    return things
