// The document without a page: strokes, undo, the journal, and what travels to the server and back.

import assert from "node:assert/strict";
import test from "node:test";

import { createDocument } from "../../assets/canvas_document.js";
import { compositeBox } from "../../assets/canvas_blend.js";
import { apply, blankState } from "../../assets/canvas_ops.js";
import { readBox } from "../../assets/canvas_tiles.js";
import { decodePng } from "../../assets/canvas_png.js";
import { DEFAULTS } from "../../assets/canvas_tools.js";

function made({ server = new Map(), historyBytes, states } = {}) {
  let count = 0;
  const told = [];
  const document = createDocument({
    emit: (name, detail) => told.push([name, detail]),
    newId: () => `id${(count += 1)}`,
    fetchPixels: async (id) => server.get(id),
    fetchState: states && (async (id) => states.get(id)),
    historyBytes,
    now: () => count * 10_000,
  });
  return { document, told, newId: () => `op${(count += 1)}` };
}

const stroke = (id, points, change = {}) => ({
  id,
  op: "stroke",
  tool: "brush",
  target: "paint",
  layer: "id2",
  label: "Brush",
  settings: { ...DEFAULTS, size: 20 },
  points: points.flatMap(([x, y, pressure = 1]) => [x, y, pressure, 0, 0]),
  ...change,
});

const bytes = (state) => Buffer.from(compositeBox(state, { x: 0, y: 0, width: state.width, height: state.height })).toString("base64");

test("undo goes back to the same bytes and redo forward again, 64 deep and more", async () => {
  const { document } = made();
  document.create(300, 280);
  const seen = [bytes(document.head())];
  for (let k = 0; k < 70; k += 1) {
    document.commit(stroke(`s${k}`, [[20 + k * 3, 30], [40 + k * 3, 200]]));
    seen.push(bytes(document.head()));
  }
  assert.equal(new Set(seen).size, 71);
  for (let k = 69; k >= 0; k -= 1) {
    assert.equal(await document.history.undo(), true);
    assert.equal(bytes(document.head()), seen[k]);
  }
  assert.equal(await document.history.undo(), false);
  for (let k = 1; k <= 70; k += 1) {
    await document.history.redo();
    assert.equal(bytes(document.head()), seen[k]);
  }
});

test("a stroke shares the tiles that it did not touch", () => {
  const { document } = made();
  document.create(600, 600, { color: "#336699" });
  const before = document.head().layers[0].tiles;
  document.commit(stroke("s", [[40, 40], [60, 60]]));
  const after = document.head().layers[0].tiles;
  const other = [...after.keys()].filter((key) => after.get(key) !== before.get(key));
  assert.deepEqual(other, ["0,0"]);
});

test("a stroke outside of the picture is no change", () => {
  const { document } = made();
  document.create(100, 100);
  assert.equal(document.commit(stroke("s", [[-50, -50], [-60, -80]])), null);
  assert.equal(document.history.canUndo, false);
});

