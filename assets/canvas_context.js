// Which part of the picture the model is shown, and at which size it works on it: the server's rule, so that the frame
// that is drawn is the one that is used. Whole numbers; boxes are {x, y, width, height} in px.

const SIDES = { least: 64, most: 2048, step: 16 }; // px, of the working size

/**
 * `mask`: bounds of the mask that acts. `picture`, `best`: {width, height}, the document's and the model's own. `margin`:
 * px on each side, or null for automatic. `chosen`: the frame that the person drew, or null.
 */
export function contextAround(mask, picture, best, { margin = null, chosen = null } = {}) {
  if (chosen) {
    const frame = hull(clipped(chosen, picture) ?? mask, mask);
    return { frame, working: workingSize(frame, best) };
  }
  if (margin === null && isSmall(picture, best)) return { frame: { x: 0, y: 0, ...picture }, working: workingSize(picture, best) };
  const room = margin ?? Math.max(32, Math.ceil(Math.max(mask.width, mask.height) / 4));
  let frame = clipped({ x: mask.x - room, y: mask.y - room, width: mask.width + 2 * room, height: mask.height + 2 * room }, picture);
  if (margin === null) frame = widened(frame, Math.floor(best.width / 2), Math.floor(best.height / 2), picture);
  frame = widened(frame, Math.ceil(frame.height / 2), Math.ceil(frame.width / 2), picture);
  const working = workingSize(frame, best);
  frame = widened(frame, ceiled(frame.height * working.width, working.height), ceiled(frame.width * working.height, working.width), picture);
  return { frame, working };
}

/** Whether the model can be shown the whole picture without losing much. */
const isSmall = ({ width, height }, best) => Math.max(width, height) <= 2 * Math.min(width, height) && width * height * 4 <= best.width * best.height * 9;

const ceiled = (dividend, divisor) => Math.floor((dividend + divisor - 1) / divisor);

function workingSize({ width, height }, best) {
  let scale = Math.sqrt((best.width * best.height) / (width * height));
  scale = Math.max(scale, SIDES.least / Math.min(width, height));
  scale = Math.min(scale, SIDES.most / Math.max(width, height));
  const side = (length) => Math.min(SIDES.most, Math.max(SIDES.least, SIDES.step * Math.floor((length * scale) / SIDES.step + 0.5)));
  return { width: side(width), height: side(height) };
}

function widened(frame, width, height, picture) {
  const [x, across] = spread(frame.x, frame.width, width, picture.width);
  const [y, down] = spread(frame.y, frame.height, height, picture.height);
  return { x, y, width: across, height: down };
}

function spread(start, length, wanted, limit) {
  const longer = Math.min(Math.max(length, wanted), limit);
  const moved = start - Math.floor((longer - length) / 2); // the odd pixel goes right, or below
  return [Math.min(Math.max(moved, 0), limit - longer), longer];
}

function clipped(box, { width, height }) {
  const x = Math.max(box.x, 0);
  const y = Math.max(box.y, 0);
  const across = Math.min(box.x + box.width, width) - x;
  const down = Math.min(box.y + box.height, height) - y;
  return across > 0 && down > 0 ? { x, y, width: across, height: down } : null;
}

function hull(a, b) {
  const x = Math.min(a.x, b.x);
  const y = Math.min(a.y, b.y);
  return { x, y, width: Math.max(a.x + a.width, b.x + b.width) - x, height: Math.max(a.y + a.height, b.y + b.height) - y };
}
