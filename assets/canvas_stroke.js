// One stroke, shape or fill on a layer or on the mask, drawn from its vectors: by hand as the points come in, or all at
// once when it is replayed. Both ways give the same bytes.

import { by255, compositeBox, opacityByte, overPixel, towards } from "./canvas_blend.js";
import { coverAlike } from "./canvas_flood.js";
import { effectiveTiles } from "./canvas_mask_tiles.js";
import { coverBox, coverDab, coverEllipse, coverOutline, Coverage, FULL } from "./canvas_raster.js";
import { Draft, eachTile, keyOf, overlap, readBox, renumber, TILE } from "./canvas_tiles.js";

export const POINT = 5; // numbers per point: x, y, pressure, tilt along x, tilt along y

/** A point as strokes keep it: whole sixteenths of a px, 256ths of the pressure, degrees. */
export const pointOf = (x, y, pressure = 1, tiltX = 0, tiltY = 0) => [Math.round(x * 16) / 16, Math.round(y * 16) / 16, Math.round(pressure * 256) / 256, Math.round(tiltX), Math.round(tiltY)];

export const rgbOf = (color) => [1, 3, 5].map((at) => Number.parseInt(color.slice(at, at + 2), 16));

/**
 * Begins what `op` says on `state`. Answers {state, add(points), taken(), finish()}: `state` shows the stroke as it
 * stands, `taken` is the box of document px that changed since it was last asked, `finish` answers the state after it.
 * Throws if the op's layer is not there.
 */
export function beginStroke(state, op) {
  const target = op.target === "mask" ? maskTarget(state, op) : layerTarget(state, op);
  const { draft, dx, dy } = target;
  const coverage = new Coverage({ x: dx, y: dy, width: state.width, height: state.height });
  const ink = inkOf(state, op, target);
  const path = op.op === "stroke" ? pathOf(op, dx, dy, op.tool === "smudge" ? smudger(draft, coverage, ink, op.settings.size) : (x, y, dab) => coverDab(coverage, x, y, dab)) : null;
  const points = [];

  function settle() {
    const box = coverage.taken();
    if (box && op.tool !== "smudge") settleBox(target, coverage, box, ink);
    return box && { ...box, x: box.x - dx, y: box.y - dy };
  }

  return {
    state: target.live,
    add(more) {
      if (path) path.add(more);
      else for (const number of more) points.push(number);
    },
    taken: settle,
    finish() {
      path?.end();
      if (op.op === "shape") coverShape(coverage, op.tool, points, dx, dy);
      if (op.op === "fill") coverAlike(coverage, { state, layers: op.settings.sample === "layer" && target.layer ? [{ ...target.layer, visible: true, opacity: 100 }] : state.layers, x: Math.floor(points[0]), y: Math.floor(points[1]), tolerance: op.settings.tolerance, contiguous: op.settings.contiguous, dx, dy });
      const changed = settle();
      return { state: target.done(draft.finish()), changed };
    },
  };
}

/** The state after an op of this module. */
export function strokeOnto(state, op) {
  const stroke = beginStroke(state, op);
  stroke.add(op.points);
  return stroke.finish().state;
}

function layerTarget(state, op) {
  const found = state.layers.find((layer) => layer.id === op.layer);
  if (!found) throw new Error("The layer that was painted on is not there any more.");
  const layer = roomy(found);
  const draft = new Draft(layer.tiles, 4);
  const withTiles = (tiles) => ({ ...state, layers: state.layers.map((other) => (other.id === layer.id ? { ...layer, tiles } : other)) });
  return { draft, before: layer.tiles, layer, dx: -layer.x, dy: -layer.y, live: withTiles(draft.tiles), done: withTiles };
}

