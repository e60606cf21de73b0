// Strengths of a correction as plain values: the weight of a schedule at a step, and a drawn curve as a schedule.
// The same rules as studio/diffusion/strengths.py, so that the curve shows what the run will do.

export const HANDLES = [0, 0.25, 0.5, 0.75, 1]; // progress at which a curve can be taken hold of

/** The weight at step `number` (from 1) of `count`, entered at `noiseLevel` in [0, 1]. */
export function weight(schedule, noiseLevel, number, count) {
  const { kind, steps = 0, points = [] } = schedule;
  if (kind === "sigma") return noiseLevel;
  if (kind === "1 - sigma") return 1 - noiseLevel;
  if (kind === "first") return number <= steps ? 1 : 0;
  if (kind === "last") return number > count - steps ? 1 : 0;
  if (kind === "points") return onTheLine(points, count > 1 ? (number - 1) / (count - 1) : 0);
  return 1;
}

function onTheLine(points, progress) {
  let [before, weightBefore] = points[0];
  if (progress <= before) return weightBefore;
  for (const [after, weightAfter] of points.slice(1)) {
    if (progress <= after) return weightBefore + ((progress - before) / (after - before)) * (weightAfter - weightBefore);
    [before, weightBefore] = [after, weightAfter];
  }
  return weightBefore;
}

/** Strength times weight of one band at every step of a run. */
export function valuesOf(band, steps, count) {
  return steps.map(({ index, noise_level: noiseLevel }) => band.strength * weight(band.schedule, noiseLevel ?? 1 - index / Math.max(1, count - 1), index + 1, count));
}

/** The values at the handles: exact for a drawn curve; a curve of noise levels is interpolated between two steps. */
export function handlesOf(band, steps, count) {
  if (band.schedule.kind === "points") return HANDLES.map((progress) => band.strength * onTheLine(band.schedule.points, progress));
  const values = valuesOf(band, steps, count);
  return HANDLES.map((progress) => {
    const at = progress * (values.length - 1);
    const low = Math.floor(at);
    const high = Math.min(low + 1, values.length - 1);
    return values[low] + (values[high] - values[low]) * (at - low);
  });
}

/** A band whose curve runs through `values` at the handles. */
export function drawn(values) {
  const most = values.reduce((best, value) => (Math.abs(value) > Math.abs(best) ? value : best), 0);
  if (most === 0) return { strength: 0, schedule: { kind: "constant" } };
  const strength = Number(most.toFixed(4));
  if (values.every((value) => Math.abs(value - most) < 5e-5)) return { strength, schedule: { kind: "constant" } };
  return { strength, schedule: { kind: "points", points: values.map((value, k) => [HANDLES[k], Number((value / strength).toFixed(4))]) } };
}

export const same = (one, other) => JSON.stringify(one ?? null) === JSON.stringify(other ?? null);
export const isOff = (strengths) => !strengths || strengths.bands.every(({ strength }) => strength === 0);
