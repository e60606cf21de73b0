// Which pixels belong to the one that was pointed at: those of about its colour that hang together, or all of them.

import { compositeBox } from "./canvas_blend.js";
import { alikeTo } from "./canvas_colour.js";
import { FULL } from "./canvas_raster.js";
import { eachTile, overlap, TILE } from "./canvas_tiles.js";

/**
 * Covers, in the grid of `coverage`, the region around (x, y). `state` is the document; `layers` those whose composite is
 * looked at. `tolerance` 0 to 255: how different a colour may look (`canvas_colour.js`). With `contiguous`, pixels must
 * hang together by their sides. (dx, dy) is where the document's corner lies in the grid.
 */
export function coverAlike(coverage, { state, layers, x, y, tolerance, contiguous, dx, dy }) {
  const { width, height } = state;
  if (x < 0 || y < 0 || x >= width || y >= height) return;
  const seen = { ...state, layers };
  const cols = Math.ceil(width / TILE);
  const tiles = new Array(cols * Math.ceil(height / TILE)); // per pixel of the document: 1 alike, 0 not, 2 taken
  const aim = compositeBox(seen, { x, y, width: 1, height: 1 });
  const alikeAt = (col, row) => (tiles[row * cols + col] ??= alike(seen, col, row, aim, tolerance));
  if (contiguous) spread(x, y, width, height, alikeAt);
  else eachTile({ x: 0, y: 0, width, height }, (col, row) => alikeAt(col, row).forEach((value, k, tile) => value && (tile[k] = 2)));
  for (const [place, tile] of tiles.entries()) {
    if (!tile?.includes(2)) continue;
    const [col, row] = [place % cols, Math.floor(place / cols)];
    const box = overlap({ x: col * TILE, y: row * TILE, width: TILE, height: TILE }, { x: 0, y: 0, width, height });
    const moved = overlap({ ...box, x: box.x + dx, y: box.y + dy }, coverage.clip);
    if (!moved) continue;
    coverage.touch(moved);
    eachTile(moved, (toCol, toRow, part) => {
      const cover = coverage.at(toCol, toRow);
      for (let v = part.y; v < part.y + part.height; v += 1) {
        const from = (v - dy - row * TILE) * TILE + part.x - dx - col * TILE;
        const to = (v - toRow * TILE) * TILE + part.x - toCol * TILE;
        for (let k = 0; k < part.width; k += 1) if (tile[from + k] === 2) cover[to + k] = FULL;
      }
    });
  }
}

const alike = (state, col, row, aim, tolerance) => alikeTo(compositeBox(state, { x: col * TILE, y: row * TILE, width: TILE, height: TILE }), aim, tolerance);

/** Marks what hangs together with (x, y), run by run. */
function spread(x, y, width, height, alikeAt) {
  const value = (u, v) => (u < 0 || v < 0 || u >= width || v >= height ? 0 : alikeAt(u >> 8, v >> 8)[((v & 255) << 8) | (u & 255)]);
  const waiting = [x, y];
  while (waiting.length) {
    const v = waiting.pop();
    const u = waiting.pop();
    if (value(u, v) !== 1) continue;
    let left = u;
    while (value(left - 1, v) === 1) left -= 1;
    let above = false;
    let below = false;
    for (let k = left; value(k, v) === 1; k += 1) {
      alikeAt(k >> 8, v >> 8)[((v & 255) << 8) | (k & 255)] = 2;
      const up = value(k, v - 1) === 1;
      if (up && !above) waiting.push(k, v - 1);
      above = up;
      const down = value(k, v + 1) === 1;
      if (down && !below) waiting.push(k, v + 1);
      below = down;
    }
  }
}
