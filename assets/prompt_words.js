// Under the prompt: how many tokens it takes, what lies beyond the encoder's limit, what its brackets and wildcards come to.

import { h } from "./dom.js";
import { readPrompt } from "./server.js";

const PAUSE = 300; // ms without a key before the server is asked
const WAITS = 30; // times that the server is asked for tokens while its model loads
const QUIET = 0.7; // of the limit, below which the count alone is enough

/**
 * `meter` shows the count, `notes` the rest. `read({prompt, negative_prompt, seed, fixed})` follows the form;
 * `again` is called when it should be read once more.
 */
export function createWords(again = () => {}) {
  const meter = h("span", { class: "wb-tokens" });
  const notes = h("div", { class: "wb-help-notes", role: "status" });
  let timer = null;
  let asking = null;
  let asked = "";
  let waited = 0;

  function read(form) {
    const key = JSON.stringify(form);
    if (key === asked) return;
    asked = key;
    clearTimeout(timer);
    asking?.abort();
    timer = setTimeout(() => look(form), PAUSE);
  }

  async function look({ prompt, negative_prompt, seed, fixed }) {
    if (!prompt.trim() && !negative_prompt.trim()) {
      meter.textContent = "";
      return notes.replaceChildren();
    }
    asking = new AbortController();
    try {
      show(await readPrompt({ prompt: prompt.slice(0, 4000), negative_prompt: negative_prompt.slice(0, 4000), seed }, asking.signal), fixed);
    } catch (problem) {
      if (problem.name === "AbortError") return undefined;
      asked = ""; // to be asked again with the next change
      meter.textContent = "";
      notes.replaceChildren();
    }
    return undefined;
  }

  function show(found, fixed) {
    const { tokens } = found;
    if (!tokens && !found.problem && waited < WAITS) {
      waited += 1; // the model is still being loaded: it counts once it is there
      asked = "";
      timer = setTimeout(again, 2000);
    }
    meter.textContent = tokens ? `${tokens.count} of ${tokens.limit} tokens` : "";
    meter.title = tokens ? `The model’s text encoder reads ${tokens.limit} tokens: short words are one, rare ones several.` : "";
    meter.classList.toggle("near", Boolean(tokens) && tokens.count > QUIET * tokens.limit);
    meter.classList.toggle("over", Boolean(tokens?.beyond));
    notes.replaceChildren(
      ...[
        found.problem ? h("p", { class: "wb-hint bad" }, found.problem) : null,
        tokens?.beyond ? beyond("Beyond the limit, not read: ", tokens.beyond) : null,
        found.negative_tokens?.beyond ? beyond("To leave out, but beyond the limit: ", found.negative_tokens.beyond) : null,
        found.pieces.length ? h("p", { class: "wb-hint" }, "Weighs ", ...found.pieces.slice(0, 6).flatMap(({ text, weight }, k) => [k ? ", " : "", h("b", {}, short(text, 30)), ` ${Number(weight.toFixed(2))} ×`])) : null,
        found.choices.length ? h("p", { class: "wb-hint" }, fixed ? "At this seed: " : "Each seed chooses anew, such as: ", short(found.choices.join(", "), 120)) : null,
        ...found.remarks.map((remark) => h("p", { class: "wb-hint" }, remark)),
      ].filter(Boolean),
    );
  }

  return { meter, notes, read };
}

const beyond = (words, text) => h("p", { class: "wb-hint bad" }, words, h("s", {}, short(text, 160)));
const short = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
