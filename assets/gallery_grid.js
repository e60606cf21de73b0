// Grids: two parameters with values each, painted as one job. A form to say which, and a table in which they appear.

import { button, h, icon } from "./dom.js";
import * as server from "./gallery_server.js";
import { about } from "./run.js";
import { stop } from "./server.js";
import { choice } from "./steps_marks.js";

const TYPED = 250; // ms after the last key until the server is asked what it would be
const LOOK = 700; // ms between two looks at a grid that is being painted
const LINES = ["prompt", "negative_prompt", "words"]; // fields whose values take lines

/** `actions`: show(id) shows a picture in the gallery, fail(words, bad), newest() gives the newest picture or null,
 * painting(grid) is told of a grid that was begun. */
export function createGrid(actions) {
  let base = null; // {id, request}: what is the same in all cells, or null for the model's own settings
  let fields = [];
  let shown = null; // the grid in the table, as the server tells it
  let looking = null;
  let typed = null;
  let asking = new AbortController();
  let posting = false;

  const words = h("p", { class: "wb-grid-base" });
  const thumb = h("img", { alt: "" });
  const sides = { across: createSide("To the right", "across", false), down: createSide("Downwards", "down", true) };
  const says = h("p", { class: "wb-grid-says", role: "status" });
  const paint = button("primary", "Paint", null, begin);
  const form = h(
    "form",
    { class: "wb-grid-form" },
    h("div", { class: "wb-grid-from" }, thumb, words),
    sides.across.element,
    sides.down.element,
    h("p", { class: "wb-faint" }, "Values: 2, 5, 8 · a range 1-4 · with a step 2 to 8 (+2) · so many of them 0 to 1 [5]. At most 64 pictures."),
    h("div", { class: "wb-dialog-foot" }, says, paint),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    begin();
  });

  const table = h("div", { class: "wb-grid-scroll", tabindex: "0", role: "region", "aria-label": "The grid" });
  const same = h("p", { class: "wb-grid-same" });
  const far = h("p", { class: "wb-grid-says", role: "status" });
  const bar = h("i", {});
  const meter = h("span", { class: "wb-meter", role: "progressbar", "aria-label": "Pictures painted", "aria-valuemin": "0" }, bar);
  const halt = button("edged", "Stop", "stop", stopIt);
  const again = button("edged", "Paint the missing ones", "reset", paintMissing);
  const sheet = h("a", { class: "wb-btn primary", download: "" }, icon("down"), "Download the sheet");
  const view = h("div", { class: "wb-grid-view", hidden: true }, same, table, h("div", { class: "wb-dialog-foot" }, far, meter, halt, again, sheet));

  const earlier = choice("Grids", [], (id) => (id ? follow(id) : write()));
  const close = button("quiet icon wb-close", "Close", "cross", () => dialog.close());
  const dialog = h("dialog", { class: "wb-dialog wb-grid-room", "aria-label": "Grid" }, h("div", { class: "wb-dialog-head" }, h("h2", {}, "Grid"), earlier.field, close), form, view);
  document.querySelector(".gradio-container").append(dialog);
  dialog.addEventListener("close", () => clearTimeout(looking));

  function createSide(label, name, optional) {
    const pick = choice(label, [], () => {
      const field = fields.find(({ id }) => id === pick.field.value);
      area.value = field?.example ?? "";
      drawSide();
      check();
    });
    const area = h("textarea", { class: "wb-field", rows: "1", "aria-label": `Values ${label.toLowerCase()}`, spellcheck: "false", oninput: () => (drawSide(), check()) });
    const hint = h("p", { class: "wb-faint", id: `wb-grid-${name}-words` });
    area.setAttribute("aria-describedby", hint.id);
    area.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || LINES.includes(pick.field.value)) return;
      event.preventDefault();
      begin();
    });
    const element = h("div", { class: "wb-grid-side" }, h("label", {}, h("span", {}, label), pick.field), h("div", {}, area, hint));

    function drawSide(error = null) {
      const field = fields.find(({ id }) => id === pick.field.value);
      area.hidden = !field;
      area.rows = Math.min(8, Math.max(LINES.includes(field?.id) ? 2 : 1, area.value.split("\n").length));
      hint.textContent = error ?? field?.hint ?? "";
      hint.classList.toggle("bad", Boolean(error));
      if (error) area.setAttribute("aria-invalid", "true");
      else area.removeAttribute("aria-invalid");
    }
    return {
      element,
      draw: drawSide,
      offer() {
        pick.offer([...(optional ? [["", "nothing"]] : []), ...fields.map(({ id, title }) => [id, title])]);
      },
      put(id, values) {
        pick.field.value = id;
        area.value = values;
        drawSide();
      },
      value: () => (pick.field.value ? { field: pick.field.value, values: area.value } : null),
    };
  }

  /** `entry`: a picture whose settings everything else is taken from; without one, the newest. `id`: of a grid to show. */
  async function open(entry, id = null) {
    try {
      if (!fields.length) {
        ({ fields } = await server.gridFields());
        for (const side of Object.values(sides)) side.offer();
        sides.across.put("seed", "1-4");
        sides.down.put("num_inference_steps", "8, 20");
      }
      base = entry ?? actions.newest();
      const { grids } = await server.grids();
      offerEarlier(grids);
      dialog.showModal();
      const underWay = grids.find(({ ended }) => !ended);
      write();
      if (id || (underWay && !entry)) await follow(id ?? underWay.id);
    } catch (problem) {
      actions.fail(problem.message, true);
    }
  }

  function offerEarlier(grids) {
    earlier.offer([["", "New grid"], ...grids.map((grid) => [grid.id, titleOf(grid)])]);
    earlier.field.hidden = !grids.length;
  }

  /** "Seed × steps, 21 Nov, 19:39, unfinished: a lake · …". Its id begins with the time at which it was begun. */
  function titleOf({ id, across, down, same: all, state, ended }) {
    const when = new Date(Number(id.split("-")[0])).toLocaleString("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
    const far = ended ? (state === "done" ? "" : ", unfinished") : ", being painted";
    return `${across.title}${down ? ` × ${down.title.toLowerCase()}` : ""}, ${when}${far}: ${all}`.slice(0, 110);
  }

  /** The form. */
  function write() {
    clearTimeout(looking);
    shown = null;
    earlier.field.value = "";
    form.hidden = false;
    view.hidden = true;
    const request = base?.request;
    thumb.hidden = !base;
    if (base) thumb.src = server.thumbnailAddress(base.id);
    words.replaceChildren("All else as in ", h("b", {}, request ? request.prompt.trim() || "this picture" : "the model's own settings"), request ? `: seed ${request.seed}, ${request.num_inference_steps} steps, ${request.solver}, guidance ${Number(request.guidance_scale).toFixed(1)}, ${request.width} × ${request.height} px.` : ".");
    check();
  }

  const wanted = () => ({ request: base?.request ?? { prompt: "" }, across: sides.across.value(), down: sides.down.value() });

  /** Asks what it would be. The latest answer wins. */
  function check() {
    clearTimeout(typed);
    asking.abort();
    typed = setTimeout(async () => {
      asking = new AbortController();
      const { signal } = asking;
      try {
        const { count, across, down, seconds, error, field } = await server.checkGrid(wanted(), signal);
        if (signal.aborted) return;
        if (error) return refused({ message: error, field });
        sides.across.draw();
        sides.down.draw();
        says.textContent = `${across.labels.length} × ${down?.labels.length ?? 1}${seconds ? `, ${about(seconds)}` : ""}`;
        paint.lastChild.textContent = count === 1 ? "Paint 1 picture" : `Paint ${count} pictures`;
      } catch (problem) {
        if (!signal.aborted) refused(problem);
      }
    }, TYPED);
  }

  function refused(problem) {
    for (const side of Object.values(sides)) side.draw();
    const side = sides[problem.field];
    says.textContent = side ? "" : problem.message;
    side?.draw(problem.message);
    paint.lastChild.textContent = "Paint";
  }

  async function begin() {
    if (posting) return;
    posting = true;
    try {
      const grid = await server.beginGrid(wanted());
      actions.painting(grid);
      offerEarlier((await server.grids()).grids);
      draw(grid);
    } catch (problem) {
      refused(problem);
    } finally {
      posting = false;
    }
  }

  async function follow(id) {
    clearTimeout(looking);
    try {
      const grid = await server.grid(id);
      if (dialog.open) draw(grid);
    } catch (problem) {
      far.textContent = problem.message;
      if (shown && !shown.ended && dialog.open) looking = setTimeout(() => follow(id), 4 * LOOK);
    }
  }

  async function stopIt() {
    halt.disabled = true;
    halt.lastChild.textContent = "Stopping…";
    try {
      await stop(shown.job, true);
    } catch (problem) {
      far.textContent = problem.message;
    }
  }

  /** Paints what was not painted when the grid was stopped, failed, or ended with the studio. */
  async function paintMissing() {
    again.disabled = true;
    try {
      const grid = await server.paintMissing(shown.id);
      actions.painting(grid);
      draw(grid);
      halt.disabled = false;
      halt.lastChild.textContent = "Stop";
    } catch (problem) {
      far.textContent = problem.message;
    } finally {
      again.disabled = false;
    }
  }

  // ---------------------------------------------------------------- the table

  function draw(grid) {
    const fresh = shown?.id !== grid.id;
    shown = grid;
    form.hidden = true;
    view.hidden = false;
    earlier.field.value = grid.id;
    if (fresh) {
      build(grid);
      halt.disabled = false;
      halt.lastChild.textContent = "Stop";
    }
    const done = grid.cells.filter(({ id }) => id).length;
    const total = grid.cells.length;
    grid.cells.forEach((cell, k) => drawCell(table.querySelector(`[data-cell="${k}"]`), cell, k));
    far.textContent = wordsOf(grid, done, total);
    bar.style.width = `${(100 * done) / total}%`;
    meter.setAttribute("aria-valuemax", String(total));
    meter.setAttribute("aria-valuenow", String(done));
    halt.hidden = grid.ended;
    again.hidden = !grid.ended || done === total;
    again.lastChild.textContent = total - done === 1 ? "Paint the missing one" : `Paint the missing ${total - done}`;
    meter.hidden = grid.ended;
    sheet.hidden = !done;
    sheet.href = server.sheetAddress(grid.id);
    if (!grid.ended && dialog.open) looking = setTimeout(() => follow(grid.id), LOOK);
  }

  function build({ across, down, same: all }) {
    same.textContent = `All else: ${all}`;
    const columns = across.labels;
    const rows = down?.labels ?? [""];
    const size = `max(72px, min(200px, (min(100vw, 1132px) - 200px) / ${columns.length} - 8px))`;
    table.replaceChildren(
      h(
        "table",
        { style: `--wb-cell: ${size}` },
        h("caption", {}, down ? `${across.title} to the right, ${down.title.toLowerCase()} down` : across.title),
        h("thead", {}, h("tr", {}, down ? h("td", {}) : null, ...columns.map((label) => h("th", { scope: "col" }, label)))),
        h("tbody", {}, ...rows.map((label, row) => h("tr", {}, down ? h("th", { scope: "row" }, label) : null, ...columns.map((_, column) => h("td", {}, h("button", { type: "button", class: "wb-grid-cell", "data-cell": String(row * columns.length + column), disabled: true })))))),
      ),
    );
  }

  function drawCell(place, cell, k) {
    const name = nameOf(k);
    if (place.dataset.state === `${cell.state}${cell.id}`) return;
    place.dataset.state = `${cell.state}${cell.id}`;
    place.disabled = !cell.id;
    place.setAttribute("aria-label", `${name}, ${cell.id ? "open" : { running: "being painted", failed: "failed", stopped: "not painted", missing: "not painted" }[cell.state] ?? "waiting"}`);
    place.classList.toggle("running", cell.state === "running");
    place.replaceChildren(cell.id ? h("img", { src: server.thumbnailAddress(cell.id), alt: "" }) : cell.state === "failed" ? "!" : "");
    place.onclick = () => {
      dialog.close();
      actions.show(cell.id);
    };
  }

  function nameOf(k) {
    const { across, down } = shown;
    const columns = across.labels.length;
    const column = `${across.title} ${across.labels[k % columns]}`;
    return down ? `${column}, ${down.title.toLowerCase()} ${down.labels[Math.floor(k / columns)]}` : column;
  }

  function wordsOf(grid, done, total) {
    if (grid.state === "failed") return grid.error ?? "The grid failed.";
    if (grid.state === "stopped") return `Stopped. ${done} of ${total} pictures are kept.`;
    if (grid.state === "cut") return `The studio was ended while it painted. ${done} of ${total} pictures are kept.`;
    if (grid.state === "done" && done < total) return `${done} of ${total} pictures are left. The others were deleted.`;
    if (grid.state === "done") return `${total} pictures. Press one to open it.`;
    if (grid.state === "queued") return grid.ahead ? `Waiting for ${grid.ahead === 1 ? "the picture" : `the ${grid.ahead} pictures`} ahead` : "Starting";
    if (grid.state === "loading") return "Waking the model";
    return `Picture ${Math.min(done + 1, total)} of ${total}, step ${Math.min(grid.step + 1, grid.steps)} of ${grid.steps}${grid.eta_job === null ? "" : `, ${about(grid.eta_job)} left`}`;
  }

  return { open, isShown: (id) => dialog.open && shown?.id === id };
}
