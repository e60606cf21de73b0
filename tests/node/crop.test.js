// The crop: where its frame goes under a hand and under keys, and what becomes of layers and masks.

import assert from "node:assert/strict";
import test from "node:test";

import { compositeBox } from "../../assets/canvas_blend.js";
import { createCrop, draggedTo, HANDLES, largestIn, RATIO_NAMES } from "../../assets/canvas_crop.js";
import { apply, blankState, LARGEST } from "../../assets/canvas_ops.js";
import { readBox, tilesOf } from "../../assets/canvas_tiles.js";

const box = (x, y, width, height) => ({ x, y, width, height });

/** A crop of a document, and the frames that it told of. */
function begun(width = 400, height = 300, zoom = 1) {
  const told = [];
  const size = { width, height };
  const crop = createCrop({ size: () => size, view: { zoom }, above: () => {}, emit: (name, detail) => told.push(detail.box) });
  crop.begin();
  return { crop, told, size };
}

/** Pixels that differ everywhere, as a layer at (x, y). */
function noisy(width, height, x = 0, y = 0) {
  const data = Uint8Array.from({ length: width * height * 4 }, (_, k) => (k % 4 === 3 ? 255 : (k * 7919) >> 5));
  return { id: "L", name: "L", kind: "paint", x, y, visible: true, opacity: 100, tiles: tilesOf({ width, height, channels: 4, data }), facts: null };
}

const pixels = (state, part = box(0, 0, state.width, state.height)) => Buffer.from(compositeBox(state, part));
const crop = (state, x, y, width, height) => apply(state, { op: "crop", x, y, width, height });

test("a handle moves its own sides and no other", () => {
  const start = box(100, 100, 200, 100);
  const wanted = { nw: box(90, 80, 210, 120), n: box(100, 80, 200, 120), ne: box(100, 80, 190, 120), e: box(100, 100, 190, 100), se: box(100, 100, 190, 110), s: box(100, 100, 200, 110), sw: box(90, 100, 210, 110), w: box(90, 100, 210, 100) };
  for (const { name } of HANDLES) {
    const [x, y] = [name.includes("w") ? 90 : 290, name.includes("n") ? 80 : 210];
    assert.deepEqual(draggedTo(start, name, x, y), wanted[name], name);
  }
});

test("no handle makes a frame that is empty or larger than a document", () => {
  const start = box(100, 100, 200, 100);
  for (const ratio of [null, 1, 16 / 9, 2 / 3]) {
    for (const { name } of HANDLES) {
      for (const [x, y] of [[-90_000, -90_000], [90_000, 90_000], [-90_000, 90_000], [200, 150], [100, 100], [300, 200]]) {
        const { width, height } = draggedTo(start, name, x, y, ratio);
        for (const side of [width, height]) assert.ok(Number.isInteger(side) && side >= 1 && side <= LARGEST, `${name} to ${x}, ${y} at ${ratio}: ${width} × ${height}`);
      }
    }
  }
});

test("a ratio is held to the pixel, and what is opposite stays", () => {
  for (const ratio of [1, 4 / 3, 3 / 4, 16 / 9]) {
    for (const { name, at } of HANDLES) {
      const start = largestIn(box(40, 60, 800, 500), ratio);
      const made = draggedTo(start, name, start.x + start.width * at[0] + 37, start.y + start.height * at[1] + 21, ratio);
      assert.ok(Math.abs(made.width - made.height * ratio) <= Math.max(1, ratio), `${name}: ${made.width} × ${made.height}, not ${ratio}`);
      if (at[0] === 0) assert.equal(made.x + made.width, start.x + start.width, name);
      if (at[0] === 1) assert.equal(made.x, start.x, name);
      if (at[1] === 0) assert.equal(made.y + made.height, start.y + start.height, name);
      if (at[1] === 1) assert.equal(made.y, start.y, name);
    }
  }
});

