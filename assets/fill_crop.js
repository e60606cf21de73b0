// The crop's bar: the ratio and the size of the frame, and what applies it or lets it go.

import { LARGEST, SMALLEST } from "./canvas_ops.js";
import { RATIO_NAMES } from "./canvas_crop.js";
import { button, h } from "./dom.js";
import { select } from "./fill_parts.js";

const WORDS = { free: "Free", original: "As it is" };

/** `room`: blocked() -> why nothing can be cropped now, or null; resized(), the document has another size; notice(words, bad). */
export function createCropBar(canvas, room) {
  const { crop } = canvas;
  const ratio = select("Ratio", RATIO_NAMES.map((name) => [name, WORDS[name] ?? name]), (name) => crop.setRatio(name));
  const turn = button("quiet icon", "Turn the frame", "swap", () => crop.turn());
  const fields = ["width", "height"].map((side) => {
    const label = `${side === "width" ? "Width" : "Height"} in pixels`;
    const field = h("input", { type: "number", class: "wb-small-field", min: SMALLEST, max: LARGEST, step: 1, "aria-label": label, title: label });
    field.addEventListener("change", () => {
      if (Number(field.value)) crop.setSize({ [side]: Number(field.value) });
      draw();
    });
    return { side, field };
  });
  const drop = button("quiet", "Cancel", null, () => (crop.cancel(), canvas.focus()));
  const apply = button("primary", "Apply", "check", () => (crop.apply(), canvas.focus()));
  const words = h("small", {});
  const element = h(
    "div",
    { class: "wb-floating wb-scribble-bar wb-crop-bar", role: "region", "aria-label": "Crop", hidden: true },
    h("p", {}, h("b", {}, "Crop"), words),
    h("div", { class: "wb-crop-size" }, ratio.element, turn, fields[0].field, h("span", { "aria-hidden": "true" }, "×"), fields[1].field),
    drop,
    apply,
  );

  function draw() {
    const { box } = crop;
    element.hidden = !box;
    if (!box) return;
    ratio.set(crop.ratio);
    for (const { side, field } of fields) if (Number(field.value) !== box[side]) field.value = String(box[side]);
    words.textContent = `of ${canvas.width} × ${canvas.height} px`;
    apply.disabled = !crop.changes;
  }

  canvas.on("crop", draw);
  canvas.on("tool", () => {
    const why = crop.box && room.blocked();
    if (!why) return;
    crop.cancel();
    room.notice(why, true);
  });

  const sizeOf = () => `${canvas.width} × ${canvas.height}`;
  let size = sizeOf();
  canvas.on("loaded", () => (size = sizeOf()));
  canvas.on("history", () => {
    if (size === sizeOf()) return;
    size = sizeOf();
    room.resized();
  });

  element.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" && !(event.key === "Enter" && event.target.matches("input"))) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.key === "Escape") crop.cancel();
    else {
      event.target.dispatchEvent(new Event("change"));
      crop.apply();
    }
    canvas.focus();
  });
  return { element };
}
