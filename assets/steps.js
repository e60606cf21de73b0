// The Steps tab: one state, and the parts that show it. Everything else lives on the server; a reload asks for it again.

import { button, h } from "./dom.js";
import { openStep } from "./fill_link.js";
import { typing } from "./frame.js";
import { Silence, ended, follow, stop as stopJob } from "./server.js";
import { createBandsView, GAINS } from "./steps_bands.js";
import { createBranchesView } from "./steps_branches.js";
import { createCompareView, createBeforeView } from "./steps_compare.js";
import { createCurvesView } from "./steps_curves.js";
import { createHeadView } from "./steps_head.js";
import { createKeepView } from "./steps_keep.js";
import { address, addressAgain, addressed, keepShown, lastShown, takeUnfinished } from "./steps_link.js";
import { segments } from "./steps_marks.js";
import { askAgain, createFetcher, have, refusal, want } from "./steps_pictures.js";
import { createPictureView, tileAddress } from "./steps_picture.js";
import * as server from "./steps_server.js";
import { createStrengthsView } from "./steps_strengths.js";
import { createStripView } from "./steps_strip.js";

const REST = 150; // ms after which the full decode is asked for
const FRAME = 140; // ms of a step while it plays

const state = { runs: [], run: null, step: 0, show: "estimate", band: null, space: "picture", channel: null, wavelet: "db2", levels: 4, look: "signed", gain: 1 };
const view = () => state;

let room = null; // the tab's element
let parts = null; // its views
let lines = []; // views that follow the step
let visible = false;
let arriving = 0; // the newest wish for an address
let opening = 0; // the newest wish for a run
let resting = null;
let drawing = false;
let playing = null;
let strengths = null; // what the server offers
let work = null; // the branch that is being painted: {snapshot, from, unfollow}

/** Called by Gradio once, with the element of the tab's gr.HTML. */
export function mount(element) {
  room = element.querySelector(".wb-steps");
  build();
  new ResizeObserver(seen).observe(room);
  addEventListener("wavebrush-steps", () => visible && arrive());
  addEventListener("hashchange", travelled);
  addEventListener("keydown", key, { capture: true }); // before the keys of the other tabs
  addEventListener("keyup", (event) => event.key?.toLowerCase() === "b" && release());
  addEventListener("blur", release);
  seen();
}

function build() {
  const actions = { open, set, go, play, band: (band) => set({ band }), gain, show: (show) => set({ show }), refresh, compare: (mode) => parts.compare.openRoom(mode), stop, branch, paint, notice };
  parts = {
    head: createHeadView(actions, view),
    strip: createStripView(actions),
    picture: createPictureView(actions, view),
    bands: createBandsView(actions, view),
    curves: createCurvesView(actions, view),
    strengths: createStrengthsView(actions, view),
    keep: createKeepView(actions, view),
    branches: createBranchesView(actions),
    before: createBeforeView(actions, view),
    compare: createCompareView(view),
  };
  lines = [parts.strip, parts.picture, parts.bands, parts.curves, parts.strengths, parts.keep, parts.before];
  const turned = (which) => {
    room.dataset.panel = which;
    panels.press(which);
  };
  const panels = segments("What to see below", [["curves", "Curves"], ["strengths", "Strengths"], ["keep", "Step in"], ["branches", "Branches"]], turned, "wb-panels");
  parts.notice = h("div", { class: "wb-steps-notice" });
  parts.empty = h("div", { class: "wb-steps-empty" });
  parts.content = h(
    "div",
    { class: "wb-steps-content" },
    parts.head.element,
    parts.strip.element,
    h(
      "div",
      { class: "wb-steps-main" },
      h("div", { class: "wb-col wb-col-1" }, parts.picture.element, parts.picture.shows, parts.keep.element),
      h("div", { class: "wb-col wb-col-2" }, parts.bands.head, parts.bands.element, panels.element, h("div", { class: "wb-plots" }, parts.curves.element, parts.strengths.element)),
      h("div", { class: "wb-col wb-col-3" }, parts.branches.element, parts.before.element, parts.strengths.tryElement),
    ),
  );
  turned("curves");
  room.replaceChildren(parts.notice, parts.empty, parts.content);
  parts.content.hidden = true;
  fetchSmall = createFetcher(nextSmall, (arrived) => {
    if (state.run && arrived === server.stripAddress(state.run.id)) lines.forEach((part) => part.measure?.() ?? part.draw?.());
    else if (state.run && arrived === tileAddress(state.run, state.step, state)) parts.bands.draw();
  });
}

