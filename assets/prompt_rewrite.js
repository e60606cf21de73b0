// A richer prompt from a local language model: a proposal that is read and changed before it is used.

import { button, h } from "./dom.js";
import { rewrite } from "./server.js";

/** `actions`: prompt() and setPrompt(text); fail(problem). `name` is the language model's. */
export function createRewriter(actions, name) {
  const text = h("textarea", { rows: 5, "aria-label": "Proposed prompt", spellcheck: "true" });
  const status = h("p", { class: "wb-hint", role: "status" });
  const begin = button("edged small", "Propose richer words", "more", propose);
  const use = button("primary small", "Use these words", null, take);
  const back = button("quiet small", "Undo", "undo", putBack);
  const acts = h("div", { class: "wb-save" }, use, back);
  const element = h("div", { class: "wb-help-panel", id: "wb-panel-enrich", role: "group", "aria-label": "Enrich" }, h("p", { class: "wb-hint" }, `${name} runs on this computer. Nothing is painted before you have read its words.`), begin, text, acts, status);
  let before = null;
  text.hidden = acts.hidden = back.hidden = true;

  async function propose() {
    begin.disabled = true;
    status.textContent = "Writing…";
    try {
      text.value = (await rewrite(actions.prompt())).text;
      text.hidden = acts.hidden = use.hidden = false;
      back.hidden = true;
      status.textContent = "Change what you like, then use it.";
      text.focus();
    } catch (problem) {
      status.textContent = problem.message;
    } finally {
      begin.disabled = false;
    }
  }

  function take() {
    before = actions.prompt();
    actions.setPrompt(text.value.trim());
    text.hidden = use.hidden = true;
    back.hidden = false;
    status.textContent = "The words are in the prompt.";
  }

  function putBack() {
    actions.setPrompt(before);
    acts.hidden = true;
    status.textContent = "As it was before.";
  }

  return { element, open: () => undefined };
}
