// The crop: a frame over the document, in whole px of it, that may reach beyond. Pure geometry first, then the frame as a
// hand and keys move it. Nothing is cropped here: whoever applies the frame makes an op of it.

import { LARGEST, SMALLEST } from "./canvas_ops.js";
import { overlap } from "./canvas_tiles.js";

const SNAP = 6; // CSS px to the document's edge that a hand need not hit

/** The handles, clockwise from the top left, and what is moved with none of them. `at`: where on the frame, 0 to 1. */
export const HANDLES = [
  { name: "nw", label: "Top left corner", at: [0, 0] },
  { name: "n", label: "Top edge", at: [0.5, 0] },
  { name: "ne", label: "Top right corner", at: [1, 0] },
  { name: "e", label: "Right edge", at: [1, 0.5] },
  { name: "se", label: "Bottom right corner", at: [1, 1] },
  { name: "s", label: "Bottom edge", at: [0.5, 1] },
  { name: "sw", label: "Bottom left corner", at: [0, 1] },
  { name: "w", label: "Left edge", at: [0, 0.5] },
];
export const WHOLE = "frame";
export const WHOLE_LABEL = "Crop frame";

/** Name -> width / height; null leaves both free. The document's own is asked for as "original". */
const RATIOS = { free: null, "1:1": 1, "4:3": 4 / 3, "3:2": 3 / 2, "16:9": 16 / 9 };
export const RATIO_NAMES = [...Object.keys(RATIOS), "original"];

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const side = (value) => clamp(Math.round(value), SMALLEST, LARGEST);

/** Sides in a ratio, from the width that is wanted: as near as whole px within a document's limits allow. */
function inRatio(width, ratio) {
  const across = clamp(width, Math.max(SMALLEST, SMALLEST * ratio), Math.min(LARGEST, LARGEST * ratio));
  return { width: side(across), height: side(across / ratio) };
}

/** A box of another size around the same middle. */
const aroundMiddle = ({ x, y, width, height }, size) => ({ x: Math.round(x + (width - size.width) / 2), y: Math.round(y + (height - size.height) / 2), ...size });

/** The largest box of a ratio inside of another, in its middle. */
export function largestIn(box, ratio) {
  return ratio ? aroundMiddle(box, inRatio(Math.min(box.width, box.height * ratio), ratio)) : box;
}

/**
 * A box whose handle was dragged to (x, y); the opposite corner or side stays. With a `ratio`, a side is followed by the
 * other two around the middle, and a corner by whichever of x and y asks for more, or by the one that `by` names.
 * `room`: the box that none of it may leave, or null.
 */
export function draggedTo(box, handle, x, y, ratio = null, { by = "both", room = null } = {}) {
  const [west, north] = [handle.includes("w"), handle.includes("n")];
  const [across, down] = [west || handle.includes("e"), north || handle.includes("s")];
  const [right, bottom] = [box.x + box.width, box.y + box.height];
  let width = across ? (west ? right - x : x - box.x) : box.width;
  let height = down ? (north ? bottom - y : y - box.y) : box.height;
  if (ratio) {
    const wanted = !down || (across && by === "x") ? width : !across || by === "y" ? height * ratio : Math.max(width, height * ratio);
    ({ width, height } = inRatio(Math.min(wanted, room ? widest() : Infinity), ratio));
  } else [width, height] = [across ? side(width) : width, down ? side(height) : height];
  const made = { x: west ? right - width : box.x, y: north ? bottom - height : box.y, width, height };
  if (!across) made.x = Math.round(box.x + (box.width - width) / 2);
  if (!down) made.y = Math.round(box.y + (box.height - height) / 2);
  return ratio && room ? within(made, room) : made;

  /** How wide the box may be before it leaves the room. */
  function widest() {
    const beside = across ? (west ? right - room.x : room.x + room.width - box.x) : room.width;
    const above = down ? (north ? bottom - room.y : room.y + room.height - box.y) : room.height;
    return Math.max(SMALLEST, Math.min(beside, above * ratio));
  }
}

/** A box moved into a room, as far as it fits. */
const within = (box, room) => ({ ...box, x: Math.max(room.x, Math.min(box.x, room.x + room.width - box.width)), y: Math.max(room.y, Math.min(box.y, room.y + room.height - box.height)) });

export const sameBox = (a, b) => a.x === b.x && a.y === b.y && a.width === b.width && a.height === b.height;

