// The document as a value, and everything that can be done to it as plain JSON: apply(state, op) -> the next state.
//
// A state is never changed: tiles, layers and masks that stay are the same objects in the next one, so that undo is a
// list of states and costs what differs. Ops that bring pixels name them by the server's id.

import { compositeBox, overLayer } from "./canvas_blend.js";
import { REACH } from "./canvas_mask.js";
import { invertedTiles } from "./canvas_mask_tiles.js";
import { strokeOnto } from "./canvas_stroke.js";
import { makeTile, moveTiles, overlap, placeOf, readBox, renumber, TILE, tilesOf } from "./canvas_tiles.js";

export const SMALLEST = 1; // px, a side of a document
export const LARGEST = 4096;
const FARTHEST = 2 * LARGEST; // px that a layer may be moved off the document's corner

const EMPTY = new Map();

/** A document with one layer: empty, or opaque in `color`. */
export function blankState(width, height, layerId, color) {
  checkSize(width, height);
  const tiles = color ? tilesOf(plainPicture(width, height, color)) : EMPTY;
  const layer = { id: layerId, name: color ? "Ground" : "Paint", kind: "paint", x: 0, y: 0, visible: true, opacity: 100, tiles, facts: null };
  return { width, height, layers: [layer], active: layerId, mask: { tiles: EMPTY, grow: 0, feather: 4 }, masks: [] };
}

function plainPicture(width, height, color) {
  const data = new Uint8Array(width * height * 4);
  const [red, green, blue] = [1, 3, 5].map((at) => Number.parseInt(color.slice(at, at + 2), 16));
  for (let k = 0; k < data.length; k += 4) {
    data[k] = red;
    data[k + 1] = green;
    data[k + 2] = blue;
    data[k + 3] = 255;
  }
  return { width, height, channels: 4, data };
}

function checkSize(width, height) {
  const fits = (side) => Number.isInteger(side) && side >= SMALLEST && side <= LARGEST;
  if (!fits(width) || !fits(height)) throw new Error(`A document is ${SMALLEST} to ${LARGEST} px wide and high, not ${width} × ${height}.`);
}

/** State -> JSON, with the ids of the tiles (null where the server has none), and the tiles that lack one. */
export function toJson(state) {
  const missing = new Set();
  const named = (tiles) => Object.fromEntries([...tiles].map(([key, tile]) => (tile.id ?? missing.add(tile), [key, tile.id])));
  const json = {
    width: state.width,
    height: state.height,
    layers: state.layers.map((layer) => ({ ...layer, tiles: named(layer.tiles) })),
    active: state.active,
    mask: { ...state.mask, tiles: named(state.mask.tiles) },
    masks: state.masks.map((mask) => ({ ...mask, tiles: named(mask.tiles) })),
  };
  return { state: json, missing: [...missing] };
}

/** JSON -> state. `tileOf(id, channels)` answers the tile of an id. */
export function fromJson(json, tileOf) {
  checkSize(json.width, json.height);
  const tiles = (named, channels) => new Map(Object.entries(named).map(([key, id]) => [key, tileOf(id, channels)]));
  return {
    width: json.width,
    height: json.height,
    layers: json.layers.map((layer) => ({ ...layer, facts: layer.facts ?? null, tiles: tiles(layer.tiles, 4) })),
    active: json.active ?? json.layers.at(-1)?.id ?? null,
    mask: { tiles: tiles(json.mask.tiles, 1), grow: json.mask.grow, feather: json.mask.feather },
    masks: json.masks.map((mask) => ({ ...mask, tiles: tiles(mask.tiles, 1) })),
  };
}

/** The ids of all tiles of a state in JSON, each with its channels. */
export function tileIds(json) {
  const ids = new Map();
  const note = (named, channels) => Object.values(named).forEach((id) => ids.set(id, channels));
  json.layers.forEach((layer) => note(layer.tiles, 4));
  [json.mask, ...json.masks].forEach((mask) => note(mask.tiles, 1));
  return ids;
}

