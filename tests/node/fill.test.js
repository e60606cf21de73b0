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
const { lineOf, localDocument, nameOf, tilesOf } = await import("../../assets/fill_document.js");
const { planOf } = await import("../../assets/fill_plan.js");
const { requestOf, resolved, settingsOf } = await import("../../assets/fill_settings.js");
const { decodePng } = await import("../../assets/canvas_png.js");

const MODEL = { num_inference_steps: 20, guidance_scale: 5 };
const suits = (share, guidance_scale, prefill, harmonise = 0) => ({ starts: Array.from({ length: 200 }, (_, k) => Math.floor(share * (k + 1))), guidance_scale, harmonise, prefill });
const USUAL = { fill: suits(0, 5, "blur"), remove: suits(0.1, 2, "inpaint", 1), refine: suits(0.5, 3.4, "none") }; // as the server says it
const VALUES = { intent: "fill", prompt: " a tree ", negative: "", start: null, margin: null, context: null, prefill: "auto", harmonise: null, match: true, method: "auto", steps: null, guidance: null, seed: 7, correction: "off", count: 3 };

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

test("an expansion is of what a frame adds, and in the document that it was laid out in, of what is masked", () => {
  const canvas = { width: 64, height: 48, mask: { info: { count: 1200 } } };
  const now = { current: { id: "here" }, box: { x: 0, y: 0, width: 64, height: 48 } };
  const labelled = (laid, state = now) => planOf(canvas, { intent: "expand", laid }, state).label;
  assert.equal(labelled("here"), "Expand 1,200 px");
  assert.equal(labelled("there"), "Drag the frame first");
  assert.equal(labelled("", { ...now, box: { x: 0, y: 0, width: 96, height: 48 } }), "Expand to 96 × 48");
  assert.equal(labelled("here", { ...now, again: { id: "layer" } }), "Run again");
  canvas.mask.info.count = 0;
  assert.equal(labelled("here"), "Drag the frame first");
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

test("the marks of a scribble are kept until they are taken or dropped", () => {
  const marks = [{ on: true, size: 9, points: [1, 2, 1, 0, 0] }];
  createJournal("three").marks(marks);
  assert.deepEqual(createJournal("three").found().marks, marks);
  createJournal("three").marks([]);
  assert.deepEqual([createJournal("three").found().marks, kept.size], [[], 0]);
});

test("a journal that is cleared leaves nothing, a stroke that was to be written later included", async () => {
  const journal = createJournal("four");
  journal.add({ id: "a", op: "stroke" }, "root");
  journal.stroke({ id: "b", points: Array.from({ length: 9000 }, () => 1000) });
  journal.stroke({ id: "b", points: Array.from({ length: 9001 }, () => 1000) }); // long: not at once
  journal.clear();
  await new Promise((later) => setTimeout(later, 200));
  assert.equal(kept.size, 0);
});

test("a step is called the same every time it is opened, and its pixels are not", async () => {
  const [one, other] = [await localDocument(gradient(20, 20), "Step 1", "Paint"), await localDocument(gradient(20, 20), "Step 2", "Paint")];
  assert.deepEqual(one.state.layers.map(({ id }) => id), other.state.layers.map(({ id }) => id)); // strokes find their layer
  const [first, second] = [one, other].map(({ state }) => Object.values(state.layers[0].tiles)[0]);
  assert.notEqual(first, second); // a canvas that knows the one must not show it for the other
  assert.ok((await other.fetchTile(second)).length > 0);
});

test("nothing is asked for that the person did not say: the server decides it", () => {
  const request = requestOf(VALUES, MODEL, []);
  assert.deepEqual(request.painting, { prompt: "a tree", negative_prompt: "", num_inference_steps: null, guidance_scale: null, seed: 7 });
  assert.deepEqual([request.start, request.harmonise, request.prefill, request.margin], [null, null, "auto", null]);
});

test("what is shown is what the server decides, unless the person said it", () => {
  assert.deepEqual(resolved({ ...VALUES, intent: "remove" }, MODEL, USUAL), { steps: 20, start: 2, guidance: 2, harmonise: 1, prefill: "inpaint" });
  assert.equal(resolved({ ...VALUES, intent: "refine", steps: 10 }, MODEL, USUAL).start, 5);
  assert.deepEqual(resolved({ ...VALUES, start: 40, guidance: 7, harmonise: 0, prefill: "edge" }, MODEL, USUAL), { steps: 20, start: 19, guidance: 7, harmonise: 0, prefill: "edge" });
});

test("what is asked for comes back from a kept fill", () => {
  const request = requestOf({ ...VALUES, steps: 10, margin: 40 }, MODEL, []);
  const painting = { ...request.painting, guidance_scale: 5 }; // as the server resolved it
  const fill = { ...request, painting, start: 0, harmonise: 0, context: { x: 0, y: 0, width: 8, height: 8 } };
  const settings = settingsOf({ fill, margin: 40 }, MODEL, USUAL);
  for (const name of ["prefill", "harmonise", "match", "method", "margin", "context", "start", "seed", "guidance"]) assert.deepEqual(settings[name], { ...VALUES, margin: 40, guidance: null }[name], name);
  assert.equal(settings.steps, 10);
  const said = settingsOf({ fill: { ...fill, start: 4, harmonise: 2, painting: { ...painting, guidance_scale: 8 } } }, MODEL, USUAL);
  assert.deepEqual([said.start, said.harmonise, said.guidance], [4, 2, 8]);
});

test("the correction of a kept fill goes along when it runs again, whether a preset has it or not", () => {
  const presets = [{ id: "off", strengths: null }, { id: "calm", strengths: { low: 0.1 } }];
  const again = (correction) => {
    const painting = { prompt: "a tree", num_inference_steps: 20, guidance_scale: 5, seed: 7, ...(correction ? { correction } : {}) };
    const settings = settingsOf({ fill: { intent: "fill", painting, start: 0, harmonise: 0, prefill: "auto", match_colour: true, method: "auto" } }, MODEL, USUAL, presets);
    return [settings.correction, requestOf({ ...VALUES, correction: "calm", ...settings }, MODEL, presets).painting.correction];
  };
  assert.deepEqual(again(null), ["off", undefined]);
  assert.deepEqual(again({ low: 0.1 }), ["calm", { low: 0.1 }]);
  assert.deepEqual(again({ low: -0.3 }), ["kept", { low: -0.3 }]);
});

test("no words go along with a removal, and no more steps are left out than there are", () => {
  assert.equal(requestOf({ ...VALUES, intent: "remove" }, MODEL, []).painting.prompt, "");
  assert.equal(requestOf({ ...VALUES, start: 40 }, MODEL, []).start, 19);
});

test("a name is the first words", () => {
  assert.equal(nameOf("  a very long prompt about many things and more"), "A very long prompt about many");
  assert.equal(nameOf("  "), "Untitled");
});

const { maskOfPainted } = await import("../../assets/fill_strokes.js");

test("what was painted becomes the mask: strokes on the picture itself, and only those since the last fill", () => {
  const stroke = (id, change = {}) => ({ id, op: { id, op: "stroke", tool: "brush", target: "paint", layer: "G", settings: { size: 9, opacity: 30 }, points: [1, 2, 1, 0, 0], ...change } });
  const canvas = (entries, layers = [{ id: "G", kind: "picture", visible: true, blank: false }]) => ({ layers, activeId: layers.at(-1).id, history: { entries: [{ id: "root", op: null }, ...entries], index: entries.length } });
  assert.equal(maskOfPainted(canvas([])), null);
  assert.equal(maskOfPainted(canvas([stroke("m", { target: "mask" }), stroke("e", { tool: "eraser" }), stroke("o", { layer: "other" })])), null);
  const [only, ...rest] = maskOfPainted(canvas([stroke("a"), { id: "f", op: { op: "group", ops: [{ op: "addLayer" }] } }, stroke("b")]));
  assert.deepEqual([only.target, only.layer, only.settings.opacity, only.settings.size, only.points, rest.length], ["mask", null, 100, 9, [1, 2, 1, 0, 0], 0]);
  assert.notEqual(only.id, "b"); // it is another change
  const undone = canvas([stroke("a"), stroke("b")]);
  undone.history.index = 1;
  assert.equal(maskOfPainted(undone).length, 1);
  const over = [{ id: "G", kind: "picture", visible: true, blank: false }, { id: "P", kind: "paint", visible: true, blank: false }];
  assert.deepEqual(maskOfPainted(canvas([], over)), [{ op: "maskLayer", layer: "P" }]); // also after a reload
  assert.equal(maskOfPainted(canvas([], [over[0], { ...over[1], visible: false }])), null);
});
