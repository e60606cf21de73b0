// The way to the Gallery tab: from an address such as #gallery or #gallery/ID, and from a link to one picture.

import { arriveAt } from "./arrival.js";

const TAB = "wb-gallery-tab-button";

/** What the address asks for: {id}, id null where it names no picture; null where it does not speak of the gallery. */
export function addressed() {
  const found = /^#gallery(?:\/([0-9a-f-]+))?$/.exec(location.hash);
  return found && { id: found[1] ?? null };
}

/** Keeps in the address that the gallery is open, and which picture; null when the tab is left. */
export function address(shown, anew = false) {
  if (!shown && !addressed()) return; // another tab has put its own there
  const hash = shown ? `#gallery${shown.id ? `/${shown.id}` : ""}` : "";
  if (location.hash === hash) return;
  history[anew ? "pushState" : "replaceState"](history.state, "", `${location.pathname}${location.search}${hash}`);
}

arriveAt(TAB, addressed);
