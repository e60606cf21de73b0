// The Gallery: one state, and the parts that show it. The pictures live on the server; a reload asks for them again.

import { button, h } from "./dom.js";
import { ask, count as figure } from "./fill_parts.js";
import { asWritten, writeForm } from "./form.js";
import { typing } from "./frame.js";
import { createCompare } from "./gallery_compare.js";
import { createDetails } from "./gallery_details.js";
import { createGrid } from "./gallery_grid.js";
import { createImport } from "./gallery_import.js";
import { SHOWS, address, addressed, isSameSearch, lastSearch } from "./gallery_link.js";
import { createList } from "./gallery_list.js";
import * as server from "./gallery_server.js";
import { createUnderWay } from "./gallery_under_way.js";
import { createUsage } from "./gallery_usage.js";
import { createWall } from "./gallery_wall.js";
import { Refusal, Silence } from "./server.js";
import { choice, segments } from "./steps_marks.js";
import { createViewer } from "./viewer.js";

const TYPED = 160; // ms after the last key until it is looked for
const AGAIN = 5000; // ms between two looks for what is new, while the tab is open
const PACKED = 500; // pictures in one zip
const LANES = 3; // things that the server is told at once
const ANYTHING = { query: "", show: "all", model: "" }; // what is looked for at first

let room = null;
let parts = null;
let list = null;
let wall = null;
let visible = false;
let selecting = false; // taps add to the selection, as there is no Ctrl on a phone
let selection = new Set(); // ids
let anchor = 0; // index from which Shift selects
let removed = []; // ids of deletes that can be undone, newest last
let typed = null;
let looking = null;
let wished = null; // id of a picture that the address asks for

/** Called by Gradio once, with the element of the tab's gr.HTML. */
export function mount(element) {
  room = element.querySelector(".wb-gallery");
  list = createList(changed, fail);
  wall = createWall(list, { pick, star: (index) => star([list.at(index)]), open: enlarge, key }, (id) => selection.has(id));
  build();
  room.addEventListener("keydown", (event) => {
    // acts of the wall's, wherever in the tab the focus is
    if (wall.element.contains(event.target) || typing(event.target) || !["s", "c", "Delete", "z"].includes(event.key)) return;
    if ((event.key === "z") === (event.ctrlKey || event.metaKey)) key(event, wall.active());
  });
  new ResizeObserver(seen).observe(room);
  addEventListener("hashchange", () => visible && travelled());
  document.addEventListener("visibilitychange", () => visible && !document.hidden && look());
  seen();
}

