// The tools, what each is called and needs, and the hand that holds one: from points on the document to ops.

import { compositeBox } from "./canvas_blend.js";
import { statesDiffer } from "./canvas_diff.js";
import { apply } from "./canvas_ops.js";
import { beginStroke, boxOf, POINT, pointOf } from "./canvas_stroke.js";
import { around } from "./canvas_tiles.js";

/** In the order of the tool column. `shift`: its key is one with Shift. `uses`: the settings that act on it. `icon`: a name in dom.js. */
export const TOOLS = [
  { name: "hand", label: "Pan", key: "", icon: "hand", group: 0, uses: [] },
  { name: "zoom", label: "Zoom", key: "", icon: "zoom", group: 0, uses: [] },
  { name: "move", label: "Move the layer", key: "v", icon: "move", group: 0, uses: [] },
  { name: "crop", label: "Crop", key: "c", shift: true, icon: "crop", group: 0, uses: [] },
  { name: "brush", label: "Brush", key: "b", icon: "brush", group: 1, uses: ["size", "hardness", "opacity", "flow", "pressureSize", "pressureOpacity", "withinMask"] },
  { name: "eraser", label: "Eraser", key: "e", icon: "eraser", group: 1, uses: ["size", "hardness", "opacity", "flow", "pressureSize", "pressureOpacity", "withinMask"] },
  { name: "lasso", label: "Lasso", key: "l", icon: "lasso", group: 1, uses: ["mode", "opacity"] },
  { name: "rect", label: "Rectangle", key: "r", icon: "rectangle", group: 1, uses: ["mode", "opacity"] },
  { name: "ellipse", label: "Ellipse", key: "o", icon: "ellipse", group: 1, uses: ["mode", "opacity"] },
  { name: "wand", label: "Wand", key: "w", icon: "wand", group: 1, uses: ["tolerance", "contiguous", "sample", "fitEdge", "mode"] },
  { name: "object", label: "Cut out an object", key: "q", icon: "cutout", group: 1, uses: ["by", "mode"] },
  { name: "line", label: "Line", key: "u", icon: "line", group: 2, uses: ["size", "hardness", "opacity", "withinMask"] },
  { name: "fill", label: "Fill", key: "g", icon: "bucket", group: 2, uses: ["tolerance", "contiguous", "sample", "opacity", "withinMask"] },
  { name: "picker", label: "Pick a colour", key: "i", icon: "picker", group: 2, uses: ["sample"] },
  { name: "smudge", label: "Smudge", key: "s", icon: "smudge", group: 2, uses: ["size", "hardness", "strength", "pressureSize", "withinMask"] },
  { name: "clone", label: "Clone", key: "c", icon: "clone", group: 2, uses: ["size", "hardness", "opacity", "sample", "pressureSize", "pressureOpacity", "withinMask"] },
];

export const DEFAULTS = {
  size: 24,
  hardness: 80,
  opacity: 100,
  flow: 100,
  strength: 60,
  color: "#c23a2b",
  color2: "#f0ece4",
  tolerance: 32,
  contiguous: true,
  sample: "all",
  mode: "add",
  by: "box",
  mark: "on",
  fitEdge: false, // of a wand: as soft as the picture's, by whoever can think about that
  withinMask: false,
  pressureSize: true,
  pressureOpacity: false,
};

const LIMITS = { size: [1, 1000], hardness: [0, 100], opacity: [1, 100], flow: [1, 100], strength: [1, 100], tolerance: [0, 255] };
const CHOICES = {
  mode: ["add", "subtract", "replace", "intersect"],
  sample: ["all", "layer"],
  by: ["box", "scribble"], // how an object is shown to be cut out
  mark: ["on", "beside"], // what a scribble says of what lies under it
};

/** Whether the tool is the one that scribbles on objects. */
export const scribbles = (tool, settings) => tool === "object" && settings.by === "scribble";

