// The Fill tab: one canvas, what stands around it, and the document it shows. Documents live on the server and what it
// has not confirmed yet in the journal, so a reload finds both again.

import "./generate.js"; // the page's session and its keys; a module is loaded once
import { createCanvas, TOOLS } from "./canvas.js";
import { decodePng } from "./canvas_png.js";
import { createToolbar } from "./canvas_toolbar.js";
import { button, h } from "./dom.js";
import { documentOf, layerOf, putBackInto } from "./fill_back.js";
import { createColours } from "./fill_colours.js";
import { documentOfPicture, emptyDocument, load, nameOf, recover } from "./fill_document.js";
import { createCropBar } from "./fill_crop.js";
import { createDocuments } from "./fill_documents.js";
import { createEmpty } from "./fill_empty.js";
import { bounded, createExpandRow } from "./fill_expand.js";
import { createFiles } from "./fill_files.js";
import { createPast } from "./fill_history.js";
import { createContextView, createHowView } from "./fill_how.js";
import { createJournal } from "./fill_journal.js";
import { attachFillKeys } from "./fill_keys.js";
import { createLayersView } from "./fill_layers.js";
import { address, addressed, keepLastDocument, keepStep, keptStep, lastDocument, takeWish } from "./fill_link.js";
import { createMaskView } from "./fill_mask.js";
import { createOptions } from "./fill_options.js";
import { count, menus } from "./fill_parts.js";
import { framed, planOf } from "./fill_plan.js";
import { createPromptBar } from "./fill_prompt.js";
import { createFillRun } from "./fill_run.js";
import { createSays } from "./fill_says.js";
import { createScribbleBar } from "./fill_scribble.js";
import { refine, select } from "./fill_selections.js";
import * as server from "./fill_server.js";
import { createSettings, INTENTS, settingsOf } from "./fill_settings.js";
import { createShown } from "./fill_shown.js";
import { createStepMode } from "./fill_step.js";
import { createStrokes } from "./fill_strokes.js";
import { createSync } from "./fill_sync.js";
import { createVariations } from "./fill_variations.js";
import { createWords } from "./fill_words.js";
import { Silence, pictureAddress, session as askSession } from "./server.js";
import { openInSteps, openUnfinished } from "./steps_link.js";

const RETRY = 2000; // ms until the server is asked again

const settings = createSettings((found) => sync?.keep(found));
const { values } = settings;

const draw = () => shown.draw();

const { notice, report, announce, ...says } = createSays();

let room = null; // the tab's element
let canvas = null;
let parts = null;
let sync = null;
let run = null; // the fill that is asked, painted and looked at
let journal = null;
let current = null; // the document: {id, name}
let session = null; // what the server knows of this visitor
let presets = [];
let intents = {}; // what suits each, as the server decides it
let shown = null; // what draws the state
let visible = false;
let arriving = null;
let again = null; // the layer of an earlier fill whose request is in the bar: {id, name, facts, seen}
let box = null; // the frame of an expansion, in the document's pixels
let result = null; // the server's comparison of the fill that was kept last, while its mask stands
let sending = false;

/** Called by Gradio once, with the element of the tab's gr.HTML. */
export function mount(element) {
  room = element.querySelector(".wb-fill");
  build();
  new ResizeObserver(seen).observe(room);
  addEventListener("wavebrush-fill", () => visible && arrive());
  addEventListener("hashchange", () => visible && addressed()?.id && addressed().id !== current?.id && arrive());
  room.addEventListener("keydown", key);
  attachFillKeys(canvas, { visible: () => visible, stepping: () => parts.steps.active(), current: () => current, settled: () => sync.settled(), notice, busy });
  seen();
}

