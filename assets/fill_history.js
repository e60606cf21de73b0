// The document's whole history as a tree, in a panel: newest first, each other way above the change that it leaves, and a
// click goes there. Nothing is overwritten: what was undone and painted over stays a way of its own.

import { button, h, icon, svg } from "./dom.js";
import { visit } from "./fill_document.js";
import { count, menu } from "./fill_parts.js";
import * as server from "./fill_server.js";

const PART = 100; // rows that come at once
const MOST = 300; // rows in the page
const [COLUMN, COLUMNS] = [11, 6]; // px of a way in the drawing, and how many are drawn beside each other
const PAINTED = /^(Fill|Replace|Remove|Expand|Refine|Vary|Put back): /; // what a fill writes as its label

/**
 * The nodes of a tree as rows, newest first. `nodes`: [{id, parent}], oldest first. Where ways part, the newest goes straight
 * on, as redo does; the others stand one column further in, right above the node that they leave. Answers [{node, deep,
 * passes, below, above}]: its column; for each column before it the node that the line passing there leads to; the column
 * that the line below comes from; the node that the line above leads to. The last two are null where no line is.
 */
export function rowsOf(nodes) {
  const known = new Set(nodes.map(({ id }) => id));
  const children = new Map();
  for (const node of nodes) {
    const of = known.has(node.parent) ? node.parent : null;
    if (children.has(of)) children.get(of).push(node);
    else children.set(of, [node]);
  }
  const rows = [];
  const waiting = []; // a stack: what lies below comes first
  const spread = (of, deep, passes) => {
    const ways = children.get(of) ?? [];
    const main = ways.at(-1);
    const below = of === null ? null : deep;
    if (main) waiting.push({ node: main, deep, passes, below });
    for (const node of ways.slice(0, -1).reverse()) waiting.push({ node, deep: deep + 1, passes: [...passes, of === null ? null : main.id], below });
  };
  spread(null, 0, []);
  while (waiting.length) {
    const row = waiting.pop();
    rows.push({ ...row, above: children.get(row.node.id)?.at(-1).id ?? null });
    spread(row.node.id, row.deep, row.passes);
  }
  return rows.reverse();
}

const dates = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" });

