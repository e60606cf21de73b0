// Two finished pictures held against each other: wipe, side by side, or the difference, amplified.

import { drawDifference } from "./compare_difference.js";
import { button, h } from "./dom.js";
import { factsOf } from "./gallery_details.js";
import { wordsOf } from "./gallery_wall.js";
import { pictureAddress } from "./server.js";
import { choice, segments } from "./steps_marks.js";
import { createWipe } from "./steps_wipe.js";

const GAINS = [1, 2, 4, 8, 16, 32];
const MODES = [["wipe", "Wipe"], ["side", "Side by side"], ["difference", "Difference"]];

/** The pixels of a picture, decoded. Rejects if it cannot be had. */
async function decoded({ id }) {
  const image = h("img", { src: pictureAddress(id), alt: "" });
  await image.decode();
  return image;
}

/** What differs in how two pictures were made: [[name, first, second]…]. */
export function differing(one, other) {
  const [first, second] = [one, other].map((entry) => new Map([["Words", entry.request.prompt.trim() || "none"], ...factsOf(entry)]));
  return [...new Set([...first.keys(), ...second.keys()])]
    .filter((name) => !["Made", "File", "Took", "Recorded", "Branches"].includes(name) && first.get(name) !== second.get(name))
    .map((name) => [name, first.get(name) ?? "none", second.get(name) ?? "none"]);
}

export function createCompare() {
  let images = null; // [first, second], decoded
  let entries = null;
  let mode = "wipe";
  let gain = 8;

  const wipe = createWipe("First on the left, second on the right");
  const canvases = [0, 1].map(() => h("canvas", { role: "img" }));
  const canvas = h("canvas", { role: "img", "aria-label": "Difference of the two, amplified" });
  const names = [h("span", { class: "wb-hud" }), h("span", { class: "wb-hud" })];
  const side = h("div", { class: "wb-compare-sides" }, ...canvases.map((own, k) => h("div", { class: "wb-compare-side" }, own, names[k])));
  const wiping = h("div", { class: "wb-compare-one" }, wipe.element);
  const difference = h("div", { class: "wb-compare-one" }, canvas);
  const modes = segments("How to compare", MODES, turn);
  const gains = choice("Amplified", GAINS.map((times) => [times, `${times} ×`]), (value) => ((gain = Number(value)), draw()));
  gains.field.value = "8";
  const gainRow = h("label", { class: "wb-row" }, h("span", {}, "Amplified"), gains.field);
  const words = h("p", { class: "wb-gal-apart", role: "status" });
  const swap = button("quiet icon", "Swap the two", "swap", () => open([entries[1], entries[0]]));
  const close = button("quiet icon wb-close", "Close", "cross", () => dialog.close());
  const dialog = h(
    "dialog",
    { class: "wb-dialog wb-compare", "aria-label": "Compare two pictures" },
    h("div", { class: "wb-dialog-head" }, h("h2", {}, "Compare"), modes.element, gainRow, swap, close),
    h("div", { class: "wb-compare-room" }, wiping, side, difference),
    h("div", { class: "wb-dialog-foot wb-gal-compare-foot" }, words),
  );
  document.querySelector(".gradio-container").append(dialog);

  /** `pair`: two entries of the gallery. Rejects if one cannot be had. */
  async function open(pair) {
    images = await Promise.all(pair.map(decoded));
    entries = pair;
    const [{ naturalWidth: width, naturalHeight: height }] = images;
    wipe.size(width, height);
    for (const frame of [canvas, canvases[0]]) Object.assign(frame, { width, height });
    Object.assign(canvases[1], { width: images[1].naturalWidth, height: images[1].naturalHeight });
    images.forEach((image, k) => {
      const one = k ? wipe.second : wipe.first;
      one.getContext("2d").drawImage(image, 0, 0, width, height);
      canvases[k].getContext("2d").drawImage(image, 0, 0);
      canvases[k].setAttribute("aria-label", wordsOf(pair[k]));
    });
    for (const place of [side, difference]) place.style.setProperty("--wb-ratio", String(width / height));
    const labels = labelsOf(pair);
    wipe.name(...labels);
    names.forEach((name, k) => (name.textContent = labels[k]));
    if (!dialog.open) dialog.showModal();
    turn(mode);
  }

  function turn(wanted) {
    mode = wanted;
    modes.press(mode);
    wiping.hidden = mode !== "wipe";
    side.hidden = mode !== "side";
    difference.hidden = mode !== "difference";
    gainRow.hidden = mode !== "difference";
    draw();
  }

  function draw() {
    const rows = differing(...entries);
    const apart = rows.length ? rows.slice(0, 4).map(([name, first, second]) => `${name}: ${short(first)} and ${short(second)}`).join(" · ") : "Made from the same settings";
    words.textContent = mode === "difference" ? `${drawApart()} · ${apart}` : apart;
  }

  function drawApart() {
    const { width, height } = canvas;
    const pixels = images.map((image) => {
      const scratch = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
      scratch.drawImage(image, 0, 0, width, height);
      return scratch.getImageData(0, 0, width, height);
    });
    const mean = drawDifference(pixels[0], pixels[1], gain);
    canvas.getContext("2d").putImageData(pixels[0], 0, 0);
    const other = images[1].naturalWidth !== width || images[1].naturalHeight !== height ? ", the second made as large as the first" : "";
    return mean === 0 ? "Identical, every pixel" : `${mean.toFixed(2)} of 255 apart on average${other}`;
  }

  return { open };
}

const short = (text) => (text.length > 60 ? `${text.slice(0, 60)}…` : text);

/** Names that tell the two apart in a few letters. */
function labelsOf(pair) {
  const [row] = differing(...pair).filter(([, first, second]) => first.length < 40 && second.length < 40);
  return row ? [`${row[0]} ${row[1]}`, `${row[0]} ${row[2]}`] : ["First", "Second"];
}
