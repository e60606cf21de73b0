// The layers, top first: seen or not, which one is painted on, how strong, in which order.

import { button, h, icon } from "./dom.js";
import { askWords, menu } from "./fill_parts.js";

/** How many variations a layer was chosen from, beside itself. */
const othersOf = (layer) => (layer?.kind === "fill" && layer.facts?.variations?.length) || 0;

/**
 * `actions`: picked(layer) hears which layer a person chose; others(layer) brings back what it was chosen from;
 * openSteps(run).
 */
export function createLayersView(canvas, actions) {
  const list = h("ul", { class: "wb-layers", "aria-label": "Layers, the topmost first" });
  const add = button("quiet icon", "Add a layer", "plus", () => canvas.addLayer({ name: nextName() }));
  const more = button("quiet icon", "What to do with the layer", "dots");
  menu(more, "Layer", rows);
  const element = h("section", { class: "wb-section", "aria-label": "Layers" }, h("div", { class: "wb-section-head" }, h("h3", {}, "Layers"), h("div", { class: "wb-section-buttons" }, more, add)), list);
  let queued = false;
  let dragged = null;

  const active = () => canvas.layers.find(({ id }) => id === canvas.activeId) ?? null;
  const indexOf = (id) => canvas.layers.findIndex((layer) => layer.id === id);

  function nextName() {
    const numbers = canvas.layers.map(({ name }) => /^Layer (\d+)$/.exec(name)?.[1]).filter(Boolean).map(Number);
    return `Layer ${Math.max(0, ...numbers) + 1}`;
  }

  function rows() {
    const layer = active();
    const index = layer ? indexOf(layer.id) : -1;
    const none = !layer;
    return [
      { label: "Rename", icon: "brush", note: "F2", act: () => rename(layer), disabled: none },
      { label: "Duplicate", icon: "copy", act: () => canvas.duplicateLayer(layer.id), disabled: none },
      "-",
      { label: "Move up", icon: "up", note: "Alt ↑", act: () => canvas.moveLayer(layer.id, index + 1), disabled: none || index === canvas.layers.length - 1 },
      { label: "Move down", icon: "lower", note: "Alt ↓", act: () => canvas.moveLayer(layer.id, index - 1), disabled: none || index === 0 },
      { label: "Mask what it shows", icon: "rectangle", act: () => canvas.mask.layer(layer.id), disabled: none || layer.blank },
      { label: "Other variations", icon: "swap", note: othersOf(layer) ? String(othersOf(layer)) : "", act: () => actions.others(layer), disabled: !othersOf(layer) },
      { label: layer?.kind === "fill" ? "Steps of this fill" : "Steps of this picture", icon: "steps", act: () => actions.openSteps(layer.facts.run), disabled: !layer?.facts?.run },
      { label: "Merge into the one below", icon: "merge", act: () => canvas.mergeDown(layer.id), disabled: none || index === 0 },
      { label: "Flatten all", icon: "layers", act: () => canvas.flatten(), disabled: canvas.layers.length < 2 },
      "-",
      { label: "Delete", icon: "bin", note: "Del", danger: true, act: () => canvas.removeLayer(layer.id), disabled: none },
    ];
  }

  async function rename(layer) {
    const name = await askWords("Name of the layer", layer.name, "Rename");
    if (name && name !== layer.name) canvas.renameLayer(layer.id, name);
  }

  function about(layer) {
    if (layer.kind === "fill") return layer.facts?.fill ? `fill, seed ${layer.facts.fill.painting.seed}` : "fill";
    if (layer.kind === "picture") return layer.facts?.picture ? "painted by the model" : "picture";
    return layer.blank ? "paint, empty" : "paint";
  }

  function made(layer) {
    const row = {};
    row.eye = h("button", { type: "button", class: "wb-layer-eye", onclick: () => canvas.showLayer(layer.id, !row.layer.visible) });
    row.thumb = h("canvas", { width: 72, height: 72 });
    row.name = h("b", {});
    row.small = h("small", {});
    row.pick = h("button", { type: "button", class: "wb-layer-pick", onclick: () => pick(layer.id), ondblclick: () => rename(row.layer) }, h("span", { class: "wb-layer-thumb" }, row.thumb), h("span", { style: "min-width: 0" }, row.name, " ", row.small));
    row.pick.addEventListener("keydown", (event) => pressed(event, row.layer));
    row.opacity = h("input", { type: "number", min: 0, max: 100, class: "wb-layer-opacity" });
    row.opacity.addEventListener("change", () => canvas.setOpacity(layer.id, Math.max(0, Math.min(100, Math.round(Number(row.opacity.value) || 0)))));
    row.others = button("quiet small wb-layer-others", "Others", "swap", () => actions.others(row.layer));
    row.element = h("li", { class: "wb-layer", draggable: "true" }, row.eye, row.pick, h("span", { class: "wb-opacity-box" }, row.opacity), row.others);
    row.element.addEventListener("dragstart", (event) => {
      dragged = layer.id;
      event.dataTransfer.effectAllowed = "move";
      event.dataTransfer.setData("application/x-wavebrush-layer", layer.id);
      row.element.classList.add("dragged");
    });
    row.element.addEventListener("dragend", () => {
      dragged = null;
      list.querySelectorAll(".dragged, .over").forEach((other) => other.classList.remove("dragged", "over"));
    });
    row.element.addEventListener("dragover", (event) => {
      if (!dragged) return;
      event.preventDefault();
      row.element.classList.toggle("over", dragged !== layer.id);
    });
    row.element.addEventListener("dragleave", () => row.element.classList.remove("over"));
    row.element.addEventListener("drop", (event) => {
      if (!dragged) return;
      event.preventDefault();
      event.stopPropagation();
      if (dragged !== layer.id) canvas.moveLayer(dragged, indexOf(layer.id));
    });
    return row;
  }

  function pick(id) {
    canvas.selectLayer(id);
    actions.picked(active());
  }

  function pressed(event, layer) {
    const way = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    const index = indexOf(layer.id);
    if (event.key === "Delete") {
      canvas.removeLayer(layer.id);
      list.querySelector(".wb-layer-pick")?.focus();
    } else if (event.key === "F2") rename(layer);
    else if (way && event.altKey) {
      if (canvas.layers[index + way]) canvas.moveLayer(layer.id, index + way);
    } else if (way) {
      const next = canvas.layers[index + way];
      if (next) {
        pick(next.id);
        known.get(next.id)?.pick.focus();
      }
    } else return;
    event.preventDefault();
  }

  let known = new Map();

  function draw() {
    queued = false;
    if (canvas.empty) return;
    const layers = [...canvas.layers].reverse();
    const rowsNow = new Map();
    for (const layer of layers) {
      const row = known.get(layer.id) ?? made(layer);
      row.layer = layer;
      rowsNow.set(layer.id, row);
      const on = layer.id === canvas.activeId;
      row.element.classList.toggle("on", on);
      row.element.classList.toggle("hidden-layer", !layer.visible);
      row.pick.setAttribute("aria-pressed", String(on));
      row.eye.setAttribute("aria-label", `${layer.visible ? "Hide" : "Show"} ${layer.name}`);
      row.eye.title = layer.visible ? "Hide" : "Show";
      if (row.eye.dataset.seen !== String(layer.visible)) {
        row.eye.dataset.seen = String(layer.visible);
        row.eye.replaceChildren(icon(layer.visible ? "eye" : "shut"));
      }
      row.name.textContent = layer.name;
      row.pick.title = layer.name;
      row.small.textContent = about(layer);
      const others = othersOf(layer);
      row.others.hidden = !on || !others;
      row.others.lastChild.textContent = others === 1 ? "1 other variation" : `${others} other variations`;
      row.opacity.setAttribute("aria-label", `Opacity of ${layer.name}, in percent`);
      if (document.activeElement !== row.opacity) row.opacity.value = String(layer.opacity);
      canvas.layerThumbnail(layer.id, 72, row.thumb);
    }
    known = rowsNow;
    const wanted = layers.map(({ id }) => rowsNow.get(id).element);
    if (wanted.length !== list.children.length || wanted.some((part, k) => list.children[k] !== part)) list.replaceChildren(...wanted);
  }

  /** At most once a frame, and after strokes rather than during them. */
  function later() {
    if (queued) return;
    queued = true;
    setTimeout(() => requestAnimationFrame(draw), 60);
  }

  for (const name of ["layers", "change", "history", "loaded"]) canvas.on(name, later);
  return { element, draw: later };
}
