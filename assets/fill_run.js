// What was filled from asking to keeping: what is sent, the jobs that are followed, their variations staged on the canvas.

import { asRgba, decodePng } from "./canvas_png.js";
import { expanded } from "./fill_expand.js";
import { packed } from "./fill_packing.js";
import { ask as question } from "./fill_parts.js";
import * as server from "./fill_server.js";
import { requestOf, SEEDS } from "./fill_settings.js";
import { ask, ended, follow, previewAddress, stop } from "./server.js";

const RETRY = 2000; // ms until the stream is asked for again
const OTHERS = 32; // variations that a kept layer remembers, at the most: the newest

/** A picture as a 2D canvas, to be drawn small. For looking at only: a 2D canvas loses bits where alpha is low. */
function drawable(picture) {
  const { width, height, data } = asRgba(picture);
  const made = Object.assign(document.createElement("canvas"), { width, height });
  made.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(data.buffer, data.byteOffset, data.byteLength), width, height), 0, 0);
  return made;
}

/** Whether two fills are of the same mask and place, so that their variations can be chosen from together. */
const samePlace = (one, other) => !one.family && one.wish.mask === other.wish.mask && one.rerun === other.rerun && JSON.stringify(one.box) === JSON.stringify(other.box);

/**
 * `room`: model(), presets(), journal(), changed(), failed(problem), finished(snapshot). Fills of the same place stand side
 * by side until one variation is kept; one is painted at a time, and asking while it is is refused by the button.
 */
