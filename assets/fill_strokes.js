// Strokes as a beginning: where they lie becomes the mask, and from which step on the model takes over says whether they
// stay as they are or are only a hint.

import { button, h } from "./dom.js";
import { newId } from "./fill_document.js";
import { resolved } from "./fill_settings.js";
import { createSlider } from "./fill_slider.js";

const PAINTED = ["stroke", "shape"]; // ops whose region is the same on the mask
const KEEPS = 0.6; // share of the steps left out from which on strokes keep their place and colour
const HINTS = 0.3;

/**
 * What masks what was painted last: ops, or null where nothing was. Of a paint layer over others that is all of it; of
 * any other layer the strokes since it was opened or filled.
 */
export function maskOfPainted({ layers, activeId, history }) {
  const layer = layers.find(({ id }) => id === activeId);
  if (!layer || layer.blank || !layer.visible) return null;
  if (layer.kind === "paint" && layers.length > 1) return [{ op: "maskLayer", layer: layer.id }];
  const ops = [];
  for (const { op } of history.entries.slice(1, history.index + 1)) {
    if (op?.op === "group" && op.ops.some((part) => part.op === "addLayer")) ops.length = 0; // a fill was kept, and holds it
    else if (PAINTED.includes(op?.op) && op.target !== "mask" && op.layer === layer.id && op.tool !== "eraser") ops.push(op);
  }
  if (!ops.length) return null;
  return ops.map((op) => ({ ...op, id: newId(), tool: op.op === "stroke" ? "brush" : op.tool, target: "mask", layer: null, settings: { ...op.settings, opacity: 100, hardness: 100, flow: 100, mode: "add", pressureOpacity: false } }));
}

/** The rows of the prompt bar about strokes. `actions.start(step)` sets the first step, null what suits. */
export function createStrokes(canvas, actions) {
  let usual = 0;
  const start = createSlider({ label: "From step", unit: "of 20", min: 1, max: 20, value: 1, compact: true }, { input: (value) => actions.start(value - 1 === usual ? null : value - 1) });
  const means = h("small", {});
  const late = h("div", { class: "wb-start-row" }, start.element, means);
  const mask = button("small", "Mask what you painted", "brush", () => {
    const { grow, feather } = canvas.mask;
    const room = { op: "maskGrow", pixels: Math.max(grow, feather) }; // the feather fades beside the strokes, not on them
    canvas.replay([{ id: newId(), op: "group", label: "Masked what was painted", ops: [...maskOfPainted(canvas), room] }]);
    canvas.focus();
  });
  const hint = h("div", { class: "wb-masking-row" }, h("span", {}, "Nothing is masked yet."), mask);
  const element = h("div", { class: "wb-strokes" }, late, hint);

  return {
    element,
    /** Answers whether there is anything to show. */
    update(values, model, suits, again) {
      const refines = ["refine", "vary"].includes(values.intent);
      late.hidden = !refines;
      hint.hidden = again || Boolean(canvas.mask.info?.count) || !maskOfPainted(canvas);
      if (refines && suits[values.intent]) {
        const now = resolved(values, model, suits);
        usual = resolved({ ...values, start: null }, model, suits).start;
        start.bounds({ max: now.steps, value: usual + 1, unit: `of ${now.steps}` });
        start.set(now.start + 1);
        const share = now.start / now.steps;
        means.textContent = share >= KEEPS ? "late: keeps your strokes" : share <= HINTS ? "early: takes them as a hint" : "between hint and keeping";
      }
      return !late.hidden || !hint.hidden;
    },
  };
}
