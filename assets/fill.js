// The Fill tab: one canvas, what stands around it, and the document it shows. Documents live on the server and what it
// has not confirmed yet in the journal, so a reload finds both again.

import "./generate.js"; // the page's session and its keys; a module is loaded once
import { createCanvas, TOOLS } from "./canvas.js";
import { decodePng } from "./canvas_png.js";
import { createToolbar } from "./canvas_toolbar.js";
import { button, h } from "./dom.js";
import { createColours } from "./fill_colours.js";
import { documentOfPicture, emptyDocument, lineOf, nameOf, recover } from "./fill_document.js";
import { createDocuments } from "./fill_documents.js";
import { createEmpty } from "./fill_empty.js";
import { bounded, createExpandRow } from "./fill_expand.js";
import { typing } from "./frame.js";
import { createFiles } from "./fill_files.js";
import { createContextView, createHowView } from "./fill_how.js";
import { createJournal } from "./fill_journal.js";
import { createLayersView } from "./fill_layers.js";
import { address, addressed, keepLastDocument, lastDocument, takeWish } from "./fill_link.js";
import { createMaskView } from "./fill_mask.js";
import { createOptions } from "./fill_options.js";
import { count, menus } from "./fill_parts.js";
import { aroundMask, changeable, grown, planOf } from "./fill_plan.js";
import { createPromptBar } from "./fill_prompt.js";
import { createFillRun } from "./fill_run.js";
import { createSays } from "./fill_says.js";
import { cutOut, refine } from "./fill_selections.js";
import * as server from "./fill_server.js";
import { createSettings, INTENTS, settingsOf } from "./fill_settings.js";
import { createStepMode } from "./fill_step.js";
import { createSync } from "./fill_sync.js";
import { createVariations } from "./fill_variations.js";
import { createWords } from "./fill_words.js";
import { Silence, pictureAddress, session as askSession } from "./server.js";
import { openInSteps } from "./steps_link.js";

const RETRY = 2000; // ms until the server is asked again

const settings = createSettings();
const { values } = settings;

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
  seen();
}

