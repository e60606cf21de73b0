// The form: reads Gradio's inputs into a request and writes a request back into them.
// Gradio calls in here with the inputs' values, in the order of `Form.inputs` in studio/web/tab_generate.py.

import { chipsIn, findPhrase, withChips } from "./chips.js";
import { h, icon } from "./dom.js";
import * as server from "./server.js";

const FIELDS = ["prompt", "negative_prompt", "steps", "guidance", "solver", "size", "seed", "dice", "count"];
const BLOCKS = {
  prompt: "wb-prompt",
  negative_prompt: "wb-negative",
  steps: "wb-steps",
  guidance: "wb-guidance",
  solver: "wb-solver",
  size: "wb-size",
  seed: "wb-seed",
  dice: "wb-dice",
  count: "wb-count",
};
const ASKED = { num_inference_steps: "steps", guidance_scale: "guidance", width: "size", height: "size" }; // in a request
const SEEDS = 2 ** 32;

let values = null; // the form as it stands, by field
let arriving = {}; // fields on their way into Gradio's inputs
const touched = new Set(); // fields that were moved before the form was settled
let model = null; // the session's
let write = null; // asks Gradio to fetch `formValues`
let mark = null; // asks Gradio to fetch `chipValues`
let settled = false; // the form holds what this tab held before a reload
let marked = ""; // the chips as Gradio shows them
let chips = {}; // phrases by category, in the order of Gradio's groups
let lastSeed = null;
let correction = null; // that a restored picture brought: no input shows it, a line of words does
let onChange = () => {};

export function connectForm(hooks) {
  write = hooks.write;
  mark = hooks.mark;
  onChange = hooks.onChange;
  settle();
}

/**
 * Once Gradio's values and the way to write them are both there: what was typed before a reload comes back, except
 * where the person was quicker than the page.
 */
function settle() {
  if (settled || !values || !write) return;
  let fresh = { dice: values.dice };
  try {
    const kept = JSON.parse(sessionStorage.getItem("wavebrush.form") ?? "null");
    if (kept && FIELDS.every((name) => name in kept)) fresh = kept;
  } catch {
    // Storage is switched off: the form starts as Gradio made it.
  }
  correction = fresh.correction ?? null;
  delete fresh.correction;
  if (fresh.dice) fresh.seed = null; // Gradio shows an empty number as 0
  for (const name of ["prompt", "negative_prompt"]) {
    // typed before this script was there, and perhaps before what Gradio has told so far
    if (document.querySelector(`#${BLOCKS[name]} textarea`)?.value) touched.add(name);
  }
  settled = true;
  bring(Object.fromEntries(Object.entries(fresh).filter(([name]) => !touched.has(name))));
  document.documentElement.dataset.wbReady = "";
  showCorrection();
}

/** Writes some fields into Gradio's inputs. */
function bring(fields) {
  if (!settled) Object.keys(fields).forEach((name) => touched.add(name));
  arriving = { ...arriving, ...fields };
  values = { ...values, ...fields };
  write();
}

/** Gradio fetches what `bring` left for it; what is undefined stays as it is. */
export function formValues() {
  const fields = arriving;
  arriving = {};
  return FIELDS.map((name) => fields[name]);
}

/** What a person does to a field is newer than what is on its way there. */
function personMoved({ target }) {
  if (!(target instanceof Element)) return;
  for (const [name, id] of Object.entries(BLOCKS)) {
    if (!target.closest(`#${id}${name === "prompt" ? ", #wb-chips" : ""}`)) continue;
    delete arriving[name];
    if (!settled) touched.add(name);
  }
}

document.addEventListener("input", personMoved, { capture: true });

function keep() {
  if (!settled) return; // what was typed before a reload is still to be read
  try {
    sessionStorage.setItem("wavebrush.form", JSON.stringify({ ...values, correction }));
  } catch {
    // The form then lasts as long as the page.
  }
}

export function useModel(session) {
  model = session;
}

/** Called by Gradio when the page has loaded and whenever an input changes. */
export function formChanged(row, phrases) {
  const before = values;
  values = { ...Object.fromEntries(FIELDS.map((name, k) => [name, row[k]])), ...arriving };
  chips = phrases;
  for (const [block, field, own] of [["wb-steps", "steps", model?.num_inference_steps], ["wb-guidance", "guidance", model?.guidance_scale]]) {
    document.getElementById(block)?.classList.toggle("wb-moved", own !== undefined && Number(values[field]) !== Number(own));
  }
  if (before) {
    for (const [name, block] of Object.entries(BLOCKS)) if (before[name] !== values[name]) clearError(block);
  }
  if (before?.prompt !== values.prompt) lookUpWords();
  if (groupsOf(chips)) markChips();
  settle();
  keep();
  summarise();
  onChange();
}

/** The form's values by field, as they stand. */
export const current = () => ({ ...values });

/** The phrases of the chips, by category. */
export const phrases = () => chips;

/** Puts some fields into the form, as if a person had. */
export function put(fields) {
  clearErrors();
  bring(fields);
  lookUpWords();
}

