// The sentence and the bands of the chosen step, coarse to fine: a name, a wave and a colour each, its picture and its share.

import { button, h } from "./dom.js";
import { bandColor, percent, spanOf, spanWords, wave } from "./steps_marks.js";
import { have, refusal, want } from "./steps_pictures.js";
import { tileAddress } from "./steps_picture.js";

const ANNOUNCE = 500; // ms of rest before a screen reader is told

/** How far the contrast of greys can be turned down and up. */
export const GAINS = [1 / 64, 64];

/** `actions`: band(index) makes one large, or brings the picture back; gain(±1). `view()` is the state of the tab. */
export function createBandsView(actions, view) {
  let run = null;
  let at = 0;
  let ticket = 0;
  let announcing = null;
  let tiles = [];

  const say = h("p", { class: "wb-say" });
  const live = h("div", { class: "wb-hidden-words", role: "status", "aria-live": "polite" });
  const bar = h("span", { class: "wb-scale-bar" });
  const [low, middle, high] = [h("span", {}), h("span", {}), h("span", {})];
  const unitLine = h("span", { class: "wb-scale-unit", "aria-hidden": "true" });
  const scale = h("div", { class: "wb-scale-bar-box", role: "img" }, bar, h("span", { class: "wb-scale-ends", "aria-hidden": "true" }, low, middle, high), unitLine);
  const weaker = button("quiet icon small", "Weaker contrast (−)", "minus", () => actions.gain(-1));
  const stronger = button("quiet icon small", "Stronger contrast (+)", "plus", () => actions.gain(1));
  const scaleBox = h("div", { class: "wb-scale", role: "group", "aria-label": "Scale of the greys" }, weaker, scale, stronger);
  const head = h("div", { class: "wb-say-row" }, say, scaleBox, live);
  const element = h("div", { class: "wb-bands", role: "group", "aria-label": "Bands, coarse to fine" });

  function open(facts) {
    run = facts;
    at = view().step;
    const count = run.bands.length;
    const ratio = `${run.canvas.width} / ${run.canvas.height}`;
    element.style.setProperty("--wb-band-count", String(count));
    tiles = run.bands.map((band, index) => {
      const canvas = h("canvas", { class: "wb-band-picture", width: 4, height: 4 });
      canvas.style.aspectRatio = ratio;
      const shareOf = h("b", {});
      const state = h("span", {});
      const arrived = h("i", {});
      const tile = h(
        "button",
        { type: "button", class: "wb-band", onclick: () => actions.band(view().band === index ? null : index) },
        h("span", { class: "wb-band-name" }, wave(index, count), h("span", {}, band.label)),
        h("span", { class: "wb-band-size" }, band.pixels),
        canvas,
        h("span", { class: "wb-band-values" }, shareOf, state),
        h("span", { class: "wb-meter" }, arrived),
      );
      tile.style.setProperty("--wb-this", bandColor(index, count));
      return { tile, canvas, shareOf, state, arrived };
    });
    element.replaceChildren(...tiles.map(({ tile }) => tile));
    ticket += 1;
  }

  function step(index) {
    at = index;
    ticket += 1;
    const { words } = run.steps[at];
    let strongs = 0; // "Step 12. ‹Composition has settled.› / ‹57 %› of what …": the second one starts its own line
    say.replaceChildren(...words.flatMap(({ text, strong }) => (strong ? [strongs++ === 1 ? h("br") : "", h("b", {}, text)] : [text])));
    clearTimeout(announcing);
    announcing = setTimeout(() => (live.textContent = run.steps[at]?.sentence ?? ""), ANNOUNCE);
    drawNumbers();
    draw();
  }

  /** Percent of a band in the chosen space: as the server measured it, shares to one decimal that add up to 100.0. */
  function shares() {
    const { space, show } = view();
    const source = show === "added" ? "moved" : "share";
    if (space === "picture") return run.steps[at][source];
    return tenths((show === "added" ? run.change : run.energy).latent[at]);
  }

  function drawNumbers() {
    const { band: large, space } = view();
    const percents = shares();
    run.bands.forEach((_, index) => {
      const { tile, shareOf, state, arrived } = tiles[index];
      const there = run.arrived[space]?.[at]?.[index];
      const since = run.settled_at[space]?.[index];
      const settled = since !== null && since !== undefined && since <= at;
      shareOf.textContent = `${percents[index].toFixed(1)} %`;
      state.textContent = settled ? `settled at ${since + 1}` : `${percent(there)} there`;
      arrived.style.width = `${Math.min(100, Math.max(0, there ?? 0))}%`;
      tile.setAttribute("aria-pressed", String(large === index));
    });
  }

  /** The colour bar: what is black, white and grey in the bands, the same at every step. */
  function drawScale() {
    const { show, space, look, gain } = view();
    const colour = show !== "added" && look === "signed" && space === "picture"; // the composition is then no grey
    const spans = run.bands.map((band, index) => [band.label, spanOf(run, view(), index)]).slice(colour ? 1 : 0);
    const values = spans.map(([, value]) => value).filter((value) => value !== null);
    const words = values.length ? spanWords(Math.min(...values), space, Math.max(...values)) : "";
    bar.classList.toggle("magnitude", look === "magnitude");
    low.textContent = look === "magnitude" ? "none" : "darker";
    middle.textContent = look === "magnitude" ? "" : "0";
    high.textContent = look === "magnitude" ? "strong" : "lighter";
    unitLine.textContent = words;
    const each = values.length ? spans.map(([label, value]) => `${label} ${spanWords(value, space)}`).join(", ") : "";
    const amplified = gain === 1 ? "" : gain > 1 ? `, ${gain} times as strong as usual` : `, ${1 / gain} times as weak as usual`;
    scale.setAttribute("aria-label", `Black to white, the same at every step${amplified}. ${each}`);
    scale.title = each;
    weaker.disabled = gain <= GAINS[0];
    stronger.disabled = gain >= GAINS[1];
  }

  /** Draws from what is here: the full decode, else the fast one, else what stands there at half strength. */
  function draw() {
    if (!run) return;
    const best = run.space.picture ? "full" : "fast";
    const kept = have(tileAddress(run, at, view(), best)) ?? have(tileAddress(run, at, view(), "fast"));
    element.classList.toggle("waiting", !kept);
    if (kept) {
      const { bitmap } = kept;
      const tall = Math.floor(bitmap.height / run.bands.length);
      tiles.forEach(({ canvas }, index) => {
        if (canvas.width !== bitmap.width || canvas.height !== tall) Object.assign(canvas, { width: bitmap.width, height: tall });
        canvas.getContext("2d").drawImage(bitmap, 0, index * tall, bitmap.width, tall, 0, 0, bitmap.width, tall);
      });
    }
    const why = kept ? null : refusal(tileAddress(run, at, view(), "fast"));
    element.title = why ?? "";
  }

  async function rest() {
    if (!run) return;
    const mine = ticket;
    for (const look of run.space.picture ? ["fast", "full"] : ["fast"]) {
      try {
        await want(tileAddress(run, at, view(), look));
      } catch (problem) {
        if (!problem.status) return;
      }
      if (mine !== ticket) return;
      draw();
    }
  }

  return {
    element,
    head,
    open,
    step,
    rest,
    draw,
    turned() {
      if (!run) return;
      drawScale();
      drawNumbers();
      draw();
    },
  };
}

/** Shares of the whole in percent, to one decimal, that add up to 100.0: largest remainders are rounded up. */
export function tenths(energies) {
  const sum = energies.reduce((total, energy) => total + energy, 0);
  if (!(sum > 0)) return energies.map(() => 0);
  const exact = energies.map((energy) => (energy / sum) * 1000);
  const whole = exact.map(Math.floor);
  const missing = 1000 - whole.reduce((total, value) => total + value, 0);
  const order = exact.map((value, index) => [value - whole[index], index]).sort((a, b) => b[0] - a[0]);
  for (let k = 0; k < missing; k += 1) whole[order[k][1]] += 1;
  return whole.map((value) => value / 10);
}
