// A fill that was gone on with in the Steps tab comes back into the document, over the layer that it came of, which is
// hidden.

import { decodePng } from "./canvas_png.js";
import * as server from "./fill_server.js";

/**
 * `wish`: {run, family}: the run, and those that its layer may stand for. Answers the comparison of the fill, or null
 * where the document has no such layer.
 */
export async function putBackInto(canvas, { run, family }) {
  const old = canvas.layers.findLast(({ kind, visible, facts }) => kind === "fill" && visible && family.includes(facts?.run));
  if (!old) return null;
  const { fill, frame, layer, count } = await server.layerOf(run);
  const { x, y, pixels } = layer;
  const picture = await decodePng(await server.pixels(pixels));
  const [dx, dy] = [old.facts.frame.x - frame.x, old.facts.frame.y - frame.y]; // the document may have grown since
  canvas.group(`Put back: ${old.name}`, () => {
    canvas.addLayer({ name: old.name, kind: "fill", x: x + dx, y: y + dy, opacity: old.opacity, facts: { ...old.facts, fill, run }, picture, pixels, above: old.id });
    canvas.showLayer(old.id, false); // it may have been painted on
  });
  return count;
}
