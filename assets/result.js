// The result view: one finished picture large, its fellows as slots, what can be done with it, and what it is made of.

import { button, h, icon } from "./dom.js";
import { seconds } from "./frame.js";
import { downloadAddress, pictureAddress } from "./server.js";
import { openInFill } from "./fill_link.js";
import { openInSteps } from "./steps_link.js";

/**
 * Shows an album: pictures as {id, request, seconds, stopped_at, state, error}, some of which may have no id (they
 * failed or were never begun). `actions`: enlarge(album, at), more(request), copy(request).
 */
export function createResultView(actions, onLook) {
  let album = [];
  let at = 0;
  let ownSlots = true;

  const picture = h("img", { alt: "" });
  const frame = h("button", { type: "button", class: "wb-frame", onclick: () => actions.enlarge(album, at, look) }, picture);
  const slots = h("div", { class: "wb-slots", role: "group", "aria-label": "Pictures of this run" });
  const place = h("span", {});
  const looked = h("div", { class: "wb-look" }, place, h("small", { class: "wb-wide" }, "← → to look through"));
  const under = h("div", { class: "wb-under" }, slots, looked);
  const download = h("a", { class: "wb-btn primary", download: "" }, icon("down"), "Download PNG");
  const acts = h(
    "div",
    { class: "wb-acts" },
    download,
    button("", "Paint or fill in it", "fill", () => openInFill(album[at])),
    button("", "Open in Steps", "steps", () => openInSteps(album[at].id)),
    button("", "Four more like this", "more", () => actions.more(album[at].request)),
    button("quiet", "Copy its settings to the form", "copy", () => actions.copy(album[at].request)),
  );
  const words = h("p", { class: "wb-words-of" });
  const facts = h("dl", { class: "wb-facts" });
  const stopped = h("p", { class: "wb-note" });
  const note = h("p", { class: "wb-note" }, "The PNG carries its request. Drop it on this page any time to paint the same picture again, to the byte.");
  const element = h(
    "div",
    { class: "wb-center" },
    h("div", { class: "wb-result" }, h("div", { class: "wb-work" }, frame, under), h("div", { class: "wb-aside" }, acts, words, stopped, facts, note)),
  );

  function look(index) {
    at = index;
    const { id, request, seconds: took, stopped_at: stoppedAt } = album[at];
    picture.src = pictureAddress(id);
    picture.alt = request.prompt.trim() || "A picture without words";
    frame.setAttribute("aria-label", `Picture ${at + 1} of ${album.length}, enlarge`);
    download.href = downloadAddress(id);
    words.textContent = request.prompt.trim() || "No words: the seed chose what is there.";
    words.classList.toggle("none", !request.prompt.trim());
    stopped.hidden = stoppedAt === null || stoppedAt === undefined;
    stopped.textContent = stopped.hidden ? "" : `Stopped at step ${stoppedAt} of ${request.num_inference_steps}. The picture as it stood is kept.`;
    const rows = [
      ["Leave out", request.negative_prompt.trim()],
      ["Seed", String(request.seed)],
      ["Steps", `${request.num_inference_steps}, ${request.solver}`],
      ["Guidance", Number(request.guidance_scale).toFixed(1)],
      ["Size", `${request.width} × ${request.height}`],
      ["Time", took === null || took === undefined ? "" : seconds(took)],
      ["Model", request.model],
    ].filter(([, value]) => value);
    facts.replaceChildren(...rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
    place.textContent = `Picture ${at + 1} of ${album.length}`;
    for (const [k, slot] of [...slots.children].entries()) slot.setAttribute("aria-current", String(k === at));
    onLook(album[at]);
  }

  function show(pictures, index, withSlots) {
    album = pictures;
    ownSlots = withSlots;
    looked.hidden = pictures.length < 2;
    slots.classList.toggle("many", pictures.length > 4);
    slots.replaceChildren(
      ...(withSlots && pictures.length > 1
        ? pictures.map((entry, k) =>
            entry.id
              ? h("button", { type: "button", class: "wb-slot", "aria-label": `Picture ${k + 1}`, onclick: () => look(k) }, h("img", { src: pictureAddress(entry.id), alt: "" }))
              : h("button", { type: "button", class: `wb-slot ${entry.state === "failed" ? "failed" : "waits"}`, disabled: true, "aria-label": `Picture ${k + 1}, ${entry.state === "failed" ? "failed" : "not painted"}` }, entry.state === "failed" ? "!" : String(k + 1)),
          )
        : []),
    );
    look(index);
  }

  /** Moves to the next picture that exists; -1 is left. */
  function turn(way) {
    for (let index = at + way; index >= 0 && index < album.length; index += way) {
      if (album[index].id) return look(index);
    }
    return undefined;
  }

  return {
    element,
    show,
    turn,
    frame: () => ({ request: album[at]?.request, below: ownSlots ? 150 : 90, beside: 260 }),
    shown: () => album[at],
  };
}
