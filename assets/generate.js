// The Generate page: one state, the views that show it, and what Gradio calls. Runs live on the server; this page only
// follows them, so a reload finds them again.

import { button, h } from "./dom.js";
import { listed } from "./dropped.js";
import { createEffectView, rememberWord, wordOf } from "./effect.js";
import { createExamplesView } from "./examples.js";
import * as form from "./form.js";
import { seconds, showModel, showUser, typing } from "./frame.js";
import { follows } from "./person.js";
import { mountHelp } from "./prompt_help.js";
import { createResultView } from "./result.js";
import { about, createRunView } from "./run.js";
import * as server from "./server.js";
import { createViewer, fitted } from "./viewer.js";

export { chipValues, diceTurned, formChanged, formValues, promptOfChips, seedTyped } from "./form.js";

// Where Gradio's events find us without a wait: see `_connect` in studio/web/tab_generate.py.
globalThis.wavebrush = { ...form, paint, paintLabel };

const SILENT = ["The studio is not answering. It is started with ", h("code", {}, "python app.py"), ". This page reconnects by itself."];

const LARGEST_SCALE = 6; // beyond it a small picture on the stage is only soft; the full screen goes further

let session = null; // what the server knows of this visitor
let greeted = () => {};
const greeting = new Promise((resolve) => (greeted = resolve)); // until the server was asked for the first time
let run = null; // the newest snapshot of the job being followed
let queue = []; // jobs after it
let stopFollowing = () => {};
let showing = null; // the view on the stage: examples, runs or results
let silent = false;
let posting = false;
let latest = null; // the newest job that left pictures
let lastRun = null; // seconds that the last whole job took
let trigger = () => {};
let events = [];
let place = null; // the stage's parts
let examples, runs, results, effects, viewer;
let help = { turned() {} }; // with the words of the prompt
let wordLimit = 4000; // characters; Gradio tells it with every press on Paint

// ---------------------------------------------------------------- called by Gradio

export function mount(element, gradioTrigger, names) {
  trigger = gradioTrigger;
  events = names;
  const stage = element.querySelector(".wb-stage");
  stage.setAttribute("aria-label", "Stage");
  place = {
    stage,
    back: h("div", { class: "wb-back" }),
    scroll: h("div", { class: "wb-scroll" }),
    earlier: h("div", { class: "wb-earlier", hidden: true }),
    notice: h("div", {}),
    live: h("div", { class: "wb-hidden-words", role: "status", "aria-live": "polite" }),
    file: h("input", { type: "file", accept: "image/png", hidden: true, "aria-label": "A picture painted here" }),
    drop: h("div", { class: "wb-drop" }, h("p", {}, "Drop the picture to get its settings")),
  };
  stage.replaceChildren(place.back, place.scroll, place.earlier, place.notice, place.live, place.file);
  document.body.append(place.drop);
  examples = createExamplesView({ paint: paintExample, open: () => place.file.click() });
  runs = createRunView({ stop: (everything) => stop(run.id, everything), remove: (id) => stop(id, true) });
  results = createResultView({ enlarge: (...album) => viewer.open(...album), more: paintMore, copy }, markEarlier);
  effects = createEffectView({ keep: keepWords, enlarge: (...album) => viewer.open(...album), both: () => showResult(latest, true), fail });
  viewer = createViewer();
  form.connectForm({ write: () => trigger(events[0]), mark: () => trigger(events[2]), onChange: formTurned });
  new ResizeObserver(measure).observe(place.scroll);
  listen();
  greeted(meet());
}

/** The Paint button, and Ctrl+Enter through it. */
export async function paint(row, limit) {
  wordLimit = limit;
  if (!session) await greeting;
  if (!session) return silence();
  form.clearErrors();
  const wanted = form.readForm(row, wordLimit);
  if (!wanted) return undefined;
  form.painted();
  return submit(wanted.request, wanted.count);
}

