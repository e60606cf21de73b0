"""What a document is at one moment, as plain frozen values: layers, masks, and which pixels they are made of.

Pixels are sparse tiles of 256 x 256, named by their ids (`pixels_store`); a tile that is missing is transparent or
zero. Everything is checked when it is made from JSON, strictly, and goes out as the same JSON again. No pixel and no
disk is known here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from studio import strict_json
from studio.errors import InvalidRequest, shown_value
from studio.project.names import PICTURE_ID

TILE = 256  # px
SIDE_RANGE = (1, 4096)  # px
OFFSET_RANGE = (-16_384, 16_384)  # px that a layer may lie off
LAYERS_LIMIT, MASKS_LIMIT = 200, 100
TILES_LIMIT = 4096  # of one layer or mask
TILE_RANGE = (-128, 127)  # columns and rows, counted from the layer's own origin
GROW_RANGE, FEATHER_RANGE = (-1024, 1024), (0, 1024)  # px
NAME_LIMIT = 200  # characters
FACTS_LIMIT = 64 * 1024  # bytes of JSON that one layer carries
STATE_LIMIT = 4 * 1024**2  # bytes of JSON
STATE_DEPTH = 16
SETTINGS_LIMIT = 32 * 1024  # bytes of JSON
SETTINGS_DEPTH = 8
KINDS = ("picture", "paint", "fill")

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PIXELS = re.compile(r"[0-9a-f]{32}")
_TILE = re.compile(r"(0|-?[1-9][0-9]{0,2}),(0|-?[1-9][0-9]{0,2})")

Tiles = Mapping[tuple[int, int], str]  # (column, row) -> id of pixels


@dataclass(frozen=True)
class Layer:
    """Pixels that lie over what is below them. `x`, `y`: its own origin in the document, in pixels."""

    id: str
    name: str
    kind: str
    x: int
    y: int
    visible: bool
    opacity: int  # percent
    tiles: Tiles = field(default_factory=dict)
    facts: Mapping[str, Any] | None = None  # where it came from, so that it can be made again

    @classmethod
    def from_dict(cls, values: object, where: str) -> Layer:
        """Raises InvalidRequest, naming the field."""
        needed = ("id", "name", "kind", "x", "y", "visible", "opacity", "tiles")
        found = _object(values, where, needed, ("facts",))
        if found["kind"] not in KINDS:
            _refuse(f"{where}.kind", f"is one of {', '.join(KINDS)}", found["kind"])
        if not isinstance(found["visible"], bool):
            _refuse(f"{where}.visible", "is true or false", found["visible"])
        return cls(
            _id(found["id"], f"{where}.id"),
            checked_name(found["name"], f"{where}.name"),
            found["kind"],
            _whole(found["x"], f"{where}.x", OFFSET_RANGE),
            _whole(found["y"], f"{where}.y", OFFSET_RANGE),
            found["visible"],
            _whole(found["opacity"], f"{where}.opacity", (0, 100)),
            _tiles(found["tiles"], f"{where}.tiles"),
            _facts(found.get("facts"), f"{where}.facts"),
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "kind": self.kind,
            "x": self.x,
            "y": self.y,
            "visible": self.visible,
            "opacity": self.opacity,
            "tiles": _spelled(self.tiles),
            "facts": self.facts,
        }


@dataclass(frozen=True)
class Selection:
    """The mask that acts: its tiles as painted, then grown (negative: shrunk) and feathered inward, in pixels."""

    tiles: Tiles = field(default_factory=dict)
    grow: int = 0
    feather: int = 4

    @classmethod
    def from_dict(cls, values: object, where: str) -> Selection:
        """Raises InvalidRequest, naming the field."""
        found = _object(values, where, ("tiles",), ("grow", "feather"))
        return cls(
            _tiles(found["tiles"], f"{where}.tiles"),
            _whole(found.get("grow", 0), f"{where}.grow", GROW_RANGE),
            _whole(found.get("feather", 4), f"{where}.feather", FEATHER_RANGE),
        )

    def to_dict(self) -> dict[str, Any]:
        return {"tiles": _spelled(self.tiles), "grow": self.grow, "feather": self.feather}


@dataclass(frozen=True)
class KeptMask:
    """A mask that was put aside under a name."""

    id: str
    name: str
    tiles: Tiles = field(default_factory=dict)

    @classmethod
    def from_dict(cls, values: object, where: str) -> KeptMask:
        """Raises InvalidRequest, naming the field."""
        found = _object(values, where, ("id", "name", "tiles"))
        return cls(
            _id(found["id"], f"{where}.id"),
            checked_name(found["name"], f"{where}.name"),
            _tiles(found["tiles"], f"{where}.tiles"),
        )

    def to_dict(self) -> dict[str, Any]:
        return {"id": self.id, "name": self.name, "tiles": _spelled(self.tiles)}


@dataclass(frozen=True)
class State:
    """A whole document at one moment. Layers stand from the bottom to the top."""

    width: int
    height: int
    layers: tuple[Layer, ...] = ()
    active: str | None = None  # the id of the layer that is worked on
    mask: Selection = field(default_factory=Selection)
    masks: tuple[KeptMask, ...] = ()

    @classmethod
    def from_dict(cls, values: object) -> State:
        """Raises InvalidRequest, naming the field, for anything but what `to_dict` gives."""
        found = _object(values, "state", ("width", "height", "layers"), ("active", "mask", "masks"))
        layers = tuple(
            Layer.from_dict(value, f"layers.{number}")
            for number, value in enumerate(_list(found["layers"], "layers", LAYERS_LIMIT))
        )
        masks = tuple(
            KeptMask.from_dict(value, f"masks.{number}")
            for number, value in enumerate(_list(found.get("masks", []), "masks", MASKS_LIMIT))
        )
        _check_different([layer.id for layer in layers], "layers")
        _check_different([mask.id for mask in masks], "masks")
        active = found.get("active")
        if active is not None and active not in [layer.id for layer in layers]:  # it may be an object
            _refuse("active", "is the id of a layer or null", active)
        return cls(
            _whole(found["width"], "width", SIDE_RANGE),
            _whole(found["height"], "height", SIDE_RANGE),
            layers,
            active,
            Selection.from_dict(found.get("mask", {"tiles": {}}), "mask"),
            masks,
        )

    @classmethod
    def from_json(cls, text: bytes) -> State:
        """Reads what `to_json` wrote. Raises InvalidRequest."""
        try:
            return cls.from_dict(strict_json.loads(text, max_bytes=STATE_LIMIT, max_depth=STATE_DEPTH))
        except ValueError as problem:
            raise InvalidRequest(f"This is no document: {problem}.", "state") from problem

    def to_dict(self) -> dict[str, Any]:
        return {
            "width": self.width,
            "height": self.height,
            "layers": [layer.to_dict() for layer in self.layers],
            "active": self.active,
            "mask": self.mask.to_dict(),
            "masks": [mask.to_dict() for mask in self.masks],
        }

    def to_json(self) -> bytes:
        """Equal states have equal bytes."""
        return json.dumps(
            self.to_dict(), sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")
        ).encode()

    def colour_tiles(self) -> frozenset[str]:
        """The ids of all tiles of layers."""
        return frozenset(pixels for layer in self.layers for pixels in layer.tiles.values())

    def mask_tiles(self) -> frozenset[str]:
        """The ids of all tiles of masks."""
        return frozenset(pixels for tiles in self._masks() for pixels in tiles.values())

    def told_pixels(self) -> frozenset[str]:
        """The ids of whole pictures that layers tell of, such as the mask of a fill: kept with it, but not needed."""
        named = (layer.facts.get(name) for layer in self.layers if layer.facts for name in ("mask", "source"))
        return frozenset(found for found in named if isinstance(found, str) and _PIXELS.fullmatch(found))

    def pixels(self) -> frozenset[str]:
        """The ids of all pixels that this moment refers to."""
        return self.colour_tiles() | self.mask_tiles() | self.told_pixels()

    def runs(self) -> frozenset[str]:
        """The ids of all runs and pictures that layers came from."""
        named = (layer.facts.get(name) for layer in self.layers if layer.facts for name in ("run", "picture"))
        return frozenset(found for found in named if isinstance(found, str))

    def _masks(self) -> Iterator[Tiles]:
        yield self.mask.tiles
        for mask in self.masks:
            yield mask.tiles


@dataclass(frozen=True)
class Settings:
    """What a person has set beside a document to paint with next, as JSON. Only the page knows what it means.

    It belongs to the document and to no moment of its history: undo leaves it alone. What a later version of the page
    has put there is kept as it is.
    """

    values: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, values: object) -> Settings:
        """Raises InvalidRequest for what is no object, or larger or deeper than the limits above."""
        if not isinstance(values, Mapping):
            _refuse("settings", "is an object", values)
        return cls.from_json(cls(values).to_json())

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """Reads what `to_json` wrote. Raises InvalidRequest."""
        try:
            values = strict_json.loads(text, max_bytes=SETTINGS_LIMIT, max_depth=SETTINGS_DEPTH)
        except ValueError as problem:
            raise InvalidRequest(f"These settings cannot be kept: {problem}.", "settings") from problem
        if not isinstance(values, Mapping):
            _refuse("settings", "is an object", values)
        return cls(values)

    def to_json(self) -> str:
        """Equal settings have equal text."""
        return json.dumps(self.values, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def checked_name(value: object, where: str = "name") -> str:
    """A person's name for something, as it can be shown in one line. Raises InvalidRequest."""
    if not isinstance(value, str):
        _refuse(where, "is text", value)
    if len(value) > NAME_LIMIT:
        raise InvalidRequest(f"This name has {len(value):,} characters. At most {NAME_LIMIT} can be kept.", where)
    if not value.isprintable():
        raise InvalidRequest("This name holds a character that cannot be shown. Remove it.", where)
    return value


