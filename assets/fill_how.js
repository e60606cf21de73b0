// The dock's last two sections: how much of the surroundings the model sees, and how the fill is painted.

import { button, h, icon } from "./dom.js";
import { choices, select, toggle } from "./fill_parts.js";
import { KEPT, PREFILLS, resolved } from "./fill_settings.js";
import { createSlider } from "./fill_slider.js";

/** Around the mask. `actions.set(wish)` changes settings: margin, context. */
export function createContextView(actions) {
  const size = h("span", {});
  const margin = createSlider({ label: "Context", unit: "px each side", min: 0, max: 512, value: 32, ends: ["closer, finer", "wider, calmer"] }, { input: (value) => actions.set({ margin: value, context: null }) });
  const automatic = button("small", "Automatic", "reset", () => actions.set({ margin: null, context: null }));
  const words = h("p", { class: "wb-note" });
  automatic.hidden = true;
  const element = h("section", { class: "wb-section", "aria-label": "Around the mask" }, h("div", { class: "wb-section-head" }, h("h3", {}, "Around the mask"), size), margin.element, words, automatic);
  return {
    element,
    /** `plan`: {frame, working, automatic margin} or null where nothing is masked. */
    update(values, plan) {
      const own = values.context ? "drawn" : values.margin === null ? "automatic" : "own";
      size.textContent = plan ? `${plan.frame.width} × ${plan.frame.height} px, ${own}` : own;
      if (plan) {
        margin.bounds({ value: plan.automatic, max: Math.max(64, plan.automatic * 4, values.margin ?? 0) });
        margin.set(values.context ? plan.shown : (values.margin ?? plan.automatic));
      }
      margin.disable(!plan, "Paint a mask first");
      automatic.hidden = own === "automatic";
      words.textContent = plan ? `The model works on it at ${plan.working.width} × ${plan.working.height}. Drag the frame's corners from just outside, or with Pan, for a frame of your own.` : "A frame shows what the model will see.";
    },
  };
}