export function paintLabel() {
  if (run) return "Add to the queue";
  return form.count() === 1 ? "Paint 1 picture" : `Paint ${form.count()} pictures`;
}

// ---------------------------------------------------------------- the server

/** Asks who we are to the server: the model, the runs that are under way, the pictures so far. */
async function meet() {
  try {
    session = await server.session();
  } catch (problem) {
    if (problem instanceof server.Silence) return silence();
    if (problem.status === 401) return location.reload(); // signed out: the server shows where to sign in
    return notice([problem.message], true);
  }
  if (silent) {
    silent = false;
    clearNotice();
  }
  if (follows(session.user ?? null)) return location.reload(); // the form shows what somebody else wrote
  form.useModel(session.model);
  if (!helped) help = mountHelp(form, { ask: askWord, fail, say: (words) => notice([words]) }, session);
  helped = true;
  showModel(session.model);
  showUser(session.user ?? null);
  const ownJobs = session.jobs.filter(isOurs);
  const underWay = ownJobs.filter((job) => !server.ended(job));
  const ours = run && ownJobs.find((job) => job.id === run.id);
  if (ours && server.ended(ours)) changed(ours); // it ended while nobody listened
  else if (run && !ours) lose();
  if (underWay.length) {
    queue = underWay.slice(1);
    begin(underWay[0]);
  } else if (!showing) {
    latest = ownJobs.filter(hasPictures).pop() ?? null;
    if (latest) showResult(latest);
    else show(examples);
  }
  drawEarlier();
  estimate();
  return undefined;
}

/** The studio was restarted under a run. */
function lose() {
  const job = { ...run, state: "failed", error: null };
  notice(["The studio was started anew, which ended the run. Its finished pictures are kept."], true);
  return finish(job);
}

function silence() {
  stopFollowing();
  if (!silent) notice(SILENT, true, false);
  silent = true;
  clearTimeout(reunion);
  reunion = setTimeout(meet, 2000);
}

let reunion = null;

function begin(job) {
  stopFollowing();
  run = job;
  stopFollowing = server.follow(job.id, changed, silence);
  document.documentElement.dataset.wbBusy = "";
  if (showing !== results || !session) show(runs);
  changed(job);
}

let announced = "";

function changed(snapshot) {
  const before = run;
  run = snapshot;
  runs.update(snapshot, queue);
  if (showing === runs) measure();
  drawBack();
  estimate();
  relabel();
  const saying = snapshot.state === "running" ? `Painting picture ${snapshot.index + 1} of ${snapshot.pictures.length}` : "";
  if (saying && saying !== announced) say((announced = saying));
  const finished = (job) => job.pictures.filter((picture) => picture.id).length;
  if (before.id === snapshot.id && finished(before) !== finished(snapshot) && !server.ended(snapshot)) refreshPictures();
  if (server.ended(snapshot)) finish(snapshot);
}

const isOurs = (job) => !job.pictures[0]?.fill; // fills are followed in their own tab
const hasPictures = (job) => job.pictures.some((picture) => picture.id);

async function finish(job) {
  const watching = showing === runs;
  run = null;
  announced = "";
  delete document.documentElement.dataset.wbBusy;
  if (job.state === "done") lastRun = job.seconds;
  if (hasPictures(job)) latest = job;
  await refreshPictures();
  if (job.state === "failed" && job.error) notice([job.error], true);
  if (run) return; // something new was begun meanwhile
  const underWay = session.jobs.filter((other) => isOurs(other) && !server.ended(other) && other.id !== job.id);
  if (underWay.length) {
    queue = underWay.slice(1);
    begin(underWay[0]);
  } else {
    queue = [];
    if (watching) {
      if (latest) showResult(latest);
      else show(examples);
    }
    const kept = job.pictures.filter((picture) => picture.id).length;
    say(job.state === "failed" ? `The run failed. ${job.error ?? ""}` : job.state === "stopped" ? `Stopped. ${kept} ${kept === 1 ? "picture is" : "pictures are"} kept.` : `Done. ${kept} ${kept === 1 ? "picture" : "pictures"}.`);
  }
  drawBack();
  relabel();
  estimate();
}