def _object(values: object, where: str, needed: tuple[str, ...], optional: tuple[str, ...] = ()) -> Mapping[str, Any]:
    if not isinstance(values, Mapping):
        _refuse(where, "is an object", values)
    for name in needed:
        if name not in values:
            raise InvalidRequest(f"{where} has no {name}.", f"{where}.{name}")
    for name in values:
        if name not in needed and name not in optional:
            raise InvalidRequest(f"{where} has a field {shown_value(name)}, which is not known here.", where)
    return values


def _list(value: object, where: str, limit: int) -> list[Any]:
    if not isinstance(value, list):
        _refuse(where, "is a list", value)
    if len(value) > limit:
        raise InvalidRequest(f"There are {len(value):,} {where}. At most {limit} can be kept.", where)
    return value


def _id(value: object, where: str) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        _refuse(where, "is 1 to 64 letters, digits, - and _", value)
    return value


def _whole(value: object, where: str, allowed: tuple[int, int]) -> int:
    if type(value) is not int or not allowed[0] <= value <= allowed[1]:
        _refuse(where, f"is a whole number from {allowed[0]} to {allowed[1]}", value)
    return value


def _tiles(value: object, where: str) -> Tiles:
    if not isinstance(value, Mapping):
        _refuse(where, "is an object of tiles", value)
    if len(value) > TILES_LIMIT:
        raise InvalidRequest(f"{where} has {len(value):,} tiles. At most {TILES_LIMIT:,} can be kept.", where)
    tiles = {}
    for place, pixels in value.items():
        parsed = _TILE.fullmatch(place) if isinstance(place, str) else None
        if parsed is None or not all(TILE_RANGE[0] <= int(each) <= TILE_RANGE[1] for each in parsed.groups()):
            _refuse(where, 'names its tiles by column and row, as "0,2"', place)
        if not isinstance(pixels, str) or not _PIXELS.fullmatch(pixels):
            _refuse(f"{where}.{place}", "is the id of pixels", pixels)
        tiles[int(parsed[1]), int(parsed[2])] = pixels
    return dict(sorted(tiles.items()))


def _spelled(tiles: Tiles) -> dict[str, str]:
    return {f"{column},{row}": pixels for (column, row), pixels in tiles.items()}


def _facts(value: object, where: str) -> Mapping[str, Any] | None:
    """What a layer says of where it came from. Later versions may say more, so only what is used here is looked at."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        _refuse(where, "is an object or null", value)
    if len(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")) > FACTS_LIMIT:
        raise InvalidRequest(f"{where} is larger than {FACTS_LIMIT >> 10} kB.", where)
    for name in ("run", "picture"):
        found = value.get(name)
        if found is not None and not (isinstance(found, str) and PICTURE_ID.fullmatch(found)):
            _refuse(f"{where}.{name}", "is the id of a run or null", found)
    return value


def _check_different(ids: list[str], where: str) -> None:
    for found in ids:
        if ids.count(found) > 1:
            raise InvalidRequest(f"Two {where} have the id {shown_value(found)}.", where)


def _refuse(where: str, rule: str, value: object) -> NoReturn:
    raise InvalidRequest(f"{where} {rule}, not {shown_value(value)}.", where)