function build() {
  const host = h("div", { class: "wb-fill-canvas" });
  const stage = h("div", { class: "wb-fill-room" }, host);
  room.replaceChildren(stage); // the canvas measures its host
  canvas = createCanvas(host, { label: "Canvas", fullscreen: room, fetchPixels: server.pixels, fetchState: (node) => server.readState(current.id, node) });
  sync = createSync(canvas, (state) => (parts.documents.state(state), parts.past.synced(state)), (words) => notice(`This change could not be saved. ${words}`, true));
  run = createFillRun(canvas, { model: () => session.model, presets: () => presets, journal: () => journal, changed: draw, failed: report, finished });

  const files = createFiles(canvas, { visible: () => visible && !parts.steps.active(), canPlace: () => current !== null, open, restore, notice, report, busy });
  const documents = createDocuments({
    current: () => current,
    open,
    closed: close,
    renamed,
    make,
    file: files.choose,
    export: (kind) => busy(sync.settled().then(() => files.export(current.id, kind))),
    mask: () => files.saveMask(current.name.toLowerCase().replace(/[^a-z0-9]+/g, "-")),
    settled: () => sync.settled(),
    model: () => session?.model ?? { width: 512, height: 512 },
    notice,
    report,
  });
  const close_ = button("quiet icon wb-dock-close", "Close", "cross", () => dock(false));
  const words = createWords(
    () => session?.model.title || "The model",
    (prompt) => change({ prompt }),
  );
  const past = createPast(canvas, { current: () => current, picked: () => picked(canvas.layers.find(({ id }) => id === canvas.activeId)), busy: () => run.busy(), ready: () => parts.scribble.settle(), settled: () => sync.settled(), openSteps: openInSteps, notice, report, announce });
  parts = {
    files,
    past,
    words,
    documents,
    options: createOptions(canvas, TOOLS, { dock: () => dock(), past: past.opener }),
    colours: createColours(canvas),
    prompt: createPromptBar({ intent: takeIntent, typed: (prompt) => change({ prompt }, false), go }, words.element),
    expand: createExpandRow((next) => takeBox(next)),
    variations: createVariations({ choose: run.choose, keep, more: () => attempt(run.more(values)), discard: run.discard, stop: run.stop }, run.draw),
    layers: createLayersView(canvas, { picked, openSteps: openInSteps, others: (layer) => (dock(false), attempt(run.recall(layer).then(notice))) }),
    mask: createMaskView(canvas, { refine: () => busy(refine(canvas)), importMask: files.chooseMask, exportMask: () => files.saveMask("picture") }),
    context: createContextView({ set: change }),
    how: createHowView({ set: change, openSteps: () => openInSteps(again.facts.run) }),
    strokes: createStrokes(canvas, { start: (start) => change({ start }) }),
    steps: createStepMode(canvas, { left: leftStep, notice }),
    scribble: createScribbleBar(canvas, { kept: (marks) => journal?.marks(marks) }),
    crop: createCropBar(canvas, { blocked: () => (parts.steps.active() ? "A step of a run keeps its size." : run.busy() ? "Keep a variation or discard them first." : null), resized: forgetFill, notice }),
    empty: createEmpty({ file: files.choose, make: documents.makeNew, open, bin: documents.openBin, generate: () => document.getElementById("wb-generate-button")?.click() }),
    busy: h("div", { class: "wb-fill-busy", hidden: true }),
  };
  parts.dock = h(
    "aside",
    { class: "wb-fill-dock", id: "wb-fill-dock", "aria-label": "Layers, mask and settings" },
    h("div", { class: "wb-dock-head" }, documents.opener, documents.exporter, close_),
    h("div", { class: "wb-dock-body" }, parts.layers.element, parts.mask.element, parts.context.element, parts.how.element),
  );
  const tools = createToolbar(canvas, { vertical: true });
  tools.classList.add("wb-fill-toolbar");
  const column = h("div", { class: "wb-fill-tools" }, tools, parts.colours.element);
  parts.idle = [parts.options.element, column, parts.dock.querySelector(".wb-dock-body")]; // without a document
  const above = h("div", { class: "wb-fill-top" }, parts.steps.element, parts.scribble.element, parts.crop.element, says.element);
  stage.append(parts.options.smallBadge, above, parts.busy, parts.prompt.element, parts.empty.element, says.live);
  room.replaceChildren(h("h1", { class: "wb-hidden-words" }, "Fill"), parts.options.element, column, stage, parts.dock, files.drop, ...files.fields, ...menus);

  const state = () => ({ current, session, intents, sending, again, box, result });
  shown = createShown(canvas, { parts, run, values, host, announce, state, frame: (next) => (box = next) });
  canvas.tool = "brush";
  canvas.target = "mask";
  canvas.on("mask", maskTurned);
  canvas.on("frame", frameDragged);
  canvas.on("select", (wish) => busy(select(canvas, wish)));
  canvas.on("notice", ({ words }) => notice(words));
  for (const event of ["loaded", "history", "change", "tool", "scribble"]) canvas.on(event, () => !canvas.empty && draw());
  canvas.on("layers", layersTurned);
  for (const part of parts.idle) part.inert = true;
  room.classList.add("empty"); // until it is known what there is
}

