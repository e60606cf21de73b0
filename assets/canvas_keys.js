// Keys of the canvas, by what they write (event.key), so that they lie where a keyboard's letters are. They act while the
// canvas has the focus, and who mounts it may give it more of them. `?` lists them.

import { button, h } from "./dom.js";
import { TOOLS } from "./canvas_tools.js";

/** [keys as they are read, what they do], for the list and for help. */
export const KEYS = [
  ["V", "Move the layer (arrows: 1 px, with Shift 10 px)"],
  ["Shift C", "Crop (Tab: the next handle, arrows: 1 px, with Shift 10 px, X: turn, Enter: apply)"],
  ["B", "Brush"],
  ["E", "Eraser"],
  ["L", "Lasso"],
  ["R", "Rectangle"],
  ["O", "Ellipse"],
  ["W", "Wand"],
  ["Q", "Cut out an object, by a box or a scribble"],
  ["U", "Line"],
  ["G", "Fill"],
  ["I", "Pick a colour"],
  ["S", "Smudge"],
  ["C", "Clone (Alt and click: copy from here)"],
  ["M", "Paint on the mask, or on the layer"],
  ["X", "Swap the two colours"],
  ["[ and ]", "Smaller, larger"],
  ["Shift [ and ]", "Softer, harder"],
  ["Ctrl Z", "Undo"],
  ["Ctrl Shift Z, Ctrl Y", "Redo"],
  ["Ctrl A", "Mask everything"],
  ["Ctrl D", "Clear the mask"],
  ["Ctrl Shift I", "Invert the mask"],
  ["Ctrl S", "Say whether everything is saved"],
  ["Arrows", "Move the keyboard's cursor (Shift: farther)"],
  ["Space", "Paint at the keyboard's cursor while held; with the mouse, pan"],
  ["Enter", "Begin and end a stroke or shape at the keyboard's cursor"],
  ["Alt Enter", "Clone from the keyboard's cursor"],
  ["Shift with a stroke", "Straight from the last point; shapes even"],
  ["Alt with a shape", "Take away instead"],
  ["Alt with a scribble, X", "What is not part of the object"],
  ["Enter after a scribble", "Take the object into the mask"],
  ["Delete", "Clear the mask"],
  ["H held", "Pan"],
  ["+ and −", "Zoom (also the wheel)"],
  ["0 and 1", "Fit, 100 %"],
  ["F", "Full screen"],
  ["Escape", "Let go of what is being drawn, of the scribble, or of the crop"],
  ["?", "This list"],
];

const NUDGE = 10; // px of a layer, or of the crop's frame, with Shift
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const byKey = (wanted) => Object.fromEntries(TOOLS.filter(({ key, shift = false }) => key && shift === wanted).map(({ key, name }) => [key, name]));
const [BY_KEY, BY_SHIFT] = [byKey(false), byKey(true)];

/** Whether a key chooses a tool, or changes how it works or what is seen: a single character that undoes nothing. */
export function choosesTool({ key, shiftKey, ctrlKey, metaKey, altKey }) {
  if (ctrlKey || metaKey || altKey || key.length !== 1) return false;
  const letter = key.toLowerCase();
  return "[]{}+=".includes(letter) || (shiftKey ? letter in BY_SHIFT : letter in BY_KEY || "xmfh01-".includes(letter));
}

/** What a key does to the canvas together with Ctrl or Cmd, wherever the focus is; null for nothing. */
export function commandOf(event, canvas) {
  if (!(event.ctrlKey || event.metaKey) || event.altKey || canvas.empty) return null;
  const { history, mask } = canvas;
  const alone = { z: () => history.undo(), y: () => history.redo(), a: () => mask.all(), d: () => mask.info.count && mask.clear() };
  const shifted = { z: () => history.redo(), i: () => mask.invert() };
  return (event.shiftKey ? shifted : alone)[event.key.toLowerCase()] ?? null;
}

