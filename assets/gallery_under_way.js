// A grid that is being painted, told in the Gallery while its table is closed: found again after a reload, too.

import { h, icon } from "./dom.js";
import * as server from "./gallery_server.js";
import { Refusal, Silence } from "./server.js";

const LOOK = 1500; // ms between two looks at the grid

/** `actions`: open(id) shows its table, isShown(id) whether that is to be seen now, ended(grid) once no more is painted. */
export function createUnderWay(actions) {
  let grid = null; // the one that is being painted, as the server tells it
  let here = false; // whether the tab is open
  let waiting = null;

  const words = h("span", {});
  const bar = h("i", {});
  const meter = h("span", { class: "wb-meter", role: "progressbar", "aria-label": "Pictures of the grid painted", "aria-valuemin": "0" }, bar);
  const open = h("button", { type: "button", class: "wb-btn small edged", onclick: () => actions.open(grid.id) }, icon("grid", true), words);
  const element = h("div", { class: "wb-gal-under-way", role: "group", "aria-label": "Grid under way", hidden: true }, open, meter);

  function draw() {
    element.hidden = grid === null;
    if (!grid) return;
    const total = grid.cells.length;
    const done = grid.cells.filter(({ id }) => id).length;
    words.textContent = grid.state === "queued" ? `A grid waits to be painted, ${done} of ${total}` : `A grid is being painted, ${done} of ${total}`;
    bar.style.width = `${(100 * done) / total}%`;
    meter.setAttribute("aria-valuemax", String(total));
    meter.setAttribute("aria-valuenow", String(done));
  }

  /** Follows a grid, as the server has just told it, for as long as it is being painted. */
  function take(told) {
    const wasHere = grid?.id === told.id;
    if (told.ended) {
      if (wasHere && !actions.isShown(told.id)) actions.ended(told);
      grid = null;
      if (wasHere && here) look(); // perhaps the next one is begun
    } else grid = told;
    draw();
    again();
  }

  function again() {
    clearTimeout(waiting);
    if (grid && here) waiting = setTimeout(ask, LOOK);
  }

  async function ask() {
    try {
      if (document.hidden) again();
      else take(await server.grid(grid.id));
    } catch (problem) {
      if (problem instanceof Refusal) (grid = null), draw(); // it is not kept any more
      else if (problem instanceof Silence) again();
      else throw problem;
    }
  }

  /** The tab is open: is there one? */
  async function look() {
    here = true;
    if (grid) return ask();
    try {
      const { grids } = await server.grids();
      const found = grids.find(({ ended }) => !ended);
      if (found) take(await server.grid(found.id));
    } catch (problem) {
      if (!(problem instanceof Refusal || problem instanceof Silence)) throw problem; // found when the tab is opened next
    }
    return undefined;
  }

  return {
    element,
    take,
    look,
    /** The tab was left. */
    leave() {
      here = false;
      clearTimeout(waiting);
    },
  };
}
