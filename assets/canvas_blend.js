// "Over" on plain 8-bit RGBA, not premultiplied, in whole numbers only, so that the server computes the same bytes:
//
//   O = round(opacity * 255 / 100)          opacity of the layer, 0 to 100
//   a = (A_src * O + 127) // 255
//   W = a * 255 + A_dst * (255 - a)
//   A_out = (W + 127) // 255
//   C_out = (C_src * a * 255 + C_dst * A_dst * (255 - a) + W // 2) // W, and 0 where W is 0
//
// A quotient of two whole numbers below 2^31 is never rounded up to the next one by a double, so storing it as a byte is
// `//`. Below 65535, x // 255 is (x + 1 + (x >> 8)) >> 8, which is quicker.

import { eachTile, keyOf, overlap, TILE } from "./canvas_tiles.js";

export const opacityByte = (opacity) => Math.floor((opacity * 255) / 100 + 0.5);

/** x // 255 for whole x from 0 to 65534. */
export const by255 = (x) => (x + 1 + (x >> 8)) >> 8;

/** Lays `source` rows over `target` rows, both RGBA, in place. Offsets are in bytes, strides in pixels. */
export function overRows(target, targetStart, targetStride, source, sourceStart, sourceStride, width, height, opacity) {
  for (let y = 0; y < height; y += 1) {
    let t = targetStart + y * targetStride * 4;
    let s = sourceStart + y * sourceStride * 4;
    for (const end = t + width * 4; t < end; t += 4, s += 4) {
      const alpha = source[s + 3];
      if (alpha) overPixel(target, t, source[s], source[s + 1], source[s + 2], by255(alpha * opacity + 127));
      else if (!target[t + 3]) target[t] = target[t + 1] = target[t + 2] = 0; // W is 0
    }
  }
}

/** Lays one colour with alpha `a` over the pixel at byte `t` of `target`. */
export function overPixel(target, t, red, green, blue, a) {
  const under = target[t + 3];
  if (a === 255 || (under === 0 && a)) {
    target[t] = red;
    target[t + 1] = green;
    target[t + 2] = blue;
    target[t + 3] = a;
  } else if (under === 255) {
    const rest = 255 - a; // W is 255 * 255, and a factor of 255 goes out of the quotient
    target[t] = by255(red * a + target[t] * rest + 127);
    target[t + 1] = by255(green * a + target[t + 1] * rest + 127);
    target[t + 2] = by255(blue * a + target[t + 2] * rest + 127);
  } else {
    const over = a * 255;
    const below = under * (255 - a);
    const weight = over + below;
    const half = weight >> 1;
    target[t] = weight && (red * over + target[t] * below + half) / weight;
    target[t + 1] = weight && (green * over + target[t + 1] * below + half) / weight;
    target[t + 2] = weight && (blue * over + target[t + 2] * below + half) / weight;
    target[t + 3] = by255(weight + 127);
  }
}

/** A value moved towards another by the share a / 255; to 0, that is how paint and masks are taken away. */
export const towards = (value, aim, a) => by255(value * (255 - a) + aim * a + 127);

/** One layer laid over RGBA pixels of `box`, which is in document px. */
export function overLayer(pixels, box, { x, y, opacity, tiles }) {
  const strength = opacityByte(opacity);
  if (!strength) return;
  const local = { x: box.x - x, y: box.y - y, width: box.width, height: box.height };
  eachTile(local, (col, row, part) => {
    const tile = tiles.get(keyOf(col, row));
    if (!tile) return;
    const to = ((part.y - local.y) * box.width + part.x - local.x) * 4;
    const from = ((part.y - row * TILE) * TILE + part.x - col * TILE) * 4;
    overRows(pixels, to, box.width, tile.data, from, TILE, part.width, part.height, strength);
  });
}

/**
 * The visible layers of a state inside of `box`, as RGBA bytes. Of the `extra` layers, one with `instead` takes the place and
 * the opacity of the layer of that id; without such a layer, they lie on top.
 */
export function compositeBox(state, box, { without = [], extra = [] } = {}) {
  const pixels = new Uint8Array(box.width * box.height * 4);
  const inside = overlap(box, { x: 0, y: 0, width: state.width, height: state.height });
  if (!inside) return pixels;
  for (const layer of state.layers) {
    const other = extra.find(({ instead }) => instead === layer.id);
    if (other) overLayer(pixels, box, { ...other, opacity: layer.opacity });
    else if (layer.visible && !without.includes(layer.id)) overLayer(pixels, box, layer);
  }
  for (const layer of extra) if (!state.layers.some(({ id }) => id === layer.instead)) overLayer(pixels, box, layer);
  return pixels;
}
