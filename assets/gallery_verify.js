// Verify: a picture is painted once more from what its file says, and compared. The answer stays as long as the page.

import { button, h } from "./dom.js";
import { verify } from "./gallery_server.js";
import { ended, follow, stop } from "./server.js";

/** `of(id)` gives the button and the answer for a picture; there is one of them, for the picture that is shown. */
export function createVerify() {
  const known = new Map(); // id -> {words, reasons, job}: what is said of a picture, and the job that looks
  let shown = null; // id
  const start = button("quiet", "Verify: paint it again and compare", "shield", () => begin(shown));
  const halt = button("quiet small", "Stop", "stop", () => known.get(shown)?.job && stop(known.get(shown).job, true).catch(() => undefined));
  const says = h("p", { class: "wb-note", role: "status" });
  const reasons = h("ul", { class: "wb-note" });
  const element = h("div", { class: "wb-gal-verify" }, start, says, halt, reasons);

  function say(id, words, job = null, more = []) {
    known.set(id, { words, reasons: more, job });
    draw();
  }

  function draw() {
    const { words, reasons: lines, job } = known.get(shown) ?? { words: "", reasons: [], job: null };
    start.disabled = Boolean(job);
    halt.hidden = !job;
    if (says.textContent !== words) says.textContent = words;
    reasons.replaceChildren(...lines.map((line) => h("li", {}, line)));
    reasons.hidden = !lines.length;
  }

  async function begin(id) {
    if (known.get(id)?.job) return;
    try {
      const { id: job } = await verify(id);
      say(id, "Waiting for its turn", job);
      follow(job, (snapshot) => turned(id, snapshot), () => say(id, "The studio is not answering. It is started with python app.py."));
    } catch (problem) {
      say(id, problem.message);
    }
  }

  function turned(id, job) {
    if (!ended(job)) {
      const words = { queued: "Waiting for its turn", loading: "Waking the model" }[job.state];
      return say(id, words ?? `Painting it again, step ${Math.min(job.step + 1, job.steps)} of ${job.steps}`, job.id);
    }
    const [{ verdict }] = job.pictures;
    if (!verdict) return say(id, job.error ?? "Stopped before it was compared.");
    const words = verdict.identical ? "Identical: every pixel came out the same." : verdict.answer.replace(/^./, (first) => first.toUpperCase());
    return say(id, words, null, verdict.reasons.map((line) => line.replace(/^./, (first) => first.toUpperCase())));
  }

  return {
    of(id) {
      shown = id;
      draw();
      return element;
    },
  };
}