test("a frame with a ratio stays in the picture as long as the hand does", () => {
  const room = box(0, 0, 400, 300);
  for (const { name } of HANDLES) {
    for (const [x, y] of [[0, 0], [400, 300], [400, 0], [0, 300], [399, 150]]) {
      const made = draggedTo(box(150, 100, 60, 60), name, x, y, 1, { room });
      assert.ok(made.x >= 0 && made.y >= 0 && made.x + made.width <= 400 && made.y + made.height <= 300, `${name} to ${x}, ${y}: ${JSON.stringify(made)}`);
    }
  }
});

test("the frame begins as the picture, and every ratio is the largest of its kind in it", () => {
  const { crop: frame } = begun(400, 300);
  assert.deepEqual(frame.box, box(0, 0, 400, 300));
  assert.equal(frame.changes, false);
  const wanted = { free: [400, 300], "1:1": [300, 300], "4:3": [400, 300], "3:2": [400, 267], "16:9": [400, 225], original: [400, 300] };
  for (const name of RATIO_NAMES) {
    frame.begin();
    frame.setRatio(name);
    assert.deepEqual([frame.box.width, frame.box.height], wanted[name], name);
  }
  const upright = begun(300, 400).crop;
  upright.setRatio("4:3");
  assert.deepEqual(upright.box, box(0, 0, 300, 400)); // it stands as the picture does
  upright.turn();
  assert.deepEqual(upright.box, box(0, 88, 300, 225));
});

test("a hand draws a frame, moves it, and is helped to the picture's edge", () => {
  const { crop: frame } = begun();
  const drawn = frame.grab(100, 50);
  drawn.to(220, 150);
  assert.deepEqual(frame.box, box(100, 50, 120, 100));
  drawn.to(60, 20);
  assert.deepEqual(frame.box, box(60, 20, 40, 30));
  drawn.to(396, 296);
  assert.deepEqual(frame.box, box(100, 50, 300, 250)); // at the edge, not 4 px before it
  frame.dragFrame("nw", 200, 100, true);
  frame.dragFrame("se", 300, 200, true);
  assert.deepEqual(frame.box, box(200, 100, 100, 100));
  const moved = frame.grab(250, 150);
  moved.to(260, 155);
  assert.deepEqual(frame.box, box(210, 105, 100, 100));
  moved.to(348, 253);
  assert.deepEqual(frame.box, box(300, 200, 100, 100));
  moved.back();
  assert.deepEqual(frame.box, box(200, 100, 100, 100));
});

test("the frame always holds a part of the picture, and no drag that would end beside it counts", () => {
  const { crop: frame } = begun();
  frame.setSize({ width: 50, height: 50 });
  const before = frame.box;
  frame.grab(before.x + 10, before.y + 10).to(-900, 0);
  assert.deepEqual(frame.box, before);
  frame.grab(500, 400).to(600, 500);
  assert.deepEqual(frame.box, before);
});

test("arrows move the active handle by whole pixels, with a ratio along their own way", () => {
  const { crop: frame } = begun();
  frame.setSize({ width: 100, height: 80 });
  assert.deepEqual(frame.box, box(150, 110, 100, 80));
  frame.nudge(-3, 0);
  frame.nudge(0, 10);
  assert.deepEqual(frame.box, box(147, 120, 100, 80));
  frame.active = "nw";
  frame.nudge(1, 0);
  frame.nudge(0, -2);
  assert.deepEqual(frame.box, box(148, 118, 99, 82));
  frame.active = "e";
  frame.nudge(0, 5);
  assert.deepEqual(frame.box, box(148, 118, 99, 82));
  frame.setRatio("1:1");
  assert.deepEqual([frame.box.width, frame.box.height], [82, 82]);
  frame.active = "se";
  const { x, y } = frame.box;
  frame.nudge(-1, 0);
  assert.deepEqual(frame.box, box(x, y, 81, 81));
  frame.nudge(0, -1);
  assert.deepEqual(frame.box, box(x, y, 80, 80));
  assert.match(frame.words("se"), /^\d+, \d+; 80 × 80 px$/);
});