async function refreshPictures() {
  try {
    session = await server.session();
    drawEarlier();
  } catch (problem) {
    if (problem instanceof server.Silence) silence();
  }
}

const submit = (request, count) => send(() => server.submit(request, count), request, count);

async function send(post, request, count, begun = () => {}) {
  if (posting) return;
  posting = true;
  clearNotice();
  try {
    const job = await post();
    begun(job);
    form.seedUsed(job.pictures[0]?.request.seed ?? request.seed);
    document.documentElement.dataset.wbStarted = "";
    if (run) {
      queue = [...queue, job];
      show(runs);
      changed(run);
      say(`Added to the queue: ${count === 1 ? "one picture" : `${count} pictures`}.`);
    } else {
      show(runs);
      begin(job);
    }
    if (matchMedia("(max-width: 640px)").matches) scrollTo({ top: 0 });
  } catch (problem) {
    if (problem instanceof server.Silence) silence();
    else if (!(problem instanceof server.Refusal)) throw problem;
    else if (!problem.field || !form.showError(problem.field, problem.message)) notice([problem.message], true);
  } finally {
    posting = false;
  }
}

/** Paints with and without a word of the prompt, at one seed. */
function askWord(word, whole, less) {
  if (!session) return silence();
  form.clearErrors();
  const request = form.requestNow(wordLimit, { prompt: whole });
  if (!request) return undefined;
  return send(() => server.beginEffect(request, less), request, 2, (job) => rememberWord(job.id, word));
}

async function stop(id, everything) {
  try {
    const snapshot = await server.stop(id, everything);
    queue = queue.filter((job) => job.id !== id);
    if (run && run.id !== id) changed(run);
    return snapshot;
  } catch (problem) {
    if (problem instanceof server.Silence) silence();
    else notice([problem.message], true);
    return null;
  }
}

// ---------------------------------------------------------------- what a person can ask of a picture

/** An example is painted as its picture was: at its seed, with what it says, and the model's own settings otherwise. */
function paintExample({ prompt, seed, file: _, ...settings }) {
  if (!session) return silence();
  const { name, width, height, num_inference_steps, guidance_scale, solver } = session.model;
  const request = { prompt, negative_prompt: "", width, height, num_inference_steps, guidance_scale, solver, ...settings, seed, model: name };
  form.writeForm(request, { fixSeed: false });
  return submit(request, 1);
}

function paintMore(request) {
  return submit({ ...(request.weighted || request.template ? request : form.asWritten(request)), seed: Math.floor(Math.random() * 2 ** 32) }, 4);
}

function copy(request) {
  form.writeForm(form.asWritten(request), { fixSeed: true });
  notice([`The settings of seed ${request.seed} are in the form.`]);
}

/** The words of a picture go into the form. */
function keepWords(request) {
  form.put({ prompt: form.asWritten(request).prompt });
  notice(["The words are in the form."]);
}

async function takeSettings(file) {
  if (file.size > 64 * 2 ** 20) return notice([`${file.name} is larger than any picture of the studio's.`], true);
  try {
    const { request, program, exact, notes, branch } = await server.importPicture(await file.arrayBuffer());
    form.writeForm(request, { fixSeed: true, pictures: 1 });
    if (program !== "wavebrush") notice([`The settings of a picture by ${program} are in the form, as far as they go.`], false, true, listed(notes));
    else {
      const other = request.model !== session.model.name ? ` It was painted by ${request.model}; ${session.model.name} will paint another picture from it.` : exact ? " Paint, and the same picture comes again." : "";
      notice([`The settings of seed ${request.seed} are in the form.${other}`], false, true, listed(notes, branch));
    }
  } catch (problem) {
    fail(problem);
  }
  return undefined;
}

