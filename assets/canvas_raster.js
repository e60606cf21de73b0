// Shapes as coverage: how much of each pixel a dab, a box, an ellipse or an outline covers, from 0 to FULL.
//
// Only + - * / and sqrt on doubles, which every engine rounds alike: the same strokes give the same bytes anywhere.

import { around, eachTile, keyOf, overlap, TILE } from "./canvas_tiles.js";

export const FULL = 65535;
const PROFILE = 8192; // steps of a dab's fall, by squared distance: the rim of one of 1000 px still has a dozen
const ROWS = 16; // lines per pixel row that an outline is sampled on; across, coverage is exact

/** Coverage of what is being drawn, in tiles that are made where something is. */
export class Coverage {
  constructor(clip) {
    this.clip = clip; // box outside of which nothing is drawn
    this.tiles = new Map();
    this.dirty = null; // box of what was covered since `taken`
  }

  at(col, row) {
    const key = keyOf(col, row);
    let tile = this.tiles.get(key);
    if (!tile) this.tiles.set(key, (tile = new Uint16Array(TILE * TILE)));
    return tile;
  }

  touch(box) {
    this.dirty = around(this.dirty, box);
  }

  /** The box that was covered since the last call. */
  taken() {
    const box = this.dirty;
    this.dirty = null;
    return box;
  }
}

/**
 * One touch of a brush around (cx, cy). `radius` px, along the tilt if there is one; `hardness` 0 to 1: the inner share
 * that is full; `peak` 0 to 1: the most it covers; `flow` 0 to 1: how far each touch goes towards that. Coverage only
 * rises, never above the touch's own, so that a stroke does not build up within itself.
 */
export function coverDab(coverage, cx, cy, { radius, hardness, peak, flow, aspect = 1, alongX = 1, alongY = 0 }) {
  const reach = Math.max(radius, Math.min(radius * hardness, radius - 0.5) + 1);
  const x = Math.floor(cx - reach);
  const y = Math.floor(cy - reach);
  const box = overlap({ x, y, width: Math.floor(cx + reach) - x + 1, height: Math.floor(cy + reach) - y + 1 }, coverage.clip);
  if (!box) return;
  coverage.touch(box);
  const inner = Math.max(0, Math.min(radius * hardness, radius - 0.5));
  const profile = profileOf(inner / reach);
  const scale = PROFILE / (reach * reach);
  const most = FULL * peak;
  eachTile(box, (col, row, part) => {
    const tile = coverage.at(col, row);
    for (let v = part.y; v < part.y + part.height; v += 1) {
      const dy = v + 0.5 - cy;
      const half = Math.sqrt(Math.max(0, reach * reach - dy * dy)); // of the round tip; a tilted one lies within
      const from = Math.max(part.x, Math.floor(cx - half));
      const to = Math.min(part.x + part.width, Math.ceil(cx + half));
      let k = (v - row * TILE) * TILE + from - col * TILE;
      for (let dx = from + 0.5 - cx, end = to - cx; dx < end; k += 1, dx += 1) {
        let square = dx * dx + dy * dy;
        if (aspect !== 1) {
          const along = dx * alongX + dy * alongY;
          const across = (dy * alongX - dx * alongY) / aspect;
          square = along * along + across * across;
        }
        const at = (square * scale) | 0;
        if (at >= PROFILE) continue;
        const value = most * profile[at];
        const before = tile[k];
        if (value > before) tile[k] = flow >= 1 ? value + 0.5 : before + (value - before) * flow + 0.5;
      }
    }
  });
}

let latest = { inner: -1, profile: new Float64Array(PROFILE) };

/** How full a dab is by squared distance, for an inner share that is full; reused, since most dabs of a stroke share it. */
function profileOf(inner) {
  if (latest.inner === inner) return latest.profile;
  const profile = new Float64Array(PROFILE);
  for (let k = 0; k < PROFILE; k += 1) {
    const far = Math.sqrt((k + 0.5) / PROFILE);
    const u = far <= inner ? 1 : (1 - far) / (1 - inner);
    profile[k] = u * u * (3 - 2 * u);
  }
  latest = { inner, profile };
  return profile;
}

/** A box with whole sides. */
export function coverBox(coverage, box) {
  const inside = overlap(box, coverage.clip);
  if (!inside) return;
  coverage.touch(inside);
  eachTile(inside, (col, row, part) => {
    const tile = coverage.at(col, row);
    for (let y = part.y - row * TILE; y < part.y - row * TILE + part.height; y += 1) {
      const start = y * TILE + part.x - col * TILE;
      tile.fill(FULL, start, start + part.width);
    }
  });
}

