// The ants' path: every edge of the mask once, in lines as long as they can be.

import assert from "node:assert/strict";
import test from "node:test";

import { outlineOf } from "../../assets/canvas_outline.js";
import { tilesOf } from "../../assets/canvas_tiles.js";

function outlines(width, height, isIn) {
  const data = new Uint8Array(width * height).map((_, k) => (isIn(k % width, Math.floor(k / width)) ? 255 : 0));
  const tiles = tilesOf({ width, height, channels: 1, data });
  const lines = [];
  for (let row = 0; row * 256 < height; row += 1) for (let col = 0; col * 256 < width; col += 1) lines.push(...outlineOf(tiles, col, row, width, height));
  return { data, lines };
}

const lengthOf = (line) => {
  let sum = 0;
  for (let k = 2; k < line.length; k += 2) sum += Math.abs(line[k] - line[k - 2]) + Math.abs(line[k + 1] - line[k - 1]);
  return sum;
};

test("a shape inside of one tile is one closed line, whichever way its border leans", () => {
  for (const isIn of [(x, y) => x > 20 && x < 70 && y > 10 && y < 90, (x, y) => (x - 60) ** 2 + (y - 50) ** 2 < 1600, (x, y) => x + y > 40 && x + y < 120 && x - y > -50 && x - y < 30]) {
    const { lines } = outlines(130, 100, isIn);
    assert.equal(lines.length, 1);
    assert.deepEqual(lines[0].slice(0, 2), lines[0].slice(-2));
  }
});

test("every edge between in and out is there once, also at the document's border and between tiles", () => {
  const [width, height] = [300, 280];
  const isIn = (x, y) => (x * 7 + y * 13) % 11 < 3 || x > 250 || y < 4;
  const { data, lines } = outlines(width, height, isIn);
  const at = (x, y) => x >= 0 && y >= 0 && x < width && y < height && data[y * width + x] > 0;
  let edges = 0;
  for (let y = 0; y <= height; y += 1) {
    for (let x = 0; x <= width; x += 1) {
      if (x < width && at(x, y) !== at(x, y - 1)) edges += 1;
      if (y < height && at(x, y) !== at(x - 1, y)) edges += 1;
    }
  }
  assert.equal(lines.reduce((sum, line) => sum + lengthOf(line), 0), edges);
});
