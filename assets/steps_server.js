// What the Steps tab asks of the server. Steps are counted from 0 here and in every address; people read from 1.

import { Refusal, Silence, ask, at, post } from "./server.js";

const query = (values) =>
  Object.entries(values)
    .filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
    .join("&");

export const runs = () => ask("runs?limit=60");
/** All numbers of a run. `look`: auto, fast (linear preview) or full (every step decoded, which may take long). */
export const run = (id, { wavelet, levels }, look = "auto") => ask(`runs/${id}?${query({ wavelet, levels, look })}`);
export const strengths = () => ask("strengths");
export const branch = (id, wish) => post(`runs/${id}/branch`, wish);

/** Stores lossless pixels and gives back their id. `blob` is a PNG. */
export async function upload(blob) {
  const { id } = await ask("uploads", { method: "PUT", headers: { "Content-Type": "image/png" }, body: blob });
  return id;
}

export const stripAddress = (id) => at(`runs/${id}/strip.png`);
export const thumbnailAddress = (id) => at(`runs/${id}/thumbnail.png`);
export const sheetAddress = (id) => at(`runs/${id}/contact.png?download=1`);
export const animationAddress = (id) => at(`runs/${id}/animation.gif?download=1`);
export const fileAddress = (id) => at(`runs/${id}/run.safetensors`);

/** One step as a picture. `show`: estimate, added or noisy; `look`: fast or full; `gain` amplifies what was added. */
export const stepAddress = (id, step, { show = "estimate", look = "full", gain = 1 } = {}) =>
  at(`runs/${id}/steps/${step}.png?${query({ look, show, gain: show === "added" && gain !== 1 ? gain : null })}`);

/** The bands of one step, stacked in one picture; `band` asks for one alone. */
export const bandsAddress = (id, step, { wavelet, levels, space, show, added, look, size, channel, band, gain = 1 }) =>
  at(`runs/${id}/steps/${step}/bands.png?${query({ wavelet, levels, space, show, added: added ? 1 : 0, look, size, channel, band, gain: gain === 1 ? null : gain })}`);

export const differenceAddress = (id, other, step, { gain, look = "full", otherStep }) =>
  at(`runs/${id}/difference/${other}/${step}.png?${query({ gain, look, other_step: otherStep })}`);

/** Fetches a picture and decodes it off the main thread. Answers {bitmap, headers}; raises as `ask` does. */
export async function picture(address, signal) {
  let response;
  try {
    response = await fetch(address, { credentials: "same-origin", signal });
  } catch (problem) {
    if (problem.name === "AbortError") throw problem;
    throw new Silence(String(problem));
  }
  if (!response.ok) {
    const answer = await response.json().catch(() => null);
    throw new Refusal(answer?.error ?? `The studio met a fault of its own (${response.status}).`, answer?.field, response.status);
  }
  return { bitmap: await createImageBitmap(await response.blob()), headers: response.headers };
}
