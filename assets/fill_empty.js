// Nothing is open: what to do first.

import { button, h } from "./dom.js";
import { documentThumbnail } from "./fill_server.js";

/** `actions`: file(), make(), open(id), generate(), bin(). */
export function createEmpty(actions) {
  const recent = h("div", { class: "wb-fill-recent", role: "group", "aria-label": "Documents" });
  const bin = button("", "Look into the bin", "bin", actions.bin);
  const element = h(
    "div",
    { class: "wb-fill-empty", hidden: true },
    h("div", {}, h("h2", {}, "Open, paste or drop a picture, or make one in Generate"), h("p", {}, "Then paint a mask over what should change, and say what should be there. Nothing outside of it changes, not by one bit.")),
    h("div", { class: "wb-fill-starts" }, button("primary", "Open a picture", "open", actions.file), button("", "New, empty", "plus", actions.make), button("", "Go to Generate", "more", actions.generate), bin),
    recent,
  );
  return {
    element,
    show(on, documents = [], binned = 0) {
      element.hidden = !on;
      bin.hidden = !binned;
      recent.replaceChildren(...documents.slice(0, 12).map((entry) => h("button", { type: "button", "aria-label": `Open ${entry.name}`, title: entry.name, onclick: () => actions.open(entry.id) }, h("img", { src: documentThumbnail(entry), alt: "", loading: "lazy" }))));
    },
  };
}
