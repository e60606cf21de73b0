// The two colours at the foot of the tools: the one that paints, the one behind it, and the arrow that swaps them.

import { h, icon } from "./dom.js";

export function createColours(canvas) {
  const one = (key, words) => {
    const field = h("input", { type: "color", "aria-label": words });
    field.addEventListener("input", () => canvas.set({ [key]: field.value }));
    return { key, field, label: h("label", { title: words }, field) };
  };
  const both = [one("color", "Colour to paint with"), one("color2", "Other colour")];
  const swap = h("button", { type: "button", class: "wb-swap", "aria-label": "Swap the colours", title: "Swap the colours (X)", onclick: () => canvas.swapColors() }, icon("swap", true));
  const element = h("div", { class: "wb-colours" }, h("span", { class: "wb-swatches" }, ...both.map(({ label }) => label)), swap);

  function draw() {
    for (const { key, field, label } of both) {
      const value = canvas.settings[key];
      if (field.value !== value) field.value = value;
      label.style.background = value;
    }
  }
  canvas.on("tool", draw);
  canvas.on("color", draw);
  draw();
  return { element, draw };
}