/** The ellipse that fills a box. */
export function coverEllipse(coverage, { x, y, width, height }) {
  const [rx, ry] = [width / 2, height / 2];
  coverSpans(coverage, { x, y, width, height }, (line) => {
    const v = (line - y - ry) / ry;
    const half = v * v < 1 ? rx * Math.sqrt(1 - v * v) : 0;
    return half ? [x + rx - half, x + rx + half] : [];
  });
}

/** What an outline [x, y, x, y, …] encloses, closed from its end to its start; where it goes around twice, too. */
export function coverOutline(coverage, points) {
  const edges = [];
  let box = null;
  for (let k = 0; k < points.length; k += 2) {
    const [x0, y0] = [points[k], points[k + 1]];
    const next = (k + 2) % points.length;
    const [x1, y1] = [points[next], points[next + 1]];
    box = around(box, { x: x0, y: y0, width: 0, height: 0 });
    if (y0 !== y1) edges.push(y0 < y1 ? { top: y0, bottom: y1, x: x0, slope: (x1 - x0) / (y1 - y0), turn: 1 } : { top: y1, bottom: y0, x: x1, slope: (x0 - x1) / (y0 - y1), turn: -1 });
  }
  if (!box) return;
  edges.sort((a, b) => a.top - b.top);
  let waiting = 0;
  let active = [];
  coverSpans(coverage, box, (line) => {
    while (waiting < edges.length && edges[waiting].top <= line) active.push(edges[waiting++]);
    active = active.filter((edge) => edge.bottom > line);
    const crossings = active.map((edge) => ({ x: edge.x + (line - edge.top) * edge.slope, turn: edge.turn })).sort((a, b) => a.x - b.x);
    const spans = [];
    let turns = 0;
    for (const { x, turn } of crossings) {
      if (turns === 0) spans.push(x);
      turns += turn;
      if (turns === 0) spans.push(x);
    }
    return spans;
  });
}

/** Covers what `spansAt(line)` answers, [from, to, from, to, …] in px, for lines from the top of `box` to its bottom. */
function coverSpans(coverage, box, spansAt) {
  const top = Math.floor(box.y);
  const left = Math.floor(box.x);
  const whole = { x: left, y: top, width: Math.ceil(box.x + box.width) - left + 1, height: Math.ceil(box.y + box.height) - top + 1 };
  const inside = overlap(whole, coverage.clip);
  if (!inside) return;
  coverage.touch(inside);
  const right = inside.x + inside.width;
  const part = new Float64Array(inside.width + 2); // coverage of the pixels at the ends of spans
  const steps = new Float64Array(inside.width + 2); // where full coverage begins (+) and ends (-)
  for (let y = top; y < inside.y + inside.height; y += 1) {
    if (y >= inside.y) {
      part.fill(0);
      steps.fill(0);
    }
    for (let n = 0; n < ROWS; n += 1) {
      const spans = spansAt(y + (n + 0.5) / ROWS); // asked above the clip too: outlines collect their edges on the way
      if (y < inside.y) continue;
      for (let k = 0; k < spans.length; k += 2) addSpan(part, steps, Math.max(spans[k], inside.x) - inside.x, Math.min(spans[k + 1], right) - inside.x);
    }
    if (y < inside.y) continue;
    let full = 0;
    for (let x = 0; x < inside.width; x += 1) {
      full += steps[x];
      part[x] = ((part[x] + full) * FULL) / ROWS;
    }
    eachTile({ x: inside.x, y, width: inside.width, height: 1 }, (col, row, piece) => {
      const start = (y - row * TILE) * TILE + piece.x - col * TILE;
      for (let x = 0; x < piece.width; x += 1) {
        const value = part[piece.x - inside.x + x];
        if (value > 0.5) coverage.at(col, row)[start + x] = Math.min(FULL, value + 0.5);
      }
    });
  }
}

function addSpan(part, steps, from, to) {
  if (to <= from) return;
  const first = Math.floor(from);
  const last = Math.floor(to);
  if (first === last) {
    part[first] += to - from;
    return;
  }
  part[first] += first + 1 - from;
  steps[first + 1] += 1;
  steps[last] -= 1;
  part[last] += to - last;
}
