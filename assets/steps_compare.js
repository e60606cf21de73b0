// Two runs or branches held against each other: a card with the parent, and a room of its own with one scrubber for both.

import { drawDifference as drawApart } from "./compare_difference.js";
import { button, h } from "./dom.js";
import { choice, segments } from "./steps_marks.js";
import { drawSmall, drawStep } from "./steps_picture.js";
import { have, want } from "./steps_pictures.js";
import * as server from "./steps_server.js";
import { createWipe } from "./steps_wipe.js";

const GAINS = [1, 2, 4, 8, 16, 32];
const REST = 150; // ms

const known = new Map(); // run id -> facts, for pictures only: the split into bands does not matter here

async function factsOf(id, view) {
  const { run } = view();
  if (run?.id === id) return run;
  if (!known.has(id)) known.set(id, await server.run(id, { wavelet: "db2", levels: 4 }));
  return known.get(id);
}

const within = (run, step) => Math.max(0, Math.min(step, run.steps.length - 1));
const bestLook = (run) => (run.space.picture ? "full" : "fast");
const full = (run, step) => server.stepAddress(run.id, within(run, step), { look: bestLook(run) });

/** The card: what the run that is shown came from, or what came of it last. `actions`: compare(mode). */
export function createBeforeView(actions, view) {
  let pair = null; // [before, after]
  let ready = Promise.resolve(); // once the pair is there, or is known not to come
  let asked = 0;
  let at = 0;
  const wipe = createWipe("Before and after");
  const hint = h("p", { class: "wb-faint" }, "Before and after stand here once there is a branch.");
  const frame = h("div", { class: "wb-wipe-frame" }, wipe.element);
  const large = button("quiet small icon", "Compare large", "compare", () => actions.compare("wipe"));
  const element = h("section", { class: "wb-card wb-before", "aria-label": "Before and after" }, h("div", { class: "wb-card-head" }, h("h3", {}, "Before and after"), h("span", { class: "wb-faint" }, "drag, or hold B"), large), hint, frame);

  function open(run) {
    ready = load(run);
  }

  async function load(run) {
    const mine = (asked += 1);
    known.clear();
    const child = run.tree.filter(({ parent }) => parent === run.id).at(-1);
    const ids = run.parent ? [run.parent, run.id] : child ? [run.id, child.id] : null;
    frame.hidden = large.hidden = !ids;
    hint.hidden = Boolean(ids);
    pair = null;
    if (!ids) return;
    try {
      const found = await Promise.all(ids.map((id) => factsOf(id, view)));
      await Promise.all(found.map((facts) => want(server.stripAddress(facts.id))));
      if (mine !== asked) return;
      pair = found;
    } catch {
      if (mine === asked) frame.hidden = true; // the other one is gone: nothing to hold against
      return;
    }
    wipe.size(run.canvas.width, run.canvas.height);
    wipe.name("Before", "After");
    wipe.element.title = `${pair[0].label} on the left, ${pair[1].label} on the right`;
    step(at);
    rest();
  }

  function step(index) {
    at = index;
    if (!pair) return;
    drawStep(wipe.first, pair[0], within(pair[0], at));
    drawStep(wipe.second, pair[1], within(pair[1], at));
  }

  async function rest() {
    if (!pair) return;
    const [mine, shown] = [asked, at];
    await Promise.allSettled(pair.map((run) => want(full(run, shown))));
    if (mine === asked && shown === at) step(at);
  }

  return {
    element,
    open,
    step,
    rest,
    /** The run that B shows in place of the one that is open, or null. */
    other: () => ready.then(() => pair?.find(({ id }) => id !== view().run.id) ?? null),
  };
}

