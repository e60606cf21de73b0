// Files in and out: opened, pasted, dropped, saved. Whatever picture a stranger gives becomes lossless pixels on the
// server first; here it is only asked what to do with it.

import { h } from "./dom.js";
import { asRgba, decodePng } from "./canvas_png.js";
import { carriedFill } from "./fill_carried.js";
import { documentOfPicture, nameOf } from "./fill_document.js";
import { packed } from "./fill_packing.js";
import { ask } from "./fill_parts.js";
import * as server from "./fill_server.js";
import { INTENTS } from "./fill_settings.js";

const LARGEST = 64 * 2 ** 20; // bytes of a file
const OWN = /\.(wavebrush|zip)$/i;

const baseName = (file) => nameOf(file.name.replace(/\.[^.]*$/, "").replace(/[_-]+/g, " "), "Picture");
const holdsFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");

/** Lets the browser save bytes, or what an address gives, as a file. */
export function save(content, name) {
  const address = content instanceof Blob ? URL.createObjectURL(content) : content;
  const link = h("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  if (content instanceof Blob) setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/**
 * `room`: element, visible(), canPlace() whether there is a document to put a layer into, open(id) a document,
 * restore(fill) its settings, notice(words, bad), report(problem), busy(promise).
 */
export function createFiles(canvas, room) {
  const drop = h("div", { class: "wb-fill-drop" }, h("p", {}, "Drop the picture to open it"));
  const field = h("input", { type: "file", accept: "image/*,.wavebrush", hidden: true, "aria-label": "A picture or a wavebrush file" });
  const maskField = h("input", { type: "file", accept: "image/*", hidden: true, "aria-label": "A mask" });

  /** Asks what to do with a file where both is possible, and does it. */
  async function take(file, how = null) {
    if (file.size > LARGEST) return room.notice(`${file.name} has ${Math.round(file.size / 2 ** 20)} MB. At most 64 MB can be opened.`, true);
    const own = OWN.test(file.name);
    const fill = how || own ? null : await carriedFill(file);
    const places = room.canPlace() && !own;
    let way = how ?? (places || fill ? null : "document");
    if (!way) {
      const ways = [["layer", "As a layer"], ["document", "As a new document", fill ? "" : "primary"], ["fill", "Restore its fill", "primary"]];
      const words = fill ? `${file.name} is a fill, and carries what it was made of: its frame, its mask and its settings.` : file.name;
      way = await ask("Open this picture", words, ways.filter(([name]) => name === "document" || (name === "layer" ? places : fill)));
    }
    if (way === "document") return room.busy(asDocument(file));
    if (way === "layer") return room.busy(asLayer(file));
    if (way === "fill") return room.busy(asFill(file, fill));
    return undefined;
  }

  async function asDocument(file) {
    const { id, notes = [] } = await server.importDocument(file, baseName(file));
    await room.open(id);
    if (notes.length) room.notice(notes.join(" "));
  }

  /** What a fill was made of: its frame as a document, its mask on it, and what was asked for in the prompt bar. */
  async function asFill(file, { request, exact, notes, source, mask }) {
    const name = nameOf(request.painting.prompt, baseName(file));
    const [state, pixels] = await Promise.all([documentOfPicture(source, name), packed(mask).then(server.uploadPixels)]);
    state.mask.feather = request.feather;
    const { id } = await server.makeDocument(name, state);
    await room.open(id);
    canvas.mask.combine(mask, "replace", { label: "Restore the mask", pixels });
    room.restore(request);
    room.notice(["The fill is as it was asked for.", exact ? `${INTENTS[request.intent].label}, and the same comes again.` : "It may come out otherwise.", ...notes].join(" "));
  }

  async function asLayer(file) {
    const { id, width, height, notes = [], picture: ours } = await server.openPicture(file);
    const facts = ours ? { picture: ours, run: ours } : null; // it is one of the gallery's
    const picture = asRgba(await decodePng(await server.pixels(id)));
    const middle = (whole, part) => Math.round((whole - part) / 2);
    canvas.addLayer({ name: baseName(file), kind: "picture", facts, picture, pixels: id, x: middle(canvas.width, width), y: middle(canvas.height, height) });
    const beyond = width > canvas.width || height > canvas.height ? [`It is ${width} × ${height} px, larger than the document. What lies beyond is kept.`] : [];
    if (notes.length || beyond.length) room.notice([...notes, ...beyond].join(" "));
  }

  /** A mask from a file: bright is inside; where a picture has holes, what is seen is inside. */
  async function asMask(file) {
    const { id, width, height } = await server.openPicture(file, "mask");
    if (width !== canvas.width || height !== canvas.height) {
      return room.notice(`This mask is ${width} × ${height} px and the document ${canvas.width} × ${canvas.height}. Open one of the same size.`, true);
    }
    canvas.mask.combine(await decodePng(await server.pixels(id)), "replace", { label: "Open a mask", pixels: id });
    return undefined;
  }

  field.addEventListener("change", () => {
    const [file] = field.files;
    field.value = "";
    if (file) take(file);
  });
  maskField.addEventListener("change", () => {
    const [file] = maskField.files;
    maskField.value = "";
    if (file) room.busy(asMask(file));
  });

  // Before the listeners of the other tabs, which take a dropped file for the settings inside of it.
  let depth = 0;
  const veil = (open) => drop.toggleAttribute("data-open", open);
  const ours = (act) => (event) => {
    if (!room.visible() || !holdsFiles(event)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    act(event);
  };
  const capture = { capture: true };
  addEventListener("dragenter", ours(() => veil(++depth > 0)), capture);
  addEventListener("dragleave", ours(() => veil((depth = Math.max(0, depth - 1)) > 0)), capture);
  addEventListener("dragover", ours(() => {}), capture);
  addEventListener("drop", ours((event) => {
    veil((depth = 0) > 0);
    const [file] = event.dataTransfer.files;
    if (file) take(file);
  }), capture);
  addEventListener("paste", (event) => {
    if (!room.visible() || document.querySelector("dialog[open]")) return;
    const [file] = event.clipboardData?.files ?? [];
    if (!file) return;
    event.preventDefault();
    take(file.name ? file : new File([file], "Pasted picture.png", { type: file.type }));
  });

  return {
    drop,
    fields: [field, maskField],
    choose: () => field.click(),
    chooseMask: () => maskField.click(),
    async saveMask(name) {
      save(new Blob([await canvas.mask.png()], { type: "image/png" }), `${name}-mask.png`);
    },
    /** Downloads what the server makes of the document as it is kept there. */
    async export(id, kind) {
      save(server.exportAddress(id, kind), "");
    },
  };
}