export function createFillRun(canvas, room) {
  // oldest first: {asked: {wish, offset, box, rerun}, job: its newest snapshot, pictures: slot -> {picture, x, y, …}, in the
  // pixels of what was sent}. Variations that came back to a layer are one of their own, and no job: see `recall`
  let batches = [];
  let looked = null; // {batch, slot}: the variation that is shown; null is "Before"
  let following = true; // shows what is painted until the person chooses
  let unfollow = () => {};
  let retry = null;
  let preview = null; // the key of the preview that is staged
  let visit = 0; // of how many documents this is
  let resuming = Promise.resolve();

  const newest = () => batches.at(-1);
  const running = () => batches.length > 0 && !ended(newest().job);
  const frameOf = ({ job }) => job.pictures[0]?.frame;
  const finishedOf = ({ job }) => job.pictures.filter(({ layer }) => layer).length;
  const variation = () => looked?.batch.pictures.get(looked.slot) ?? null;

  /** Slots are counted over all batches. */
  function slotAt(index) {
    let slot = index;
    for (const batch of batches) {
      if (slot < batch.job.pictures.length) return { batch, slot };
      slot -= batch.job.pictures.length;
    }
    return null;
  }

  function indexOf({ batch, slot }) {
    return batches.slice(0, batches.indexOf(batch)).reduce((sum, { job }) => sum + job.pictures.length, slot);
  }

  /** Sends pixels and asks. `values`: the settings; `box`: the frame of an expansion, or null; `rerun`: a layer, or null. */
  async function begin(values, { box = null, rerun = null }) {
    const mine = visit;
    const request = requestOf(values, room.model(), room.presets());
    const { source, mask, grow, feather } = await inputs(box, rerun);
    const [sourceId, maskId] = await Promise.all([packed(source).then(server.uploadPixels), packed(mask).then(server.uploadPixels)]);
    const wish = { source: sourceId, mask: maskId, count: values.count, request: { ...request, grow, feather } };
    const next = { wish, box, offset: box ? { x: -box.x, y: -box.y } : { x: 0, y: 0 }, rerun: rerun?.id ?? null };
    if (await mayGo(next)) await submit(next, mine);
  }

  /** Variations of another place than `next` would have to go: asks whether they may. */
  async function mayGo(next) {
    const many = batches.reduce((sum, batch) => sum + finishedOf(batch), 0);
    if (!many || newest().asked.family || samePlace(newest().asked, next)) return true;
    const title = many === 1 ? "One variation is not kept" : `${many} variations are not kept`;
    const words = "They are of another mask. Go back to keep one as a layer; what you discard stays in the gallery as pictures.";
    return (await question(title, many === 1 ? words.replace("They are", "It is") : words, [["back", "Go back", "primary"], ["discard", "Discard and fill"]])) === "discard";
  }

  async function inputs(box, rerun) {
    if (box) {
      const made = expanded(canvas.composite(), box);
      return { ...made, grow: 0, feather: made.overlap };
    }
    if (rerun) {
      const { grow, feather } = rerun.facts.fill;
      const kept = await keptMask(rerun.facts, canvas);
      const ids = canvas.layers.map(({ id }) => id);
      const without = ids.slice(ids.indexOf(rerun.id)); // it comes to lie below what lies above it
      return { source: canvas.composite({ without }), mask: kept ?? outlineOf(rerun.id), grow: kept ? grow : 0, feather };
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

  async function submit(next, mine = visit) {
    await resuming;
    const snapshot = await server.fill(next.wish);
    if (visit !== mine) return; // another document is open by now; what is painted is in the gallery
    if (batches.length && !samePlace(newest().asked, next)) forget();
    batches = batches.filter(finishedOf); // what came to nothing is not looked at any more
    if (!batches.includes(looked?.batch)) looked = null;
    following = true;
    const batch = { asked: next, job: snapshot, pictures: new Map() };
    batches.push(batch);
    note();
    take(batch, snapshot, true);
    listen();
  }

  /** The journal knows of all that are looked at. */
  function note() {
    const jobs = batches.filter(({ asked }) => !asked.family).map(({ job, asked }) => ({ job: job.id, asked }));
    room.journal()?.fill(jobs.length ? { jobs } : null);
  }

  function listen() {
    unfollow();
    clearTimeout(retry);
    const batch = newest();
    if (running()) unfollow = follow(batch.job.id, (snapshot) => take(batch, snapshot), () => (retry = setTimeout(again, RETRY)));
  }

  /** The stream broke off: the job may have gone on, or the studio was started anew. */
  async function again() {
    const batch = newest();
    if (!batch) return;
    try {
      take(batch, await ask(`jobs/${batch.job.id}`));
      listen();
    } catch (problem) {
      if (problem.status === 404) lose(batch);
      else if (server.expected(problem)) retry = setTimeout(again, RETRY);
      else throw problem;
    }
  }

  function lose(batch) {
    if (!batches.includes(batch)) return;
    if (finishedOf(batch)) return take(batch, { ...batch.job, state: "failed", error: "The studio was started anew, which ended the fill. Its finished variations are here." });
    drop();
    return room.failed(new Error("The studio was started anew, which ended the fill."));
  }

  /** A newer snapshot. `first`: nothing was known of the job before. */
  function take(batch, snapshot, first = false) {
    if (!batches.includes(batch)) return;
    const over = ended(snapshot) && (first || !ended(batch.job));
    batch.job = snapshot;
    for (const [slot, { layer }] of snapshot.pictures.entries()) if (layer && !batch.pictures.has(slot)) fetch(batch, slot, layer);
    if (running() && following) stagePreview();
    if (over) settle(batch);
    room.changed();
  }

  async function fetch(batch, slot, layer) {
    batch.pictures.set(slot, null); // it is on its way
    try {
      const picture = asRgba(await decodePng(await server.pixels(layer.pixels)));
      if (!batches.includes(batch)) return;
      batch.pictures.set(slot, { ...layer, picture });
      const rests = following && !running();
      if (rests && batch === newest() && looked?.batch !== batch) choose(indexOf({ batch, slot }), false);
      else if (looked?.batch === batch && looked.slot === slot) stage();
      room.changed();
    } catch (problem) {
      batch.pictures.delete(slot);
      if (batches.includes(batch)) room.failed(problem);
    }
  }

  function settle(batch) {
    preview = null;
    const first = batch.job.pictures.findIndex((_, slot) => batch.pictures.get(slot));
    if (following && first >= 0) choose(indexOf({ batch, slot: first }), false);
    else stage();
    room.finished(batch.job);
  }

  /** The newest preview, where it will lie, and only where the mask lets it. */
  function stagePreview() {
    const batch = newest();
    const { job, asked } = batch;
    const key = `${job.id} ${job.index} ${job.preview}`;
    if (job.preview === null || job.preview === undefined || preview === key || preview === "loading") return;
    preview = "loading";
    const image = new Image();
    image.onerror = () => (preview = null);
    image.onload = () => {
      if (newest() !== batch || !running() || !following) return;
      preview = key;
      const box = frameOf(batch);
      const flat = Object.assign(document.createElement("canvas"), { width: box.width, height: box.height });
      const context = flat.getContext("2d", { willReadFrequently: true });
      context.drawImage(image, 0, 0, box.width, box.height);
      const { data } = context.getImageData(0, 0, box.width, box.height);
      if (!asked.box) {
        const strength = canvas.effectiveMask({ box }).data;
        if (!asked.rerun) for (let k = 0; k < strength.length; k += 1) data[k * 4 + 3] = strength[k];
      }
      canvas.overlay.setStaged(placed(batch, { ...box, picture: { width: box.width, height: box.height, channels: 4, data: new Uint8Array(data.buffer) } }));
      if (running()) stagePreview();
    };
    image.src = previewAddress(job.id, job.preview);
  }

  /** A variation as it will lie in the document: on top, or in the place of the layer that is run again. */
  const placed = ({ asked }, { picture, x, y }) => ({ picture, x: x - asked.offset.x, y: y - asked.offset.y, instead: asked.rerun });

  function stage() {
    const shown = variation();
    canvas.overlay.setStaged(shown && placed(looked.batch, shown));
  }

  function choose(index, byPerson = true) {
    const at = index === null ? null : slotAt(index);
    if (byPerson) following = at !== null && !at.batch.pictures.get(at.slot) && running();
    if (!byPerson || !following) looked = at;
    preview = null;
    if (following && running()) stagePreview();
    else stage();
    room.changed();
  }

  /** The chosen variation becomes a layer of its own; its request stays with it. Answers the count of the comparison. */
  function keep() {
    const { asked, job } = looked.batch;
    const slot = job.pictures[looked.slot];
    const { picture, pixels, x, y } = variation();
    const { intent, painting } = slot.fill;
    const variations = (asked.family ?? batches.flatMap((batch) => batch.job.pictures.filter(({ layer }) => layer).map(({ id }) => id))).filter((id) => id !== slot.id).slice(-OTHERS);
    const { box, offset, own } = asked;
    const [dx, dy] = box ? [0, 0] : [offset.x, offset.y]; // the document comes to be what was sent
    const frame = { ...slot.frame, x: slot.frame.x - dx, y: slot.frame.y - dy };
    const told = asked.facts ?? { drawn: Boolean(asked.wish.request.context), margin: asked.wish.request.margin ?? null, mask: asked.wish.mask };
    const facts = { ...told, fill: slot.fill, run: slot.id, frame, variations };
    const words = painting.prompt.trim().split(/\s+/).filter(Boolean).slice(0, 6).join(" ").slice(0, 60);
    const named = { remove: "Removed", expand: "Beyond" }[intent];
    const usual = words ? words.charAt(0).toUpperCase() + words.slice(1) : (named ?? intent.charAt(0).toUpperCase() + intent.slice(1));
    const old = canvas.layers.find(({ id }) => id === asked.rerun);
    const name = (asked.family && old?.name) || usual;
    const label = `${intent.charAt(0).toUpperCase() + intent.slice(1)}: ${name}`;
    const swaps = old && own && untouched(old, own);
    clear();
    canvas.group(label, () => {
      if (box) canvas.resize(box.width, box.height, offset.x, offset.y, { label });
      canvas.addLayer({ name, kind: "fill", x: x - dx, y: y - dy, opacity: old?.opacity ?? 100, facts, picture, pixels, above: old?.id ?? null });
      if (swaps) canvas.removeLayer(old.id); // it comes back as this one has come
      else if (old) canvas.showLayer(old.id, false); // it may have been painted on
    });
    return slot.count;
  }

  /** Whether a layer shows what its fill, `own`, came to, all of it and nothing else. */
  function untouched({ id, opacity, visible }, own) {
    if (opacity !== 100 || !visible) return false;
    const without = canvas.layers.map((layer) => layer.id).filter((other) => other !== id);
    const [now, then] = [false, { ...own, instead: id }].map((staged) => new Uint32Array(canvas.composite({ without, staged }).data.buffer));
    return now.every((pixel, k) => pixel === then[k]);
  }

  /**
   * Brings the variations that a kept layer was chosen from back, to be chosen from in its place; "Before" is the layer as
   * it is. Resolves with words about those that are not there any more, or none.
   */
  async function recall({ id, facts }) {
    if (batches.length) throw new Error("Keep a variation or discard them first.");
    const mine = visit;
    const { fill, frame, variations } = facts;
    const offset = { x: fill.context.x - frame.x, y: fill.context.y - frame.y }; // it may have been moved, or the document have grown
    const found = [];
    for (const run of [facts.run, ...variations]) found.push(await painted(run));
    if (visit !== mine || batches.length || !canvas.layers.some((layer) => layer.id === id)) return "";
    const [first, ...others] = found;
    const there = others.filter(Boolean);
    const lost = variations.length - there.length;
    if (!there.length) throw new Error(lost === 1 ? "The other variation is not in the gallery any more." : "The other variations are not in the gallery any more.");
    const pictures = there.map((slot) => ({ ...slot, state: "done" }));
    const job = { id: `other-than-${facts.run}`, state: "done", index: 0, steps: fill.painting.num_inference_steps, ribbon: [], preview: null, error: null, pictures };
    const asked = { wish: { mask: facts.mask, count: there.length }, box: null, offset, rerun: id, facts, family: [facts.run, ...variations] };
    if (first) asked.own = { picture: first.picture, x: first.layer.x - offset.x, y: first.layer.y - offset.y };
    batches = [{ asked, job, pictures: new Map(there.map(({ layer, picture }, slot) => [slot, { ...layer, picture }])) }];
    choose(0, false);
    room.finished(job); // which says so
    return lost ? `${lost} of ${variations.length} ${lost === 1 ? "is" : "are"} not in the gallery any more.` : "";
  }

  /** A fill that was painted before, with the pixels of its layer; null where the gallery cannot give it any more. */
  async function painted(run) {
    try {
      const told = await server.layerOf(run);
      return { ...told, picture: asRgba(await decodePng(await server.pixels(told.layer.pixels))) };
    } catch (problem) {
      if (problem.status === 404 || problem.status === 422) return null;
      throw problem;
    }
  }

  canvas.on("layers", () => {
    const asked = newest()?.asked;
    if (asked?.family && !canvas.layers.some(({ id }) => id === asked.rerun)) discard(); // it was undone
  });

  /** As many again of what was asked last; those that are there stay. */
  function more(values) {
    const { asked } = newest();
    const seed = values.seed === null ? Math.floor(Math.random() * SEEDS) : (asked.wish.request.painting.seed + asked.wish.count) % SEEDS;
    const { request } = asked.wish;
    return submit({ ...asked, wish: { ...asked.wish, request: { ...request, painting: { ...request.painting, seed } } } });
  }

  function clear() {
    forget();
    note();
  }

  function forget() {
    unfollow();
    clearTimeout(retry);
    batches = [];
    looked = preview = null;
    following = true;
    canvas.overlay.setStaged(null);
  }

  /** Looks at them no more; the journal of their document still knows of them. */
  function leave() {
    visit += 1;
    forget();
  }

  function discard() {
    clear();
    room.changed();
  }

  /** Nothing came of the newest one: what was there before it is looked at again. */
  function drop() {
    if (looked?.batch === newest()) looked = null;
    batches.pop();
    unfollow();
    clearTimeout(retry);
    preview = null;
    note();
    stage();
    room.changed();
  }

  /** Draws what the frame shows with the variation of a slot, or without one (null), into a canvas element. */
  function draw(index, element) {
    const { batch, slot } = slotAt(index ?? 0) ?? {};
    if (!batch) return;
    const { x, y, width, height } = frameOf(batch);
    const box = { x: x - batch.asked.offset.x, y: y - batch.asked.offset.y, width, height };
    const shown = index === null ? null : batch.pictures.get(slot);
    const seen = drawable(canvas.composite({ box, staged: shown ? placed(batch, shown) : false }));
    const scale = Math.min(element.width / width, element.height / height);
    const context = element.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(seen, (element.width - width * scale) / 2, (element.height - height * scale) / 2, width * scale, height * scale);
  }

  /** After a reload: the jobs that the journal speaks of, as far as the studio still knows them. */
  function resume(kept) {
    const asked = kept?.jobs ?? (kept?.job ? [kept] : []);
    if (asked.length) resuming = find(asked);
    return resuming;
  }

  async function find(kept) {
    const mine = visit;
    try {
      const found = await Promise.all(kept.map(async (one) => ({ asked: one.asked, job: await jobOf(one.job), pictures: new Map() })));
      if (visit !== mine) return;
      batches = found.filter(({ job }) => job);
      if (batches.length !== kept.length) note();
      for (const batch of batches) take(batch, batch.job, batch === newest());
      listen();
    } catch (problem) {
      if (!server.expected(problem)) throw problem;
      if (visit === mine) retry = setTimeout(() => resume({ jobs: kept }), RETRY);
    }
  }

  async function jobOf(id) {
    try {
      return await ask(`jobs/${id}`);
    } catch (problem) {
      if (problem.status === 404) return null;
      throw problem;
    }
  }

  /** All that is looked at as one snapshot; a slot has its layer only when its pixels are here. */
  function shown() {
    if (!batches.length) return null;
    const { job, asked } = newest();
    const pictures = batches.flatMap(({ job: { pictures: slots, steps, error, state }, pictures: here }) =>
      slots.map((picture, slot) => ({ ...picture, layer: here.get(slot) ? picture.layer : null, steps, over: ended({ state }), error: picture.error ?? error })),
    );
    return { ...job, key: batches.map((batch) => batch.job.id).join(" "), index: indexOf({ batch: newest(), slot: job.index }), count: asked.wish.count, recalled: Boolean(asked.family), pictures };
  }

  return {
    begin,
    more,
    keep,
    recall,
    discard,
    drop,
    leave,
    choose,
    draw,
    resume,
    running,
    /** Whether there is something to keep. */
    ready: () => variation() !== null,
    stop: () => running() && stop(newest().job.id, true).catch((problem) => room.failed(problem)),
    shown,
    /** The slot that is shown, the one being painted included; null is "Before". */
    looked: () => (running() && following ? indexOf({ batch: newest(), slot: newest().job.index }) : looked && indexOf(looked)),
    count: () => looked?.batch.job.pictures[looked.slot].count ?? null,
    frame() {
      const { batch } = (running() && following ? null : looked) ?? { batch: newest() };
      const { x, y, width, height } = frameOf(batch);
      return { x: x - batch.asked.offset.x, y: y - batch.asked.offset.y, width, height };
    },
    busy: () => batches.length > 0,
  };
}
