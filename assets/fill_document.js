// A document as the server keeps it, made of a picture: its tiles, its layers, where undo can go.

import { TILE } from "./canvas_tiles.js";
import { asRgba, encodePng } from "./canvas_png.js";
import { pixels, readHistory, readState, uploadBundle } from "./fill_server.js";

export const newId = () => (crypto.randomUUID ? crypto.randomUUID().replaceAll("-", "") : [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join(""));

/** The 256 × 256 tiles of a picture that show anything, as [key, PNG]; what lies outside of it is transparent. */
export async function tilesOf(picture) {
  const { width, height, data } = asRgba(picture);
  const made = [];
  for (let row = 0; row * TILE < height; row += 1) {
    for (let col = 0; col * TILE < width; col += 1) {
      const tile = new Uint8Array(TILE * TILE * 4);
      const wide = Math.min(TILE, width - col * TILE);
      const high = Math.min(TILE, height - row * TILE);
      for (let y = 0; y < high; y += 1) {
        const from = ((row * TILE + y) * width + col * TILE) * 4;
        tile.set(data.subarray(from, from + wide * 4), y * TILE * 4);
      }
      let seen = false;
      for (let k = 3; k < tile.length && !seen; k += 4) seen = tile[k] > 0;
      if (seen) made.push([`${col},${row}`, await encodePng({ width: TILE, height: TILE, channels: 4, data: tile })]);
    }
  }
  return made;
}

let opened = 0; // pictures that stay in this page

const layer = (name, kind, tiles, facts, id = newId()) => ({ id, name, kind, x: 0, y: 0, visible: true, opacity: 100, tiles, facts });

/** A document of this size with these layers; the last one is painted on. */
export function stateOf(width, height, layers) {
  return { width, height, layers, active: layers.at(-1).id, mask: { tiles: {}, grow: 0, feather: 4 }, masks: [] };
}

/** A picture as the only layer of a new document: what POST /documents takes. */
export async function documentOfPicture(picture, name, facts = null) {
  const tiles = await tilesOf(picture);
  const ids = [];
  for (let from = 0; from < tiles.length; from += 64) ids.push(...(await uploadBundle(tiles.slice(from, from + 64).map(([, png]) => png))));
  return stateOf(picture.width, picture.height, [layer(name, "picture", Object.fromEntries(tiles.map(([key], k) => [key, ids[k]])), facts)]);
}

export const emptyDocument = (width, height) => stateOf(width, height, [layer("Layer 1", "paint", {}, null)]);

/**
 * A picture that stays in this page, with an empty layer to paint on: {state, base, fetchTile}. Its layers are called the
 * same every time, so that what was painted on them can be painted again.
 */
export async function localDocument(picture, name, above) {
  const own = `local ${(opened += 1)}`; // the canvas takes tiles of one id for the same pixels
  const pieces = await tilesOf(picture);
  const tiles = new Map(pieces.map(([key, png]) => [`${own} ${key}`, png]));
  const base = layer(name, "picture", Object.fromEntries(pieces.map(([key]) => [key, `${own} ${key}`])), null, "step");
  const layers = above ? [base, layer(above, "paint", {}, null, "paint")] : [base];
  return { state: stateOf(picture.width, picture.height, layers), base: base.id, fetchTile: async (id) => tiles.get(id) };
}

/** The nodes before and after a document's head on its line, oldest first: where undo and redo lead after a reload. */
export function lineOf({ head, history }) {
  const nodes = new Map(history.map((node) => [node.id, node]));
  const newest = new Map(history.map((node) => [node.parent, node])); // the child that was made last
  const past = [];
  for (let node = nodes.get(nodes.get(head)?.parent); node; node = nodes.get(node.parent)) past.push({ id: node.id, label: node.label });
  const future = [];
  for (let node = newest.get(head); node; node = newest.get(node.id)) future.push({ id: node.id, label: node.label });
  return { past: past.reverse(), future };
}

/** Shows a document as the server has it, or at that node of its tree where this browser's journal, `found`, goes on. */
export async function load(canvas, facts, { ops, head: left }) {
  const known = new Set(facts.history.map(({ id }) => id));
  const wanted = ops.find(({ op }) => !known.has(op.id))?.parent ?? left;
  const { past, future } = lineOf(facts);
  const near = !known.has(wanted) || [...past, { id: facts.head }, ...future].some(({ id }) => id === wanted);
  const node = near ? facts.head : wanted;
  const state = near ? facts.state : await readState(facts.id, node);
  await canvas.load(state, pixels, { node, ...lineOf({ head: node, history: facts.history }) });
}

/**
 * Goes to any node of the document's tree, if that is `still()` open when it has come: from there undo and redo follow the
 * line through it.
 */
export async function visit(canvas, id, node, still) {
  const [{ history }, state] = await Promise.all([readHistory(id), readState(id, node)]);
  const label = history.find((each) => each.id === node)?.label ?? "Change";
  if (!still()) return false;
  return canvas.history.visit(state, { node, label, ...lineOf({ head: node, history }) });
}

/**
 * Does again what the server had not confirmed when the page was left, in the order in which it was done, the stroke in
 * progress last. `facts` are the server's, `found` the journal's. Answers what could not be done: [{op, reason}].
 */
export async function recover(canvas, journal, facts, { ops, head, stroke }) {
  const known = new Set(facts.history.map(({ id }) => id));
  for (const { op } of ops) if (known.has(op.id)) journal.confirm(op.id);
  const here = (id) => id && id !== canvas.history.head && canvas.history.entries.some((entry) => entry.id === id);
  const failed = [];
  for (const { op, parent } of ops.filter((entry) => !known.has(entry.op.id))) {
    if (here(parent)) await canvas.history.goTo(parent); // what was undone and painted over is a way of its own
    failed.push(...(await canvas.replay([op])).failed);
  }
  if (here(head)) await canvas.history.goTo(head);
  if (stroke) failed.push(...(await canvas.replay([stroke])).failed); // it was begun where the person was
  for (const { op } of failed) journal.confirm(op.id);
  return failed;
}

/** The first few words, as a name. */
export function nameOf(prompt, otherwise = "Untitled") {
  const words = prompt.trim().split(/\s+/).filter(Boolean).slice(0, 6).join(" ").slice(0, 60);
  return words ? words.charAt(0).toUpperCase() + words.slice(1) : otherwise;
}
