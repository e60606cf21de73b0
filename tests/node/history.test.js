// The document's history: the order in which its tree is drawn, other lines of it, and what leaves a line unsent.

import assert from "node:assert/strict";
import test from "node:test";

globalThis.document = { baseURI: "http://localhost/" };

const { createDocument } = await import("../../assets/canvas_document.js");
const { compositeBox } = await import("../../assets/canvas_blend.js");
const { encodePng } = await import("../../assets/canvas_png.js");
const { DEFAULTS } = await import("../../assets/canvas_tools.js");
const { lineOf, recover } = await import("../../assets/fill_document.js");
const { createSync } = await import("../../assets/fill_sync.js");
const { ago, rowsOf, runOf } = await import("../../assets/fill_history.js");

const tree = (...edges) => edges.map(([id, parent]) => ({ id, parent }));
const drawn = (nodes) => rowsOf(nodes).map(({ node, deep }) => `${"-".repeat(deep)}${node.id}`);

test("a history without other ways is a line, newest first", () => {
  const rows = rowsOf(tree(["r", null], ["a", "r"], ["b", "a"]));
  assert.deepEqual(rows.map(({ node, deep, passes, below, above }) => [node.id, deep, passes, below, above]), [
    ["b", 0, [], 0, null],
    ["a", 0, [], 0, "b"],
    ["r", 0, [], null, "a"],
  ]);
  assert.deepEqual(rowsOf([]), []);
});

test("another way stands above the change that it leaves, one column further in", () => {
  const nodes = tree(["r", null], ["a", "r"], ["b", "a"], ["c", "r"], ["d", "c"], ["e", "c"], ["f", "a"]);
  // of the ways from r the newest is c; a, which was undone, keeps its own two ways
  assert.deepEqual(drawn(nodes), ["e", "-d", "c", "-f", "--b", "-a", "r"]);
  const rows = new Map(rowsOf(nodes).map((row) => [row.node.id, row]));
  assert.deepEqual([rows.get("a").below, rows.get("a").passes, rows.get("a").above], [0, ["c"], "f"]);
  assert.deepEqual([rows.get("b").below, rows.get("b").passes, rows.get("b").above], [1, ["c", "f"], null]);
  assert.deepEqual([rows.get("f").below, rows.get("f").passes], [1, ["c"]]);
});

test("nodes whose parent was let go begin a line of their own, below the newest", () => {
  assert.deepEqual(drawn(tree(["a", "gone"], ["b", "a"], ["x", null], ["y", "x"])), ["y", "x", "-b", "-a"]);
});

test("thousands of changes, and thousands of ways, are rows once each", () => {
  const line = Array.from({ length: 4000 }, (_, k) => ({ id: `n${k}`, parent: k ? `n${k - 1}` : null }));
  assert.equal(drawn(line)[0], "n3999");
  const ways = Array.from({ length: 4000 }, (_, k) => ({ id: `n${k}`, parent: k ? `n${k - 1 - (k % 3)}` : null }));
  assert.equal(new Set(drawn(ways)).size, 4000);
});

test("the time is said in words, and as a date when it is long ago", () => {
  const now = Date.UTC(2026, 10, 21, 12);
  assert.deepEqual([ago(now - 9_000, now), ago(now - 5 * 60_000, now), ago(now - 3.6 * 3_600_000, now)], ["just now", "5 min ago", "3 h ago"]);
  assert.match(ago(now - 86_400_000 * 3, now), /18 Nov 2026/);
});

test("a state's run is that of the fill that is worked on", () => {
  const layers = [{ id: "g", kind: "picture", facts: { run: "other" } }, { id: "f", kind: "fill", facts: { run: "mine" } }];
  assert.deepEqual([runOf({ layers, active: "f" }), runOf({ layers, active: "g" })], ["mine", null]);
});

// ---------------------------------------------------------------- on the canvas

const stroke = (id, y) => ({ id, op: "stroke", tool: "brush", target: "paint", layer: "L", label: "Brush", settings: { ...DEFAULTS, size: 20 }, points: [10, y, 1, 0, 0, 90, y, 1, 0, 0] });
const bytes = (state) => Buffer.from(compositeBox(state, { x: 0, y: 0, width: state.width, height: state.height })).toString("base64");

