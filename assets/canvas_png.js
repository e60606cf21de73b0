// PNG in and out, to the byte: 8-bit grey, RGB and RGBA, without a 2D canvas in between, which loses bits of colour
// where alpha is low. Deflate is the browser's own (and Node's): CompressionStream and DecompressionStream.

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const COLOUR_TYPES = { 1: 0, 3: 2, 4: 6 }; // channels -> the header's colour type
const CHANNELS = { 0: 1, 2: 3, 6: 4 };
const MOST = 4096 * 4096; // px
const TURN = 8; // ms of work after which a hand that draws has its turn

let began = 0; // when the work of this turn did

const isLong = () => performance.now() - began > TURN;

async function pause() {
  await new Promise((done) => setTimeout(done, 0));
  if (isLong()) began = performance.now(); // else another picture has begun this turn
}

const CRC = new Uint32Array(256);
for (let n = 0; n < 256; n += 1) {
  let c = n;
  for (let k = 0; k < 8; k += 1) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  CRC[n] = c >>> 0;
}

function crcOf(bytes) {
  let c = 0xffffffff;
  for (let k = 0; k < bytes.length; k += 1) c = CRC[(c ^ bytes[k]) & 255] ^ (c >>> 8);
  return (c ^ 0xffffffff) >>> 0;
}

/** {width, height, channels, data} -> the bytes of a PNG. */
export async function encodePng(picture) {
  const { width, height, channels } = picture;
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, COLOUR_TYPES[channels], 0, 0, 0], 8);
  const packed = await through(new CompressionStream("deflate"), await filtered(picture));
  return joined([new Uint8Array(SIGNATURE), chunk("IHDR", header), chunk("IDAT", packed), chunk("IEND", new Uint8Array(0))]);
}

/** The bytes of a PNG -> {width, height, channels, data}. Throws an Error in words for anything that it does not read. */
export async function decodePng(file) {
  const bytes = file instanceof Uint8Array ? file : new Uint8Array(file);
  const { width, height, channels, parts } = readChunks(bytes);
  const stride = width * channels;
  const rows = await through(new DecompressionStream("deflate"), joined(parts), (stride + 1) * height);
  if (rows.length < (stride + 1) * height) throw new Error("This PNG ends early.");
  const data = new Uint8Array(stride * height);
  for (let y = 0; y < height; y += 1) {
    if (isLong()) await pause();
    unfilter(rows, y * (stride + 1), data, y * stride, stride, channels, y === 0);
  }
  return { width, height, channels, data };
}

/** A picture with four channels, whatever it had: grey and RGB become opaque. */
export function asRgba({ width, height, channels, data }) {
  if (channels === 4) return { width, height, channels, data };
  const made = new Uint8Array(width * height * 4);
  for (let from = 0, to = 0; to < made.length; from += channels, to += 4) {
    made[to] = data[from];
    made[to + 1] = data[from + (channels === 3 ? 1 : 0)];
    made[to + 2] = data[from + (channels === 3 ? 2 : 0)];
    made[to + 3] = 255;
  }
  return { width, height, channels: 4, data: made };
}

function readChunks(bytes) {
  if (bytes.length < 33 || SIGNATURE.some((value, k) => bytes[k] !== value)) throw new Error("This is not a PNG file.");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const parts = [];
  let facts = null;
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const end = at + 8 + length;
    if (end + 4 > bytes.length) break;
    if (crcOf(bytes.subarray(at + 4, end)) !== view.getUint32(end)) throw new Error("This PNG is damaged.");
    const name = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const body = bytes.subarray(at + 8, end);
    if (name === "IHDR") facts = headerOf(new DataView(body.buffer, body.byteOffset, body.byteLength));
    else if (name === "IDAT") parts.push(body);
    else if (name === "IEND" && facts) return { ...facts, parts };
    at = end + 4;
  }
  throw new Error("This PNG ends early.");
}

