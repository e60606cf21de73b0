// Undo as a list of whole states that share what did not change: one line through the document's tree. Bounded by bytes:
// what the server keeps is let go first and fetched again when somebody goes back that far; what nobody keeps is forgotten
// only at the far end. Where a server keeps the tree, what leaves the line stays here until the server has it.

import { tilesIn } from "./canvas_ops.js";

const JOINED_WITHIN = 800; // ms: the moves of one slider are one entry

export function createHistory({ bytes = 512 * 1024 * 1024, canFetch = () => false } = {}) {
  let entries = []; // {id, parent, label, op, state (null: far), stored, at}
  let index = -1;
  let aside = new Map(); // id -> entry that has left the line and that the server does not have yet
  let held = 0; // bytes, at most, of all tiles: those that are shared are counted again when it comes to that

  const far = ({ id, label }, parent) => ({ id, parent, label, op: null, state: null, stored: true, at: 0 });

  function begin(entry, past = [], future = []) {
    aside = new Map();
    entries = [];
    for (const known of past) entries.push(far(known, entries.at(-1)?.id ?? null));
    entries.push({ parent: entries.at(-1)?.id ?? null, op: null, at: 0, stored: false, ...entry });
    index = entries.length - 1;
    for (const known of future) entries.push(far(known, entries.at(-1).id));
    held = sizeOf(entry.state);
  }

  /** Another line of the same document, through `entry`: what is known of its entries stays, and `aside` what would be lost. */
  function reline(entry, past, future) {
    const left = entries;
    const known = new Map([...aside.values(), ...left].map((each) => [each.id, each]));
    entries = [];
    for (const each of [...past, entry, ...future]) entries.push(known.get(each.id) ?? far(each, entries.at(-1)?.id ?? null));
    index = past.length;
    const line = new Set(entries);
    for (const each of line) aside.delete(each.id);
    putAside(left.filter((each) => !line.has(each)));
    if (!entries[index].state) restored(entries[index], entry.state);
  }

  function putAside(gone) {
    if (canFetch()) for (const entry of gone) if (!entry.stored) aside.set(entry.id, entry);
  }

  /** A new entry after the current one. With `joins`, it replaces that one if it is of the same kind, fresh, and not sent yet. */
  function push({ id, label, op, state, joins = null, at }) {
    const head = entries[index];
    if (joins && head.joins === joins && !head.sealed && at - head.at < JOINED_WITHIN && index === entries.length - 1) {
      Object.assign(head, { state, op: { ...op, id: head.id }, label, at });
      return { entry: head, amended: true };
    }
    putAside(entries.splice(index + 1));
    const entry = { id, parent: head.id, label, op, state, stored: false, joins, at };
    entries.push(entry);
    index += 1;
    const before = new Set(tilesIn(head.state));
    for (const tile of tilesIn(state)) if (!before.has(tile)) held += tile.data.length;
    trim();
    return { entry, amended: false };
  }

  /** Lets go of states, farthest first, until the tiles of the rest fit. */
  function trim() {
    if (held <= bytes) return;
    const counted = new Set();
    let sum = 0;
    const order = entries.map((entry, k) => [Math.abs(k - index), entry]).sort((a, b) => a[0] - b[0]);
    for (const entry of aside.values()) order.push([order.length, entry]);
    for (const [far, entry] of order) {
      if (!entry.state) continue;
      for (const tile of tilesIn(entry.state)) {
        if (counted.has(tile)) continue;
        counted.add(tile);
        sum += tile.data.length;
      }
      if (sum <= bytes || far <= 1) held = sum;
      else if (entry.stored && canFetch()) entry.state = null;
      else forget(entry);
    }
  }

  function forget(entry) {
    if (aside.delete(entry.id)) return;
    const at = entries.indexOf(entry);
    if (at > index) entries.length = at;
    else {
      entries.splice(0, at + 1);
      index -= at + 1;
    }
  }

  const sizeOf = (state) => [...tilesIn(state)].reduce((sum, tile) => sum + tile.data.length, 0);

  /** A state that had been let go is here again. */
  function restored(entry, state) {
    entry.state = state;
    held += sizeOf(state);
    trim();
  }

  const find = (id) => entries.find((entry) => entry.id === id) ?? aside.get(id) ?? null;

  /** The server has this entry: its state can be fetched again, so it may be let go. */
  function confirmed(id) {
    const entry = find(id);
    if (!entry) return;
    entry.stored = entry.sealed = true;
    aside.delete(id);
    trim();
  }

  return {
    begin,
    reline,
    push,
    restored,
    confirmed,
    drop: (id) => aside.delete(id),
    get aside() {
      return [...aside.values()];
    },
    get entries() {
      return entries;
    },
    get index() {
      return index;
    },
    set index(value) {
      index = value;
    },
    get head() {
      return entries[index] ?? null;
    },
    find,
  };
}