// ---------------------------------------------------------------- coming and going

/** The room has a size while its tab is open, and none while it is not. */
function seen() {
  const now = room.clientWidth > 0;
  if (now === visible) return;
  visible = now;
  if (visible) arrive();
  else address(null);
}

function arrive() {
  arriving = (arriving ?? Promise.resolve()).then(meet).catch((problem) => {
    if (!server.expected(problem)) throw problem;
    report(problem);
    if (problem instanceof Silence) setTimeout(() => visible && arrive(), RETRY);
  });
  return arriving;
}

/** Does what was asked for: a picture, a step, a document by its address; or goes on with the last document. */
async function meet() {
  await introduce();
  const wish = takeWish();
  if (wish?.picture) return fromPicture(wish.picture);
  if (wish?.step) return fromStep(wish);
  if (wish?.layer) return fromRun(wish.layer);
  if (parts.steps.active()) return undefined;
  const asked = addressed()?.id;
  const unfinished = asked ? null : keptStep(); // it was on the canvas when the page was left
  if (unfinished) {
    keepStep(null);
    return openUnfinished(unfinished);
  }
  if (current && (!asked || asked === current.id)) return address(current.id);
  return parts.documents.arrive(asked, lastDocument());
}

async function introduce() {
  if (session) return;
  const [found, usual] = await Promise.all([askSession(), server.usual()]);
  [session, intents] = [found, usual.intents];
  presets = (await server.corrections().catch(() => null))?.presets ?? [];
  parts.how.useModel(session.model, presets, intents);
}

async function fromPicture(picture) {
  const pixels = await decodePng(await server.bytes(pictureAddress(picture.id)));
  const prompt = picture.request?.prompt ?? "";
  const name = nameOf(prompt);
  const state = await documentOfPicture(pixels, name, { picture: picture.id, run: picture.id });
  const { id } = await server.makeDocument(name, state);
  return open(id);
}

async function make(width, height) {
  const { id } = await server.makeDocument("Untitled", emptyDocument(width, height));
  return open(id);
}

/** A run of a fill takes the place of the layer that it came of. */
async function fromRun(wish) {
  if (parts.steps.active()) return notice("A step is being painted on. Give it back or cancel it first.", true);
  if (run.busy()) return notice("Keep a variation or discard them first.", true);
  const place = current && layerOf(canvas.layers, wish.family) ? current.id : await documentOf(wish.family);
  if (place && place !== current?.id) await open(place);
  else if (current) address(current.id);
  else await close();
  if (!place) return notice("No document shows a layer that came of that run: it was deleted, hidden or undone.", true);
  const comparison = await putBackInto(canvas, wish);
  leaveAgain();
  const unfinished = Number.isInteger(comparison.early) ? ` It was stopped at step ${comparison.early} of ${comparison.steps}, and Steps can paint it to its end.` : "";
  return notice(`It is in its place: ${count(comparison.untouched)} pixels untouched, ${count(comparison.outside_changed)} changed. Undo takes it back.${unfinished}`);
}

/** What is on the canvas is about to be another thing. */
async function leave() {
  if (sync.document) {
    await parts.scribble.settle();
    await sync.settled().catch(() => {}); // what it has not taken stays in the journal
  }
  sync.leave();
  run.leave();
  if (!parts.steps.active()) return;
  parts.steps.suspend();
  showStepping(false);
  canvas.target = "mask";
}