function build() {
  const host = h("div", { class: "wb-fill-canvas" });
  const stage = h("div", { class: "wb-fill-room" }, host);
  room.replaceChildren(stage); // the canvas measures its host
  canvas = createCanvas(host, { label: "Canvas", fullscreen: room, fetchPixels: server.pixels, fetchState: (node) => server.readState(current.id, node) });
  sync = createSync(canvas, (state) => parts.documents.state(state), (words) => notice(`This change could not be saved. ${words}`, true));
  run = createFillRun(canvas, { model: () => session.model, presets: () => presets, journal: () => journal, changed: draw, failed: report, finished });

  const files = createFiles(canvas, { visible: () => visible && !parts.steps.active(), canPlace: () => current !== null, open, notice, report, busy });
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
  parts = {
    files,
    words,
    documents,
    options: createOptions(canvas, TOOLS, { dock: () => dock() }),
    colours: createColours(canvas),
    prompt: createPromptBar({ intent: takeIntent, typed: (prompt) => change({ prompt }, false), go }, words.element),
    expand: createExpandRow((next) => takeBox(next)),
    variations: createVariations({ choose: run.choose, keep, more: () => attempt(run.more(values)), discard: run.discard, stop: run.stop }, run.draw),
    layers: createLayersView(canvas, { picked }),
    mask: createMaskView(canvas, { refine: () => busy(refine(canvas)), importMask: files.chooseMask, exportMask: () => files.saveMask("picture") }),
    context: createContextView({ set: change }),
    how: createHowView({ set: change, openSteps: () => openInSteps(again.facts.run) }),
    steps: createStepMode(canvas, { left: leftStep }),
    empty: createEmpty({ file: files.choose, make: documents.makeNew, open, generate: () => document.getElementById("wb-generate-button")?.click() }),
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
  stage.append(parts.options.smallBadge, says.element, parts.busy, parts.steps.element, parts.prompt.element, parts.empty.element, says.live);
  room.replaceChildren(h("h1", { class: "wb-hidden-words" }, "Fill"), parts.options.element, column, stage, parts.dock, files.drop, ...files.fields, ...menus);

  canvas.tool = "brush";
  canvas.target = "mask";
  canvas.on("mask", maskTurned);
  canvas.on("frame", frameDragged);
  canvas.on("select", (wish) => busy(cutOut(canvas, wish)));
  canvas.on("notice", ({ words }) => notice(words));
  for (const event of ["loaded", "history", "change"]) canvas.on(event, () => !canvas.empty && draw());
  canvas.on("layers", layersTurned);
  for (const event of ["view", "loaded"]) canvas.on(event, () => place(host));
  new ResizeObserver(() => insets()).observe(parts.prompt.element);
  new ResizeObserver(() => place(host)).observe(host);
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
  if (parts.steps.active()) return undefined;
  const asked = addressed()?.id;
  if (current && (!asked || asked === current.id)) return address(current.id);
  const list = await parts.documents.refresh();
  const wanted = [asked, lastDocument()].find((id) => list.some((entry) => entry.id === id)) ?? list[0]?.id;
  if (wanted) return open(wanted);
  return close();
}

async function introduce() {
  if (session) return;
  session = await askSession();
  presets = (await server.corrections().catch(() => null))?.presets ?? [];
  parts.how.useModel(session.model, presets);
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

/** Opens a document, with what this browser knows of it that the server does not. */
async function open(id) {
  if (sync.document) await sync.settled().catch(() => {}); // what it has not taken stays in the journal
  sync.leave();
  run.leave();
  const facts = await server.readDocument(id);
  const itsJournal = createJournal(id, () => notice("This browser has no room to keep unsaved strokes. They are saved as soon as the studio answers.", true));
  const found = itsJournal.found();
  await canvas.load(facts.state, server.pixels, { node: facts.head, ...lineOf(facts) });
  journal = itsJournal;
  current = { id, name: facts.name };
  forgetFill();
  parts.documents.name(current.name);
  showEmpty(false);
  sync.follow({ id, head: facts.head }, journal);
  const failed = await recover(canvas, journal, facts, found);
  if (failed.length) notice(`${failed.length === 1 ? "One change" : `${failed.length} changes`} from before could not be done again: ${failed[0].reason}`, true);
  keepLastDocument(id);
  if (visible) address(id);
  canvas.view.fit();
  draw();
  run.resume(found.fill);
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
  parts.empty.show(on, on ? parts.documents.list() : []);
}

// ---------------------------------------------------------------- a recorded step

async function fromStep({ step, resolve, reject }) {
  try {
    if (sync.document) await sync.settled().catch(() => {});
    sync.leave();
    run.leave();
    await parts.steps.open(step);
  } catch (problem) {
    if (current) await open(current.id);
    openInSteps(step.run.id);
    reject(problem);
    return;
  }
  room.classList.add("stepping");
  parts.documents.name(`Step ${step.step + 1}`);
  parts.documents.away(true);
  showEmpty(false);
  forgetFill();
  canvas.view.fit();
  canvas.focus();
  draw();
  resolve();
}

async function leftStep(taken) {
  room.classList.remove("stepping");
  parts.documents.away(false);
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
  settings.set({ intent, start: null });
  parts.prompt.error(null);
  if (intent === "expand" && !canvas.empty) box = { x: 0, y: 0, width: canvas.width, height: canvas.height };
  else box = null;
  draw();
  if (intent === "expand") canvas.view.fit();
}

function takeBox(next) {
  box = next;
  draw();
}

function frameDragged({ box: dragged, done }) {
  if (run.busy()) return;
  if (values.intent === "expand" && !again) takeBox(done ? bounded(dragged, canvas) : dragged);
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
    again = { id: layer.id, name: layer.name, facts: layer.facts, seen: { count: pixels, bounds }, before: { ...values } };
    settings.set({ ...settingsOf(layer.facts, session.model), count: values.count });
  }
  draw();
}

/** Another layer or mask: the settings are again what they were before the request of an earlier fill came back. */
function leaveAgain() {
  if (!again) return;
  const { before } = again;
  again = null;
  settings.set(before);
}

function layersTurned() {
  if (again && (canvas.empty || !canvas.layers.some(({ id }) => id === again.id) || canvas.activeId !== again.id)) {
    leaveAgain();
    draw();
  }
}

function forgetFill() {
  leaveAgain();
  result = null;
  settings.set({ context: null });
  box = values.intent === "expand" && !canvas.empty ? { x: 0, y: 0, width: canvas.width, height: canvas.height } : null;
}

const now = () => ({ sending, running: run.running(), again, box });

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
    await attempt(run.begin(values, { box: values.intent === "expand" && !again ? box : null, rerun: again }));
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
    run.discard();
    notice("Stopped before anything was painted.");
  }
  announce(made ? `${made === 1 ? "One variation is" : `${made} variations are`} ready. Before is kept.` : "");
}

