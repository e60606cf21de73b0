// Mirrors the canvas to the server: the tiles of every history entry, then a node; undo and redo move the head. What is set
// beside the document follows when nobody types. While the server is away the journal keeps all of it, and this asks again
// until it answers.

import { Silence } from "./server.js";
import { addNode, setHead, setSettings, uploadBundle } from "./fill_server.js";

const AGAIN = [500, 1000, 2000, 4000, 8000]; // ms until the next attempt
const JOINED = 900; // ms of rest after which a slider's entry no longer changes
const TYPED = 600; // ms of rest after which settings are sent
const SLIDERS = new Set(["opacity", "setOpacity", "grow", "setGrow", "feather", "setFeather", "placeLayer"]);

const isBusy = ({ status }) => status === 429 || status >= 500;

/** `say(state)` hears "saved", "saving" or "waiting"; `refused(words)` hears what the server would not take. */
export function createSync(canvas, say, refused) {
  let document = null; // {id, head}
  let journal = null;
  let waiting = []; // ids of entries that the server does not have, oldest first
  let working = null;
  let attempts = 0;
  let timer = null;
  let state = "";
  let restUntil = 0;
  let settings = null; // what is set beside the document, if the server does not have it
  let typedUntil = 0;
  let barred = new Set(); // ids of entries that the server would not take, and of what follows from them

  const onLine = (id) => canvas.history.entries.some((entry) => entry.id === id);

  function tell(next) {
    if (next !== state) say((state = next));
  }

  function schedule(delay = 0) {
    clearTimeout(timer);
    timer = setTimeout(run, delay);
  }

  async function run() {
    if (!document || working) return;
    const mine = document;
    working = store(mine);
    let again = false;
    try {
      again = await working;
      attempts = 0;
    } catch (problem) {
      if (mine !== document) return;
      if (!(problem instanceof Silence) && !problem.status) throw problem;
      if (problem instanceof Silence || isBusy(problem)) {
        tell("waiting");
        schedule(AGAIN[Math.min(attempts, AGAIN.length - 1)]);
        attempts += 1;
      } else {
        tell("waiting");
        refused(problem.message);
      }
      return;
    } finally {
      working = null;
    }
    if (mine !== document) return;
    if (again !== false) schedule(again);
    else tell("saved");
  }

  /** Sends what waits. Answers the ms after which to come back, or false when all is there. */
  async function store(mine) {
    while (waiting.length && mine === document) {
      const rest = restUntil - performance.now();
      if (rest > 0 && waiting.length === 1) return rest;
      const entry = canvas.history.entry(waiting[0]); // also one that was undone and painted over: it is a way of its own
      if (!entry || (!onLine(entry.id) && (barred.has(entry.id) || barred.has(entry.parent)))) {
        barred.add(waiting[0]);
        canvas.history.drop(waiting[0]);
        journal.confirm(waiting.shift()); // there was no room to hold it, or the server would not take it
        continue;
      }
      tell("saving");
      try {
        const full = await canvas.stored(entry.id, uploadBundle);
        if (mine !== document) return false;
        await addNode(mine.id, { id: entry.id, parent: entry.parent, label: (entry.label || "Change").slice(0, 120), state: full });
      } catch (problem) {
        const never = problem.status && !isBusy(problem);
        if (never) barred.add(entry.id);
        if (!never || onLine(entry.id)) throw problem;
        refused(problem.message); // nothing that is seen follows from it
        continue;
      }
      mine.head = entry.id;
      if (waiting[0] === entry.id) waiting.shift();
      journal.confirm(entry.id);
      canvas.confirmed(entry.id);
    }
    if (mine === document && canvas.history.head !== mine.head) {
      tell("saving");
      const wanted = canvas.history.head;
      await setHead(mine.id, wanted);
      mine.head = wanted;
      if (canvas.history.head !== wanted) return 0;
    }
    if (mine === document && !waiting.length) journal.at(null);
    if (mine === document && !waiting.length && settings) {
      const rest = typedUntil - performance.now();
      if (rest > 0) return rest;
      await keepSettings(mine);
      return mine === document && (waiting.length || settings) ? 0 : false;
    }
    return waiting.length ? 0 : false;
  }

  async function keepSettings(mine) {
    const sent = settings;
    tell("saving");
    try {
      await setSettings(mine.id, sent);
    } catch (problem) {
      if (!problem.status || isBusy(problem)) throw problem;
      if (mine !== document) return;
      refused(problem.message);
      if (settings === sent) settings = null; // until they change; the journal has them
      return;
    }
    if (mine !== document || settings !== sent) return;
    settings = null;
    journal.settings(null);
  }

  /** The page may not be seen much longer, nor this run. */
  function hurry() {
    typedUntil = 0;
    if (!document || !settings || working) return;
    working = keepSettings(document)
      .catch(() => {}) // asked again below, where it is said
      .finally(() => {
        working = null;
        if (document) schedule();
      });
  }

  canvas.on("change", ({ entry }) => {
    if (!document) return;
    waiting.push(entry.id);
    if (entry.op) journal.add(entry.op, entry.parent);
    if (SLIDERS.has(entry.op?.op)) restUntil = performance.now() + JOINED;
    else restUntil = 0;
    tell("saving");
    schedule(restUntil ? JOINED : 0);
  });
  canvas.on("amended", ({ entry }) => {
    if (!document) return;
    if (!waiting.includes(entry.id)) waiting.push(entry.id);
    if (entry.op) journal.amend(entry.op);
    restUntil = performance.now() + JOINED;
    schedule(JOINED);
  });
  canvas.on("history", () => {
    if (!document || canvas.empty) return;
    if (canvas.history.head === document.head && !waiting.length) return;
    journal.at(canvas.history.head);
    tell("saving");
    schedule();
  });
  canvas.on("progress", ({ op }) => document && journal.stroke(op));
  addEventListener("online", () => document && schedule());
  for (const event of ["visibilitychange", "pagehide"]) addEventListener(event, hurry);

  return {
    /**
     * From now on this document is mirrored, {id, head, settings: those that the server lacks, or none}; `unsaved` are ids of
     * entries that are on the canvas alone.
     */
    follow(next, itsJournal, unsaved = []) {
      document = next;
      journal = itsJournal;
      settings = next.settings ?? null;
      journal.settings(settings);
      typedUntil = 0;
      waiting = [...unsaved];
      attempts = 0;
      restUntil = 0;
      barred = new Set();
      state = ""; // what was said before was of another one
      tell(document && (waiting.length || settings) ? "saving" : "saved");
      if (document) schedule();
    },
    leave() {
      document = null;
      clearTimeout(timer);
    },
    /** What is set beside the document. */
    keep(next) {
      if (!document) return;
      settings = next;
      typedUntil = performance.now() + TYPED;
      journal.settings(next);
      tell("saving");
      schedule();
    },
    /** Resolves when the server has all; rejects with its words, or its silence, if it does not take it. */
    async settled() {
      clearTimeout(timer);
      if (working) await working.catch(() => {});
      while (document) {
        restUntil = typedUntil = 0;
        working = store(document);
        try {
          const again = await working;
          if (again === false) break;
        } finally {
          working = null;
        }
      }
      tell("saved");
    },
    get document() {
      return document;
    },
  };
}
