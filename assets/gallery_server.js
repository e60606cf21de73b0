// What the Gallery asks of the server: pictures that fit a search, favourites, the bin, what is used; and grids.

import { ask, at, post } from "./server.js";

const FIRST = 120; // pictures of the first page: more than a screen shows
const MORE = 500; // of each one after it

/** A page of pictures, newest first. `wanted`: {query, show, model}, show one of all, favourite, fills, steps and bin;
 * `cursor`: where to go on, or null. */
export function page(wanted, cursor, signal, limit = cursor ? MORE : FIRST) {
  const values = new URLSearchParams({ query: wanted.query, limit: String(limit) });
  if (wanted.show !== "all") values.set(wanted.show, "1");
  if (wanted.model) values.set("model", wanted.model);
  if (cursor) values.set("cursor", cursor);
  return ask(`library?${values}`, { signal });
}

/** One picture as the gallery lists it, or null. Its id begins with the time at which it was made. */
export async function entry(id) {
  const made = Number(id.split("-")[0]);
  for (const bin of ["", "&bin=1"]) {
    const { pictures } = await ask(`library?from=${made}&to=${made + 1}${bin}`);
    const found = pictures.find((picture) => picture.id === id);
    if (found) return found;
  }
  return null;
}

export const usage = () => ask("usage");
export const favour = (id, favourite) => post(`library/${id}/favourite`, { favourite });
export const remove = (id) => ask(`library/${id}`, { method: "DELETE" });
export const restore = (id) => post(`library/${id}/restore`, {});
/** Begins to paint a picture again; the job's picture is told the verdict. */
export const verify = (id) => post(`library/${id}/verify`, {});
export const emptyBin = () => post("library/bin/empty", {});
export const thumbnailAddress = (id) => at(`pictures/${id}/thumbnail.webp`);
export const exportAddress = (ids) => at(`library/export.zip?ids=${ids.join(",")}`);

export const gridFields = () => ask("grids/fields");
export const checkGrid = (grid, signal) =>
  ask("grids/check", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(grid), signal });
export const beginGrid = (grid) => post("grids", grid);
export const grids = () => ask("grids");
export const grid = (id) => ask(`grids/${id}`);
/** Paints the cells that have no picture. */
export const paintMissing = (id) => post(`grids/${id}/again`, {});
export const sheetAddress = (id) => at(`grids/${id}/sheet.png`);
