// The way to the Gallery tab: from an address such as #gallery or #gallery/ID?q=lake&show=favourite&model=painter.

import { arriveAt } from "./arrival.js";

const TAB = "wb-gallery-tab-button";
const LAST = "wavebrush.gallery";
const LONGEST = 400; // letters of what is looked for, as the server reads them

export const SHOWS = [["all", "All"], ["favourite", "Favourites"], ["fills", "Fills"], ["steps", "With steps"], ["bin", "Bin"]];

const shows = new Set(SHOWS.map(([show]) => show));

/** What the words behind the "?" look for: {query, show, model}. */
function wantedOf(words) {
  const values = new URLSearchParams(words);
  const show = values.get("show");
  return { query: (values.get("q") ?? "").slice(0, LONGEST), show: shows.has(show) ? show : "all", model: (values.get("model") ?? "").slice(0, LONGEST) };
}

function wordsOf({ query, show, model }) {
  const values = new URLSearchParams({ ...(query.trim() && { q: query }), ...(show !== "all" && { show }), ...(model && { model }) });
  return String(values);
}

/** Whether both look for the same pictures. */
export const isSameSearch = (one, other) => wordsOf(one) === wordsOf(other);

/** What the address asks for: {id, wanted}, id null where it names no picture; null where it does not speak of the gallery. */
export function addressed() {
  const found = /^#gallery(?:\/([0-9a-f-]+))?(?:\?(.*))?$/.exec(location.hash);
  return found && { id: found[1] ?? null, wanted: wantedOf(found[2] ?? "") };
}

/** Keeps in the address that the gallery is open, which picture, and what is looked for; null when the tab is left. With
 * `anew` it is an entry of its own in the history, to which Back returns. */
export function address(shown, anew = false) {
  if (!shown && !addressed()) return; // another tab has put its own there
  const words = shown ? wordsOf(shown.wanted) : "";
  const hash = shown ? `#gallery${shown.id ? `/${shown.id}` : ""}${words && `?${words}`}` : "";
  if (shown) keepSearch(words);
  if (location.hash === hash) return;
  history[anew ? "pushState" : "replaceState"](history.state, "", `${location.pathname}${location.search}${hash}`);
}

/** Remembers, as long as this browser tab lives, what was looked for: the address is another tab's after a reload there. */
function keepSearch(words) {
  try {
    sessionStorage.setItem(LAST, words);
  } catch {
    // Storage is switched off: the address is then the only one to know.
  }
}

/** What was looked for last in this browser tab. */
export function lastSearch() {
  try {
    return wantedOf(sessionStorage.getItem(LAST) ?? "");
  } catch {
    return wantedOf("");
  }
}

arriveAt(TAB, addressed);
