// What one person leaves in a browser is not there for the next.

import assert from "node:assert/strict";
import test from "node:test";

function storage() {
  const kept = new Map();
  return {
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => kept.set(key, String(value)),
    removeItem: (key) => kept.delete(key),
    clear: () => kept.clear(),
    get size() {
      return kept.size;
    },
  };
}

globalThis.localStorage = storage();
globalThis.sessionStorage = storage();
globalThis.document = { baseURI: "http://localhost/" };
const { follows } = await import("../../assets/person.js");

test("another person finds nothing of the one before, and the same person everything", () => {
  localStorage.setItem("wavebrush.theme", "dark");
  assert.equal(follows(null), false); // no login
  assert.equal(follows("ann"), false); // the first
  localStorage.setItem("wavebrush.journal.x", "[]");
  sessionStorage.setItem("wavebrush.form", "{}");
  assert.equal(follows("ann"), false);
  assert.equal(localStorage.size, 3);
  assert.equal(follows("bob"), true);
  assert.equal(localStorage.getItem("wavebrush.person"), "bob");
  assert.equal(localStorage.size, 1);
  assert.equal(sessionStorage.size, 0);
  assert.equal(follows("bob"), false); // once loaded again
});

test("storage that keeps nothing makes no page load for ever", () => {
  follows("ann");
  localStorage.setItem = () => {
    throw new Error("full");
  };
  assert.equal(follows("bob"), false);
});