/** `core`: size(), view, above(), emit(name, detail). Every change is told as "crop". */
export function createCrop(core) {
  let box = null; // the frame, while there is one
  let choice = "free";
  let upright = false; // the ratio lies on its side: 4:3 is 3:4
  let active = WHOLE; // what the arrow keys move

  const whole = () => ({ x: 0, y: 0, ...core.size() });

  function ratio() {
    const { width, height } = core.size();
    const value = choice === "original" ? width / height : RATIOS[choice];
    return value && upright ? 1 / value : value;
  }

  /** The next frame, if it is one: a part of the document at least has to be in it. */
  function take(next) {
    if (!overlap(next, whole())) return;
    box = next;
    tell();
  }

  function tell() {
    core.above();
    core.emit("crop", { box: box && { ...box } });
  }

  /** A place of the hand; near the document's edge it is on it. */
  function snapped(x, y) {
    const { width, height } = core.size();
    const near = SNAP / core.view.zoom;
    const to = (value, most) => [0, most].find((edge) => Math.abs(value - edge) <= near) ?? Math.round(value);
    return [to(x, width), to(y, height)];
  }

  function inside({ x, y, width = 0, height = 0 }) {
    const size = core.size();
    return x >= 0 && y >= 0 && x + width <= size.width && y + height <= size.height;
  }

  /** A frame with a ratio keeps to the document as long as the hand does. */
  function dragTo(start, handle, x, y, by) {
    const room = inside(start) && inside({ x, y }) ? whole() : null;
    take(draggedTo(start, handle, x, y, ratio(), { by, room }));
  }

  function moveTo(start, x, y) {
    const { width, height } = core.size();
    const near = SNAP / core.view.zoom;
    const to = (value, length, most) => [0, most - length].find((edge) => Math.abs(value - edge) <= near) ?? Math.round(value);
    take({ ...start, x: to(x, start.width, width), y: to(y, start.height, height) });
  }

  let dragged = null; // the frame when a drag of a handle began

  const crop = {
    get box() {
      return box && { ...box };
    },
    get ratio() {
      return choice;
    },
    get active() {
      return active;
    },
    /** What is moved by the arrow keys, in words. */
    get label() {
      return HANDLES.find(({ name }) => name === active)?.label ?? WHOLE_LABEL;
    },
    /** The handle that the arrow keys move, or WHOLE. */
    set active(name) {
      active = name;
      core.above();
    },
    /** Whether applying it would change anything. */
    get changes() {
      return Boolean(box) && !sameBox(box, whole());
    },
    begin() {
      box = whole();
      [choice, upright, active] = ["free", false, WHOLE];
      tell();
    },
    drop() {
      box = dragged = null;
      tell();
    },
    /** The largest frame of that ratio in the one that is there. */
    setRatio(name) {
      if (!box || !RATIO_NAMES.includes(name)) return;
      [choice, upright] = [name, RATIOS[name] > 1 && box.height > box.width]; // it stands as the frame does
      take(largestIn(box, ratio()));
    },
    /** The frame lies down, or stands up. */
    turn() {
      if (!box) return;
      upright = !upright;
      const { width, height } = inside(box) ? core.size() : { width: LARGEST, height: LARGEST };
      const turned = largestIn(aroundMiddle(box, { width: Math.min(box.height, width), height: Math.min(box.width, height) }), ratio());
      take(inside(box) ? within(turned, whole()) : turned);
    },
    /** {width} or {height}, or both, around the middle. */
    setSize({ width, height }) {
      if (!box) return;
      const held = ratio();
      const size = held ? inRatio(width ?? height * held, held) : { width: side(width ?? box.width), height: side(height ?? box.height) };
      const made = aroundMiddle(box, size);
      const fits = inside(box) && inside({ x: 0, y: 0, ...size });
      take(fits ? within(made, whole()) : made);
    },
    /** By the keys: whole px of the active handle, or of the frame. */
    nudge(dx, dy) {
      if (!box) return;
      if (active === WHOLE) {
        take({ ...box, x: box.x + dx, y: box.y + dy });
        return;
      }
      const { at } = HANDLES.find(({ name }) => name === active);
      dragTo(box, active, box.x + box.width * at[0] + dx, box.y + box.height * at[1] + dy, dx ? "x" : "y");
    },
    corners: () => (box ? HANDLES.map(({ name, at: [right, down] }) => ({ name, x: box.x + box.width * right, y: box.y + box.height * down, outwards: true })) : []),
    /** As the overlay's own frame: a handle at (x, y); null lets it be as it was. */
    dragFrame(handle, x, y, done) {
      if (!box) return;
      dragged ??= box;
      active = handle;
      if (x !== null) dragTo(dragged, handle, ...snapped(x, y));
      if (done) dragged = null;
    },
    /** Whether the hand would move the frame here, rather than draw another. */
    holds: (x, y) => crop.changes && x >= box.x && y >= box.y && x <= box.x + box.width && y <= box.y + box.height,
    /** A drag that begins at (x, y): answers what follows it, (x, y) each time, and what takes it back. */
    grab(x, y) {
      const start = box;
      active = WHOLE;
      if (crop.holds(x, y)) return { to: (u, v) => moveTo(start, start.x + u - x, start.y + v - y), back: () => take(start) };
      const [left, top] = snapped(x, y);
      return {
        to(u, v) {
          const corner = `${v < top ? "n" : "s"}${u < left ? "w" : "e"}`;
          const [right, bottom] = snapped(u, v);
          if (right !== left && bottom !== top) dragTo({ x: left, y: top, width: 0, height: 0 }, corner, right, bottom);
        },
        back: () => take(start),
      };
    },
    /** What a screen reader is told of a handle, or of the frame. */
    words(name = active) {
      const { x, y, width, height } = box;
      const at = HANDLES.find((handle) => handle.name === name)?.at ?? [0, 0];
      return `${Math.round(x + width * at[0])}, ${Math.round(y + height * at[1])}; ${width} × ${height} px`;
    },
  };
  return crop;
}
