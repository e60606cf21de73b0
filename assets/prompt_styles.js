// Saved styles, words to leave out, and lists for wildcards. They are kept by the server; what is deleted can be put back.

import { button, h } from "./dom.js";
import { keepWords, wordbook } from "./server.js";
import { styled } from "./prompt_parts.js";

const KINDS = {
  styles: { title: "Styles", none: "A style adds its words to the prompt, and brings settings.", save: "Save the form as a style", hint: "Name of the style" },
  negatives: { title: "Leave out", none: "Words to leave out, kept under a name.", save: "Save what is left out", hint: "Name of the words" },
  lists: { title: "Lists", none: "A list is one entry per line. __name__ in a prompt is one of them, by the seed.", save: "Save the list", hint: "Name, such as trees" },
};
const SETTINGS = { steps: "num_inference_steps", guidance: "guidance_scale", solver: "solver" };

/** `actions`: form() and put(fields) read and write the form; fail(problem); `negatives` are presets that are always there. */
export function createStyles(actions, negatives) {
  let book = null;
  let undo = null;
  const places = {};
  const status = h("p", { class: "wb-hint", role: "status" });
  const lines = h("textarea", { rows: 4, placeholder: "oak\nold willow\n{young|gnarled} pine", "aria-label": "Entries, one per line" });
  const element = h("div", { class: "wb-help-panel", id: "wb-panel-styles", role: "group", "aria-label": "Styles and lists" }, ...Object.keys(KINDS).map(section), status);

  function section(kind) {
    const { title, save, hint } = KINDS[kind];
    const entries = h("div", { class: "wb-entries" });
    const name = h("input", { type: "text", maxlength: 60, placeholder: hint, "aria-label": hint });
    const store = button("edged small", save, null, () => keep(kind, name));
    name.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) store.click();
    });
    places[kind] = { entries, name };
    return h("section", {}, h("h3", {}, title), entries, kind === "lists" ? lines : null, h("div", { class: "wb-save" }, name, store));
  }

  /** Asks the server once the panel is opened. */
  async function open() {
    try {
      book ??= await wordbook();
      draw();
    } catch (problem) {
      actions.fail(problem);
    }
  }

  async function change(kind, name, value, words) {
    const before = book[kind][name] ?? null;
    try {
      book = await keepWords(kind, name, value);
    } catch (problem) {
      if (problem.field) return tell(problem.message);
      return actions.fail(problem);
    }
    undo = before !== null || value !== null ? { kind, name, value: before } : null;
    draw();
    return tell(words, undo);
  }

  function tell(words, back = null) {
    const again = back ? h("button", { type: "button", class: "wb-link", onclick: () => change(back.kind, back.name, back.value, "As it was before.") }, "Undo") : null;
    status.replaceChildren(words, " ", ...(again ? [again] : []));
  }

  async function keep(kind, input) {
    const name = input.value.trim();
    if (!name) {
      tell("Give it a name first.");
      return input.focus();
    }
    if (!book) await open();
    if (!book) return undefined;
    const value = { styles: styleNow, negatives: () => actions.form().negative_prompt ?? "", lists: () => lines.value.split("\n") }[kind]();
    await change(kind, name, value, `“${name}” is kept.`);
    if (kind !== "lists") input.value = "";
    return undefined;
  }

  function styleNow() {
    const form = actions.form();
    const settings = Object.fromEntries(Object.entries(SETTINGS).map(([field, name]) => [name, field === "solver" ? form[field] : Number(form[field])]));
    return { prompt: form.prompt ?? "", negative_prompt: form.negative_prompt ?? "", settings };
  }

  function use(kind, name, value) {
    const form = actions.form();
    const before = { prompt: form.prompt, negative_prompt: form.negative_prompt, steps: form.steps, guidance: form.guidance, solver: form.solver };
    if (kind === "styles") {
      const { num_inference_steps: steps, guidance_scale: guidance, solver } = value.settings;
      const settings = Object.fromEntries(Object.entries({ steps, guidance, solver }).filter(([, one]) => one !== undefined));
      actions.put({ prompt: styled(form.prompt ?? "", value.prompt), negative_prompt: styled(form.negative_prompt ?? "", value.negative_prompt), ...settings });
    } else if (kind === "negatives") actions.put({ negative_prompt: styled(form.negative_prompt ?? "", value) });
    else {
      places.lists.name.value = name;
      lines.value = value.join("\n");
      actions.put({ prompt: styled(form.prompt ?? "", `__${name}__`) });
    }
    status.replaceChildren(`“${name}” is in the form. `, h("button", { type: "button", class: "wb-link", onclick: () => { actions.put(before); tell("As it was before."); } }, "Undo"));
  }

  function draw() {
    for (const [kind, { none }] of Object.entries(KINDS)) {
      const kept = Object.entries(book[kind]);
      const fixed = kind === "negatives" ? Object.entries(negatives).filter(([name]) => !(name in book.negatives)) : [];
      const chip = ([name, value], own) =>
        h(
          "span",
          { class: "wb-entry" },
          h("button", { type: "button", class: "use", title: shown(kind, value), onclick: () => use(kind, name, value) }, kind === "lists" ? `__${name}__` : name),
          own ? h("button", { type: "button", class: "drop", "aria-label": `Delete ${name}`, title: `Delete ${name}`, onclick: () => change(kind, name, null, `“${name}” is deleted.`) }, "×") : null,
        );
      places[kind].entries.replaceChildren(...kept.map((one) => chip(one, true)), ...fixed.map((one) => chip(one, false)), ...(kept.length + fixed.length ? [] : [h("p", { class: "wb-hint" }, none)]));
    }
  }

  return { element, open };
}

const shown = (kind, value) => (kind === "styles" ? value.prompt : kind === "lists" ? value.join("\n") : value).slice(0, 300);