function build() {
  const search = h("input", { type: "search", class: "wb-field wb-gal-search", placeholder: "Search prompts, models, seeds, dates", "aria-label": "Search the pictures", autocomplete: "off", spellcheck: "false" });
  search.addEventListener("input", () => {
    clearTimeout(typed);
    typed = setTimeout(() => find({ query: search.value }), TYPED);
  });
  search.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") (event.preventDefault(), wall.element.focus());
    else if (event.key === "Escape" && search.value) (event.preventDefault(), (search.value = ""), find({ query: "" }));
  });
  const shows = segments("Which pictures", SHOWS, (show) => {
    selection.clear();
    find({ show }, true);
  });
  shows.press("all");
  const models = choice("Model", [["", "All models"]], (model) => find({ model }, true));
  const select = button("quiet", "Select", "check", () => {
    selecting = !selecting;
    select.setAttribute("aria-pressed", String(selecting));
    room.classList.toggle("selecting", selecting);
    if (!selecting) clear();
  });
  select.setAttribute("aria-pressed", "false");
  parts = {
    search,
    shows,
    models,
    details: createDetails({ use, open: (entry) => enlarge(list.place(entry.id)), star, remove, restore, compare, pack, grid: (entry) => parts.grid.open(entry), clear, close: closeDetails }),
    viewer: createViewer(),
    compare: createCompare(),
    grid: createGrid({ show: showPicture, fail: notice, newest: () => list.at(0), painting: (grid) => parts.underWay.take(grid) }),
    underWay: createUnderWay({ open: (id) => parts.grid.open(null, id), isShown: (id) => parts.grid.isShown(id), ended: gridEnded }),
    usage: createUsage(),
    notice: h("div", { class: "wb-gal-notice" }),
    live: h("div", { class: "wb-hidden-words", role: "status", "aria-live": "polite" }),
    line: h("span", { class: "wb-gal-found" }),
    empty: h("div", { class: "wb-gal-empty" }),
    emptyBin: button("small", "Empty the bin", "bin", emptyBin),
    importing: createImport({ done: imported, notice, fail }),
    bar: h("div", { class: "wb-gal-bar", role: "group", "aria-label": "The selection", hidden: true }),
  };
  const head = h(
    "div",
    { class: "wb-gal-head" },
    search,
    shows.element,
    models.field,
    h("span", { class: "wb-gal-grow" }),
    select,
    button("quiet wb-wide", "Compare two", "compare", compare),
    button("quiet", "Grid", "grid", () => parts.grid.open(chosen()[0] ?? null)),
    parts.importing.open,
    parts.importing.field,
  );
  parts.scroll = h("div", { class: "wb-gal-scroll" }, wall.element, parts.empty);
  const about = h("div", { class: "wb-gal-line" }, parts.line, parts.emptyBin, parts.underWay.element, h("span", { class: "wb-gal-grow" }), parts.usage.element);
  room.replaceChildren(h("div", { class: "wb-gal-main" }, head, about, parts.scroll, parts.bar), parts.details.element, parts.notice, parts.live);
  models.field.hidden = true;
  wall.element.hidden = true;
}

// ---------------------------------------------------------------- coming and going

/** The room has a size while its tab is open, and none while it is not. */
function seen() {
  const now = room.clientWidth > 0;
  if (now === visible) return;
  visible = now;
  clearInterval(looking);
  if (!visible) {
    parts.underWay.leave();
    return address(null, true);
  }
  const asked = addressed();
  const wanted = asked?.wanted ?? (list.loaded() ? list.wanted() : lastSearch());
  const id = asked ? asked.id : selection.size === 1 ? [...selection][0] : null;
  address({ id, wanted }, !asked);
  arrive(id, wanted);
  parts.underWay.look();
  parts.usage.refresh();
  looking = setInterval(() => !document.hidden && list.refresh(true), AGAIN);
  return undefined;
}

/** Back, Forward, or an address that was typed. */
function travelled() {
  const asked = addressed();
  if (asked && !asked.id) selection.clear();
  if (asked) arrive(asked.id, asked.wanted);
  else if (!location.hash) document.getElementById("wb-generate-button")?.click(); // where the page begins
}

/** Looks for `wanted`, and selects the picture of the address, if it names one. */
async function arrive(id, wanted) {
  clearTimeout(typed);
  wished = id;
  if (list.loaded() && isSameSearch(wanted, list.wanted())) await list.refresh();
  else await find(wanted);
  if (wished !== id || !list.loaded()) return undefined; // something else was asked for meanwhile, or nobody answered
  const searching = !isSameSearch(wanted, ANYTHING);
  const isGone = !isSameSearch(wanted, list.wanted()) || (searching && id && (await list.reach(id)) < 0);
  if (wished !== id) return undefined;
  if (id && !isGone && !selection.has(id)) return showPicture(id, false);
  wished = null; // it is shown already, or does not fit any more what is looked for
  drawSelection();
  wall.draw();
  return undefined;
}

/** Looks for something else than now, which the address tells; with `anew` so that Back returns to what was there. */
function find(next, anew = false) {
  const done = list.search(next);
  const wanted = list.wanted();
  if (parts.search.value !== wanted.query && next.query !== undefined) parts.search.value = wanted.query;
  parts.shows.press(wanted.show);
  if (visible) address({ id: wished, wanted }, anew);
  return done;
}

const look = () => (wished ? arrive(wished, list.wanted()) : list.refresh());

