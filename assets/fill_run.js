// One fill from asking to keeping: what is sent, the job that is followed, its variations staged on the canvas.

import { asRgba, decodePng } from "./canvas_png.js";
import { expanded } from "./fill_expand.js";
import { packed } from "./fill_packing.js";
import * as server from "./fill_server.js";
import { requestOf, SEEDS } from "./fill_settings.js";
import { ask, ended, follow, previewAddress, stop } from "./server.js";

const RETRY = 2000; // ms until the stream is asked for again

/** A picture as a 2D canvas, to be drawn small. For looking at only: a 2D canvas loses bits where alpha is low. */
function drawable(picture) {
  const { width, height, data } = asRgba(picture);
  const made = Object.assign(document.createElement("canvas"), { width, height });
  made.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(data.buffer, data.byteOffset, data.byteLength), width, height), 0, 0);
  return made;
}

/**
 * `room`: model(), presets(), journal(), changed(), failed(problem), finished(snapshot). One fill at a time; asking again
 * while it runs is refused by the button.
 */
export function createFillRun(canvas, room) {
  let asked = null; // {wish, offset, box, rerun, frame}: what the job was made of
  let job = null; // its newest snapshot
  let looked = null; // the slot that is shown; null is "Before"
  let following = true; // shows what is painted until the person chooses
  let unfollow = () => {};
  let retry = null;
  let pictures = new Map(); // slot -> {id, picture, x, y}, in the document's pixels
  let before = null; // what the frame shows without a variation
  let preview = null; // the key of the preview that is staged

  const running = () => job !== null && !ended(job);
  const frame = () => job?.pictures[0]?.frame ?? asked?.frame;

  /** Sends pixels and asks. `values`: the settings; `box`: the frame of an expansion, or null; `rerun`: a layer, or null. */
  async function begin(values, { box = null, rerun = null }) {
    const request = requestOf(values, room.model(), room.presets());
    const { source, mask, grow, feather } = await inputs(box, rerun);
    const [sourceId, maskId] = await Promise.all([packed(source).then(server.uploadPixels), packed(mask).then(server.uploadPixels)]);
    const wish = { source: sourceId, mask: maskId, count: values.count, request: { ...request, grow, feather } };
    await submit({ wish, box, offset: box ? { x: -box.x, y: -box.y } : { x: 0, y: 0 }, rerun: rerun?.id ?? null });
  }

  async function inputs(box, rerun) {
    if (box) {
      const made = expanded(canvas.composite(), box);
      return { ...made, grow: 0, feather: made.overlap };
    }
    if (rerun) {
      const { grow, feather } = rerun.facts.fill;
      const kept = await keptMask(rerun.facts, canvas);
      return { source: canvas.composite({ without: [rerun.id] }), mask: kept ?? outlineOf(rerun.id), grow: kept ? grow : 0, feather };
    }
    return { source: canvas.composite(), mask: canvas.rawMask(), grow: canvas.mask.grow, feather: canvas.mask.feather };
  }

  /** The mask of an earlier fill, as long as the server has it and the document has its size. */
  async function keptMask({ mask: id }, { width, height }) {
    try {
      const mask = id ? await decodePng(await server.pixels(id)) : null;
      return mask?.channels === 1 && mask.width === width && mask.height === height ? mask : null;
    } catch (problem) {
      if (problem.status === 404) return null;
      throw problem;
    }
  }

  /** Where a layer has pixels, as a mask: it is grown already, and feathered again. */
  function outlineOf(id) {
    const alone = canvas.composite({ without: canvas.layers.filter((layer) => layer.id !== id).map((layer) => layer.id) });
    const data = new Uint8Array(alone.width * alone.height);
    for (let k = 0; k < data.length; k += 1) data[k] = alone.data[k * 4 + 3] ? 255 : 0;
    return { width: alone.width, height: alone.height, channels: 1, data };
  }

  async function submit(next) {
    const snapshot = await server.fill(next.wish);
    clear();
    asked = next;
    room.journal()?.fill({ job: snapshot.id, asked });
    take(snapshot);
    listen();
  }

  function listen() {
    unfollow();
    clearTimeout(retry);
    if (running()) unfollow = follow(job.id, take, () => (retry = setTimeout(again, RETRY)));
  }

  /** The stream broke off: the job may have gone on, or the studio was started anew. */
  async function again() {
    if (!job) return;
    try {
      take(await ask(`jobs/${job.id}`));
      listen();
    } catch (problem) {
      if (problem.status === 404) lose();
      else if (server.expected(problem)) retry = setTimeout(again, RETRY);
      else throw problem;
    }
  }

  function lose() {
    const kept = job?.pictures.some(({ layer }) => layer);
    if (!kept) discard();
    else take({ ...job, state: "failed", error: "The studio was started anew, which ended the fill. Its finished variations are here." });
    if (!kept) room.failed(new Error("The studio was started anew, which ended the fill."));
  }

  function take(snapshot) {
    const first = job === null;
    const over = !first && !ended(job) && ended(snapshot);
    job = snapshot;
    if (first && frame()) before = cropped();
    for (const [slot, { layer }] of job.pictures.entries()) if (layer && !pictures.has(slot)) fetch(slot, layer);
    if (running() && following) stagePreview();
    if (over || (first && ended(job))) settle();
    room.changed();
  }

  async function fetch(slot, layer) {
    pictures.set(slot, null); // it is on its way
    const mine = job.id;
    try {
      const picture = asRgba(await decodePng(await server.pixels(layer.pixels)));
      if (job?.id !== mine) return;
      pictures.set(slot, { ...layer, picture });
      if (ended(job) && looked === null && following) choose(slot, false);
      else if (looked === slot) stage();
      room.changed();
    } catch (problem) {
      pictures.delete(slot);
      if (job?.id === mine) room.failed(problem);
    }
  }

  function settle() {
    preview = null;
    const first = job.pictures.findIndex((_, slot) => pictures.get(slot));
    if (following && first >= 0) choose(first, false);
    else if (looked === null) canvas.overlay.setStaged(null);
    room.finished(job);
  }

  /** What the frame holds now; beyond the picture, nothing. */
  function cropped() {
    const box = frame();
    const { x, y } = asked.offset;
    const whole = canvas.composite(asked.rerun ? { without: [asked.rerun] } : {});
    const made = new Uint8Array(box.width * box.height * 4);
    for (let row = 0; row < box.height; row += 1) {
      const from = box.y + row - y;
      if (from < 0 || from >= whole.height) continue;
      const left = Math.max(0, box.x - x);
      const right = Math.min(whole.width, box.x - x + box.width);
      if (right > left) made.set(whole.data.subarray((from * whole.width + left) * 4, (from * whole.width + right) * 4), (row * box.width + left - (box.x - x)) * 4);
    }
    return { width: box.width, height: box.height, channels: 4, data: made };
  }

  /** The newest preview, where it will lie, and only where the mask lets it. */
  function stagePreview() {
    const key = `${job.index} ${job.preview}`;
    if (job.preview === null || job.preview === undefined || preview === key || preview === "loading") return;
    preview = "loading";
    const mine = job.id;
    const image = new Image();
    image.onerror = () => (preview = null);
    image.onload = () => {
      if (job?.id !== mine || !running() || !following) return;
      preview = key;
      const box = frame();
      const flat = Object.assign(document.createElement("canvas"), { width: box.width, height: box.height });
      const context = flat.getContext("2d", { willReadFrequently: true });
      context.drawImage(image, 0, 0, box.width, box.height);
      const { data } = context.getImageData(0, 0, box.width, box.height);
      if (!asked.box) {
        const strength = canvas.effectiveMask({ box }).data;
        if (!asked.rerun) for (let k = 0; k < strength.length; k += 1) data[k * 4 + 3] = strength[k];
      }
      canvas.overlay.setStaged({ picture: { width: box.width, height: box.height, channels: 4, data: new Uint8Array(data.buffer) }, x: box.x - asked.offset.x, y: box.y - asked.offset.y });
      if (running()) stagePreview();
    };
    image.src = previewAddress(job.id, job.preview);
  }

  function stage() {
    const shown = looked === null ? null : pictures.get(looked);
    canvas.overlay.setStaged(shown ? { picture: shown.picture, x: shown.x - asked.offset.x, y: shown.y - asked.offset.y } : null);
  }

  function choose(slot, byPerson = true) {
    if (byPerson) following = slot !== null && !pictures.get(slot) && running();
    looked = following && byPerson ? null : slot;
    preview = null;
    if (following && running()) stagePreview();
    else stage();
    room.changed();
  }

  /** The chosen variation becomes a layer of its own; its request stays with it. Answers the count of the comparison. */
  function keep() {
    const slot = job.pictures[looked];
    const { picture, pixels, x, y } = pictures.get(looked);
    const { intent, painting } = slot.fill;
    const facts = { fill: slot.fill, run: slot.id, frame: slot.frame, drawn: Boolean(asked.wish.request.context), margin: asked.wish.request.margin ?? null, mask: asked.wish.mask };
    const words = painting.prompt.trim().split(/\s+/).filter(Boolean).slice(0, 6).join(" ").slice(0, 60);
    const named = { remove: "Removed", expand: "Beyond" }[intent];
    const name = words ? words.charAt(0).toUpperCase() + words.slice(1) : (named ?? intent.charAt(0).toUpperCase() + intent.slice(1));
    const old = canvas.layers.find(({ id }) => id === asked.rerun);
    const label = `${intent.charAt(0).toUpperCase() + intent.slice(1)}: ${name}`;
    const { box, offset } = asked;
    clear();
    canvas.group(label, () => {
      if (box) canvas.resize(box.width, box.height, offset.x, offset.y, { label });
      canvas.addLayer({ name, kind: "fill", x, y, facts, picture, pixels, ...(old ? { above: old.id } : {}) });
      if (old) canvas.removeLayer(old.id);
    });
    return slot.count;
  }

  function more(values) {
    const seed = values.seed === null ? Math.floor(Math.random() * SEEDS) : (asked.wish.request.painting.seed + asked.wish.count) % SEEDS;
    const { request } = asked.wish;
    return submit({ ...asked, wish: { ...asked.wish, request: { ...request, painting: { ...request.painting, seed } } } });
  }

  function clear() {
    leave();
    room.journal()?.fill(null);
  }

  /** Looks at it no more; the journal of its document still knows of it. */
  function leave() {
    unfollow();
    clearTimeout(retry);
    asked = job = before = preview = null;
    looked = null;
    following = true;
    pictures = new Map();
    canvas.overlay.setStaged(null);
  }

  function discard() {
    clear();
    room.changed();
  }

  /** Draws the crop of a slot, or of what was there before (null), into a canvas element. */
  function draw(slot, element) {
    if (!before) return;
    const scale = Math.min(element.width / before.width, element.height / before.height);
    const [width, height] = [before.width * scale, before.height * scale];
    const [left, top] = [(element.width - width) / 2, (element.height - height) / 2];
    const context = element.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(drawable(before), left, top, width, height);
    const shown = slot === null ? null : pictures.get(slot);
    const box = frame();
    if (shown) context.drawImage(drawable(shown.picture), left + (shown.x - box.x) * scale, top + (shown.y - box.y) * scale, shown.picture.width * scale, shown.picture.height * scale);
  }

  /** After a reload: the job that the journal speaks of. */
  async function resume(kept) {
    if (!kept?.job || !kept.asked) return;
    try {
      const snapshot = await ask(`jobs/${kept.job}`);
      asked = kept.asked;
      take(snapshot);
      listen();
    } catch (problem) {
      if (problem.status === 404) room.journal()?.fill(null);
      else if (server.expected(problem)) {
        retry = setTimeout(() => resume(kept), RETRY);
      } else throw problem;
    }
  }

  return {
    begin,
    more,
    keep,
    discard,
    leave,
    choose,
    draw,
    resume,
    running,
    ready: (slot) => Boolean(pictures.get(slot)),
    stop: () => job && stop(job.id, true).catch((problem) => room.failed(problem)),
    /** The snapshot as the variations show it: a slot has its layer only when its pixels are here. */
    shown: () => job && { ...job, pictures: job.pictures.map((picture, slot) => ({ ...picture, layer: pictures.get(slot) ? picture.layer : null })) },
    /** The slot that is shown, the one being painted included; null is "Before". */
    looked: () => (running() && following ? job.index : looked),
    count: () => (looked === null ? null : (job?.pictures[looked]?.count ?? null)),
    frame: () => (job && asked ? { ...frame(), x: frame().x - asked.offset.x, y: frame().y - asked.offset.y } : null),
    busy: () => job !== null,
  };
}