// ---------------------------------------------------------------- coming and going

/** The room has a size while its tab is open, and none while it is not. */
function seen() {
  const now = room.clientWidth > 0;
  if (now === visible) return;
  visible = now;
  if (visible) arrive();
  else {
    pause();
    address(null, true);
  }
}

/** Back, Forward, or an address that was typed: shows what it asks for. */
function travelled() {
  if (!visible) return; // steps_link.js opens the tab
  opening += 1; // what was on its way is not wanted any more
  if (addressed()) arrive();
  else if (!location.hash) document.getElementById("wb-generate-button")?.click();
}

/** Shows what the address asks for, what was shown last, or the newest run. */
async function arrive() {
  const mine = (arriving += 1);
  const asked = addressed() ?? {};
  const anew = !addressed(); // the tab was pressed: Back returns to the other one
  try {
    await refresh();
  } catch (problem) {
    return mine === arriving ? report(problem) : undefined;
  }
  if (mine !== arriving) return undefined;
  notice(null);
  const last = lastShown();
  const wanted = asked.id ?? (state.runs.find(({ id }) => id === last?.id) ?? state.runs[0])?.id ?? null;
  if (!wanted) return showEmpty();
  if (wanted === state.run?.id) {
    opening += 1; // whatever else was on its way is not wanted any more
    room.removeAttribute("aria-busy");
    address({ id: wanted, step: asked.step ?? state.step }, anew);
    parts.branches.open(state.run);
    if (asked.step !== null && asked.step !== undefined) go(asked.step);
  } else await open(wanted, asked.step ?? (last?.id === wanted ? last.step : null), anew);
  return mine === arriving ? resume() : undefined;
}

/** Takes a step onto the canvas again that was there when the page was left. */
function resume() {
  const unfinished = takeUnfinished();
  if (!unfinished || unfinished.run !== state.run?.id || unfinished.step !== state.step) return undefined; // what was asked instead is shown
  return unfinished.purpose === "edit" ? parts.keep.paint() : parts.strengths.region();
}

async function refresh() {
  state.runs = (await server.runs()).runs;
}

/** Opens a run at a step; without one at the step that is shown, or its last. `anew`: Back returns from it. */
async function open(id, step = null, anew = true) {
  const mine = (opening += 1);
  const from = location.hash;
  room.setAttribute("aria-busy", "true");
  if (!state.run) showWaiting();
  try {
    const [facts, offered] = await Promise.all([server.run(id, state), strengths ?? server.strengths().catch(() => null)]);
    if (mine !== opening) return;
    strengths = offered;
    show(facts, step, anew, from);
  } catch (problem) {
    if (mine === opening) report(problem, id);
  } finally {
    if (mine === opening) room.removeAttribute("aria-busy");
  }
}

/** `from` is the address when the facts were asked for: Back and Forward change it before they tell, and keep theirs. */
function show(facts, step, anew, from) {
  const fresh = state.run?.id !== facts.id;
  const first = !state.run;
  state.run = facts;
  room.dataset.look = facts.look; // what the numbers were measured on
  state.wavelet = facts.wavelet;
  state.levels = facts.levels;
  if (state.band !== null && state.band >= facts.bands.length) state.band = null;
  const last = facts.steps.length - 1;
  state.step = Math.max(0, Math.min(last, step ?? (first ? last : state.step)));
  askAgain();
  parts.empty.hidden = true;
  parts.content.hidden = false;
  if (fresh) want(server.stripAddress(facts.id)).then(() => state.run === facts && lines.forEach((part) => part.measure?.() ?? part.draw?.()), () => {});
  for (const part of Object.values(parts)) part.open?.(facts, strengths);
  turned();
  drawStep();
  if (visible && location.hash === from) address({ id: facts.id, step: state.step }, anew && fresh);
  keepShown({ id: state.run.id, step: state.step });
}

