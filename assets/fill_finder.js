// All documents in a room over the page: looked for by words of their names, page after page; and the bin.

import { button, h, icon } from "./dom.js";
import { ask, count } from "./fill_parts.js";
import * as server from "./fill_server.js";
import { segments } from "./steps_marks.js";

const TYPED = 160; // ms after the last key until it is looked for

/** "today, 19:39", "yesterday, 08:02", "21 Nov, 19:39", "21 Nov 2024". */
function when(milliseconds, now = new Date()) {
  const date = new Date(milliseconds);
  const time = date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  const midnight = new Date(now.getFullYear(), now.getMonth(), now.getDate());
  if (date >= midnight) return `today, ${time}`;
  if (date >= new Date(midnight.getFullYear(), midnight.getMonth(), midnight.getDate() - 1)) return `yesterday, ${time}`;
  const day = { day: "numeric", month: "short" };
  return date.getFullYear() === now.getFullYear() ? `${date.toLocaleDateString("en-GB", day)}, ${time}` : date.toLocaleDateString("en-GB", { ...day, year: "numeric" });
}

const documents = (number) => `${count(number)} ${number === 1 ? "document" : "documents"}`;

/** `room`: current() {id} or null, open(id), closed() once the room was left. */
export function createFinder(room) {
  let bin = false; // whether the bin is looked into
  let entries = [];
  let cursor = null; // where the next page begins
  let counts = { count: 0, in_bin: 0 };
  let found = 0; // how many fit, those that are not listed yet included
  let asking = new AbortController();
  let typed = null;

  const field = h("input", { type: "search", class: "wb-field wb-finder-field", placeholder: "Words of the name", "aria-label": "Search the documents", autocomplete: "off", spellcheck: "false", maxlength: "200" });
  const shows = segments("Which documents", [["documents", "Documents"], ["bin", "Bin"]], (which) => look(which === "bin"));
  const rows = h("ul", { class: "wb-finder-rows" });
  const further = button("edged", "Show more", "chevron", more);
  const nothing = h("p", { class: "wb-finder-nothing" });
  const scroll = h("div", { class: "wb-finder-scroll" }, rows, nothing, further);
  const says = h("p", { class: "wb-finder-says", role: "status" });
  const emptier = button("", "Empty the bin", "bin", emptyBin);
  const dialog = h(
    "dialog",
    { class: "wb-dialog wb-finder", "aria-label": "All documents" },
    h("div", { class: "wb-dialog-head" }, h("h2", {}, "All documents"), shows.element, button("quiet icon wb-close", "Close", "cross", () => dialog.close())),
    h("div", { class: "wb-finder-search" }, field),
    scroll,
    h("div", { class: "wb-dialog-foot" }, says, emptier),
  );
  document.querySelector(".gradio-container").append(dialog);

  field.addEventListener("input", () => {
    clearTimeout(typed);
    typed = setTimeout(search, TYPED);
  });
  field.addEventListener("keydown", async (event) => {
    if (event.key === "Escape") (event.preventDefault(), dialog.close()); // and not only what was typed goes
    if (event.key !== "Enter" || event.isComposing) return;
    event.preventDefault();
    if ((await search()) && !bin && entries.length) choose(entries[0]);
  });
  dialog.addEventListener("keydown", (event) => {
    const way = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const places = [field, ...rows.querySelectorAll("button:first-of-type")];
    const here = places.findIndex((place) => place === document.activeElement || (place !== field && place.parentElement.contains(document.activeElement)));
    if (!way || here < 0) return;
    event.preventDefault();
    places[Math.max(0, Math.min(here + way, places.length - 1))].focus();
  });
  dialog.addEventListener("close", () => {
    clearTimeout(typed);
    asking.abort();
    room.closed();
  });

  /** Asks for the first page of what fits. The latest answer wins; whether this one did. */
  async function search() {
    clearTimeout(typed);
    asking.abort();
    asking = new AbortController();
    const { signal } = asking;
    try {
      const answer = await server.documents({ query: field.value, bin }, signal);
      if (signal.aborted) return false;
      entries = [];
      rows.replaceChildren();
      take(answer);
      scroll.scrollTop = 0;
      return true;
    } catch (problem) {
      if (!signal.aborted) fail(problem);
      return false;
    }
  }

  async function more() {
    const { signal } = asking;
    const from = rows.children.length;
    try {
      const answer = await server.documents({ query: field.value, bin, cursor }, signal);
      if (signal.aborted) return;
      take(answer);
      rows.children[from]?.querySelector("button")?.focus();
    } catch (problem) {
      if (!signal.aborted) fail(problem);
    }
  }

  /** One more page. What was used meanwhile has moved up, and is listed once. */
  function take(answer) {
    const known = new Set(entries.map(({ id }) => id));
    const fresh = answer.documents.filter(({ id }) => !known.has(id));
    entries.push(...fresh);
    rows.append(...fresh.map(row));
    ({ cursor, found } = answer);
    counts = { count: answer.count, in_bin: answer.in_bin };
    draw();
  }

  function draw(words = "") {
    shows.press(bin ? "bin" : "documents");
    shows.button("documents").textContent = `Documents ${count(counts.count)}`;
    shows.button("bin").textContent = `Bin ${count(counts.in_bin)}`;
    const total = bin ? counts.in_bin : counts.count;
    const searched = field.value.trim() !== "";
    further.hidden = cursor === null;
    emptier.hidden = !bin || !counts.in_bin;
    nothing.hidden = entries.length > 0;
    nothing.textContent = searched && total ? "Nothing fits. All words have to stand in the name." : bin ? "The bin is empty. What is deleted waits here for 30 days." : "No documents yet.";
    const all = searched ? `${count(found)} found` : documents(total);
    const far = cursor === null ? all : `${count(entries.length)} of ${all}`;
    says.textContent = words || (entries.length ? far : "");
  }

  function row(entry) {
    const { id, name, width, height, used_at: used, binned_at: binned } = entry;
    const image = h("img", { src: server.documentThumbnail(entry), alt: "", loading: "lazy", decoding: "async" });
    const words = h("span", { class: "wb-finder-words" }, h("b", {}, name), h("small", {}, `${width} × ${height} px, ${bin ? `deleted ${when(binned)}` : `used ${when(used)}`}`));
    const element = h("li", {});
    if (bin) {
      const back = button("edged small", "Restore", "reset", () => move(entry, element, server.restoreDocument, "is back among the documents."));
      back.setAttribute("aria-label", `Restore ${name}`);
      element.append(h("div", { class: "wb-finder-open" }, image, words), back);
      return element;
    }
    const here = id === room.current()?.id;
    const opener = h("button", { type: "button", class: "wb-finder-open", "aria-current": here ? "true" : null, onclick: () => choose(entry) }, image, words);
    element.append(opener, here ? h("span", { class: "wb-finder-here" }, icon("check", true), "open now") : button("quiet icon", `Put ${name} into the bin`, "bin", () => move(entry, element, server.deleteDocument, "is in the bin.")));
    return element;
  }

  function choose({ id }) {
    dialog.close();
    if (id !== room.current()?.id) room.open(id);
  }

  /** A document goes into the bin, or comes out of it: it leaves this list. */
  async function move(entry, element, act, words) {
    try {
      await act(entry.id);
    } catch (problem) {
      return fail(problem);
    }
    const next = element.nextElementSibling ?? element.previousElementSibling;
    element.remove();
    entries = entries.filter(({ id }) => id !== entry.id);
    found -= 1;
    if (cursor !== null) cursor -= 1; // everything below has moved up by one
    const by = bin ? 1 : -1;
    counts = { count: counts.count + by, in_bin: counts.in_bin - by };
    draw(`“${entry.name}” ${words}`);
    (next?.querySelector("button") ?? field).focus();
    return undefined;
  }

  async function emptyBin() {
    try {
      const { in_bin: many } = await server.documents({ bin: true, limit: 1 });
      if (!many) return look(true); // another window was quicker
      const words = `${documents(many)} ${many === 1 ? "goes" : "go"} for good, with all layers and the history. This is final: nothing brings ${many === 1 ? "it" : "them"} back.`;
      if (!(await ask("Empty the bin?", words, [[null, "Cancel", "quiet"], [true, "Empty the bin", "primary"]]))) return undefined;
      const { deleted } = await server.emptyDocumentBin();
      field.value = "";
      await look(true);
      draw(`${documents(deleted)} ${deleted === 1 ? "is" : "are"} gone for good.`);
    } catch (problem) {
      fail(problem);
    }
    return undefined;
  }

  /** Turns to the documents, or to the bin. */
  function look(into) {
    bin = into;
    shows.press(bin ? "bin" : "documents");
    return search().then(() => dialog.open && field.focus());
  }

  function fail(problem) {
    if (!server.expected(problem)) throw problem;
    says.textContent = problem.message;
  }

  return {
    open(into = false) {
      field.value = "";
      if (!dialog.open) dialog.showModal();
      look(into);
      field.focus();
    },
  };
}