function maskTarget(state, op) {
  const anew = op.op !== "stroke" && (op.settings.mode === "replace" || op.settings.mode === "intersect");
  const draft = new Draft(anew ? new Map() : state.mask.tiles, 1);
  const withTiles = (tiles) => ({ ...state, mask: { ...state.mask, tiles } });
  const layer = state.layers.find(({ id }) => id === op.layer) ?? null; // the one that is looked at, if it is not all of them
  return { draft, before: state.mask.tiles, layer, dx: 0, dy: 0, live: withTiles(draft.tiles), done: withTiles };
}

/** The same layer with its origin at or before the document's corner, so that no tile needs a number below 0. */
function roomy(layer) {
  const cols = Math.max(0, Math.ceil(layer.x / TILE));
  const rows = Math.max(0, Math.ceil(layer.y / TILE));
  if (!cols && !rows) return layer;
  return { ...layer, x: layer.x - cols * TILE, y: layer.y - rows * TILE, tiles: renumber(layer.tiles, cols, rows) };
}

/** What coverage does to pixels. `limit`: tiles of the mask that the paint must stay inside of. */
function inkOf(state, op, target) {
  const { settings } = op;
  const ink = { strength: opacityByte(settings.opacity ?? 100), limit: null, sample: null, act: "paint", rgb: settings.color ? rgbOf(settings.color) : [0, 0, 0] };
  if (settings.withinMask && op.target !== "mask") {
    const acting = effectiveTiles(state.mask, state.width, state.height);
    if (acting.count) ink.limit = acting.tiles;
  }
  const takes = op.erase || op.tool === "eraser" || settings.mode === "subtract";
  if (op.tool === "clone") ink.act = "clone";
  else if (op.target === "mask") ink.act = settings.mode === "intersect" && op.op !== "stroke" ? "intersect" : takes ? "unmask" : "mask";
  else if (takes) ink.act = "erase";
  if (op.tool === "clone") {
    const { dx, dy } = op.source;
    const from = (box) => ({ ...box, x: box.x + dx, y: box.y + dy });
    if (op.target === "mask") ink.sample = (box) => readBox(target.before, 1, from(box));
    else if (settings.sample === "layer") ink.sample = (box) => compositeBox({ ...state, layers: [{ ...target.layer, visible: true, opacity: 100 }] }, from(box));
    else ink.sample = (box) => compositeBox(state, from(box));
  }
  return ink;
}

/** Lays the coverage of `box` onto what was there before the stroke. */
function settleBox({ draft, before, dx, dy }, coverage, box, ink) {
  const { strength, limit, sample, act, rgb } = ink;
  const [red, green, blue] = rgb;
  eachTile(box, (col, row, part) => {
    const cover = coverage.tiles.get(keyOf(col, row));
    if (!cover) return;
    const base = before.get(keyOf(col, row))?.data;
    const data = draft.writable(col, row);
    const place = { ...part, x: part.x - dx, y: part.y - dy }; // in the document
    const allowed = limit && readBox(limit, 1, place);
    const source = sample && sample(place);
    for (let y = 0, n = 0; y < part.height; y += 1) {
      let k = (part.y - row * TILE + y) * TILE + part.x - col * TILE;
      for (let x = 0; x < part.width; x += 1, k += 1, n += 1) {
        if (!cover[k]) continue;
        const share = cover[k] * strength + (FULL >> 1);
        let a = (share + 1 + (share >> 16)) >> 16; // share // FULL
        if (allowed) a = by255(a * allowed[n] + 127);
        if (draft.channels === 1) {
          const value = base ? base[k] : 0;
          if (act === "mask") data[k] = towards(value, 255, a);
          else if (act === "unmask") data[k] = towards(value, 0, a);
          else if (act === "intersect") data[k] = towards(0, value, a);
          else data[k] = towards(value, source[n], a);
          continue;
        }
        const t = k * 4;
        if (base) {
          data[t] = base[t];
          data[t + 1] = base[t + 1];
          data[t + 2] = base[t + 2];
          data[t + 3] = base[t + 3];
        } else data[t + 3] = 0;
        if (act === "paint") overPixel(data, t, red, green, blue, a);
        else if (act === "erase") data[t + 3] = towards(data[t + 3], 0, a);
        else if (source[n * 4 + 3]) overPixel(data, t, source[n * 4], source[n * 4 + 1], source[n * 4 + 2], by255(source[n * 4 + 3] * a + 127));
      }
    }
  });
}

