// How strongly each band is corrected, as curves over the steps that can be dragged, and the branch that tries them.

import { button, h, svg } from "./dom.js";
import { HANDLES, drawn, handlesOf, isOff, same, valuesOf } from "./steps_schedule.js";
import { bandColor, choice, percent, strengthWords, wave } from "./steps_marks.js";

const FIVE = ["Composition", "Forms", "Details", "Texture", "Grain"]; // what has a wave and a colour of its own
import { upload } from "./steps_server.js";

const TALL = [46, 180]; // px of a curve, at least and at most
const EDGE = 7; // px left of the first point and right of the last
const FINE = 0.001; // per arrow key; ten times that with Shift

/** `actions`: branch(wish), paint(purpose, done). */
export function createStrengthsView(actions) {
  let run = null;
  let offer = null; // what the server says of strengths: off, presets, range, variants
  let draft = null; // Strengths, as they would be tried
  let mask = null; // id of a painted region
  let at = 0;
  let rows = [];
  let limit = 0.05;
  let tall = TALL[0];

  const preset = choice("Preset", [], (id) => take(presetOf(id)));
  const reset = button("quiet small", "Reset", "reset", () => take(off()));
  const list = h("div", { class: "wb-strength-list" });
  const axisWords = h("span", {});
  const nothing = h("p", { class: "wb-faint", hidden: true }, "This model takes no correction from the page.");
  axisWords.className = "wb-faint";
  const legend = h("div", { class: "wb-strength-legend" }, preset.field, h("span", { class: "wb-faint" }, "set, measured"));
  const element = h("section", { class: "wb-card wb-strengths", "aria-label": "Strength of each band" }, h("div", { class: "wb-card-head" }, h("h3", {}, "Strength"), axisWords, reset), legend, list, nothing);

  const here = button("", "From this step", null, () => attempt(at));
  const start = button("quiet", "From the start", null, () => attempt(0));
  const explain = h("p", {});
  const variant = choice("Where the correction acts", [], (id) => take({ ...draft, variant: id }));
  const region = button("quiet small", "In a region", "brush", chooseRegion);
  const tryElement = h(
    "section",
    { class: "wb-card wb-try", "aria-label": "Try these strengths" },
    h("div", { class: "wb-card-head" }, h("h3", {}, "Try these strengths"), region),
    explain,
    variant.field,
    h("div", { class: "wb-two-buttons" }, here, start),
  );

  /** No correction, with as many bands as this run's latent has. */
  function off() {
    const { wavelet, levels } = run.lockable ?? {};
    if (!levels || offer.off.levels > 1) return offer.off;
    return { ...offer.off, wavelet, levels, bands: Array.from({ length: levels + 1 }, () => ({ strength: 0, schedule: { kind: "constant" } })) };
  }

  const presetOf = (id) => (id === "off" ? off() : offer.presets.find((entry) => entry.id === id)?.strengths);

  function open(facts, offered) {
    const fresh = run?.id !== facts.id;
    run = facts;
    at = Math.min(at, run.steps.length - 1);
    offer = offered;
    nothing.hidden = Boolean(offer);
    for (const part of [list, legend, axisWords, reset, tryElement]) part.hidden = !offer;
    if (!offer) return;
    limit = Math.max(Math.abs(offer.range[0]), Math.abs(offer.range[1]));
    preset.offer([["off", "Off"], ...offer.presets.map(({ id, label }) => [id, label]), ["own", "Drawn"]]);
    variant.offer(offer.variants.map(({ id, label }) => [id, label]));
    variant.field.hidden = offer.variants.length < 2;
    if (fresh) mask = null;
    if (fresh && run.strengths) draft = run.strengths;
    draft ??= kept() ?? off();
    build();
  }

  /** All steps that the run was asked for: a schedule runs over those of a stopped run too that were never made. */
  const steps = () => Array.from({ length: Math.max(run.count, run.steps.length) }, (_, index) => run.steps[index] ?? { index, noise_level: null });

  /** What was drawn before a reload. */
  function kept() {
    try {
      const found = JSON.parse(sessionStorage.getItem("wavebrush.steps.strengths") ?? "null");
      return found?.formula === offer.off.formula ? found : null;
    } catch {
      return null;
    }
  }

  function take(strengths) {
    if (!strengths) return;
    const bands = draft.bands.length;
    draft = structuredClone(strengths);
    try {
      sessionStorage.setItem("wavebrush.steps.strengths", JSON.stringify(draft));
    } catch {
      // The draft then lasts as long as the page.
    }
    if (draft.bands.length === bands) draw();
    else build();
  }

  /** Names for the bands of the draft, which lie in the latent. */
  function labels() {
    const count = draft.bands.length;
    const own = run.lockable?.bands ?? run.bands.map(({ label }) => label);
    if (own.length === count) return own;
    return draft.bands.map((_, band) => (band === 0 ? own[0] : band === count - 1 ? own.at(-1) : `Band ${band + 1}`));
  }

  function build() {
    const names = labels();
    rows = names.map((name, band) => {
      // the latent has fewer bands than the picture: a name keeps its wave and colour
      const [place, count] = FIVE.includes(name) ? [FIVE.indexOf(name), FIVE.length] : [band, Math.max(FIVE.length, names.length)];
      const color = bandColor(place, count);
      const curve = svg("path", { class: "curve", style: `stroke: ${color}` });
      const area = svg("path", { class: "area", style: `fill: ${color}` });
      const zero = svg("line", { class: "zero" });
      const now = svg("line", { class: "now" });
      const points = HANDLES.map((_, handle) => point(band, handle, color));
      const drawing = svg("svg", { class: "wb-strength-curve", role: "group", "aria-label": `${name}: strength over the steps` }, zero, area, curve, now, ...points.map(({ group }) => group));
      const value = h("b", {});
      const effect = h("span", {});
      const row = h("div", { class: "wb-strength" }, h("span", { class: "wb-strength-name" }, wave(place, count, 18, 10, 1.6), h("span", {}, name)), drawing, h("span", { class: "wb-strength-value" }, value, effect));
      return { row, drawing, curve, area, zero, now, points, value, effect, name };
    });
    list.replaceChildren(...rows.map(({ row }) => row));
    draw();
  }

  function point(band, handle, color) {
    const hit = svg("circle", { r: 15, class: "hit" });
    const dot = svg("circle", { r: 4.5, class: "dot", style: `stroke: ${color}` });
    const group = svg("g", { class: "point", role: "slider", tabindex: "0", "aria-valuemin": -limit, "aria-valuemax": limit }, hit, dot);
    let dragged = null;
    const set = (value) => {
      const values = handlesOf(draft.bands[band], steps(), run.count);
      values[handle] = Math.max(-limit, Math.min(limit, value));
      take({ ...draft, bands: draft.bands.map((old, k) => (k === band ? drawn(values) : old)) });
    };
    const now = () => handlesOf(draft.bands[band], steps(), run.count)[handle];
    group.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      group.setPointerCapture(event.pointerId);
      dragged = { y: event.clientY, value: now() };
      group.focus({ preventScroll: true });
    });
    group.addEventListener("pointermove", (event) => {
      if (!group.hasPointerCapture(event.pointerId) || !dragged) return;
      const per = limit / (tall / 2 - 4) / (event.shiftKey ? 10 : 1);
      set(Math.round((dragged.value + (dragged.y - event.clientY) * per) / FINE) * FINE);
    });
    group.addEventListener("pointerup", () => (dragged = null));
    group.addEventListener("dblclick", () => set(0));
    group.addEventListener("keydown", (event) => {
      const way = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1 }[event.key];
      if (way) set(Math.round((now() + way * FINE * (event.shiftKey ? 10 : 1)) / FINE) * FINE);
      else if (event.key === "Delete" || event.key === "Backspace") set(0);
      else if (event.key === "Home" || event.key === "End") set(event.key === "Home" ? -limit : limit);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    return { group, hit, dot };
  }

  function draw() {
    if (!run || !draft || !rows.length) return;
    const width = rows[0].drawing.clientWidth;
    if (!width) return;
    tall = Math.max(TALL[0], Math.min(TALL[1], Math.floor(list.clientHeight / rows.length) - 1));
    const x = (progress) => EDGE + (width - 2 * EDGE) * progress;
    const y = (value) => tall / 2 - (Math.max(-limit, Math.min(limit, value)) / limit) * (tall / 2 - 6);
    const last = Math.max(1, steps().length - 1);
    rows.forEach((row, band) => {
      const values = valuesOf(draft.bands[band], steps(), run.count);
      const line = values.map((value, step) => `${step ? "L" : "M"}${x(step / last).toFixed(1)} ${y(value).toFixed(1)}`).join("");
      row.drawing.style.height = `${tall}px`;
      row.drawing.setAttribute("viewBox", `0 0 ${width} ${tall}`);
      row.curve.setAttribute("d", values.length > 1 ? line : `M${x(0)} ${y(values[0])}H${x(1)}`);
      row.area.setAttribute("d", values.length > 1 ? `${line}V${tall / 2}H${x(0)}Z` : "");
      for (const [name, value] of Object.entries({ x1: 0, x2: width, y1: tall / 2, y2: tall / 2 })) row.zero.setAttribute(name, value);
      handlesOf(draft.bands[band], steps(), run.count).forEach((value, handle) => {
        const { group, hit, dot } = row.points[handle];
        for (const circle of [hit, dot]) {
          circle.setAttribute("cx", x(HANDLES[handle]).toFixed(1));
          circle.setAttribute("cy", y(value).toFixed(1));
        }
        const step = Math.round(HANDLES[handle] * last) + 1;
        group.setAttribute("aria-label", `${row.name}, step ${step}`);
        group.setAttribute("aria-valuenow", value.toFixed(4));
        group.setAttribute("aria-valuetext", `${row.name}, step ${step}, ${strengthWords(value)}`);
      });
      row.values = values;
      const same = run.bands.findIndex(({ label }) => label === row.name);
      row.effect.textContent = run.effect && same >= 0 ? percent(run.effect.percent[same], 1, true) : "";
      row.effect.title = row.effect.textContent ? `${row.name}: the band's final energy against the parent's` : "";
    });
    const chosen = [["off", off()], ...offer.presets.map(({ id, strengths }) => [id, strengths])].find(([, strengths]) => same(strengths, draft));
    preset.field.value = chosen?.[0] ?? "own";
    preset.field.title = offer.presets.find(({ id }) => id === chosen?.[0])?.note ?? (offer.calibrated ? "" : "Nothing was measured for this model yet: calibrate finds the strengths that close its gap.");
    variant.field.value = draft.variant;
    axisWords.textContent = "drag the points";
    step(at);
  }

  function step(index) {
    at = index;
    if (!run || !draft) return;
    const width = rows[0]?.drawing.clientWidth ?? 0;
    const x = EDGE + ((width - 2 * EDGE) * at) / Math.max(1, steps().length - 1);
    for (const { now, value, values } of rows) {
      for (const [name, place] of Object.entries({ x1: x, x2: x, y1: 2, y2: tall - 2 })) now.setAttribute(name, place);
      value.textContent = strengthWords(values?.[at] ?? 0);
    }
    const shared = at === 0 ? "" : at === 1 ? " Step 1 is shared, so it costs only the rest." : ` Steps 1 to ${at} are shared, so it costs only the rest.`;
    const nothingNew = isOff(draft) && isOff(run.strengths);
    explain.textContent = nothingNew ? "Drag a point or choose a preset first. 0 leaves a band alone." : `Same seed, same words.${shared}${mask ? " They act in the painted region only." : ""}`;
    for (const press of [here, start]) press.disabled = nothingNew || !run.latents;
    if (!run.latents) explain.textContent = "The steps of this run were let go to save memory. Paint it again to go on from it.";
  }

  /** The band that is corrected most, in words: the branch's name. */
  function label() {
    if (isOff(draft)) return "No correction";
    const values = draft.bands.map(({ strength }) => strength);
    const most = values.reduce((best, value, band) => (Math.abs(value) > Math.abs(values[best]) ? band : best), 0);
    return `${labels()[most]} ${strengthWords(values[most])}${mask ? ", in a region" : ""}`;
  }

  async function attempt(from) {
    for (const press of [here, start]) press.disabled = true;
    await actions.branch({ from, correction: isOff(draft) ? null : draft, ...(mask ? { mask } : {}), label: label() });
    step(at);
  }

  function chooseRegion() {
    if (mask) {
      mask = null;
      region.lastChild.textContent = "In a region";
      return step(at);
    }
    return actions.paint("mask", async ({ region: painted }) => {
      mask = await upload(painted);
      region.lastChild.textContent = "Everywhere again";
      step(at);
      return true;
    });
  }

  new ResizeObserver(draw).observe(list);
  return { element, tryElement, open, step, region: chooseRegion };
}
