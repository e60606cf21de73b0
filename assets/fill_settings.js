// How a fill is asked for: the settings of the prompt bar and the dock, kept in this browser, and the request they make.

import { remember, remembered } from "./dom.js";

/** `words`: "needed", "welcome" or "none". What else suits an intent, the server decides. */
export const INTENTS = {
  fill: { label: "Fill", words: "needed", hint: "What should be there" },
  replace: { label: "Replace", words: "needed", hint: "What should stand there instead" },
  remove: { label: "Remove", words: "none", hint: "No words: it continues what is around" },
  expand: { label: "Expand", words: "welcome", hint: "What lies beyond, or nothing" },
  refine: { label: "Refine", words: "welcome", hint: "What it should become more like, or nothing" },
  vary: { label: "Vary", words: "welcome", hint: "What it shows, or nothing" },
};
export const PREFILLS = [["auto", "What suits"], ["none", "Nothing"], ["blur", "Blur"], ["inpaint", "Continued edges"], ["edge", "Colours of the rim"], ["noise", "Noise"]];
export const SEEDS = 2 ** 32;
export const KEPT = "kept"; // the correction of an earlier fill, as it was
const USUAL = { intent: "fill", prompt: "", negative: "", start: null, margin: null, prefill: "auto", harmonise: null, match: true, method: "auto", steps: null, guidance: null, seed: null, correction: "off", count: 3 };

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
  if (values.correction === KEPT) values.correction = "off";
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

/**
 * What a fill comes to with these settings: {steps, start, guidance, harmonise, prefill}. `usual` is what the server says
 * suits each intent: {starts: by number of steps, guidance_scale, harmonise, prefill}.
 */
export function resolved(values, model, usual) {
  const steps = values.steps ?? model.num_inference_steps;
  const suits = usual[values.intent];
  return {
    steps,
    start: Math.min(steps - 1, values.start ?? suits.starts[steps - 1]),
    guidance: values.guidance ?? suits.guidance_scale,
    harmonise: values.harmonise ?? suits.harmonise,
    prefill: values.prefill === "auto" ? suits.prefill : values.prefill,
  };
}

/**
 * The request of a fill, as POST /studio/fills takes it: null where the server decides. `model` is the session's, `presets`
 * the server's corrections.
 */
export function requestOf(values, model, presets) {
  const steps = values.steps ?? model.num_inference_steps;
  const correction = values.correction === KEPT ? values.strengths : (presets.find(({ id }) => id === values.correction)?.strengths ?? null);
  const wordless = INTENTS[values.intent].words === "none";
  const painting = {
    prompt: wordless ? "" : values.prompt.trim(),
    negative_prompt: values.negative.trim(),
    num_inference_steps: values.steps,
    guidance_scale: values.guidance,
    seed: values.seed ?? Math.floor(Math.random() * SEEDS),
    ...(correction ? { correction } : {}),
  };
  const { intent, prefill, harmonise, method } = values;
  const around = values.context ? { context: values.context } : { margin: values.margin };
  return { painting, intent, start: values.start === null ? null : Math.min(steps - 1, values.start), prefill, harmonise, match_colour: values.match, method, ...around };
}

/** What a kept fill was asked, as settings: to look at, to change and to run again. `facts` are those of its layer. */
export function settingsOf({ fill, drawn = false, margin = null }, model, usual, presets = []) {
  const { painting } = fill;
  const intent = INTENTS[fill.intent] ? fill.intent : "fill";
  const same = (value, own) => (value === own ? null : value);
  return {
    intent,
    prompt: painting.prompt,
    negative: painting.negative_prompt ?? "",
    start: same(fill.start, usual[intent].starts[painting.num_inference_steps - 1]),
    margin,
    context: drawn ? fill.context : null,
    prefill: fill.prefill,
    harmonise: same(fill.harmonise, usual[intent].harmonise),
    match: fill.match_colour,
    method: fill.method,
    steps: same(painting.num_inference_steps, model.num_inference_steps),
    guidance: same(painting.guidance_scale, usual[intent].guidance_scale),
    seed: painting.seed,
    ...correctionOf(painting.correction ?? null, presets),
  };
}

/** Strengths that no preset has, such as those of a branch that was made in the Steps tab, stay what they are. */
function correctionOf(strengths, presets) {
  if (!strengths) return { correction: "off", strengths };
  const same = presets.find((preset) => preset.strengths && JSON.stringify(preset.strengths) === JSON.stringify(strengths));
  return { correction: same?.id ?? KEPT, strengths };
}