function gridEnded({ id, state, cells }) {
  const made = cells.filter((cell) => cell.id).length;
  const words = state === "done" ? "The grid is painted." : `The grid ${state === "failed" ? "failed" : "was stopped"}. ${made} of ${cells.length} pictures are kept.`;
  notice(words, state === "failed", ["Show it", () => parts.grid.open(null, id)]);
  list.refresh();
}

/** Something in the list came, went or changed. */
function changed(anew) {
  if (anew) {
    const here = new Set(list.all().map(({ id }) => id));
    selection = new Set([...selection].filter((id) => here.has(id)));
    anchor = 0;
    parts.scroll.scrollTop = 0;
  }
  const { query, show, model } = list.wanted();
  const counts = list.counts();
  for (const [kind, name] of SHOWS) parts.shows.button(kind).replaceChildren(name, ...(counts ? [h("span", { class: "wb-gal-many" }, ` ${figure(counts[kind])}`)] : []));
  const count = list.count();
  wall.element.hidden = !count;
  const words = query.trim() || model;
  parts.empty.replaceChildren(...(count ? [] : emptyWords(words, show)));
  parts.line.textContent = count || words ? `${figure(count)} ${count === 1 ? "picture" : "pictures"}` : "";
  if (anew && words && visible) parts.live.textContent = count ? `${figure(count)} found` : "Nothing found";
  parts.emptyBin.hidden = show !== "bin" || !count;
  const models = [...list.models()];
  if (model && !models.includes(model)) models.push(model); // of an address: it can be taken back
  parts.models.field.hidden = models.length < 2 && !model;
  parts.models.offer([["", "All models"], ...models.map((name) => [name, name])]);
  parts.models.field.value = model;
  wall.layOut();
  drawSelection();
}

function emptyWords(words, show) {
  if (!list.loaded()) return [];
  if (words) return [h("h1", {}, "Nothing fits"), h("p", {}, "All words have to stand in the prompt, the model's name, the seed or the date, such as 2026-11-21.")];
  if (show === "bin") return [h("h1", {}, "The bin is empty"), h("p", {}, "What is deleted waits here for 30 days.")];
  if (show === "fills") return [h("h1", {}, "No fills yet"), h("p", {}, "Open a picture in Fill, paint over a region, and say what should be there.")];
  if (show === "steps") return [h("h1", {}, "No steps are kept"), h("p", {}, "New pictures bring theirs. The oldest are let go where they take too much room.")];
  if (show === "favourite") return [h("h1", {}, "No favourites yet"), h("p", {}, "Press S on a picture, or the star in its corner.")];
  return [h("h1", {}, "Every picture will hang here"), h("p", {}, "Make one, and it appears."), button("primary", "Make a picture", "more", () => document.getElementById("wb-generate-button")?.click())];
}

// ---------------------------------------------------------------- selecting

const chosen = () => list.all().filter(({ id }) => selection.has(id));

/** `how`: only, toggle or range. `pressed`: by a pointer, which opens the details where they have no place of their own. */
function pick(index, how, pressed = false) {
  const entry = list.at(index);
  if (!entry) return;
  wished = null;
  if (selecting && pressed && how === "only") how = "toggle";
  if (how === "range") {
    const [from, to] = [Math.min(anchor, index), Math.max(anchor, index)];
    selection = new Set(list.all().slice(from, to + 1).map(({ id }) => id));
  } else {
    anchor = index;
    if (how === "toggle") selection.has(entry.id) ? selection.delete(entry.id) : selection.add(entry.id);
    else selection = new Set([entry.id]);
  }
  if (pressed && how === "only") room.classList.add("details");
  drawSelection();
  wall.draw();
}

