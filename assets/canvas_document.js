// The document and its past, without a screen: changes become entries, entries can be undone, sent and done again.

import { statesDiffer } from "./canvas_diff.js";
import { createHistory } from "./canvas_history.js";
import { apply, blankState, fromJson, greyOf, pixelsOf, tileIds, toJson } from "./canvas_ops.js";
import { asRgba, decodePng, encodePng } from "./canvas_png.js";
import { makeTile, TILE } from "./canvas_tiles.js";

const AT_ONCE = 8; // tiles fetched side by side
const BUNDLE = 64; // tiles sent in one go

/**
 * `emit(name, detail)` tells about: change {entry}, amended {entry}, history {}, state {from, to, drawn}, loading, loaded.
 * `fetchPixels(id)` and `fetchState(entryId)` answer PNG bytes and state JSON of the server, or are absent.
 */
export function createDocument({ emit, newId, fetchPixels, fetchState, historyBytes, now = () => Date.now() }) {
  const history = createHistory({ bytes: historyBytes, canFetch: () => Boolean(fetchState) });
  const known = new Map(); // PIXELS_ID and channels -> WeakRef of the tile
  const given = new WeakMap(); // op -> the picture it was made with
  const fetched = new Map(); // PIXELS_ID -> picture, while ops are replayed
  let fetchTile = fetchPixels;
  let grouping = null; // {state, ops}
  let moving = null; // a walk through the history that waits for the server
  let opened = 0; // documents so far
  let sending = Promise.resolve();

  const head = () => grouping?.state ?? history.head?.state ?? null;
  const pictureOf = (op) => given.get(op) ?? fetched.get(op.pixels) ?? null;
  const replayable = (op) => (op.op === "group" ? op.ops.every(replayable) : !given.has(op) || Boolean(op.pixels));
  const shownEntry = ({ id, parent, label, op, stored }) => ({ id, parent, label, op, stored });

  function create(width, height, { color } = {}) {
    begin({ id: newId(), label: "New", state: blankState(width, height, newId(), color), at: now() });
  }

  function begin(entry, past, future) {
    const from = head();
    opened += 1;
    history.begin(entry, past, future);
    emit("state", { from, to: head(), drawn: false });
    emit("loaded", {});
    emit("history", {});
  }

  /** One change. `picture`: pixels that the op brings. `state`: what comes of it, if that is known already. */
  function commit(op, { picture, state, joins } = {}) {
    const from = head();
    if (!from) throw new Error("There is no picture yet.");
    if (picture) given.set(op, picture);
    const to = state ?? apply(from, op, pictureOf);
    if ("points" in op && from.mask.tiles === to.mask.tiles && !statesDiffer(from, to)) return null; // it touched nothing
    if (grouping) {
      grouping.state = to;
      grouping.ops.push(op);
      return op.id;
    }
    return entered(op, { from, to, drawn: Boolean(state), joins });
  }

  function entered(op, { from, to, drawn, joins }) {
    const { entry, amended } = history.push({ id: op.id, label: op.label, op: replayable(op) ? op : null, state: to, joins, at: now() });
    emit("state", { from, to, drawn });
    emit(amended ? "amended" : "change", { entry: shownEntry(entry) });
    emit("history", {});
    return entry.id;
  }

  function group(label, act) {
    if (grouping) return act();
    const from = head();
    grouping = { state: from, ops: [] };
    const made = grouping;
    try {
      act();
    } finally {
      grouping = null;
    }
    if (!made.ops.length) return null;
    return entered({ id: newId(), op: "group", label, ops: made.ops }, { from, to: made.state, drawn: false });
  }

  // walking through the history

  function arrive(index) {
    const from = head();
    history.index = index;
    emit("state", { from, to: head(), drawn: false });
    emit("history", {});
    return true;
  }

  async function fetchEntry(entry) {
    if (!fetchState) throw new Error("That state is not kept here any more.");
    history.restored(entry, await inflate(await fetchState(entry.id)));
  }

  /** One after another: a walk may have to wait for the server. */
  function inTurn(act) {
    const turn = (moving ?? Promise.resolve()).then(act);
    const settled = turn.catch(() => false).then(() => {
      if (moving === settled) moving = null;
    });
    moving = settled;
    return turn;
  }

  /** Goes to the entry that `find()` answers the index of. At once if its state is here, else when it has come. */
  function walk(find) {
    const there = () => Math.min(history.entries.length - 1, find());
    if (!moving) {
      const index = there();
      if (index === history.index || index < 0 || !head()) return Promise.resolve(false);
      if (history.entries[index].state) return Promise.resolve(arrive(index));
    }
    return inTurn(async () => {
      const index = there();
      if (index === history.index || index < 0) return false;
      const entry = history.entries[index];
      if (!entry.state) await fetchEntry(entry);
      const at = history.entries.indexOf(entry);
      return at >= 0 && arrive(at); // meanwhile a stroke may have taken another way
    });
  }

  /**
   * Goes to a node that is not on the line: `json` is its state, `past` and `future` are [{id, label}] of the line through
   * it, oldest first. `first()` is called right before.
   */
  async function visit(json, { node, label, past, future }, first = () => {}) {
    const mine = opened;
    const state = await inflate(json);
    return inTurn(() => {
      if (mine !== opened) return false; // another document has come meanwhile
      first();
      const from = head();
      history.reline({ id: node, label, state }, past, future);
      emit("state", { from, to: head(), drawn: false });
      emit("history", {});
      return true;
    });
  }

  // tiles in and out

  async function tileFor(id, channels) {
    const key = `${channels}:${id}`;
    const here = known.get(key)?.deref();
    if (here) return here;
    const picture = await decodePng(await fetchTile(id));
    if (picture.width !== TILE || picture.height !== TILE) throw new Error(`A tile is ${TILE} × ${TILE} px, not ${picture.width} × ${picture.height}.`);
    const tile = makeTile(channels === 4 ? asRgba(picture).data : greyOf(picture).data, id);
    known.set(key, new WeakRef(tile));
    return tile;
  }

  async function inflate(json, told = () => {}) {
    const wanted = [...tileIds(json)];
    const tiles = new Map();
    let next = 0;
    const work = async () => {
      while (next < wanted.length) {
        const [id, channels] = wanted[next++];
        tiles.set(id, await tileFor(id, channels));
        told(tiles.size, wanted.length);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    return fromJson(json, (id) => tiles.get(id));
  }

  async function load(json, fetcher, { node = newId(), label = "Opened", past = [], future = [] } = {}) {
    fetchTile = fetcher ?? fetchPixels;
    const state = await inflate(json, (done, total) => emit("loading", { done, total }));
    begin({ id: node, label, state, stored: true, at: now() }, past, future);
  }

  function snapshot(entryId = history.head.id) {
    const entry = history.find(entryId);
    if (!entry?.state) throw new Error("That state is not kept here.");
    return toJson(entry.state);
  }

  /** The state of an entry as JSON in which every tile has an id; `sendBundle(pngs)` answers the ids of those that had none. */
  function stored(entryId, sendBundle) {
    const entry = history.find(entryId);
    if (entry) entry.sealed = true; // from now on it is what was sent
    const turn = sending.then(async () => {
      for (;;) {
        const { state, missing } = snapshot(entryId);
        if (!missing.length) return state;
        const tiles = missing.slice(0, BUNDLE);
        const ids = await sendBundle(await Promise.all(tiles.map(encodeTile)));
        tiles.forEach((tile, k) => {
          tile.id = ids[k];
          known.set(`${tile.data.length / (TILE * TILE)}:${ids[k]}`, new WeakRef(tile));
        });
      }
    });
    sending = turn.catch(() => {});
    return turn;
  }

  async function replay(ops) {
    const done = [];
    const failed = [];
    for (const op of ops) {
      try {
        for (const id of pixelsOf(op)) if (!fetched.has(id)) fetched.set(id, await decodePng(await fetchPixels(id)));
        commit(op);
        done.push(op.id);
      } catch (problem) {
        failed.push({ op, reason: problem.message });
      }
    }
    fetched.clear();
    return { done, failed };
  }

  return {
    create,
    load,
    commit,
    group,
    replay,
    snapshot,
    stored,
    confirmed: (entryId) => history.confirmed(entryId),
    head,
    stateOf: (entryId) => history.find(entryId)?.state ?? null,
    /** Which layer is active is no change, so no entry is made of it. */
    select(layerId) {
      const from = head();
      if (!from?.layers.some(({ id }) => id === layerId)) return;
      if (grouping) grouping.state = { ...from, active: layerId };
      else history.head.state = { ...from, active: layerId };
    },
    history: {
      undo: () => walk(() => history.index - 1),
      redo: () => walk(() => history.index + 1),
      goTo: (id) => walk(() => history.entries.findIndex((entry) => entry.id === id)),
      visit,
      /** An entry of the line, or one that has left it and that the server does not have yet; null else. */
      entry(id) {
        const found = history.find(id);
        return found && shownEntry(found);
      },
      /** Lets go of such an entry: the server will never have it. */
      drop: (id) => history.drop(id),
      /** Entries that have left the line before the server had them. */
      get aside() {
        return history.aside.map(shownEntry);
      },
      get canUndo() {
        return history.index > 0;
      },
      get canRedo() {
        return history.index < history.entries.length - 1;
      },
      get undoLabel() {
        return history.index > 0 ? history.head.label : null;
      },
      get redoLabel() {
        return history.entries[history.index + 1]?.label ?? null;
      },
      get entries() {
        return history.entries.map(shownEntry);
      },
      get index() {
        return history.index;
      },
      get head() {
        return history.head?.id ?? null;
      },
    },
  };
}

const encodeTile = ({ data }) => encodePng({ width: TILE, height: TILE, channels: data.length / (TILE * TILE), data });