function coverShape(coverage, tool, points, dx, dy) {
  if (tool === "lasso") {
    const outline = [];
    for (let k = 0; k < points.length; k += POINT) outline.push(points[k] + dx, points[k + 1] + dy);
    coverOutline(coverage, outline);
    return;
  }
  const box = boxOf(points);
  if (!box) return;
  const moved = { ...box, x: box.x + dx, y: box.y + dy };
  if (tool === "ellipse") coverEllipse(coverage, moved);
  else coverBox(coverage, moved);
}

/** The whole box between the first point of a drag and its last, or null for none. */
export function boxOf(points) {
  const last = points.length - POINT;
  if (last < 0) return null;
  const [x0, x1] = [Math.min(points[0], points[last]), Math.max(points[0], points[last])].map(Math.round);
  const [y0, y1] = [Math.min(points[1], points[last + 1]), Math.max(points[1], points[last + 1])].map(Math.round);
  return x1 > x0 && y1 > y0 ? { x: x0, y: y0, width: x1 - x0, height: y1 - y0 } : null;
}

/** Turns points into touches of the brush along a smooth line: from middle to middle, bent towards the points. */
function pathOf(op, dx, dy, touch) {
  const { size, hardness = 100, flow = 100, pressureSize, pressureOpacity } = op.settings;
  let last = null; // the newest point
  let middle = null; // how far the line is drawn
  let rest = 0; // px until the next touch

  const radiusAt = (pressure) => Math.max(0.5, (size / 2) * (pressureSize ? pressure : 1));
  const spacingAt = (radius) => (op.tool === "smudge" ? Math.max(1, radius / 5) : Math.max(0.35, 0.7 * Math.sqrt(radius)));

  function dabAt([x, y, pressure, tiltX, tiltY]) {
    const tilt = Math.sqrt(tiltX * tiltX + tiltY * tiltY);
    const radius = radiusAt(pressure);
    const shape = tilt >= 1 ? { aspect: 1 - 0.5 * Math.min(1, tilt / 60), alongX: tiltX / tilt, alongY: tiltY / tilt } : {};
    touch(x, y, { radius, hardness: hardness / 100, peak: pressureOpacity ? pressure : 1, flow: flow / 100, ...shape });
    return spacingAt(radius);
  }

  function line(from, to) {
    const far = Math.sqrt((to[0] - from[0]) * (to[0] - from[0]) + (to[1] - from[1]) * (to[1] - from[1]));
    let at = rest;
    while (at <= far) {
      const t = far ? at / far : 0;
      at += dabAt(from.map((value, n) => value + (to[n] - value) * t));
    }
    rest = at - far;
  }

  function curve(from, bend, to) {
    const far = Math.abs(bend[0] - from[0]) + Math.abs(bend[1] - from[1]) + Math.abs(to[0] - bend[0]) + Math.abs(to[1] - bend[1]);
    const parts = Math.max(1, Math.min(32, Math.ceil(far / 6)));
    let before = from;
    for (let k = 1; k <= parts; k += 1) {
      const t = k / parts;
      const now = from.map((value, n) => value * (1 - t) * (1 - t) + bend[n] * 2 * t * (1 - t) + to[n] * t * t);
      line(before, now);
      before = now;
    }
  }

  return {
    add(points) {
      for (let k = 0; k + POINT <= points.length; k += POINT) {
        const point = [points[k] + dx, points[k + 1] + dy, points[k + 2], points[k + 3], points[k + 4]];
        if (!last) {
          rest = dabAt(point);
          middle = point;
        } else {
          const half = point.map((value, n) => (value + last[n]) / 2);
          curve(middle, last, half);
          middle = half;
        }
        last = point;
      }
    },
    end() {
      if (last && middle !== last) line(middle, last);
    },
  };
}

