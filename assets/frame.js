// The frame: brand, theme, the model's card, keys and help. Knows nothing of pictures.

import { button, h, logo, remember, remembered } from "./dom.js";

const systemDark = matchMedia("(prefers-color-scheme: dark)");
const themeButtons = new Set();

const KEYS = [
  [["Ctrl", "⏎"], "paint"],
  [["←", "→"], "look through the pictures"],
  [["⏎"], "on a picture: enlarge it"],
  [["Esc"], "close what is open"],
  [["?"], "this list"],
];
const STEPS_KEYS = [
  [["←", "→"], "one step, with Shift five"],
  [["Home", "End"], "first and last step"],
  [["Space"], "play"],
  [["1", "…", "5"], "a band large, 0 the picture"],
  [["−", "+"], "weaker and stronger greys"],
  [["B"], "held: what it came from"],
];
const FILL_KEYS = [
  [["?"], "on the canvas: all its keys"],
  [["B"], "brush, with E eraser, L lasso, W wand"],
  [["V"], "move the layer, with arrows by pixels"],
  [["Ctrl", "A"], "mask everything, with D nothing"],
  [["Ctrl", "Z"], "undo, with Shift redo"],
  [["Ctrl", "⏎"], "fill, then keep"],
];
const GALLERY_KEYS = [
  [["←", "→", "↑", "↓"], "move, with Shift select"],
  [["Space"], "add to the selection"],
  [["⏎"], "enlarge"],
  [["S"], "favourite"],
  [["C"], "compare two"],
  [["Del"], "to the bin, Ctrl Z brings it back"],
];
const SURROUNDS = [
  ["", "Theme’s"],
  ["dark", "Dark"],
  ["middle", "Middle"],
  ["light", "Light"],
];

function dark() {
  const chosen = remembered("theme");
  return chosen ? chosen === "dark" : systemDark.matches;
}

/** Gradio reads the system's theme when it starts and again when the system turns: the person's choice has the last word. */
function wearTheme() {
  const isDark = dark();
  for (const element of [document.documentElement, document.body]) {
    if (element.classList.contains("dark") !== isDark) element.classList.toggle("dark", isDark);
  }
  for (const themeButton of themeButtons) {
    const label = isDark ? "Switch to light" : "Switch to dark";
    if (themeButton.title === label) continue;
    const fresh = button("quiet icon", label, isDark ? "sun" : "moon");
    themeButton.replaceChildren(...fresh.childNodes);
    themeButton.title = label;
    themeButton.setAttribute("aria-label", label);
  }
}

function wearSurround() {
  const chosen = remembered("surround");
  if (chosen) document.documentElement.dataset.wbSurround = chosen;
  else delete document.documentElement.dataset.wbSurround;
}

wearTheme();
wearSurround();
systemDark.addEventListener("change", wearTheme);
new MutationObserver(wearTheme).observe(document.body, { attributes: true, attributeFilter: ["class"] });
if (/Mac|iPhone|iPad/.test(navigator.platform)) document.documentElement.dataset.wbMac = "";
document.documentElement.lang = "en";

export function mountBrand(element) {
  element.querySelector(".wb-brand").replaceChildren(logo(), h("span", {}, "wavebrush"));
}

