// The wall: all pictures in rows under their days. Only what is in sight is in the page, however many there are.
// One tab stop: the wall has the focus, and `aria-activedescendant` says which picture the keys are about.

import { h, icon } from "./dom.js";
import { thumbnailAddress } from "./gallery_server.js";

const GAP = 8; // px
const DAY = 34; // px: a day's name with the room around it
const BEYOND = 600; // px above and below the window that are drawn too
const PAUSE = 70; // ms that a picture stays in sight before it is asked for while the wall flies by

const columnsOf = (width) => (innerWidth <= 640 ? 3 : innerWidth < 1024 ? 4 : width > 1500 ? Math.max(6, Math.floor(width / 220)) : 6);

/** "Today", "Yesterday", "Friday, 20 November 2026". */
function dayOf(milliseconds, now = new Date()) {
  const date = new Date(milliseconds);
  const midnight = new Date(now.getFullYear(), now.getMonth(), now.getDate());
  if (date >= midnight) return "Today";
  if (date >= new Date(midnight.getFullYear(), midnight.getMonth(), midnight.getDate() - 1)) return "Yesterday";
  return date.toLocaleDateString("en-GB", { weekday: "long", day: "numeric", month: "long", year: "numeric" });
}

const dates = new WeakMap(); // entry -> the day on which it was made

function dateOf(entry) {
  if (!dates.has(entry)) dates.set(entry, new Date(entry.made_at).toDateString());
  return dates.get(entry);
}

export function wordsOf({ request, favourite, fill, run }) {
  const words = request.prompt.trim() || "No words";
  const branches = run?.branches ? `, ${run.branches === 1 ? "1 branch" : `${run.branches} branches`}` : "";
  return `${words.length > 160 ? `${words.slice(0, 160)}…` : words}, seed ${request.seed}${fill ? ", a fill" : ""}${branches}${favourite ? ", favourite" : ""}`;
}

/** What a picture is, in its corner: a fill, and how many branches it has. */
function marksOf({ fill, run }) {
  return [fill ? icon("fill", true) : null, ...(run?.branches ? [icon("branch", true), String(run.branches)] : [])].filter(Boolean);
}

/**
 * `list` as gallery_list.js makes it. `actions`: pick(index, how) with how "only", "toggle" or "range"; star(index);
 * open(index); key(event) for keys that are not about moving. `chosen(id)` says whether a picture is selected.
 */