// ---------------------------------------------------------------- what is shown

let drawing = false;

function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    if (!canvas.empty) drawAll();
  });
}

function drawAll() {
  const stepping = parts.steps.active();
  const shown = stepping ? null : run.shown();
  const over = shown && !run.running();
  parts.prompt.element.hidden = stepping || !current;
  parts.prompt.place("above", shown ? parts.variations.element : null);
  parts.prompt.element.classList.toggle("staged", Boolean(shown));
  if (shown) {
    parts.variations.update(shown, run.looked());
    parts.variations.relabel(shown.pictures.length);
  } else parts.variations.forget();
  const expanding = values.intent === "expand" && !again && !stepping;
  parts.prompt.place("between", expanding && !shown ? parts.expand.element : null);
  if (expanding && !box) box = { x: 0, y: 0, width: canvas.width, height: canvas.height };
  if (expanding) parts.expand.set(box, { width: canvas.width, height: canvas.height });
  parts.prompt.update({ ...values, ...planOf(canvas, values, now()), primary: !over });
  parts.words.look(INTENTS[values.intent].words === "none" || shown ? "" : values.prompt);
  const seen = stepping ? null : aroundMask(canvas, values, session?.model);
  parts.context.update(values, expanding ? null : seen);
  parts.context.element.hidden = stepping || expanding;
  parts.mask.element.hidden = expanding || (stepping && parts.steps.purpose() === "edit");
  parts.how.element.hidden = stepping;
  parts.how.update(values, { painted: Boolean(again), run: again?.facts.run ?? null });
  drawFrame(seen, expanding);
  drawBadge(shown);
  const idle = stepping ? parts.steps.purpose() === "edit" : expanding; // a mask that does not act is not drawn
  canvas.overlay.maskLook = idle ? "none" : shown || result ? "ants" : "hatch";
  insets();
}

function drawFrame(seen, expanding) {
  const { overlay } = canvas;
  if (parts.steps.active()) return overlay.setFrame(null);
  if (run.busy()) return overlay.setFrame(run.frame(), { handles: false, beyond: true });
  if (again) return overlay.setFrame(again.facts.frame ?? null, { handles: false });
  if (expanding) return overlay.setFrame(box, { label: grown(box, canvas) ? `${box.width} × ${box.height}` : "drag me outwards", handles: true, beyond: true });
  return overlay.setFrame(seen?.frame ?? null, { handles: true });
}

function drawBadge(shown) {
  const comparison = (shown && !run.running() && run.count()) || result;
  const expanding = values.intent === "expand" && !again;
  let facts = null;
  if (comparison && (shown || !expanding)) facts = { untouched: comparison.untouched, changed: comparison.outside_changed };
  else if (!parts.steps.active()) facts = changeable(canvas, expanding, box);
  parts.options.badge(facts);
  if (facts) announce(facts.change === undefined ? `${count(facts.untouched)} pixels untouched, ${count(facts.changed)} changed` : `${count(facts.change)} pixels will change, ${count(facts.rest)} cannot`);
}

/** The canvas keeps clear of what floats over it. */
function insets() {
  const bar = parts.prompt.element;
  const above = [parts.options.smallBadge, parts.steps.element].some((part) => part.checkVisibility()) ? 52 : 12;
  canvas.view.setInsets({ top: above, right: 12, bottom: bar.hidden ? 12 : bar.offsetHeight + 28, left: 12 });
}

/** Where the document's corner lies in the window, and its scale: for whoever drives the page from outside. */
function place(host) {
  if (canvas.empty) return;
  const { x, y } = canvas.view.toClient(0, 0);
  host.dataset.place = JSON.stringify([x, y, canvas.view.zoom]);
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
    if (run.shown() && !run.running() && run.looked() !== null) keep();
    else if (current && planOf(canvas, values, now()).ready) go();
  } else if ((event.ctrlKey || event.metaKey) && !event.altKey && /^[zy]$/i.test(event.key) && !typing(event.target) && current) {
    event.preventDefault(); // also where a button, and not the canvas, has the focus
    if (event.key.toLowerCase() === "y" || event.shiftKey) canvas.history.redo();
    else canvas.history.undo();
  } else if (event.key === "Escape" && room.classList.contains("dock-open")) {
    event.preventDefault();
    dock(false);
  }
}