/** Settings as they may be: numbers within their limits, colours and choices known. Anything else stays as it was. */
export function settled(before, change) {
  const made = { ...before };
  for (const [name, value] of Object.entries(change)) {
    if (name in LIMITS && Number.isFinite(Number(value))) made[name] = Math.min(LIMITS[name][1], Math.max(LIMITS[name][0], Math.round(Number(value))));
    else if (name.startsWith("color") && /^#[0-9a-f]{6}$/i.test(value)) made[name] = value.toLowerCase();
    else if (CHOICES[name]?.includes(value)) made[name] = value;
    else if (typeof DEFAULTS[name] === "boolean") made[name] = Boolean(value);
  }
  return made;
}

const STROKES = ["brush", "eraser", "smudge", "clone"];
const PAINT_ONLY = ["smudge", "clone"]; // there is nothing to smear or copy in a mask
const SHAPES = ["lasso", "rect", "ellipse"];
const NAMES = Object.fromEntries(TOOLS.map(({ name, label }) => [name, label]));

/** The smallest set of settings that an op needs to be done again. */
function settingsFor(tool, settings) {
  const names = {
    stroke: ["size", "hardness", "opacity", "flow", "color", "pressureSize", "pressureOpacity", "withinMask"],
    smudge: ["size", "hardness", "flow", "pressureSize", "withinMask"],
    clone: ["size", "hardness", "opacity", "flow", "sample", "pressureSize", "pressureOpacity", "withinMask"],
    shape: ["opacity", "color", "mode", "withinMask"],
    flood: ["opacity", "color", "mode", "tolerance", "contiguous", "sample", "withinMask"],
  }[tool];
  return Object.fromEntries(names.map((name) => [name, settings[name]]));
}

/**
 * The hand. `core`: head() -> state, target(), settings(), commit(op, label, state?), newId(), changed(box, mask?), emit(),
 * tool(). Positions are document px; `mods`: {shift, alt, erases}.
 */
export function createHand(core) {
  // {kind, op, stroke?, points, mark?}, a layer that is moved: {kind, layer, start, place, shown, from}, or the crop's frame: {kind, drag}
  let doing = null;
  let source = null; // where clone copies from: {x, y}
  let shift = null; // how far from there the copy lies, kept between strokes
  let lastEnd = null; // for straight lines with Shift

  const words = (text) => core.emit("notice", { words: text });

  function targetOf(tool) {
    if (tool === "wand") return "mask";
    return PAINT_ONLY.includes(tool) ? "paint" : core.target();
  }

  /** A layer to paint on, or words about why there is none. */
  function layerFor(target) {
    if (target === "mask") return null;
    const { layers, active } = core.head();
    const layer = layers.find((known) => known.id === active);
    if (!layer) words("There is no layer to paint on. Add one first.");
    else if (!layer.visible) words(`“${layer.name}” is hidden, so what you paint on it is not seen.`);
    return layer;
  }

  function opFor(kind, tool, target, layer, settings, extra = {}) {
    return { id: core.newId(), op: kind, tool, target, layer: layer?.id ?? null, settings, points: [], ...extra };
  }

  function labelOf(tool, target, takes) {
    if (tool === "wand") return "Wand";
    if (target !== "mask") return takes && SHAPES.includes(tool) ? `${NAMES[tool]} erased` : NAMES[tool];
    if (tool === "brush" || tool === "eraser") return takes ? "Mask eraser" : "Mask brush";
    return `Mask ${NAMES[tool].toLowerCase()}`;
  }

  function begin(x, y, pressure, tilt, mods) {
    cancel();
    if (!core.head()) return;
    const tool = core.tool();
    const settings = core.settings();
    const point = pointOf(x, y, pressure, ...tilt);
    if (tool === "picker" || (mods.alt && (tool === "brush" || tool === "fill"))) return pick(x, y);
    if (tool === "clone" && mods.alt) return setSource(x, y);
    if (tool === "move") return pickUp(point);
    if (tool === "crop") {
      doing = { kind: "crop", drag: core.crop.grab(x, y) };
      return;
    }
    if (scribbles(tool, settings)) {
      const on = (settings.mark === "on") !== Boolean(mods.alt || mods.erases);
      doing = { kind: "mark", mark: { on, size: settings.size, points: [...point] } };
      core.above();
      return;
    }
    if (tool === "object") {
      doing = { kind: "box", points: [...point] };
      return;
    }
    const target = targetOf(tool);
    const layer = layerFor(target);
    if (target !== "mask" && !layer) return;
    if (STROKES.includes(tool)) return beginDrawing(tool, target, layer, point, mods);
    if (tool === "fill" || tool === "wand") return flood(tool, target, layer, point, mods);
    doing = { kind: tool === "line" ? "line" : "shape", tool, target, layer, points: [...point], takes: mods.alt };
    core.above();
  }

  /** The layer that can be moved, or words about why there is none. */
  function movable() {
    const { layers, active } = core.head();
    const layer = layers.find(({ id }) => id === active);
    if (!layer) words("There is no layer to move. Add one first.");
    else if (!layer.tiles.size) words(`“${layer.name}” is empty, so there is nothing to move.`);
    else if (!layer.visible) words(`“${layer.name}” is hidden. Show it first, so that you see where it goes.`);
    else return layer;
    return null;
  }

  const placing = ({ id, name }, x, y) => ({ id: core.newId(), op: "placeLayer", layer: id, x, y, label: `Moved ${name}` });

  /** Draws again what differs between two states. */
  function turn(from, to) {
    const box = statesDiffer(from, to);
    if (box) core.changed(box === "all" ? undefined : box, "paint");
  }

  function pickUp(point) {
    const layer = movable();
    if (layer) doing = { kind: "move", layer, start: point, place: { x: layer.x, y: layer.y }, shown: core.head(), from: core.head() };
  }

  /** The layer follows by whole px; with Shift, only across or only down. */
  function carry([x, y], { shift: even }) {
    const { layer, start, from } = doing;
    const [dx, dy] = [Math.round(x - start[0]), Math.round(y - start[1])];
    const level = Math.abs(dx) >= Math.abs(dy);
    const place = { x: layer.x + (even && !level ? 0 : dx), y: layer.y + (even && level ? 0 : dy) };
    if (place.x === doing.place.x && place.y === doing.place.y) return;
    const shown = apply(from, placing(layer, place.x, place.y));
    turn(doing.shown, shown);
    Object.assign(doing, { place, shown });
    core.live(shown, "paint");
  }

  function putDown({ layer, place, shown, from }) {
    core.live(null);
    const there = core.head().layers.find(({ id }) => id === layer.id);
    if (!there || (place.x === there.x && place.y === there.y)) return turn(shown, core.head());
    core.commit(placing(there, place.x, place.y), core.head() === from ? { state: shown } : {});
    core.saySoon();
  }

  /** The active layer by whole px. Pushes shortly after each other are one entry. */
  function nudge(dx, dy) {
    if (doing || !core.head()) return;
    const layer = movable();
    if (!layer) return;
    core.commit(placing(layer, layer.x + dx, layer.y + dy), { joins: `place ${layer.id}` });
    core.saySoon();
  }

  function beginDrawing(tool, target, layer, point, mods) {
    const erases = mods.erases && tool === "brush";
    const kind = erases ? "eraser" : tool;
    const named = kind === "smudge" || kind === "clone" ? kind : "stroke";
    const settings = settingsFor(named, core.settings());
    if (kind === "smudge") settings.opacity = core.settings().strength;
    const extra = {};
    if (kind === "clone") {
      if (!source && !shift) return words("Hold Alt and click where clone should copy from.");
      shift ??= { dx: Math.round(source.x - point[0]), dy: Math.round(source.y - point[1]) };
      extra.source = shift;
    }
    const op = opFor("stroke", kind, target, layer, settings, extra);
    const first = mods.shift && lastEnd && named === "stroke" ? [...lastEnd, ...point] : point;
    doing = { kind: "stroke", op, label: labelOf(kind, target, kind === "eraser"), from: core.head(), stroke: beginStroke(core.head(), op) };
    core.live(doing.stroke.state, target);
    feed(first);
  }

  function feed(points) {
    doing.op.points.push(...points);
    doing.stroke.add(points);
    const box = doing.stroke.taken();
    if (box) core.changed(box, doing.op.target);
    core.emit("progress", { op: { ...doing.op, label: doing.label } });
  }

  /** `points`: [x, y, pressure, tiltX, tiltY, …], as many as came in since the last time. */
  function move(points, mods) {
    if (!doing) return;
    const snapped = [];
    for (let k = 0; k < points.length; k += POINT) snapped.push(...pointOf(...points.slice(k, k + POINT)));
    if (doing.kind === "stroke") {
      const last = doing.op.points.slice(-POINT);
      if (snapped.length === POINT && snapped.every((value, k) => value === last[k])) return;
      feed(snapped);
      return;
    }
    if (doing.kind === "move") return carry(snapped.slice(-POINT), mods);
    if (doing.kind === "crop") return doing.drag.to(...points.slice(-POINT));
    if (doing.kind === "mark") {
      doing.mark.points.push(...snapped);
      core.above();
      return;
    }
    const end = snapped.slice(-POINT);
    if (doing.tool === "lasso") doing.points.push(...snapped);
    else doing.points = [...doing.points.slice(0, POINT), ...(mods.shift ? squared(doing, end) : end)];
    core.above();
  }

  /** The end of a drag moved so that a box is a square, or a line upright, level or diagonal. */
  function squared({ kind, points: [x0, y0] }, end) {
    const [dx, dy] = [end[0] - x0, end[1] - y0];
    const [across, down] = [Math.abs(dx), Math.abs(dy)];
    if (kind === "line" && across > 2 * down) return [end[0], y0, ...end.slice(2)];
    if (kind === "line" && down > 2 * across) return [x0, end[1], ...end.slice(2)];
    const side = Math.max(across, down);
    return [x0 + Math.sign(dx || 1) * side, y0 + Math.sign(dy || 1) * side, ...end.slice(2)];
  }

  function end() {
    if (!doing) return;
    const done = doing;
    doing = null;
    if (done.kind === "stroke") {
      const { state, changed } = done.stroke.finish();
      lastEnd = done.op.points.slice(-POINT);
      if (changed) core.changed(changed, done.op.target);
      core.live(null);
      const others = core.head() !== done.from; // something came in between, such as a selection from the server
      if (!core.commit({ ...done.op, label: done.label }, others ? {} : { state })) core.emit("progress", { op: null });
      return;
    }
    if (done.kind === "move") return putDown(done);
    if (done.kind === "crop") return undefined;
    core.above();
    if (done.kind === "mark") {
      core.scribble.add(done.mark);
      return;
    }
    if (done.kind === "box") {
      const box = boxOf(done.points);
      if (box) core.emit("select", { tool: "object", box, mode: core.settings().mode });
      return;
    }
    shape(done);
  }

  function shape({ kind, tool, target, layer, points, takes }) {
    if (kind === "line") {
      if (points.length === POINT) points.push(...points);
      core.commit({ ...opFor("stroke", "line", target, layer, settingsFor("stroke", core.settings())), points, label: labelOf("line", target, false) });
      return;
    }
    const settings = settingsFor("shape", core.settings());
    if (takes) settings.mode = "subtract";
    else if (target !== "mask") settings.mode = "add";
    if (tool === "lasso" ? points.length < 3 * POINT : !boxOf(points)) return;
    core.commit({ ...opFor("shape", tool, target, layer, settings), points, label: labelOf(tool, target, takes) });
  }

  function flood(tool, target, layer, point, mods) {
    const settings = settingsFor("flood", core.settings());
    if (target !== "mask") settings.mode = "add";
    else if (mods.alt) settings.mode = "subtract";
    if (tool === "wand") settings.opacity = 100;
    const { width, height, layers, active } = core.head();
    if (point[0] < 0 || point[1] < 0 || point[0] >= width || point[1] >= height) return;
    const looked = settings.sample === "layer" ? layers.find(({ id }) => id === active) : null;
    if (tool === "wand" && core.settings().fitEdge) {
      const { mode, tolerance, contiguous } = settings;
      core.emit("select", { tool, x: Math.floor(point[0]), y: Math.floor(point[1]), tolerance, contiguous, layer: looked?.id ?? null, mode });
      return;
    }
    core.commit({ ...opFor("fill", tool, target, layer ?? looked, settings), points: point, label: labelOf(tool, target, false) });
  }

  function pick(x, y) {
    const { width, height, layers, active } = core.head();
    const box = { x: Math.min(width - 1, Math.max(0, Math.floor(x))), y: Math.min(height - 1, Math.max(0, Math.floor(y))), width: 1, height: 1 };
    const state = core.settings().sample === "layer" ? { ...core.head(), layers: layers.filter(({ id }) => id === active) } : core.head();
    const [red, green, blue, alpha] = compositeBox(state, box);
    if (!alpha) return words("Nothing is painted there, so there is no colour to pick.");
    const color = `#${[red, green, blue].map((value) => value.toString(16).padStart(2, "0")).join("")}`;
    core.set({ color });
    core.emit("color", { color });
  }

  function setSource(x, y) {
    source = { x, y };
    shift = null;
    core.above();
    core.emit("notice", { words: `Clone copies from ${Math.floor(x)}, ${Math.floor(y)}.` });
  }

  /** Lets go of what is being drawn, as if it had not been begun. */
  function cancel() {
    if (!doing) return false;
    const { kind, op, stroke, shown, drag } = doing;
    doing = null;
    drag?.back();
    if (kind === "move") {
      core.live(null);
      turn(shown, core.head());
    }
    if (kind === "stroke") {
      core.live(null);
      core.changed(touchedBy(op, core.head()), op.target);
      core.emit("progress", { op: null });
      stroke.taken();
    }
    core.above();
    return true;
  }

  return {
    begin,
    move,
    end,
    cancel,
    nudge,
    setSource,
    get doing() {
      return doing;
    },
    get source() {
      return source && { ...source, shift };
    },
    /** The unfinished stroke as an op. */
    unfinished: () => (doing?.kind === "stroke" ? { ...doing.op, label: doing.label } : null),
    forgetPlaces() {
      lastEnd = source = shift = null;
    },
  };
}

/** A box of whole px that holds whatever a stroke may have touched. */
function touchedBy({ points, settings: { size } }, { width, height }) {
  let box = null;
  for (let k = 0; k < points.length; k += POINT) box = around(box, { x: Math.floor(points[k] - size / 2) - 2, y: Math.floor(points[k + 1] - size / 2) - 2, width: size + 5, height: size + 5 });
  return box ?? { x: 0, y: 0, width, height };
}