export function createWall(list, actions, chosen) {
  let rows = []; // {top, height, day} or {top, height, from, to}
  let side = 100; // px
  let columns = 6;
  let active = 0; // index that the keys are about
  let drawing = 0;
  let flying = null;
  const cells = new Map(); // id -> element
  const days = new Map(); // top -> element
  const element = h("div", { class: "wb-gal-wall", role: "listbox", tabindex: "0", "aria-label": "Pictures", "aria-multiselectable": "true" });

  /** Where everything lies. */
  function layOut() {
    const width = element.clientWidth;
    rows = [];
    if (!list.all().length) cells.forEach((cell, id) => forget(id, cell));
    if (!width) return; // nothing to show, or the tab is not open: laid out when there is room
    columns = columnsOf(width);
    side = Math.floor((width - GAP * (columns - 1)) / columns);
    let top = 0;
    let day = null;
    const entries = list.all();
    const named = !list.wanted().query.trim(); // what was found lies close together, whenever it was made
    for (let k = 0; k < entries.length; ) {
      const now = dateOf(entries[k]);
      if (named && now !== day) {
        day = now;
        rows.push({ top, height: DAY, day: dayOf(entries[k].made_at) });
        top += DAY;
      }
      let end = k + 1;
      while (end < entries.length && end - k < columns && (!named || dateOf(entries[end]) === day)) end += 1;
      rows.push({ top, height: side, from: k, to: end });
      top += side + GAP;
      k = end;
    }
    const missing = list.count() - entries.length; // further down, not asked for yet
    if (missing > 0) top += Math.ceil(missing / columns) * (side + GAP);
    element.style.height = `${Math.max(top, 1)}px`;
    active = Math.max(0, Math.min(active, entries.length - 1));
    draw();
  }

  /** The part of the wall that is in sight: its top and bottom in the wall's own pixels. */
  function sight() {
    const wall = element.getBoundingClientRect();
    const room = element.parentElement.getBoundingClientRect();
    return [Math.max(room.top, 0) - wall.top, Math.min(room.bottom, innerHeight) - wall.top];
  }

  const rowAt = (top) => {
    let [low, high] = [0, rows.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (rows[middle].top + rows[middle].height < top) low = middle + 1;
      else high = middle;
    }
    return low;
  };

  function draw(moving = false) {
    if (!rows.length) return;
    const [top, bottom] = sight();
    const kept = new Set();
    const keptDays = new Set();
    let last = -1;
    for (let k = rowAt(top - BEYOND); k < rows.length && rows[k].top < bottom + BEYOND; k += 1) {
      const row = rows[k];
      if (row.day) {
        keptDays.add(row.top);
        if (!days.has(row.top)) {
          days.set(row.top, h("p", { class: "wb-gal-day", "aria-hidden": "true" }));
          element.append(days.get(row.top));
        }
        const words = days.get(row.top);
        words.textContent = row.day;
        words.style.transform = `translateY(${row.top}px)`;
      } else {
        for (let index = row.from; index < row.to; index += 1) {
          const entry = list.at(index);
          kept.add(entry.id);
          place(entry, index, row.top, (index - row.from) * (side + GAP), moving);
        }
        last = row.to;
      }
    }
    for (const [id, cell] of cells) if (!kept.has(id)) forget(id, cell);
    for (const [at, words] of days) if (!keptDays.has(at)) (words.remove(), days.delete(at));
    if (kept.has(list.at(active)?.id)) element.setAttribute("aria-activedescendant", `wb-gal-${list.at(active).id}`);
    else element.removeAttribute("aria-activedescendant");
    const end = rows.at(-1) ? rows.at(-1).top + rows.at(-1).height : 0;
    if (bottom + 2 * BEYOND > end) list.need(Math.max(last, list.all().length) + Math.ceil(Math.max(0, bottom - end) / (side + GAP)) * columns);
  }

  function place(entry, index, top, left, moving) {
    let cell = cells.get(entry.id);
    if (!cell) {
      cell = h("div", { role: "option", id: `wb-gal-${entry.id}`, "data-id": entry.id, class: "wb-gal-cell" }, h("img", { alt: "", decoding: "async", draggable: "false" }), h("span", { class: "wb-gal-star", "aria-hidden": "true", title: "Favourite" }, icon("star", true)), h("span", { class: "wb-gal-check", "aria-hidden": "true" }, icon("check", true)), h("span", { class: "wb-gal-marks", "aria-hidden": "true" }));
      cell.firstChild.addEventListener("error", again);
      cells.set(entry.id, cell);
      element.append(cell);
      if (!moving) show(cell);
      else {
        clearTimeout(flying);
        flying = setTimeout(() => cells.forEach(show), PAUSE);
      }
    }
    cell.style.transform = `translate(${left}px, ${top}px)`;
    cell.style.width = cell.style.height = `${side}px`;
    cell.dataset.index = String(index);
    const words = wordsOf(entry);
    if (cell.getAttribute("aria-label") !== words) cell.lastChild.replaceChildren(...marksOf(entry));
    cell.setAttribute("aria-label", words);
    cell.setAttribute("aria-selected", String(chosen(entry.id)));
    cell.setAttribute("aria-setsize", String(list.count()));
    cell.setAttribute("aria-posinset", String(index + 1));
    cell.classList.toggle("starred", entry.favourite);
    cell.classList.toggle("active", index === active);
  }

  function show(cell) {
    if (!cell.firstChild.src) cell.firstChild.src = thumbnailAddress(cell.dataset.id);
  }

  /** Too much was asked for at once: once more, a little later. */
  function again({ target: image }) {
    if (image.dataset.again) return image.classList.add("gone");
    image.dataset.again = "yes";
    image.removeAttribute("src");
    setTimeout(() => image.isConnected && show(image.parentElement), 1200);
    return undefined;
  }

  function forget(id, cell) {
    cell.firstChild.removeEventListener("error", again);
    cell.firstChild.removeAttribute("src"); // what is still on its way is not wanted any more
    cell.remove();
    cells.delete(id);
  }

  /** Scrolls until the picture at `index` is in sight. */
  function reveal(index) {
    const row = rows.find(({ from, to }) => from !== undefined && index >= from && index < to);
    if (!row) return;
    const [top, bottom] = sight();
    const margin = 12;
    const first = rows[rows.indexOf(row) - 1]?.day ? row.top - DAY : row.top;
    const by = first - margin < top ? first - margin - top : row.top + side + margin > bottom ? row.top + side + margin - bottom : 0;
    if (!by) return;
    const room = element.parentElement;
    if (room.scrollHeight > room.clientHeight + 1 && getComputedStyle(room).overflowY !== "visible") room.scrollTop += by;
    else scrollBy(0, by);
  }

  /** Moves what the keys are about. */
  function go(index) {
    active = Math.max(0, Math.min(index, list.all().length - 1));
    reveal(active);
    draw();
  }

  /** The index above or below, in the same column as far as the row goes. */
  function vertical(way) {
    const pictures = rows.filter(({ from }) => from !== undefined);
    const at = pictures.findIndex(({ from, to }) => active >= from && active < to);
    const next = pictures[Math.max(0, Math.min(at + way, pictures.length - 1))];
    return next && at >= 0 ? Math.min(next.from + active - pictures[at].from, next.to - 1) : active;
  }

  async function key(event) {
    const page = Math.max(1, Math.floor((sight()[1] - sight()[0]) / (side + GAP)));
    const to = { ArrowLeft: () => active - 1, ArrowRight: () => active + 1, ArrowUp: () => vertical(-1), ArrowDown: () => vertical(1), PageUp: () => vertical(-page), PageDown: () => vertical(page), Home: () => 0, End: () => list.count() - 1 }[event.key];
    if (!to || event.altKey) return actions.key(event, active);
    event.preventDefault();
    const wanted = to();
    await list.need(Math.min(wanted, list.count() - 1));
    go(wanted);
    if (event.shiftKey) actions.pick(active, "range");
    else if (!event.ctrlKey && !event.metaKey) actions.pick(active, "only");
    return undefined;
  }

  const at = (event) => {
    const cell = event.target.closest?.(".wb-gal-cell");
    return cell ? Number(cell.dataset.index) : -1;
  };
  element.addEventListener("keydown", key);
  element.addEventListener("mousedown", (event) => event.shiftKey && event.preventDefault()); // no text is selected
  element.addEventListener("click", (event) => {
    const index = at(event);
    if (index < 0) return;
    element.focus({ preventScroll: true });
    active = index;
    if (event.target.closest(".wb-gal-star")) actions.star(index);
    else if (event.target.closest(".wb-gal-check")) actions.pick(index, "toggle");
    else actions.pick(index, event.shiftKey ? "range" : event.ctrlKey || event.metaKey ? "toggle" : "only", true);
    draw();
  });
  element.addEventListener("dblclick", (event) => at(event) >= 0 && !event.target.closest(".wb-gal-star, .wb-gal-check") && actions.open(at(event)));
  const scrolled = () => {
    if (drawing || !element.clientWidth) return;
    drawing = requestAnimationFrame(() => ((drawing = 0), draw(true)));
  };
  document.addEventListener("scroll", scrolled, { capture: true, passive: true });
  addEventListener("resize", scrolled);
  new ResizeObserver(layOut).observe(element);

  return { element, layOut, draw, go, active: () => active, columns: () => columns };
}