function headerOf(view) {
  if (view.byteLength !== 13) throw new Error("This PNG is damaged.");
  const [width, height] = [view.getUint32(0), view.getUint32(4)];
  const channels = CHANNELS[view.getUint8(9)];
  if (view.getUint8(8) !== 8 || !channels || view.getUint8(12)) throw new Error("This PNG is not plain 8-bit grey, RGB or RGBA.");
  if (!width || !height || width * height > MOST) throw new Error(`A picture of ${width} × ${height} px is not read here.`);
  return { width, height, channels };
}

function chunk(name, body) {
  const made = new Uint8Array(body.length + 12);
  const view = new DataView(made.buffer);
  view.setUint32(0, body.length);
  for (let k = 0; k < 4; k += 1) made[4 + k] = name.charCodeAt(k);
  made.set(body, 8);
  view.setUint32(body.length + 8, crcOf(made.subarray(4, body.length + 8)));
  return made;
}

/** The rows, each with the filter whose result is the smallest in sum: the PNG specification's own advice. */
async function filtered({ width, height, channels, data }) {
  const stride = width * channels;
  const made = new Uint8Array((stride + 1) * height);
  const tries = [0, 1, 2, 3, 4].map(() => new Uint8Array(stride));
  const nothing = new Uint8Array(stride);
  for (let y = 0; y < height; y += 1) {
    if (isLong()) await pause();
    const row = data.subarray(y * stride, (y + 1) * stride);
    const above = y ? data.subarray((y - 1) * stride, y * stride) : nothing;
    const best = bestFilter(row, above, channels, tries);
    made[y * (stride + 1)] = best;
    made.set(best ? tries[best] : row, y * (stride + 1) + 1);
  }
  return made;
}

function bestFilter(row, above, channels, tries) {
  const [, sub, up, average, paeth] = tries;
  const sums = [0, 0, 0, 0, 0];
  for (let k = 0; k < row.length; k += 1) {
    const value = row[k];
    const left = k < channels ? 0 : row[k - channels];
    const top = above[k];
    const corner = k < channels ? 0 : above[k - channels];
    sub[k] = value - left;
    up[k] = value - top;
    average[k] = value - ((left + top) >> 1);
    paeth[k] = value - nearest(left, top, corner);
    sums[0] += size(value);
    sums[1] += size(sub[k]);
    sums[2] += size(up[k]);
    sums[3] += size(average[k]);
    sums[4] += size(paeth[k]);
  }
  return sums.indexOf(Math.min(...sums));
}

const size = (byte) => (byte < 128 ? byte : 256 - byte);

function nearest(left, top, corner) {
  const guess = left + top - corner;
  const [a, b, c] = [Math.abs(guess - left), Math.abs(guess - top), Math.abs(guess - corner)];
  if (a <= b && a <= c) return left;
  return b <= c ? top : corner;
}

function unfilter(rows, start, data, to, stride, channels, first) {
  const filter = rows[start];
  if (filter > 4) throw new Error("This PNG is damaged.");
  for (let k = 0; k < stride; k += 1) {
    const left = k < channels ? 0 : data[to + k - channels];
    const top = first ? 0 : data[to + k - stride];
    let guess = 0;
    if (filter === 1) guess = left;
    else if (filter === 2) guess = top;
    else if (filter === 3) guess = (left + top) >> 1;
    else if (filter === 4) guess = nearest(left, top, first || k < channels ? 0 : data[to + k - stride - channels]);
    data[to + k] = rows[start + 1 + k] + guess;
  }
}

/** Bytes through a (de)compressing stream. Stops reading at `most` bytes, so that a bomb does not go off. */
async function through(stream, bytes, most = Infinity) {
  const writer = stream.writable.getWriter();
  const sent = writer.write(bytes).then(() => writer.close());
  sent.catch(() => {}); // told by the reader, whose promise is waited for
  const reader = stream.readable.getReader();
  const parts = [];
  let length = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      parts.push(value);
      length += value.length;
      if (length > most) throw new Error("This PNG holds more than its header says.");
    }
  } catch (problem) {
    reader.cancel().catch(() => {});
    if (problem.message.startsWith("This PNG")) throw problem;
    throw new Error("This PNG is damaged.");
  }
  return joined(parts);
}

function joined(parts) {
  if (parts.length === 1) return parts[0];
  const made = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    made.set(part, at);
    at += part.length;
  }
  return made;
}
