// What is seen: the picture over a chequerboard, the mask's hatch, and above both the ants, the frame and what is being
// drawn. Three canvases of the room's size; only what changed is drawn again.

import { createCache } from "./canvas_cache.js";
import { outlineOf } from "./canvas_outline.js";
import { around, eachTile, keyOf, overlap, placeOf, readBox, TILE } from "./canvas_tiles.js";

const ANTS = { every: 120, step: 1, width: 1.6, dash: 4 }; // ms, then CSS px
const MOST_EDGES = 60_000; // beyond, ants would take longer than a frame; the hatch says where the mask is
const CHEQUER = 8; // CSS px

/**
 * `core` says what there is to see: size(), composite(box) -> RGBA, mask() -> tiles of grey, look() -> "hatch" | "ants" |
 * "none", and decorate(context, scale, left, top), which draws what lies above. `view` says where.
 */
export function createScreen(room, core, view) {
  const [picture, hatch, above] = ["picture", "hatch", "above"].map((name) => {
    const canvas = document.createElement("canvas");
    canvas.className = `wb-canvas-${name}`;
    canvas.setAttribute("aria-hidden", "true");
    room.append(canvas);
    return canvas.getContext("2d");
  });
  const pixels = createCache(core.composite, core.size);
  const mask = createCache((box) => asAlpha(readBox(core.mask(), 1, box)), core.size);
  const outlines = new Map(); // key of a tile -> {tile, above, left, path, edges}
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  let ratio = 1;
  let everything = true;
  let dirty = null; // document px
  let queued = 0;
  let phase = 0;
  let patterns = makePatterns();

  function resize() {
    ratio = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(room.clientWidth * ratio), Math.round(room.clientHeight * ratio)];
    for (const { canvas } of [picture, hatch, above]) {
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    }
    patterns = makePatterns();
    everything = true;
    later();
  }

  function makePatterns() {
    const made = (side, draw) => {
      const canvas = document.createElement("canvas");
      canvas.width = canvas.height = Math.max(2, Math.round(side * ratio));
      const context = canvas.getContext("2d");
      draw(context, canvas.width);
      return picture.createPattern(canvas, "repeat");
    };
    const stripe = (context, side, color, share) => {
      context.fillStyle = color;
      for (const shift of [-side, 0, side]) {
        context.beginPath();
        context.moveTo(shift, side);
        context.lineTo(shift + side, 0);
        context.lineTo(shift + side + side * share, 0);
        context.lineTo(shift + side * share, side);
        context.fill();
      }
    };
    return {
      chequer: made(2 * CHEQUER, (context, side) => {
        context.fillStyle = "#b5b5b5";
        context.fillRect(0, 0, side, side);
        context.fillStyle = "#8a8a8a";
        context.fillRect(0, 0, side / 2, side / 2);
        context.fillRect(side / 2, side / 2, side / 2, side / 2);
      }),
      hatch: made(12, (context, side) => {
        context.fillStyle = "rgb(26 26 26 / 0.28)";
        context.fillRect(0, 0, side, side);
        stripe(context, side, "rgb(255 255 255 / 0.42)", 0.2);
      }),
    };
  }

  const place = () => ({ scale: view.zoom * ratio, left: Math.round(view.left * ratio), top: Math.round(view.top * ratio) });

  function later() {
    if (!queued) queued = requestAnimationFrame(draw);
  }

  /** Draws what has changed since the last time. */
  function draw() {
    if (queued) cancelAnimationFrame(queued);
    queued = 0;
    const { width, height } = core.size();
    if (!width || !picture.canvas.width) {
      for (const context of [picture, hatch, above]) context.clearRect(0, 0, context.canvas.width, context.canvas.height);
      return;
    }
    if (everything || dirty) {
      const part = everything ? null : dirty;
      everything = false;
      dirty = null;
      drawPart(part);
    }
    drawAbove();
  }

  function drawPart(part) {
    const { scale, left, top } = place();
    const { width, height } = core.size();
    const seen = overlap({ x: Math.floor(-left / scale), y: Math.floor(-top / scale), width: Math.ceil(picture.canvas.width / scale) + 2, height: Math.ceil(picture.canvas.height / scale) + 2 }, { x: 0, y: 0, width, height });
    const room = { x: 0, y: 0, width: picture.canvas.width, height: picture.canvas.height };
    let clip = room;
    if (part) {
      const pad = 1 + Math.ceil(scale); // what smoothing mixes in from beside
      const x = Math.floor(left + part.x * scale) - pad;
      const y = Math.floor(top + part.y * scale) - pad;
      clip = overlap(room, { x, y, width: Math.ceil(part.width * scale) + 2 * pad + 1, height: Math.ceil(part.height * scale) + 2 * pad + 1 });
      if (!clip) return;
    }
    for (const context of [picture, hatch]) {
      context.save();
      context.beginPath();
      context.rect(clip.x, clip.y, clip.width, clip.height);
      context.clip();
      context.clearRect(clip.x, clip.y, clip.width, clip.height);
    }
    if (seen) {
      const box = { x: Math.floor((clip.x - left) / scale) - 1, y: Math.floor((clip.y - top) / scale) - 1, width: Math.ceil(clip.width / scale) + 3, height: Math.ceil(clip.height / scale) + 3 };
      picture.fillStyle = patterns.chequer;
      const [x1, y1] = [Math.round(left + width * scale), Math.round(top + height * scale)];
      picture.fillRect(left, top, x1 - left, y1 - top);
      pixels.draw(picture, overlap(box, seen) ?? seen, scale, left, top);
      if (core.look() === "hatch" && core.mask().size) {
        mask.draw(hatch, overlap(box, seen) ?? seen, scale, left, top);
        hatch.globalCompositeOperation = "source-in";
        hatch.fillStyle = patterns.hatch;
        hatch.fillRect(clip.x, clip.y, clip.width, clip.height);
      }
    }
    picture.restore();
    hatch.restore();
  }

  function drawAbove() {
    const { scale, left, top } = place();
    above.setTransform(1, 0, 0, 1, 0, 0);
    above.clearRect(0, 0, above.canvas.width, above.canvas.height);
    if (core.look() !== "none") drawAnts(scale, left, top);
    above.setTransform(1, 0, 0, 1, 0, 0);
    core.decorate(above, { scale, left, top, ratio });
  }

  function drawAnts(scale, left, top) {
    const tiles = core.mask();
    if (!tiles.size) return;
    const { width, height } = core.size();
    above.setTransform(scale, 0, 0, scale, left, top);
    above.lineWidth = (ANTS.width * ratio) / scale;
    const dash = (ANTS.dash * ratio) / scale;
    above.lineDashOffset = (-phase * ratio) / scale;
    const seen = { x: -left / scale, y: -top / scale, width: above.canvas.width / scale, height: above.canvas.height / scale };
    let edges = 0;
    for (const key of bordering(tiles, width, height)) {
      const [col, row] = placeOf(key);
      if (!overlap(seen, { x: col * TILE, y: row * TILE, width: TILE, height: TILE })) continue;
      const outline = outlineFor(tiles, key, col, row, width, height);
      edges += outline.edges;
      if (edges > MOST_EDGES) break;
      if (!outline.edges) continue;
      for (const [color, dashes] of [["#000", []], ["#fff", [dash, dash]]]) {
        above.strokeStyle = color;
        above.setLineDash(dashes);
        above.stroke(outline.path);
      }
    }
    above.setLineDash([]);
  }

  /** Tiles that may hold an edge: those with a mask, and those right of and below them. */
  function bordering(tiles, width, height) {
    const keys = new Set();
    for (const key of tiles.keys()) {
      const [col, row] = placeOf(key);
      keys.add(key);
      if ((col + 1) * TILE < width) keys.add(keyOf(col + 1, row));
      if ((row + 1) * TILE < height) keys.add(keyOf(col, row + 1));
    }
    return keys;
  }

  function outlineFor(tiles, key, col, row, width, height) {
    const around = { tile: tiles.get(key), above: tiles.get(keyOf(col, row - 1)), left: tiles.get(keyOf(col - 1, row)) };
    const known = outlines.get(key);
    if (known && known.tile === around.tile && known.above === around.above && known.left === around.left) return known;
    const lines = outlineOf(tiles, col, row, width, height);
    const path = new Path2D();
    let edges = 0;
    for (const line of lines) {
      path.moveTo(line[0], line[1]);
      for (let k = 2; k < line.length; k += 2) path.lineTo(line[k], line[k + 1]);
      edges += line.length / 2 - 1;
    }
    const made = { ...around, path, edges };
    outlines.set(key, made);
    return made;
  }

  const timer = setInterval(() => {
    if (still.matches || core.look() === "none" || !core.mask().size || document.hidden || !room.clientWidth) return;
    phase = (phase + ANTS.step) % (2 * ANTS.dash);
    drawAbove();
  }, ANTS.every);

  const watcher = new ResizeObserver(() => {
    resize();
    view.refit();
    draw();
  });
  watcher.observe(room);
  const zoomed = () => window.devicePixelRatio !== ratio && resize();
  window.addEventListener("resize", zoomed); // also when the page is zoomed or moved to another screen

  return {
    draw,
    later,
    resize,
    /** Pixels of a box (all of them without one) are other ones now. */
    forget(box) {
      if (box) pixels.forget(box);
      else pixels.clear();
      everything ||= !box;
      dirty = around(dirty, box ?? null);
      later();
    },
    forgetMask(box) {
      if (box) mask.forget(box);
      else mask.clear();
      if (box) eachTile({ x: box.x - 1, y: box.y - 1, width: box.width + 2, height: box.height + 2 }, (col, row) => outlines.delete(keyOf(col, row)));
      else outlines.clear();
      everything ||= !box;
      dirty = around(dirty, box ?? null);
      later();
    },
    /** Everything lies elsewhere. */
    moved() {
      everything = true;
      later();
    },
    destroy() {
      clearInterval(timer);
      watcher.disconnect();
      window.removeEventListener("resize", zoomed);
      if (queued) cancelAnimationFrame(queued);
      for (const { canvas } of [picture, hatch, above]) canvas.remove();
    },
  };
}

/** Grey bytes as the alpha of black. */
function asAlpha(grey) {
  const made = new Uint8Array(grey.length * 4);
  for (let k = 0; k < grey.length; k += 1) made[k * 4 + 3] = grey[k];
  return made;
}
