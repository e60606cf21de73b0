// The run view: the newest preview, the ribbon, a slot per picture, and the two ways to stop.

import { button, h } from "./dom.js";
import { arriving, createRibbon } from "./ribbon.js";
import { downloadAddress, ended, pictureAddress, previewAddress } from "./server.js";

const NUMBERS = ["none", "one", "two", "three", "four", "five", "six", "seven", "eight"];
const numberOf = (count) => NUMBERS[count] ?? String(count); // a grid has more

/** "about 2 s", "under a second", "about 3 min". */
export function about(value) {
  if (value < 1) return "under a second";
  if (value < 90) return `about ${Math.round(value)} s`;
  return `about ${Math.round(value / 60)} min`;
}

/**
 * Shows one job from its snapshots. `actions`: stop(everything) and remove(id) return promises.
 * `update(snapshot, queue)` follows the run; `queue` are the jobs after it.
 */
export function createRunView(actions) {
  let job = null;
  let watched = null; // index of a finished picture that is looked at; null follows the brush
  let loading = null;
  let shownPreview = "";
  let stopping = null;

  const hud = h("div", { class: "wb-hud" });
  const waiting = h("div", { class: "waiting" });
  const frame = h("div", { class: "wb-frame" }, waiting, hud);
  const step = h("b", {});
  const band = h("span", {});
  const left = h("span", {});
  const ribbon = createRibbon();
  const slots = h("div", { class: "wb-slots", role: "group", "aria-label": "Pictures of this run" });
  const keep = button("edged", "Stop, keep this", "stop", () => stop(false));
  const all = button("quiet small", "Stop all", null, () => stop(true));
  const stops = h("div", { class: "wb-stops" }, keep, all);
  const queueList = h("ul", { class: "wb-queue" });
  const work = h(
    "div",
    { class: "wb-work" },
    frame,
    h("div", {}, h("div", { class: "wb-says" }, h("span", {}, step, band), left), ribbon.element),
    h("div", { class: "wb-under" }, slots, stops),
    queueList,
  );
  const element = h("div", { class: "wb-center" }, work);

  async function stop(everything) {
    if (stopping) return;
    const pressed = everything ? all : keep;
    const label = pressed.lastChild.textContent;
    stopping = { pressed, label, index: job.index, everything };
    pressed.style.minWidth = `${pressed.offsetWidth}px`;
    pressed.lastChild.textContent = "Stopping…";
    keep.disabled = all.disabled = true;
    try {
      await actions.stop(everything);
    } finally {
      if (stopping) release();
    }
  }

  function release() {
    stopping.pressed.lastChild.textContent = stopping.label;
    keep.disabled = all.disabled = false;
    stopping = null;
  }

  function showImage(address, alt, key) {
    if (shownPreview === key || loading?.key === key) return;
    if (loading && key.startsWith("preview")) return; // one preview at a time; the next snapshot brings a newer one
    const image = h("img", { alt, decoding: "async" });
    loading = { key };
    const mine = loading;
    image.addEventListener("load", () => {
      if (loading !== mine) return;
      loading = null;
      shownPreview = key;
      frame.querySelectorAll("img").forEach((old) => old.remove());
      frame.prepend(image);
      waiting.hidden = true;
      const slot = slots.children[job.index];
      if (key.startsWith("preview") && slot) drawInto(slot, image);
    });
    image.addEventListener("error", () => {
      if (loading === mine) loading = null; // the picture went on without it
    });
    image.src = address;
  }

  function drawInto(slot, image) {
    const copy = h("img", { alt: "", src: image.src });
    slot.replaceChildren(copy);
  }

  function say(words, pulse = false) {
    frame.querySelectorAll("img").forEach((old) => old.remove());
    shownPreview = "";
    loading = null;
    waiting.hidden = false;
    waiting.replaceChildren(h("span", { class: pulse ? "pulse" : "" }, words));
  }

  function update(snapshot, queue = []) {
    const fresh = !job || job.id !== snapshot.id;
    const moved = fresh || job.index !== snapshot.index;
    job = snapshot;
    if (fresh) {
      watched = null;
      slots.replaceChildren(...job.pictures.map(() => h("button", { type: "button", class: "wb-slot waits", disabled: true })));
      slots.classList.toggle("many", job.pictures.length > 4);
    }
    if (stopping && (ended(job) || (!stopping.everything && stopping.index !== job.index))) release();
    if (watched !== null && !job.pictures[watched]?.id) watched = null;
    const total = job.pictures.length;
    const looked = watched ?? job.index;
    hud.textContent = watched === null ? `Picture ${job.index + 1} of ${total}` : `Picture ${watched + 1} of ${total} · finished`;
    all.hidden = total === 1;
    updateWords(total);
    ribbon.update(job.ribbon, job.steps);
    const picture = job.pictures[looked];
    if (picture?.id) showImage(pictureAddress(picture.id), `Picture ${looked + 1}`, picture.id);
    else if (job.preview !== null && job.preview !== undefined && job.state === "running") {
      showImage(previewAddress(job.id, job.preview), `Preview of picture ${job.index + 1}`, `preview ${job.index} ${job.preview}`);
    } else if (moved || !shownPreview) say(waitingWords(), job.state !== "queued");
    updateSlots();
    queueList.replaceChildren(
      ...queue.map((next) => {
        const words = next.pictures[0]?.request.prompt.trim() || "no words";
        return h(
          "li",
          {},
          h("span", {}, `Then ${next.pictures.length === 1 ? "one picture" : `${numberOf(next.pictures.length)} pictures`}: ${words}`),
          button("quiet small", "Remove", null, () => actions.remove(next.id)),
        );
      }),
    );
  }

  function waitingWords() {
    if (job.state === "queued") return job.ahead ? `Waiting for ${job.ahead === 1 ? "the picture" : `the ${job.ahead} pictures`} ahead` : "Starting";
    if (job.state === "loading") return "Waking the model";
    return "The first strokes are on their way";
  }

  function updateWords(total) {
    const painting = job.state === "running";
    step.textContent = painting ? `Step ${Math.min(job.step + 1, job.steps)} of ${job.steps}` : waitingWords();
    const words = painting ? arriving(job.ribbon) : "";
    band.textContent = words ? ` · ${words}` : "";
    const parts = [];
    if (painting && job.eta_picture !== null && job.eta_picture !== undefined) parts.push(`${about(job.eta_picture)} left`);
    if (painting && total > 1 && job.eta_job !== null && job.eta_job !== undefined && job.index < total - 1) parts.push(`${about(job.eta_job).replace("about ", "")} for all ${numberOf(total)}`);
    left.textContent = parts.join(", ");
  }

  function updateSlots() {
    job.pictures.forEach((picture, k) => {
      const slot = slots.children[k];
      const painting = picture.state === "running" && !ended(job);
      const ready = Boolean(picture.id);
      slot.classList.toggle("waits", !ready && !painting && picture.state !== "failed");
      slot.classList.toggle("failed", picture.state === "failed");
      slot.disabled = !ready && !painting;
      slot.setAttribute("aria-label", `Picture ${k + 1}, ${ready ? "finished" : painting ? "being painted" : picture.state === "failed" ? "failed" : "waiting"}`);
      slot.setAttribute("aria-current", String((watched ?? job.index) === k && (ready || painting)));
      if (ready && slot.dataset.id !== picture.id) {
        slot.dataset.id = picture.id;
        slot.replaceChildren(h("img", { src: pictureAddress(picture.id), alt: "" }));
      } else if (!ready && !painting) {
        slot.textContent = picture.state === "failed" ? "!" : String(k + 1);
      }
      slot.onclick = () => {
        watched = ready && k !== job.index ? k : null;
        shownPreview = "";
        update(job, lastQueue);
      };
    });
  }

  let lastQueue = [];
  return {
    element,
    frame: () => ({ request: job?.pictures[watched ?? job.index]?.request, below: 196 + lastQueue.length * 34, beside: 0 }),
    update(snapshot, queue) {
      lastQueue = queue ?? lastQueue;
      update(snapshot, lastQueue);
    },
    download: () => (watched === null ? null : downloadAddress(job.pictures[watched].id)),
  };
}
