// Selections that the server thinks about: an object from a rough box, a mask's edge fitted to the picture.

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

export async function refine(canvas) {
  const radius = Math.max(NEAR[0], Math.min(NEAR[1], Math.round(Math.min(canvas.width, canvas.height) / PART)));
  const mask = await server.uploadPixels(await canvas.mask.png());
  const png = await server.refineEdge({ source: await pictureOf(canvas), mask, radius });
  return joined(canvas, png, "replace", "Fit the edge");
}