/** "5 min ago" */
export function ago(at, now = Date.now()) {
  const minutes = Math.round((now - at) / 60_000);
  if (minutes < 1) return "just now";
  if (minutes < 60) return `${minutes} min ago`;
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)} h ago`;
  return dates.format(at);
}

/** The run that a state came of: that of the layer that a fill has just put there. */
export const runOf = (state) => state.layers.find(({ id, kind }) => id === state.active && kind === "fill")?.facts?.run ?? null;

/**
 * `room`: current() {id} or null, busy() whether variations are looked at, ready() settles what is half done, settled()
 * resolves when the server has all, picked() that the layer that a fill has put there was come to, openSteps(run), notice,
 * report, announce.
 */
export function createPast(canvas, room) {
  let tree = { of: null, nodes: [], newest: false }; // as the server had it last, and whether nothing has changed since
  let rows = [];
  let [from, to] = [0, PART]; // of the rows, those that are drawn
  let going = false;

  const note = h("small", { class: "wb-history-note" }, "other ways stay");
  const later = button("quiet small", "Show later", null, () => move(-1));
  const earlier = button("quiet small", "Show earlier", null, () => move(1));
  const list = h("ol", { class: "wb-history-list", "aria-label": "Changes, newest first" });
  const scroll = h("div", { class: "wb-history-scroll" }, later, list, earlier);
  const panel = h("div", { class: "wb-history" }, h("div", { class: "wb-history-head" }, h("h3", {}, "History"), note), scroll);
  const opener = button("quiet icon wb-history-button", "History", "branch");
  const drop = menu(opener, "History", () => (look(), [panel]), "dialog");
  const open = () => drop.element.matches(":popover-open");

  drop.element.addEventListener("toggle", (event) => {
    if (event.newState === "open") (list.querySelector("[aria-current]") ?? list.querySelector("button"))?.focus();
  });
  list.addEventListener("keydown", (event) => {
    const all = [...list.querySelectorAll(".wb-history-node")];
    const at = all.indexOf(document.activeElement);
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (next === undefined || at < 0) return;
    event.preventDefault();
    all[Math.max(0, Math.min(all.length - 1, next))].focus();
  });
  for (const name of ["change", "amended", "history", "loaded"]) canvas.on(name, turned);

  function turned() {
    tree.newest = false;
    if (open()) draw();
  }

  /** The panel opens: what is known is drawn at once, what the server has as soon as it says so. */
  function look() {
    order();
    reveal();
    drawRows();
    refresh(reveal);
  }

  /** Draws the part in which the state that is shown stands. */
  function reveal() {
    const here = rows.findIndex(({ node }) => node.id === canvas.history.head);
    from = here < PART ? 0 : here - PART / 2;
    to = from + PART;
  }

  async function refresh(first = () => {}) {
    const of = room.current()?.id;
    if (!of) return;
    try {
      const { history } = await server.readHistory(of);
      tree = { of, nodes: history, newest: true };
    } catch (problem) {
      if (!server.expected(problem)) throw problem;
      note.textContent = "the studio is not answering";
      return;
    }
    note.textContent = "other ways stay";
    if (!open() || room.current()?.id !== of) return;
    order();
    first();
    drawRows();
  }

  function order() {
    const { entries, aside } = canvas.history;
    const nodes = tree.of === room.current()?.id ? tree.nodes : [];
    const known = new Set(nodes.map(({ id }) => id));
    const fresh = [...aside, ...entries].filter(({ id, stored }) => !known.has(id) && !(stored && tree.newest)); // else it was let go
    rows = rowsOf([...nodes, ...fresh]);
  }

  function draw() {
    order();
    drawRows();
  }

  function drawRows() {
    const kept = list.querySelector(":focus")?.dataset.id;
    const { entries, index } = canvas.history;
    const places = new Map(entries.map(({ id }, k) => [id, k]));
    list.replaceChildren(...rows.slice(from, to).map((row) => line(row, places, index)));
    later.hidden = from <= 0;
    earlier.hidden = to >= rows.length;
    later.title = `${count(from)} more`;
    earlier.title = `${count(rows.length - to)} more`;
    if (kept) focus(kept);
  }

  const focus = (id) => list.querySelector(`[data-id="${CSS.escape(id)}"]`)?.focus();

  /** Earlier (1) or later (-1) rows come, and where there are too many, those at the other end go. */
  function move(way) {
    const edge = way > 0 ? rows[to] : rows[from - 1];
    if (way > 0) [from, to] = [Math.max(from, to + PART - MOST), to + PART];
    else [from, to] = [Math.max(0, from - PART), Math.min(to, from - PART + MOST)];
    drawRows();
    focus(edge.node.id);
  }

  function line(row, places, index) {
    const { node } = row;
    const place = places.get(node.id);
    const [shown, other] = [place === index, place === undefined];
    const told = [];
    if (shown) told.push("shown now");
    else if (place > index) told.push("undone");
    else if (other && places.has(node.parent)) told.push("another way");
    if (node.at) told.push(ago(node.at));
    else if (!node.stored) told.push("not saved yet");
    const label = node.label || "Change";
    const small = h("small", {}, told.join(" · "), other && !places.has(node.parent) ? h("span", { class: "wb-hidden-words" }, ", on another way") : null);
    const pick = h(
      "button",
      { type: "button", class: "wb-history-node", "data-id": node.id, "aria-current": shown ? "true" : null, onclick: () => go(node) },
      drawn(row, (id) => places.has(id)),
      h("span", { class: "wb-menu-words" }, h("span", {}, label), small),
    );
    const steps = PAINTED.test(label) && node.at ? button("quiet icon", `Steps of ${label}`, "steps", () => openSteps(node)) : null;
    return h("li", { class: other ? "other" : place > index ? "ahead" : "" }, pick, steps);
  }

  /** The columns beside a row: lines that pass, and its own with a dot. What undo and redo follow is marked. */
  function drawn({ node, deep, passes, below, above }, onLine) {
    const last = Math.min(deep, COLUMNS - 1);
    const x = (column) => 8 + Math.min(column, last) * COLUMN;
    const mark = (id, x1, y1, x2, y2) => svg("line", { x1, y1, x2, y2, ...(onLine(id) && { class: "path" }) });
    const lines = passes.slice(0, last).flatMap((id, column) => (id === null ? [] : [mark(id, x(column), "0", x(column), "100%")]));
    if (above !== null) lines.push(mark(above, x(deep), "0", x(deep), "50%"));
    if (below !== null) lines.push(mark(node.id, x(deep), "50%", x(below), "100%"));
    const dot = svg("circle", { cx: x(deep), cy: "50%", r: 4, ...(onLine(node.id) && { class: "path" }) });
    return svg("svg", { class: "wb-history-lines", width: 16 + last * COLUMN, "aria-hidden": "true" }, ...lines, dot);
  }

  async function attempt(work) {
    if (going) return;
    going = true;
    list.setAttribute("aria-busy", "true");
    try {
      await work(room.current().id);
    } catch (problem) {
      room.report(problem);
      if (problem.status) refresh(); // it is there no more
    } finally {
      going = false;
      list.removeAttribute("aria-busy");
    }
  }

  const go = (node) =>
    attempt(async (id) => {
      if (node.id === canvas.history.head) return;
      if (room.busy()) return room.notice("Keep a variation or discard them first.", true);
      await room.ready();
      if (canvas.history.entries.some((entry) => entry.id === node.id)) await canvas.history.goTo(node.id);
      else {
        await room.settled(); // what the server lacks would be on no line
        if (room.current()?.id !== id) return;
        if (!(await visit(canvas, id, node.id, () => room.current()?.id === id))) return;
      }
      if (PAINTED.test(node.label)) room.picked(); // with what it was asked for
      room.announce(`${node.label || "Change"} is shown.`);
    });

  const openSteps = (node) =>
    attempt(async (id) => {
      const run = runOf(await server.readState(id, node.id));
      if (!run) return room.notice("No recorded run belongs to this change.");
      drop.close();
      room.openSteps(run);
    });

  return {
    opener,
    /** What the sync says: when the server has all that was done, it is asked for it again. */
    synced: (state) => state === "saved" && open() && refresh(),
  };
}
