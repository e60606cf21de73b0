// The row above the canvas: the tool and its options, what a fill can change, undo and redo, zoom, full screen.

import { button, h, icon } from "./dom.js";
import { choices, count, menu, select, toggle } from "./fill_parts.js";
import { createSlider } from "./fill_slider.js";

const PAINTS = new Set(["brush", "eraser", "line", "rect", "ellipse", "lasso", "fill"]); // tools that act on paint or on the mask

/** `tools`: the canvas's TOOLS. `actions`: dock() opens the drawer, `past` is the button of the whole history. */
export function createOptions(canvas, tools, actions) {
  const drawing = h("span", { "aria-hidden": "true" });
  const name = h("span", {});
  const target = choices("Acts on", [["mask", "Mask"], ["paint", "Paint"]], "mask", (value) => (canvas.target = value));
  const number = (spec) => createSlider({ ...spec, compact: true }, { input: (value) => canvas.set({ [spec.name]: value }) });
  const first = {
    size: { name: "size", label: "Size", unit: "px", min: 1, max: 1000, value: 24, even: true },
    tolerance: { name: "tolerance", label: "Tolerance", unit: "", min: 0, max: 255, value: 32 },
  };
  const sliders = {
    size: number(first.size),
    tolerance: number(first.tolerance),
    hardness: number({ name: "hardness", label: "Hardness", unit: "%", min: 0, max: 100, value: 80 }),
    opacity: number({ name: "opacity", label: "Opacity", unit: "%", min: 1, max: 100, value: 100 }),
    strength: number({ name: "strength", label: "Strength", unit: "%", min: 1, max: 100, value: 50 }),
  };
  const mode = select("With the mask that is there", [["add", "Add"], ["subtract", "Take away"], ["replace", "Replace"], ["intersect", "Keep the overlap"]], (value) => canvas.set({ mode: value }));
  const by = choices("Cut out by", [["box", "Box"], ["scribble", "Scribble"]], "box", (value) => canvas.set({ by: value }));
  const flow = createSlider({ label: "Flow", unit: "%", min: 1, max: 100, value: 100 }, { input: (value) => canvas.set({ flow: value }) });
  const sample = select("Looks at", [["all", "all layers"], ["layer", "this layer"]], (value) => canvas.set({ sample: value }));
  const switches = Object.entries({ contiguous: "Only what is connected", fitEdge: "Fit the edge to the picture", pressureSize: "Pressure changes the size", pressureOpacity: "Pressure changes the opacity" }).map(([key, words]) => [key, toggle(words, false, (on) => canvas.set({ [key]: on }))]);
  const within = h("button", { type: "button", class: "wb-btn quiet small wb-inside", "aria-label": "Inside the mask only", title: "Paint inside the mask only", onclick: () => canvas.set({ withinMask: !canvas.settings.withinMask }) }, icon("inside", true), h("span", {}, "Inside the mask only"));
  const rest = button("quiet icon", "More of this tool", "sliders");
  const combining = h("label", { class: "wb-row-of wb-combining" }, h("span", {}, "The mask"), mode.element);
  const large = { size: number(first.size), tolerance: number(first.tolerance) }; // in the panel, where a narrow row has no track
  const elements = (all) => Object.values(all).map(({ element: part }) => part);
  const { size, tolerance, ...others } = sliders;
  const alwaysMore = [flow.element, h("label", { class: "wb-row-of" }, h("span", {}, "Looks at"), sample.element), ...switches.map(([, { element: part }]) => part)];
  const restPanel = h("div", { class: "wb-menu-panel" });
  menu(rest, "More of this tool", () => [restPanel], "dialog");
  const options = h("div", { class: "wb-fill-tool-options" });
  const narrow = matchMedia("(max-width: 640px)");

  /** What a narrow row has no room for is in the panel. */
  function arrange() {
    const moved = [...elements(others), combining, within];
    options.replaceChildren(by.element, ...elements({ size, tolerance }), ...(narrow.matches ? [] : moved), rest);
    restPanel.replaceChildren(...(narrow.matches ? [...elements(large), ...moved] : []), ...alwaysMore);
  }
  arrange();
  narrow.addEventListener("change", () => (arrange(), draw()));

  const undo = button("quiet icon", "Undo", "undo", () => canvas.history.undo());
  const redo = button("quiet icon", "Redo", "redo", () => canvas.history.redo());
  const zoom = h("button", { type: "button", class: "wb-zoom wb-wide-option", "aria-label": "Zoom" });
  menu(zoom, "Zoom", () => [
    { label: "Fit the window", note: "0", act: () => canvas.view.fit() },
    { label: "100 %", note: "1", act: () => canvas.view.actual() },
    { label: "Closer", note: "+", act: () => canvas.view.zoomBy(1.5) },
    { label: "Farther", note: "-", act: () => canvas.view.zoomBy(1 / 1.5) },
  ]);
  const full = button("quiet icon wb-wide-option", "Full screen", "full", () => canvas.view.fullScreen());
  const drawer = button("quiet icon wb-drawer-button", "Layers, mask and settings", "layers", actions.dock);
  drawer.setAttribute("aria-controls", "wb-fill-dock");
  drawer.setAttribute("aria-expanded", "false");
  const [badge, smallBadge] = [h("div", { class: "wb-badge", hidden: true }), h("div", { class: "wb-badge", hidden: true })];
  const element = h(
    "div",
    { class: "wb-fill-options", role: "group", "aria-label": "Tool and view" },
    h("span", { class: "wb-fill-tool-name wb-wide-option" }, drawing, name),
    target.element,
    options,
    badge,
    h("div", { class: "wb-fill-views" }, undo, redo, actions.past, h("span", { class: "wb-fill-separator" }), zoom, full, drawer),
  );

  function draw() {
    const tool = tools.find((entry) => entry.name === canvas.tool) ?? tools[0];
    const uses = new Set(tool.uses ?? []);
    if (canvas.scribble.active) uses.add("size");
    const both = PAINTS.has(tool.name);
    const onMask = both && canvas.target === "mask";
    name.textContent = tool.label;
    drawing.replaceChildren(icon(tool.icon));
    target.element.hidden = !both;
    target.set(canvas.target);
    const { settings } = canvas;
    for (const [key, slider] of [...Object.entries(sliders), ...Object.entries(large)]) {
      slider.element.hidden = !uses.has(key);
      if (settings[key] !== undefined) slider.set(settings[key]);
    }
    by.element.hidden = !uses.has("by");
    by.set(settings.by);
    const combines = uses.has("mode") && (!both || onMask);
    combining.hidden = !combines;
    mode.set(settings.mode ?? "add");
    for (const [key, part] of switches) {
      part.element.hidden = !uses.has(key);
      part.set(Boolean(settings[key]));
    }
    within.hidden = !uses.has("withinMask") || onMask || canvas.empty || !canvas.mask.info.count;
    within.setAttribute("aria-pressed", String(settings.withinMask));
    flow.element.hidden = !uses.has("flow");
    flow.set(settings.flow);
    sample.element.parentElement.hidden = !uses.has("sample");
    sample.set(settings.sample);
    rest.hidden = [...restPanel.children].every((part) => part.hidden);
  }

  function past() {
    const { history } = canvas;
    undo.disabled = !history.canUndo;
    redo.disabled = !history.canRedo;
    undo.title = history.canUndo ? `Undo: ${history.undoLabel}` : "Nothing to undo";
    redo.title = history.canRedo ? `Redo: ${history.redoLabel}` : "Nothing to redo";
  }

  for (const event of ["tool", "mask", "loaded"]) canvas.on(event, draw);
  for (const event of ["history", "change", "loaded", "scribble", "tool"]) canvas.on(event, past);
  canvas.on("view", ({ zoom: times }) => {
    const percent = times * 100;
    zoom.textContent = `${percent < 10 ? percent.toFixed(1) : Math.round(percent)} %`;
    zoom.setAttribute("aria-label", `Zoom, ${zoom.textContent}`);
  });
  draw();
  past();

  return {
    element,
    smallBadge,
    drawer,
    /** `facts`: {change, rest} before a fill, {untouched, changed} after one from the server's comparison, or null. */
    badge(facts) {
      for (const part of [badge, smallBadge]) {
        part.hidden = !facts;
        if (!facts) continue;
        const before = facts.change !== undefined;
        const [first, words, second, last] = before ? [facts.change, " pixels will change, ", facts.rest, " cannot"] : [facts.untouched, " pixels untouched, ", facts.changed, " changed"];
        part.classList.toggle("bad", !before && facts.changed > 0);
        part.title = before ? "Only what lies inside of the mask can change." : "From a comparison of every byte outside of the mask.";
        part.replaceChildren(icon("shield", true), h("span", {}, h("b", {}, count(first)), words, h("b", {}, count(second)), last));
      }
    },
  };
}