export function mountTools(element) {
  const help = helpPopover();
  const card = h("div", { class: "wb-popover", id: "wb-model-card", popover: "auto", role: "dialog", "aria-label": "The model" });
  const chip = h("button", { type: "button", class: "wb-model", id: "wb-model", popovertarget: "wb-model-card", hidden: true });
  const theme = button("quiet icon", "Light or dark", "sun", () => {
    const wanted = dark() ? "light" : "dark";
    remember("theme", wanted === (systemDark.matches ? "dark" : "light") ? null : wanted); // the system's own: follow it again
    wearTheme();
  });
  const helpButton = button("quiet icon", "Keys and help", "help");
  helpButton.setAttribute("popovertarget", help.id);
  themeButtons.add(theme);
  element.querySelector(".wb-tools").replaceChildren(chip, theme, helpButton);
  // In the body, because the top layer takes its colours from where an element lies, not from where it was opened.
  document.body.append(help, card);
  wearTheme();
  document.addEventListener("keydown", (event) => {
    if (event.key !== "?" || event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    event.preventDefault();
    help.togglePopover();
  });
}

/** Whether a key pressed there belongs to a field. */
export function typing(target) {
  return target instanceof Element && Boolean(target.closest("input, textarea, select, [role=combobox], [role=listbox], [role=slider], [role=tablist], [contenteditable=true]"));
}

/** Shows which model paints, in the bar and in its card. `model` is the session's. */
export function showModel(model) {
  const chip = document.getElementById("wb-model");
  const card = document.getElementById("wb-model-card");
  if (!chip || !card) return;
  chip.hidden = false;
  chip.replaceChildren(h("b", {}, model.name), h("span", { class: "wb-wide" }, `${model.width} px · on this computer`));
  const facts = [
    ["Own size", `${model.width} × ${model.height} px`],
    ["Steps", `${model.num_inference_steps}, ${model.solver}`],
    ["Guidance", Number(model.guidance_scale).toFixed(1)],
    ["A picture takes", model.seconds_per_picture ? `about ${seconds(model.seconds_per_picture)}` : null],
    ["Licence", model.licence ?? null],
  ].filter(([, value]) => value);
  card.replaceChildren(
    h("h2", {}, model.title || model.name),
    h("p", {}, model.blurb || ""),
    h("dl", { class: "facts" }, ...facts.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
  );
}

/** Where there is a login: who is signed in, and the way out. */
export function showUser(name) {
  const help = document.getElementById("wb-keys-and-help");
  help?.querySelector("form")?.remove();
  if (!help || !name) return;
  const way = new URL("studio/logout", document.baseURI).href;
  help.append(h("form", { method: "post", action: way }, h("h3", {}, `Signed in as ${name}`), h("button", { class: "wb-btn small" }, "Sign out")));
}

/** A duration in words: "0.8 s", "14 s", "3 min 20 s". */
export function seconds(value) {
  if (value < 9.95) return `${value.toFixed(1)} s`;
  const whole = Math.round(value);
  return whole < 100 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

function helpPopover() {
  const list = (keys) =>
    keys.flatMap(([names, meaning]) => [
      h("dt", {}, ...names.flatMap((name, k) => [k ? " " : "", h("kbd", { class: "wb-kbd" }, name)])),
      h("dd", {}, meaning),
    ]);
  const surround = h("div", { class: "wb-segments", role: "group", "aria-label": "Grey around the picture" });
  const choices = SURROUNDS.map(([value, label]) => {
    const choice = h("button", { type: "button" }, label);
    choice.addEventListener("click", () => {
      remember("surround", value || null);
      wearSurround();
      press();
    });
    return [value, choice];
  });
  const press = () => choices.forEach(([value, choice]) => choice.setAttribute("aria-pressed", String(value === (remembered("surround") ?? ""))));
  press();
  surround.append(...choices.map(([, choice]) => choice));
  return h(
    "div",
    { class: "wb-popover", id: "wb-keys-and-help", popover: "auto", role: "dialog", "aria-label": "Keys and help" },
    h("h2", {}, "Keys"),
    h("dl", {}, ...list(KEYS)),
    h("h3", {}, "In Fill"),
    h("dl", {}, ...list(FILL_KEYS)),
    h("h3", {}, "In Steps"),
    h("dl", {}, ...list(STEPS_KEYS)),
    h("h3", {}, "In the Gallery"),
    h("dl", {}, ...list(GALLERY_KEYS)),
    h("h3", {}, "Grey around the picture"),
    surround,
    h("h3", {}, "Pictures keep their settings"),
    h("p", {}, "Every PNG carries what it was painted from. Drop one anywhere on this page to get its settings back into the form."),
  );
}
