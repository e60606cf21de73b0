// Under the prompt: the words that the model does not know, and those nearest to them, which replace them.

import { h } from "./dom.js";
import { Refusal, Silence, unknownWords } from "./server.js";

const REST = 400; // ms without a key
const SHOWN = 2; // words

/** `title()` names the model; `replaced(prompt)` hears the prompt with a word replaced. */
export function createWords(title, replaced) {
  const element = h("div", { class: "wb-fill-words", hidden: true });
  let timer = null;
  let asking = null;
  let told = "";

  function look(prompt) {
    if (prompt === told) return;
    told = prompt;
    clearTimeout(timer);
    asking?.abort();
    if (!prompt.trim()) return show(prompt, []);
    timer = setTimeout(() => check(prompt), REST);
    return undefined;
  }

  async function check(prompt) {
    asking = new AbortController();
    try {
      const { unknown } = await unknownWords(prompt.slice(0, 4000), asking.signal);
      if (prompt === told) show(prompt, unknown);
    } catch (problem) {
      if (problem.name !== "AbortError" && !(problem instanceof Refusal) && !(problem instanceof Silence)) throw problem;
    }
  }

  function show(prompt, unknown) {
    element.hidden = !unknown.length;
    element.replaceChildren(
      ...unknown.slice(0, SHOWN).map(({ word, nearest }) => {
        const choices = nearest.flatMap((other, k) => [k ? ", " : " Nearest: ", h("button", { type: "button", onclick: () => replaced(swapped(prompt, word, other)) }, other)]);
        return h("p", { class: "wb-hint" }, `${title()} does not know `, h("u", {}, word), ".", ...choices);
      }),
    );
  }
  return { element, look };
}

/** The prompt with every stand-alone `word` replaced, whatever its case. */
function swapped(prompt, word, other) {
  const letters = word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  return prompt.replace(new RegExp(`(?<![\\p{L}\\p{N}])${letters}(?![\\p{L}\\p{N}])`, "giu"), () => other);
}
