// The crop's frame as it is seen: what goes is dimmed, thirds are drawn, and each handle is an element of its own, so that
// the Tab key and a screen reader find it. Pointers go through to the canvas.

import { HANDLES, WHOLE, WHOLE_LABEL } from "./canvas_crop.js";
import { h } from "./dom.js";

const DIM = "rgb(0 0 0 / 0.6)";
const FINEST = 60; // CSS px, a side of a frame in which thirds are drawn

/** `crop`: what createCrop answers. Draws from `decorate`; `refresh` follows the frame, the view and the tool. */
export function createCropFrame(room, crop, view) {
  const parts = [{ name: WHOLE, label: WHOLE_LABEL, at: [0.5, 0.5] }, ...HANDLES].map(({ name, label, at }) => {
    const element = h("i", { class: "wb-crop-handle", role: "slider", tabindex: "0", "data-handle": name, "aria-label": label, "aria-roledescription": "handle", "aria-valuemin": "-8192", "aria-valuemax": "8192", "aria-keyshortcuts": "ArrowLeft ArrowRight ArrowUp ArrowDown Enter Escape" });
    element.addEventListener("focus", () => (crop.active = name));
    return { name, at, element };
  });
  const group = h("div", { class: "wb-crop-handles", role: "group", "aria-label": "Crop", hidden: true }, ...parts.map(({ element }) => element));
  room.append(group);

  function refresh() {
    const { box } = crop;
    const had = group.contains(document.activeElement);
    group.hidden = !box;
    if (!box) {
      if (had) room.focus({ preventScroll: true });
      return;
    }
    for (const { name, at: [right, down], element } of parts) {
      element.style.transform = `translate(${view.left + (box.x + box.width * right) * view.zoom}px, ${view.top + (box.y + box.height * down) * view.zoom}px)`;
      element.toggleAttribute("data-active", name === crop.active);
      element.setAttribute("aria-valuenow", String(Math.round(name === WHOLE ? box.x : box.x + box.width * right)));
      element.setAttribute("aria-valuetext", crop.words(name));
    }
  }

  return {
    refresh,
    /** On the topmost canvas, in its own px. */
    decorate(context, { across, down, twice, ratio }) {
      const { box } = crop;
      if (!box) return;
      const [x0, y0, x1, y1] = [across(box.x), down(box.y), across(box.x + box.width), down(box.y + box.height)].map(Math.round);
      context.save();
      context.beginPath();
      context.rect(0, 0, context.canvas.width, context.canvas.height);
      context.rect(x0, y0, x1 - x0, y1 - y0);
      context.fillStyle = DIM;
      context.fill("evenodd");
      context.restore();
      if (Math.min(x1 - x0, y1 - y0) >= FINEST * ratio) {
        context.save();
        context.globalAlpha = 0.6;
        twice(0.7, () => {
          context.beginPath();
          for (const third of [1 / 3, 2 / 3]) {
            const [x, y] = [x0 + (x1 - x0) * third, y0 + (y1 - y0) * third];
            context.moveTo(x, y0);
            context.lineTo(x, y1);
            context.moveTo(x0, y);
            context.lineTo(x1, y);
          }
          context.stroke();
        });
        context.restore();
      }
      twice(1.4, () => context.strokeRect(x0, y0, x1 - x0, y1 - y0));
    },
    destroy: () => group.remove(),
  };
}
