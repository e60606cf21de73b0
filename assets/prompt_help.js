// One line under the prompt: its length, and the panels that help with words, folded away until asked for.

import { button, h } from "./dom.js";
import { createElements } from "./prompt_elements.js";
import { createRewriter } from "./prompt_rewrite.js";
import { createStyles } from "./prompt_styles.js";
import { createWords } from "./prompt_words.js";

const TITLES = { style: "Style", place: "Place", time: "Time", season: "Season", weather: "Weather", things: "Thing", subject: "Subject", shot: "Shot", light: "Light", camera: "Camera", lens: "Lens", mood: "Mood", colour: "Colour" };
const NEGATIVES = {
  "Faults of pictures": "blurry, low quality, jpeg artifacts, noise, oversaturated",
  Writing: "text, watermark, signature, logo, frame, border",
  "Faults of people": "bad anatomy, extra fingers, extra limbs, deformed hands, disfigured face",
};

/** Mounts the line. `form` is form.js; `actions`: ask(word, whole, less), fail(problem), say(words). */
export function mountHelp(form, actions, session) {
  const place = document.querySelector("#wb-help .html-container > div > div");
  if (!place) return { turned() {} };
  const prompt = () => form.current().prompt ?? "";
  const shared = { ...actions, prompt, setPrompt: (text) => form.put({ prompt: text }), form: form.current, put: form.put };
  const painter = session.model.name === "painter"; // it was taught no words for faults
  const panels = {
    Elements: createElements({ ...shared, chips: form.phrases }, TITLES, painter ? "Painter knows no cameras and no lenses: its elements are the chips below." : ""),
    "Styles and lists": createStyles(shared, painter ? {} : NEGATIVES),
    ...(session.rewriter ? { Enrich: createRewriter(shared, session.rewriter) } : {}),
  };
  const words = createWords(turned);
  const buttons = Object.entries(panels).map(([label, panel]) => {
    panel.element.hidden = true;
    const turn = button("quiet small", label, "chevron", () => open(label, panel.element.hidden));
    turn.setAttribute("aria-expanded", "false");
    turn.setAttribute("aria-controls", panel.element.id);
    return [label, turn];
  });
  place.replaceChildren(
    h("div", { class: "wb-help-line" }, ...buttons.map(([, turn]) => turn), words.meter),
    words.notes,
    ...Object.values(panels).map((panel) => panel.element),
  );

  function open(wanted, on) {
    for (const [label, turn] of buttons) {
      const isOpen = on && label === wanted;
      panels[label].element.hidden = !isOpen;
      turn.setAttribute("aria-expanded", String(isOpen));
    }
    if (!on) return;
    panels[wanted].update?.();
    panels[wanted].open?.();
  }

  function turned() {
    const { prompt: text, negative_prompt: negative, seed, dice } = form.current();
    const fixed = !dice && seed !== null && seed !== undefined && seed !== "";
    const usable = fixed && Number.isSafeInteger(Number(seed)) && seed >= 0 && seed < 2 ** 32;
    words.read({ prompt: text ?? "", negative_prompt: negative ?? "", seed: usable ? Number(seed) : 0, fixed });
    if (!panels.Elements.element.hidden) panels.Elements.update();
  }

  turned();
  return { turned };
}
