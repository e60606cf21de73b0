// The border of a mask as lines along pixels' edges, tile by tile, for the marching ants.

import { overlap, readBox, TILE } from "./canvas_tiles.js";

const KEY = 1 << 13; // more than any coordinate

/**
 * The lines between what is above zero and what is not, of one tile: [[x, y, x, y, …], …] in document px. A tile has the
 * edges above and to the left of its pixels, and at the document's end those below and to the right.
 */
export function outlineOf(tiles, col, row, width, height) {
  const box = overlap({ x: col * TILE, y: row * TILE, width: TILE, height: TILE }, { x: 0, y: 0, width, height });
  if (!box) return [];
  const w = box.width + 2;
  const data = readBox(tiles, 1, { x: box.x - 1, y: box.y - 1, width: w, height: box.height + 2 });
  const runs = [];
  const lastRow = box.y + box.height === height ? box.height : box.height - 1;
  for (let y = 0; y <= lastRow; y += 1) {
    collect(data, (y + 1) * w + 1, 1, w, box.width, (from, to) => runs.push([box.x + from, box.y + y, box.x + to, box.y + y]));
  }
  const lastCol = box.x + box.width === width ? box.width : box.width - 1;
  for (let x = 0; x <= lastCol; x += 1) {
    collect(data, w + x + 1, w, 1, box.height, (from, to) => runs.push([box.x + x, box.y + from, box.x + x, box.y + to]));
  }
  return chained(runs);
}

/** Runs of pixels, from `start` on `step` apart, that differ from the ones `back` before them: found(from, to). */
function collect(data, start, step, back, most, found) {
  let first = -1;
  for (let n = 0, k = start; n < most; n += 1, k += step) {
    const isEdge = data[k] > 0 !== data[k - back] > 0;
    if (isEdge && first < 0) first = n;
    else if (!isEdge && first >= 0) {
      found(first, n);
      first = -1;
    }
  }
  if (first >= 0) found(first, most);
}

/** Runs joined end to end, so that dashes go on around corners. */
function chained(runs) {
  const ends = new Map(); // place -> runs that end there
  const at = (x, y) => y * KEY + x;
  runs.forEach((run, k) => {
    for (const place of [at(run[0], run[1]), at(run[2], run[3])]) {
      if (!ends.has(place)) ends.set(place, []);
      ends.get(place).push(k);
    }
  });
  const used = new Uint8Array(runs.length);
  const lines = [];
  for (let first = 0; first < runs.length; first += 1) {
    if (used[first]) continue;
    used[first] = 1;
    const [x0, y0, x1, y1] = runs[first];
    const before = walk(x0, y0); // from one end of the run, and then from the other
    const line = [];
    for (let k = before.length - 2; k >= 0; k -= 2) line.push(before[k], before[k + 1]);
    line.push(x0, y0, x1, y1, ...walk(x1, y1));
    lines.push(line);
  }
  return lines;

  /** The corners that runs lead to from (x, y) on. */
  function walk(x, y) {
    const corners = [];
    for (;;) {
      const next = ends.get(at(x, y)).find((k) => !used[k]);
      if (next === undefined) return corners;
      used[next] = 1;
      const [x0, y0, x1, y1] = runs[next];
      [x, y] = x0 === x && y0 === y ? [x1, y1] : [x0, y0];
      corners.push(x, y);
    }
  }
}
