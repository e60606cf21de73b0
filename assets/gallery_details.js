// What is known of the picture that is selected, and what can be done with it; of several, what can be done with all.

import { button, h, icon } from "./dom.js";
import { openInFill } from "./fill_link.js";
import { thumbnailAddress } from "./gallery_server.js";
import { createVerify } from "./gallery_verify.js";
import { wordsOf } from "./gallery_wall.js";
import { downloadAddress, pictureAddress } from "./server.js";
import { strengthWords } from "./steps_marks.js";
import { openInSteps } from "./steps_link.js";

const SHOWN = 12; // small pictures of a selection

/** "34 kB", "1.2 MB". */
export function bytesWords(bytes) {
  const power = Math.min(3, Math.floor(Math.log2(Math.max(bytes, 1)) / 10));
  const [value, unit] = [bytes / 1024 ** power, ["B", "kB", "MB", "GB"][power]];
  return `${value < 10 ? value.toFixed(1).replace(/\.0$/, "") : Math.round(value)} ${unit}`;
}

/** "+0.016, −0.004 (haar)": the strengths of a correction, coarse to fine. */
export const correctionWords = (correction) => `${(correction.bands ?? []).map((band) => strengthWords(Number(band.strength ?? band.value ?? 0))).join(", ")} (${correction.wavelet})`;

/** "0.8 s", "12 s", "3 min 5 s". */
function tookWords(seconds) {
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

/** What is left of the recording of a run: "20 steps, 5.2 MB". */
function recordedWords({ steps, open, bytes }) {
  const count = steps === 1 ? "1 step" : `${steps} steps`;
  return steps ? (open ? `${count}, ${bytesWords(bytes)}` : `${count}, let go to make room`) : "";
}

/** Name and words of everything that a picture was made from. */
export function factsOf(entry) {
  const { request, run } = entry;
  return [
    ["Kind", entry.fill ? "a fill of a region" : ""],
    ["Leave out", request.negative_prompt.trim()],
    ["Written as", request.template ?? ""],
    ["Seed", String(request.seed)],
    ["Steps", `${request.num_inference_steps}, ${request.solver}`],
    ["Guidance", Number(request.guidance_scale).toFixed(1)],
    ["Size", `${request.width} × ${request.height}`],
    ["Correction", request.correction ? correctionWords(request.correction) : ""],
    ["Branches", run.branches ? String(run.branches) : ""],
    ["Recorded", recordedWords(run)],
    ["Took", run.seconds === null ? "" : tookWords(run.seconds)],
    ["Model", request.model],
    ["Made", new Date(entry.made_at).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" })],
    ["Stopped", entry.stopped_at === null ? "" : `at step ${entry.stopped_at} of ${request.num_inference_steps}`],
    ["File", bytesWords(entry.bytes)],
  ].filter(([, words]) => words);
}

/** `actions`: use(entry), open(entry), star(entries), remove(entries), restore(entries), compare(), grid(entry), clear(), close(). */
export function createDetails(actions) {
  const close = button("quiet icon wb-gal-close", "Back to the pictures", "cross", () => actions.close());
  const body = h("div", { class: "wb-gal-details" });
  const verify = createVerify();
  const element = h("aside", { class: "wb-gal-aside", "aria-label": "Details" }, close, body);

  function one(entry) {
    const { request } = entry;
    const picture = h("img", { src: pictureAddress(entry.id), alt: wordsOf(entry), width: request.width, height: request.height });
    const acts = entry.binned_at
      ? [button("primary", "Restore", "reset", () => actions.restore([entry])), download(entry)]
      : [
          button("primary", "See its steps", "steps", () => openInSteps(entry.id)),
          button("", "Paint or fill in it", "fill", () => openInFill(entry)),
          button("", "Use its settings", "copy", () => actions.use(entry)),
          download(entry),
          verify.of(entry.id),
          button("quiet", "Grid from its settings", "grid", () => actions.grid(entry)),
          h("div", { class: "wb-gal-two" }, star([entry]), button("quiet", "Delete", "bin", () => actions.remove([entry]))),
        ];
    const inDocuments = entry.documents.length
      ? h("p", { class: "wb-note" }, "Stands in ", ...entry.documents.slice(0, 4).flatMap((id, k) => [k ? ", " : "", h("a", { href: `#fill/${id}` }, entry.documents.length === 1 ? "a document" : `document ${k + 1}`)]), ".")
      : null;
    body.replaceChildren(
      h("button", { type: "button", class: "wb-gal-picture", "aria-label": "Enlarge", onclick: () => actions.open(entry) }, picture),
      h("p", { class: request.prompt.trim() ? "wb-gal-words" : "wb-gal-words none" }, request.prompt.trim() || "No words: the seed chose what is there."),
      entry.run.branch_of ? h("p", { class: "wb-note" }, "Goes on from ", h("a", { href: `#gallery/${entry.run.branch_of}` }, "another picture"), ".") : "",
      h("dl", { class: "wb-facts" }, ...factsOf(entry).flatMap(([name, words]) => [h("dt", {}, name), h("dd", {}, words)])),
      h("div", { class: "wb-acts" }, ...acts),
      ...(inDocuments ? [inDocuments] : []),
    );
  }

  const download = (entry) => h("a", { class: "wb-btn", download: "", href: downloadAddress(entry.id) }, icon("down"), "Download PNG");

  function star(entries) {
    const all = entries.every(({ favourite }) => favourite);
    const turn = button("quiet", "Favourite", "star", () => actions.star(entries));
    turn.classList.toggle("wb-starred", all);
    turn.setAttribute("aria-pressed", String(all));
    return turn;
  }

  function several(entries, binned) {
    const thumbs = entries.slice(0, SHOWN).map(({ id }) => h("img", { src: thumbnailAddress(id), alt: "" }));
    const acts = binned
      ? [button("primary", `Restore ${entries.length} pictures`, "reset", () => actions.restore(entries))]
      : [
          entries.length === 2 ? button("primary", "Compare", "compare", () => actions.compare()) : null,
          button("", "Export as zip", "down", () => actions.pack(entries)),
          star(entries),
          button("quiet", "Delete", "bin", () => actions.remove(entries)),
        ];
    body.replaceChildren(
      h("h2", { class: "wb-gal-count" }, `${entries.length} pictures selected`),
      h("div", { class: "wb-gal-thumbs", "aria-hidden": "true" }, ...thumbs, ...(entries.length > SHOWN ? [h("span", {}, `+${entries.length - SHOWN}`)] : [])),
      h("div", { class: "wb-acts" }, ...acts.filter(Boolean), button("quiet", "Select none", "cross", () => actions.clear())),
    );
  }

  let shown = "";

  /** What is selected: nothing, one or several. `binned`: the bin is open. */
  function show(entries, binned) {
    const key = entries.length === 1 ? JSON.stringify([binned, entries]) : `${binned} ${entries.map(({ id, favourite }) => id + favourite).join()}`;
    if (key === shown) return;
    shown = key;
    if (entries.length === 1) one(entries[0]);
    else if (entries.length) several(entries, binned);
    else body.replaceChildren(h("p", { class: "wb-gal-hint" }, "Click a picture to see what it was made from. Hold Ctrl or Shift to select several."));
  }

  return { element, show, focus: () => close.focus() };
}
