// A fill that was gone on with in the Steps tab comes back into the document, over the layer that it came of, which is
// hidden.

import { decodePng } from "./canvas_png.js";
import * as server from "./fill_server.js";

/** The topmost layer that is shown and came of one of these runs. */
export const layerOf = (layers, family) => layers.findLast(({ kind, visible, facts }) => kind === "fill" && visible && family.includes(facts?.run));

/** The id of the document, used last first, that shows such a layer; null where none does. */
export async function documentOf(family) {
  for (const { id } of (await server.documentsOf(family)).documents) {
    const { state } = await server.readDocument(id);
    if (layerOf(state.layers, family)) return id;
  }
  return null;
}

/**
 * `wish`: {run, family}: the run, and those that a layer of this document stands for. Answers the comparison of the fill,
 * with `early`, the step at which the run was stopped, and of how many `steps`.
 */
export async function putBackInto(canvas, { run, family }) {
  const old = layerOf(canvas.layers, family);
  const { fill, frame, layer, count, stopped_at: early } = await server.layerOf(run);
  const { x, y, pixels } = layer;
  const picture = await decodePng(await server.pixels(pixels));
  const [dx, dy] = [old.facts.frame.x - frame.x, old.facts.frame.y - frame.y]; // the document may have grown since
  canvas.group(`Put back: ${old.name}`, () => {
    canvas.addLayer({ name: old.name, kind: "fill", x: x + dx, y: y + dy, opacity: old.opacity, facts: { ...old.facts, fill, run }, picture, pixels, above: old.id });
    canvas.showLayer(old.id, false); // it may have been painted on
  });
  return { ...count, early, steps: fill.painting.num_inference_steps };
}
