// How far two pictures are apart, pixel by pixel, as a picture around mid-grey.

/**
 * Turns `one` into grey 128 plus the difference to `other`, times `gain`, halved so that the whole range fits. Both are
 * ImageData of one size. Returns the mean distance of the colour values, out of 255.
 */
export function drawDifference(one, other, gain) {
  const [left, right] = [one.data, other.data];
  let sum = 0;
  for (let k = 0; k < left.length; k += 1) {
    if (k % 4 === 3) continue;
    const apart = left[k] - right[k];
    sum += Math.abs(apart);
    left[k] = 128 + (gain * apart) / 2;
  }
  return sum / ((left.length / 4) * 3);
}
