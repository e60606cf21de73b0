// The tree of branches: where each left its parent, on the same axis of steps. Click goes there; nothing is overwritten.

import { h, svg } from "./dom.js";
import { stepsWords } from "./steps_marks.js";
import { thumbnailAddress } from "./steps_server.js";

const ROW = 62;
const AXIS = 52; // px from the first step to the last
const START = 4;
const END = 60;

/** `actions`: open(id), stop(), branch(wish). */
export function createBranchesView(actions) {
  let run = null;
  let working = null; // {snapshot, parent, from} of a branch that is being painted

  const onWords = h("span", {});
  const onButton = h("button", { type: "button", class: "wb-btn small", onclick: goOn });
  const onRow = h("div", { class: "wb-branch-on", hidden: true }, h("div", { class: "wb-branch-says" }, onWords, onButton));

  const count = h("span", { class: "wb-faint" });
  const list = h("div", { class: "wb-tree", role: "group", "aria-label": "Branches of this run" });
  const hint = h("p", { class: "wb-faint wb-tree-hint" });
  const element = h("section", { class: "wb-card wb-branches", "aria-label": "Branches" }, h("div", { class: "wb-card-head" }, h("h3", {}, "Branches ", count), h("span", { class: "wb-faint" }, "nothing is overwritten")), list, hint, onRow);

  /** A run that was stopped can be painted to its end, as it would have gone on. */
  async function goOn() {
    onButton.disabled = true;
    await actions.branch({ from: run.recorded, label: `Gone on from step ${run.recorded}` });
    onButton.disabled = false;
  }

  function place(entry, total) {
    return START + (AXIS * entry.branch_at) / Math.max(1, total - 1);
  }

  function draw() {
    if (!run) return;
    const rows = run.tree;
    const rowOf = new Map(rows.map((entry, k) => [entry.id, k]));
    const total = Math.max(...rows.map(({ count }) => count));
    const middle = (row) => row * ROW + ROW / 2;
    const parentRow = (entry) => rowOf.get(entry.parent) ?? 0;
    const path = new Set(); // the rows from the root to the run that is shown
    for (let entry = rows[rowOf.get(run.id)]; entry; entry = rows[rowOf.get(entry.parent)]) path.add(entry.id);

    const lines = [];
    const dots = [];
    for (const [row, entry] of rows.entries()) {
      const own = path.has(entry.id);
      const dim = (on) => (on ? "path" : "");
      if (entry.parent === null || !rowOf.has(entry.parent)) {
        lines.push([own && entry.id === run.id, svg("path", { d: `M${START} ${middle(row)}H${END}`, class: dim(entry.id === run.id) })]);
        // towards the branch that is shown only the shared steps are on the path
        const next = rows.find((other) => path.has(other.id) && other.parent === entry.id);
        if (own && next) lines.push([true, svg("path", { d: `M${START} ${middle(row)}H${place(next, total)}`, class: "path" })]);
      } else {
        const x = place(entry, total);
        const from = middle(parentRow(entry));
        const bend = Math.min(10, END - x);
        lines.push([own, svg("path", { d: `M${x} ${from}V${middle(row) - bend}q0 ${bend} ${bend} ${bend}H${END}`, class: dim(own) })]);
        dots.push(svg("circle", { cx: x, cy: from, r: 3.5, class: own ? "fork path" : "fork" }));
      }
      dots.push(svg("circle", { cx: END, cy: middle(row), r: 4, class: entry.id === run.id ? "end path" : "end" }));
    }
    lines.sort((a, b) => Number(a[0]) - Number(b[0])); // the path lies above the rest
    const drawing = svg("svg", { width: 68, height: rows.length * ROW, "aria-hidden": "true" }, ...lines.map(([, line]) => line), ...dots);
    const kept = list.querySelector(":focus")?.dataset.id;
    list.replaceChildren(...rows.map((entry) => line(entry)), drawing, ...(working && working.snapshot ? [progress()] : []));
    if (kept) list.querySelector(`[data-id="${CSS.escape(kept)}"]`)?.focus();
    reveal();
    hint.textContent = rows.length > 1 || working ? "" : "Go to a step, then paint on it, keep bands or try strengths: what comes of it stands here.";
    hint.hidden = !hint.textContent;
    count.textContent = rows.length > 1 ? String(rows.length) : "";
    const stopped = run.stopped_at !== null && run.stopped_at !== undefined && run.recorded < run.count;
    onRow.hidden = !stopped || !run.latents || Boolean(working);
    onWords.textContent = `Stopped at step ${run.stopped_at} of ${run.count}`;
    onButton.textContent = `Go on to ${run.count}`;
  }

  /** Scrolls the list, and nothing else, until what is painted or shown is in sight. */
  function reveal() {
    const row = working ? list.lastElementChild : list.querySelector("[aria-current]");
    if (!row) return;
    const [from, to] = [row.offsetTop, row.offsetTop + row.offsetHeight];
    if (from < list.scrollTop) list.scrollTop = from;
    else if (to > list.scrollTop + list.clientHeight) list.scrollTop = to - list.clientHeight;
  }

  function line(entry) {
    const shown = entry.id === run.id;
    const told =
      entry.stopped_at !== null && entry.stopped_at !== undefined
        ? `stopped at step ${entry.stopped_at} of ${entry.count}`
        : entry.parent === null
          ? stepsWords(entry.recorded)
          : `from step ${entry.branch_at + 1}`;
    const row = h(
      "button",
      { type: "button", class: "wb-branch", "data-id": entry.id, "aria-current": shown ? "true" : null, onclick: () => actions.open(entry.id) },
      h("span", {}),
      h("img", { src: thumbnailAddress(entry.id), alt: "", loading: "lazy" }),
      h("span", { class: "wb-branch-words" }, h("b", {}, entry.label), h("small", {}, told)),
    );
    row.title = entry.label;
    return row;
  }

  const progressWords = h("span", { role: "status" });
  const progressBar = h("i", {});
  const stop = h("button", { type: "button", class: "wb-btn small quiet", onclick: () => actions.stop() }, "Stop, keep it");
  const progressRow = h("div", { class: "wb-branch-work" }, h("div", { class: "wb-branch-says" }, progressWords, stop), h("div", { class: "wb-meter" }, progressBar));

  function progress() {
    const { snapshot, from } = working;
    const painting = snapshot.state === "running";
    const step = Math.min(Math.max(snapshot.step ?? 0, from) + 1, snapshot.steps);
    const words = painting ? `Painting step ${step} of ${snapshot.steps}` : snapshot.state === "queued" ? "Waiting its turn" : "Waking the model";
    if (progressWords.textContent !== words) progressWords.textContent = words;
    progressBar.style.width = `${painting ? ((step - from) / Math.max(1, snapshot.steps - from)) * 100 : 0}%`;
    return progressRow;
  }

  new ResizeObserver(reveal).observe(list);

  return {
    element,
    open(facts) {
      run = facts;
      draw();
    },
    /** A branch that is on its way; null when it has ended. */
    work(state) {
      const began = !working !== !state;
      working = state;
      if (began || !state) draw();
      else progress();
    },
  };
}