/** The model has woken: what was told from memory is measured now. */
async function again() {
  const before = state.run;
  const from = location.hash;
  before.waking = false; // asked once
  const facts = await server.run(before.id, state).catch(() => null);
  if (facts && state.run === before && facts.wavelet === state.wavelet && facts.levels === state.levels) show(facts, null, false, from);
}

function showEmpty() {
  state.run = null;
  parts.content.hidden = true;
  parts.empty.hidden = false;
  parts.empty.replaceChildren(
    h("h1", {}, "Make a picture and its steps appear here"),
    h("p", { class: "lead" }, "Every run is kept step by step: scrub through it, see its bands, paint into it and go on from there."),
    button("primary", "Go to Generate", "more", () => document.getElementById("wb-generate-button")?.click()),
  );
}

/** The first run of a fresh studio waits for the model, which decodes its steps. */
function showWaiting() {
  parts.empty.hidden = false;
  parts.empty.replaceChildren(h("p", { class: "lead pulse", role: "status" }, "Opening the run…"));
}

/** A run could not be shown: says so, and leaves what stands there. */
function report(problem, id = null) {
  if (problem instanceof Silence) notice("The studio is not answering. It is started with “python app.py”; then open this tab again.", true);
  else if (problem.status) notice(problem.message, true);
  else throw problem;
  if (state.run && visible) address({ id: state.run.id, step: state.step });
  if (!state.run) {
    const other = state.runs.find((run) => run.id !== id);
    if (other && id) open(other.id, null, false);
    else if (!state.runs.length) showEmpty();
  }
}

function notice(words, bad = false) {
  if (!words) return parts.notice.replaceChildren();
  const close = button("quiet icon", "Close", "cross", () => notice(null));
  return parts.notice.replaceChildren(h("div", { class: bad ? "wb-notice bad" : "wb-notice", role: bad ? "alert" : "status" }, h("p", {}, words), close));
}

// ---------------------------------------------------------------- steps

/** Scrubs: draws within the frame, asks for the full decode only at rest. */
function go(step) {
  if (!state.run) return;
  const wanted = Math.max(0, Math.min(state.run.steps.length - 1, step));
  if (wanted === state.step) return;
  state.step = wanted;
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    if (state.run) drawStep();
  });
}

function drawStep() {
  for (const part of lines) part.step(state.step);
  clearTimeout(resting);
  resting = setTimeout(rest, REST);
}

function rest() {
  if (!state.run || !visible) return;
  if (!playing) {
    parts.picture.rest().then((whole) => whole && state.run?.waking && again());
    parts.bands.rest();
    parts.before.rest();
  }
  addressAgain({ id: state.run.id, step: state.step });
  keepShown({ id: state.run.id, step: state.step });
  fetchSmall();
}

let fetchSmall = () => {};

/** The small pictures that are wanted next: the strip, then the bands of the steps nearest to the one shown. */
function nextSmall(busy) {
  const { run } = state;
  if (!run || !visible) return null;
  const wanted = (address) => !busy.has(address) && !have(address) && !refusal(address);
  if (wanted(server.stripAddress(run.id))) return server.stripAddress(run.id);
  const total = run.steps.length;
  for (let far = 0; far < total; far += 1) {
    for (const step of far ? [state.step + far, state.step - far] : [state.step]) {
      if (step < 0 || step >= total) continue;
      const tiles = tileAddress(run, step, state);
      if (wanted(tiles)) return tiles;
      const picture = server.stepAddress(run.id, step, { show: state.show, look: "fast" });
      if (state.show !== "estimate" && wanted(picture)) return picture;
    }
  }
  return null;
}

function play() {
  if (playing) return pause();
  if (!state.run) return undefined;
  if (state.step === state.run.steps.length - 1) go(0);
  playing = setInterval(() => {
    if (state.step >= state.run.steps.length - 1) return pause();
    return go(state.step + 1);
  }, FRAME);
  markPlaying();
  return undefined;
}

function pause() {
  clearInterval(playing);
  playing = null;
  markPlaying();
  if (state.run) rest();
}

function markPlaying() {
  parts.strip.playing(Boolean(playing));
  parts.picture.playing(Boolean(playing));
}

