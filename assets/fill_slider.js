// A slider with a name, a number that can be typed, a unit, words at its ends, a tick at its default, and a way back to it.

import { button, h } from "./dom.js";

let made = 0;

/**
 * `spec`: label, unit, min, max, step, value (the default), ends (two words or null), compact (one line), words(value)
 * for a number that is read otherwise than as itself, even (each part of the track multiplies by as much). `input(value)` hears every move, `change(value)` the last one.
 */
export function createSlider(spec, { input = () => {}, change = () => {} } = {}) {
  const id = `wb-slider-${(made += 1)}`;
  let { min, max, step = 1, value: usual } = spec;
  let value = usual;
  let disabled = false;

  const fraction = (of) => {
    const within = Math.min(max, Math.max(min, of));
    if (max <= min) return 0;
    return spec.even ? Math.log(within / min) / Math.log(max / min) : (within - min) / (max - min);
  };
  const ends = () => (spec.even ? { min: 0, max: 100, step: 1 } : { min, max, step });
  const position = () => (spec.even ? fraction(value) * 100 : value);
  const placed = (at) => (spec.even ? Math.round((min * (max / min) ** (at / 100)) / step) * step : at);

  const range = h("input", { type: "range", id, class: "wb-range", "aria-label": spec.label, ...ends() });
  const number = h("input", { type: "number", class: "wb-range-number", min, max, step, "aria-label": `${spec.label}, as a number`, inputmode: "numeric" });
  const unit = h("span", { class: "wb-range-unit" }, spec.unit ?? "");
  const reset = button("quiet icon wb-range-reset", `${spec.label}: back to ${usual}`, "reset", () => {
    take(usual);
    input(usual);
    change(usual);
    range.focus();
  });
  const name = h("label", { for: id }, spec.label);
  const track = h("span", { class: "wb-range-track" }, range);
  const element = spec.compact
    ? h("div", { class: "wb-slider compact" }, name, track, h("span", { class: "wb-range-value" }, number, unit))
    : h(
        "div",
        { class: "wb-slider" },
        h("div", { class: "wb-slider-top" }, name, reset, number, unit),
        track,
        spec.ends ? h("div", { class: "wb-slider-ends", "aria-hidden": "true" }, h("span", {}, spec.ends[0]), h("span", {}, spec.ends[1])) : null,
      );

  function take(wanted) {
    value = Math.min(max, Math.max(min, wanted));
    range.value = String(position());
    if (document.activeElement !== number) number.value = String(value);
    range.setAttribute("aria-valuetext", spec.words ? spec.words(value) : `${value} ${spec.unit ?? ""}`.trim());
    const [at, from] = [fraction(value), fraction(usual)];
    const start = min < 0 ? from : 0; // two ways to go: the bar begins in the middle
    track.style.setProperty("--wb-low", Math.min(at, start).toFixed(4));
    track.style.setProperty("--wb-high", Math.max(at, start).toFixed(4));
    track.style.setProperty("--wb-default", from.toFixed(4));
    element.classList.toggle("moved", value !== usual);
    reset.disabled = disabled || value === usual;
  }

  range.addEventListener("input", () => {
    take(placed(Number(range.value)));
    input(value);
  });
  range.addEventListener("change", () => change(value));
  number.addEventListener("change", () => {
    if (number.value !== "" && Number.isFinite(Number(number.value))) take(Math.round(Number(number.value) / step) * step);
    number.value = String(value);
    const taken = value; // hearing of it, others may set this slider
    input(taken);
    change(taken);
  });
  number.addEventListener("keydown", (event) => event.key === "Enter" && number.blur());
  take(value);

  return {
    element,
    value: () => value,
    set: take,
    /** Other ends, another default or another unit. */
    bounds(wish) {
      ({ min = min, max = max, value: usual = usual } = wish);
      for (const [name, end] of Object.entries(ends())) range[name] = String(end);
      Object.assign(number, { min: String(min), max: String(max) });
      reset.title = `${spec.label}: back to ${usual}`;
      reset.setAttribute("aria-label", reset.title);
      if (wish.unit !== undefined) unit.textContent = wish.unit;
      take(value);
    },
    /** Greys it; `why` is said on hover and to screen readers. */
    disable(off, why = "") {
      disabled = off;
      range.disabled = number.disabled = off;
      element.title = off ? why : "";
      element.classList.toggle("off", off);
      take(value);
    },
  };
}