test("what the journal kept is done again to the same bytes", async () => {
  const one = made();
  one.document.create(400, 300, { color: "#dddddd" });
  const base = one.document.snapshot();
  const server = await sent(base.missing);
  const start = one.document.snapshot().state;
  const mask = { target: "mask", layer: null, label: "Mask brush" };
  one.document.commit(stroke("a", [[20, 20, 0.3], [90, 60, 0.9], [140, 200, 0.5]], { settings: { ...DEFAULTS, size: 31, hardness: 10, opacity: 63, flow: 40, pressureOpacity: true } }));
  one.document.commit(stroke("b", [[100, 100], [200, 180]], mask));
  one.document.commit(stroke("c", [[60, 60], [180, 120]], { tool: "smudge", settings: { ...DEFAULTS, size: 40, opacity: 60 } }));
  one.document.commit(stroke("d", [[210, 60], [240, 120]], { tool: "clone", source: { dx: -90, dy: -10 }, settings: { ...DEFAULTS, size: 24 } }));
  one.document.commit({ ...stroke("e", [[30, 200], [190, 120], [150, 280]]), op: "shape", tool: "lasso", target: "mask", layer: null, settings: { ...DEFAULTS, mode: "subtract" } });
  one.document.commit({ ...stroke("f", [[390, 290]]), op: "fill", tool: "fill", settings: { ...DEFAULTS, withinMask: true } });
  one.document.commit({ id: "g", op: "setOpacity", layer: "id2", opacity: 70, label: "Opacity" });
  const ops = JSON.parse(JSON.stringify(one.document.history.entries.slice(1).map((entry) => entry.op)));

  const two = made({ server });
  await two.document.load(JSON.parse(JSON.stringify(start)), async (id) => server.get(id));
  const { done, failed } = await two.document.replay(ops);
  assert.deepEqual(failed, []);
  assert.deepEqual(done, ["a", "b", "c", "d", "e", "f", "g"]);
  assert.equal(bytes(two.document.head()), bytes(one.document.head()));
  for (const [key, tile] of one.document.head().mask.tiles) assert.deepEqual(two.document.head().mask.tiles.get(key).data, tile.data);
  assert.deepEqual(two.document.history.entries.slice(1).map(({ id, label }) => [id, label]), one.document.history.entries.slice(1).map(({ id, label }) => [id, label]));
});

/** Gives tiles ids as the server does, and answers what it then has: id -> PNG. */
async function sent(missing, server = new Map()) {
  const { encodePng } = await import("../../assets/canvas_png.js");
  for (const tile of missing) {
    const id = `px${server.size}`;
    server.set(id, await encodePng({ width: 256, height: 256, channels: tile.data.length / 65536, data: tile.data }));
    tile.id = id;
  }
  return server;
}

test("an op is replayed with pixels that it names, and fails in words where its layer is gone", async () => {
  const { encodePng } = await import("../../assets/canvas_png.js");
  const picture = { width: 3, height: 2, channels: 4, data: Uint8Array.from({ length: 24 }, (_, k) => (k * 37) % 256) };
  const server = new Map([["pix", await encodePng(picture)]]);
  const { document } = made({ server });
  document.create(64, 64);
  const { done, failed } = await document.replay([
    { id: "a", op: "addLayer", label: "Added", pixels: "pix", layer: { id: "L", name: "Fill", kind: "fill", x: 5, y: 7, visible: true, opacity: 100, facts: { run: "r" } } },
    stroke("b", [[3, 3]], { layer: "gone" }),
  ]);
  assert.deepEqual(done, ["a"]);
  assert.equal(failed[0].reason, "The layer that was painted on is not there any more.");
  const [, layer] = document.head().layers;
  assert.deepEqual([layer.id, layer.x, layer.y, layer.facts], ["L", 5, 7, { run: "r" }]);
  const shown = compositeBox(document.head(), { x: 5, y: 7, width: 3, height: 2 });
  for (let k = 3; k < 24; k += 4) assert.equal(shown[k], picture.data[k]);
});

test("tiles travel once, as PNGs that hold the same bytes", async () => {
  const { document } = made();
  document.create(300, 300, { color: "#123456" });
  const parcels = [];
  const send = async (pngs) => {
    parcels.push(...pngs);
    return pngs.map((_, k) => `n${parcels.length - pngs.length + k}`);
  };
  const head = document.history.head;
  const [json, again] = await Promise.all([document.stored(head, send), document.stored(head, send)]);
  assert.deepEqual(json, again);
  assert.equal(parcels.length, 4);
  assert.deepEqual(new Set(Object.values(json.layers[0].tiles)), new Set(["n0", "n1", "n2", "n3"]));
  const first = await decodePng(parcels[0]);
  assert.deepEqual(first.data, document.head().layers[0].tiles.get("0,0").data);
  document.commit(stroke("s", [[280, 280]]));
  await document.stored("s", send);
  assert.equal(parcels.length, 5);
});

