// Selections that the server thinks about: an object from a rough box or a scribble, a wand's edge, a mask's edge fitted to
// the picture. A wand with a hard edge needs none of this: the canvas takes it at once.

import { decodePng } from "./canvas_png.js";
import { packed } from "./fill_packing.js";
import * as server from "./fill_server.js";
import { Refusal } from "./server.js";

const NEAR = [4, 64]; // px around the rim that may be moved, and ...
const PART = 24; // ... this part of the shorter side between them
const SOFT = 3; // px around a wand's edge, of a picture of this many on its longer side ...
const SOFT_OF = 1024;
const WIDEST = 12; // ... and at the most

const desks = new WeakMap(); // canvas -> {visit: the how many-th document, sent: what was seen -> its id, turn}

function deskOf(canvas) {
  if (!desks.has(canvas)) {
    const desk = { visit: 0, sent: new WeakMap(), turn: Promise.resolve() };
    desks.set(canvas, desk);
    canvas.on("loaded", () => (desk.visit += 1));
  }
  return desks.get(canvas);
}

/** The id of the picture, of all layers or of one: sent when it is needed, and again only when another one is seen. */
function pictureOf(canvas, layer = null) {
  const { sent } = deskOf(canvas);
  const seen = canvas.seen(layer);
  if (!sent.has(seen)) {
    const id = packed(canvas.composite({ only: layer })).then(server.uploadPixels);
    sent.set(seen, id);
    id.catch(() => sent.delete(seen));
  }
  return sent.get(seen);
}

/** Asks with the id of the picture, which is sent once more where the server has let it go since. */
async function asked(canvas, layer, ask, picture = pictureOf(canvas, layer)) {
  try {
    return await ask(await picture);
  } catch (problem) {
    const seen = canvas.seen(layer);
    if (problem.status !== 404 || !seen) throw problem;
    deskOf(canvas).sent.delete(seen);
    return ask(await pictureOf(canvas, layer));
  }
}

/** A grey PNG joins the mask, under an id, so that it can be done again after a reload. */
async function joined(canvas, png, mode, label) {
  const { visit } = deskOf(canvas);
  const [picture, pixels] = await Promise.all([decodePng(png), server.uploadPixels(png)]);
  if (visit !== deskOf(canvas).visit) return; // another document is open by now
  if (picture.width !== canvas.width || picture.height !== canvas.height) throw new Refusal("The picture has another size by now. Select it once more.");
  canvas.mask.combine(picture, mode, { label, pixels });
}

/** What the canvas's own tools ask for, one after another: {tool: "object", box, mode} or {tool: "wand", x, y, tolerance, contiguous, layer, mode}. */
export function select(canvas, wish) {
  const desk = deskOf(canvas);
  const { visit } = desk;
  const picture = pictureOf(canvas, wish.layer); // as it is seen now
  const ended = canvas.overlay.wait(wish.box ?? wish); // seen until it is answered
  const turn = desk.turn.then(async () => {
    if (visit !== desk.visit) return;
    const png = wish.tool === "wand" ? await softWand(canvas, wish, picture) : await asked(canvas, null, (source) => server.grabcut({ source, box: wish.box }), picture);
    if (visit === desk.visit) await joined(canvas, png, wish.mode ?? "add", wish.tool === "wand" ? "Wand" : "Cut out an object");
  });
  desk.turn = turn.catch(() => {});
  return turn.finally(ended);
}

function softWand(canvas, { x, y, tolerance, contiguous, layer }, picture) {
  const radius = Math.min(WIDEST, Math.max(SOFT, Math.round((SOFT * Math.max(canvas.width, canvas.height)) / SOFT_OF)));
  return asked(canvas, layer, (source) => server.wand({ source, x, y, tolerance, contiguous, radius }), picture);
}

/** Objects by their marks, again and again on the same picture. */
export function createMarked(canvas) {
  return {
    /** The object that a scribble, grey pixels, marks: a grey PNG. */
    async find(scribble) {
      const [marks] = await Promise.all([packed(scribble).then(server.uploadPixels), pictureOf(canvas)]);
      return asked(canvas, null, (source) => server.grabcut({ source, scribble: marks }));
    },
    take: (png, mode) => joined(canvas, png, mode, "Cut out an object"),
  };
}

export async function refine(canvas) {
  const radius = Math.max(NEAR[0], Math.min(NEAR[1], Math.round(Math.min(canvas.width, canvas.height) / PART)));
  const mask = await server.uploadPixels(await canvas.mask.png());
  const png = await asked(canvas, null, (source) => server.refineEdge({ source, mask, radius }));
  return joined(canvas, png, "replace", "Fit the edge");
}