/** Opens a document, with what this browser knows of it that the server does not. */
async function open(id) {
  const other = id === current?.id ? null : await server.readDocument(id); // what cannot be read leaves this one open
  await leave();
  const facts = other ?? (await server.readDocument(id));
  const itsJournal = createJournal(id, () => notice("This browser has no room to keep unsaved strokes. They are saved as soon as the studio answers.", true));
  const found = itsJournal.found();
  await load(canvas, facts, found).catch((problem) => (close(), Promise.reject(problem))); // nobody paints on what is not kept
  journal = itsJournal;
  current = { id, name: facts.name };
  forgetFill();
  parts.documents.name(current.name);
  showEmpty(false);
  sync.follow({ id, head: facts.head, settings: settings.lay(facts.settings, found.settings, id) }, journal);
  const failed = await recover(canvas, journal, facts, found);
  if (failed.length) notice(`${failed.length === 1 ? "One change" : `${failed.length} changes`} from before could not be done again: ${failed[0].reason}`, true);
  keepLastDocument(id);
  if (visible) address(id);
  canvas.view.fit();
  draw();
  run.resume(found.fill);
  if (found.marks.length) {
    canvas.tool = "object";
    canvas.set({ by: "scribble" });
    canvas.scribble.restore(found.marks);
  }
}

function renamed(name) {
  current.name = name;
  parts.documents.name(name);
}

/** Nothing is open. */
function close() {
  sync.leave();
  run.leave();
  current = null;
  journal = null;
  keepLastDocument(null);
  parts.documents.name("No document");
  parts.documents.state("");
  if (visible) address("");
  showEmpty(true);
}

function showEmpty(on) {
  room.classList.toggle("empty", on);
  for (const part of parts.idle) part.inert = on;
  parts.empty.show(on, on ? parts.documents.list() : [], parts.documents.binned());
}

// ---------------------------------------------------------------- a recorded step

async function fromStep({ step, resolve, reject }) {
  try {
    await leave();
    journal = null; // a step has one of its own
    await parts.steps.open(step);
  } catch (problem) {
    if (current) await open(current.id);
    openInSteps(step.run.id);
    reject(problem);
    return;
  }
  showStepping(true);
  parts.documents.name(`Step ${step.step + 1}`);
  showEmpty(false);
  forgetFill();
  canvas.view.fit();
  canvas.focus();
  draw();
  resolve();
}

function showStepping(on) {
  room.classList.toggle("stepping", on);
  parts.documents.away(on);
}

async function leftStep(taken) {
  showStepping(false);
  visible = false; // what follows is not for the address
  location.hash = "#steps";
  document.getElementById("wb-steps-tab-button")?.click();
  canvas.target = "mask";
  if (current) await open(current.id).catch(report);
  else close();
  if (!taken) dispatchEvent(new CustomEvent("wavebrush-steps"));
}

// ---------------------------------------------------------------- what is asked for

function change(wish, redraw = true) {
  settings.set(wish);
  if (wish.prompt !== undefined) {
    parts.prompt.error(null);
    parts.words.look(wish.prompt);
  }
  if (redraw) draw();
}

function takeIntent(intent) {
  if (intent === "expand") leaveAgain();
  settings.set({ intent, start: null, laid: "", ...(intent === "expand" && { context: null }) }); // a drawn frame is of a mask
  parts.prompt.error(null);
  box = intent === "expand" && !canvas.empty ? shown.whole() : null;
  draw();
  if (intent === "expand") canvas.view.fit();
}

function takeBox(next) {
  box = next;
  draw();
}

function frameDragged({ box: dragged, done }) {
  if (run.busy()) return;
  if (framed(canvas, values, { again, current })) takeBox(done ? bounded(dragged, canvas) : dragged);
  else if (done) change({ context: dragged, margin: null });
}

function maskTurned(info) {
  if (result && (result.count !== info.count || !sameBox(result.bounds, info.bounds))) result = null;
  if (again && (again.seen.count !== info.count || !sameBox(again.seen.bounds, info.bounds))) leaveAgain();
  if (values.context && !info.count) settings.set({ context: null });
  draw();
}

const sameBox = (a, b) => (a === null || b === null || a === undefined || b === undefined ? a === b : ["x", "y", "width", "height"].every((side) => a[side] === b[side]));