test("a document that was loaded can be undone behind its loading, state by state from the server", async () => {
  const first = made();
  first.document.create(256, 256);
  first.document.commit(stroke("s1", [[30, 30]]));
  first.document.commit(stroke("s2", [[90, 90]]));
  const server = new Map();
  const states = new Map();
  for (const { id } of first.document.history.entries) {
    await sent(first.document.snapshot(id).missing, server);
    states.set(id, JSON.parse(JSON.stringify(first.document.snapshot(id).state)));
  }
  const [base] = first.document.history.entries;
  const { document } = made({ server, states });
  await document.load(states.get("s2"), async (id) => server.get(id), { node: "s2", label: "Brush", past: [{ id: base.id, label: "New" }, { id: "s1", label: "Brush" }] });
  assert.equal(bytes(document.head()), bytes(first.document.head()));
  const both = await Promise.all([document.history.undo(), document.history.undo()]);
  assert.deepEqual(both, [true, true]);
  assert.equal(document.history.head, base.id);
  assert.equal(document.head().layers[0].tiles.size, 0);
  await document.history.redo();
  await document.history.redo();
  assert.equal(bytes(document.head()), bytes(first.document.head()));
});

test("undo is bounded by bytes: what the server keeps is fetched again, the rest is forgotten", async () => {
  const states = new Map();
  const server = new Map();
  const { document } = made({ server, states, historyBytes: 3 * 256 * 1024 });
  document.create(256, 256);
  for (let k = 0; k < 10; k += 1) {
    document.commit(stroke(`s${k}`, [[20 + 20 * k, 50]]));
    await sent(document.snapshot().missing, server);
    states.set(`s${k}`, JSON.parse(JSON.stringify(document.snapshot().state)));
    document.confirmed(`s${k}`);
  }
  const shown = bytes(document.head());
  assert.throws(() => document.snapshot("s2"), /not kept here/);
  for (let k = 0; k < 7; k += 1) assert.equal(await document.history.undo(), true);
  assert.equal(document.history.head, "s2");
  for (let k = 0; k < 7; k += 1) assert.equal(await document.history.redo(), true);
  assert.equal(bytes(document.head()), shown);
  const small = made({ historyBytes: 3 * 256 * 1024 });
  small.document.create(256, 256);
  for (let k = 0; k < 10; k += 1) small.document.commit(stroke(`s${k}`, [[20 + 20 * k, 50]]));
  assert.ok(small.document.history.entries.length < 6);
  assert.equal(small.document.history.head, "s9");
});

test("several changes in a group are one entry, and one of a slider's moves", async () => {
  let clock = 0;
  const document = createDocument({ emit: () => {}, newId: () => `n${(clock += 1)}`, now: () => clock });
  document.create(100, 80);
  const [layer] = document.head().layers;
  document.group("Expanded", () => {
    document.commit({ id: "r", op: "resize", width: 150, height: 80, dx: 0, dy: 0, label: "Size" });
    document.commit({ id: "m", op: "maskAll", label: "Mask" });
  });
  assert.deepEqual(document.history.entries.map(({ label }) => label), ["New", "Expanded"]);
  assert.equal(document.head().width, 150);
  for (const opacity of [90, 60, 30]) document.commit({ id: `o${opacity}`, op: "setOpacity", layer: layer.id, opacity, label: "Opacity" }, { joins: "opacity" });
  assert.equal(document.history.entries.length, 3);
  assert.deepEqual(document.history.entries[2].op, { id: "o90", op: "setOpacity", layer: layer.id, opacity: 30, label: "Opacity" });
  await document.history.undo();
  assert.equal(document.head().layers[0].opacity, 100);
  await document.history.undo();
  assert.equal(document.head().width, 100);
});

