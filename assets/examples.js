// The empty stage: a sentence that says what to do, and six examples that one click paints.

import { button, h } from "./dom.js";
import { exampleAddress, examples } from "./server.js";

/** `actions`: paint(example) returns a promise; open() asks for a picture whose settings to take. */
export function createExamplesView(actions) {
  const lead = h("p", { class: "lead" });
  const cards = h("div", { class: "wb-examples" });
  const open = button("quiet small", "Or open a picture and take its settings", "open", () => actions.open());
  const element = h("div", { class: "wb-empty" }, h("div", {}, h("h1", {}, "Start with a sentence, or borrow one"), lead), cards, open);

  function card(example) {
    const words = example.prompt.trim();
    const picture = h("span", { class: "picture" });
    if (example.file) {
      const image = h("img", { src: exampleAddress(example.file), alt: "" });
      image.addEventListener("error", () => image.remove());
      picture.append(image);
    }
    picture.append(h("span", { class: "go wb-btn primary small", "aria-hidden": "true" }, "Paint this"));
    const element = h("button", { type: "button", class: "wb-example", title: "Paint this" }, picture, h("span", { class: "words" }, words.charAt(0).toUpperCase() + words.slice(1)));
    element.addEventListener("click", async () => {
      element.disabled = true;
      await actions.paint(example);
      element.disabled = false;
    });
    return element;
  }

  let asked = false;
  return {
    element,
    frame: () => null,
    async show(model) {
      const painter = model.name === "painter";
      lead.textContent = painter
        ? "Painter knows landscapes in nine styles. It runs on this computer and sends nothing away."
        : `${model.title || model.name} runs on this computer and sends nothing away.`;
      if (!painter) {
        element.querySelector("h1").textContent = "Start with a sentence";
        return;
      }
      if (asked) return;
      asked = true;
      try {
        cards.replaceChildren(...(await examples()).slice(0, 6).map(card));
      } catch {
        asked = false; // an installation without examples still paints
      }
    },
  };
}
