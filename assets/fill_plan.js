// What a fill would do, before it is asked for: what the model sees, what the button says, how many pixels can change.

import { contextAround } from "./canvas_context.js";
import { overlapOf } from "./fill_expand.js";
import { count } from "./fill_parts.js";
import { INTENTS } from "./fill_settings.js";

/** What the model would see: {frame, working, automatic, shown (both px on a side)}, or null where nothing is masked. */
export function aroundMask(canvas, values, model) {
  const { info } = canvas.mask;
  if (!info?.count || !model) return null;
  const picture = { width: canvas.width, height: canvas.height };
  const best = { width: model.width, height: model.height };
  const plan = contextAround(info.bounds, picture, best, { margin: values.context ? null : values.margin, chosen: values.context });
  const automatic = Math.max(32, Math.ceil(Math.max(info.bounds.width, info.bounds.height) / 4));
  return { ...plan, automatic, shown: Math.max(0, info.bounds.x - plan.frame.x) };
}

/** Whether the frame of an expansion is larger than the picture. */
export const grown = (box, { width, height }) => Boolean(box) && (box.width > width || box.height > height);

/**
 * Whether an expansion is asked for by a frame around the picture. Where it was laid out from its file, the mask says what
 * is new: `laid` is the id of that document.
 */
export const framed = (canvas, { intent, laid }, { again, current }) => intent === "expand" && !again && !(laid && laid === current?.id && canvas.mask.info?.count);

/**
 * What the primary button says, whether it can be pressed, and why not. `now`: sending, running, again (a fill that can
 * be run again), box (the frame of an expansion), current (the document).
 */
export function planOf(canvas, values, { sending, running, again, box, current }) {
  const { intent } = values;
  if (sending) return { label: "Sending…", ready: false, why: "The picture and the mask are on their way." };
  if (running) return { label: "Painting…", ready: false, why: "A fill is being painted." };
  if (again) return { label: "Run again", ready: true };
  if (framed(canvas, values, { again, current })) {
    if (grown(box, canvas)) return { label: `Expand to ${box.width} × ${box.height}`, ready: true };
    return { label: "Drag the frame first", ready: false, why: "Drag a corner of the frame beyond the picture, or type how far." };
  }
  const pixels = canvas.mask.info?.count ?? 0;
  if (!pixels) return { label: "Paint a mask first", ready: false, why: "Paint over what should change: with the brush on the mask, a lasso, the wand." };
  return { label: `${INTENTS[intent].label} ${count(pixels)} px`, ready: true };
}

/** How many pixels can change and how many cannot: {change, rest}, or null where nothing would. */
export function changeable(canvas, expanding, box) {
  if (!expanding) {
    const { info } = canvas.mask;
    return info?.count ? { change: info.count, rest: info.total - info.count } : null;
  }
  if (!grown(box, canvas)) return null;
  const overlap = overlapOf(canvas);
  const kept = (size, before, after) => size - (before > 0 ? overlap : 0) - (after > 0 ? overlap : 0);
  const rest = kept(canvas.width, -box.x, box.x + box.width - canvas.width) * kept(canvas.height, -box.y, box.y + box.height - canvas.height);
  return { change: box.width * box.height - rest, rest };
}