/** A person chose a layer. One that was filled puts its request back into the bar. */
function picked(layer) {
  leaveAgain();
  if (layer?.kind === "fill" && layer.facts?.fill && !run.busy()) {
    const { count: pixels, bounds } = canvas.mask.info;
    again = { id: layer.id, name: layer.name, facts: layer.facts, seen: { count: pixels, bounds } };
    settings.lend({ ...settingsOf(layer.facts, session.model, intents, presets), count: values.count });
  }
  draw();
}

/** Another layer or mask: the settings are again what they were before the request of an earlier fill came back. */
function leaveAgain() {
  if (!again) return;
  again = null;
  settings.giveBack();
}

function layersTurned() {
  if (!again) return;
  const layer = canvas.empty || canvas.activeId !== again.id ? null : canvas.layers.find(({ id }) => id === again.id);
  if (layer?.facts?.fill) {
    if (again.facts.drawn && !layer.facts.drawn) settings.set({ context: null }); // it was moved, and is filled again where it lies
    again.facts = layer.facts;
  } else leaveAgain();
  draw();
}

/** A fill that is asked for again, on a document that is what it saw. */
const restore = (fill) => change({ ...settingsOf({ fill, drawn: true }, session.model, intents, presets), laid: current.id });

function forgetFill() {
  leaveAgain();
  result = null;
  settings.set({ context: null });
  box = values.intent === "expand" && !canvas.empty ? shown.whole() : null;
}

async function go() {
  if (INTENTS[values.intent].words === "needed" && !values.prompt.trim()) {
    parts.prompt.error("Say what should be there. To continue what is around it instead, choose Remove.");
    parts.prompt.focus();
    return;
  }
  if (sending) return;
  parts.prompt.error(null);
  sending = true;
  draw();
  await new Promise((next) => requestAnimationFrame(() => setTimeout(next))); // the button says so before pixels are packed
  try {
    await parts.scribble.settle(); // what is seen as masked is masked
    await attempt(run.begin(values, { box: framed(canvas, values, { again, current }) ? box : null, rerun: again }));
  } finally {
    sending = false;
    draw();
  }
}

async function attempt(work) {
  const waiting = setTimeout(() => (parts.busy.hidden = false), 200);
  try {
    await work;
  } catch (problem) {
    if (problem.field && ["prompt", "negative_prompt"].includes(problem.field)) parts.prompt.error(problem.message);
    else report(problem);
  } finally {
    clearTimeout(waiting);
    parts.busy.hidden = true;
    draw();
  }
}

const busy = (work) => attempt(work);

function keep() {
  const expanding = run.shown().pictures[run.looked()].fill.intent === "expand" && values.intent === "expand";
  const comparison = run.keep();
  const { count: pixels, bounds } = canvas.mask.info;
  result = { ...comparison, count: pixels, bounds };
  leaveAgain();
  if (expanding) {
    settings.set({ intent: "fill" });
    box = null;
    canvas.view.fit();
  }
  draw();
  canvas.focus();
}

function finished(snapshot) {
  const made = snapshot.pictures.filter(({ layer }) => layer).length;
  if (snapshot.state === "failed" && !made) notice(snapshot.error ?? snapshot.pictures[0]?.error ?? "The fill failed.", true);
  if (!made && snapshot.state !== "failed") {
    run.drop();
    notice("Stopped before anything was painted.");
  }
  announce(made ? `${made === 1 ? "One variation is" : `${made} variations are`} ready. Before is kept.` : "");
}

function dock(wanted = !room.classList.contains("dock-open")) {
  room.classList.toggle("dock-open", wanted);
  parts.options.drawer.setAttribute("aria-expanded", String(wanted));
  if (wanted) parts.documents.opener.focus();
  else parts.options.drawer.focus();
}

// ---------------------------------------------------------------- keys

function key(event) {
  if (event.defaultPrevented) return; // the canvas has taken it
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.repeat) {
    event.preventDefault();
    event.stopPropagation();
    if (run.shown() && !run.running() && run.ready()) keep();
    else if (current && !canvas.crop.box && planOf(canvas, values, { sending, running: run.running(), again, box, current }).ready) go();
  } else if (event.key === "Escape" && room.classList.contains("dock-open")) {
    event.preventDefault();
    dock(false);
  }
}