/** The room: side by side, wipe, or the difference, amplified. */
export function createCompareView(view) {
  let runs = [null, null];
  let at = 0;
  let mode = "side";
  let gain = 8;
  let resting = null;
  let drawing = false;
  let scratch = null;

  const sides = ["First run", "Second run"].map((name) => h("canvas", { role: "img", "aria-label": name })); // until it is drawn
  const names = [h("span", { class: "wb-hud" }), h("span", { class: "wb-hud" })];
  const side = h("div", { class: "wb-compare-sides" }, ...sides.map((canvas, k) => h("div", { class: "wb-compare-side" }, canvas, names[k])));
  const wipe = createWipe("First on the left, second on the right");
  const wiping = h("div", { class: "wb-compare-one" }, wipe.element);
  const canvas = h("canvas", { role: "img", "aria-label": "Difference of the two, amplified" });
  const difference = h("div", { class: "wb-compare-one" }, canvas);
  const measured = h("p", { class: "wb-compare-words", role: "status" });
  const modes = segments("How to compare", [["side", "Side by side"], ["wipe", "Wipe"], ["difference", "Difference"]], (wanted) => turn(wanted));
  const gains = choice("Amplified", GAINS.map((times) => [times, `${times} ×`]), (value) => ((gain = Number(value)), draw()));
  gains.field.value = "8";
  const gainRow = h("label", { class: "wb-row" }, h("span", {}, "Amplified"), gains.field);
  const picks = [0, 1].map((k) => choice(k ? "Second run" : "First run", [], (id) => choose(k, id)));
  const scrubber = h("input", { type: "range", min: "1", class: "wb-scrubber", "aria-label": "Step of both", oninput: () => go(Number(scrubber.value) - 1) });
  const number = h("span", { class: "wb-output" });
  const close = button("quiet icon wb-close", "Close", "cross", () => dialog.close());
  const dialog = h(
    "dialog",
    { class: "wb-dialog wb-compare", "aria-label": "Compare two runs" },
    h("div", { class: "wb-dialog-head" }, h("h2", {}, "Compare"), h("div", { class: "wb-compare-picks" }, picks[0].field, h("span", {}, "with"), picks[1].field), modes.element, gainRow, close),
    h("div", { class: "wb-compare-room" }, side, wiping, difference),
    h("div", { class: "wb-dialog-foot wb-compare-foot" }, measured, scrubber, number),
  );
  document.querySelector(".gradio-container").append(dialog);

  const words = (entry) => `${entry.label}${entry.parent ? ` · from step ${entry.branch_at + 1}` : ""} · ${entry.request?.prompt.trim().slice(0, 48) || "no words"}`;

  async function open(wanted = mode) {
    const { run, runs: all, step } = view();
    at = step;
    const family = run.tree.map(({ id }) => id);
    const entries = [...all].sort((a, b) => Number(family.includes(b.id)) - Number(family.includes(a.id)));
    for (const pick of picks) pick.offer(entries.map((entry) => [entry.id, words(entry)]));
    const second = run.parent ?? run.tree.filter(({ parent }) => parent === run.id).at(-1)?.id ?? entries.find(({ id }) => id !== run.id)?.id ?? run.id;
    const ids = run.parent ? [run.parent, run.id] : [run.id, second];
    dialog.showModal();
    turn(wanted);
    await Promise.all(ids.map((id, k) => choose(k, id)));
  }

  async function choose(k, id) {
    picks[k].field.value = id;
    try {
      const facts = await factsOf(id, view);
      await want(server.stripAddress(id));
      if (picks[k].field.value !== id) return;
      runs[k] = facts;
    } catch (problem) {
      measured.textContent = problem.message;
      return;
    }
    if (runs[0] && runs[1]) {
      scrubber.max = String(Math.max(...runs.map((run) => run.steps.length)));
      const { width, height } = runs[0].canvas;
      wipe.size(width, height);
      sides.forEach((own, j) => Object.assign(own, runs[j].canvas));
      canvas.width = width;
      canvas.height = height;
      side.style.setProperty("--wb-ratio", String(width / height));
      difference.style.setProperty("--wb-ratio", String(width / height));
      wipe.name(runs[0].label, runs[1].label);
      runs.forEach((run, j) => (names[j].textContent = run.label));
      draw();
    }
  }

  function turn(wanted) {
    mode = wanted;
    modes.press(mode);
    side.hidden = mode !== "side";
    wiping.hidden = mode !== "wipe";
    difference.hidden = mode !== "difference";
    gainRow.hidden = mode !== "difference";
    if (runs[0] && runs[1]) draw();
  }

  function go(step) {
    const most = Math.max(...runs.map((run) => run.steps.length)) - 1;
    at = Math.max(0, Math.min(most, step));
    if (drawing) return;
    drawing = true;
    requestAnimationFrame(() => {
      drawing = false;
      draw();
    });
  }

  const differenceAddress = () => server.differenceAddress(runs[0].id, runs[1].id, within(runs[0], at), { gain, look: bestLook(runs[0]), otherStep: within(runs[1], at) });

  function draw() {
    scrubber.value = String(at + 1);
    number.textContent = `Step ${at + 1}`;
    scrubber.setAttribute("aria-valuetext", number.textContent);
    if (mode === "side") runs.forEach((run, k) => (drawStep(sides[k], run, within(run, at)), sides[k].setAttribute("aria-label", `${run.label}, step ${within(run, at) + 1}`)));
    else if (mode === "wipe") runs.forEach((run, k) => drawStep(k ? wipe.second : wipe.first, run, within(run, at)));
    else drawDifference();
    clearTimeout(resting);
    resting = setTimeout(rest, REST);
  }

  async function rest() {
    if (!dialog.open) return;
    const shown = at;
    if (mode === "difference") {
      try {
        await want(differenceAddress());
      } catch (problem) {
        measured.textContent = problem.message;
        return;
      }
    } else await Promise.allSettled(runs.map((run) => want(full(run, shown))));
    if (shown !== at) return;
    if (mode === "side") runs.forEach((run, k) => drawStep(sides[k], run, within(run, at)));
    else if (mode === "wipe") runs.forEach((run, k) => drawStep(k ? wipe.second : wipe.first, run, within(run, at)));
    else drawDifference();
  }

  /** The server's, which is exact; until it is here, the same formula on the small pictures. */
  function drawDifference() {
    const exact = have(differenceAddress());
    const context = canvas.getContext("2d");
    if (exact) {
      context.drawImage(exact.bitmap, 0, 0, canvas.width, canvas.height);
      const mean = exact.headers.get("X-Mean-Difference");
      measured.textContent = mean === null ? "" : `${Number(mean).toFixed(2)} of 255 apart on average`;
      return;
    }
    const [width, height] = [runs[0].strip.tile_width, runs[0].strip.tile_height];
    scratch ??= document.createElement("canvas");
    Object.assign(scratch, { width, height });
    const pixels = runs.map((run) => {
      scratch.getContext("2d", { willReadFrequently: true }); // the first call decides
      drawSmall(scratch, run, within(run, at));
      return scratch.getContext("2d").getImageData(0, 0, width, height);
    });
    drawApart(pixels[0], pixels[1], gain);
    scratch.getContext("2d").putImageData(pixels[0], 0, 0);
    context.drawImage(scratch, 0, 0, canvas.width, canvas.height);
  }

  dialog.addEventListener("keydown", (event) => {
    const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!way || event.target.closest("select, input, [role=slider]") || !runs[0] || !runs[1]) return;
    event.preventDefault();
    go(at + way * (event.shiftKey ? 5 : 1));
  });

  return { openRoom: open };
}
