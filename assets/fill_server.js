// What the Fill tab asks of the server: documents, pixels by id, selections, fills.

import { Refusal, Silence, ask, at, post } from "./server.js";

const JSON_TYPE = { "Content-Type": "application/json" };

/** A page of documents, the one used last first: {documents, cursor, found, count, in_bin}. `wish`: {query, bin, cursor, limit}. */
export const documents = ({ query = "", bin = false, cursor = null, limit = 60 } = {}, signal = undefined) =>
  ask(`documents?${new URLSearchParams({ limit, ...(query.trim() && { query }), ...(bin && { bin: 1 }), ...(cursor !== null && { cursor }) })}`, { signal });
/** Documents in which a layer came of one of these runs, the one used last first. */
export const documentsOf = (runs) => ask(`documents?runs=${runs.slice(0, 200).join(",")}`);
export const readDocument = (id) => ask(`documents/${id}`);
export const makeDocument = (name, state) => post("documents", { name, state });
export const addNode = (id, node) => post(`documents/${id}/nodes`, node);
export const setHead = (id, node) => post(`documents/${id}/head`, { node });
/** All nodes of a document's tree, without what they hold: {head, history}. */
export const readHistory = (id) => ask(`documents/${id}/history`);
export const readState = (id, node) => ask(`documents/${id}/nodes/${node}`);
export const renameDocument = (id, name) => ask(`documents/${id}`, { method: "PATCH", headers: JSON_TYPE, body: JSON.stringify({ name }) });
/** Sent to its end, though the page be closed meanwhile. */
export const setSettings = (id, settings) => ask(`documents/${id}`, { method: "PATCH", headers: JSON_TYPE, body: JSON.stringify({ settings }), keepalive: true });
export const duplicateDocument = (id) => post(`documents/${id}/duplicate`, {});
export const deleteDocument = (id) => ask(`documents/${id}`, { method: "DELETE" });
export const restoreDocument = (id) => post(`documents/${id}/restore`, {});
export const emptyDocumentBin = () => post("documents/bin/empty", {});
export const importDocument = (file, name) => ask(`documents/import?fit=1&name=${encodeURIComponent(name)}`, { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: file });
export const documentThumbnail = ({ id, head }) => at(`documents/${id}/thumbnail.webp?v=${head}`);
export const exportAddress = (id, kind) => at(`documents/${id}/export.${kind}`);

export const uploadPixels = async (png) => (await ask("pixels", { method: "POST", headers: { "Content-Type": "image/png" }, body: png })).id;
/** A picture file from anywhere as pixels; larger than a document can be, it is made smaller, and the notes say so. */
export const openPicture = (file, as = "picture") => ask(`pictures/open?fit=1&as=${as}`, { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: file });
export const fill = (wish) => post("fills", wish);
/** The layer of a fill among the kept runs: {id, fill, frame, layer, count}. */
export const layerOf = (run) => post("fills/layer", { run });
/** What suits each intent on this model, where a fill does not say it. */
export const usual = () => ask("fills/usual");
export const corrections = () => ask("strengths");
/** The pixels that look like one, with an edge as soft as the picture's. */
export const wand = (wish) => bytes("selections/wand", { method: "POST", headers: JSON_TYPE, body: JSON.stringify(wish) });
export const grabcut = (wish) => bytes("selections/grabcut", { method: "POST", headers: JSON_TYPE, body: JSON.stringify(wish) });
export const refineEdge = (wish) => bytes("selections/refine", { method: "POST", headers: JSON_TYPE, body: JSON.stringify(wish) });
export const pixels = (id) => bytes(`pixels/${id}.png`, { cache: "default" });

/** Several PNGs in one body: before each its length in four bytes, the highest first. Answers their ids. */
export async function uploadBundle(pngs) {
  const body = new Uint8Array(pngs.reduce((sum, png) => sum + 4 + png.length, 0));
  const view = new DataView(body.buffer);
  let position = 0;
  for (const png of pngs) {
    view.setUint32(position, png.length);
    body.set(png, position + 4);
    position += 4 + png.length;
  }
  return (await ask("pixels/bundle", { method: "POST", headers: { "Content-Type": "application/octet-stream" }, body })).ids;
}

/** The bytes that an address answers. Raises as `ask` does. `path` may be a whole address of ours. */
export async function bytes(path, options = {}) {
  let response;
  try {
    response = await fetch(/^https?:/.test(path) ? path : at(path), { credentials: "same-origin", cache: "no-store", ...options });
  } catch (problem) {
    if (problem.name === "AbortError") throw problem;
    throw new Silence(String(problem));
  }
  if (!response.ok) {
    const answer = await response.json().catch(() => null);
    throw new Refusal(answer?.error ?? `The studio met a fault of its own (${response.status}).`, answer?.field, response.status);
  }
  return new Uint8Array(await response.arrayBuffer());
}

/** Whether this is an answer of the server's, or its silence, rather than a fault in the page. */
export const expected = (problem) => problem instanceof Refusal || problem instanceof Silence;
