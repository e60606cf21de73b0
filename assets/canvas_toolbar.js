// The tool column: one stop of the tab key, arrows inside, as a toolbar does it.

import { button, h } from "./dom.js";
import { TOOLS } from "./canvas_tools.js";

/** A `div[role=toolbar]` that follows and sets the canvas's tool. */
export function createToolbar(canvas, { vertical = true, tools = TOOLS } = {}) {
  const presses = new Map();
  const parts = [];
  let group = tools[0]?.group;
  for (const { name, label, key, shift, icon, group: own } of tools) {
    if (own !== group) parts.push(h("hr", { "aria-hidden": "true" }));
    group = own;
    const keys = `${shift ? "Shift+" : ""}${key.toUpperCase()}`;
    const press = button("quiet icon", key ? `${label} (${keys})` : label, icon, () => (canvas.tool = name));
    press.classList.add("wb-tool");
    press.setAttribute("aria-label", label);
    if (key) press.setAttribute("aria-keyshortcuts", keys);
    press.dataset.tool = name;
    presses.set(name, press);
    parts.push(press);
  }
  const bar = h("div", { role: "toolbar", class: "wb-tools-column", "aria-label": "Tools", "aria-orientation": vertical ? "vertical" : "horizontal" }, ...parts);
  const all = [...presses.values()];

  function show() {
    for (const [name, press] of presses) press.setAttribute("aria-pressed", String(name === canvas.tool));
    const reach = presses.get(canvas.tool) ?? all[0];
    for (const press of all) press.tabIndex = press === reach ? 0 : -1;
  }

  bar.addEventListener("keydown", (event) => {
    const at = all.indexOf(event.target.closest("button"));
    const to = { ArrowDown: at + 1, ArrowRight: at + 1, ArrowUp: at - 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (to === undefined || at < 0) return;
    const next = all[(to + all.length) % all.length];
    for (const press of all) press.tabIndex = press === next ? 0 : -1;
    next.focus();
    event.preventDefault();
  });
  canvas.on("tool", show);
  show();
  return bar;
}
