// A picture made larger: the frame that is dragged beyond it, its numbers, and the pixels that go up for it.

import { button, h } from "./dom.js";

const LARGEST = 4096; // px of a side
const OVERLAP = 16; // px into the picture, at the most, over which new and old meet

const SIDES = [["left", "Left"], ["right", "Right"], ["top", "Top"], ["bottom", "Bottom"]];

/** px into the picture that may change, so that the seam is no line. */
export const overlapOf = ({ width, height }) => Math.max(2, Math.min(OVERLAP, Math.floor(Math.min(width, height) / 8)));

/** Numbers for the four sides. `changed(box)` hears a frame {x, y, width, height} in the document's pixels. */
export function createExpandRow(changed) {
  let size = { width: 1, height: 1 };
  let box = null;
  const fields = SIDES.map(([side, label]) => {
    const field = h("input", { type: "number", class: "wb-small-field", min: 0, max: LARGEST, step: 1, "aria-label": `${label}, new pixels` });
    field.addEventListener("change", () => take({ [side]: Math.max(0, Math.round(Number(field.value) || 0)) }));
    return { side, field, element: h("label", {}, h("span", {}, label), field) };
  });
  const half = (words, sides) =>
    button("small", words, null, () => {
      const wish = {};
      for (const side of sides) wish[side] = Math.round((side === "left" || side === "right" ? size.width : size.height) / (sides.length === 1 ? 2 : 4));
      take(wish);
    });
  const element = h("div", { class: "wb-expand-row", role: "group", "aria-label": "How far beyond the picture" }, ...fields.map((part) => part.element), half("50 % right", ["right"]), half("25 % all round", ["left", "right", "top", "bottom"]));

  const edges = () => ({ left: -box.x, top: -box.y, right: box.x + box.width - size.width, bottom: box.y + box.height - size.height });

  function take(wish) {
    const all = { ...edges(), ...wish };
    set(bounded({ x: -all.left, y: -all.top, width: size.width + all.left + all.right, height: size.height + all.top + all.bottom }, size), size);
    changed(box);
  }

  function set(next, picture) {
    box = next;
    size = picture;
    const now = edges();
    for (const { side, field } of fields) if (document.activeElement !== field || Number(field.value) !== now[side]) field.value = String(now[side]);
  }
  return { element, set };
}

/** The frame around the whole picture, whole pixels, no side longer than a document can be. */
export function bounded(box, { width, height }) {
  let left = Math.max(0, Math.round(-box.x));
  let top = Math.max(0, Math.round(-box.y));
  let right = Math.max(0, Math.round(box.x + box.width) - width);
  let bottom = Math.max(0, Math.round(box.y + box.height) - height);
  left = Math.min(left, LARGEST - width);
  right = Math.min(right, LARGEST - width - left);
  top = Math.min(top, LARGEST - height);
  bottom = Math.min(bottom, LARGEST - height - top);
  return { x: 0 - left, y: 0 - top, width: width + left + right, height: height + top + bottom };
}

/** The picture on its larger, transparent ground, and the mask over what is new and a little of what is not. */
export function expanded(picture, box) {
  const { width, height } = box;
  const source = new Uint8Array(width * height * 4);
  const mask = new Uint8Array(width * height).fill(255);
  const overlap = overlapOf(picture);
  const inset = (grows) => (grows > 0 ? overlap : 0);
  const keep = {
    left: -box.x + inset(-box.x),
    right: -box.x + picture.width - inset(width + box.x - picture.width),
    top: -box.y + inset(-box.y),
    bottom: -box.y + picture.height - inset(height + box.y - picture.height),
  };
  for (let y = 0; y < picture.height; y += 1) {
    const to = (y - box.y) * width - box.x;
    source.set(picture.data.subarray(y * picture.width * 4, (y + 1) * picture.width * 4), to * 4);
  }
  for (let y = keep.top; y < keep.bottom; y += 1) mask.fill(0, y * width + keep.left, y * width + keep.right);
  return { source: { width, height, channels: 4, data: source }, mask: { width, height, channels: 1, data: mask }, overlap };
}