function drawSelection() {
  const entries = chosen();
  const bin = list.wanted().show === "bin";
  parts.details.show(entries, bin);
  room.classList.toggle("has-selection", entries.length > 0);
  if (!entries.length) room.classList.remove("details");
  if (visible) address({ id: entries.length ? (entries.length === 1 ? entries[0].id : null) : wished, wanted: list.wanted() });
  const several = entries.length > 1 || (selecting && entries.length > 0);
  parts.bar.hidden = !several;
  if (!several) return;
  parts.bar.replaceChildren(
    h("b", {}, `${figure(entries.length)} selected`),
    ...(bin
      ? [button("quiet icon", "Restore", "reset", () => restore(entries))]
      : [
          button("quiet icon", "Compare", "compare", compare),
          button("quiet icon", "Export as zip", "down", () => pack(entries)),
          button("quiet icon", "Favourite", "star", () => star(entries)),
          button("quiet icon", "Delete", "bin", () => remove(entries)),
        ]),
    button("quiet icon", "Select none", "cross", () => clear()),
  );
}

function clear(focus = true) {
  selection.clear();
  drawSelection();
  wall.draw();
  if (focus && visible && !wall.element.hidden) wall.element.focus({ preventScroll: true });
}

function closeDetails() {
  room.classList.remove("details");
  wall.element.focus({ preventScroll: true });
}

/** Keys on the wall that are not about moving. */
function key(event, index) {
  const entry = list.at(index);
  const pressed = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const command = event.ctrlKey || event.metaKey;
  const entries = selection.size ? chosen() : entry ? [entry] : [];
  const act = command
    ? { a: () => pickAll(), z: undo }[pressed]
    : {
        Enter: () => (matchMedia("(max-width: 1023px)").matches && !room.classList.contains("details") ? (pick(index, "only", true), parts.details.focus()) : enlarge(index)),
        " ": () => pick(index, "toggle"),
        s: () => star(entries),
        Delete: () => (list.wanted().show === "bin" ? undefined : remove(entries)),
        c: compare,
        Escape: () => clear(),
      }[pressed];
  if (!act || event.altKey) return;
  event.preventDefault();
  event.stopPropagation();
  act();
}

function pickAll() {
  selection = new Set(list.all().map(({ id }) => id));
  drawSelection();
  wall.draw();
}

/** Selects a picture wherever it is, and shows it. */
async function showPicture(id, pressed = true) {
  wished = null;
  if (list.place(id) < 0) {
    try {
      const entry = await server.entry(id);
      if (!entry) return notice("This picture is not here any more.", true);
      const show = entry.binned_at ? "bin" : "all";
      for (const query of ["", String(entry.request.seed)]) {
        // among the newest, or else among those of its seed
        if (list.place(id) >= 0) break;
        await find({ query, show, model: "" });
      }
      await list.need(list.place(id) < 0 ? list.count() - 1 : 0);
    } catch (problem) {
      return fail(problem);
    }
  }
  const index = list.place(id);
  if (index < 0) return undefined;
  wall.go(index);
  pick(index, "only", pressed);
  return undefined;
}

function enlarge(index) {
  if (index < 0 || !list.at(index)) return;
  parts.viewer.open(list.all(), index, (at) => {
    wall.go(at);
    pick(at, "only");
  });
}

// ---------------------------------------------------------------- what can be done with pictures

