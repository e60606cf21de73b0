// Pixels made ready for the screen: small 2D canvases of 256 px at full, half, quarter … size, made when they come into
// view, and only as much of each renewed as has changed. Small ones, because a browser copies a canvas that was just
// drawn from before it lets it be written.

import { around, eachTile, overlap, TILE } from "./canvas_tiles.js";

const MOST = 300; // canvases kept, 256 KB each: more than any screen shows of 4096 px

/** `read(box)` answers RGBA bytes of a box of document px; boxes lie inside of `size()`, {width, height}. */
export function createCache(read, size) {
  const pieces = new Map(); // "level:col,row" -> {canvas, context, box, dirty}

  function pieceOf(level, col, row) {
    const key = `${level}:${col},${row}`;
    let piece = pieces.get(key);
    if (piece) pieces.delete(key); // to the young end
    else {
      const side = TILE << level;
      const box = overlap({ x: col * side, y: row * side, width: side, height: side }, { x: 0, y: 0, ...size() });
      if (!box) return null;
      const canvas = document.createElement("canvas");
      canvas.width = Math.ceil(box.width / 2 ** level);
      canvas.height = Math.ceil(box.height / 2 ** level);
      piece = { canvas, context: canvas.getContext("2d"), box, dirty: box };
    }
    pieces.set(key, piece);
    return piece;
  }

  function renew(piece, level) {
    const step = 1 << level;
    const { box } = piece;
    const from = { x: Math.floor(piece.dirty.x / step) * step, y: Math.floor(piece.dirty.y / step) * step };
    const part = overlap({ ...from, width: piece.dirty.x + piece.dirty.width - from.x + step, height: piece.dirty.y + piece.dirty.height - from.y + step }, box);
    piece.dirty = null;
    eachTile(part, (_col, _row, small) => {
      const aligned = overlap({ x: Math.floor(small.x / step) * step, y: Math.floor(small.y / step) * step, width: small.width + step, height: small.height + step }, part);
      const pixels = smaller(read(aligned), aligned.width, aligned.height, level);
      const image = new ImageData(new Uint8ClampedArray(pixels.data.buffer), pixels.width, pixels.height);
      piece.context.putImageData(image, (aligned.x - box.x) / step, (aligned.y - box.y) / step);
    });
  }

  return {
    /** Draws what lies in `box` (document px) into a 2D context on which one document px is `scale` px, from (left, top) on. */
    draw(context, box, scale, left, top) {
      const level = Math.min(4, Math.max(0, Math.floor(Math.log2(1 / scale))));
      const side = TILE << level;
      context.imageSmoothingEnabled = scale < 2 && scale !== 1;
      const inside = overlap(box, { x: 0, y: 0, ...size() });
      if (!inside) return;
      for (let row = Math.floor(inside.y / side); row * side < inside.y + inside.height; row += 1) {
        for (let col = Math.floor(inside.x / side); col * side < inside.x + inside.width; col += 1) {
          const piece = pieceOf(level, col, row);
          if (!piece) continue;
          if (piece.dirty) renew(piece, level);
          const x0 = Math.round(left + piece.box.x * scale);
          const y0 = Math.round(top + piece.box.y * scale);
          const x1 = Math.round(left + (piece.box.x + piece.box.width) * scale);
          const y1 = Math.round(top + (piece.box.y + piece.box.height) * scale);
          context.drawImage(piece.canvas, x0, y0, Math.max(1, x1 - x0), Math.max(1, y1 - y0));
        }
      }
      for (const key of pieces.keys()) {
        if (pieces.size <= MOST) break;
        pieces.delete(key);
      }
    },
    /** What lies in `box` has changed. */
    forget(box) {
      for (const piece of pieces.values()) {
        const part = overlap(piece.box, box);
        if (part) piece.dirty = around(piece.dirty, part);
      }
    },
    clear: () => pieces.clear(),
    get count() {
      return pieces.size;
    },
  };
}

/** RGBA bytes at 1 / 2^level of their size: means of squares, weighed by alpha. Answers {width, height, data}. */
export function smaller(data, width, height, level) {
  if (!level) return { width, height, data };
  const step = 1 << level;
  const [across, down] = [Math.ceil(width / step), Math.ceil(height / step)];
  const made = new Uint8Array(across * down * 4);
  for (let y = 0, to = 0; y < down; y += 1) {
    const bottom = Math.min(height, (y + 1) * step);
    for (let x = 0; x < across; x += 1, to += 4) {
      const right = Math.min(width, (x + 1) * step);
      let [red, green, blue, alpha, count] = [0, 0, 0, 0, 0];
      for (let v = y * step; v < bottom; v += 1) {
        for (let u = x * step, from = (v * width + u) * 4; u < right; u += 1, from += 4) {
          const a = data[from + 3];
          red += data[from] * a;
          green += data[from + 1] * a;
          blue += data[from + 2] * a;
          alpha += a;
          count += 1;
        }
      }
      if (!alpha) continue;
      made[to] = red / alpha + 0.5;
      made[to + 1] = green / alpha + 0.5;
      made[to + 2] = blue / alpha + 0.5;
      made[to + 3] = alpha / count + 0.5;
    }
  }
  return { width: across, height: down, data: made };
}
