// The way to the Fill tab: with a picture that was painted, with a recorded step, or from an address such as #fill/ID.

import { arriveAt } from "./arrival.js";

const TAB = "wb-fill-tab-button";
const LAST = "wavebrush.document";
const STEP = "wavebrush.step";

let wish = null; // what the tab should do when it is seen next: {picture}, {layer} or {step}

/** What the address asks for: {id}, id null where it names no document; null where it does not speak of the Fill tab. */
export function addressed() {
  const found = /^#fill(?:\/([0-9a-f-]+))?$/.exec(location.hash);
  return found && { id: found[1] ?? null };
}

/** Keeps in the address which document is open, so that a reload finds it; null when the tab is left. */
export function address(id) {
  const hash = id === null ? "" : `#fill${id ? `/${id}` : ""}`;
  if (location.hash === hash || (id === null && !location.hash.startsWith("#fill"))) return;
  history.replaceState(history.state, "", `${location.pathname}${location.search}${hash}`);
}

export function lastDocument() {
  try {
    return localStorage.getItem(LAST);
  } catch {
    return null;
  }
}

export function keepLastDocument(id) {
  try {
    if (id) localStorage.setItem(LAST, id);
    else localStorage.removeItem(LAST);
  } catch {
    // Storage is switched off: the newest document opens then.
  }
}

/** Which recorded step is on the canvas of this browser tab, {run, step, purpose}, so that a reload goes back to it. */
export function keepStep(step) {
  try {
    if (step) sessionStorage.setItem(STEP, JSON.stringify(step));
    else sessionStorage.removeItem(STEP);
  } catch {
    // Storage is switched off: the step is opened again by hand.
  }
}

export function keptStep() {
  try {
    return JSON.parse(sessionStorage.getItem(STEP));
  } catch {
    return null;
  }
}

function go(next) {
  wish = next;
  history.pushState(history.state, "", `${location.pathname}${location.search}#fill`);
  document.getElementById(TAB)?.click();
  dispatchEvent(new CustomEvent("wavebrush-fill"));
}

/** Opens a picture of the studio's as a new document. `picture`: {id, request}. */
export function openInFill(picture) {
  go({ picture });
}

/**
 * Puts what a run of a fill came to into the document that it was made in, where a layer of that family lies: the ids of
 * the runs that it may stand for.
 */
export function putBack(run, family) {
  go({ layer: { run, family } });
}

/**
 * Opens a recorded step on the canvas, to be painted on. `step`: {purpose: "edit" | "mask", run: {id, label, prompt},
 * step, width, height, picture, done}; see fill_step.js. Rejects with the server's words if the picture cannot be had.
 */
export function openStep(step) {
  return new Promise((resolve, reject) => go({ step, resolve, reject }));
}

/** What was asked for last, once. */
export function takeWish() {
  const taken = wish;
  wish = null;
  return taken;
}

arriveAt(TAB, addressed);