/** All tiles of a state. */
export function* tilesIn(state) {
  for (const layer of state.layers) yield* layer.tiles.values();
  for (const mask of [state.mask, ...state.masks]) yield* mask.tiles.values();
}

const clamp = (value, low, high) => Math.min(high, Math.max(low, Math.round(value)));
const whole = ({ width, height }) => ({ x: 0, y: 0, width, height });

function layerOf(state, id) {
  const layer = state.layers.find((known) => known.id === id);
  if (!layer) throw new Error("That layer is not there any more.");
  return layer;
}

const withLayer = (state, id, change) => ({ ...state, layers: state.layers.map((layer) => (layer === layerOf(state, id) ? { ...layer, ...change } : layer)) });
const withMask = (state, change) => ({ ...state, mask: { ...state.mask, ...change } });

/** Where a layer lies after a move, and the part of the document that its facts speak of. */
function shifted({ x, y, facts }, dx, dy) {
  const frame = facts?.frame;
  return { x: x + dx, y: y + dy, facts: frame ? { ...facts, frame: { ...frame, x: frame.x + dx, y: frame.y + dy } } : (facts ?? null) };
}

/** The same where the picture below is another one then: a fill is done again where it lies, so what was said of its old place goes. */
function shiftedAway(layer, dx, dy) {
  const moved = shifted(layer, dx, dy);
  return moved.facts?.fill ? { ...moved, facts: { ...moved.facts, mask: null, drawn: false } } : moved;
}

/** A layer with its corner at (x, y). */
function placedAt(layer, x, y) {
  const [dx, dy] = [clamp(x, -FARTHEST, FARTHEST) - layer.x, clamp(y, -FARTHEST, FARTHEST) - layer.y];
  return dx || dy ? shiftedAway(layer, dx, dy) : shifted(layer, dx, dy);
}

/** A layer with its origin near the document's corner, and without the tiles that lie too far off ever to be seen again. */
function nearby(layer, { width, height }) {
  const reach = { x: -LARGEST - layer.x, y: -LARGEST - layer.y, width: width + 2 * LARGEST, height: height + 2 * LARGEST };
  const seen = ([key]) => {
    const [col, row] = placeOf(key);
    return overlap(reach, { x: col * TILE, y: row * TILE, width: TILE, height: TILE });
  };
  const tiles = [...layer.tiles].every(seen) ? layer.tiles : new Map([...layer.tiles].filter(seen));
  if (Math.max(Math.abs(layer.x), Math.abs(layer.y)) <= FARTHEST) return { ...layer, tiles };
  const [cols, rows] = [Math.round(layer.x / TILE), Math.round(layer.y / TILE)];
  return { ...layer, x: layer.x - cols * TILE, y: layer.y - rows * TILE, tiles: renumber(tiles, cols, rows) };
}

function placed(layers, layer, index) {
  const made = layers.filter((other) => other !== layer);
  made.splice(index, 0, layer);
  return made;
}

