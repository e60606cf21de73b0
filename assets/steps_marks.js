// Marks that the parts of the Steps tab share: a band's wave and colour, numbers in words, segments, a floating hint.

import { h, svg } from "./dom.js";

const PITCH = [1, 1.5, 2.5, 4, 6]; // waves in a mark, composition to grain
const HEIGHT = [0.4, 0.38, 0.34, 0.3, 0.26];

/** Where band `band` of `count` lies on the scale of our five named ones, 0 to 4. */
const place = (band, count) => (count > 1 ? (band * 4) / (count - 1) : 0);

function between(values, at) {
  const low = Math.floor(at);
  const high = Math.min(low + 1, values.length - 1);
  return values[low] + (values[high] - values[low]) * (at - low);
}

/** The colour of a band; between two of our five it is mixed. */
export function bandColor(band, count) {
  const at = place(band, count);
  const low = Math.floor(at);
  if (at === low) return `var(--wb-band-${low})`;
  return `color-mix(in oklab, var(--wb-band-${low}), var(--wb-band-${low + 1}) ${Math.round((at - low) * 100)}%)`;
}

/** A wave whose pitch says the order of the bands without colour. */
export function wave(band, count, width = 22, height = 12, stroke = 1.8) {
  const at = place(band, count);
  const turns = between(PITCH, at);
  const tall = between(HEIGHT, at) * height;
  let path = "";
  for (let k = 0; k <= 64; k += 1) {
    const x = 1 + ((width - 2) * k) / 64;
    path += `${k ? "L" : "M"}${x.toFixed(1)} ${(height / 2 - tall * Math.sin((turns * 2 * Math.PI * k) / 64)).toFixed(1)}`;
  }
  return svg(
    "svg",
    { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true", class: "wb-wave" },
    svg("path", { d: path, fill: "none", "stroke-width": stroke, "stroke-linecap": "round", "stroke-linejoin": "round", style: `stroke: ${bandColor(band, count)}` }),
  );
}

/** "−5.2 %": a real minus, and a sign where `signed`. */
export function percent(value, digits = 0, signed = false) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const words = Math.abs(value).toFixed(digits);
  const sign = Number(words) === 0 ? "" : value < 0 ? "−" : signed ? "+" : "";
  return `${sign}${words} %`;
}

/** "+0.016", "−0.004", "0": a strength. */
export function strengthWords(value) {
  const words = Math.abs(value).toFixed(3);
  if (Number(words) === 0) return "0";
  return `${value < 0 ? "−" : "+"}${words}`;
}

/** A figure of any size in at most five characters or so: "14,785", "0.31", "2.1e-5". */
export function figure(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size === 0) return "0";
  const words = size >= 100 ? Math.round(size).toLocaleString("en") : size >= 0.01 ? size.toPrecision(3) : size.toExponential(1).replace("-", "−");
  return `${value < 0 ? "−" : ""}${words}`;
}

/** A figure in at most seven characters, for a row of them: "94", "1.2", "0.31", "0.0049". */
export function small(value) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size === 0) return "0";
  return size < 0.0001 ? "<0.0001" : size < 1 ? value.toFixed(Math.min(4, 1 - Math.floor(Math.log10(size)))) : value.toFixed(size < 10 ? 1 : 0);
}

/** What black and white stand for, common over the run: in a band, or in all that a step added where `band` is null. */
export function spanOf(run, { space, show, gain }, band) {
  const scale = run.scale?.[band === null ? "picture" : space];
  const value = band === null ? scale?.whole : scale?.[show === "added" ? "added" : "bands"]?.[band];
  return Number.isFinite(value) ? value / gain : null;
}

const spanFigure = (value) => (value >= 10 ? value.toFixed(0) : value.toPrecision(2));

/** "±12 of 255", "±0.3 to ±12 of 255": one span, or the smallest and the largest of several. */
export function spanWords(value, space, most = value) {
  const range = spanFigure(value) === spanFigure(most) ? `±${spanFigure(most)}` : `±${spanFigure(value)} to ±${spanFigure(most)}`;
  return `${range} ${space === "picture" ? "of 255" : "latent units"}`;
}

/** "1 step", "20 steps". */
export const stepsWords = (count) => (count === 1 ? "1 step" : `${count} steps`);

/** "composition, forms and details". */
export function joined(words) {
  return words.length < 2 ? (words[0] ?? "") : `${words.slice(0, -1).join(", ")} and ${words[words.length - 1]}`;
}

/** Buttons of which one is pressed. `options`: [[value, words]…]. */
export function segments(label, options, onChoose, look = "") {
  const buttons = options.map(([value, words]) => h("button", { type: "button", "data-value": value, onclick: () => onChoose(value) }, words));
  const element = h("div", { class: `wb-segments ${look}`, role: "group", "aria-label": label }, ...buttons);
  return {
    element,
    press: (value) => buttons.forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.value === String(value)))),
    button: (value) => buttons.find((button) => button.dataset.value === String(value)),
  };
}

/** A select of ours with its name. `options`: [[value, words]…]; `onChoose` is given the value. */
export function choice(label, options, onChoose) {
  const field = h("select", { class: "wb-select", "aria-label": label, onchange: () => onChoose(field.value) });
  const offer = (entries) => {
    const before = field.value;
    field.replaceChildren(...entries.map(([value, words]) => h("option", { value }, words)));
    if (entries.some(([value]) => String(value) === before)) field.value = before;
  };
  offer(options);
  return { field, offer };
}

let hint = null;

/** Shows words beside the pointer; null puts them away. */
export function showHint(words, event) {
  if (!hint) {
    hint = h("div", { class: "wb-hint-box", "aria-hidden": "true" });
    document.body.append(hint);
  }
  hint.hidden = !words;
  if (!words) return;
  hint.textContent = words;
  const room = 12;
  const { width, height } = hint.getBoundingClientRect();
  const left = Math.min(innerWidth - width - room, Math.max(room, event.clientX - width / 2));
  const top = event.clientY - height - 14 < room ? event.clientY + 20 : event.clientY - height - 14;
  hint.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
}

/** Follows a pointer over `element` while it is pressed or hovers. `at(share, event)` is given 0 (left end) to 1. */
export function share(element, event) {
  const { left, width } = element.getBoundingClientRect();
  return Math.min(1, Math.max(0, (event.clientX - left) / Math.max(width, 1)));
}
