// What is set beside a document: read as far as it is understood, kept with the document, and sent when nobody types.

import assert from "node:assert/strict";
import test from "node:test";

const kept = new Map();
globalThis.localStorage = {
  getItem: (key) => kept.get(key) ?? null,
  setItem: (key, value) => kept.set(key, String(value)),
  removeItem: (key) => kept.delete(key),
};
globalThis.document = { baseURI: "http://localhost/" };
const heard = new Map(); // what the window is told
globalThis.addEventListener = (name, listener) => heard.set(name, [...(heard.get(name) ?? []), listener]);

const { createJournal } = await import("../../assets/fill_journal.js");
const { createSettings, understood } = await import("../../assets/fill_settings.js");
const { createSync } = await import("../../assets/fill_sync.js");

const USUAL = understood({});
const later = (ms) => new Promise((done) => setTimeout(done, ms));

// ---------------------------------------------------------------- what a page can use

const WHOLE = { intent: "vary", prompt: "a boat", negative: "fog", start: 12, margin: 40, context: { x: -3, y: 0, width: 64, height: 1 }, prefill: "edge", harmonise: 2, match: false, method: "own", steps: 30, guidance: 6.5, seed: 4294967295, correction: "calm", strengths: null, count: 4, laid: "" };

test("all that this page sets is understood again", () => {
  assert.deepEqual(Object.keys(WHOLE).sort(), Object.keys(USUAL).sort());
  assert.deepEqual(understood(JSON.parse(JSON.stringify(WHOLE))), WHOLE);
});

test("what makes no sense is as usual, and the rest is taken", () => {
  const wrong = {
    intent: [["fill"], "toString", "animate", null, 1],
    prompt: [["a"], "x".repeat(4001), null, {}],
    negative: [1],
    start: [-1, 1.5, "3", 200, true],
    margin: [4097, "", []],
    context: [[1, 2, 3, 4], { x: 0, y: 0, width: 0, height: 9 }, { x: "0", y: 0, width: 9, height: 9 }, { width: 9, height: 9 }, 1e9],
    prefill: [["auto"], "magic", null],
    harmonise: [9, -1, "1"],
    match: [1, "true", null],
    method: ["theirs", null],
    steps: [0, 201, 1e300],
    guidance: ["7", -0.1, 31],
    seed: [4294967296, -1, 0.5],
    correction: [null, 1, "x".repeat(201)],
    strengths: [[1], "x", 1],
    count: [0, 5, null],
    laid: [null, 1],
  };
  assert.deepEqual(Object.keys(wrong).sort(), Object.keys(USUAL).sort());
  for (const [name, values] of Object.entries(wrong)) {
    for (const value of values) {
      assert.deepEqual(understood({ ...WHOLE, [name]: value }), { ...WHOLE, [name]: USUAL[name] }, `${name}: ${JSON.stringify(value)}`);
    }
  }
  for (const found of [null, undefined, 1, "{}", [], [WHOLE]]) assert.deepEqual(understood(found), USUAL);
});

test("settings of a stranger reach no further than their own names", () => {
  const found = JSON.parse('{"__proto__": {"prompt": "theirs", "polluted": 1}, "constructor": 1, "prompt": "mine"}');
  assert.equal(understood(found).prompt, "mine");
  assert.equal(understood(JSON.parse('{"__proto__": {"prompt": "theirs"}}')).prompt, "");
  const told = [];
  const settings = createSettings((all) => told.push(all));
  settings.lay(found, null, "d");
  settings.set({ seed: 1 });
  assert.equal({}.polluted, undefined);
  assert.equal(settings.values.polluted, undefined);
  assert.ok(JSON.stringify(told[0]).includes('"__proto__":{"prompt":"theirs","polluted":1}'), "it is given back as it came");
});

test("a frame has four sides, whatever else a later version says of it", () => {
  assert.deepEqual(understood({ context: { x: 1, y: 2, width: 3, height: 4, turned: 5 } }).context, { x: 1, y: 2, width: 3, height: 4 });
});

