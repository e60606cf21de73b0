// The Fill tab's own rules without a page: expansion, the journal, where undo leads after a reload, what is asked for.

import assert from "node:assert/strict";
import test from "node:test";

const kept = new Map();
globalThis.localStorage = {
  getItem: (key) => kept.get(key) ?? null,
  setItem: (key, value) => kept.set(key, String(value)),
  removeItem: (key) => kept.delete(key),
};
globalThis.document = { baseURI: "http://localhost/" };

const { bounded, expanded, overlapOf } = await import("../../assets/fill_expand.js");
const { createJournal } = await import("../../assets/fill_journal.js");
const { lineOf, nameOf, tilesOf } = await import("../../assets/fill_document.js");
const { requestOf, settingsOf, startOf } = await import("../../assets/fill_settings.js");
const { decodePng } = await import("../../assets/canvas_png.js");

const MODEL = { num_inference_steps: 20, guidance_scale: 5 };
const VALUES = { intent: "fill", prompt: " a tree ", negative: "", start: null, margin: null, context: null, prefill: "auto", harmonise: 0, match: true, method: "auto", steps: null, guidance: null, seed: 7, correction: "off", count: 3 };

function gradient(width, height) {
  const data = new Uint8Array(width * height * 4);
  for (let k = 0; k < data.length; k += 1) data[k] = k % 4 === 3 ? 255 : (k * 31) % 251;
  return { width, height, channels: 4, data };
}

test("a frame stays around the picture and within what a document can be", () => {
  assert.deepEqual(bounded({ x: 10.4, y: -3.6, width: 50, height: 200 }, { width: 64, height: 64 }), { x: 0, y: -4, width: 64, height: 200 });
  assert.deepEqual(bounded({ x: -9000, y: 0, width: 9064, height: 64 }, { width: 64, height: 64 }), { x: -4032, y: 0, width: 4096, height: 64 });
});

test("an expansion keeps every pixel of the picture and masks what is new with a seam's width", () => {
  const picture = gradient(40, 32);
  const box = { x: -8, y: 0, width: 58, height: 32 };
  const { source, mask, overlap } = expanded(picture, box);
  assert.equal(overlap, overlapOf(picture));
  for (let y = 0; y < 32; y += 1) {
    for (let x = 0; x < 58; x += 1) {
      const inside = x >= 8 && x < 48;
      const at = (y * 58 + x) * 4;
      const from = (y * 40 + x - 8) * 4;
      assert.deepEqual([...source.data.subarray(at, at + 4)], inside ? [...picture.data.subarray(from, from + 4)] : [0, 0, 0, 0]);
      const held = x >= 8 + overlap && x < 48 - overlap; // nothing is new above or below
      assert.equal(mask.data[y * 58 + x], held ? 0 : 255);
    }
  }
});

test("the journal gives back what was not confirmed, and the stroke in progress", () => {
  const journal = createJournal("one");
  journal.add({ id: "a", op: "stroke" }, "root");
  journal.add({ id: "b", op: "stroke" }, "a");
  journal.stroke({ id: "c", op: "stroke", points: [1, 2, 3] });
  journal.confirm("a");
  const found = createJournal("one").found();
  assert.deepEqual(found.ops, [{ op: { id: "b", op: "stroke" }, parent: "a" }]);
  assert.deepEqual(found.stroke, { id: "c", op: "stroke", points: [1, 2, 3] });
  journal.stroke(null);
  journal.confirm("b");
  assert.equal(kept.size, 0);
});

test("the journal says so when the browser has no room", () => {
  const { setItem } = globalThis.localStorage;
  let told = 0;
  globalThis.localStorage.setItem = () => {
    throw new Error("full");
  };
  createJournal("two", () => (told += 1)).add({ id: "a" }, null);
  globalThis.localStorage.setItem = setItem;
  assert.equal(told, 1);
});

test("undo and redo follow the line of the head, and of branches the newest", () => {
  const history = [
    { id: "r", parent: null, label: "New" },
    { id: "a", parent: "r", label: "A" },
    { id: "b", parent: "a", label: "B" },
    { id: "c", parent: "a", label: "C" },
    { id: "d", parent: "c", label: "D" },
  ];
  const ids = ({ past, future }) => [past.map(({ id }) => id), future.map(({ id }) => id)];
  assert.deepEqual(ids(lineOf({ head: "a", history })), [["r"], ["c", "d"]]);
  assert.deepEqual(ids(lineOf({ head: "b", history })), [["r", "a"], []]);
});

test("tiles of a picture are whole, and empty ones are left out", async () => {
  const picture = gradient(300, 20);
  picture.data.fill(0, 0, 300 * 20 * 4);
  picture.data.set([1, 2, 3, 255], (5 * 300 + 260) * 4);
  const tiles = await tilesOf(picture);
  assert.deepEqual(tiles.map(([key]) => key), ["1,0"]);
  const tile = await decodePng(tiles[0][1]);
  assert.equal(tile.width, 256);
  assert.deepEqual([...tile.data.subarray((5 * 256 + 4) * 4, (5 * 256 + 4) * 4 + 4)], [1, 2, 3, 255]);
});

test("what is asked for comes back from a kept fill", () => {
  const request = requestOf({ ...VALUES, steps: 10, margin: 40 }, MODEL, []);
  assert.deepEqual(request.painting, { prompt: "a tree", negative_prompt: "", num_inference_steps: 10, guidance_scale: 5, seed: 7 });
  assert.equal(request.margin, 40);
  const settings = settingsOf({ fill: { ...request, context: { x: 0, y: 0, width: 8, height: 8 } }, margin: 40 }, MODEL);
  for (const name of ["prefill", "harmonise", "match", "method", "margin", "context", "start", "seed"]) assert.deepEqual(settings[name], { ...VALUES, margin: 40 }[name], name);
  assert.equal(settings.steps, 10);
});

test("no words go along with a removal, and refining starts in the middle", () => {
  assert.equal(requestOf({ ...VALUES, intent: "remove" }, MODEL, []).painting.prompt, "");
  assert.equal(startOf({ ...VALUES, intent: "refine" }, 20), 10);
  assert.equal(startOf({ ...VALUES, start: 40 }, 20), 19);
});

test("a name is the first words", () => {
  assert.equal(nameOf("  a very long prompt about many things and more"), "A very long prompt about many");
  assert.equal(nameOf("  "), "Untitled");
});
