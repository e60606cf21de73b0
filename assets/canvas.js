// The canvas: a document of layers and a mask, in a room, under a hand. This file joins the parts; each stands alone.
//
//   canvas_document  the document, its history and its ops        canvas_screen   drawing what is seen
//   canvas_stroke    strokes, shapes and fills on pixels           canvas_view     zoom and pan
//   canvas_tools     the tools and the hand                        canvas_input    pointers, touch, the keyboard's cursor
//   canvas_acting    the mask that acts                            canvas_overlay  cursor, frame, shapes being drawn
//   canvas_scribble  an object that is marked by hand             canvas_crop     the frame that becomes the document

import { createActing } from "./canvas_acting.js";
import { compositeBox } from "./canvas_blend.js";
import { eachDiffering, statesDiffer, tilesDiffer } from "./canvas_diff.js";
import { createCrop } from "./canvas_crop.js";
import { createCropFrame } from "./canvas_crop_frame.js";
import { createDocument } from "./canvas_document.js";
import { attachInput } from "./canvas_input.js";
import { attachKeys, KEYS, showKeys } from "./canvas_keys.js";
import { layerActs, maskActs } from "./canvas_acts.js";
import { createOverlay } from "./canvas_overlay.js";
import { encodePng } from "./canvas_png.js";
import { createScreen } from "./canvas_screen.js";
import { createScribble } from "./canvas_scribble.js";
import { drawThumbnail } from "./canvas_thumbs.js";
import { around, readBox, tilesOf } from "./canvas_tiles.js";
import { createHand, DEFAULTS, scribbles, settled, TOOLS } from "./canvas_tools.js";
import { createView } from "./canvas_view.js";
import { h } from "./dom.js";

export { KEYS, TOOLS };

const REST = 500; // ms of rest before words are said
const SAMPLES = 4096; // timings kept
const NO_MASK = new Map();