/** Does `work` for each picture, a few at a time; what was refused is said. Returns those that it worked for. */
async function each(entries, work) {
  const done = [];
  let bad = null;
  const left = [...entries];
  const lane = async () => {
    for (let entry = left.shift(); entry && !bad; entry = left.shift()) {
      try {
        await work(entry);
        done.push(entry);
      } catch (problem) {
        bad ??= problem;
      }
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  if (bad) fail(bad);
  return done;
}

async function star(entries) {
  if (!entries.length) return;
  const favourite = !entries.every((entry) => entry.favourite);
  const done = await each(entries, ({ id }) => server.favour(id, favourite));
  done.forEach(({ id }) => list.change(id, { favourite }));
  if (list.wanted().show === "favourite" && !favourite) list.drop(done.map(({ id }) => id));
  parts.live.textContent = favourite ? "Favourite" : "No favourite any more";
  list.refresh(true); // how many there are of each kind
}

async function remove(entries) {
  if (!entries.length) return;
  const next = Math.min(...entries.map(({ id }) => list.place(id)));
  const done = (await each(entries, ({ id }) => server.remove(id))).map(({ id }) => id);
  if (!done.length) return;
  removed.push(done);
  leave(done, next);
  notice(`${done.length === 1 ? "The picture is" : `${done.length} pictures are`} in the bin.`, false, ["Undo", undo]);
}

async function undo() {
  const ids = removed.pop();
  if (!ids) return;
  const back = await each(ids.map((id) => ({ id })), ({ id }) => server.restore(id));
  await list.search();
  parts.notice.replaceChildren();
  parts.live.textContent = back.length === 1 ? "The picture is back." : `${back.length} pictures are back.`;
  if (back.length && list.place(back[0].id) >= 0) {
    wall.go(list.place(back[0].id));
    selection = new Set(back.map(({ id }) => id));
    drawSelection();
    wall.draw();
  }
}

async function restore(entries) {
  const done = await each(entries, ({ id }) => server.restore(id));
  leave(done.map(({ id }) => id), Math.min(...entries.map(({ id }) => list.place(id))));
  if (done.length) notice(done.length === 1 ? "The picture is back in the gallery." : `${done.length} pictures are back in the gallery.`);
}

/** These are not in this list any more; the one that takes their place is what the keys are about. */
function leave(ids, next) {
  ids.forEach((id) => selection.delete(id));
  list.drop(ids);
  list.refresh(true);
  wall.go(Math.min(next, list.count() - 1));
  if (!wall.element.hidden && room.contains(document.activeElement)) wall.element.focus({ preventScroll: true });
  parts.usage.refresh();
}

async function emptyBin() {
  const count = list.count();
  const sure = await ask("Empty the bin?", `${figure(count)} ${count === 1 ? "picture goes" : "pictures go"} for good, with the recorded steps. What stands in a document, or what another run goes on from, stays.`, [[null, "Cancel", "quiet"], [true, "Empty the bin", "primary"]]);
  if (!sure) return;
  try {
    const { deleted } = await server.emptyBin();
    removed = [];
    notice(`${figure(deleted)} ${deleted === 1 ? "picture is" : "pictures are"} gone for good.`);
  } catch (problem) {
    fail(problem);
  }
  list.search();
  parts.usage.refresh();
}

/** All settings go into the form; the next picture there is this very one. */
function use(entry) {
  writeForm(asWritten(entry.request), { fixSeed: true, pictures: 1 });
  document.getElementById("wb-generate-button")?.click();
}

/** A file has come in, perhaps with pictures. */
function imported(id, words) {
  list.refresh();
  parts.usage.refresh();
  notice(words, false, ["Open it", () => (location.hash = `#fill/${id}`)]);
}

function pack(entries) {
  if (entries.length > PACKED) return notice(`From 1 to ${PACKED} pictures go into one file, not ${figure(entries.length)}.`, true);
  const link = h("a", { href: server.exportAddress(entries.map(({ id }) => id)), download: "pictures.zip", hidden: true });
  room.append(link);
  link.click();
  link.remove();
  return undefined;
}

function compare() {
  const entries = chosen();
  if (entries.length !== 2) return notice("Select two pictures first: hold Ctrl and click, press Space, or use Select.");
  return parts.compare.open(entries).catch(fail);
}

// ---------------------------------------------------------------- words

function fail(problem) {
  if (problem instanceof Silence) notice("The studio is not answering. It is started with python app.py.", true);
  else if (problem instanceof Refusal) notice(problem.message, true);
  else throw problem;
}

let closing = null;

/** Words at the foot. `act`: [label, what it does]. Good news goes by itself. */
function notice(words, bad = false, act = null) {
  const close = () => parts.notice.replaceChildren();
  const more = act ? button("small", act[0], null, () => (close(), act[1]())) : null;
  parts.notice.replaceChildren(h("div", { class: bad ? "wb-notice bad" : "wb-notice", role: bad ? "alert" : "status" }, h("p", {}, words), more, button("quiet icon", "Close", "cross", close)));
  clearTimeout(closing);
  if (!bad) closing = setTimeout(close, act ? 12_000 : 6000);
}
