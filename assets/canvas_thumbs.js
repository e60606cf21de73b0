// Small pictures for lists: a few looked-up pixels per pixel, whatever the size of what they are of.

import { opacityByte, overRows } from "./canvas_blend.js";
import { keyOf, TILE } from "./canvas_tiles.js";

const LOOKS = 3; // pixels looked up across and down for each of the small picture

/** Draws `layers` of a document of width × height, as large as fits into `size` px, into a 2D canvas element. */
export function drawThumbnail(element, size, { width, height }, layers) {
  const scale = Math.min(1, size / Math.max(width, height));
  const across = Math.max(1, Math.round(width * scale));
  const down = Math.max(1, Math.round(height * scale));
  const wide = across * LOOKS;
  const pixels = new Uint8Array(wide * down * LOOKS * 4);
  for (const layer of layers) {
    if (layer.visible) overRows(pixels, 0, wide, looked(layer, width, height, wide, down * LOOKS), 0, wide, wide, down * LOOKS, opacityByte(layer.opacity));
  }
  Object.assign(element, { width: across, height: down });
  const image = new ImageData(across, down);
  for (let y = 0, to = 0; y < down; y += 1) {
    for (let x = 0; x < across; x += 1, to += 4) {
      const sum = [0, 0, 0, 0];
      for (let n = 0; n < LOOKS * LOOKS; n += 1) {
        const from = ((y * LOOKS + Math.floor(n / LOOKS)) * wide + x * LOOKS + (n % LOOKS)) * 4;
        const alpha = pixels[from + 3];
        for (let c = 0; c < 3; c += 1) sum[c] += pixels[from + c] * alpha;
        sum[3] += alpha;
      }
      for (let c = 0; c < 3; c += 1) image.data[to + c] = sum[3] ? sum[c] / sum[3] : 0;
      image.data[to + 3] = sum[3] / (LOOKS * LOOKS);
    }
  }
  element.getContext("2d").putImageData(image, 0, 0);
}

function looked({ x, y, tiles }, width, height, across, down) {
  const made = new Uint8Array(across * down * 4);
  for (let v = 0, to = 0; v < down; v += 1) {
    const at = Math.floor(((v + 0.5) * height) / down) - y;
    for (let u = 0; u < across; u += 1, to += 4) {
      const px = Math.floor(((u + 0.5) * width) / across) - x;
      const tile = tiles.get(keyOf(Math.floor(px / TILE), Math.floor(at / TILE)));
      if (!tile) continue;
      const from = ((((at % TILE) + TILE) % TILE) * TILE + (((px % TILE) + TILE) % TILE)) * 4;
      for (let c = 0; c < 4; c += 1) made[to + c] = tile.data[from + c];
    }
  }
  return made;
}
