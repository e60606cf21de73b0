// What the pictures and recordings use of the disk, in one line.

import { h } from "./dom.js";
import { bytesWords } from "./gallery_details.js";
import { usage } from "./gallery_server.js";

export function createUsage() {
  const meter = h("i", {});
  const words = h("span", {});
  const element = h("p", { class: "wb-gal-usage" }, h("span", { class: "wb-meter", "aria-hidden": "true" }, meter), words);

  async function refresh() {
    let found;
    try {
      found = await usage();
    } catch {
      return; // the list says it if the studio does not answer
    }
    const { runs, pictures, documents, free } = found;
    meter.style.width = `${Math.min(100, (100 * runs.bytes) / runs.budget)}%`;
    words.textContent = `Recordings ${bytesWords(runs.bytes)} of ${bytesWords(runs.budget)} · ${pictures.count.toLocaleString("en")} ${pictures.count === 1 ? "picture" : "pictures"} ${bytesWords(pictures.bytes)} · documents ${bytesWords(documents.bytes)} · ${bytesWords(free)} free`;
    element.title = `When the recordings reach their limit, the oldest give up their steps; pictures and settings stay. Pictures may use ${bytesWords(pictures.budget)}, documents ${bytesWords(documents.budget)}.`;
  }
  return { element, refresh };
}
