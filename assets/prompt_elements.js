// The elements of the prompt as rows: each can be changed for another of its kind, switched off and on, and asked what it does.

import { replaced } from "./chips.js";
import { button, h } from "./dom.js";
import { andThis, lessThese, partsOf } from "./prompt_parts.js";

const KEPT = "wavebrush.elements";

/**
 * `actions`: prompt() and setPrompt(text); chips() are phrases by category; titles of the categories;
 * ask(word, whole, less) paints with and without a word. `limits` says what the model has no words for.
 * `update()` follows the prompt.
 */
export function createElements(actions, titles, limits) {
  let full = ""; // the prompt with everything on
  let off = []; // phrases that are switched off
  const list = h("ul", { class: "wb-elements", "aria-label": "Elements of the prompt" });
  const empty = h("p", { class: "wb-hint" }, "Write a first few words, or choose chips below. Every element then gets a switch here. ", limits);
  const chosen = button("quiet small", "What do the selected words do?", "compare", askSelection);
  const element = h("div", { class: "wb-help-panel", id: "wb-panel-elements", role: "group", "aria-label": "Elements" }, empty, list, chosen);
  recall();

  function recall() {
    try {
      const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
      if (kept && typeof kept.full === "string" && Array.isArray(kept.off)) ({ full, off } = kept);
    } catch {
      // Nothing was switched off.
    }
  }

  function keep() {
    try {
      sessionStorage.setItem(KEPT, JSON.stringify({ full, off }));
    } catch {
      // It lasts as long as the page.
    }
  }

  /** Written by hand, by a chip or by a dropped picture: that is the prompt now; what was off stays at hand. */
  function update() {
    const prompt = actions.prompt();
    if (prompt !== lessThese(full, off)) {
      full = prompt;
      off = off.filter((phrase) => !prompt.includes(phrase));
      keep();
    }
    draw();
  }

  function write(text) {
    keep();
    actions.setPrompt(text);
    draw();
  }

  function turn(phrase, on) {
    if (!on) off = [...off, phrase];
    else {
      off = off.filter((other) => other !== phrase);
      if (!full.includes(phrase)) full = andThis(full, phrase);
    }
    write(lessThese(full, off));
  }

  function change(phrase, other) {
    full = replaced(full, phrase, other);
    off = off.map((one) => (one === phrase ? other : one));
    write(lessThese(full, off));
  }

  function ask(phrase, isOn) {
    const prompt = lessThese(full, off);
    const whole = isOn ? prompt : lessThese(full.includes(phrase) ? full : andThis(full, phrase), off.filter((other) => other !== phrase));
    actions.ask(phrase, whole, isOn ? lessThese(prompt, [phrase]) : prompt);
  }

  function askSelection() {
    const box = document.querySelector("#wb-prompt textarea");
    const words = box ? box.value.slice(box.selectionStart, box.selectionEnd).trim() : "";
    if (!words) return actions.say("Select some words of the prompt first.");
    const less = `${box.value.slice(0, box.selectionStart)} ${box.value.slice(box.selectionEnd)}`;
    return actions.ask(words, box.value, less.replace(/ {2,}/g, " ").replace(/ ,/g, ",").trim());
  }

  function row({ phrase, category }, isOn) {
    const toggle = h("input", { type: "checkbox", role: "switch", checked: isOn, "aria-label": `${phrase}, in the prompt` });
    toggle.addEventListener("change", () => turn(phrase, toggle.checked));
    const others = category ? actions.chips()[category] : null;
    let words = h("span", { class: "words" }, phrase);
    if (others) {
      words = h("select", { class: "words", "aria-label": titles[category] ?? category }, ...others.map((other) => h("option", { value: other, selected: other.toLowerCase() === phrase.toLowerCase() }, other)));
      words.addEventListener("change", () => change(phrase, words.value));
    }
    const what = button("quiet small icon", `What does “${phrase}” do?`, "compare", () => ask(phrase, isOn));
    return h("li", { class: isOn ? "" : "off" }, toggle, words, h("small", {}, category ? (titles[category] ?? category) : ""), what);
  }

  let drawn = "";

  function draw() {
    const { base, elements } = partsOf(full, actions.chips());
    const there = elements.map(({ phrase }) => phrase);
    const waiting = off.filter((phrase) => !there.includes(phrase)).map((phrase) => ({ phrase, category: null }));
    const key = JSON.stringify([base, elements, off]);
    if (key === drawn) return;
    drawn = key;
    const focused = list.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
    list.replaceChildren(
      ...(base ? [h("li", { class: "base" }, h("span", { class: "words" }, base), h("small", {}, "Base"))] : []),
      ...[...elements, ...waiting].map((one) => row(one, !off.includes(one.phrase))),
    );
    empty.hidden = list.children.length > 0;
    chosen.hidden = !empty.hidden;
    if (focused) [...list.querySelectorAll("[aria-label]")].find((node) => node.getAttribute("aria-label") === focused)?.focus();
  }

  return { element, update };
}