test("the correction of an earlier fill goes along with its strengths, and not without", () => {
  assert.deepEqual(understood({ correction: "kept", strengths: { low: 0.1 } }).strengths, { low: 0.1 });
  assert.equal(understood({ correction: "kept", strengths: null }).correction, "off");
});

// ---------------------------------------------------------------- documents

test("every document has its own, and a new one has the person's way of painting without the words", () => {
  const told = [];
  const settings = createSettings((all) => told.push(all));
  settings.lay({}, null, "one");
  settings.set({ prompt: "a boat", steps: 12, seed: 7, intent: "replace" });
  const one = told.at(-1);
  settings.lay({}, null, "two");
  assert.deepEqual([settings.values.prompt, settings.values.seed, settings.values.intent, settings.values.steps], ["", null, "fill", 12]);
  settings.set({ prompt: "gulls", steps: 9 });
  assert.equal(settings.lay(one, null, "one"), null);
  assert.deepEqual([settings.values.prompt, settings.values.seed, settings.values.steps], ["a boat", 7, 12]);
});

test("what a later version has put there is given back with every change", () => {
  const told = [];
  const settings = createSettings((all) => told.push(all));
  settings.lay({ ...WHOLE, palette: { of: ["x"] }, at: 5 }, null, "d");
  settings.set({ prompt: "more" });
  assert.deepEqual(told.at(-1), { ...WHOLE, prompt: "more", palette: { of: ["x"] }, at: told.at(-1).at });
  settings.lay({}, null, "e");
  settings.set({ prompt: "other" });
  assert.equal("palette" in told.at(-1), false);
  settings.set({ prompt: "other", context: null });
  assert.equal(told.length, 2, "nothing was changed");
});

test("the newer of what the server and this browser have is laid out, though a clock be wrong", () => {
  const settings = createSettings();
  const [old, late] = [{ prompt: "old", at: 10 }, { prompt: "late", at: 11 }];
  assert.equal(settings.lay(old, late, "d"), late);
  assert.equal(settings.values.prompt, "late");
  for (const journal of [old, { prompt: "no time" }, null, "x", 4]) {
    assert.equal(settings.lay(late, journal, "d"), null);
    assert.equal(settings.values.prompt, "late");
  }
  const told = [];
  const ahead = createSettings((all) => told.push(all));
  const future = Date.now() + 1e9;
  ahead.lay({ prompt: "", at: future }, null, "d");
  ahead.set({ prompt: "a" });
  ahead.set({ prompt: "b" });
  assert.deepEqual(told.map(({ at }) => at), [future + 1, future + 2]);
});

test("the request of an earlier fill is only lent", () => {
  const told = [];
  const settings = createSettings((all) => told.push(all));
  settings.lay({ ...WHOLE }, null, "d");
  settings.lend({ prompt: "theirs", seed: 1, steps: 5 });
  settings.set({ prompt: "theirs, changed" });
  assert.deepEqual([settings.values.prompt, told], ["theirs, changed", []]);
  settings.giveBack();
  assert.deepEqual({ ...settings.values }, WHOLE);
  settings.giveBack();
  settings.lend({ steps: 5 });
  settings.lay({}, null, "e");
  assert.equal(settings.values.steps, 30, "the way of painting is the person's, not the fill's");
  settings.giveBack();
  assert.equal(settings.values.prompt, "", "they were the other document's");
});

test("a copy of a document that was laid out from a file is laid out, too", () => {
  const settings = createSettings();
  settings.lay({ laid: "one" }, null, "two");
  assert.equal(settings.values.laid, "two");
});

// ---------------------------------------------------------------- to the server

