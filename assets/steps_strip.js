// The time axis: filmstrip, ribbon, numbers and settling marks share their columns, and all of it is one scrubber.

import { button, h, icon, svg } from "./dom.js";
import { bandColor, percent, share, showHint, wave } from "./steps_marks.js";
import { have } from "./steps_pictures.js";
import { stripAddress } from "./steps_server.js";

const RIBBON = 34;
const NARROWEST = 34; // px of a thumb; below it one thumb stands for several steps
const TALLEST = 64; // px, or a part of a high window: what stands below must fit too
const PART = 0.085;

/** `actions`: go(step) scrubs, play() starts or pauses. */
export function createStripView(actions) {
  let run = null;
  let at = 0;
  let total = 0;
  let group = 1; // steps that share a thumb
  let film = { width: 0, height: 0, scale: 1 };

  const play = button("icon wb-play", "Play", "play", () => actions.play());
  const canvas = h("canvas", { class: "wb-film-canvas" });
  const later = h("i", { class: "wb-later" });
  const ring = h("i", { class: "wb-film-ring" });
  const filmBox = h("div", { class: "wb-film" }, canvas, later, ring);
  const ribbon = svg("svg", { class: "wb-moved", preserveAspectRatio: "none", role: "img" });
  const ribbonBox = h("div", { class: "wb-moved-box" }, ribbon);
  const axis = h("div", { class: "wb-axis" });
  const flags = h("div", { class: "wb-flags" });
  const lane = h("div", { class: "wb-lane", role: "slider", tabindex: "0", "aria-label": "Step", "aria-valuemin": "1", "aria-orientation": "horizontal" }, filmBox, ribbonBox, axis, flags);
  const element = h(
    "section",
    { class: "wb-timeline wb-card", "aria-label": "Steps of this run" },
    h("div", { class: "wb-gutter wb-gutter-play" }, play),
    h("div", { class: "wb-gutter wb-gutter-moved" }, "what each", h("br"), "step moved"),
    h("div", { class: "wb-gutter wb-gutter-step" }, "step"),
    h("div", { class: "wb-gutter wb-gutter-settled" }, "settled"),
    lane,
  );

  // ------------------------------------------------------------------ drawing

  function open(facts) {
    run = facts;
    total = run.steps.length;
    at = Math.min(at, total - 1);
    lane.setAttribute("aria-valuemax", String(total));
    drawRibbon();
    drawFlags();
    measure();
  }

  /** The sprite of all steps has arrived, or the room has another width. */
  function measure() {
    if (!run || !lane.clientWidth) return;
    const { tile_width: tileWidth, tile_height: tileHeight } = run.strip;
    const width = lane.clientWidth;
    group = Math.max(1, Math.ceil(total / Math.max(1, Math.floor(width / NARROWEST))));
    const column = (width / total) * group;
    const tall = Math.min(Math.max(TALLEST, innerHeight * PART), ((column - 2) * tileHeight) / tileWidth);
    film = { width, height: Math.max(24, Math.round(tall)), scale: Math.min(3, devicePixelRatio || 1) };
    filmBox.style.height = `${film.height}px`;
    canvas.width = Math.round(width * film.scale);
    canvas.height = Math.round(film.height * film.scale);
    drawFilm();
    drawAxis();
    drawStep();
  }

  const thumbs = () => Math.ceil(total / group);
  /** The step that a thumb shows: the chosen one where it is among its own. */
  const shownBy = (thumb) => (Math.floor(at / group) === thumb ? at : Math.min(total - 1, thumb * group + Math.floor((group - 1) / 2)));

  /** Where thumb `thumb` lies in the film, in css px: whole, never cropped, in the middle of its columns. */
  function boxOf(thumb) {
    const left = (film.width * thumb * group) / total;
    const right = (film.width * Math.min(total, (thumb + 1) * group)) / total;
    const { tile_width: tileWidth, tile_height: tileHeight } = run.strip;
    const scale = Math.min((right - left - 2) / tileWidth, film.height / tileHeight);
    const width = tileWidth * scale;
    const height = tileHeight * scale;
    return { x: (left + right - width) / 2, y: (film.height - height) / 2, width, height };
  }

  function drawFilm() {
    const sprite = have(stripAddress(run.id));
    const context = canvas.getContext("2d");
    context.setTransform(film.scale, 0, 0, film.scale, 0, 0);
    context.clearRect(0, 0, film.width, film.height);
    if (!sprite) {
      context.fillStyle = "#80808030"; // the places of pictures that are on their way
      for (let thumb = 0; thumb < thumbs(); thumb += 1) context.fillRect(...Object.values(boxOf(thumb)));
      return;
    }
    context.imageSmoothingQuality = "high";
    for (let thumb = 0; thumb < thumbs(); thumb += 1) drawThumb(context, sprite.bitmap, thumb);
  }

  function drawThumb(context, bitmap, thumb) {
    const { columns, tile_width: tileWidth, tile_height: tileHeight } = run.strip;
    const step = shownBy(thumb);
    const box = boxOf(thumb);
    context.drawImage(bitmap, (step % columns) * tileWidth, Math.floor(step / columns) * tileHeight, tileWidth, tileHeight, box.x, box.y, box.width, box.height);
  }

  function drawRibbon() {
    const count = run.bands.length;
    const gap = total > 120 ? 0 : total > 60 ? 0.1 : total > 30 ? 0.08 : 0.0022 * total;
    ribbon.setAttribute("viewBox", `0 0 ${total} ${RIBBON}`);
    ribbon.setAttribute("aria-label", "What each step moved, from composition to grain");
    ribbon.replaceChildren(
      ...run.steps.map(({ moved }, step) => {
        let y = RIBBON;
        const column = svg("g", {});
        moved.forEach((part, band) => {
          const tall = (part / 100) * RIBBON;
          y -= tall;
          column.append(svg("rect", { x: step + gap / 2, y: y.toFixed(2), width: 1 - gap, height: (tall + 0.2).toFixed(2), style: `fill: ${bandColor(band, count)}` }));
        });
        return column;
      }),
    );
  }

  function drawFlags() {
    const count = run.bands.length;
    const byStep = new Map();
    run.settled_at.picture.forEach((step, band) => {
      if (step !== null && step !== undefined) byStep.set(step, [...(byStep.get(step) ?? []), band]);
    });
    flags.replaceChildren(
      ...[...byStep].map(([step, bands]) => {
        const words = bands.map((band) => run.bands[band].label).join(", ");
        const mark = h("span", { title: `${words} settled at step ${step + 1}` }, ...bands.map((band) => wave(band, count, bands.length > 2 ? 16 : 26, 12)));
        mark.style.left = `${((step + 0.5) / total) * 100}%`;
        return mark;
      }),
    );
  }

  let numbers = [];

  function drawAxis() {
    const room = film.width / total;
    const every = [1, 2, 5, 10, 20, 50, 100].find((step) => room * step >= 26) ?? 200;
    numbers = [];
    axis.replaceChildren();
    for (let step = 0; step < total; step += 1) {
      const number = step + 1;
      const usual = number % every === 0 || (number === 1 && every > 2);
      if (!usual) continue;
      const mark = h("span", {}, String(number));
      mark.style.left = `${((step + 0.5) / total) * 100}%`;
      numbers.push({ step, mark });
      axis.append(mark);
    }
    axis.append(current);
  }

  const current = h("span", { class: "current" });

  function drawStep() {
    if (!run || !film.width) return;
    const box = boxOf(Math.floor(at / group));
    ring.style.transform = `translateX(${box.x}px)`;
    ring.style.width = `${box.width}px`;
    ring.style.height = `${box.height}px`;
    ring.style.top = `${box.y}px`;
    later.style.left = `${(film.width * Math.min(total, (Math.floor(at / group) + 1) * group)) / total}px`;
    current.textContent = String(at + 1);
    current.style.left = `${Math.max(13, Math.min(film.width - 13, ((at + 0.5) / total) * film.width))}px`; // whole at the ends too
    const near = Math.max(0.5, 30 / (film.width / total));
    for (const { step, mark } of numbers) mark.style.visibility = Math.abs(step - at) < near ? "hidden" : "";
    lane.setAttribute("aria-valuenow", String(at + 1));
    lane.setAttribute("aria-valuetext", `Step ${at + 1} of ${total}`);
  }

  function step(index) {
    const before = Math.floor(at / group);
    at = index;
    const sprite = run && group > 1 ? have(stripAddress(run.id)) : null;
    if (sprite && film.width) {
      const context = canvas.getContext("2d");
      for (const thumb of new Set([before, Math.floor(at / group)])) if (thumb < thumbs()) drawThumb(context, sprite.bitmap, thumb);
    }
    drawStep();
  }

  // ------------------------------------------------------------------ pointer

  const stepAt = (event) => Math.min(total - 1, Math.floor(share(lane, event) * total));

  lane.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !run) return;
    lane.setPointerCapture(event.pointerId);
    actions.go(stepAt(event));
  });
  lane.addEventListener("pointermove", (event) => {
    if (!run) return;
    if (lane.hasPointerCapture(event.pointerId)) actions.go(stepAt(event));
    if (event.pointerType === "mouse") hover(event);
  });
  lane.addEventListener("pointerleave", () => showHint(null));

  function hover(event) {
    const step = stepAt(event);
    const box = ribbonBox.getBoundingClientRect();
    const height = (box.bottom - event.clientY) / Math.max(1, box.height);
    if (height < 0 || height > 1) return showHint(filmBox.contains(event.target) ? `step ${step + 1}` : null, event);
    let sum = 0;
    const { moved } = run.steps[step];
    let band = moved.findIndex((part) => (sum += part) >= height * 100);
    if (band < 0) band = moved.length - 1;
    const arrived = run.arrived.picture[step][band];
    return showHint(`step ${step + 1}, ${run.bands[band].label}: ${percent(moved[band], 1)} of the change, ${percent(arrived)} of its final energy`, event);
  }

  new ResizeObserver(measure).observe(lane);

  return {
    element,
    open,
    step,
    measure,
    lane,
    playing(on) {
      play.replaceChildren(icon(on ? "pause" : "play"));
      play.title = on ? "Pause" : "Play";
      play.setAttribute("aria-label", play.title);
    },
  };
}