test("typed sizes are kept to what a document can be", () => {
  const { crop: frame } = begun();
  for (const [typed, wanted] of [[0, 1], [-5, 1], [70_000, LARGEST], [12.6, 13]]) {
    frame.setSize({ width: typed });
    assert.equal(frame.box.width, wanted);
  }
  frame.begin();
  frame.setRatio("16:9");
  frame.setSize({ height: 90 });
  assert.deepEqual([frame.box.width, frame.box.height], [160, 90]);
});

test("what a crop shows is what was there, and layers keep what lies beyond it", () => {
  const state = { ...blankState(600, 500, "L"), layers: [noisy(600, 500), { ...noisy(300, 90, -40, 30), id: "M", opacity: 60 }], active: "L" };
  const made = crop(state, 113, 57, 301, 222);
  assert.deepEqual([made.width, made.height], [301, 222]);
  assert.deepEqual(pixels(made), pixels(state, box(113, 57, 301, 222)));
  const back = crop(made, -113, -57, 600, 500);
  assert.deepEqual(pixels(back), pixels(state));
  for (const [k, layer] of made.layers.entries()) assert.equal(layer.tiles, state.layers[k].tiles); // nothing was copied
});

test("a frame beyond the picture makes it larger, transparent where nothing is", () => {
  const state = { ...blankState(60, 40, "L"), layers: [noisy(60, 40)], active: "L" };
  const made = crop(state, -10, -5, 80, 50);
  assert.deepEqual(pixels(made, box(10, 5, 60, 40)), pixels(state));
  assert.ok(pixels(made, box(0, 0, 80, 5)).every((value) => value === 0));
});

test("the mask and kept masks move along and are cut", () => {
  const data = Uint8Array.from({ length: 600 * 500 }, (_, k) => (k * 31) >> 4);
  const tiles = tilesOf({ width: 600, height: 500, channels: 1, data });
  const state = { ...blankState(600, 500, "L"), mask: { tiles, grow: 3, feather: 2 }, masks: [{ id: "m", name: "Sky", tiles }] };
  const made = crop(state, 50, 270, 400, 200);
  const wanted = Buffer.from(readBox(tiles, 1, box(50, 270, 400, 200)));
  for (const mask of [made.mask, made.masks[0]]) {
    assert.deepEqual(Buffer.from(readBox(mask.tiles, 1, box(0, 0, 400, 200))), wanted);
    assert.ok(readBox(mask.tiles, 1, box(400, 0, 112, 200)).every((value) => value === 0));
  }
  assert.deepEqual([made.mask.grow, made.mask.feather, made.masks[0].name], [3, 2, "Sky"]);
});

test("a fill that is cropped is done again where it lies", () => {
  const facts = { fill: { prompt: "a pond" }, run: "r", frame: box(100, 50, 64, 64), drawn: true, margin: null, mask: "m" };
  const state = { ...blankState(300, 300, "L"), layers: [{ ...noisy(64, 64, 100, 50), kind: "fill", facts }], active: "L" };
  const made = crop(state, 20, 30, 200, 200).layers[0].facts;
  assert.deepEqual([made.frame, made.mask, made.drawn], [box(80, 20, 64, 64), null, false]);
  assert.deepEqual(made.fill, facts.fill);
});

test("crops one after another keep every layer within what can be stored", () => {
  let state = { ...blankState(4096, 4096, "L"), layers: [noisy(64, 64), { ...noisy(64, 64, 4000, 4000), id: "M" }], active: "L" };
  for (let k = 0; k < 6; k += 1) state = crop(state, 4000, 4000, 4096, 4096);
  for (const { x, y, tiles } of state.layers) {
    assert.ok(Math.abs(x) <= 16_384 && Math.abs(y) <= 16_384, `${x}, ${y}`);
    for (const key of tiles.keys()) assert.ok(key.split(",").every((place) => Math.abs(Number(place)) < 128), key);
  }
});

test("nothing and too much are refused", () => {
  const state = blankState(100, 100, "L");
  for (const [width, height] of [[0, 10], [10, -1], [4097, 10], [10.5, 10]]) assert.throws(() => crop(state, 0, 0, width, height), /1 to 4096 px/);
});
