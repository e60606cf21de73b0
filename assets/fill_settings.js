// How a fill is asked for: the settings of the prompt bar and the dock, which belong to the document, and the request they
// make.

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
const USUAL = { intent: "fill", prompt: "", negative: "", start: null, margin: null, context: null, prefill: "auto", harmonise: null, match: true, method: "auto", steps: null, guidance: null, seed: null, correction: "off", strengths: null, count: 3, laid: "" };
const WAYS = ["prefill", "harmonise", "match", "method", "steps", "guidance", "correction", "count"]; // a person's, beside what is about one picture

const whole = (from, to) => (value) => Number.isInteger(value) && value >= from && value <= to;
const text = (most) => (value) => typeof value === "string" && value.length <= most;
const among = (values) => (value) => values.includes(value);
const plain = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
/** Which values this page can use: others are a later version's, or a stranger's. */
const USABLE = {
  intent: among(Object.keys(INTENTS)),
  prompt: text(4000),
  negative: text(4000),
  start: whole(0, 199),
  margin: whole(0, 4096),
  context: (value) => plain(value) && [value.x, value.y].every(whole(-16384, 16384)) && [value.width, value.height].every(whole(1, 16384)),
  prefill: among(PREFILLS.map(([kind]) => kind)),
  harmonise: whole(0, 8),
  match: among([true, false]),
  method: among(["auto", "known", "own"]),
  steps: whole(1, 200),
  guidance: (value) => Number.isFinite(value) && value >= 0 && value <= 30,
  seed: whole(0, SEEDS - 1),
  correction: text(200),
  strengths: plain,
  count: whole(1, 4),
  laid: text(64),
};

const parsed = (json) => {
  try {
    return JSON.parse(json);
  } catch {
    return null;
  }
};
const chosen = (found, names) => Object.fromEntries(names.map((name) => [name, found[name]]));
const timeOf = (found) => (Number.isSafeInteger(found?.at) ? found.at : -1);

/** What was found, as far as this page can use it; all else as in `otherwise`. */
export function understood(found, otherwise = USUAL) {
  const usable = (name) => Object.hasOwn(found, name) && (found[name] === null ? USUAL[name] === null : USABLE[name](found[name]));
  const values = { ...otherwise, ...(plain(found) && chosen(found, Object.keys(USUAL).filter(usable))) };
  if (values.context) values.context = chosen(values.context, ["x", "y", "width", "height"]);
  if (values.correction === KEPT && !values.strengths) values.correction = "off";
  return values;
}

/**
 * The settings of the document that is open. `changed(settings)` hears all that belongs to it when a person has changed
 * something: with `at`, when that was, and with what a later version has put there.
 */
export function createSettings(changed = () => {}) {
  const ways = (found) => chosen(understood(found), WAYS); // how a person likes to paint goes on to the next document
  const values = { ...USUAL, ...ways({ ...parsed(remembered("fill.settings")), strengths: null }) };
  let lent = null; // what they were before the request of an earlier fill took their place
  let others = {}; // what this page does not know, and `at`
  let saving = null;
  return {
    values,
    set(wish) {
      if (Object.entries(wish).every(([name, value]) => values[name] === value)) return;
      Object.assign(values, wish);
      if (lent) return;
      others = { ...others, at: Math.max(Date.now(), timeOf(others) + 1) };
      changed({ ...values, ...others });
      clearTimeout(saving);
      saving = setTimeout(() => remember("fill.settings", JSON.stringify(ways({ ...values, strengths: null }))), 200);
    },
    /** Something else stands there until `giveBack`, and is nobody's. */
    lend(wish) {
      lent ??= { ...values };
      Object.assign(values, wish);
    },
    giveBack() {
      Object.assign(values, lent);
      lent = null;
    },
    /**
     * The document `id` is opened: `stored` is what the server has of its settings, `kept` what this browser could not send,
     * or null. Answers the latter if it is newer, else null. Where nothing was ever set, no words are there.
     */
    lay(stored, kept, id) {
      const unsent = timeOf(kept) > timeOf(stored) ? kept : null;
      const found = plain(unsent ?? stored) ? (unsent ?? stored) : {};
      const usual = { ...USUAL, ...ways({ ...(lent ?? values), strengths: null }) };
      lent = null;
      others = Object.fromEntries(Object.entries(found).filter(([name]) => !Object.hasOwn(USUAL, name)));
      Object.assign(values, understood(found, usual));
      if (values.laid) values.laid = id; // it may be a copy
      return unsent;
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
