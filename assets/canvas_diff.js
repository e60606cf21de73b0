// Where two states differ to the eye, so that only that is drawn again.

import { around, placeOf, TILE } from "./canvas_tiles.js";

/** The box of document px in which two tile maps differ; null for nowhere. (x, y): where the grid lies. */
export function tilesDiffer(before, after, x = 0, y = 0) {
  let box = null;
  const note = (key) => {
    const [col, row] = placeOf(key);
    box = around(box, { x: col * TILE + x, y: row * TILE + y, width: TILE, height: TILE });
  };
  for (const [key, tile] of before) if (after.get(key) !== tile) note(key);
  for (const key of after.keys()) if (!before.has(key)) note(key);
  return box;
}

/** Calls visit(box) for every tile in which two tile maps differ. */
export function eachDiffering(before, after, visit) {
  for (const key of new Set([...before.keys(), ...after.keys()])) {
    if (before.get(key) === after.get(key)) continue;
    const [col, row] = placeOf(key);
    visit({ x: col * TILE, y: row * TILE, width: TILE, height: TILE });
  }
}

const NOTHING = new Map();

/** The box in which the pictures of two states differ; null for nowhere, "all" where they cannot be compared. */
export function statesDiffer(before, after) {
  if (!before || !after || before.width !== after.width || before.height !== after.height) return "all";
  if (before.layers === after.layers) return null;
  const common = (one, other) => one.layers.map(({ id }) => id).filter((id) => other.layers.some((layer) => layer.id === id)).join();
  if (common(before, after) !== common(after, before)) return "all";
  let box = null;
  for (const id of new Set([...before.layers, ...after.layers].map((layer) => layer.id))) {
    const [old, now] = [before, after].map(({ layers }) => layers.find((layer) => layer.id === id));
    if (old === now) continue;
    const alike = old && now && old.x === now.x && old.y === now.y && old.visible === now.visible && old.opacity === now.opacity;
    if (alike) box = around(box, tilesDiffer(old.tiles, now.tiles, now.x, now.y));
    else for (const layer of [old, now]) if (layer?.visible) box = around(box, tilesDiffer(NOTHING, layer.tiles, layer.x, layer.y));
  }
  return box;
}
