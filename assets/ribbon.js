// The ribbon: one column per step, showing which of five bands that step moved. It is also a run's progress bar.

import { svg } from "./dom.js";

export const BANDS = ["composition", "forms", "details", "texture", "grain"];
const HEIGHT = 30;

/** Columns for `total` steps, of which `shares` holds the finished ones: five numbers each, coarse to fine, adding up to 100. */
export function createRibbon() {
  const element = svg("svg", { class: "wb-ribbon", role: "progressbar", "aria-valuemin": 0, preserveAspectRatio: "none" });
  let drawn = 0;
  let total = 0;

  function column(step, share) {
    const gap = total > 120 ? 0 : total > 60 ? 0.1 : total > 30 ? 0.12 : 0.08;
    const group = svg("g", {});
    if (!share) {
      group.append(svg("rect", { x: step, y: HEIGHT - 3, width: 1 - gap, height: 3, style: "fill: var(--wb-edge)", opacity: 0.5 }));
      return group;
    }
    let y = HEIGHT;
    share.forEach((part, band) => {
      const tall = (part / 100) * HEIGHT;
      y -= tall;
      group.append(svg("rect", { x: step, y: y.toFixed(2), width: 1 - gap, height: (tall + 0.2).toFixed(2), style: `fill: var(--wb-band-${band})` }));
    });
    return group;
  }

  function update(shares, steps) {
    if (steps !== total || shares.length < drawn) {
      total = steps;
      drawn = 0;
      element.setAttribute("viewBox", `0 0 ${Math.max(total, 1)} ${HEIGHT}`);
      element.replaceChildren(...Array.from({ length: total }, (_, step) => column(step, null)));
    }
    for (; drawn < Math.min(shares.length, total); drawn += 1) element.children[drawn].replaceWith(column(drawn, shares[drawn]));
    element.setAttribute("aria-valuemax", total);
    element.setAttribute("aria-valuenow", shares.length);
    element.setAttribute("aria-valuetext", `Step ${shares.length} of ${total}`);
  }

  element.setAttribute("aria-label", "What each step moved, from composition to grain");
  return { element, update };
}

/** What the newest step mostly moved, in words: "details are arriving". */
export function arriving(shares) {
  if (!shares.length) return "";
  const newest = shares[shares.length - 1];
  const band = BANDS[newest.indexOf(Math.max(...newest))];
  return `${band} ${band.endsWith("s") ? "are" : "is"} arriving`;
}
