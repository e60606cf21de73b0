// The prompt bar: what is meant, in which words, and a button that says what it will do and to how much.

import { button, h } from "./dom.js";
import { choices } from "./fill_parts.js";
import { INTENTS } from "./fill_settings.js";

/** `actions`: intent(name), typed(prompt), go(). `hints`: what stands under the words. */
export function createPromptBar(actions, hints) {
  const intents = choices("What to do", Object.entries(INTENTS).map(([name, { label }]) => [name, label]), "fill", actions.intent);
  const field = h("textarea", { rows: "1", class: "wb-prompt-field", "aria-label": "What to paint in the mask", maxlength: "4000", enterkeyhint: "go", oninput: () => actions.typed(field.value) });
  const words = h("span", {});
  const go = h("button", { type: "button", class: "wb-btn primary", onclick: () => go.getAttribute("aria-disabled") !== "true" && actions.go() }, words, h("kbd", { class: "wb-wide", "aria-hidden": "true" }, "⏎"));
  const error = h("p", { class: "wb-error", role: "alert", id: "wb-fill-error", hidden: true });
  const above = h("div", { hidden: true });
  const between = h("div", { hidden: true });
  const element = h("div", { class: "wb-floating wb-prompt-bar", role: "region", "aria-label": "What to do with the mask" }, above, intents.element, between, h("div", { class: "wb-prompt-row" }, field, go), hints, error);

  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.ctrlKey || event.metaKey || event.isComposing) return;
    event.preventDefault();
    event.stopPropagation();
    go.click();
  });

  return {
    element,
    /** Puts something above the intents (variations), or between them and the words (the numbers of an expansion). */
    place(where, part) {
      const room = where === "above" ? above : between;
      room.hidden = !part;
      if (part && room.firstChild !== part) room.replaceChildren(part);
      if (!part) room.replaceChildren();
    },
    /** `plan`: intent, prompt, label, ready, why (when not ready), primary. */
    update({ intent, prompt, label, ready, why, primary }) {
      intents.set(intent);
      const { hint, words: wanted } = INTENTS[intent];
      field.placeholder = hint;
      field.disabled = wanted === "none";
      const shown = wanted === "none" ? "" : prompt;
      if (field.value !== shown) field.value = shown;
      words.textContent = label;
      go.setAttribute("aria-disabled", String(!ready));
      go.classList.toggle("waiting", !ready);
      go.classList.toggle("primary", primary && ready);
      go.title = ready ? "" : why;
    },
    error(text) {
      error.hidden = !text;
      error.textContent = text ?? "";
      if (text) {
        field.setAttribute("aria-describedby", error.id);
        field.setAttribute("aria-invalid", "true");
      } else {
        field.removeAttribute("aria-describedby");
        field.removeAttribute("aria-invalid");
      }
    },
    focus: () => field.focus(),
  };
}