/** Each kind of op: what it makes of a state. `pictureOf(op)` answers the pixels that an op brings. */
const ACTS = {
  stroke: strokeOnto,
  shape: strokeOnto,
  fill: strokeOnto,

  group: (state, { ops }, pictureOf) => ops.reduce((now, op) => apply(now, op, pictureOf), state),

  addLayer(state, op, pictureOf) {
    const picture = pictureOf(op);
    const tiles = picture ? tilesOf(picture) : EMPTY;
    const layer = { ...op.layer, opacity: clamp(op.layer.opacity, 0, 100), tiles };
    if (state.layers.some((other) => other.id === layer.id)) throw new Error("A layer of that id is there already.");
    const below = state.layers.findIndex((other) => other.id === (op.above ?? state.active));
    const index = op.above === null || below < 0 ? state.layers.length : below + 1;
    return { ...state, layers: placed(state.layers, layer, index), active: layer.id };
  },

  removeLayer(state, { layer }) {
    const index = state.layers.indexOf(layerOf(state, layer));
    const layers = state.layers.filter((other) => other.id !== layer);
    const next = layers[Math.max(0, index - 1)]?.id ?? null;
    return { ...state, layers, active: state.active === layer ? next : state.active };
  },

  renameLayer: (state, { layer, name }) => withLayer(state, layer, { name }),
  showLayer: (state, { layer, visible }) => withLayer(state, layer, { visible }),
  setOpacity: (state, { layer, opacity }) => withLayer(state, layer, { opacity: clamp(opacity, 0, 100) }),
  setFacts: (state, { layer, facts }) => withLayer(state, layer, { facts }),
  placeLayer: (state, { layer, x, y }) => withLayer(state, layer, placedAt(layerOf(state, layer), x, y)),
  moveLayer: (state, { layer, index }) => ({ ...state, layers: placed(state.layers, layerOf(state, layer), clamp(index, 0, state.layers.length - 1)) }),

  duplicateLayer(state, { layer, copy, name }) {
    const source = layerOf(state, layer);
    const made = { ...source, id: copy, name };
    return { ...state, layers: placed(state.layers, made, state.layers.indexOf(source) + 1), active: copy };
  },

  /** Two layers become one, as opaque as they were seen; the lower one's name stays. */
  mergeDown(state, { layer }) {
    const upper = layerOf(state, layer);
    const index = state.layers.indexOf(upper);
    const lower = state.layers[index - 1];
    if (!lower) throw new Error("There is no layer below to merge with.");
    const pixels = new Uint8Array(state.width * state.height * 4);
    for (const each of [lower, upper]) if (each.visible) overLayer(pixels, whole(state), each);
    const merged = { ...lower, x: 0, y: 0, kind: "paint", facts: null, visible: lower.visible || upper.visible, opacity: 100, tiles: tilesOf({ ...whole(state), channels: 4, data: pixels }) };
    return { ...state, layers: [...state.layers.slice(0, index - 1), merged, ...state.layers.slice(index + 1)], active: merged.id };
  },

  flatten(state, { layer: id, name }) {
    const data = compositeBox(state, whole(state));
    const layer = { id, name, kind: "paint", x: 0, y: 0, visible: true, opacity: 100, tiles: tilesOf({ ...whole(state), channels: 4, data }), facts: null };
    return { ...state, layers: [layer], active: id };
  },

  maskClear: (state) => withMask(state, { tiles: EMPTY }),
  maskAll: (state) => withMask(state, { tiles: invertedTiles(EMPTY, state.width, state.height) }),
  maskInvert: (state) => withMask(state, { tiles: invertedTiles(state.mask.tiles, state.width, state.height) }),
  maskGrow: (state, { pixels }) => withMask(state, { grow: clamp(pixels, -REACH, REACH) }),
  maskFeather: (state, { pixels }) => withMask(state, { feather: clamp(pixels, 0, REACH) }),

  maskCombine(state, op, pictureOf) {
    const picture = greyOf(pictureOf(op));
    return withMask(state, { tiles: combined(state, tilesOf(picture, op.x, op.y), op.mode) });
  },

  /** Whatever a layer shows is masked too. */
  maskLayer(state, { layer: id }) {
    const layer = layerOf(state, id);
    const seen = new Map();
    for (const [key, { data }] of layer.tiles) seen.set(key, makeTile(Uint8Array.from({ length: data.length / 4 }, (_, k) => (data[k * 4 + 3] ? 255 : 0))));
    return withMask(state, { tiles: combined(state, moveTiles(seen, 1, layer.x, layer.y, whole(state)), "add") });
  },

  saveMask: (state, { mask, name }) => ({ ...state, masks: [...state.masks, { id: mask, name, tiles: state.mask.tiles }] }),
  useMask: (state, { mask, mode }) => withMask(state, { tiles: combined(state, maskOf(state, mask).tiles, mode) }),
  renameMask: (state, { mask, name }) => ({ ...state, masks: state.masks.map((other) => (other === maskOf(state, mask) ? { ...other, name } : other)) }),
  removeMask: (state, { mask }) => ({ ...state, masks: state.masks.filter((other) => other !== maskOf(state, mask)) }),

  /** Another size; what lay at (0, 0) lies at (dx, dy). */
  resize(state, { width, height, dx, dy }) {
    checkSize(width, height);
    const within = { x: 0, y: 0, width, height };
    const grows = dx >= 0 && dy >= 0 && dx + state.width <= width && dy + state.height <= height;
    const layers = state.layers.map((layer) => {
      const moved = { ...layer, ...shifted(layer, dx, dy) };
      if (grows) return moved;
      return { ...moved, tiles: moveTiles(layer.tiles, 4, 0, 0, { x: -moved.x, y: -moved.y, width, height }) };
    });
    const move = (mask) => ({ ...mask, tiles: moveTiles(mask.tiles, 1, dx, dy, within) });
    return { ...state, width, height, layers, mask: move(state.mask), masks: state.masks.map(move) };
  },

  /** The document becomes the box. Layers keep what lies beyond it; masks are only what can be seen. */
  crop(state, { x, y, width, height }) {
    checkSize(width, height);
    const layers = state.layers.map((layer) => nearby({ ...layer, ...shiftedAway(layer, -x, -y) }, { width, height }));
    const move = (mask) => ({ ...mask, tiles: moveTiles(mask.tiles, 1, -x, -y, { x: 0, y: 0, width, height }) });
    return { ...state, width, height, layers, mask: move(state.mask), masks: state.masks.map(move) };
  },
};

