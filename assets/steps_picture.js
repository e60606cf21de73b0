// The chosen step, large: the clean estimate, what the step added, the noisy sample, or one of its bands.

import { button, h, icon } from "./dom.js";
import { segments, spanOf, spanWords } from "./steps_marks.js";
import { have, refusal, want } from "./steps_pictures.js";
import { bandsAddress, stepAddress, stripAddress } from "./steps_server.js";

const SHOWS = [
  ["estimate", "Picture"],
  ["added", "Added by this step"],
  ["noisy", "Still noisy"],
];

/** Draws a bitmap, or a part of it, so that it fills the canvas. */
function fill(canvas, bitmap, x = 0, y = 0, width = bitmap.width, height = bitmap.height) {
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, x, y, width, height, 0, 0, canvas.width, canvas.height);
}

/** Draws the small picture of a step that came with the run. False if it is not here yet. */
export function drawSmall(canvas, run, step) {
  const sprite = have(stripAddress(run.id));
  if (!sprite) return false;
  const { columns, tile_width: width, tile_height: height } = run.strip;
  fill(canvas, sprite.bitmap, (step % columns) * width, Math.floor(step / columns) * height, width, height);
  return true;
}

/** Draws a step of a run as well as it can be at once. Answers whether that is the best there is. */
export function drawStep(canvas, run, step) {
  const best = have(stepAddress(run.id, step, { look: run.space.picture ? "full" : "fast" }));
  if (best) fill(canvas, best.bitmap);
  else drawSmall(canvas, run, step);
  return Boolean(best);
}

/** `actions`: show(what), band(index or null), play(). `view()` is the state of the tab. */
export function createPictureView(actions, view) {
  let run = null;
  let at = 0;
  let before = null; // the run that is held against this one while B is down
  let ticket = 0;

  const canvas = h("canvas", { class: "wb-big-canvas", role: "img" });
  const hud = h("div", { class: "wb-hud", hidden: true });
  const span = h("div", { class: "wb-big-scale", hidden: true });
  const back = button("icon wb-big-back", "Back to the picture", "cross", () => actions.band(null));
  const play = button("icon wb-play wb-big-play", "Play", "play", () => actions.play());
  const missing = h("p", { class: "wb-big-missing", hidden: true });
  const big = h("div", { class: "wb-big" }, canvas, hud, span, back, play, missing);
  const shows = segments("What to show", SHOWS, (what) => actions.show(what), "wb-shows");

  /** The address of what is asked for, in the given look. */
  function address(step, look) {
    const { show, band, space, wavelet, levels, look: signed, channel, gain } = view();
    if (band !== null) return bandsAddress(run.id, step, { wavelet, levels, space, show: signed, added: show === "added", look, size: Math.max(run.canvas.width, run.canvas.height), channel, band, gain });
    return stepAddress(run.id, step, { show, look, gain });
  }

  const best = () => (run.space.picture && view().show !== "noisy" ? "full" : "fast");

  function open(facts) {
    run = facts;
    at = view().step;
    const { width, height } = run.canvas;
    canvas.width = width;
    canvas.height = height;
    big.style.aspectRatio = `${width} / ${height}`;
    big.style.setProperty("--wb-ratio", String(width / height));
    before = null;
    ticket += 1;
  }

  /** Draws at once from what is here. */
  function step(index) {
    if (!run) return;
    at = index;
    ticket += 1;
    draw();
  }

  function draw() {
    const { show, band } = view();
    const shown = before ?? run;
    const words = band !== null ? `${run.bands[band]?.label}, ${run.bands[band]?.pixels}` : before ? `Before: ${before.label}` : "";
    hud.textContent = words;
    hud.hidden = !words;
    back.hidden = band === null;
    drawSpan();
    shows.press(show);
    canvas.setAttribute("aria-label", `Step ${at + 1}${words ? `, ${words}` : show === "added" ? ", what it added" : show === "noisy" ? ", the sample as it entered" : ", the picture so far"}`);
    if (before) {
      drawStep(canvas, shown, Math.min(at, shown.steps.length - 1));
      return;
    }
    const kept = have(address(at, best())) ?? have(address(at, "fast"));
    if (kept) fill(canvas, kept.bitmap);
    else if (show === "estimate" && band === null) drawSmall(canvas, run, at);
    else if (band !== null) drawTile(band);
    const why = refusal(address(at, best())) ?? null;
    missing.hidden = !why || Boolean(kept);
    if (why) missing.textContent = why;
  }

  /** Says what black and white stand for, where the picture is drawn around grey. */
  function drawSpan() {
    const { show, band, space, look } = view();
    const grey = !before && (band === null ? show === "added" : show === "added" || band > 0 || look === "magnitude" || space === "latent");
    const value = grey ? spanOf(run, view(), band) : null;
    span.hidden = value === null;
    span.textContent = value === null ? "" : spanWords(value, band === null ? "picture" : space);
    span.title = "What black and white stand for, the same at every step";
  }

  /** The band's own tile, enlarged, until the large one is here. */
  function drawTile(band) {
    const small = have(tileAddress(run, at, view()));
    if (!small) return;
    const tall = small.bitmap.height / run.bands.length;
    fill(canvas, small.bitmap, 0, band * tall, small.bitmap.width, tall);
  }

  /** The pointer or the keys rest: the full decode. Answers whether it is there. */
  async function rest() {
    if (!run || before) return false;
    const mine = ticket;
    try {
      if (!have(address(at, best())) && view().show !== "estimate" && best() !== "fast") {
        await want(address(at, "fast"));
        if (mine === ticket) draw();
      }
      await want(address(at, best()));
    } catch (problem) {
      if (!problem.status) return false; // nobody answers: what is drawn stays
    }
    if (mine === ticket) draw();
    return mine === ticket && Boolean(have(address(at, best())));
  }

  big.addEventListener("click", (event) => {
    if (event.target === canvas && view().band !== null) actions.band(null);
  });

  return {
    element: big,
    shows: shows.element,
    open,
    step,
    rest,
    draw,
    /** Shows another run in this one's place while it is held; null lets go. */
    hold(other) {
      if (before === other) return;
      before = other;
      if (run) draw();
      if (other) want(stepAddress(other.id, Math.min(at, other.steps.length - 1), { look: other.space.picture ? "full" : "fast" })).then(() => before === other && draw(), () => {});
    },
    playing(on) {
      play.replaceChildren(icon(on ? "pause" : "play"));
      play.title = on ? "Pause" : "Play";
      play.setAttribute("aria-label", play.title);
    },
  };
}

export const TILE = 192; // px, longest side of a band's tile

/** The sprite of all bands of a step, as the tiles show it. */
export function tileAddress(run, step, { show, space, wavelet, levels, look, channel, gain }, decode = "fast") {
  return bandsAddress(run.id, step, { wavelet, levels, space, show: look, added: show === "added", look: decode, size: TILE, channel, gain });
}
