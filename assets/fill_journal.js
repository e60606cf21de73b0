// What the server has not confirmed yet, kept in this browser as vectors: operations, and the stroke in progress. Written
// synchronously, so that a reload, or a crash, in the middle of a stroke finds it again.

const PREFIX = "wavebrush.journal.";
const SMALL = 24_000; // characters of a stroke that are written with every pointer event
const PAUSE = 80; // ms between two writings of a longer one

function read(key) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + key) ?? "null");
  } catch {
    return null;
  }
}

/** Answers whether it could be kept: storage may be full or switched off. */
function write(key, value) {
  try {
    if (value === null) localStorage.removeItem(PREFIX + key);
    else localStorage.setItem(PREFIX + key, typeof value === "string" ? value : JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}

/** The journal of one document, or of a recorded step. `full()` is called when this browser has no room for it. */
export function createJournal(id, full = () => {}) {
  const kept = read(id);
  let ops = Array.isArray(kept?.ops) ? kept.ops : []; // {op, parent}, oldest first
  let head = typeof kept?.head === "string" ? kept.head : null; // where the person is, if the server does not know
  let fill = kept?.fill ?? null; // {jobs: [{job, asked}]}: the fills whose variations are looked at, the oldest first
  let marks = Array.isArray(kept?.marks) ? kept.marks : []; // of a scribble on an object
  let lastStroke = 0;
  let late = null;

  function save() {
    const nothing = !ops.length && head === null && fill === null && !marks.length;
    if (!write(id, nothing ? null : { ops, head, fill, marks })) full();
  }

  function writeStroke(op) {
    lastStroke = performance.now();
    clearTimeout(late);
    late = null;
    if (!write(`${id}.stroke`, op)) full();
  }

  return {
    found: () => ({ ops: [...ops], head, stroke: read(`${id}.stroke`), fill, marks, settings: read(`${id}.settings`) }),
    add(op, parent) {
      ops = ops.filter(({ op: other }) => other.id !== op.id); // after a reload they are done again
      ops.push({ op, parent });
      head = null;
      clearTimeout(late);
      write(`${id}.stroke`, null); // it is among the operations now
      save();
    },
    amend(op) {
      const entry = ops.find((other) => other.op.id === op.id);
      if (entry) entry.op = op;
      save();
    },
    confirm(entryId) {
      if (!ops.some(({ op }) => op.id === entryId)) return;
      ops = ops.filter(({ op }) => op.id !== entryId);
      save();
    },
    /** Undo and redo: where the person is, until the server knows it. */
    at(entryId) {
      if (head === entryId) return;
      head = entryId;
      save();
    },
    fill(next) {
      fill = next;
      save();
    },
    /** What is set beside the document, until the server has it. */
    settings(next) {
      if (!write(`${id}.settings`, next)) full();
    },
    marks(next) {
      if (!next.length && !marks.length) return;
      marks = next;
      save();
    },
    /** There is nothing to keep any more. */
    clear() {
      [ops, head, fill, marks] = [[], null, null, []];
      clearTimeout(late);
      write(`${id}.stroke`, null);
      save();
    },
    /** The stroke in progress, after each pointer event; null when it came to nothing. */
    stroke(op) {
      const text = op && JSON.stringify(op);
      if (!text || text.length < SMALL || performance.now() - lastStroke > PAUSE) return writeStroke(text);
      clearTimeout(late);
      late = setTimeout(() => writeStroke(text), PAUSE);
      return undefined;
    },
  };
}
