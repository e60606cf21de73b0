// The way to the Steps tab: from a picture, and from an address such as #steps/ID/11 after a reload.

import { arriveAt } from "./arrival.js";

const TAB = "wb-steps-tab-button";

/** What the address asks for: {id, step}, both null where it says nothing; null where it does not speak of steps. */
export function addressed() {
  const found = /^#steps(?:\/([0-9a-f-]+))?(?:\/(\d+))?$/.exec(location.hash);
  return found && { id: found[1] ?? null, step: found[2] === undefined ? null : Number(found[2]) };
}

/**
 * Keeps in the address what is shown, so that a reload finds it; null when the tab is left. With `anew` it is an entry
 * of its own in the history, so that Back returns to what was there before.
 */
export function address(shown, anew = false) {
  if (!shown && !addressed()) return; // another tab has put its own there
  write(shown, anew);
  known = location.hash;
}

let known = null; // the address as the tab left it

/** The same, unless somebody else has changed the address since: Back and Forward do so before they tell. */
export function addressAgain(shown) {
  if (location.hash === known) address(shown);
}

function write(shown, anew) {
  const hash = shown ? `#steps/${shown.id}/${shown.step}` : "";
  if (location.hash === hash) return;
  history[anew ? "pushState" : "replaceState"](history.state, "", `${location.pathname}${location.search}${hash}`);
}

/** Remembers, as long as this browser tab lives, what was shown last: {id, step}. */
export function keepShown(shown) {
  try {
    sessionStorage.setItem("wavebrush.steps", JSON.stringify(shown));
  } catch {
    // Storage is switched off: the address is then the only one to know.
  }
}

/** What was shown last in this browser tab, or null. */
export function lastShown() {
  try {
    const { id, step } = JSON.parse(sessionStorage.getItem("wavebrush.steps"));
    return { id, step: Number.isInteger(step) ? step : null };
  } catch {
    return null;
  }
}

/** Goes to the Steps tab with the run of a picture; without one, with the newest. */
export function openInSteps(id = null) {
  history.pushState(history.state, "", `${location.pathname}${location.search}#steps${id ? `/${id}` : ""}`);
  document.getElementById(TAB)?.click();
  dispatchEvent(new CustomEvent("wavebrush-steps"));
}

let unfinished = null; // a step that was on the canvas when the page was left

/** Goes to a step to take it onto the canvas again: {run, step, purpose}. */
export function openUnfinished(step) {
  unfinished = step;
  history.replaceState(history.state, "", `${location.pathname}${location.search}#steps/${step.run}/${step.step}`);
  document.getElementById(TAB)?.click();
  dispatchEvent(new CustomEvent("wavebrush-steps"));
}

/** What `openUnfinished` asked for, once. */
export function takeUnfinished() {
  const taken = unfinished;
  unfinished = null;
  return taken;
}

arriveAt(TAB, addressed);
