// Selections that the server thinks about: an object from a rough box or a scribble, a mask's edge fitted to the picture.

import { decodePng } from "./canvas_png.js";
import { packed } from "./fill_packing.js";
import * as server from "./fill_server.js";

const NEAR = [4, 64]; // px around the rim that may be moved, and ...
const PART = 24; // ... this part of the shorter side between them

const pictureOf = async (canvas) => server.uploadPixels(await packed(canvas.composite()));

/** A grey PNG joins the mask, under an id, so that it can be done again after a reload. */
async function joined(canvas, png, mode, label) {
  const pixels = await server.uploadPixels(png);
  canvas.mask.combine(await decodePng(png), mode, { label, pixels });
}

/** `wish`: {box, mode}, as the canvas's own tool asks. */
export async function cutOut(canvas, { box, mode = "add" }) {
  const png = await server.grabcut({ source: await pictureOf(canvas), box });
  return joined(canvas, png, mode, "Cut out an object");
}

/** Objects by their marks, again and again on the same picture. */
export function createMarked(canvas) {
  let source = null; // the id of the picture, as it was sent last
  for (const event of ["change", "amended", "history", "loaded"]) canvas.on(event, () => (source = null));

  async function found(scribble) {
    const [picture, marks] = await Promise.all([(source ??= pictureOf(canvas)), packed(scribble).then(server.uploadPixels)]);
    return server.grabcut({ source: picture, scribble: marks });
  }

  return {
    /** The object that a scribble, grey pixels, marks: a grey PNG. */
    async find(scribble) {
      try {
        return await found(scribble);
      } catch (problem) {
        source = null;
        if (problem.status !== 404) throw problem;
        return found(scribble); // the server has let the picture go since it was sent
      }
    },
    take: (png, mode) => joined(canvas, png, mode, "Cut out an object"),
  };
}

export async function refine(canvas) {
  const radius = Math.max(NEAR[0], Math.min(NEAR[1], Math.round(Math.min(canvas.width, canvas.height) / PART)));
  const mask = await server.uploadPixels(await canvas.mask.png());
  const png = await server.refineEdge({ source: await pictureOf(canvas), mask, radius });
  return joined(canvas, png, "replace", "Fit the edge");
}