/** How it is painted. `actions`: set(wish), openSteps(). */
export function createHowView(actions) {
  let model = null;
  let presets = [];
  let usual = null; // what suits each intent, as the server says
  const title = h("h3", {}, "How it is painted");
  const start = createSlider({ label: "Start from step", unit: "of 20", min: 1, max: 20, value: 1, ends: ["invent", "keep my strokes"] }, { input: (value) => actions.set({ start: value - 1 === usualStart ? null : value - 1 }) });
  let [usualStart, usualRounds, usualGuidance] = [0, 0, null];
  const prefill = select("What the hole holds first", PREFILLS, (value) => actions.set({ prefill: value }));
  const harmonise = createSlider({ label: "Harmonise", unit: "rounds", min: 0, max: 8, value: 0, ends: ["quick", "seams agree"] }, { input: (value) => actions.set({ harmonise: value === usualRounds ? null : value }) });
  const match = toggle("Match the colours at the rim", true, (on) => actions.set({ match: on }));
  const correction = select("Correction of the model's bands", [["off", "Off"]], (value) => actions.set({ correction: value }));
  const steps = createSlider({ label: "Steps", unit: "", min: 1, max: 50, value: 20, ends: ["sketch", "finished"] }, { input: (value) => actions.set({ steps: model && value === model.num_inference_steps ? null : value }) });
  const guidance = createSlider({ label: "Guidance", unit: "", min: 0, max: 15, step: 0.1, value: 5, ends: ["loose", "to the word"] }, { input: (value) => actions.set({ guidance: value === usualGuidance ? null : value }) });
  const seed = h("input", { type: "number", class: "wb-small-field", min: 0, max: 4294967295, step: 1, "aria-label": "Seed", placeholder: "new each time" });
  seed.addEventListener("change", () => actions.set({ seed: seed.value === "" ? null : Math.max(0, Math.min(4294967295, Math.round(Number(seed.value)))) }));
  const count = choices("Variations", [[1, "1"], [2, "2"], [3, "3"], [4, "4"]], 3, (value) => actions.set({ count: value }));
  const method = select("How the known part is held", [["auto", "What suits"], ["known", "Held in any model"], ["own", "The model's own inpainting"]], (value) => actions.set({ method: value }));
  const negative = h("textarea", { class: "wb-small-area", rows: "1", maxlength: "4000", "aria-label": "Words to leave out", placeholder: "Words to steer away from", oninput: () => actions.set({ negative: negative.value }) });
  const more = h(
    "details",
    {},
    h("summary", {}, icon("chevron", true), "More"),
    h(
      "div",
      {},
      h("div", { class: "wb-row-of" }, h("span", {}, "Variations"), count.element),
      steps.element,
      guidance.element,
      h("label", { class: "wb-row-of" }, h("span", {}, "Seed"), seed),
      h("label", { class: "wb-row-of" }, h("span", {}, "Leave out"), negative),
      h("label", { class: "wb-row-of" }, h("span", {}, "Correction"), correction.element),
      h("label", { class: "wb-row-of" }, h("span", {}, "Known part"), method.element),
    ),
  );
  const open = button("", "Open its steps", "steps", () => actions.openSteps());
  open.hidden = true;
  const element = h("section", { class: "wb-section", "aria-label": "How it is painted" }, h("div", { class: "wb-section-head" }, title), start.element, h("label", { class: "wb-row-of" }, h("span", {}, "Pre-fill"), prefill.element), harmonise.element, match.element, more, open);

  return {
    element,
    useModel(next, offered, suits) {
      model = next;
      presets = offered;
      usual = suits;
      steps.bounds({ value: model.num_inference_steps, max: Math.max(50, model.num_inference_steps) });
      const options = [["off", "Off"], ...presets.filter(({ strengths }) => strengths).map(({ id, label }) => [id, label])];
      correction.element.replaceChildren(...options.map(([value, label]) => h("option", { value }, label)));
      correction.element.disabled = options.length < 2;
      correction.element.title = options.length < 2 ? "Nothing was measured for this model yet. The command “calibrate” does." : "";
    },
    /** `painted`: whether the values are those of a fill that is there, which then has `run`, the id of its steps. */
    update(values, { painted = false, run = null } = {}) {
      if (!model) return;
      title.textContent = painted ? "How it was painted" : "How it is painted";
      const now = resolved(values, model, usual);
      const total = now.steps;
      ({ start: usualStart, harmonise: usualRounds, guidance: usualGuidance } = resolved({ ...values, start: null, harmonise: null, guidance: null }, model, usual));
      start.bounds({ max: total, value: usualStart + 1, unit: `of ${total}` });
      start.set(now.start + 1);
      prefill.element.options[0].textContent = `What suits: ${PREFILLS.find(([kind]) => kind === usual[values.intent].prefill)[1].toLowerCase()}`;
      prefill.set(values.prefill);
      harmonise.bounds({ value: usualRounds });
      harmonise.set(now.harmonise);
      match.set(values.match);
      const kept = values.correction === KEPT;
      if (kept !== (correction.element.lastChild.value === KEPT)) {
        if (kept) correction.element.append(h("option", { value: KEPT }, "As it was painted"));
        else correction.element.lastChild.remove();
        correction.element.disabled = correction.element.length < 2;
      }
      correction.set(kept || presets.some(({ id, strengths }) => id === values.correction && strengths) ? values.correction : "off");
      steps.bounds({ max: Math.max(50, model.num_inference_steps, total) }); // those of another model may be more
      steps.set(total);
      guidance.bounds({ value: usualGuidance, max: Math.max(15, now.guidance) });
      guidance.set(now.guidance);
      if (document.activeElement !== seed) seed.value = values.seed === null ? "" : String(values.seed);
      if (document.activeElement !== negative) negative.value = values.negative;
      count.set(values.count);
      method.set(values.method);
      open.hidden = !run;
    },
  };
}
