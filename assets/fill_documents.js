// The documents in a small menu: open, new, rename, duplicate, delete and take that back. All of them: fill_finder.js.

import { button, h, icon } from "./dom.js";
import { createFinder } from "./fill_finder.js";
import { address } from "./fill_link.js";
import { askWords, count, menu } from "./fill_parts.js";
import * as server from "./fill_server.js";

const SHOWN = 12; // documents in the menu
const STATES = { saved: "Saved", saving: "Saving…", waiting: "Not saved yet, trying again" };
const SIZES = [64, 4096]; // px
const GONE = "The document of this address is not here: it was deleted for good, or it is somebody else’s.";

const KINDS = [
  ["png", "PNG", "one flat picture"],
  ["psd", "Photoshop", "all layers"],
  ["ora", "OpenRaster", "all layers, for Krita and GIMP"],
  ["wavebrush", "wavebrush", "everything, with masks, to open here again"],
];

/** `room`: current() {id, name} or null, open(id), closed(), make(width, height), file(), export(kind), mask(), notice, report, model(). */
export function createDocuments(room) {
  let list = []; // those that were used last
  let counts = { count: 0, in_bin: 0 };
  let further = false; // whether there are more than the list has
  const name = h("b", {}, "Fill");
  const state = h("small", {}, "");
  const opener = h("button", { type: "button", class: "wb-document-name" }, h("span", {}, name, state), icon("chevron", true));
  const chooser = menu(opener, "Documents", rows);
  const exporter = button("quiet icon", "Save as a file", "down");
  menu(exporter, "Save as a file", () => [
    ...KINDS.map(([kind, label, note]) => ({ label, note, act: () => room.export(kind), disabled: !room.current() })),
    "-",
    { label: "The mask as PNG", act: () => room.mask(), disabled: !room.current() },
  ]);
  const finder = createFinder({
    current: room.current,
    open: (id) => attempt(() => room.open(id)),
    closed: () => room.current() || refresh().then(() => room.current() || room.closed()), // something may be there again
  });
  chooser.element.addEventListener("beforetoggle", (event) => event.newState === "open" && refresh().then(chooser.redraw));

  function rows() {
    const here = room.current();
    const size = room.model();
    return [
      { label: "New, empty", icon: "plus", note: "you choose its size", act: () => makeNew(size) },
      { label: "Open a picture or a file", icon: "open", act: () => room.file() },
      "-",
      { label: "Rename", icon: "brush", act: rename, disabled: !here },
      { label: "Duplicate", icon: "copy", act: duplicate, disabled: !here },
      { label: "Delete", icon: "bin", danger: true, act: remove, disabled: !here },
      "-",
      { label: "All documents…", icon: "zoom", note: `${count(counts.count)}, and ${count(counts.in_bin)} in the bin`, act: () => finder.open() },
      ...(list.length ? [h("div", { class: "wb-menu-title", "aria-hidden": "true" }, "Used last")] : []),
      ...list.slice(0, SHOWN).map((entry) => {
        const row = h("button", { type: "button", role: "menuitem", "aria-current": entry.id === here?.id ? "true" : null }, h("img", { src: server.documentThumbnail(entry), alt: "", loading: "lazy" }), h("span", { class: "wb-menu-words" }, h("span", {}, entry.name), h("small", {}, `${entry.width} × ${entry.height} px`)));
        row.addEventListener("click", () => {
          chooser.close();
          if (entry.id !== room.current()?.id) attempt(() => room.open(entry.id));
        });
        return row;
      }),
    ];
  }

  async function refresh() {
    try {
      const answer = await server.documents();
      list = answer.documents;
      counts = { count: answer.count, in_bin: answer.in_bin };
      further = answer.cursor !== null;
    } catch (problem) {
      if (!server.expected(problem)) throw problem;
    }
    return list;
  }

  /**
   * Opens the document that the address asks for, if it does, or else the one that was `last` open here, or that was used
   * last. Where the address asks for one that cannot be opened, it says why.
   */
  async function arrive(asked, last) {
    await refresh();
    const missing = asked && (await missed(asked));
    if (asked && !missing) return room.open(asked);
    if (missing && room.current()) address(room.current().id); // it stays
    else {
      const known = last && last !== asked && (list.some(({ id }) => id === last) || (further && !(await missed(last))));
      const id = known ? last : list[0]?.id;
      await (id ? room.open(id) : room.closed());
    }
    if (!missing) return undefined;
    const here = room.current();
    const back = missing.binned && ["Bring it back", () => attempt(() => server.restoreDocument(asked).then(() => room.open(asked)))];
    return room.notice(`${missing.words}${here ? ` This is “${here.name}”.` : ""}`, true, back || null);
  }

  /** Why a document cannot be opened: {words, binned}; null where it can. */
  async function missed(id) {
    if (list.some((entry) => entry.id === id)) return null;
    try {
      const { name: itsName, binned_at: binned } = await server.readDocument(id);
      return binned === null ? null : { words: `“${itsName}” is in the bin.`, binned: true };
    } catch (problem) {
      if (!problem.status) throw problem; // nobody answered: asked again
      return { words: problem.status === 404 ? GONE : problem.message, binned: false };
    }
  }

  async function attempt(work) {
    try {
      await work();
    } catch (problem) {
      room.report(problem);
    }
  }

  const rename = () =>
    attempt(async () => {
      const { id, name: old } = room.current();
      const wanted = await askWords("Name of the document", old, "Rename");
      if (!wanted || wanted === old) return;
      const facts = await server.renameDocument(id, wanted);
      room.renamed(facts.name);
    });

  const duplicate = () =>
    attempt(async () => {
      await room.settled();
      const copy = await server.duplicateDocument(room.current().id);
      await room.open(copy.id);
      room.notice(`This is “${copy.name}”. The other one is as it was.`);
    });

  const remove = () =>
    attempt(async () => {
      const { id, name: gone } = room.current();
      await server.deleteDocument(id);
      const others = (await refresh()).filter((entry) => entry.id !== id);
      if (others.length) await room.open(others[0].id);
      else room.closed();
      room.notice(`“${gone}” is in the bin.`, false, ["Undo", () => attempt(() => server.restoreDocument(id).then(() => room.open(id)))]);
    });

  function makeNew(size) {
    const side = (label, value) => {
      const field = h("input", { type: "number", class: "wb-field", min: SIZES[0], max: SIZES[1], required: true, "aria-label": `${label} in pixels` });
      field.value = String(value);
      return field;
    };
    const [width, height] = [side("Width", size.width * 2), side("Height", size.height * 2)];
    const form = h("form", {}, h("div", { class: "wb-prompt-row" }, width, h("span", { style: "align-self: center" }, "×"), height), h("div", { class: "wb-question-foot" }, button("quiet", "Cancel", null, () => dialog.close()), h("button", { class: "wb-btn primary" }, "New document")));
    const dialog = h("dialog", { class: "wb-dialog wb-question", "aria-label": "New document" }, h("h2", {}, "New document"), h("p", {}, `Its size in pixels, ${SIZES[0]} to ${SIZES[1]} a side. The model's own size is ${size.width} × ${size.height}.`), form);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      dialog.close();
      attempt(() => room.make(Number(width.value), Number(height.value)));
    });
    dialog.addEventListener("close", () => dialog.remove());
    document.querySelector(".gradio-container").append(dialog);
    dialog.showModal();
    width.select();
  }

  return {
    opener,
    exporter,
    refresh,
    arrive,
    list: () => list,
    binned: () => counts.in_bin,
    openBin: () => finder.open(true),
    makeNew: () => makeNew(room.model()),
    /** While something else than a document is on the canvas. */
    away(on) {
      opener.disabled = exporter.disabled = on;
      state.textContent = on ? "a recorded step" : "";
      state.classList.remove("bad");
    },
    name(words) {
      name.textContent = words;
      opener.setAttribute("aria-description", "Documents");
      opener.title = words;
    },
    state(which) {
      state.textContent = STATES[which] ?? "";
      state.classList.toggle("bad", which === "waiting");
      exporter.disabled = !room.current();
    },
  };
}