/** A canvas, and a server that keeps nodes and pixels, as fill_sync.js knows them. */
async function room() {
  const listeners = new Map();
  const server = { pixels: new Map(), states: new Map(), history: [], head: null, away: false };
  const document = createDocument({
    emit: (name, detail) => listeners.get(name)?.forEach((listener) => listener(detail)),
    newId: () => crypto.randomUUID().replaceAll("-", ""),
    fetchPixels: async (id) => server.pixels.get(id),
    fetchState: async (id) => server.states.get(id),
  });
  const canvas = { ...document, empty: false, on: (name, listener) => listeners.set(name, [...(listeners.get(name) ?? []), listener]) };
  const layer = { id: "L", name: "L", kind: "paint", x: 0, y: 0, visible: true, opacity: 100, tiles: {}, facts: null };
  const base = { width: 100, height: 100, layers: [layer], active: "L", mask: { tiles: {}, grow: 0, feather: 4 }, masks: [] };
  server.states.set("root", base);
  server.history.push({ id: "root", parent: null, label: "New", at: 1 });
  server.head = "root";
  globalThis.fetch = async (address, { body } = {}) => {
    if (server.away) throw new TypeError("away");
    const answer = (value) => ({ ok: true, json: async () => value });
    if (address.endsWith("bundle")) {
      const ids = [];
      const view = new DataView(body.buffer);
      for (let at = 0; at < body.length; at += 4 + view.getUint32(at)) {
        ids.push(`px${server.pixels.size}`);
        server.pixels.set(ids.at(-1), body.slice(at + 4, at + 4 + view.getUint32(at)));
      }
      return answer({ ids });
    }
    const sent = JSON.parse(body);
    if (sent.id && server.refuses === sent.id) return { ok: false, status: 422, json: async () => ({ error: "Too large." }) };
    if (address.endsWith("head")) server.head = sent.node;
    else {
      server.history.push({ id: sent.id, parent: sent.parent, label: sent.label, at: server.history.length + 1 });
      server.states.set(sent.id, structuredClone(sent.state));
      server.head = sent.id;
    }
    return answer({ id: sent.id });
  };
  await canvas.load(base, undefined, { node: "root" });
  return { canvas, server };
}

function journalOf() {
  const journal = { ops: [], head: null };
  return Object.assign(journal, {
    add: (op, parent) => journal.ops.push({ op, parent }),
    amend() {},
    stroke() {},
    settings() {},
    at: (id) => (journal.head = id),
    confirm: (id) => (journal.ops = journal.ops.filter(({ op }) => op.id !== id)),
  });
}

globalThis.addEventListener ??= () => {};

test("what was undone and painted over before it was sent is a way of its own on the server", async () => {
  const { canvas, server } = await room();
  const journal = journalOf();
  const sync = createSync(canvas, () => {}, assert.fail);
  sync.follow({ id: "d", head: "root" }, journal);
  server.away = true;
  canvas.commit(stroke("a", 20));
  const first = bytes(canvas.head());
  await canvas.history.undo();
  canvas.commit(stroke("b", 60));
  const second = bytes(canvas.head());
  assert.deepEqual(canvas.history.aside.map(({ id }) => id), ["a"]);
  server.away = false;
  await sync.settled();
  assert.deepEqual(server.history.map(({ id, parent }) => [id, parent]), [["root", null], ["a", "root"], ["b", "root"]]);
  assert.deepEqual([server.head, canvas.history.aside, journal.ops], ["b", [], []]);

  const line = lineOf({ head: "a", history: server.history });
  await canvas.history.visit(server.states.get("a"), { node: "a", label: "Brush", ...line });
  assert.equal(bytes(canvas.head()), first);
  await sync.settled();
  assert.equal(server.head, "a");
  await canvas.history.undo();
  await canvas.history.redo();
  assert.equal(bytes(canvas.head()), first);
  await canvas.history.undo();
  canvas.commit(stroke("c", 90));
  await sync.settled();
  assert.deepEqual(server.history.slice(1).map(({ id, parent }) => [id, parent]), [["a", "root"], ["b", "root"], ["c", "root"]]);
  await canvas.history.visit(server.states.get("b"), { node: "b", label: "Brush", ...lineOf({ head: "b", history: server.history }) });
  assert.equal(bytes(canvas.head()), second);
  sync.leave();
});