/** Drags what lies under the brush along: each touch mixes in what the one before picked up. */
function smudger(draft, coverage, { limit, strength }, size) {
  let carried = null; // what the brush has on it: alpha premultiplied, as doubles; NaN where it lay beyond the document
  const { channels } = draft;
  const reach = Math.ceil(size / 2) + 1;
  const touch = new Coverage(coverage.clip); // of one dab, used again
  return (x, y, dab) => {
    const box = { x: Math.round(x) - reach, y: Math.round(y) - reach, width: 2 * reach + 1, height: 2 * reach + 1 };
    const under = premultiplied(readBox(draft.tiles, channels, box), channels);
    forgetBeyond(under, channels, box, coverage.clip);
    if (carried) {
      coverDab(touch, x, y, { ...dab, flow: 1 });
      const part = touch.taken();
      if (part) {
        const allowed = limit && readBox(limit, 1, { ...part, x: part.x - coverage.clip.x, y: part.y - coverage.clip.y });
        mix(under, carried, box, part, touch, (strength / 255) * dab.flow, allowed, channels);
        coverage.touch(part);
        draft.writeBox(part, plain(under, channels, box, part));
        eachTile(part, (col, row) => touch.at(col, row).fill(0));
      }
    }
    carried = under;
  };
}

function mix(under, carried, box, part, touch, strength, allowed, channels) {
  eachTile(part, (col, row, piece) => {
    const cover = touch.at(col, row);
    for (let y = piece.y; y < piece.y + piece.height; y += 1) {
      for (let x = piece.x; x < piece.x + piece.width; x += 1) {
        let share = (cover[(y - row * TILE) * TILE + x - col * TILE] / FULL) * strength;
        if (allowed) share = (share * allowed[(y - part.y) * part.width + x - part.x]) / 255;
        if (!share) continue;
        const k = ((y - box.y) * box.width + x - box.x) * channels;
        if (Number.isNaN(carried[k])) continue;
        for (let c = 0; c < channels; c += 1) under[k + c] += (carried[k + c] - under[k + c]) * share;
      }
    }
  });
}

function forgetBeyond(values, channels, box, clip) {
  if (overlap(box, clip)?.width === box.width && overlap(box, clip)?.height === box.height) return;
  for (let y = 0, k = 0; y < box.height; y += 1) {
    for (let x = 0; x < box.width; x += 1, k += channels) {
      const inside = box.x + x >= clip.x && box.y + y >= clip.y && box.x + x < clip.x + clip.width && box.y + y < clip.y + clip.height;
      if (!inside) values[k] = NaN;
    }
  }
}

function premultiplied(pixels, channels) {
  const made = new Float64Array(pixels);
  if (channels === 4) {
    for (let k = 0; k < made.length; k += 4) {
      const share = made[k + 3] / 255;
      made[k] *= share;
      made[k + 1] *= share;
      made[k + 2] *= share;
    }
  }
  return made;
}

function plain(values, channels, box, part) {
  const made = new Uint8Array(part.width * part.height * channels);
  for (let y = 0, to = 0; y < part.height; y += 1) {
    let from = ((part.y - box.y + y) * box.width + part.x - box.x) * channels;
    for (let x = 0; x < part.width; x += 1, from += channels, to += channels) {
      if (channels === 1) made[to] = values[from] + 0.5;
      else {
        const alpha = values[from + 3];
        made[to + 3] = alpha + 0.5;
        if (made[to + 3]) for (let c = 0; c < 3; c += 1) made[to + c] = Math.min(255, (values[from + c] * 255) / alpha + 0.5);
      }
    }
  }
  return made;
}
