// PNG without losing a bit, as far as the standard's own deflate is concerned; strangers' files end in words.

import assert from "node:assert/strict";
import test from "node:test";
import { deflateSync, inflateSync } from "node:zlib";

import { asRgba, decodePng, encodePng } from "../../assets/canvas_png.js";

const noise = (length, seed) => Uint8Array.from({ length }, (_, k) => ((k + 1) * 2654435761 * seed) >>> 13);

function pictures() {
  const made = [];
  for (const channels of [1, 3, 4]) {
    for (const [width, height] of [[1, 1], [1, 7], [13, 1], [17, 9], [256, 256]]) made.push({ width, height, channels, data: noise(width * height * channels, channels + width) });
    const slope = new Uint8Array(64 * 48 * channels).map((_, k) => Math.floor(k / channels) % 64);
    made.push({ width: 64, height: 48, channels, data: slope });
  }
  return made;
}

test("a picture comes back to the byte, also where alpha is 0", async () => {
  for (const picture of pictures()) assert.deepEqual(await decodePng(await encodePng(picture)), picture);
});

test("smooth pictures become smaller than their noise", async () => {
  const smooth = { width: 256, height: 256, channels: 4, data: new Uint8Array(256 * 256 * 4).map((_, k) => (k % 4 === 3 ? 255 : (k >> 2) & 255)) };
  assert.ok((await encodePng(smooth)).length < 4000);
});

/** A PNG of given rows, each led by the number of its filter, packed by Node's own zlib. */
function fileOf(width, height, channels, rows, change = {}) {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([change.depth ?? 8, change.type ?? { 1: 0, 3: 2, 4: 6 }[channels], 0, 0, change.interlace ?? 0], 8);
  const packed = deflateSync(Buffer.from(rows));
  const half = Math.floor(packed.length / 2);
  const parts = [["IHDR", header], ["tEXt", Buffer.from("a\0b")], ["IDAT", packed.subarray(0, half)], ["IDAT", packed.subarray(half)], ["IEND", Buffer.alloc(0)]];
  return Buffer.concat([Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]), ...parts.map(([name, body]) => chunkOf(name, body))]);
}

function chunkOf(name, body) {
  const inner = Buffer.concat([Buffer.from(name, "latin1"), body]);
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(body.length);
  sum.writeUInt32BE(crc(inner));
  return Buffer.concat([length, inner, sum]);
}

function crc(bytes) {
  let value = ~0;
  for (const byte of bytes) {
    value ^= byte;
    for (let k = 0; k < 8; k += 1) value = (value >>> 1) ^ (0xedb88320 & -(value & 1));
  }
  return ~value >>> 0;
}

/** The filters as the specification writes them, applied to plain rows. */
function filterRows(data, width, height, channels, filterAt) {
  const stride = width * channels;
  const rows = [];
  const at = (x, y) => (x < 0 || y < 0 ? 0 : data[y * stride + x]);
  for (let y = 0; y < height; y += 1) {
    const filter = filterAt(y);
    rows.push(filter);
    for (let x = 0; x < stride; x += 1) {
      const [a, b, c] = [at(x - channels, y), at(x, y - 1), x < channels ? 0 : at(x - channels, y - 1)];
      const p = a + b - c;
      const paeth = Math.abs(p - a) <= Math.abs(p - b) && Math.abs(p - a) <= Math.abs(p - c) ? a : Math.abs(p - b) <= Math.abs(p - c) ? b : c;
      rows.push((data[y * stride + x] - [0, a, b, Math.floor((a + b) / 2), paeth][filter]) & 255);
    }
  }
  return rows;
}

test("all five filters and split data are read", async () => {
  for (const channels of [1, 3, 4]) {
    const [width, height] = [9, 25];
    const data = noise(width * height * channels, 7);
    const file = fileOf(width, height, channels, filterRows(data, width, height, channels, (y) => y % 5));
    assert.deepEqual((await decodePng(file)).data, data);
  }
});

test("what is written is what the specification says", async () => {
  const picture = { width: 31, height: 8, channels: 4, data: noise(31 * 8 * 4, 3) };
  const file = Buffer.from(await encodePng(picture));
  let at = 8;
  const names = [];
  while (at < file.length) {
    const length = file.readUInt32BE(at);
    const inner = file.subarray(at + 4, at + 8 + length);
    assert.equal(file.readUInt32BE(at + 8 + length), crc(inner));
    names.push(inner.subarray(0, 4).toString("latin1"));
    if (names.at(-1) === "IDAT") assert.equal(inflateSync(inner.subarray(4)).length, (31 * 4 + 1) * 8);
    at += length + 12;
  }
  assert.deepEqual(names, ["IHDR", "IDAT", "IEND"]);
});

test("strangers' files end in words", async () => {
  const good = fileOf(2, 2, 4, filterRows(noise(16, 5), 2, 2, 4, () => 0));
  const flipped = Buffer.from(good);
  flipped[45] ^= 1;
  const cases = [
    [Buffer.alloc(0), /not a PNG/],
    [Buffer.from("GIF89a, and then more than thirty bytes of it"), /not a PNG/],
    [good.subarray(0, good.length - 12), /ends early/],
    [good.subarray(0, 60), /ends early/],
    [flipped, /damaged/],
    [fileOf(2, 2, 4, [0, 1, 2]), /ends early/],
    [fileOf(2, 2, 4, new Uint8Array(1 << 20)), /more than its header says/],
    [fileOf(2, 2, 4, filterRows(noise(16, 5), 2, 2, 4, () => 0).map((value, k) => (k === 0 ? 9 : value))), /damaged/],
    [fileOf(2, 2, 4, [0], { depth: 16 }), /not plain/],
    [fileOf(2, 2, 4, [0], { type: 3 }), /not plain/],
    [fileOf(2, 2, 4, [0], { interlace: 1 }), /not plain/],
    [fileOf(30_000, 30_000, 4, [0]), /30000 × 30000/],
    [fileOf(0, 5, 4, [0]), /0 × 5/],
  ];
  for (const [file, words] of cases) await assert.rejects(decodePng(file), words);
});

test("grey and colour become opaque", () => {
  assert.deepEqual([...asRgba({ width: 2, height: 1, channels: 1, data: Uint8Array.of(7, 9) }).data], [7, 7, 7, 255, 9, 9, 9, 255]);
  assert.deepEqual([...asRgba({ width: 1, height: 1, channels: 3, data: Uint8Array.of(1, 2, 3) }).data], [1, 2, 3, 255]);
});