test("a change that the server will not take holds nothing up once it was undone and painted over", async () => {
  const { canvas, server } = await room();
  const journal = journalOf();
  const words = [];
  const sync = createSync(canvas, () => {}, (said) => words.push(said));
  sync.follow({ id: "d", head: "root" }, journal);
  server.refuses = "big";
  canvas.commit(stroke("big", 20));
  await assert.rejects(sync.settled(), /Too large/);
  canvas.commit(stroke("after", 40));
  await assert.rejects(sync.settled(), /Too large/); // it is seen, so it is not given up
  await canvas.history.undo();
  await canvas.history.undo();
  canvas.commit(stroke("b", 60));
  await sync.settled();
  assert.deepEqual(server.history.map(({ id }) => id), ["root", "b"]);
  assert.deepEqual([server.head, journal.ops], ["b", []]);
  server.refuses = "late";
  server.away = true;
  canvas.commit(stroke("late", 20));
  await canvas.history.undo();
  canvas.commit(stroke("c", 80));
  server.away = false;
  await sync.settled();
  assert.deepEqual([server.head, journal.ops, canvas.history.aside, words.at(-1)], ["c", [], [], "Too large."]);
  sync.leave();
});

test("what is painted while another way is fetched is kept, on the way where it was painted", async () => {
  const { canvas, server } = await room();
  const journal = journalOf();
  const sync = createSync(canvas, () => {}, assert.fail);
  sync.follow({ id: "d", head: "root" }, journal);
  canvas.commit(stroke("a", 20));
  await sync.settled();
  await canvas.history.undo();
  canvas.commit(stroke("b", 60));
  await sync.settled();
  server.away = true;
  const going = canvas.history.visit(server.states.get("a"), { node: "a", label: "Brush", ...lineOf({ head: "a", history: server.history }) });
  canvas.commit(stroke("late", 90));
  await going;
  assert.equal(canvas.history.head, "a");
  assert.deepEqual(canvas.history.aside.map(({ id, parent }) => [id, parent]), [["late", "b"]]);
  server.away = false;
  await sync.settled();
  assert.deepEqual(server.history.at(-1), { id: "late", parent: "b", label: "Brush", at: 4 });
  assert.deepEqual([server.head, journal.ops, canvas.history.aside], ["a", [], []]);
  sync.leave();
});

test("after a reload every way that was not sent is done again where it was, the last one last", async () => {
  const { canvas } = await room();
  const journal = journalOf();
  const ops = [{ op: stroke("a", 20), parent: "root" }, { op: stroke("a2", 30), parent: "a" }, { op: stroke("b", 60), parent: "root" }];
  const failed = await recover(canvas, journal, { history: [{ id: "root" }] }, { ops, head: null, stroke: stroke("now", 80) });
  assert.deepEqual(failed, []);
  assert.deepEqual(canvas.history.entries.map(({ id }) => id), ["root", "b", "now"]);
  assert.deepEqual(canvas.history.aside.map(({ id, parent }) => [id, parent]), [["a", "root"], ["a2", "a"]]);
});

test("a stroke in the middle of a walk that waits for the server wins", async () => {
  const { canvas, server } = await room();
  canvas.commit(stroke("a", 20));
  const { state, missing } = canvas.snapshot();
  for (const tile of missing) {
    tile.id = "px";
    server.pixels.set("px", await encodePng({ width: 256, height: 256, channels: 4, data: tile.data }));
  }
  server.states.set("a", canvas.snapshot().state);
  assert.ok(state);
  await canvas.load(server.states.get("root"), undefined, { node: "root", future: [{ id: "a", label: "Brush" }] });
  const walk = canvas.history.redo();
  canvas.commit(stroke("b", 60));
  assert.equal(await walk, false);
  assert.equal(canvas.history.head, "b");
  assert.ok(canvas.head());
});