function fail(problem) {
  if (problem instanceof server.Silence) silence();
  else if (problem instanceof server.Refusal) notice([problem.message], true);
  else throw problem;
}

// ---------------------------------------------------------------- the stage

function show(view) {
  if (view === examples) examples.show(session.model);
  if (showing !== view) place.scroll.replaceChildren(view.element);
  showing = view;
  if (view !== examples) document.documentElement.dataset.wbStarted = "";
  markEarlier(view === results ? results.shown() : null);
  drawBack();
  measure();
}

function showResult(job, plainly = false) {
  const word = plainly ? null : wordOf(job);
  if (word !== null) {
    effects.show(job.pictures, word);
    return show(effects);
  }
  const first = job.pictures.findIndex((picture) => picture.id);
  results.show(job.pictures, first, true);
  return show(results);
}

function measure() {
  const wanted = showing?.frame();
  if (!wanted?.request) return;
  const { request, below, beside } = wanted;
  const { clientWidth, clientHeight } = place.scroll;
  const narrow = matchMedia("(max-width: 1023px)").matches;
  const roomWidth = Math.max(96, clientWidth - 48 - (narrow ? 0 : beside));
  const roomHeight = narrow ? Math.max(240, innerHeight - 320) : Math.max(160, clientHeight - 48 - below);
  const [width, height] = fitted(request.width, request.height, Math.min(roomWidth, LARGEST_SCALE * request.width), Math.min(roomHeight, LARGEST_SCALE * request.height));
  const frame = showing.element.style;
  frame.setProperty("--wb-frame-w", `${Math.max(width, Math.min(320, roomWidth))}px`);
  frame.setProperty("--wb-frame-h", `${Math.round((Math.max(width, Math.min(320, roomWidth)) * request.height) / request.width)}px`);
  frame.setProperty("--wb-frame-ratio", `${request.width} / ${request.height}`);
}

/** While a run goes on and something else is looked at: what it does, and the way back to it. */
function drawBack() {
  const away = run && showing && showing !== runs;
  if (!away) return place.back.replaceChildren();
  const words = run.state === "running" ? `Painting picture ${run.index + 1} of ${run.pictures.length}, step ${Math.min(run.step + 1, run.steps)} of ${run.steps}` : "A run is waiting";
  if (place.back.firstChild) place.back.firstChild.lastChild.textContent = words;
  else place.back.append(button("", words, "right", () => show(runs)));
  return undefined;
}

function drawEarlier() {
  const pictures = session.pictures.slice(0, 80);
  place.earlier.hidden = !pictures.length;
  if (!pictures.length) return;
  let row = place.earlier.querySelector(".thumbs");
  if (!row) {
    row = h("div", { class: "thumbs", role: "group", "aria-label": "Pictures of this session" });
    const home = button("quiet small", "Examples", null, () => show(examples));
    const open = button("quiet small icon", "Open a picture to get its settings", "open", () => place.file.click());
    place.earlier.replaceChildren(h("span", { class: "wb-wide" }, "So far"), row, home, open);
  }
  const known = new Map([...row.children].map((thumb) => [thumb.dataset.id, thumb]));
  row.replaceChildren(
    ...pictures.map((picture, k) => {
      const thumb =
        known.get(picture.id) ??
        h("button", { type: "button", "data-id": picture.id }, h("img", { src: server.pictureAddress(picture.id), alt: "", loading: "lazy" }));
      thumb.setAttribute("aria-label", `Earlier picture ${k + 1}: ${picture.request.prompt.trim() || "no words"}`);
      thumb.onclick = () => {
        results.show(session.pictures, session.pictures.findIndex(({ id }) => id === picture.id), false);
        show(results);
      };
      return thumb;
    }),
  );
  markEarlier(showing === results ? results.shown() : null);
}