/** The request for one picture of this form, with some of its fields changed. Without a seed of its own: the last one painted. */
export function requestNow(wordLimit, fields = {}) {
  const form = { ...values, ...fields };
  if (form.dice || form.seed === null) Object.assign(form, { dice: false, seed: lastSeed ?? Math.floor(Math.random() * SEEDS) });
  return readForm(FIELDS.map((name) => form[name]), wordLimit)?.request ?? null;
}

export const count = () => Number(values?.count ?? 4);

/** How much more work a picture of this form is than one with the model's own settings: steps times area. */
export function effort() {
  const sides = readSize(values?.size);
  if (!model || !sides) return 1;
  return (Number(values.steps) / model.num_inference_steps) * ((sides[0] * sides[1]) / (model.width * model.height));
}

function readSize(text) {
  const found = /^\s*(\d{1,6})\s*(?:×|x|X|\*|,|\s)\s*(\d{1,6})\s*(?:px)?\s*$/.exec(String(text ?? ""));
  return found && [Number(found[1]), Number(found[2])];
}

/** The request that the form asks for, or null when a field cannot be read; the words then stand beside it. `wordLimit`: characters. */
export function readForm(row, wordLimit) {
  const form = Object.fromEntries(FIELDS.map((name, k) => [name, row[k]]));
  for (const [field, name] of [["prompt", "The prompt"], ["negative_prompt", "What to leave out"]]) {
    const length = [...(form[field] ?? "")].length; // said here, because a megabyte of words would not even be read
    if (length <= wordLimit) continue;
    const figure = (value) => value.toLocaleString("en");
    showError(field, `${name} is ${figure(length)} characters long. At most ${figure(wordLimit)} can be read.`);
    return null;
  }
  const size = readSize(form.size);
  if (!size) {
    showError("width", "Write a size as width × height, such as 192 × 128.");
    return null;
  }
  const typed = form.seed === null || form.seed === undefined || form.seed === "" ? null : Number(form.seed);
  if (typed !== null && !Number.isSafeInteger(typed)) {
    showError("seed", `Seeds run from 0 to ${SEEDS - 1}, in whole numbers.`);
    return null;
  }
  const seed = form.dice || typed === null ? Math.floor(Math.random() * SEEDS) : typed;
  return {
    request: {
      prompt: form.prompt ?? "",
      negative_prompt: form.negative_prompt ?? "",
      width: size[0],
      height: size[1],
      num_inference_steps: Number(form.steps),
      guidance_scale: Number(form.guidance),
      solver: form.solver,
      seed,
      model: model.name,
      ...(correction ? { correction } : {}),
    },
    count: Number(form.count),
  };
}

/** Says what happens without words, from the first time on that it matters. */
export function painted() {
  began = true;
  if (!values?.prompt.trim()) showUnknown([]);
}

/** Remembers the seed of what was painted last, for the moment when the dice are put away. */
export function seedUsed(seed) {
  lastSeed = seed;
}

/**
 * The request as a person would write it: with its wildcards, and a backslash before brackets that weigh nothing.
 * As `as_written` in studio/prompts/prepared.py.
 */
export function asWritten({ weighted = false, template = "", ...request }) {
  const kept = (text) => (weighted ? text : text.replace(/[\\()[\]]/g, "\\$&"));
  return { ...request, prompt: template || kept(request.prompt), negative_prompt: kept(request.negative_prompt) };
}

/** Puts a request into the form. `fixSeed`: the next picture is this very one; otherwise the dice stay as they are. */
export function writeForm(request, { fixSeed, pictures = null }) {
  const dice = fixSeed ? false : (values?.dice ?? true);
  clearErrors();
  correction = request.correction ?? null;
  showCorrection();
  bring({
    prompt: request.prompt,
    negative_prompt: request.negative_prompt,
    steps: request.num_inference_steps,
    guidance: request.guidance_scale,
    solver: request.solver,
    size: `${request.width} × ${request.height}`,
    seed: dice ? null : request.seed,
    dice,
    count: pictures === null ? String(count()) : String(pictures),
  });
  lookUpWords();
}

export function diceTurned([rolling]) {
  return rolling ? null : (lastSeed ?? Math.floor(Math.random() * SEEDS));
}

export function seedTyped([seed]) {
  return seed === null || seed === undefined || seed === "";
}