/** A canvas on which nothing happens, and a server that keeps settings. */
function room() {
  const canvas = { on() {}, empty: false, history: { head: "root", entries: [{ id: "root" }], entry: () => null, drop() {} }, confirmed() {} };
  const server = { asked: [], sent: [], away: false, refuses: null };
  globalThis.fetch = async (address, { method, body, keepalive }) => {
    server.asked.push(JSON.parse(body).settings);
    await later(5);
    if (server.away) throw new TypeError("away");
    if (server.refuses) return { ok: false, status: server.refuses, json: async () => ({ error: "Not like this." }) };
    server.sent.push([address.split("/").at(-1), method, JSON.parse(body).settings, keepalive]);
    return { ok: true, json: async () => ({}) };
  };
  const [states, words] = [[], []];
  const sync = createSync(canvas, (state) => states.push(state), (said) => words.push(said));
  return { sync, server, states, words };
}

const unsent = (id) => createJournal(id).found().settings;

test("settings are sent once nobody types, the last ones only, and the journal has them until then", async () => {
  const { sync, server, states } = room();
  sync.follow({ id: "d1", head: "root" }, createJournal("d1"));
  for (const prompt of ["a", "a b", "a boat"]) sync.keep({ prompt });
  assert.deepEqual([unsent("d1"), server.sent, states.at(-1)], [{ prompt: "a boat" }, [], "saving"]);
  while (states.at(-1) !== "saved") await later(20);
  assert.deepEqual(server.sent, [["d1", "PATCH", { prompt: "a boat" }, true]]);
  assert.equal(unsent("d1"), null);
  sync.leave();
});

test("whoever leaves the document, or takes it along, waits for them", async () => {
  const { sync, server } = room();
  sync.follow({ id: "d2", head: "root" }, createJournal("d2"));
  sync.keep({ prompt: "quick" });
  await sync.settled();
  assert.deepEqual([server.sent.length, unsent("d2")], [1, null]);
  sync.keep({ prompt: "late" });
  const settling = sync.settled();
  sync.keep({ prompt: "later" });
  await settling;
  assert.deepEqual([server.sent.at(-1)[2], unsent("d2")], [{ prompt: "later" }, null]);
  sync.leave();
  sync.keep({ prompt: "of no document" });
  await sync.settled();
  assert.equal(server.sent.at(-1)[2].prompt, "later");
});

test("they go out at once when the page is hidden", async () => {
  const { sync, server } = room();
  sync.follow({ id: "d3", head: "root" }, createJournal("d3"));
  sync.keep({ prompt: "closing" });
  assert.deepEqual(server.asked, []);
  for (const listener of heard.get("pagehide")) listener();
  assert.deepEqual(server.asked, [{ prompt: "closing" }]); // before anything else happens
  while (unsent("d3")) await later(5);
  await sync.settled();
  assert.equal(server.sent.length, 1);
  sync.leave();
});

test("without the server they stay in the journal, and are sent from there", async () => {
  const { sync, server, states } = room();
  sync.follow({ id: "d4", head: "root" }, createJournal("d4"));
  server.away = true;
  sync.keep({ prompt: "offline" });
  await assert.rejects(sync.settled());
  sync.leave();
  assert.deepEqual(unsent("d4"), { prompt: "offline" });
  server.away = false;
  sync.follow({ id: "d4", head: "root", settings: unsent("d4") }, createJournal("d4"));
  assert.equal(states.at(-1), "saving");
  while (states.at(-1) !== "saved") await later(20);
  assert.deepEqual([server.sent[0][2], unsent("d4")], [{ prompt: "offline" }, null]);
  sync.leave();
});

test("what the server will not take is said once, holds nothing up, and is tried again when it changes", async () => {
  const { sync, server, words, states } = room();
  sync.follow({ id: "d5", head: "root" }, createJournal("d5"));
  server.refuses = 422;
  sync.keep({ prompt: "too long" });
  await sync.settled();
  await sync.settled();
  assert.deepEqual([words, states.at(-1), unsent("d5")], [["Not like this."], "saved", { prompt: "too long" }]);
  server.refuses = null;
  sync.keep({ prompt: "short" });
  await sync.settled();
  createJournal("d5").settings({ prompt: "older than what the server has" });
  sync.follow({ id: "d5", head: "root", settings: null }, createJournal("d5"));
  assert.deepEqual([server.sent.map(([, , settings]) => settings), unsent("d5")], [[{ prompt: "short" }], null]);
  sync.leave();
});