/** The state after `op`. Throws an Error in words where the op does not fit the state. */
export function apply(state, op, pictureOf = () => null) {
  const act = Object.hasOwn(ACTS, op.op) ? ACTS[op.op] : null;
  if (!act) throw new Error(`The canvas does not know "${op.op}".`);
  return act(state, op, pictureOf);
}

/** The ids of the pixels that an op brings along; where `pixels` is a number, it says how many. */
export const pixelsOf = (op) => (op.op === "group" ? op.ops.flatMap(pixelsOf) : typeof op.pixels === "string" ? [op.pixels] : []);

function maskOf(state, id) {
  const mask = state.masks.find((known) => known.id === id);
  if (!mask) throw new Error("That mask is not kept any more.");
  return mask;
}

/** The mask and another one: "add" takes the larger of both, "subtract" takes away, "intersect" the smaller of both. */
function combined({ width, height, mask }, tiles, mode) {
  const within = { x: 0, y: 0, width, height };
  const other = moveTiles(tiles, 1, 0, 0, within); // cut to the document
  if (mode === "replace") return other;
  const made = new Map(mode === "intersect" ? [] : mask.tiles);
  for (const key of mode === "intersect" ? mask.tiles.keys() : other.keys()) {
    const before = mask.tiles.get(key)?.data;
    const added = other.get(key)?.data;
    if (!before && mode === "add") made.set(key, other.get(key));
    if (!before || !added) continue;
    const data = new Uint8Array(before.length);
    if (mode === "add") for (let k = 0; k < data.length; k += 1) data[k] = Math.max(before[k], added[k]);
    else if (mode === "subtract") for (let k = 0; k < data.length; k += 1) data[k] = Math.min(before[k], 255 - added[k]);
    else for (let k = 0; k < data.length; k += 1) data[k] = Math.min(before[k], added[k]);
    if (data.some(Boolean)) made.set(key, makeTile(data));
    else made.delete(key);
  }
  return made;
}

/** Grey, RGB or RGBA pixels as a mask, as the server reads them: transparency where it varies, else brightness. */
export function greyOf({ width, height, channels, data }) {
  if (channels === 1) return { width, height, channels, data };
  const made = new Uint8Array(width * height);
  const varies = channels === 4 && made.some((_, k) => data[k * 4 + 3] !== data[3]);
  for (let k = 0, at = 0; k < made.length; k += 1, at += channels) {
    made[k] = varies ? data[at + 3] : (54 * data[at] + 183 * data[at + 1] + 19 * data[at + 2] + 128) >> 8;
  }
  return { width, height, channels: 1, data: made };
}

/** The bytes of one layer inside of the document, for a thumbnail or an export. */
export const layerBox = (layer, box) => readBox(layer.tiles, 4, { ...box, x: box.x - layer.x, y: box.y - layer.y });