function markEarlier(picture) {
  for (const thumb of place.earlier.querySelectorAll(".thumbs button")) {
    const here = picture?.id === thumb.dataset.id;
    thumb.setAttribute("aria-current", String(here));
    if (here) reveal(thumb);
  }
}

/** Scrolls the row of thumbs, and nothing else, until one is in sight. */
function reveal(thumb) {
  const row = thumb.parentElement;
  const [from, to] = [thumb.offsetLeft - row.offsetLeft - 8, thumb.offsetLeft - row.offsetLeft + thumb.offsetWidth + 8];
  if (from < row.scrollLeft) row.scrollLeft = from;
  else if (to > row.scrollLeft + row.clientWidth) row.scrollLeft = to - row.clientWidth;
}

/** Words over the stage's foot. Good news goes by itself, unless there is `more` of it. */
function notice(words, bad = false, closes = true, more = null) {
  const close = closes ? button("quiet icon", "Close", "cross", clearNotice) : null;
  place.notice.replaceChildren(h("div", { class: bad ? "wb-notice bad" : "wb-notice", role: bad ? "alert" : "status" }, h("div", { class: "words" }, h("p", {}, ...words), more), close));
  clearTimeout(noticeTimer);
  if (!bad && !more) noticeTimer = setTimeout(clearNotice, 8000);
}

let noticeTimer = null;


function clearNotice() {
  if (!silent) place.notice.replaceChildren();
}

function say(words) {
  place.live.textContent = words;
}

let helped = false;

function formTurned() {
  help.turned();
  lastRun = null; // it says nothing about what would be painted now
  relabel();
  estimate();
}

let label = "";

function relabel() {
  const wanted = paintLabel();
  if (wanted === label) return;
  label = wanted;
  trigger(events[1]);
}

/** Below the button: when it would start, or how long it takes, but only where that was measured. */
function estimate() {
  const line = document.querySelector("#wb-estimate p");
  if (!line || !session) return;
  const each = session.model.seconds_per_picture;
  const ahead = run ? run.pictures.length - run.index + queue.reduce((sum, job) => sum + job.pictures.length, 0) : 0;
  if (ahead) line.textContent = `Starts after the ${ahead === 1 ? "picture" : `${ahead} pictures`} ahead of it`;
  else if (lastRun !== null) line.textContent = `Last run took ${seconds(lastRun)}`;
  else if (each) line.textContent = `${about(each * form.count() * form.effort()).replace(/^./, (first) => first.toUpperCase())} on this computer`;
  else line.textContent = "";
}

// ---------------------------------------------------------------- keys, drops, and coming back

function listen() {
  document.addEventListener("keydown", (event) => {
    if (!place.stage.checkVisibility()) return; // another tab is open, and the keys are its own
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.repeat) {
      event.preventDefault();
      document.getElementById("wb-paint")?.click();
    } else if ((event.key === "ArrowLeft" || event.key === "ArrowRight") && showing === results && !typing(event.target) && !document.querySelector("dialog[open]")) {
      event.preventDefault();
      results.turn(event.key === "ArrowLeft" ? -1 : 1);
    }
  }, { capture: true });

  const holdsFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  let depth = 0;
  const veil = (open) => place.drop.toggleAttribute("data-open", open);
  addEventListener("dragenter", (event) => holdsFile(event) && veil(++depth > 0));
  addEventListener("dragleave", (event) => holdsFile(event) && veil((depth = Math.max(0, depth - 1)) > 0));
  addEventListener("dragover", (event) => holdsFile(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!holdsFile(event)) return;
    event.preventDefault();
    veil((depth = 0) > 0);
    const [file] = event.dataTransfer.files;
    if (file) takeSettings(file);
  });
  place.file.addEventListener("change", () => {
    const [file] = place.file.files;
    if (file) takeSettings(file);
    place.file.value = "";
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && session && !run && !silent) meet();
  });
}