test("what a layer's facts say of the document moves along when the document grows or the layer is moved", () => {
  const facts = { fill: {}, frame: { x: 10, y: 20, width: 30, height: 40 } };
  let state = apply(blankState(64, 64, "L"), { op: "addLayer", layer: { id: "F", name: "Fill", kind: "fill", x: 12, y: 22, visible: true, opacity: 100, facts } });
  state = apply(state, { op: "resize", width: 80, height: 70, dx: 16, dy: 6 });
  assert.deepEqual(state.layers[1].facts.frame, { x: 26, y: 26, width: 30, height: 40 });
  state = apply(state, { op: "placeLayer", layer: "F", x: 22, y: 32 });
  assert.deepEqual([state.layers[1].facts.frame, state.layers[1].x, state.layers[0].facts], [{ x: 20, y: 30, width: 30, height: 40 }, 22, null]);
  assert.deepEqual(facts.frame, { x: 10, y: 20, width: 30, height: 40 }); // states are values
});

test("a fill that is moved is done again where it lies now, and pushes in a row are one entry that can be replayed", async () => {
  const facts = { fill: { intent: "fill" }, frame: { x: 0, y: 0, width: 30, height: 40 }, mask: "m", drawn: true };
  const layer = { id: "F", name: "Fill", kind: "fill", x: 0, y: 0, visible: true, opacity: 100, facts };
  const made = (now) => {
    let count = 0;
    const document = createDocument({ emit: () => {}, newId: () => `n${(count += 1)}`, now });
    document.create(64, 64);
    document.commit({ id: "a", op: "addLayer", layer, label: "Added" });
    return document;
  };
  const document = made(() => 0);
  for (const x of [1, 2, 3]) document.commit({ id: `p${x}`, op: "placeLayer", layer: "F", x, y: -x, label: "Moved" }, { joins: "place F" });
  assert.deepEqual(document.history.entries.map(({ label }) => label), ["New", "Added", "Moved"]);
  const moved = document.head().layers[1];
  assert.deepEqual([moved.x, moved.y, moved.facts], [3, -3, { fill: { intent: "fill" }, frame: { x: 3, y: -3, width: 30, height: 40 }, mask: null, drawn: false }]);
  const other = made(() => 0);
  await other.replay([document.history.entries.at(-1).op]);
  assert.deepEqual(other.head().layers[1], moved);
  assert.equal(apply(document.head(), { op: "placeLayer", layer: "F", x: 1e9, y: 0 }).layers[1].x, 8192);
  assert.deepEqual(apply(made(() => 0).head(), { op: "placeLayer", layer: "F", x: 0, y: 0 }).layers[1].facts, facts);
});

test("grow and feather are done again after a reload without asking for pixels", async () => {
  const asked = [];
  const document = createDocument({ emit: () => {}, newId: () => "n", fetchPixels: (id) => (asked.push(id), Promise.reject(new Error("none"))) });
  document.create(64, 64);
  const { failed } = await document.replay([{ id: "g", op: "maskGrow", pixels: 4 }, { id: "h", op: "group", ops: [{ op: "maskFeather", pixels: 7 }] }]);
  assert.deepEqual([failed, asked], [[], []]);
  assert.deepEqual([document.head().mask.grow, document.head().mask.feather], [4, 7]);
});

test("whatever a layer shows can be masked, where it lies and no farther", () => {
  const data = new Uint8Array(20 * 10 * 4);
  for (let k = 3; k < data.length; k += 4) data[k] = k < 400 ? 1 : 0; // the upper half, faintly
  let state = apply(blankState(300, 64, "L"), { op: "addLayer", layer: { id: "P", name: "Paint", kind: "paint", x: 250, y: 50, visible: true, opacity: 100, facts: null } }, () => ({ width: 20, height: 10, channels: 4, data }));
  state = apply(state, { op: "maskLayer", layer: "P" });
  const mask = readBox(state.mask.tiles, 1, { x: 0, y: 0, width: 300, height: 64 });
  const at = (x, y) => mask[y * 300 + x];
  assert.deepEqual([at(250, 50), at(269, 54), at(260, 55), at(249, 50), at(270, 50)], [255, 255, 0, 0, 0]);
  assert.equal(mask.filter(Boolean).length, 100);
});
