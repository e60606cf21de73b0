// How a fill is asked for: the settings of the prompt bar and the dock, kept in this browser, and the request they make.

import { remember, remembered } from "./dom.js";

/** `needsMask`: a region must have been painted. `words`: "needed", "welcome" or "none". `share`: of the steps left out. */
export const INTENTS = {
  fill: { label: "Fill", words: "needed", share: 0, hint: "What should be there" },
  replace: { label: "Replace", words: "needed", share: 0, hint: "What should stand there instead" },
  remove: { label: "Remove", words: "none", share: 0, hint: "No words: it continues what is around" },
  expand: { label: "Expand", words: "welcome", share: 0, hint: "What lies beyond, or nothing" },
  refine: { label: "Refine", words: "welcome", share: 0.5, hint: "What it should become more like, or nothing" },
  vary: { label: "Vary", words: "welcome", share: 0.25, hint: "What it shows, or nothing" },
};
export const PREFILLS = [["auto", "What suits"], ["none", "Nothing"], ["blur", "Blur"], ["inpaint", "Continued edges"], ["edge", "Colours of the rim"], ["noise", "Noise"]];
export const SEEDS = 2 ** 32;
const USUAL = { intent: "fill", prompt: "", negative: "", start: null, margin: null, prefill: "auto", harmonise: 0, match: true, method: "auto", steps: null, guidance: null, seed: null, correction: "off", count: 3 };

export function createSettings() {
  let kept = {};
  try {
    kept = JSON.parse(remembered("fill.settings") ?? "{}");
  } catch {
    kept = {};
  }
  const values = { ...USUAL, context: null };
  for (const name of Object.keys(USUAL)) {
    if (typeof kept[name] === typeof USUAL[name] || (USUAL[name] === null && Number.isFinite(kept[name]))) values[name] = kept[name];
  }
  if (!INTENTS[values.intent]) values.intent = USUAL.intent;
  let saving = null;
  return {
    values,
    set(wish) {
      Object.assign(values, wish);
      clearTimeout(saving);
      saving = setTimeout(() => remember("fill.settings", JSON.stringify({ ...values, context: undefined })), 200);
    },
  };
}

/** Steps left out at the beginning: the person's, or what suits the intent. */
export function startOf(values, steps) {
  const wanted = values.start ?? Math.round(INTENTS[values.intent].share * steps);
  return Math.max(0, Math.min(steps - 1, wanted));
}

/** The request of a fill, as POST /studio/fills takes it. `model` is the session's, `presets` the server's corrections. */
export function requestOf(values, model, presets) {
  const steps = values.steps ?? model.num_inference_steps;
  const correction = presets.find(({ id }) => id === values.correction)?.strengths ?? null;
  const wordless = INTENTS[values.intent].words === "none";
  const painting = {
    prompt: wordless ? "" : values.prompt.trim(),
    negative_prompt: values.negative.trim(),
    num_inference_steps: steps,
    guidance_scale: values.guidance ?? model.guidance_scale,
    seed: values.seed ?? Math.floor(Math.random() * SEEDS),
    ...(correction ? { correction } : {}),
  };
  const { intent, prefill, harmonise, method } = values;
  const around = values.context ? { context: values.context } : { margin: values.margin };
  return { painting, intent, start: startOf(values, steps), prefill, harmonise, match_colour: values.match, method, ...around };
}

/** What a kept fill was asked, as settings: to look at, to change and to run again. `facts` are those of its layer. */
export function settingsOf({ fill, drawn = false, margin = null }, model) {
  const { painting } = fill;
  const same = (value, usual) => (value === usual ? null : value);
  return {
    intent: INTENTS[fill.intent] ? fill.intent : "fill",
    prompt: painting.prompt,
    negative: painting.negative_prompt ?? "",
    start: same(fill.start, Math.round((INTENTS[fill.intent]?.share ?? 0) * painting.num_inference_steps)),
    margin,
    context: drawn ? fill.context : null,
    prefill: fill.prefill,
    harmonise: fill.harmonise,
    match: fill.match_colour,
    method: fill.method,
    steps: same(painting.num_inference_steps, model.num_inference_steps),
    guidance: same(painting.guidance_scale, model.guidance_scale),
    seed: painting.seed,
  };
}
