// An object that a hand marks: strokes on it and beside it, kept as vectors; and the answer of whoever can tell objects
// by them, shown as the mask would be with it, until it is taken or dropped.

import { eachDiffering } from "./canvas_diff.js";
import { apply } from "./canvas_ops.js";
import { strokeOnto } from "./canvas_stroke.js";
import { placeOf, TILE } from "./canvas_tiles.js";

export const ON_IT = 255; // in the picture of the marks: surely part of the object
export const BESIDE = 64; // surely not; 0 says nothing
const HALF = 128; // of a pixel that a mark must cover
const THINNEST = 2; // px: covers half of some pixel wherever it runs
const NOTHING = new Map();

/** Marks, [{on, size, points}], as grey pixels of the document's size. A later mark lies over an earlier one. */
export function marksOf(marks, { width, height }) {
  const data = new Uint8Array(width * height);
  const blank = { width, height, layers: [], active: null, mask: { tiles: NOTHING, grow: 0, feather: 0 }, masks: [] };
  for (const { on, size, points } of marks) {
    const settings = { size: Math.max(THINNEST, size), hardness: 100, opacity: 100 };
    const { tiles } = strokeOnto(blank, { op: "stroke", tool: "brush", target: "mask", layer: null, settings, points }).mask;
    for (const [key, tile] of tiles) mark(data, width, height, placeOf(key), tile.data, on ? ON_IT : BESIDE);
  }
  return { width, height, channels: 1, data };
}

function mark(data, width, height, [col, row], cover, value) {
  const [left, top] = [col * TILE, row * TILE];
  for (let y = top; y < Math.min(top + TILE, height); y += 1) {
    for (let x = left, k = (y - top) * TILE; x < Math.min(left + TILE, width); x += 1, k += 1) {
      if (cover[k] >= HALF) data[y * width + x] = value;
    }
  }
}

/** `core`: head() -> state, mode(), acting() -> tiles of the mask that acts, changed(box), above(), emit(name, detail). Every change is told as "scribble". */
export function createScribble(core) {
  let marks = [];
  let undone = []; // marks that were taken back, the last one last
  let answer = null; // grey pixels: the object
  let tiles = null; // the mask as it would be with it, as it is drawn now

  function show(next = answer) {
    const before = tiles;
    answer = next;
    const state = core.head();
    tiles = answer && state ? apply(state, { op: "maskCombine", mode: core.mode(), x: 0, y: 0 }, () => answer).mask.tiles : null;
    if (before || tiles) eachDiffering(before ?? core.acting(), tiles ?? core.acting(), core.changed);
  }

  function turned(next, taken) {
    marks = next;
    undone = taken;
    if (!marks.length) show(null);
    core.above();
    core.emit("scribble", { marks: marks.length });
  }

  return {
    get marks() {
      return marks;
    },
    get answer() {
      return answer;
    },
    get canUndo() {
      return marks.length > 0;
    },
    get canRedo() {
      return undone.length > 0;
    },
    /** The mask with the answer, while there is one. */
    tiles: () => tiles,
    add: (mark) => turned([...marks, mark], []),
    /** The last mark is taken back, or done again. */
    undo: () => turned(marks.slice(0, -1), [...undone, marks.at(-1)]),
    redo: () => turned([...marks, undone.at(-1)], undone.slice(0, -1)),
    /** All marks go, and the answer with them; `redo` brings them back, unless they are `done` with. */
    drop(done = false) {
      if (marks.length || undone.length) turned([], done ? [] : [...undone, ...marks.toReversed()]);
    },
    /** Marks from before a reload. */
    restore: (kept) => turned([...kept], []),
    /** What the marks say, or null where none lies on the object. */
    picture: () => (marks.some(({ on }) => on) && core.head() ? marksOf(marks, core.head()) : null),
    /** Draws the answer, grey pixels of the document's size or null, instead of the one before. */
    show(picture) {
      show(picture);
      core.emit("scribble", { marks: marks.length });
    },
    /** The document or the way of combining is another one. */
    refresh(other = false) {
      if (other && undone.length) undone = [];
      if (answer) show();
    },
  };
}