/** `canvas`: the public interface; `input`: what attachInput answers; `acts`: {cancel(), swap(), far(), nudge(dx, dy), take(), source()}. The crop's handles lie in `element`, so that its keys are theirs. */
export function attachKeys(element, canvas, input, acts) {
  const stop = new AbortController();

  const larger = (by) => {
    const { size } = canvas.settings;
    const next = Math.round(size * (by > 0 ? 1.2 : 1 / 1.2));
    canvas.set({ size: next === size ? size + by : next });
  };

  const plain = {
    x: () => acts.swap(),
    m: () => (canvas.target = canvas.target === "mask" ? "paint" : "mask"),
    f: () => canvas.view.fullScreen(),
    0: () => canvas.view.fit(),
    1: () => canvas.view.actual(),
    "+": () => canvas.view.zoomBy(1.25),
    "=": () => canvas.view.zoomBy(1.25),
    "-": () => canvas.view.zoomBy(1 / 1.25),
    "?": () => canvas.showKeys(),
    h: () => input.hold(true),
    Delete: () => canvas.mask.info.count && canvas.mask.clear(),
    Backspace: () => canvas.mask.info.count && canvas.mask.clear(),
  };

  function onKeydown(event) {
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (event.isComposing) return;
    if (event.ctrlKey || event.metaKey) {
      const act = commandOf(event, canvas);
      if (!act) return;
      act();
    } else if (key in ARROWS) {
      const [right, down] = ARROWS[key];
      const far = event.shiftKey ? NUDGE : 1;
      if (canvas.tool === "crop" || (canvas.tool === "move" && !input.keyboard?.drawing)) acts.nudge(right * far, down * far);
      else input.step(right, down, event.shiftKey ? acts.far() : 1);
    } else if (key === " ") {
      if (!event.repeat && input.keyboard) input.press({ shift: event.shiftKey, alt: event.altKey });
      else if (!input.keyboard) input.hold(true);
    } else if (key === "Enter" && canvas.tool === "crop") {
      if (!event.repeat) canvas.crop.apply();
    } else if (key === "Enter" && canvas.scribble.marks.length && !input.drawing) {
      if (!event.repeat) acts.take();
    } else if (key === "Enter") {
      if (!input.keyboard) input.step(0, 0, 0);
      if (event.altKey) acts.source();
      else if (!event.repeat) {
        if (input.drawing) input.release();
        else input.press({ shift: false, alt: false });
      }
    } else if (key === "Escape") {
      if (!acts.cancel()) return; // whoever else listens may have it
    } else if (key === "[" || key === "{" || key === "]" || key === "}") {
      const by = key === "[" || key === "{" ? -1 : 1;
      // on layouts where a bracket needs Shift or AltGr, the braces stand for "with Shift"
      if (event.shiftKey || key === "{" || key === "}") canvas.set({ hardness: canvas.settings.hardness + 10 * by });
      else larger(by);
    } else if (event.altKey) return;
    else if (key in BY_KEY && !event.shiftKey) {
      if (!event.repeat) canvas.tool = BY_KEY[key];
    } else if (key in BY_SHIFT && event.shiftKey) {
      if (!event.repeat) canvas.tool = BY_SHIFT[key];
    } else if (key in plain && !(event.shiftKey && /[a-z]/.test(key) && key.length === 1)) {
      if (!event.repeat || "+=-".includes(key)) plain[key]();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  function onKeyup(event) {
    if (event.key === " ") {
      input.release();
      input.hold(false);
    } else if (event.key.toLowerCase() === "h") input.hold(false);
  }

  element.addEventListener("keydown", onKeydown, { signal: stop.signal });
  element.addEventListener("keyup", onKeyup, { signal: stop.signal });
  return { destroy: () => stop.abort() };
}

/** A dialog with all keys; closes by Escape, by its button, or by a click beside it. */
export function showKeys(room) {
  const rows = KEYS.map(([keys, does]) => h("div", { class: "wb-key-row" }, h("dt", {}, h("kbd", {}, keys)), h("dd", {}, does)));
  const close = button("quiet icon", "Close", "cross", () => dialog.close());
  const dialog = h("dialog", { class: "wb-dialog wb-keys", "aria-label": "Keys of the canvas" }, h("div", { class: "wb-dialog-head" }, h("h2", {}, "Keys of the canvas"), close), h("dl", { class: "wb-key-list", tabindex: "0" }, ...rows));
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  room.append(dialog);
  dialog.showModal();
  return dialog;
}