const newUuid = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/** Mounts a canvas in `host`, an element with a size of its own. See the methods for what it can do. */
export function createCanvas(host, { label = "Canvas", fullscreen = host, historyBytes, fetchPixels, fetchState, newId = newUuid } = {}) {
  const element = h("div", { class: "wb-canvas", tabindex: "0", role: "application", "aria-label": label, "aria-roledescription": "canvas", "aria-keyshortcuts": "?", "aria-description": "Arrows move the cursor, Space paints, M changes between mask and paint, question mark lists all keys." });
  const words = h("span", { class: "wb-canvas-words", role: "status" });
  host.append(element, words);

  const listeners = new Map();
  const emit = (name, detail) => listeners.get(name)?.forEach((listener) => listener(detail));
  let tool = "brush";
  let earlier = "brush"; // the tool before the crop, which is taken again after it
  let target = "paint";
  let settings = { ...DEFAULTS };
  let live = null; // {state, target}: a stroke in progress
  let before = null; // the state of another entry, shown instead
  let staged = null; // a variation, shown as a layer on top, or instead of one
  let look = "hatch";
  const timings = [];

  const size = () => {
    const state = shown();
    return state ? { width: state.width, height: state.height } : { width: 0, height: 0 };
  };
  const head = () => documentOf.head();
  const shown = () => before ?? live?.state ?? head();

  function tell(name, detail) {
    if (name === "state") turned(detail);
    else emit(name, detail);
    if (name === "loaded") {
      leaveCrop();
      scribble.drop(true);
      hand.forgetPlaces();
      view.fit();
    }
    if (name === "change" || name === "amended") emit("progress", { op: null });
  }

  const documentOf = createDocument({ emit: tell, newId, fetchPixels, fetchState, historyBytes });
  const acting = createActing(head, (info, from, to) => {
    eachDiffering(from, to, screen.forgetMask);
    emit("mask", info);
  });
  const sheet = () => around(around({ x: 0, y: 0, ...size() }, overlay.beyond), crop.box);
  const view = createView(element, size, sheet, moved, fullscreen);
  const core = {
    size,
    head,
    view,
    emit,
    newId,
    tool: () => tool,
    target: () => target,
    settings: () => settings,
    set,
    above: () => screen.later(),
    look: () => look,
    composite: (box) => compositeBox(shown(), box, { extra: staged && !before ? [staged] : [] }),
    mask() {
      if (before) return before.mask.tiles;
      if (live?.target === "mask") return live.state.mask.tiles;
      return scribble.tiles() ?? core.acting();
    },
    acting: () => (head() ? acting.now().tiles : NO_MASK),
    mode: () => settings.mode,
    decorate: (context, place) => overlay.decorate(context, place),
    before: () => Boolean(before),
    corners: () => (crop.box ? crop.corners() : overlay.corners()),
    dragFrame: (...drag) => (crop.box ? crop : overlay).dragFrame(...drag),
    holds: (x, y) => crop.holds(x, y),
    commit: (op, how) => documentOf.commit(op, how),
    /** A stroke has begun on `strokeTarget` and is seen in `state`; or, with null, is over. */
    live(state, strokeTarget) {
      const was = live;
      live = state && { state, target: strokeTarget };
      // it is shown as painted while it is painted, and as it acts afterwards
      if ((live ?? was)?.target === "mask") eachDiffering((live ?? was).state.mask.tiles, acting.now().tiles, screen.forgetMask);
    },
    changed(box, of) {
      if (of === "mask") screen.forgetMask(box);
      else screen.forget(box);
    },
    cursor(place) {
      overlay.showCursor(place);
      emit("cursor", place && { x: place.x, y: place.y });
    },
    lastCursor() {
      const { x, y } = overlay.cursor ?? {};
      return x === undefined ? {} : { x: Math.round(x), y: Math.round(y) };
    },
    saySoon,
    timed(act) {
      const start = performance.now();
      const drew = hand.doing;
      act();
      if (!drew && !hand.doing) return;
      screen.draw(); // in the same frame as the pointer
      timings.push(performance.now() - start);
      if (timings.length > SAMPLES) timings.shift();
    },
  };
  const crop = createCrop({ size, view, above: () => (core.above(), cropFrame.refresh()), emit });
  core.crop = crop;
  const scribble = createScribble({ head, mode: core.mode, acting: core.acting, changed: (box) => screen.forgetMask(box), above: core.above, emit });
  core.scribble = scribble;
  const hand = createHand(core);
  core.hand = hand;
  const screen = createScreen(element, core, view);
  const cropFrame = createCropFrame(element, crop, view); // its handles lie above what is drawn
  core.cropFrame = cropFrame;
  const overlay = createOverlay(element, core, view);
  const input = attachInput(element, core);

  /** The document is another one than before: draws what differs. `drawn`: a stroke, which has been drawn all along. */
  function turned({ from, to, drawn }) {
    const differs = drawn ? null : statesDiffer(from, to);
    if (differs === "all") {
      screen.forget();
      screen.forgetMask();
    } else if (differs) screen.forget(differs);
    acting.now();
    scribble.refresh(true);
    if (crop.box && (!from || from.width !== to.width || from.height !== to.height)) crop.begin();
    if (!from || from.width !== to.width || from.height !== to.height) {
      const [old, now] = [from?.layers[0], to.layers.find(({ id }) => id === from?.layers[0]?.id)];
      if (old && now) view.follow(now.x - old.x, now.y - old.y);
      view.refit();
    }
    if (from?.layers !== to?.layers || from?.active !== to?.active) emit("layers", {});
  }

  function moved() {
    screen.moved();
    overlay.refresh();
    cropFrame.refresh();
    emit("view", { zoom: view.zoom });
  }

  function set(change) {
    const { mode } = settings;
    settings = settled(settings, change);
    if (mode !== settings.mode) scribble.refresh();
    overlay.refresh();
    emit("tool", { tool, target, settings });
  }

  let speaking = 0;
  function saySoon() {
    clearTimeout(speaking);
    speaking = setTimeout(() => {
      const { x, y } = overlay.cursor ?? { x: 0, y: 0 };
      if (crop.box) {
        words.textContent = `${crop.label} at ${crop.words()}.`;
        return;
      }
      const marking = scribbling() ? ` ${settings.mark === "on" ? "On the object" : "Beside the object"}, ${scribble.marks.length} marks.` : null;
      const moved = tool === "move" && head()?.layers.find(({ id }) => id === head().active);
      if (moved) {
        words.textContent = `${moved.name} lies at ${moved.x}, ${moved.y}.`;
        return;
      }
      const told = marking ?? (target === "mask" ? ` Mask ${acting.info().count.toLocaleString("en")} pixels.` : ` ${TOOLS.find(({ name }) => name === tool).label}.`);
      words.textContent = `Cursor ${Math.floor(x)}, ${Math.floor(y)}.${told}`;
    }, REST);
  }

  function leaveCrop() {
    if (tool !== "crop") return;
    input.drop(); // a handle that is still held
    canvas.tool = earlier;
  }

  const scribbling = () => scribbles(tool, settings);
  const picture = (box, channels, data) => ({ width: box.width, height: box.height, channels, data });
  const whole = () => ({ x: 0, y: 0, width: head().width, height: head().height });
  const asLayer = ({ picture: pixels, x, y, opacity = 100, instead = null }) => ({ id: "staged", x, y, visible: true, opacity, tiles: tilesOf(pixels), instead });
  const layerOf = (id) => head().layers.find((layer) => layer.id === id);
  const alone = (id) => ({ ...head(), layers: [{ ...layerOf(id), visible: true, opacity: 100 }] });
  /** `variation`: {picture, x, y, instead}, shown as if it were staged; or true, for the one that is. `only`: a layer by itself. */
  function composite({ box = whole(), without = [], only = null, staged: variation = false } = {}) {
    const layer = variation === true ? staged : variation && asLayer(variation);
    return picture(box, 4, compositeBox(only ? alone(only) : head(), box, { without, extra: layer ? [layer] : [] }));
  }
  const effectiveMask = ({ box = whole() } = {}) => picture(box, 1, readBox(acting.now().tiles, 1, box));
  const rawMask = (id) => picture(whole(), 1, readBox((id ? head().masks.find((mask) => mask.id === id) : head().mask).tiles, 1, whole()));

  function finishStroke(act) {
    hand.end(); // what is being drawn is an entry of its own first
    return act();
  }

  const canvas = {
    element,
    get empty() {
      return !head();
    },
    get width() {
      return head()?.width ?? 0;
    },
    get height() {
      return head()?.height ?? 0;
    },
    create: (width, height, how) => documentOf.create(width, height, how),
    load: (json, fetchTile, how) => documentOf.load(json, fetchTile, how),
    snapshot: (entryId) => documentOf.snapshot(entryId),
    stored: (entryId, sendBundle) => documentOf.stored(entryId, sendBundle),
    confirmed: (entryId) => documentOf.confirmed(entryId),
    group: (name, act) => documentOf.group(name, act),
    replay: (ops) => documentOf.replay(ops),
    unfinished: () => hand.unfinished(),

    composite,
    /** Another object whenever what `composite` answers, of all layers or of one, may be another picture. */
    seen: (id = null) => (id ? layerOf(id) : head().layers),
    effectiveMask,
    rawMask,
    compositePng: (how) => encodePng(composite(how)),
    effectiveMaskPng: (how) => encodePng(effectiveMask(how)),
    thumbnail: (side, into) => drawThumbnail(into, side, head(), head().layers),
    layerThumbnail(id, side, into) {
      drawThumbnail(into, side, head(), head().layers.filter((layer) => layer.id === id).map((layer) => ({ ...layer, visible: true, opacity: 100 })));
    },
    pictureThumbnail: (image, side, into) => drawThumbnail(into, side, image, [{ x: 0, y: 0, visible: true, opacity: 100, tiles: tilesOf(image) }]),

    mask: maskActs(documentOf, newId, acting, (id) => encodePng(rawMask(id))),
    history: Object.create(documentOf.history, {
      // marks of a scribble come before what is in the document
      undo: { value: () => finishStroke(() => (scribbling() && scribble.canUndo ? Promise.resolve(scribble.undo()) : documentOf.history.undo())) },
      redo: { value: () => finishStroke(() => (scribbling() && scribble.canRedo ? Promise.resolve(scribble.redo()) : documentOf.history.redo())) },
      canUndo: { get: () => scribble.canUndo || documentOf.history.canUndo },
      canRedo: { get: () => (scribbling() && scribble.canRedo) || documentOf.history.canRedo },
      undoLabel: { get: () => (scribble.canUndo ? "Mark" : documentOf.history.undoLabel) },
      redoLabel: { get: () => (scribbling() && scribble.canRedo ? "Mark" : documentOf.history.redoLabel) },
      goTo: { value: (id) => finishStroke(() => documentOf.history.goTo(id)) },
      visit: { value: (json, line) => documentOf.history.visit(json, line, () => hand.end()) },
    }),

    get tool() {
      return tool;
    },
    set tool(name) {
      if (!TOOLS.some((known) => known.name === name) || hand.doing || (name === "crop" && !head())) return;
      if (name === "crop" && !crop.box) {
        earlier = tool;
        input.keyboardOff();
        crop.begin();
      } else if (name !== "crop" && crop.box) crop.drop();
      tool = name;
      element.dataset.tool = name;
      input.shown();
      overlay.refresh();
      screen.later();
      emit("tool", { tool, target, settings });
      if (input.keyboard) saySoon();
    },
    get target() {
      return target;
    },
    set target(name) {
      if ((name !== "paint" && name !== "mask") || hand.doing) return;
      target = name;
      emit("tool", { tool, target, settings });
      if (input.keyboard) saySoon();
    },
    get settings() {
      return { ...settings };
    },
    set,
    /** The marks on an object and what was found by them; `take` is told to whoever asks for objects. */
    scribble: Object.create(scribble, {
      active: { get: scribbling },
      take: { value: () => emit("scribble", { take: true }) },
    }),
    /** The frame of the crop, while that is the tool; told as "crop". Applied or let go of, the tool before it is taken again. */
    crop: Object.create(crop, {
      apply: {
        value() {
          hand.end();
          const { box, changes } = crop;
          leaveCrop();
          return changes ? documentOf.commit({ id: newId(), op: "crop", ...box, label: "Crop" }) : null;
        },
      },
      cancel: { value: leaveCrop },
    }),
    swapColors: () => set({ color: settings.color2, color2: settings.color }),

    view,
    overlay: {
      setFrame: (box, how) => overlay.setFrame(box, how),
      wait: (where) => overlay.wait(where),
      /** Shows {picture, x, y} on top of everything, or, with `instead`, in the place of the layer of that id. */
      setStaged(variation) {
        const was = staged;
        staged = variation && asLayer(variation);
        const replaced = (head()?.layers ?? []).filter(({ id }) => id === was?.instead || id === staged?.instead);
        let box = null;
        for (const layer of [was, staged, ...replaced]) if (layer) box = around(box, tilesDiffer(NO_MASK, layer.tiles, layer.x, layer.y));
        if (box) screen.forget(box);
        overlay.setStaged(variation);
      },
      setBefore(entryId) {
        const was = shown();
        before = entryId ? documentOf.stateOf(entryId) : null;
        const differs = statesDiffer(was, shown());
        if (differs === "all") screen.forget();
        else if (differs) screen.forget(differs);
        if (staged) screen.forget(tilesDiffer(NO_MASK, staged.tiles, staged.x, staged.y));
        screen.forgetMask();
      },
      get maskLook() {
        return look;
      },
      set maskLook(name) {
        look = name;
        screen.forgetMask();
      },
    },
    on(name, listener) {
      if (!listeners.has(name)) listeners.set(name, new Set());
      listeners.get(name).add(listener);
      return () => listeners.get(name).delete(listener);
    },
    focus: () => element.focus({ preventScroll: true }),
    showKeys: () => showKeys(host),
    /** ms of script per pointer event of a stroke, with its redraw. */
    get timings() {
      const sorted = [...timings].sort((a, b) => a - b);
      return { count: sorted.length, p95: sorted[Math.floor(sorted.length * 0.95)] ?? 0, worst: sorted.at(-1) ?? 0, samples: [...timings] };
    },
    forgetTimings: () => (timings.length = 0),
    destroy() {
      document.removeEventListener("fullscreenchange", onFullscreen);
      clearTimeout(speaking);
      keys.destroy();
      input.destroy();
      screen.destroy();
      overlay.destroy();
      cropFrame.destroy();
      listeners.clear();
      element.remove();
      words.remove();
    },
  };

  Object.defineProperties(canvas, Object.getOwnPropertyDescriptors(layerActs(documentOf, newId, emit))); // getters stay getters

  const keys = attachKeys(element, canvas, input, {
    cancel() {
      const drew = hand.cancel();
      if (drew) input.drop();
      if (drew || (!crop.box && !scribble.marks.length)) return drew;
      if (crop.box) leaveCrop();
      else scribble.drop();
      return true;
    },
    take: () => canvas.scribble.take(),
    swap: () => (crop.box ? crop.turn() : scribbling() ? set({ mark: settings.mark === "on" ? "beside" : "on" }) : canvas.swapColors()),
    nudge(dx, dy) {
      if (tool === "move") return hand.nudge(dx, dy);
      crop.nudge(dx, dy);
      if (document.activeElement === element) saySoon(); // a handle says it itself
      return undefined;
    },
    far: () => Math.max(8, Math.round(settings.size / 2)),
    source: () => overlay.cursor && tool === "clone" && hand.setSource(overlay.cursor.x, overlay.cursor.y),
  });
  const onFullscreen = () => emit("fullscreen", { on: Boolean(document.fullscreenElement) });
  document.addEventListener("fullscreenchange", onFullscreen);
  element.dataset.tool = tool;
  screen.resize();
  return canvas;
}
