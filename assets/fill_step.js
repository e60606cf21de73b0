// A recorded step on the canvas: painted on, or a region of it chosen, and given back to the Steps tab. It is no document
// of the server's: what is done to it is kept in this browser alone, until it is given back or let go.

import { button, h } from "./dom.js";
import { asRgba, decodePng, encodePng } from "./canvas_png.js";
import { count } from "./fill_parts.js";
import { localDocument, recover } from "./fill_document.js";
import { createJournal } from "./fill_journal.js";
import { keepStep } from "./fill_link.js";
import * as server from "./fill_server.js";

const ROOT = "step"; // the entry that the step is opened with

/**
 * `room.notice(words, bad)` tells the person; `room.left(taken)` hears when the step was given back (true) or let go (false).
 * A step is {purpose: "edit" | "mask", run: {id, label, prompt}, step, width, height, picture, done}: `picture` is the
 * address of a lossless PNG; `done({picture, region, count})` is given PNG blobs and answers whether they were taken.
 */
export function createStepMode(canvas, room) {
  let step = null;
  let base = null; // the layer that holds the step's picture
  let original = null; // that picture
  let journal = null; // while a step is open, and what was done to it before is done again
  let busy = false;
  const title = h("b", {});
  const words = h("small", { role: "status" });
  const cancel = button("quiet", "Cancel", null, () => leave(false));
  const go = button("primary", "Continue from here", "branch", finish);
  const element = h("div", { class: "wb-floating wb-step-bar", role: "region", "aria-label": "A recorded step", hidden: true }, h("p", {}, title, words), cancel, go);

  /** Rejects with the server's words if the step's picture cannot be had. */
  async function open(wish) {
    const picture = asRgba(await decodePng(await server.bytes(wish.picture)));
    const number = wish.step + 1;
    const local = await localDocument(picture, `Step ${number}`, wish.purpose === "edit" ? "Paint" : null);
    await canvas.load(local.state, local.fetchTile, { node: ROOT });
    step = wish;
    base = local.base;
    original = picture;
    canvas.tool = "brush";
    canvas.target = wish.purpose === "edit" ? "paint" : "mask";
    title.textContent = `Step ${number} of ${wish.run.label || wish.run.prompt.trim().slice(0, 60) || "the run"}`;
    go.lastChild.textContent = wish.purpose === "edit" ? `Continue from ${number}` : "Use this region";
    element.hidden = false;
    keepStep({ run: wish.run.id, step: wish.step, purpose: wish.purpose });
    journal = createJournal(`step.${wish.run.id}.${wish.step}.${wish.purpose}`, () => room.notice("This browser has no room to keep what you do to this step. Give it back before you leave.", true));
    const failed = await recover(canvas, journal, { history: [{ id: ROOT }] }, journal.found());
    if (failed.length) room.notice(`Not all of what was done to this step before could be done again: ${failed[0].reason}`, true);
    draw();
  }

  /** What was painted over the step, and how many pixels of it. */
  function painted() {
    if (step.purpose === "mask") {
      const region = canvas.effectiveMask();
      return { region, count: canvas.mask.info?.count ?? 0 };
    }
    const over = canvas.composite({ without: [base] });
    const whole = canvas.composite();
    const data = new Uint8Array(over.width * over.height);
    let pixels = 0;
    for (let k = 0; k < data.length; k += 1) {
      data[k] = over.data[k * 4 + 3];
      for (let part = k * 4; !data[k] && part < k * 4 + 4; part += 1) if (whole.data[part] !== original.data[part]) data[k] = 255; // on the step itself
      if (data[k]) pixels += 1;
    }
    return { region: { width: over.width, height: over.height, channels: 1, data }, count: pixels };
  }

  function draw() {
    if (!step || busy) return;
    const editing = step.purpose === "edit";
    const nothing = editing ? !canvas.history.canUndo : !canvas.mask.info?.count;
    go.disabled = nothing;
    words.textContent = nothing ? (editing ? "Early steps take paint as a hint; late ones keep it." : "Paint over the region where the strengths may act.") : editing ? "What you paint over it goes on from here." : `${count(canvas.mask.info.count)} px`;
  }

  async function finish() {
    const result = painted();
    if (!result.count) {
      words.textContent = "Nothing is painted on it yet.";
      return;
    }
    busy = true;
    go.disabled = cancel.disabled = true;
    words.textContent = "Saving the strokes…";
    let problem = null;
    let taken = false;
    try {
      const blob = async (picture) => new Blob([await encodePng(picture)], { type: "image/png" });
      const [picture, region] = await Promise.all([step.purpose === "edit" ? blob(canvas.composite()) : null, blob(result.region)]);
      taken = await step.done({ picture, region, count: result.count });
    } catch (raised) {
      problem = raised;
    }
    busy = false;
    go.disabled = cancel.disabled = false;
    if (taken) return leave(true);
    draw();
    words.textContent = problem?.message ?? "The studio did not take it. The strokes are still here."; // they stay
    if (problem && !server.expected(problem)) throw problem;
  }

  function leave(taken) {
    journal.clear();
    suspend();
    room.left(taken);
  }

  /** Something else comes onto the canvas: what was done to the step is kept, until it is opened again. */
  function suspend() {
    keepStep(null);
    step = base = original = journal = null;
    element.hidden = true;
  }

  canvas.on("change", ({ entry }) => entry.op && journal?.add(entry.op, entry.parent));
  canvas.on("amended", ({ entry }) => entry.op && journal?.amend(entry.op));
  canvas.on("history", () => !canvas.empty && journal?.at(canvas.history.head));
  canvas.on("progress", ({ op }) => journal?.stroke(op));
  for (const event of ["change", "history", "mask"]) canvas.on(event, draw);
  return { element, open, leave, suspend, active: () => step !== null, purpose: () => step?.purpose ?? null };
}