/** A restored correction, in a line with a way to leave it out. */
function showCorrection() {
  const place = document.querySelector("#wb-carried .html-container > div > div");
  if (!place) return;
  if (!correction) return place.replaceChildren();
  const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}`;
  const bands = (correction.bands ?? []).map(({ strength, value }) => signed(Number(strength ?? value ?? 0)));
  const leave = h("button", { type: "button", class: "wb-btn quiet small", onclick: leaveCorrection }, "Leave out");
  place.replaceChildren(h("p", { class: "wb-carried" }, h("span", {}, `Correction ${bands.join(", ")} (${correction.wavelet})`), leave));
  return undefined;
}

function leaveCorrection() {
  correction = null;
  showCorrection();
  keep();
}

// ---------------------------------------------------------------- words beside a field

export function showError(field, words) {
  const block = document.getElementById(BLOCKS[ASKED[field] ?? field]);
  if (!block) return false;
  clearError(block.id);
  const note = h("p", { class: "wb-error", id: `${block.id}-error`, role: "alert" }, words);
  block.classList.add("wb-bad");
  block.append(note);
  for (const input of block.querySelectorAll("input, textarea")) {
    input.setAttribute("aria-invalid", "true");
    input.setAttribute("aria-describedby", note.id);
  }
  if (block.closest("#wb-settings")) document.getElementById("wb-side").classList.add("wb-open");
  block.scrollIntoView({ block: "nearest" });
  block.querySelector("textarea, input:not([role=combobox])")?.focus({ preventScroll: true }); // a combobox would open over the words
  return true;
}

function clearError(id) {
  const block = document.getElementById(id);
  if (!block?.classList.contains("wb-bad")) return;
  block.classList.remove("wb-bad");
  block.querySelector(".wb-error")?.remove();
  for (const input of block.querySelectorAll("[aria-invalid]")) {
    input.removeAttribute("aria-invalid");
    input.removeAttribute("aria-describedby");
  }
}

export function clearErrors() {
  Object.values(BLOCKS).forEach(clearError);
}

// ---------------------------------------------------------------- words that the model does not know

let timer = null;
let asking = null;
let began = false; // words were written, or a picture was asked for without any

function lookUpWords() {
  clearTimeout(timer);
  asking?.abort();
  timer = setTimeout(async () => {
    const prompt = values?.prompt ?? "";
    if (!prompt.trim()) return showUnknown([]);
    began = true;
    asking = new AbortController();
    try {
      const { unknown } = await server.unknownWords(prompt.slice(0, 4000), asking.signal);
      if (prompt === values.prompt) showUnknown(unknown);
    } catch {
      showUnknown([]); // a hint is worth no error
    }
  }, 350);
}

function showUnknown(unknown) {
  const place = document.querySelector("#wb-words .html-container > div > div");
  if (!place) return;
  place.setAttribute("role", "status");
  if (began && !values?.prompt.trim()) {
    place.replaceChildren(h("p", { class: "wb-hint" }, `No words yet. ${model?.title || "The model"} will choose ${model?.name === "painter" ? "a landscape " : ""}by the seed.`));
    return;
  }
  const hints = unknown.slice(0, 3).map(({ word, nearest }) => {
    const choices = nearest.flatMap((phrase, k) => [
      k ? ", " : " Nearest: ",
      h("button", { type: "button", title: `Write “${phrase}” instead`, onclick: () => replaceWord(word, phrase) }, phrase),
    ]);
    return h("p", { class: "wb-hint" }, `${model?.title || "Painter"} does not know `, h("u", {}, word), ".", ...choices);
  });
  if (unknown.length > 3) hints.push(h("p", { class: "wb-hint" }, `And ${unknown.length - 3} more.`));
  place.replaceChildren(...hints);
}

function replaceWord(word, phrase) {
  const found = findPhrase(values.prompt, word);
  if (!found) return;
  bring({ prompt: values.prompt.slice(0, found[0]) + phrase + values.prompt.slice(found[1]) });
  lookUpWords();
  document.querySelector("#wb-prompt textarea")?.focus();
}

// ---------------------------------------------------------------- chips

const groupsOf = (categories) => Object.keys(categories).length;

/** Lets Gradio's chips show what stands in the prompt. */
function markChips() {
  const wanted = JSON.stringify(chipsIn(values.prompt, chips));
  if (!mark || wanted === marked) return;
  marked = wanted;
  mark();
}

export function chipValues() {
  return Object.values(chipsIn(values.prompt, chips));
}

/** A chip was pressed: its words enter or leave the prompt. */
export function promptOfChips([prompt, ...groups], phrases) {
  chips = phrases;
  const pressed = Object.fromEntries(Object.keys(chips).map((name, k) => [name, groups[k]]));
  const text = withChips(prompt ?? "", chips, pressed);
  if (!values) return text; // the page is still loading: Gradio tells of the new prompt when it is done
  values = { ...values, prompt: text };
  marked = ""; // Gradio shows what was pressed, which may be two of a kind
  markChips();
  lookUpWords();
  return text;
}

// ---------------------------------------------------------------- the settings in one line, on phones

function summarise() {
  const place = document.querySelector("#wb-more .html-container > div > div");
  if (!place || !values) return;
  const words = h("span", {}, `Steps ${values.steps} · guidance ${Number(values.guidance).toFixed(1)} · ${count() === 1 ? "1 picture" : `${count()} pictures`} · ${values.dice || values.seed === null ? "new seed" : `seed ${values.seed}`}`);
  let line = place.querySelector("button");
  if (!line) {
    const side = document.getElementById("wb-side");
    line = h("button", { type: "button", class: "wb-summary", "aria-controls": "wb-settings", "aria-expanded": "false" }, words, icon("sliders"));
    line.addEventListener("click", () => line.setAttribute("aria-expanded", String(side.classList.toggle("wb-open"))));
    place.append(line);
  } else {
    line.firstChild.replaceWith(words);
  }
}
