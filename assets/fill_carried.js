// What the PNG of a fill carries of it: the pixels and the mask of its frame, from which it can be laid out again. The
// server says whether they are those that the file was made of.

import { decodePng } from "./canvas_png.js";
import { importPicture } from "./server.js";
import { expected } from "./fill_server.js";

const SOURCE = "wbSR"; // the frame's pixels
const MASKS = "wbMA"; // in the second channel, where the model may paint

/**
 * The fill that a file is, or null: {request, exact, notes, source, mask}. `request` has the frame as its whole picture;
 * with `exact`, asking for it paints the same again.
 */
export async function carriedFill(file) {
  const content = await file.arrayBuffer().catch(() => null); // such as a folder's: whoever opens it says why
  const bytes = new Uint8Array(content ?? 0);
  const [source, masks] = [SOURCE, MASKS].map((name) => chunkOf(bytes, name));
  if (!source.length || !masks.length) return null;
  try {
    const { fill } = await importPicture(bytes);
    if (!fill) return null;
    const both = await decodePng(masks);
    const data = new Uint8Array(both.width * both.height);
    for (let k = 0; k < data.length; k += 1) data[k] = both.data[k * both.channels + 1];
    return { ...fill, source: await decodePng(source), mask: { width: both.width, height: both.height, channels: 1, data } };
  } catch (problem) {
    if (expected(problem)) return null; // it is a picture all the same
    throw problem;
  }
}

/** The bodies of all chunks of this name, together; empty where there are none or the file is no PNG. */
function chunkOf(bytes, name) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const parts = [];
  if (bytes.length < 8 || view.getUint32(0) !== 0x89504e47) return new Uint8Array(0);
  for (let at = 8; at + 12 <= bytes.length; ) {
    const end = at + 8 + view.getUint32(at);
    if (end > bytes.length) break;
    if (String.fromCharCode(...bytes.subarray(at + 4, at + 8)) === name) parts.push(bytes.subarray(at + 8, end));
    at = end + 4;
  }
  const made = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let position = 0;
  for (const part of parts) {
    made.set(part, position);
    position += part.length;
  }
  return made;
}
