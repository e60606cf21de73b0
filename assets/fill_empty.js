// Nothing is open: what to do first.

import { button, h } from "./dom.js";
import { thumbnailAddress } from "./fill_documents.js";

/** `actions`: file(), make(), open(id), generate(). */
export function createEmpty(actions) {
  const recent = h("div", { class: "wb-fill-recent", role: "group", "aria-label": "Documents" });
  const element = h(
    "div",
    { class: "wb-fill-empty", hidden: true },
    h("div", {}, h("h2", {}, "Open, paste or drop a picture, or make one in Generate"), h("p", {}, "Then paint a mask over what should change, and say what should be there. Nothing outside of it changes, not by one bit.")),
    h("div", { class: "wb-fill-starts" }, button("primary", "Open a picture", "open", actions.file), button("", "New, empty", "plus", actions.make), button("", "Go to Generate", "more", actions.generate)),
    recent,
  );
  return {
    element,
    show(on, documents = []) {
      element.hidden = !on;
      recent.replaceChildren(...documents.slice(0, 12).map((entry) => h("button", { type: "button", "aria-label": `Open ${entry.name}`, title: entry.name, onclick: () => actions.open(entry.id) }, h("img", { src: thumbnailAddress(entry), alt: "", loading: "lazy" }))));
    },
  };
}
