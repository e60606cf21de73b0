// "What did this word do?": the picture with and without it at one seed, their difference, and the bands that it moved.

import { button, h } from "./dom.js";
import { differenceAddress, effect, pictureAddress } from "./server.js";

const KEPT = "wavebrush.effect";

/** Which job is about which word, also after a reload. */
export function rememberWord(id, word) {
  try {
    sessionStorage.setItem(KEPT, JSON.stringify({ id, word }));
  } catch {
    // The two pictures are then shown as any others.
  }
}

/** The word that a job was about, if it was about one and both pictures are there. */
export function wordOf(job) {
  try {
    const asked = JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
    return asked?.id === job.id && job.pictures.length === 2 && job.pictures.every((picture) => picture.id) ? String(asked.word) : null;
  } catch {
    return null;
  }
}

/** `actions`: keep(request) writes a picture's prompt into the form; enlarge(album, at); both() shows the two as any others; fail(problem). */
export function createEffectView(actions) {
  const title = h("p", { class: "wb-effect-says", role: "status" });
  const row = h("div", { class: "wb-effect-row" });
  const bands = h("dl", { class: "wb-effect-bands" });
  const acts = h("div", { class: "wb-effect-acts" });
  const element = h("div", { class: "wb-center" }, h("div", { class: "wb-effect" }, title, row, h("div", { role: "group", "aria-label": "Share of each band in the difference" }, bands), acts));
  let shown = "";

  function figure(address, label, alt, at, album) {
    const image = h("img", { src: address, alt });
    const frame = at === null ? h("div", { class: "wb-effect-frame" }, image) : h("button", { type: "button", class: "wb-effect-frame", "aria-label": `${label}, enlarge`, onclick: () => actions.enlarge(album, at) }, image);
    return h("figure", {}, frame, h("figcaption", {}, label));
  }

  /** `pictures` are the two of the job, with the word and without. */
  async function show(pictures, word) {
    const [whole, less] = pictures;
    shown = whole.id;
    title.textContent = "";
    const ratio = `${whole.request.width} / ${whole.request.height}`;
    row.style.setProperty("--wb-effect-ratio", ratio);
    const drawing = figure(differenceAddress(whole.id, less.id), "Difference", `What “${word}” changed, around mid-grey`, null);
    row.replaceChildren(figure(pictureAddress(whole.id), `With “${word}”`, whole.request.prompt, 0, pictures), figure(pictureAddress(less.id), "Without it", less.request.prompt, 1, pictures), drawing);
    bands.replaceChildren();
    acts.replaceChildren(
      button("edged", "Keep the word", null, () => actions.keep(whole.request)),
      button("edged", "Leave it out", null, () => actions.keep(less.request)),
      button("quiet", "Show them as two pictures", null, () => actions.both()),
    );
    try {
      const found = await effect(whole.id, less.id, word);
      if (shown !== whole.id) return;
      title.replaceChildren(...found.sentence.map(([text, strong]) => (strong ? h("b", {}, text) : text)));
      drawing.querySelector("figcaption").textContent = `Difference, ${found.gain.toLocaleString("en")} × amplified`;
      bands.replaceChildren(...found.bands.flatMap(bar));
    } catch (problem) {
      actions.fail(problem);
    }
  }

  function bar({ label, pixels, share }, band) {
    return [
      h("dt", {}, label, h("small", {}, ` ${pixels}`)),
      h("dd", {}, h("span", { class: "bar", style: `--wb-share: ${share}%; --wb-band: var(--wb-band-${band})` }), h("span", { class: "number" }, `${share.toFixed(1)} %`)),
    ];
  }

  return { element, show, frame: () => null };
}
