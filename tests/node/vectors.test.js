// The page and the server compute the same bytes: both are held to the cases in tests/data.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import { compositeBox, opacityByte, overRows } from "../../assets/canvas_blend.js";
import { alikeTo, place } from "../../assets/canvas_colour.js";
import { contextAround } from "../../assets/canvas_context.js";
import { effective, extentOf } from "../../assets/canvas_mask.js";
import { effectiveTiles } from "../../assets/canvas_mask_tiles.js";
import { apply, blankState } from "../../assets/canvas_ops.js";
import { Draft, readBox, tilesOf } from "../../assets/canvas_tiles.js";

const cases = (name) => JSON.parse(readFileSync(new URL(`../data/${name}.json`, import.meta.url), "utf8"));

test("a pixel over a pixel is the server's to the bit", () => {
  const { over } = cases("compositing");
  assert.ok(over.length > 100);
  for (const [opacity, bottom, top, result] of over) {
    const target = Uint8Array.from(bottom);
    overRows(target, 0, 1, Uint8Array.from(top), 0, 1, 1, 1, opacityByte(opacity));
    assert.deepEqual([...target], result, `${opacity} % of ${top} over ${bottom}`);
  }
});

test("a stack of layers is the server's to the bit", () => {
  const { flatten } = cases("compositing");
  assert.ok(flatten.length > 1);
  for (const { width, height, layers, flat } of flatten) {
    const state = {
      width,
      height,
      layers: layers.map((layer, id) => ({ ...layer, id, tiles: tilesOf({ ...layer, channels: 4, data: Uint8Array.from(layer.pixels) }) })),
    };
    assert.deepEqual([...compositeBox(state, { x: 0, y: 0, width, height })], flat);
  }
});

test("a mask grows, shrinks and fades as on the server, to the bit", () => {
  const { cases: masks } = cases("masks");
  assert.ok(masks.length > 50);
  for (const { kind, width, height, mask, grow, feather, effective: wanted, bounds, area } of masks) {
    const data = Uint8Array.from(mask);
    const made = effective(data, width, height, grow, feather);
    assert.deepEqual([...made], wanted, `${kind}, grown by ${grow}, feathered by ${feather}`);
    assert.deepEqual(extentOf(made, width, height), { count: area, bounds });
  }
});

test("a mask of tiles acts as the same mask in one piece", () => {
  for (const { kind, width, height, mask, grow, feather, effective: wanted, bounds, area } of cases("masks").cases) {
    const tiles = tilesOf({ width, height, channels: 1, data: Uint8Array.from(mask) });
    const made = effectiveTiles({ tiles, grow, feather }, width, height);
    assert.deepEqual([...readBox(made.tiles, 1, { x: 0, y: 0, width, height })], wanted, `${kind}, ${grow}, ${feather}`);
    assert.deepEqual([made.count, made.bounds], [area, bounds]);
  }
});

test("colours lie where the server says", () => {
  const { colours } = cases("wand");
  assert.ok(colours.length > 100);
  for (const [red, green, blue, ...levels] of colours) {
    const found = new Int32Array(4);
    place([red, green, blue, 255], 0, found);
    assert.deepEqual([...found], [...levels, 8192], `${red}, ${green}, ${blue}`);
  }
});

test("a wand takes the pixels that the server's takes, to the bit", () => {
  const { cases: wands } = cases("wand");
  assert.ok(wands.length > 30);
  for (const { width, height, pixels, x, y, tolerance, contiguous, mask } of wands) {
    const state = { ...blankState(width, height, "L"), layers: [{ id: "L", x: 0, y: 0, visible: true, opacity: 100, tiles: tilesOf({ width, height, channels: 4, data: Uint8Array.from(pixels) }) }] };
    const settings = { mode: "add", opacity: 100, sample: "all", tolerance, contiguous };
    const { tiles } = apply(state, { op: "fill", tool: "wand", target: "mask", layer: null, settings, points: [x, y, 1, 0, 0] }).mask;
    assert.deepEqual([...readBox(tiles, 1, { x: 0, y: 0, width, height })], mask, `tolerance ${tolerance} at ${x}, ${y}, ${contiguous ? "connected" : "anywhere"}`);
  }
  assert.ok(alikeTo(new Uint8Array(8), [0, 0, 0, 255], 255).every(Boolean));
});

test("the frame that is drawn is the one that the model is shown", () => {
  const { cases: contexts } = cases("context");
  assert.ok(contexts.length > 50);
  for (const { mask, picture, best, margin, chosen, frame, working } of contexts) {
    assert.deepEqual(contextAround(mask, picture, best, { margin, chosen }), { frame, working }, JSON.stringify({ mask, picture, best, margin, chosen }));
  }
});

test("every pair of alphas and a spread of colours lie over one another as the formula says", () => {
  const target = new Uint8Array(4);
  for (let above = 0; above < 256; above += 1) {
    for (let below = 0; below < 256; below += 1) {
      for (const [opacity, source, dest] of [[100, 255, 0], [37, 13, 201], [90, above, below]]) {
        const a = Math.floor((above * opacityByte(opacity) + 127) / 255);
        const weight = a * 255 + below * (255 - a);
        const colour = weight ? Math.floor((source * a * 255 + dest * below * (255 - a) + Math.floor(weight / 2)) / weight) : 0;
        target.set([dest, dest, dest, below]);
        overRows(target, 0, 1, Uint8Array.of(source, source, source, above), 0, 1, 1, 1, opacityByte(opacity));
        if (target[0] !== colour || target[3] !== Math.floor((weight + 127) / 255)) assert.fail(`${above} over ${below} at ${opacity} %: ${[...target]}, not ${colour}`);
      }
    }
  }
});

test("a mask over many tiles acts as in one piece, also where only a part of it has changed", () => {
  const [width, height] = [900, 700];
  const blobs = (list) => {
    const data = new Uint8Array(width * height);
    for (const [x, y, r] of list) {
      for (let v = Math.max(0, y - r); v < Math.min(height, y + r); v += 1) {
        for (let u = Math.max(0, x - r); u < Math.min(width, x + r); u += 1) if ((u - x) ** 2 + (v - y) ** 2 < r * r) data[v * width + u] = 90 + ((u * 7 + v) % 166);
      }
    }
    return data;
  };
  const first = blobs([[300, 300, 260], [800, 650, 120]]);
  const second = blobs([[300, 300, 260], [800, 650, 120], [256, 256, 30], [700, 100, 40]]);
  for (const [grow, feather] of [[0, 4], [0, 60], [12, 0], [-20, 8], [200, 100], [-130, 256]]) {
    let tiles = tilesOf({ width, height, channels: 1, data: first });
    effectiveTiles({ tiles, grow, feather }, width, height);
    const draft = new Draft(tiles, 1);
    draft.writeBox({ x: 0, y: 0, width, height }, second);
    tiles = draft.finish();
    const made = effectiveTiles({ tiles, grow, feather }, width, height);
    const wanted = effective(second, width, height, grow, feather);
    assert.ok(Buffer.from(readBox(made.tiles, 1, { x: 0, y: 0, width, height })).equals(Buffer.from(wanted)), `${grow}, ${feather}`);
    assert.deepEqual({ count: made.count, bounds: made.bounds }, extentOf(wanted, width, height));
  }
});
