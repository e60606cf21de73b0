// What came of one fill or of several, side by side: "Before" first, then a slot per variation with its own ribbon while it
// is painted.

import { button, h } from "./dom.js";
import { ended, previewAddress } from "./server.js";
import { about } from "./run.js";
import { arriving, createRibbon } from "./ribbon.js";

/**
 * `actions`: choose(slot), keep(), more(), discard(), stop(), steps(). Slots count from 0; "Before" is null.
 * `draw(slot, canvas)` draws the crop of a finished slot, or of what was there before (null), into a canvas element.
 */
export function createVariations(actions, draw) {
  let job = null;
  let chosen = null;
  let drawn = new Map(); // slot -> id that is drawn
  let slots = [];
  let ribbons = [];

  const row = h("div", { class: "wb-variation-row", role: "group", "aria-label": "Variations" });
  const keep = button("primary", "Keep this one", "check", () => actions.keep());
  const more = button("", "Three more", "reset", () => actions.more());
  const discard = button("quiet small", "Discard all", null, () => actions.discard());
  const stop = button("edged", "Stop", "stop", () => {
    stop.disabled = true;
    stop.lastChild.textContent = "Stopping…";
    actions.stop();
  });
  const acts = h("div", { class: "wb-variation-acts" }, keep, more, discard, stop);
  const step = h("b", {});
  const band = h("span", {});
  const left = h("span", {});
  const run = h("div", { class: "wb-fill-run" }, h("span", {}, step, band), left);
  const why = h("p", { class: "wb-fill-why", role: "alert", hidden: true });
  const element = h("div", { class: "wb-variations-room" }, h("div", { class: "wb-variations" }, row, acts), run, why);

  function slotOf(index) {
    const words = index === null ? "Before" : String(index + 1);
    const picture = h("span", { class: "wb-variation-picture" });
    const small = h("span", {}, words);
    const part = h("button", { type: "button", class: "wb-variation", onclick: () => actions.choose(index) }, picture, small);
    if (index === null) part.setAttribute("aria-label", "Before");
    return { part, picture, words: small };
  }

  function begin() {
    drawn = new Map();
    [slots, ribbons] = [[], []];
    const before = slotOf(null);
    const image = h("canvas", { width: 192, height: 192 });
    before.picture.append(image);
    draw(null, image);
    row.replaceChildren(before.part);
  }

  /** A slot for each variation that has none yet. */
  function append({ pictures }) {
    while (slots.length < pictures.length) {
      slots.push(slotOf(slots.length));
      ribbons.push(createRibbon());
      row.append(slots.at(-1).part);
    }
    row.scrollLeft = row.scrollWidth;
    stop.disabled = false;
    stop.lastChild.textContent = "Stop";
  }

  function update(snapshot, looked) {
    if (job?.key !== snapshot.key) {
      if (!job || !snapshot.key.startsWith(`${job.key} `)) begin();
      append(snapshot);
    }
    job = snapshot;
    chosen = looked;
    const over = ended(job);
    job.pictures.forEach((picture, index) => {
      const { part, picture: room, words } = slots[index];
      const painting = picture.state === "running" && !picture.over;
      const failed = picture.state === "failed";
      const early = picture.layer && Number.isInteger(picture.stopped_at) ? `stopped at step ${picture.stopped_at} of ${picture.steps}` : "";
      part.classList.toggle("waits", !picture.layer && !painting && !failed);
      part.classList.toggle("failed", failed);
      part.disabled = !picture.layer && !painting && !failed;
      part.setAttribute("aria-label", `Variation ${index + 1}, ${picture.layer ? early || "finished" : painting ? "being painted" : failed ? `failed: ${picture.error ?? ""}` : picture.over ? "not painted" : "waiting"}`);
      part.title = failed ? (picture.error ?? "") : early && `${early[0].toUpperCase()}${early.slice(1)}: what the model expected then. Steps can paint it to its end.`;
      if (picture.layer && drawn.get(index) !== picture.id) {
        drawn.set(index, picture.id);
        const image = h("canvas", { width: 192, height: 192 });
        draw(index, image);
        room.replaceChildren(image);
      } else if (painting) {
        const key = `preview ${job.id} ${job.preview}`;
        ribbons[index].update(job.ribbon, job.steps);
        if (!room.contains(ribbons[index].element)) room.append(ribbons[index].element);
        if (job.preview !== null && job.preview !== undefined && drawn.get(index) !== key) {
          drawn.set(index, key);
          const image = h("img", { alt: "", src: previewAddress(job.id, job.preview), decoding: "async" });
          image.addEventListener("load", () => {
            if (!drawn.get(index)?.startsWith("preview")) return;
            room.querySelector("img")?.remove();
            room.prepend(image);
          });
        }
      } else if (!picture.layer && (failed || picture.state === "waiting" || picture.state === "queued" || picture.over || !room.firstChild)) {
        room.replaceChildren(h("span", {}, failed ? "!" : String(index + 1)));
      }
      words.textContent = failed ? "failed" : early ? `${index + 1}, unfinished` : String(index + 1);
    });
    for (const [index, { part }] of slots.entries()) part.setAttribute("aria-pressed", String(chosen === index));
    row.firstChild.setAttribute("aria-pressed", String(chosen === null));
    const kept = job.pictures[chosen ?? -1]?.layer;
    keep.hidden = discard.hidden = !over;
    more.hidden = !over || job.recalled;
    discard.lastChild.textContent = job.recalled ? "Leave it as it is" : "Discard all";
    stop.hidden = over;
    keep.disabled = !kept;
    keep.title = kept ? "" : "Choose a variation first. Before is what was there.";
    run.hidden = over;
    if (!over) speak();
    const problems = job.pictures.filter(({ state }) => state === "failed").map(({ error }) => error).filter(Boolean);
    const told = over && (job.error ?? problems[0]);
    why.hidden = !told;
    why.textContent = told || "";
  }

  function speak() {
    const painting = job.state === "running";
    const total = job.pictures.length;
    const waiting = job.state === "queued" ? (job.ahead ? `Waiting for ${job.ahead === 1 ? "the picture" : `the ${job.ahead} pictures`} ahead` : "Starting") : job.state === "loading" ? "Waking the model" : "";
    step.textContent = painting ? `${total > 1 ? `Variation ${job.index + 1}, step` : "Step"} ${Math.min(job.step + 1, job.steps)} of ${job.steps}` : waiting;
    const words = painting ? arriving(job.ribbon) : "";
    band.textContent = words ? ` · ${words}` : "";
    const eta = job.eta_job ?? job.eta_picture;
    left.textContent = painting && eta !== null && eta !== undefined ? `${about(eta)} left` : "";
  }

  return {
    element,
    update,
    forget: () => (job = null),
    relabel: (count) => (more.lastChild.textContent = count === 1 ? "One more" : `${["", "", "Two", "Three", "Four"][count]} more`),
  };
}
