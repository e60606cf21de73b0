// The step's picture on a canvas: paint on it, or paint a region. By pointer, or by keyboard: arrows move, Space paints.

import { button, h } from "./dom.js";
import { want } from "./steps_pictures.js";
import { stepAddress } from "./steps_server.js";
import { createStrokes } from "./steps_strokes.js";

const TOOLS = [
  ["brush", "Brush", "b"],
  ["eraser", "Eraser", "e"],
  ["picker", "Pick a colour", "i"],
];

let chosen = { color: "#c23a2b", size: null, hardness: 0.7, opacity: 1 }; // kept while the page lives

/**
 * Opens step `step` of `run`. `purpose`: "edit" or "mask". `done({picture, region, count})` is given two PNG blobs and
 * the number of painted pixels; while it works the dialog stays, and it closes unless `done` answers false.
 */
export async function openPaint(run, step, purpose, done) {
  const { width, height } = run.canvas;
  const editing = purpose === "edit";
  const { bitmap } = await want(stepAddress(run.id, step, { look: run.space.picture ? "full" : "fast" }));
  const strokes = createStrokes(bitmap, width, height);
  let tool = "brush";
  const settings = { ...chosen, size: chosen.size ?? Math.max(4, Math.round(Math.min(width, height) / 10)) };
  const spot = { x: width / 2, y: height / 2, keys: false };
  let drawing = false;
  let queued = false;

  const canvas = h("canvas", { class: "wb-paint-canvas", width, height, tabindex: "0", role: "application", "aria-label": `Step ${step + 1}. Arrows move the brush, Space paints, E erases` });
  const cursor = h("i", { class: "wb-paint-cursor" });
  const board = h("div", { class: "wb-paint-board" }, canvas, cursor);
  board.style.setProperty("--wb-ratio", String(width / height));
  const context = canvas.getContext("2d");
  const tools = TOOLS.filter(([name]) => editing || name !== "picker").map(([name, label, key]) => {
    const press = button("quiet icon wb-tool", `${label} (${key.toUpperCase()})`, name, () => take(name));
    return [name, press];
  });
  const color = h("input", { type: "color", class: "wb-color", "aria-label": "Colour", value: settings.color, oninput: () => (settings.color = color.value) });
  const slider = (label, name, most, unit) => {
    const words = h("span", { class: "wb-output" });
    const field = h("input", { type: "range", min: unit === "px" ? 1 : 5, max: most, "aria-label": label });
    const factor = unit === "px" ? 1 : 100;
    const show = () => {
      field.value = String(Math.round(settings[name] * factor));
      words.textContent = `${field.value} ${unit}`;
    };
    field.addEventListener("input", () => {
      settings[name] = Number(field.value) / factor;
      show();
      moveCursor();
    });
    show();
    return { row: h("label", { class: "wb-paint-slider" }, h("span", {}, label), field, words), show };
  };
  const size = slider("Size", "size", Math.max(32, Math.round(Math.min(width, height) / 2)), "px");
  const hardness = slider("Hardness", "hardness", 100, "%");
  const opacity = slider("Opacity", "opacity", 100, "%");
  const undo = button("quiet icon", "Undo (Ctrl Z)", "undo", () => (strokes.undo(), changed()));
  const redo = button("quiet icon", "Redo (Ctrl Shift Z)", "redo", () => (strokes.redo(), changed()));
  const clear = button("quiet small", "Clear", null, () => (strokes.clear(), changed()));
  const words = h("p", { role: "status", class: "wb-faint" });
  const cancel = button("quiet", "Cancel", null, () => dialog.close());
  const go = button("primary", editing ? `Continue from ${step + 1}` : "Use this region", editing ? "branch" : "check", finish);
  const dialog = h(
    "dialog",
    { class: "wb-dialog wb-painting", "aria-label": editing ? `Paint on step ${step + 1}` : "Paint a region" },
    h(
      "div",
      { class: "wb-dialog-head" },
      h("h2", {}, editing ? `Paint on step ${step + 1}` : "Where may the strengths act?"),
      h("div", { class: "wb-paint-tools", role: "group", "aria-label": "Tools" }, ...tools.map(([, press]) => press), editing ? color : null, undo, redo, clear),
    ),
    h("div", { class: "wb-paint-room" }, board),
    h("div", { class: "wb-dialog-foot wb-paint-foot" }, h("div", { class: "wb-paint-sliders" }, size.row, hardness.row, opacity.row), words, cancel, go),
  );
  document.querySelector(".gradio-container").append(dialog);

  function take(name) {
    tool = name;
    for (const [other, press] of tools) press.setAttribute("aria-pressed", String(other === tool));
  }

  const brush = () => ({ ...settings, color: editing ? settings.color : "#ffffff", erases: tool === "eraser" });

  function redraw() {
    if (queued) return;
    queued = true;
    requestAnimationFrame(() => {
      queued = false;
      strokes.show(context, editing ? 1 : 0.6);
    });
  }

  function changed() {
    redraw();
    const count = strokes.count();
    undo.disabled = !strokes.canUndo();
    redo.disabled = !strokes.canRedo();
    go.disabled = count === 0;
    const share = (count / (width * height)) * 100;
    words.textContent = count ? `${count.toLocaleString("en")} px painted, ${share < 1 ? share.toFixed(1) : share.toFixed(0)} % of the picture` : editing ? "Early steps take paint as a hint; late ones keep it." : "Paint over the region.";
  }

  function placeOf(event) {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height];
  }

  function moveCursor() {
    const scale = canvas.clientWidth / width;
    Object.assign(cursor.style, { width: `${settings.size * scale}px`, height: `${settings.size * scale}px`, transform: `translate(${canvas.offsetLeft + spot.x * scale}px, ${canvas.offsetTop + spot.y * scale}px) translate(-50%, -50%)` });
    cursor.hidden = !spot.seen;
  }

  function begin(x, y) {
    if (tool === "picker") {
      settings.color = color.value = strokes.colorAt(Math.min(width - 1, Math.max(0, x)), Math.min(height - 1, Math.max(0, y)));
      return take("brush");
    }
    drawing = true;
    strokes.begin(x, y, brush());
    return redraw();
  }

  function end() {
    if (!drawing) return;
    drawing = false;
    strokes.end();
    changed();
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    [spot.x, spot.y] = placeOf(event);
    begin(spot.x, spot.y);
  });
  canvas.addEventListener("pointermove", (event) => {
    [spot.x, spot.y] = placeOf(event);
    spot.seen = event.pointerType !== "touch";
    moveCursor();
    if (!drawing) return;
    for (const part of event.getCoalescedEvents?.() ?? [event]) strokes.to(...placeOf(part));
    strokes.to(spot.x, spot.y);
    redraw();
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, end);
  canvas.addEventListener("pointerleave", () => {
    spot.seen = false;
    moveCursor();
  });

  dialog.addEventListener("keydown", (event) => {
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if ((event.ctrlKey || event.metaKey) && key === "z") {
      if (event.shiftKey) strokes.redo();
      else strokes.undo();
      changed();
    } else if (event.target.matches("input") || event.ctrlKey || event.metaKey || event.altKey) return;
    else if (key === "[" || key === "]") {
      settings.size = Math.max(1, Math.round(settings.size * (key === "[" ? 1 / 1.25 : 1.25)) + (key === "]" && settings.size < 4 ? 1 : 0));
      size.show();
      moveCursor();
    } else if (tools.some(([name]) => TOOLS.find(([known, , own]) => known === name && own === key))) take(TOOLS.find(([, , own]) => own === key)[0]);
    else if (event.target === canvas && key.startsWith("Arrow")) {
      const far = event.shiftKey ? Math.max(4, settings.size / 2) : 2;
      spot.x = Math.min(width, Math.max(0, spot.x + far * ((key === "ArrowRight") - (key === "ArrowLeft"))));
      spot.y = Math.min(height, Math.max(0, spot.y + far * ((key === "ArrowDown") - (key === "ArrowUp"))));
      spot.seen = true;
      moveCursor();
      if (drawing) {
        strokes.to(spot.x, spot.y);
        redraw();
      }
    } else if (event.target === canvas && key === " ") {
      if (!event.repeat) begin(spot.x, spot.y);
    } else return;
    event.preventDefault();
  });
  dialog.addEventListener("keyup", (event) => event.key === " " && event.target === canvas && end());
  dialog.addEventListener("close", () => {
    chosen = settings;
    dialog.remove();
  });
  dialog.addEventListener("cancel", (event) => {
    if (strokes.canUndo()) event.preventDefault(); // Esc would throw strokes away: Cancel says that it does
  });

  async function finish() {
    go.disabled = true;
    words.textContent = "Saving the strokes…";
    try {
      const count = strokes.count();
      if ((await done({ ...(await strokes.export()), count })) !== false) return dialog.close();
      changed();
    } catch (problem) {
      go.disabled = false;
      words.textContent = problem.message; // the strokes stay
      if (!problem.status && problem.constructor.name !== "Silence") throw problem;
    }
    return undefined;
  }

  take("brush");
  dialog.showModal();
  changed();
  canvas.focus({ preventScroll: true });
}
