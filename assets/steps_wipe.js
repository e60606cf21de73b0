// Two pictures on one another with an edge between them that can be dragged: left of it the first, right the second.

import { h, icon } from "./dom.js";
import { share } from "./steps_marks.js";

const STEP = 2; // percent per arrow key

export function createWipe(label) {
  let at = 50;
  const first = h("canvas", { class: "wb-wipe-first" });
  const second = h("canvas", {});
  const edge = h("i", { class: "wb-wipe-edge" }, h("b", {}, icon("compare", true)));
  const names = [h("span", { class: "wb-hud wb-wipe-left" }), h("span", { class: "wb-hud wb-wipe-right" })];
  const element = h("div", { class: "wb-wipe", role: "slider", tabindex: "0", "aria-label": label, "aria-valuemin": "0", "aria-valuemax": "100" }, second, first, edge, ...names);

  function move(percent) {
    at = Math.min(100, Math.max(0, percent));
    first.style.clipPath = `inset(0 ${100 - at}% 0 0)`;
    edge.style.left = `${at}%`;
    element.setAttribute("aria-valuenow", String(Math.round(at)));
    element.setAttribute("aria-valuetext", `${Math.round(at)} % before, ${Math.round(100 - at)} % after`);
    names[0].style.opacity = at < 12 ? "0" : "";
    names[1].style.opacity = at > 88 ? "0" : "";
  }

  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    element.setPointerCapture(event.pointerId);
    move(share(element, event) * 100);
  });
  element.addEventListener("pointermove", (event) => element.hasPointerCapture(event.pointerId) && move(share(element, event) * 100));
  element.addEventListener("keydown", (event) => {
    const way = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
    const ends = { Home: 0, End: 100 }[event.key];
    if (way === undefined && ends === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    move(ends ?? at + way * STEP * (event.shiftKey ? 5 : 1));
  });
  move(at);
  return {
    element,
    first,
    second,
    move,
    size(width, height) {
      for (const canvas of [first, second]) if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
      element.style.setProperty("--wb-ratio", String(width / height));
    },
    name(left, right) {
      names[0].textContent = left;
      names[1].textContent = right;
    },
  };
}
