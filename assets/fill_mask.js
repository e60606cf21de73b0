// The mask's section of the dock: how much it covers, grow and feather, what can be done with it, saved masks.

import { button, h } from "./dom.js";
import { askWords, count, menu } from "./fill_parts.js";
import { createSlider } from "./fill_slider.js";

/** `actions`: refine(radius), importMask(), exportMask(). */
export function createMaskView(canvas, actions) {
  let dragged = false;
  const share = h("span", {});
  const grow = createSlider({ label: "Grow", unit: "px", min: -64, max: 64, value: 0, ends: ["shrink", "grow"] }, moved("setGrow", "grow"));
  const feather = createSlider({ label: "Feather", unit: "px, inward", min: 0, max: 64, value: 4 }, moved("setFeather", "feather"));
  const invert = button("small", "Invert", null, () => canvas.mask.invert());
  const clear = button("small", "Clear", null, () => canvas.mask.clear());
  const save = button("small", "Save", null, keep);
  const more = button("quiet icon", "More on the mask", "dots");
  menu(more, "Mask", rows);
  const element = h(
    "section",
    { class: "wb-section", "aria-label": "Mask" },
    h("div", { class: "wb-section-head" }, h("h3", {}, "Mask"), share, more),
    grow.element,
    feather.element,
    h("div", { class: "wb-buttons" }, invert, clear, save),
  );

  /** While it is dragged only what is shown changes; the last value is one entry of the history. */
  function moved(setter, name) {
    return {
      input: (value) => {
        if (canvas.empty) return;
        dragged = true;
        canvas.mask.preview({ [name]: value });
      },
      change: (value) => {
        if (canvas.empty) return;
        dragged = false;
        canvas.mask.preview(null);
        if (canvas.mask[name] !== value) canvas.mask[setter](value);
      },
    };
  }

  async function keep() {
    const name = await askWords("Save the mask as", `Mask ${canvas.masks.length + 1}`, "Save");
    if (name) canvas.mask.save(name);
  }

  function rows() {
    const saved = canvas.masks;
    const empty = !canvas.mask.info?.count;
    return [
      { label: "Select everything", act: () => canvas.mask.all() },
      { label: "Fit the edge to the picture", note: "follows contours near the rim", act: () => actions.refine(), disabled: empty },
      "-",
      { label: "Open a mask from a file", icon: "open", act: () => actions.importMask() },
      { label: "Save the mask as PNG", icon: "down", act: () => actions.exportMask(), disabled: empty },
      ...(saved.length ? ["-", h("div", { class: "wb-menu-title", "aria-hidden": "true" }, "Saved masks")] : []),
      ...saved.map(savedRow),
    ];
  }

  function savedRow({ id, name }) {
    const use = h("button", { type: "button", role: "menuitem", title: "Use it. With Shift: add it to the mask." }, h("span", { class: "wb-menu-words" }, h("span", {}, name)));
    use.addEventListener("click", (event) => {
      use.closest("[popover]").hidePopover();
      canvas.mask.use(id, event.shiftKey ? "add" : "replace");
    });
    const rename = button("quiet icon", `Rename ${name}`, "brush", async () => {
      use.closest("[popover]").hidePopover();
      const wanted = await askWords("Name of the mask", name, "Rename");
      if (wanted) canvas.mask.rename(id, wanted);
    });
    const remove = button("quiet icon", `Delete ${name}`, "bin", () => {
      use.closest("[popover]").hidePopover();
      canvas.mask.remove(id);
    });
    return h("div", { class: "wb-menu-row" }, use, rename, remove);
  }

  function draw() {
    if (canvas.empty) return;
    const { info } = canvas.mask;
    share.textContent = info?.count ? `${count(info.count)} px · ${((info.count / info.total) * 100).toFixed(1)} %` : "empty";
    clear.disabled = save.disabled = !info?.count;
    if (dragged) return; // it shows what would be
    grow.set(canvas.mask.grow);
    feather.set(canvas.mask.feather);
  }

  canvas.on("mask", draw);
  canvas.on("history", draw);
  canvas.on("loaded", draw);
  return { element, draw };
}
