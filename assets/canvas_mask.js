// What a mask of plain grey bytes covers: grown, shrunk and feathered as the server does it, counted and bounded.
//
// Distances are exact and squared (Felzenszwalb & Huttenlocher 2012, "Distance transforms of sampled functions"), so they
// are whole numbers, and both sides agree on every one.

export const REACH = 256; // px: most that a mask is grown, shrunk or feathered
const HALF = 128; // from here on a pixel counts as selected
const NOWHERE = 1 << 13; // px: farther than any two pixels of a column lie apart
const FAR = 1 << 28; // squared: no target in that column, or anywhere

/**
 * Squared distances of each pixel to the nearest whose value is from `low` to `high`. Exact up to `reach`; what is
 * farther, or has none, is some number above reach².
 */
export function squaredDistances(data, width, height, low, high, reach) {
  const distances = new Int32Array(width * height);
  // down, then up: how far the nearest target of the same column is
  for (let k = 0; k < width; k += 1) distances[k] = data[k] >= low && data[k] <= high ? 0 : NOWHERE;
  for (let k = width; k < data.length; k += 1) distances[k] = data[k] >= low && data[k] <= high ? 0 : distances[k - width] + 1;
  for (let k = data.length - 1 - width; k >= 0; k -= 1) {
    const below = distances[k + width] + 1;
    if (below < distances[k]) distances[k] = below;
  }
  const row = new Int32Array(width);
  const hull = new Int32Array(width); // where the parabolas of the lower envelope stand
  const from = new Float64Array(width + 1); // where each begins to be the lowest
  for (let y = 0; y < height; y += 1) {
    const line = distances.subarray(y * width, (y + 1) * width);
    for (let x = 0; x < width; x += 1) row[x] = line[x] > reach ? FAR : line[x] * line[x];
    envelope(row, line, hull, from);
  }
  return distances;
}

/** The lower envelope of the parabolas (x - q)² + row[q], sampled into `line`. */
function envelope(row, line, hull, from) {
  const width = row.length;
  let last = -1;
  for (let q = 0; q < width; q += 1) {
    const height = row[q];
    if (height === FAR || (height === 0 && q > 0 && q < width - 1 && row[q - 1] === 0 && row[q + 1] === 0)) continue; // the ends of a run of targets are nearer to all others
    let crossing = -Infinity;
    while (last >= 0) {
      const p = hull[last];
      crossing = (height + q * q - row[p] - p * p) / (2 * (q - p));
      if (crossing > from[last]) break;
      last -= 1;
      crossing = -Infinity;
    }
    last += 1;
    hull[last] = q;
    from[last] = crossing;
  }
  if (last < 0) return void line.fill(FAR);
  from[last + 1] = Infinity;
  for (let x = 0, k = 0; x < width; x += 1) {
    if (row[x] === 0) {
      line[x] = 0;
      continue;
    }
    while (from[k + 1] < x) k += 1;
    const far = x - hull[k];
    line[x] = far * far + row[hull[k]];
  }
}

/** Grown by `pixels`, or shrunk if negative: 0 or 255. 0 leaves the mask as it is, with its soft values. */
export function grown(data, width, height, pixels) {
  if (!pixels) return data;
  const made = new Uint8Array(data.length);
  const limit = pixels * pixels;
  if (pixels > 0) {
    const squares = squaredDistances(data, width, height, HALF, 255, pixels);
    for (let k = 0; k < made.length; k += 1) made[k] = squares[k] <= limit ? 255 : 0;
  } else {
    const squares = squaredDistances(data, width, height, 0, HALF - 1, -pixels);
    for (let k = 0; k < made.length; k += 1) made[k] = squares[k] > limit ? 255 : 0;
  }
  return made;
}

/** Fading to nothing over its outermost `pixels`, inward only. Beyond the picture nothing counts as zero. */
export function feathered(data, width, height, pixels) {
  if (!pixels) return data;
  const squares = squaredDistances(data, width, height, 0, 0, pixels);
  const fade = new Float64Array(pixels * pixels + 1); // by squared distance
  for (let d = 0; d < fade.length; d += 1) {
    const t = Math.min(Math.sqrt(d) / pixels, 1);
    fade[d] = t * t * (3 - 2 * t);
  }
  const made = new Uint8Array(data.length);
  for (let k = 0; k < made.length; k += 1) {
    if (data[k]) made[k] = Math.floor(data[k] * fade[Math.min(squares[k], fade.length - 1)] + 0.5);
  }
  return made;
}

export const effective = (data, width, height, grow, feather) => feathered(grown(data, width, height, grow), width, height, feather);

/** What is above zero in grey pixels: how many, and the smallest box around them (null for none). */
export function extentOf(data, width, height) {
  let count = 0;
  let [left, right, top, bottom] = [width, -1, height, -1];
  for (let y = 0, k = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1, k += 1) {
      if (!data[k]) continue;
      count += 1;
      if (x < left) left = x;
      if (x > right) right = x;
      if (y < top) top = y;
      bottom = y;
    }
  }
  return { count, bounds: count ? { x: left, y: top, width: right - left + 1, height: bottom - top + 1 } : null };
}
