// The mask that acts, tile by tile: only tiles near a border are computed, and only those near a change computed again.

import { extentOf, feathered, grown } from "./canvas_mask.js";
import { around, eachTile, isBlank, keyOf, makeTile, overlap, placeOf, readBox, TILE } from "./canvas_tiles.js";

let latest = { key: [], made: null }; // asked for again and again with the same mask
let stages = { key: [], grown: new Map(), faded: new Map() }; // what each tile came to, and from which nine it did
const extents = new WeakMap(); // tile -> what of it lies inside of the document holds: {count, bounds, full, solid}

/** A mask, {tiles, grow, feather} -> {tiles, count, bounds}: the one that acts, how many pixels it lets change, and where. */
export function effectiveTiles({ tiles, grow, feather }, width, height) {
  const key = [tiles, grow, feather, width, height];
  if (same(key, latest.key)) return latest.made;
  if (!same(key.slice(1), stages.key)) stages = { key: key.slice(1), grown: new Map(), faded: new Map() };
  const size = { width, height };
  const wider = grow ? stage(tiles, size, Math.abs(grow), grow > 0, stages.grown, (...box) => grown(...box, grow), (...at) => isFilled("solid", ...at)) : tiles;
  const made = feather ? stage(wider, size, feather, false, stages.faded, (...box) => feathered(...box, feather), (...at) => isFilled("full", ...at)) : wider;
  latest = { key, made: { tiles: made, ...measured(made, size) } };
  return latest.made;
}

const same = (one, other) => one.length === other.length && one.every((part, k) => part === other[k]);

/**
 * `act(data, width, height)` on every tile that it may change, each with `reach` px around it, at most a tile's side.
 * `spreads`: it may reach into empty tiles. `untouched(nine, part)`: tiles that it leaves as they are.
 */
function stage(tiles, size, reach, spreads, known, act, untouched = () => false) {
  const made = new Map();
  for (const key of spreads ? neighbourhood(tiles) : tiles.keys()) {
    const [col, row] = placeOf(key);
    const part = partOf(col, row, size);
    if (!part) continue;
    const nine = [];
    for (let v = row - 1; v <= row + 1; v += 1) for (let u = col - 1; u <= col + 1; u += 1) nine.push(tiles.get(keyOf(u, v)));
    let entry = known.get(key);
    if (!entry || !same(nine, entry.nine)) {
      entry = { nine, tile: untouched(nine, col, row, size) ? tiles.get(key) : computed(tiles, part, size, reach, act) };
      known.set(key, entry);
    }
    if (entry.tile) made.set(key, entry.tile);
  }
  return made;
}

function computed(tiles, part, size, reach, act) {
  const room = reach + 1;
  const wide = overlap({ x: part.x - room, y: part.y - room, width: part.width + 2 * room, height: part.height + 2 * room }, { x: 0, y: 0, ...size });
  const result = act(readBox(tiles, 1, wide), wide.width, wide.height);
  const data = new Uint8Array(TILE * TILE);
  for (let y = 0; y < part.height; y += 1) {
    const from = (part.y - wide.y + y) * wide.width + part.x - wide.x;
    data.set(result.subarray(from, from + part.width), y * TILE);
  }
  return isBlank(data, 1) ? null : makeTile(data);
}

function neighbourhood(tiles) {
  const keys = new Set();
  for (const key of tiles.keys()) {
    const [col, row] = placeOf(key);
    for (let v = Math.max(0, row - 1); v <= row + 1; v += 1) for (let u = Math.max(0, col - 1); u <= col + 1; u += 1) keys.add(keyOf(u, v));
  }
  return keys;
}

const partOf = (col, row, { width, height }) => overlap({ x: col * TILE, y: row * TILE, width: TILE, height: TILE }, { x: 0, y: 0, width, height });

/** Whether a tile and all around it, as far as the document goes, are full (hold no zero), or solid (hold only 255). */
function isFilled(how, nine, col, row, size) {
  return nine.every((tile, k) => {
    const part = partOf(col - 1 + (k % 3), row - 1 + Math.floor(k / 3), size);
    return !part || (tile && extentIn(tile, part)[how]);
  });
}

function extentIn(tile, part) {
  const known = extents.get(tile);
  if (known && known.width === part.width && known.height === part.height) return known;
  const data = part.width === TILE ? tile.data : readBox(new Map([["0,0", tile]]), 1, { x: 0, y: 0, width: part.width, height: TILE });
  const { count, bounds } = extentOf(data, part.width, part.height);
  const full = count === part.width * part.height;
  const made = { width: part.width, height: part.height, count, bounds, full, solid: full && !hasSoft(data, part) };
  extents.set(tile, made);
  return made;
}

function hasSoft(data, { width, height }) {
  for (let k = 0; k < width * height; k += 1) if (data[k] < 255) return true;
  return false;
}

function measured(tiles, size) {
  let count = 0;
  let bounds = null;
  for (const [key, tile] of tiles) {
    const part = partOf(...placeOf(key), size);
    if (!part) continue;
    const extent = extentIn(tile, part);
    count += extent.count;
    if (extent.bounds) bounds = around(bounds, { ...extent.bounds, x: part.x + extent.bounds.x, y: part.y + extent.bounds.y });
  }
  return { count, bounds };
}

/** 255 minus the mask, inside of the document. */
export function invertedTiles(tiles, width, height) {
  const made = new Map();
  eachTile({ x: 0, y: 0, width, height }, (col, row, part) => {
    const data = new Uint8Array(TILE * TILE);
    const before = tiles.get(keyOf(col, row))?.data;
    let any = false;
    for (let y = 0; y < part.height; y += 1) {
      for (let x = 0, k = y * TILE; x < part.width; x += 1, k += 1) {
        data[k] = before ? 255 - before[k] : 255;
        any ||= data[k] > 0;
      }
    }
    if (any) made.set(keyOf(col, row), { data, id: null });
  });
  return made;
}