/** Changes how the run is looked at. Another wavelet or number of bands asks the server for its numbers. */
function set(wish) {
  const split = (wish.wavelet ?? state.wavelet) !== state.wavelet || (wish.levels ?? state.levels) !== state.levels;
  const before = { wavelet: state.wavelet, levels: state.levels };
  Object.assign(state, wish);
  if (split) {
    open(state.run.id, state.step, false).then(() => {
      if (state.run.wavelet !== state.wavelet || state.run.levels !== state.levels) Object.assign(state, before); // it was refused
      parts.head.turned();
    });
    return;
  }
  turned();
  drawStep();
}

/** Doubles the contrast of greys, or halves it. */
function gain(way) {
  set({ gain: Math.min(GAINS[1], Math.max(GAINS[0], state.gain * 2 ** way)) });
}

function turned() {
  for (const part of Object.values(parts)) part.turned?.();
}

// ---------------------------------------------------------------- branches

/** Runs a branch of a run, that which is shown unless said. Answers whether the server took it; it refuses in words. */
async function branch(wish, parent = state.run) {
  notice(null);
  try {
    const snapshot = await server.branch(parent.id, wish);
    work?.unfollow();
    work = { snapshot, from: wish.from ?? 0, unfollow: () => {} };
    parts.branches.work(work);
    work.unfollow = follow(snapshot.id, (news) => progressed(news, parent), () => lost());
    room.dataset.panel = "branches";
    return true;
  } catch (problem) {
    if (!(problem instanceof Silence) && !problem.status) throw problem;
    report(problem);
    return false;
  }
}

function progressed(snapshot, parent) {
  if (!work) return;
  work.snapshot = snapshot;
  if (!ended(snapshot)) return parts.branches.work(work);
  work = null;
  parts.branches.work(null);
  const made = snapshot.pictures.find((picture) => picture.id);
  if (snapshot.state === "failed" || !made) return notice(snapshot.error ?? "Nothing came of it: it was stopped before its first step.", snapshot.state === "failed");
  if (state.run?.id !== parent.id) {
    const related = state.run?.tree.some(({ id }) => id === parent.id); // then its row is missing among the branches
    return refresh().then(() => (related ? open(state.run.id, state.step, false) : undefined));
  }
  return refresh().then(() => open(made.id, Infinity));
}

function lost() {
  work = null;
  parts.branches.work(null);
  notice("The studio is not answering. What was painted so far is kept and appears under Branches when it is back.", true);
}

function stop() {
  if (work) stopJob(work.snapshot.id, false).catch(() => {});
}

/** Opens the step's picture on the canvas of the Fill tab. `purpose`: "edit" continues from it, "mask" gives a region back. */
function paint(purpose, done) {
  const { run, step } = state;
  const { width, height } = run.canvas;
  const picture = new URL(server.stepAddress(run.id, step, { look: run.space.picture ? "full" : "fast" }), document.baseURI).href;
  return openStep({ purpose, run: { id: run.id, label: run.label, prompt: run.request.prompt }, step, width, height, picture, done }).catch(report);
}

// ---------------------------------------------------------------- keys

function key(event) {
  if (!visible || !state.run || event.ctrlKey || event.metaKey || event.altKey) return;
  const { target } = event;
  if (document.querySelector("dialog[open], [popover]:popover-open")) return;
  if (target !== parts.strip.lane && typing(target)) return; // fields and the other sliders have their own keys
  const pressed = target instanceof Element && target.closest("button, a, select, summary");
  const far = event.shiftKey ? 5 : 1;
  const acts = {
    ArrowLeft: () => go(state.step - far),
    ArrowRight: () => go(state.step + far),
    Home: () => go(0),
    End: () => go(state.run.steps.length - 1),
    " ": pressed ? null : play,
    "+": () => gain(1),
    "=": () => gain(1), // the same key, without Shift, where the layout has it there
    "-": () => gain(-1),
    b: () => event.repeat || hold(),
  };
  let act = acts[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (/^[0-9]$/.test(event.key) && Number(event.key) <= state.run.bands.length) act = () => set({ band: event.key === "0" ? null : Number(event.key) - 1 });
  if (!act) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  act();
}

let held = false;

/** While B is down the picture shows what the run came from. */
async function hold() {
  held = true;
  const other = await parts.before.other();
  if (other && held) parts.picture.hold(other);
}

function release() {
  held = false;
  parts.picture.hold(null);
}
